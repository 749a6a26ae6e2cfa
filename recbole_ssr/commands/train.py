"""The commands that train: train, compare, tune, and the line without a command."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from recbole_ssr.commands.table import COMMANDS
from recbole_ssr.compare.comparison_options import NAMES, is_comparison, options_of
from recbole_ssr.distributed.place import from_environment
from recbole_ssr.errors import MissingDataset, UserError
from recbole_ssr.files import expanded
from recbole_ssr.flags import parse_flags, read_config_file
from recbole_ssr.runs import log_to_terminal

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from recbole_ssr.commands.experiments import Compared
    from recbole_ssr.tune.tuning import Selected

T = TypeVar("T")
_TRIALS, _MODEL = 20, "SSR"
_TABLE = 80  # columns of the table of a run


def train_or_compare(argv: Sequence[str], console: Console) -> int:
    """The line without a command: --models compares, all else trains."""
    files, flags = _files_and_flags(argv)
    return (_compare if is_comparison(files, flags) else _train)(files, flags, console)


def train(argv: Sequence[str], console: Console) -> int:
    """train [--model=NAME] [--dataset=NAME] [--KEY=VALUE ...]"""
    files, flags = _files_and_flags(argv)
    if is_comparison(files, flags):
        raise UserError("train trains one model, --model=NAME; several, --models=NAME,NAME, are "
                        "for recbole-ssr compare")
    return _train(files, flags, console)


def compare(argv: Sequence[str], console: Console) -> int:
    """compare --models=NAME,NAME,... [--KEY=VALUE ...]"""
    files, flags = _files_and_flags(argv)
    if not is_comparison(files, flags):
        raise UserError("compare needs models: --models=SSR,LightGCN, or models in a file of "
                        "--config_files")
    return _compare(files, flags, console)


def tune(argv: Sequence[str], console: Console) -> int:
    """tune --model=NAME [--trials=20] [--KEY=VALUE ...]"""
    from recbole_ssr.commands.experiments import search
    from recbole_ssr.report.terminal import print_sheets
    from recbole_ssr.tune.table import selected_table, trials_table

    _alone()
    files, flags = _files_and_flags(argv)
    _check_of_tune(flags)
    renamed, otherwise = {"model": "models", "trials": "tune"}, {"models": _MODEL, "tune": _TRIALS}

    def work() -> tuple[dict[str, Selected], list[Path]]:
        with log_to_terminal():
            return search(options_of(files, flags, renamed, otherwise), console)

    selected, presets = _with_dataset(files, flags, work)
    print_sheets(console, [*map(trials_table, selected.values()), selected_table(selected)])
    console.print(f"Presets: {', '.join(map(str, presets))}; train with --config_files FILE, "
                  "compare with --preset=FILE.", soft_wrap=True, markup=False)
    return 0


def _check_of_tune(flags: dict) -> None:
    """Raise UserError for an option of compare that a search does not heed; settings pass."""
    if flags.get("model") is not None and flags.get("models") is not None:
        raise UserError(f"--model={flags['model']} and --models={flags['models']} both say what to "
                        "tune; put all into --models.")
    for name in NAMES:
        if name in flags and name not in COMMANDS["tune"].flags:
            instead = {"seeds": "--seed=N", "tune": "--trials=N"}.get(name)
            raise UserError(f"--{name}={flags[name]} is for recbole-ssr compare; "
                            + (f"tune takes {instead}" if instead else
                               "leave it out: recbole-ssr tune --help lists what a search takes"))


def _alone() -> None:
    """Raise UserError where torchrun has started several of this command."""
    here = from_environment(os.environ)
    if here is not None:
        raise UserError(f"torchrun has started {here.size} processes, which share one run of train;"
                        " a comparison or a search is one command, which takes --jobs or "
                        "--engine=ray")


def _files_and_flags(argv: Sequence[str]) -> tuple[list[str], dict]:
    flags = parse_flags(argv)
    return flags.pop("config_files", []), flags


def _train(files: Sequence[str], flags: dict, console: Console) -> int:
    from recbole_ssr.quick_start import run
    from recbole_ssr.report.result_table import calibration_line, result_table
    from recbole_ssr.report.terminal import rendered
    from recbole_ssr.result import earlier_results

    result = _with_dataset(files, flags, lambda: run(config_files=files, flags=flags))
    here = from_environment(os.environ)
    if here is not None and here.rank:
        return 0  # the main process of the run tells of it
    earlier = earlier_results(os.path.dirname(result.run), result)
    console.print(rendered(result_table([result, *earlier])))
    calibrated = calibration_line(result)
    if calibrated:
        console.print(calibrated, width=_TABLE, markup=False)
    if earlier:
        console.print("The first row is this run; the others are the newest of their model here.")
    console.print(f"Run folder: {result.run} (curve.png, metrics.json, best.pth, run.log)",
                  soft_wrap=True)
    return 0


def _compare(files: Sequence[str], flags: dict, console: Console) -> int:
    from recbole_ssr.commands.experiments import compare as run_all
    from recbole_ssr.report.comparison.rows import brief_sheets
    from recbole_ssr.report.terminal import print_sheets

    _alone()

    def work() -> Compared:
        with log_to_terminal():
            return run_all(options_of(files, flags), console)

    compared = _with_dataset(files, flags, work)
    print_sheets(console, brief_sheets(compared.comparison))
    for reason in compared.missing:
        console.print(f"Not written: {reason}", soft_wrap=True, markup=False)
    names = ", ".join(file.name for file in compared.files)
    console.print(f"Files: {compared.files[0].parent} ({names})", soft_wrap=True, markup=False)
    return 1 if any(line.failures for line in compared.comparison.lines) else 0


def _with_dataset(files: Sequence[str], flags: dict, work: Callable[[], T]) -> T:
    """Do the work; where the dataset is missing and there is a recipe for it, prepare it first.

    Flags of the preparation are taken out of `flags` before.
    """
    from recbole_ssr.dataset_prep import on_demand
    from recbole_ssr.dataset_prep.options import DATA_PATH
    from recbole_ssr.registry import DEMO_DATASET

    options = on_demand.take_flags(flags)
    settings = {}
    for file in files:
        settings |= read_config_file(file)
    settings |= flags
    dataset = str(settings.get("dataset") or DEMO_DATASET)
    shaping = on_demand.shaping(options, settings, dataset)
    if shaping and not flags.get("resume"):
        on_demand.check_flags(shaping, dataset, expanded(settings.get("data_path") or DATA_PATH))
    try:
        return work()
    except MissingDataset as missing:
        with log_to_terminal():
            if not on_demand.prepare_missing(missing, options, settings):
                raise
    return work()
