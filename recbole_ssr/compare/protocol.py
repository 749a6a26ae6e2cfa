"""Which results may stand in one table, and what readers must know of those that may."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from recbole_ssr.errors import UserError
from recbole_ssr.result import RunResult

_ABSENT = "none"  # said for an entry that a protocol does not have
_HASH = 12  # letters of a fingerprint that tables show
_NAMED = 3  # runs that a message names; more are counted
_REMEDY = ("Results of different splits or protocols do not compare. Give all models the same "
           "settings of data and evaluation, or another folder with --out=FOLDER.")


class Asked(NamedTuple):
    """A run that has not begun: what it is called, and what its settings tell of its protocol."""

    model: str
    seed: int
    protocol: dict


def check_protocols(runs: Sequence[Asked | RunResult], others: Iterable[str] = ()) -> None:
    """Raise UserError where protocols differ, naming every differing entry, its values and whose
    they are; and for `others`, differences in words, empty where there is none.
    """
    names = dict.fromkeys(name for run in runs for name in run.protocol)
    refused = [_difference(name, runs, lambda run, name=name: run.protocol.get(name))
               for name in names]
    refused = [text for text in [*refused, *others] if text]
    if refused:
        raise UserError(f"These runs cannot stand in one table: {'; '.join(refused)}. {_REMEDY}")


def compare_protocols(
    results: Sequence[RunResult], features_vary: bool = False
) -> tuple[str, ...]:
    """Refuse results that do not compare; return notes on what else differs, one sentence each.

    Refused are differences in dataset, split, masking, metrics, selection or any other entry of the
    protocol, and features that differ though the modalities are the same. Noted are versions,
    devices, modalities, and budgets of training: most epochs and patience.

    Args:
        results: of all lines and seeds.
        features_vary: lines differ in features on purpose, by settings of their own such as
            feature_scaling: this is noted then, not refused.

    Raises:
        UserError: naming every differing entry, its values and whose they are.
    """
    features = _features(results)
    check_protocols(results, [_difference("dataset", results, lambda result: result.dataset),
                              *(features if not features_vary else ())])
    notes = [text and f"Lines see different {text}." for text in features]
    return tuple(text for text in [*_notes(results), *notes] if text)


def _notes(results: Sequence[RunResult]) -> Iterable[str]:
    for package in dict.fromkeys(name for result in results for name in result.versions):
        text = _difference(f"version of {package}", results,
                           lambda r, package=package: r.versions.get(package))
        yield text and f"The runs differ in the {text}."
    text = _difference("device", results, lambda result: result.device)
    yield text and f"Seconds and memory do not compare between devices: {text}."
    budgets = [_of_training("epochs", "most epochs", results),
               _of_training("stopping_step", "patience in evaluations", results)]
    budgets = [text for text in budgets if text]
    yield budgets and f"The budgets of training differ: {'; '.join(budgets)}."
    text = _difference("modalities", [r for r in results if _modalities(r)], _modalities)
    yield text and f"Not all lines with features see the same {text}."


def _features(results: Sequence[RunResult]) -> list[str]:
    """Return where features differ among runs of equal modalities."""
    known = [result for result in results if result.training.get("features")]
    return [_difference(f"features ({modalities})",
                        [result for result in known if _modalities(result) == modalities],
                        lambda result: result.training["features"][:_HASH])
            for modalities in dict.fromkeys(map(_modalities, known))]


def _modalities(result: RunResult) -> str:
    """Return the modalities in words; empty for a model of ids alone."""
    return ", ".join(result.training.get("modalities") or ())


def _of_training(key: str, name: str, results: Sequence[RunResult]) -> str:
    """Return a difference in training among the runs whose files tell it."""
    known = [result for result in results if key in result.training]
    return _difference(name, known, lambda result: result.training[key])


def _difference(name: str, results: Sequence[Asked | RunResult],
                value_of: Callable[[Asked | RunResult], object]) -> str:
    """Return "name: a (SSR seed 1), b (BPR seed 1)" where values differ, else an empty text."""
    whose: dict[str, list[str]] = {}
    for result in results:
        value = value_of(result)
        text = _ABSENT if value is None else str(value)
        whose.setdefault(text, []).append(f"{result.model} seed {result.seed}")
    if len(whose) < 2:
        return ""
    return f"{name}: " + ", ".join(f"{text} ({_few(runs)})" for text, runs in whose.items())


def _few(runs: Sequence[str]) -> str:
    named = ", ".join(runs[:_NAMED])
    return named if len(runs) <= _NAMED else f"{named} and {len(runs) - _NAMED} more"
