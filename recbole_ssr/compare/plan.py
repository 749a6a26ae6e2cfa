"""From what is asked to the runs that it takes: lines, conditions, seeds."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from contextlib import contextmanager
from typing import NamedTuple

from recbole_ssr.compare.comparison_options import ComparisonOptions
from recbole_ssr.compare.protocol import Asked, check_protocols
from recbole_ssr.compare.store import Task, task_of
from recbole_ssr.comparison import Line
from recbole_ssr.config import build_config, merged_settings
from recbole_ssr.corruption import Corruption
from recbole_ssr.errors import UserError
from recbole_ssr.experiment import asked_protocol

logger = logging.getLogger("recbole_ssr")

RUNS = "runs"  # the folder of runs in that of the comparison


class Condition(NamedTuple):
    """A point of a curve: its name and level, and the settings that make it.

    Those `at_inference` train nothing: runs of the comparison itself are measured under them.
    """

    curve: str
    level: float
    settings: dict
    at_inference: bool = False


PLAIN = Condition("", 0.0, {})  # the comparison itself
SPARSITY = "interactions used in training"
_DISTURBING = ("feature_noise", "feature_missing", "drop_modality")  # settings of a corruption


class Plan(NamedTuple):
    """All runs of a comparison, by label, condition and seed; its lines have no results yet."""

    lines: tuple[Line, ...]
    conditions: tuple[Condition, ...]
    tasks: dict[tuple[str, tuple[str, float], int], Task]

    def of(self, label: str, condition: Condition = PLAIN) -> list[Task]:
        """Return the tasks of a line under a condition, by seed."""
        key = _key(condition)
        return [task for (name, kind, _), task in self.tasks.items()
                if name == label and kind == key]

    def measures(self, label: str, condition: Condition) -> bool:
        """Tell whether the runs of a line are measured once more, under a condition."""
        return condition.at_inference and not self.of(label, condition)

    def in_order(self) -> list[Task]:
        """Return the tasks as they should run: first seeds of all lines first, curves last."""
        conditions = [_key(condition) for condition in (PLAIN, *self.conditions)]
        order = sorted(self.tasks.items(),
                       key=lambda entry: (conditions.index(entry[0][1]) > 0, entry[0][2]))
        unique = {str(task.folder): task for _, task in order}
        return list(unique.values())


def lines_of(options: ComparisonOptions, presets: Mapping[str, Line]) -> tuple[Line, ...]:
    """Return the lines, without results, each with its tuned settings below its own.

    Tuned settings win over those of files, flags over both. A line that has others than were
    selected does not count as tuned.
    """
    lines, common = [], options.settings
    for label, (model, own) in options.models.items():
        tuned, given = presets.get(label), merged_settings(options.typed, own)
        if tuned is None:
            lines.append(Line(label, model, own, ()))
            continue
        under, over = merged_settings(given, tuned.settings), merged_settings(tuned.settings, given)
        replaced = [key for key in tuned.settings if under[key] != over[key]]
        for key in replaced:
            logger.warning("%s: %s=%r is given, in place of %r, which its preset has%s.", label,
                           key, given[key], tuned.settings[key],
                           "" if tuned.trials is None else ": it does not count as tuned")
        kept = {key: value for key, value in _left(tuned.settings, options.typed).items()
                if key not in common or merged_settings(common, {key: value})[key] != common[key]}
        lines.append(Line(label, model, merged_settings(kept, own), (),
                          trials=None if replaced else tuned.trials,
                          pruned=0 if replaced else tuned.pruned))
    return tuple(lines)


def _left(settings: Mapping, given: Mapping) -> dict:
    """Return the settings that `given` does not set; of nested ones the entries."""
    left = {}
    for key, value in settings.items():
        if key not in given:
            left[key] = value
        elif merged_settings({key: value}, given)[key] != given[key]:
            left[key] = {name: entry for name, entry in value.items() if name not in given[key]}
    return left


def conditions_of(options: ComparisonOptions) -> tuple[Condition, ...]:
    """Return the conditions that curves are made of, beside the comparison itself."""
    at = {} if options.corrupt_at == "both" else {"corruption_at": options.corrupt_at}
    alone = options.corrupt_at == "inference"
    conditions = [
        Condition(f"{words} {modality}", level, {key: {modality: level}, **at}, alone)
        for words, key, of in (("noise on", "feature_noise", options.noise),
                               ("missing", "feature_missing", options.missing))
        for modality, levels in of.items() for level in levels
    ]
    conditions += [Condition(f"without {modality}", 1.0, {"drop_modality": [modality], **at}, alone)
                   for modality in options.drop_modality]
    conditions += [Condition(SPARSITY, share, {"train_share": share})
                   for share in options.interactions]
    return tuple(conditions)


def plan_of(options: ComparisonOptions, lines: tuple[Line, ...], distinct: bool = True) -> Plan:
    """Return every run. Raises UserError for a mistake in any setting, before anything starts.

    So it does for lines that cannot stand in one table, where settings alone tell.
    `distinct` refuses lines that are the same runs, which a search may end in but nobody asks for.
    A line that does not load what a condition disturbs has its plain runs there.
    """
    conditions, tasks = conditions_of(options), {}
    with _each_message_once():
        for line in lines:
            own = merged_settings(options.settings, line.settings)
            for condition in (PLAIN, *conditions):
                blind = not _loads(own, condition)
                if condition.at_inference and not blind:
                    continue
                settings = own if blind else {**own, **condition.settings}
                for seed in options.seeds:
                    tasks[line.label, _key(condition), seed] = task_of(
                        line.label, line.model, settings, seed, options.out / RUNS)
            _check_undisturbed(line.label, own, conditions)
        plan = Plan(lines, conditions, tasks)
        check_protocols([_asked(plan.of(line.label)[0]) for line in lines])
    for labels in same_lines(plan) if distinct else ():
        raise UserError(f"The lines {' and '.join(labels)} have the same settings, so that they "
                        "are the same runs. Change a setting of one, or leave it out.")
    return plan


def _asked(task: Task) -> Asked:
    """Return what the settings of a task tell of its protocol; and of a random split its seed."""
    config = build_config(task.model, config_dict=task.settings)
    protocol = asked_protocol(config)
    drawn = {"split_seed": config["split_seed"]} if protocol["order"] == "RO" else {}
    return Asked(task.label, task.seed, protocol | drawn)


def _loads(settings: Mapping, condition: Condition) -> bool:
    """Tell whether runs of some settings load the modality that a condition disturbs, if any."""
    loaded = settings.get("modalities")
    return not loaded or set(Corruption.of(condition.settings).modalities) <= set(loaded)


def _check_undisturbed(label: str, settings: Mapping, conditions: Iterable[Condition]) -> None:
    """Raise UserError where the runs at the undisturbed end of a curve are disturbed themselves."""
    disturbing = [key for key in _DISTURBING if Corruption.of({key: settings.get(key)}).modalities]
    reduced = ["train_share"] if settings.get("train_share", 1) != 1 else []
    for condition in conditions:
        for key in reduced if condition.curve == SPARSITY else disturbing:
            raise UserError(f"{label} has {key}={settings[key]!r}, so that the curve "
                            f"{condition.curve!r} has no undisturbed end. Leave out that setting, "
                            "or the curve.")


def same_lines(plan: Plan) -> list[tuple[str, ...]]:
    """Return the labels of lines that are the same runs, a tuple for every such group."""
    groups: dict[str, list[str]] = {}
    for line in plan.lines:
        groups.setdefault(str(plan.of(line.label)[0].folder), []).append(line.label)
    return [tuple(labels) for labels in groups.values() if len(labels) > 1]


def _key(condition: Condition) -> tuple[str, float]:
    return condition.curve, condition.level


@contextmanager
def _each_message_once():
    """Let a warning about a setting through once, not for every seed and condition."""
    seen: set[str] = set()

    def new(record: logging.LogRecord) -> bool:
        message = record.getMessage()
        return not (message in seen or seen.add(message))

    logger.addFilter(new)
    try:
        yield
    finally:
        logger.removeFilter(new)
