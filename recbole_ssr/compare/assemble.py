"""From finished runs to a Comparison: means over seeds, paired tests, groups, curves, notes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from recbole_ssr.compare.comparison_options import ComparisonOptions
from recbole_ssr.compare.data import Data
from recbole_ssr.compare.differences import differences_of
from recbole_ssr.compare.groups import groups_of
from recbole_ssr.compare.literature import published_for
from recbole_ssr.compare.plan import (
    PLAIN,
    SPARSITY,
    Condition,
    Plan,
    conditions_of,
    same_lines,
)
from recbole_ssr.compare.protocol import compare_protocols
from recbole_ssr.compare.store import (
    Task,
    failure_of,
    measurement_of,
    read_measurement,
    result_of,
    split_path,
    state_of,
)
from recbole_ssr.comparison import Comparison, Curve, Line, Published, Spread
from recbole_ssr.config import WITHOUT_EFFECT_ON_RESULTS
from recbole_ssr.data.parts import leaks
from recbole_ssr.errors import UserError
from recbole_ssr.evaluation.rankings import Interactions, Ranking, read_interactions, read_rankings
from recbole_ssr.quick_start import RANKING
from recbole_ssr.report.sheet import first_up
from recbole_ssr.result import RunResult

_NOT_BY_USER = ("Differences are not tested, and there are no groups and no measures beyond "
                "accuracy: they are of full rankings with a cut-off, and these are {metrics} under "
                "{mode}.")


def assemble(options: ComparisonOptions, plan: Plan, data: Data) -> Comparison:
    """Return what the finished runs of a plan show, also where others are missing or failed.

    Raises UserError where no run has finished, and where runs differ in split or protocol.
    """
    lines = tuple(_with_results(line, plan) for line in plan.lines)
    results = [result for line in lines for result in line.results]
    if not results:
        reasons = {failure.reason for line in lines for failure in line.failures}
        raise UserError("no run has finished, so that there is nothing to compare. "
                        + (" ".join(sorted(reasons)) or "Give the command without --no_run."))
    # Messages name runs as the table does: several lines may be of one model.
    named = [replace(result, model=line.label) for line in lines for result in line.results]
    notes = [*compare_protocols(named, _features_vary(lines)), *_gaps(plan)]
    notes += [f"{' and '.join(labels)} have the same settings: they are the same runs."
              for labels in same_lines(plan)]
    protocol, metrics = results[0].protocol, tuple(results[0].test)
    by_user = protocol["ranking"] == "full" and any("@" in metric for metric in metrics)
    if not by_user:
        notes.append(_NOT_BY_USER.format(mode=protocol["ranking"], metrics=", ".join(metrics)))
    rankings = {line.label: _rankings(line) for line in lines if line.results and by_user}
    interactions = _interactions(results[0], rankings)
    notes += _leaks(options, protocol, interactions)
    tests = {label: [parts["test"] for parts, _ in runs] for label, runs in rankings.items()}
    tested = differences_of(lines, tests, interactions, metrics,
                            options.reference if by_user else None)
    cutoff = max(protocol["topk"])
    grouped = groups_of(lines, tests, interactions, cutoff, options.user_groups,
                        options.head_share, data.matrices())
    published, why = _published(options, protocol, interactions)
    return Comparison(
        dataset=str(options.settings["dataset"]), protocol=protocol, lines=lines,
        differences=tested.differences, groups=grouped.groups, published=published,
        curves=_curves(options, plan, protocol), metrics=metrics,
        notes=tuple(dict.fromkeys([*notes, *tested.notes, *grouped.notes, *why])),
        settings={key: value for key, value in options.settings.items()
                  if not (key in WITHOUT_EFFECT_ON_RESULTS or key == "dataset" or key.isupper())},
    )


def _with_results(line: Line, plan: Plan) -> Line:
    """Return a line with its finished runs, and those that failed, of its curves too."""
    tasks, failures = plan.of(line.label), []
    for condition in (PLAIN, *plan.conditions):
        where = f"{condition.curve} {condition.level:g}: " if condition.curve else ""
        these = [measurement_of(task, line.label, condition.settings) for task in tasks] \
            if plan.measures(line.label, condition) else plan.of(line.label, condition)
        if condition != PLAIN and these == tasks:  # told of already
            continue
        failures += [failure._replace(reason=where + failure.reason)
                     for failure in map(failure_of, these) if failure]
    return replace(line, results=_results(tasks), failures=tuple(failures))


def _results(tasks: Iterable[Task]) -> tuple[RunResult, ...]:
    return tuple(result_of(task) for task in tasks if state_of(task) == "done")


def _gaps(plan: Plan) -> list[str]:
    """Return notes on runs that have neither finished nor failed."""
    labels: dict[tuple[int, int], list[str]] = {}
    for line in plan.lines:
        states = [state_of(task) for task in plan.of(line.label)]
        open_runs = sum(state not in ("done", "failed") for state in states)
        if open_runs:
            labels.setdefault((open_runs, len(states)), []).append(line.label)
    return [f"Still to be done, by the same command: {count} of {seeds} runs "
            f"{'each ' * (len(names) > 1)}of {', '.join(names)}."
            for (count, seeds), names in labels.items()]


def _features_vary(lines: Iterable[Line]) -> bool:
    """Tell whether a line has settings of its own that change what it sees of the features."""
    return any(key.startswith("feature_") or key in ("drop_modality", "corruption_at")
               for line in lines for key in line.settings)


def _rankings(line: Line) -> list[tuple[dict[str, Ranking], str]]:
    return [read_rankings(Path(result.run) / RANKING) for result in line.results]


def _interactions(result: RunResult, rankings: dict) -> Interactions:
    """Return the split of the runs, whose ids must be those of every ranking."""
    fingerprint = str(result.protocol["split_fingerprint"])
    interactions = read_interactions(split_path(Path(result.run), fingerprint))
    for label, runs in rankings.items():
        for _, ids in runs:
            if ids != interactions.ids:
                raise UserError(f"{label} numbers users or items in another way than the other "
                                "runs, so that single users cannot be compared. Give all models "
                                "the same load_col and filters.")
    return interactions


def _leaks(options: ComparisonOptions, protocol: dict, interactions: Interactions) -> list[str]:
    if protocol["masked"] == "nothing":  # users may have an item again
        return []
    held_out = {"validation": interactions.valid, "test": interactions.test}
    found = leaks(interactions.train, held_out, interactions.n_items)
    name = options.settings["dataset"]
    return [f"{first_up(found)}: see recbole-ssr data {name}."] if found else []


def _curves(options: ComparisonOptions, plan: Plan, protocol: dict) -> tuple[Curve, ...]:
    """Return a curve per disturbance; the comparison itself is its undisturbed end."""
    by_name: dict[str, list[Condition]] = {}
    for condition in conditions_of(options):
        by_name.setdefault(condition.curve, []).append(condition)
    metric = str(protocol["valid_metric"]).lower()
    curves = []
    for name, conditions in by_name.items():
        end = 1.0 if name == SPARSITY else 0.0
        points = sorted([(end, PLAIN), *((c.level, c) for c in conditions)],
                        key=lambda point: point[0])
        values = {line.label: tuple(_point(plan, line.label, condition, metric)
                                    for _, condition in points) for line in plan.lines}
        where = {"both": "training and inference"}.get(options.corrupt_at, options.corrupt_at)
        curves.append(Curve(name, "training" if name == SPARSITY else where,
                            tuple(level for level, _ in points), metric, values))
    return tuple(curves)


def _point(plan: Plan, label: str, condition: Condition, metric: str) -> Spread:
    if plan.measures(label, condition):
        measured = [read_measurement(task.folder, condition.settings) for task in plan.of(label)]
        return Spread.of([parts["test"][metric] for parts in measured if parts])
    return Spread.of([result.test[metric] for result in _results(plan.of(label, condition))])


def _published(
    options: ComparisonOptions, protocol: dict, interactions: Interactions
) -> tuple[tuple[Published, ...], tuple[str, ...]]:
    if not options.published:
        return (), ()
    name = str(options.settings["dataset"])
    parts = tuple(x.shape[1] for x in (interactions.train, interactions.valid, interactions.test))
    return published_for(name, protocol, parts)
