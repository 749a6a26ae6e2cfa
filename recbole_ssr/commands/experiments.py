"""`recbole-ssr --models=...`: tune, run, measure, and report, doing only what is missing."""

from __future__ import annotations

import logging
from collections.abc import Container, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from rich.console import Console

from recbole_ssr.compare.assemble import assemble
from recbole_ssr.compare.comparison_options import ComparisonOptions
from recbole_ssr.compare.data import (
    OF_FEATURES,
    Data,
    check_code,
    check_data,
    check_modalities,
    check_selected,
    load_data,
)
from recbole_ssr.compare.engine import Engine, FixedSource
from recbole_ssr.compare.live import Board
from recbole_ssr.compare.local import LocalEngine
from recbole_ssr.compare.plan import RUNS, Plan, lines_of, plan_of
from recbole_ssr.compare.store import (
    SPLITS,
    Task,
    failure_of,
    is_complete,
    measurement_of,
    state_of,
)
from recbole_ssr.comparison import Comparison, Line
from recbole_ssr.config import merged_settings
from recbole_ssr.errors import UserError
from recbole_ssr.files import ABANDONED_SECONDS, sweep
from recbole_ssr.report.comparison.files import REPORT, earlier_files, write_files
from recbole_ssr.tune.presets import Preset, read_presets, write_preset
from recbole_ssr.tune.space import PROTOCOL
from recbole_ssr.tune.trials import Method
from recbole_ssr.tune.tuning import Selected, tune

logger = logging.getLogger("recbole_ssr")


class Compared(NamedTuple):
    """A comparison, the files that it left, and what could not be written, in words."""

    comparison: Comparison
    files: list[Path]
    missing: list[str]


def compare(options: ComparisonOptions, console: Console) -> Compared:
    """Do what is missing of a comparison, report on all of it, and leave the report in `out`.

    Raises UserError for a mistake in any setting before anything runs, and where no run finished;
    KeyboardInterrupt leaves everything so that the same call goes on.
    """
    engine = _engine(options)
    for folder in (options.out, options.out / SPLITS):
        sweep(folder, ABANDONED_SECONDS)
    lines = lines_of(options, presets_of(options))
    plan = plan_of(options, lines)
    if not options.no_run:
        _make(options.out)
    data = load_data(_shared(options, lines))
    check_modalities(options, data)
    if options.tune:
        selected = selected_of(options, lines, engine, console, data)
        if not options.no_run:
            write_presets(options, lines, selected)
        plan = plan_of(options, lines_of(options, tuned_lines(lines, selected)), distinct=False)
    check_data(plan.tasks.values(), data)
    if not options.no_run:
        _run(plan.in_order(), engine, _jobs(options), console)
        _measure(plan, engine, _jobs(options), console)
    return report(assemble(options, plan, data), options.out)


def report(comparison: Comparison, out: Path) -> Compared:
    """Write everything that a comparison leaves: tables in files, pictures, the HTML report.

    What an earlier report left there and this one does not write is removed.
    """
    # matplotlib is slow to import
    from recbole_ssr.report.comparison.page import write_html
    from recbole_ssr.report.comparison.plots import pictures, write_plots

    earlier = earlier_files(out)
    files, missing = write_files(comparison, out), []
    drawn = pictures(comparison)
    files += write_plots(drawn, out)
    try:
        files.append(write_html(comparison, drawn, out / REPORT))
    except UserError as error:
        missing.append(str(error))
    for old in earlier.difference(files):
        old.unlink(missing_ok=True)
    return Compared(comparison, files, missing)


def search(options: ComparisonOptions, console: Console) -> tuple[dict[str, Selected], list[Path]]:
    """Tune every line of a comparison; return what was selected and the presets written.

    Raises UserError for a mistake in any setting, and for lines that cannot stand in one table,
    before anything runs.
    """
    engine, lines = _engine(options), lines_of(options, presets_of(options))
    plan_of(options, lines, distinct=False)
    _make(options.out)
    data = load_data(_shared(options, lines))
    selected = selected_of(options, lines, engine, console, data)
    return selected, write_presets(options, lines, selected)


def presets_of(options: ComparisonOptions) -> dict[str, Line]:
    """Return the lines that have a preset among those given, with its settings.

    A line has the preset of its label, another the one of its model, or of a label that is no line
    here. Raises UserError where there are several.
    """
    if not options.preset:
        return {}
    presets = read_presets(options.preset)
    taken = {label: preset for label, (model, _) in options.models.items()
             if (preset := _preset_for(label, model, presets, options.models))}
    for preset in presets.values():
        if preset not in taken.values():
            logger.warning("%s is a preset of %s, which is not among the lines.", preset.file,
                           preset.label)
    return {label: Line(label, preset.model, preset.settings, (), trials=preset.trials,
                        pruned=preset.pruned)
            for label, preset in taken.items()}


def _preset_for(label: str, model: str, presets: Mapping[str, Preset],
                labels: Container[str]) -> Preset | None:
    of_model = {preset.label: preset for preset in presets.values() if preset.model == model}
    found = [of_model[name] for name in (label, model) if name in of_model][:1]
    found = found or [preset for name, preset in of_model.items() if name not in labels]
    if len(found) > 1:
        raise UserError(f"{' and '.join(str(preset.file) for preset in found)} are presets of "
                        f"{model}, none of them of the line {label!r}. Name the one to use.")
    return found[0] if found else None


def selected_of(options: ComparisonOptions, lines: Sequence[Line], engine: Engine,
                console: Console, data: Data) -> dict[str, Selected]:
    """Search the settings of every line with the same budget, from those of its preset on.

    With `no_run` nothing is searched: it is what searches have selected so far. Raises UserError
    where that was on another split than the `data` at hand, or by other code of a model.
    """
    models, start = {}, {}
    for line in lines:
        check_code(sorted((options.out / RUNS).glob(f"{line.model}-seed*")), line.model)
        given = {*options.typed, *options.models[line.label][1]}
        settings = merged_settings(options.settings, line.settings)
        begin = {key: settings[key] for key in line.settings if key not in given}
        models[line.label] = line.model, {key: value for key, value in settings.items()
                                          if key not in begin}
        if begin:
            start[line.label] = begin
    method = Method(options.tune, options.sampler, options.pruner, seed=options.seeds[0])
    jobs = _jobs(options)
    with Board(console, (), max(jobs, 1)) as board:
        selected = tune(models, engine, options.out, method, options.storage, options.space,
                        seed=options.seeds[0], jobs=jobs, watch=board.watch, follow=board.follow,
                        start=start, run=not options.no_run)
    for label, line in selected.items():
        check_selected(line.split, label, data, options.settings)
    return selected


def write_presets(options: ComparisonOptions, lines: Sequence[Line],
                  selected: Mapping[str, Selected]) -> list[Path]:
    """Leave what was selected as a preset of every line, and return the files."""
    return [write_preset(options.out, selected[line.label],
                         merged_settings(options.settings, line.settings))
            for line in lines]


def tuned_lines(lines: Sequence[Line], selected: Mapping[str, Selected]) -> dict[str, Line]:
    """Return the lines with what tuning selected, above what they had."""
    return {
        line.label: replace(line, settings=merged_settings(line.settings,
                                                           selected[line.label].settings),
                            trials=selected[line.label].complete + selected[line.label].pruned,
                            pruned=selected[line.label].pruned)
        for line in lines
    }


def _shared(options: ComparisonOptions, lines: Sequence[Line]) -> dict:
    """Return the settings of the data that all lines have, also where each gives them itself."""
    first, *others = (line.settings for line in lines)
    own = {key: value for key, value in first.items() if key in PROTOCOL or key in OF_FEATURES}
    # Lines of other splits do not compare; of one split each may have its own words for eval_args.
    shared = {key: value for key, value in own.items() if key == "eval_args" or all(
        key in settings and settings[key] == value for settings in others)}
    return merged_settings(options.settings, shared)


def _make(out: Path) -> None:
    """Make the folder of runs, before anything takes time. Raises UserError where it cannot be."""
    try:
        (out / RUNS).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make the folder {out / RUNS}: {error.strerror}. Name one that you "
                        "may write with --out=FOLDER.") from None


def _engine(options: ComparisonOptions) -> Engine:
    if options.engine == "ray":
        from recbole_ssr.compare.ray_engine import RayEngine

        if options.threads:
            raise UserError("--threads is for runs on this machine; Ray's have as many threads as "
                            "--cpus.")
        return RayEngine(options.address, options.cpus, options.gpus)
    for name in ("address", "cpus", "gpus"):
        if getattr(options, name):
            raise UserError(f"--{name} is for --engine=ray; runs on this machine take --threads "
                            "and --device.")
    return LocalEngine(options.threads)


def _jobs(options: ComparisonOptions) -> int:
    """Return how many runs at a time; 0 is as many as a cluster holds."""
    return options.jobs or (0 if options.engine == "ray" else 1)


def _run(tasks: Sequence[Task], engine: Engine, jobs: int, console: Console) -> None:
    """Run what is not complete; what failed before is tried again."""
    missing = [task for task in tasks if not is_complete(task)]
    if not missing:
        return
    with Board(console, tasks, max(jobs, 1)) as board:
        engine.run(board.follow(FixedSource(missing)), jobs, board.watch)


def _measure(plan: Plan, engine: Engine, jobs: int, console: Console) -> None:
    """Measure finished runs once more with features disturbed, as the engine runs all else."""
    tasks = [
        measurement_of(task, f"{task.label}, {condition.curve} {condition.level:g}",
                       condition.settings)
        for condition in plan.conditions
        for line in plan.lines if plan.measures(line.label, condition)
        for task in plan.of(line.label) if state_of(task) == "done"
    ]
    tasks = list({str(task.folder): task for task in tasks}.values())  # lines may share their runs
    _run(tasks, engine, jobs, console)
    for task in tasks:
        if failure := failure_of(task):
            logger.warning("%s, seed %d: not measured: %s", task.label, task.seed, failure.reason)
