"""Command line: `recbole-ssr` and `run_recbole_ssr.py`."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from rich.console import Console

from recbole_ssr.compare.options import is_comparison, options_of
from recbole_ssr.errors import MissingDataset, UserError, nearest
from recbole_ssr.flags import parse_flags, read_config_file
from recbole_ssr.runs import log_to_terminal

if TYPE_CHECKING:
    from pathlib import Path

    from recbole_ssr.compare.command import Compared
    from recbole_ssr.tune.tuning import Selected

T = TypeVar("T")

USAGE = """\
usage: recbole-ssr [--model=NAME] [--dataset=NAME] [--config_files FILE ...] [--KEY=VALUE ...]
       recbole-ssr --models=NAME,NAME,... [--seeds=N] [--tune=N] [--jobs=N] [--KEY=VALUE ...]
       recbole-ssr tune --model=NAME [--trials=20] [--KEY=VALUE ...]
       recbole-ssr prepare NAME | --from=LAYOUT PATH --name=NAME | --interactions=FILE --name=NAME
       recbole-ssr data [NAME] [--out=FOLDER]
       recbole-ssr diagnose RUN_FOLDER [--part=valid] [--out=FOLDER] [--device=auto]
       recbole-ssr recommend RUN_FOLDER --users=U,U | --users=FILE | --history=FILE | --all
       recbole-ssr export RUN_FOLDER --out=FOLDER [--format=npy] [--index=flat,hnsw]
       recbole-ssr explain RUN_FOLDER --user=U --item=I [--plot] [--out=FOLDER]
       recbole-ssr browse RUN_FOLDER [--port=8765]

Trains a recommender with RecBole, selects on validation, tests once. Without arguments: SSR on the
embedded ml-100k.

  --model=SSR             a model of this package, or any general model of RecBole (LightGCN, BPR)
  --dataset=ml-100k       a folder below data_path with NAME.inter and features/<modality>.npy;
                          amazon-sports and its like are downloaded and prepared where missing
  --no-download           take raw files that are there, download none
  --config_files a.yaml   settings in files; later files win, flags win over files
  --resume=runs/<run>     continue an interrupted run, with --data_path where its data have moved
  --device=auto           auto, cpu, cuda or cuda:N
  --KEY=VALUE             any setting, parsed as YAML: --epochs=50 --topk="[5, 20]" --n_bands 4
  --help                  this text, and the models and settings of the package

Several models are compared under one protocol, a process per run; the same command goes on where
it was stopped, and does only what is missing. Tables, plots and comparison.html are left in --out.

  --models=SSR,LightGCN   what to compare; in a file also {label: {model: SSR, n_layers: 2}}
  --seeds=5               so many, counted from --seed, or a list; the split is the same for all
  --jobs=2                runs at a time on this machine, --threads each
  --engine=ray            runs on a Ray cluster: --address, --cpus and --gpus per run
  --out=comparisons/NAME  folder of runs, tables and the report
  --tune=20               settings tried per model before, see tune
  --preset=FILES          settings that an earlier search selected
  --reference=LightGCN    line that all others are tested against as well
  --noise=image:0.3       a curve of results with noisy features; --missing=text:0.5 without some,
                          --drop-modality=image without all; --corrupt_at=both, training, inference
  --interactions=0.2,0.5  a curve of results with so much of the training interactions
  --published             figures that others report on the same split, set apart
  --no_run                report on what is there

`tune` searches a model's settings on validation: --sampler=tpe, random or grid, --pruner=median or
none, --space=FILE (keys with lists or ranges; else the model's grid), --storage=FILE or database.
What it selects is left as a preset.

`prepare` makes a dataset: amazon-<Category> from the public files, a folder that others published,
or your own tables, texts, pictures and vectors. `recbole-ssr prepare --help` lists its options.

`data` reports on a dataset as a run sees it: sizes, degrees, split, cold items, coverage and norms
of the modalities, and what is wrong with it. It leaves dataset.json and dataset.png in the
dataset's folder, or in --out.

`diagnose` shows what a finished SSR run does with its bands and modalities: where their energy
lies, how they are mixed and gated, what each is worth, and which claims of the paper hold here.
It prints tables and leaves diagnosis.json and plots in the run folder, or in --out.

  --part=valid            the part to evaluate on: valid or test
  --out=FOLDER            where to leave the files
  --data_path=FOLDER      the folder of datasets, where they have moved since the run

`recommend` ranks items for users of a finished run, by its best epoch. Users and items go by their
tokens; what a user has in training and validation is left out.

  --users=196,22          users, or a file with one a line; --all takes every one, into --out
  --history=FILE          users by their items, new ones too: a table of users and items (.csv,
                          .tsv, .parquet) or lines {"user": ..., "items": [...]} (.jsonl)
  --topk=20               items per user
  --out=FILE              .csv, .jsonl or .parquet; else a table
  --keep-seen             rank what a user has already, too
  --candidates=FILE       rank these items alone; --where="{class: Comedy}" those with such a field
  --new-items=FOLDER      features of items that the run has never seen, to rank among the others
  --unknown=popularity    answer users of whom nothing is known by what is popular

`export` writes embeddings whose inner products are the scores, for readers without this package;
--index adds indices for FAISS and prints their recall.

`explain` shows why a user gets an item: what each item of the user's adds to the score and, for
SSR, each band and modality. --plot draws it into the run folder, or --out.

`browse` shows a run in a web page on this machine: history and recommendations of a user, SSR's
bands and modalities to move, and why an item is there.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line; return the exit status (0 done, 2 user's mistake, 130 interrupted)."""
    argv = list(sys.argv[1:] if argv is None else argv)
    console = Console(width=None if sys.stdout.isatty() else 100, highlight=False)
    command = COMMANDS.get(argv[0]) if argv else None
    if any(word in ("--help", "-h") for word in argv):
        if command is _prepare:
            from recbole_ssr.dataset_prep.command import help_text

            console.print(help_text(), markup=False)
        else:
            _help(console)
        return 0
    try:
        return command(argv[1:], console) if command else _run(argv, console)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader of our output went away; nothing is left to say to it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _run(argv: Sequence[str], console: Console) -> int:
    from recbole_ssr.quick_start import run
    from recbole_ssr.report.tables import calibration_line, result_table
    from recbole_ssr.result import earlier_results

    flags = parse_flags(argv)
    files = flags.pop("config_files", [])
    if is_comparison(files, flags):
        return _compare(files, flags, console)
    result = _run_or_prepare(files, flags, lambda: run(config_files=files, flags=flags))
    earlier = earlier_results(os.path.dirname(result.run), result)
    console.print(result_table([result, *earlier]))
    calibrated = calibration_line(result)
    if calibrated:
        console.print(calibrated)
    if earlier:
        console.print("The first row is this run; the others are the newest of their model here.")
    console.print(f"Run folder: {result.run} (curve.png, metrics.json, best.pth, run.log)",
                  soft_wrap=True)
    return 0


def _compare(files: Sequence[str], flags: dict, console: Console) -> int:
    from recbole_ssr.compare.command import compare
    from recbole_ssr.report.comparison_tables import tables

    def work() -> Compared:
        with log_to_terminal():
            return compare(options_of(files, flags), console)

    found = _run_or_prepare(files, flags, work)
    for table in tables(found.comparison, min(console.width, 100), brief=True):
        console.print(table)
        console.print()
    for reason in found.missing:
        console.print(f"Not written: {reason}", soft_wrap=True, markup=False)
    names = ", ".join(file.name for file in found.files)
    console.print(f"Files: {found.files[0].parent} ({names})", soft_wrap=True, markup=False)
    return 1 if any(line.failures for line in found.comparison.lines) else 0


def _tune(argv: Sequence[str], console: Console) -> int:
    from recbole_ssr.compare.command import search
    from recbole_ssr.tune.table import selected_table, trials_table

    flags = parse_flags(argv)
    files = flags.pop("config_files", [])
    for name, as_of in (("model", "models"), ("trials", "tune")):
        if name in flags:
            flags[as_of] = flags.pop(name)
    flags.setdefault("tune", TRIALS)
    if not is_comparison(files, flags):
        flags["models"] = DEFAULT_MODEL

    def work() -> tuple[dict[str, Selected], list[Path]]:
        with log_to_terminal():
            return search(options_of(files, flags), console)

    selected, presets = _run_or_prepare(files, flags, work)
    for line in selected.values():
        console.print(trials_table(line))
        console.print()
    console.print(selected_table(selected))
    console.print(f"Presets: {', '.join(map(str, presets))}; train with --preset=FILE or "
                  "--config_files FILE.", soft_wrap=True, markup=False)
    return 0


def _run_or_prepare(files: Sequence[str], flags: dict, work: Callable[[], T]) -> T:
    """Do the work; where the dataset is missing and there is a recipe for it, prepare it first.

    Flags of the preparation are taken out of `flags` before.
    """
    from recbole_ssr.dataset_prep import on_demand
    from recbole_ssr.dataset_prep.options import DATA_PATH
    from recbole_ssr.registry import DEMO_DATASET

    given = on_demand.take_flags(flags)
    settings = {}
    for file in files:
        settings |= read_config_file(file)
    settings |= flags
    shaping = given | {key: settings[key] for key in ("split_seed",) if key in settings}
    if shaping and not flags.get("resume"):
        on_demand.check_flags(shaping, str(settings.get("dataset") or DEMO_DATASET),
                              settings.get("data_path") or DATA_PATH)
    try:
        return work()
    except MissingDataset as missing:
        with log_to_terminal():
            if not on_demand.prepare_missing(missing, given, settings):
                raise
    return work()


def _prepare(argv: Sequence[str], console: Console) -> int:
    from recbole_ssr.dataset_prep.command import options_from
    from recbole_ssr.dataset_prep.prepare import prepare

    options = options_from(argv)
    with log_to_terminal():
        folder = prepare(options)
    console.print(f"Train on it: recbole-ssr --dataset={folder.name}"
                  + (f" --data_path={folder.parent}" if str(folder.parent) != "dataset" else ""),
                  soft_wrap=True)
    console.print(f"Look at it:  recbole-ssr data {folder.name}"
                  + (f" --data_path={folder.parent}" if str(folder.parent) != "dataset" else ""),
                  soft_wrap=True)
    return 0


def _data(argv: Sequence[str], console: Console) -> int:
    from recbole_ssr.data.manifest import read_manifest
    from recbole_ssr.dataset_prep.prepared import damaged_files
    from recbole_ssr.dataset_report import dataset_report
    from recbole_ssr.report.dataset_tables import tables

    words = [word for word in argv[:1] if not word.startswith("-")]
    flags = parse_flags(argv[len(words):])
    out = flags.pop("out", None)
    report = dataset_report(words[0] if words else None, flags=flags, out=out)
    for table in tables(report):
        console.print(table)
        console.print()
    manifest = read_manifest(report.folder)
    if manifest:
        damage = damaged_files(report.folder, manifest)
        for line in damage:
            console.print(f"[bold]Changed since it was prepared:[/bold] {line}", soft_wrap=True)
        if not damage:
            console.print(f"All {len(manifest['files'])} files are as they were prepared on "
                          f"{manifest['made_at'][:10]} by {manifest['made_by']}.")
    console.print(f"Files: {out or report.folder} (dataset.json, dataset.png)", soft_wrap=True)
    return 0


def _diagnose(argv: Sequence[str], console: Console) -> int:
    if not argv or argv[0].startswith("-"):
        raise UserError("diagnose needs a run folder as its first word: recbole-ssr diagnose "
                        "runs/<run>")
    folder, flags = argv[0], parse_flags(argv[1:])
    for key, value in flags.items():
        if key not in _DIAGNOSE_FLAGS:
            known = ", ".join(f"--{name}" for name in _DIAGNOSE_FLAGS)
            raise UserError(f"diagnose has no flag --{key}; it takes {known}."
                            f"{nearest(key, _DIAGNOSE_FLAGS)}")
        if value is True or value is None:
            raise UserError(f"--{key} needs a value: --{key}=...")

    from recbole_ssr.diagnose import diagnose
    from recbole_ssr.report.diagnosis_tables import tables

    diagnosis = diagnose(folder, **{key: str(value) for key, value in flags.items()})
    for table in tables(diagnosis):
        console.print(table)
        console.print()
    console.print(f"Files: {flags.get('out', folder)} (diagnosis.json, diagnosis-*.png)",
                  soft_wrap=True)
    return 0


def _serve(name: str) -> Callable[[Sequence[str], Console], int]:
    def command(argv: Sequence[str], console: Console) -> int:
        from recbole_ssr.serve import commands

        return getattr(commands, name)(argv, console)

    return command


COMMANDS = {"tune": _tune, "diagnose": _diagnose, "prepare": _prepare, "data": _data,
            **{name: _serve(name) for name in ("recommend", "export", "explain", "browse")}}
TRIALS, DEFAULT_MODEL = 20, "SSR"
_DIAGNOSE_FLAGS = ("part", "out", "device", "data_path")


def _help(console: Console) -> None:
    from recbole_ssr.registry import MODELS
    from recbole_ssr.settings import described, settings_of

    console.print(USAGE, markup=False)
    console.print(f"Models of this package: {', '.join(MODELS)}\n", markup=False)
    shared = settings_of()
    own = {model: [s for s in settings_of(model) if s.file.startswith("model/")]
           for model in MODELS}
    for title, settings in {"Settings of all runs": shared,
                            **{f"Settings of {model}": of for model, of in own.items()}}.items():
        console.print(f"== {title} ==\n{described(settings)}\n", markup=False, soft_wrap=True)
