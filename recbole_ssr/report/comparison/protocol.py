"""The protocol of a comparison in the open: what all runs share, and what each line has of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from recbole_ssr.comparison import Comparison, Line
from recbole_ssr.report.protocol_words import parity_modes, ranking_words, threshold_words
from recbole_ssr.report.sheet import NONE, NUMBER, PROSE, Column, Sheet

_HASH = 12  # letters of a fingerprint; as many as in names of files
_ITEMS = {
    "split": "split", "split_fingerprint": "split hash", "group_by": "split by",
    "order": "split order", "users": "users", "items": "items", "ranking": "ranking",
    "validation_ranking": "ranking at validation", "threshold": "label 1",
    "masked": "masked at test", "metrics": "metrics", "topk": "cut-offs",
    "valid_metric": "selected on (valid)", "stopping_rule": "stopping rule",
    "train_share": "share of train used", "corruption": "features changed",
}  # fmt: skip
_SETTINGS = {
    "objective": "objective", "sampling_power": "sampling power", "negatives": "negatives",
    "batch_size": "batch size", "learning_rate": "learning rate", "epochs": "epochs at most",
    "stopping_step": "patience", "modalities": "modalities", "features": "feature hash",
}  # fmt: skip
# Settings of a file or flag that the entries above tell under another name.
_TOLD = {"train_neg_sample_args", "train_batch_size", "eval_args"}
_LONGEST_NUMBER = 12  # letters; longer values are set as text


def protocol_sheet(comparison: Comparison) -> Sheet:
    """Return what all runs share, one row per entry, and settings of training that are equal."""
    protocol = comparison.protocol
    names = [*(name for name in _ITEMS if name in protocol),
             *(name for name in protocol if name not in _ITEMS)]
    told = [(_ITEMS.get(name, name.replace("_", " ")), _short(name, protocol[name]))
            for name in names if protocol[name] is not None]
    modes = parity_modes(protocol)
    told += [("PARITY MODES", _in_words(modes))] if modes else []
    results = [result for line in comparison.lines for result in line.results]
    shared, _ = _settings(comparison)
    told += [(_setting(name), value) for name, value in shared.items() if value != NONE]
    given = _given_to_all(comparison)
    told += [("given to all lines", _in_words(given))] if given else []
    told.append(("tuning", _tuning(comparison.lines)))
    if results:
        told += [("seeds", _in_words(sorted({result.seed for result in results}))),
                 ("device", _in_words(sorted({result.device for result in results}))),
                 ("versions", "; ".join(dict.fromkeys(_in_words(r.versions) for r in results)))]
    return Sheet("Protocol of all runs", ("", Column("", PROSE)), told, name="protocol")


def setting_sheet(comparison: Comparison) -> Sheet:
    """Return what lines have of their own: training, tuning, settings; without what all share."""
    _, by_label = _settings(comparison)
    columns = ["model", *(Column(_setting(name), _kind(values.values()))
                          for name, values in by_label.items()), "tuned over",
               Column("settings", PROSE)]
    otherwise, beside = ("as all", " and from what is given to all lines") \
        if _given_to_all(comparison) else ("defaults", "")
    rows = [(line.label, *(values[line.label] for values in by_label.values()),
             _trials(line), _in_words(line.settings) or otherwise) for line in comparison.lines]
    early = "; pruned: of these, stopped before their training ended" \
        if any(line.pruned for line in comparison.lines) else ""
    return Sheet("What lines have of their own", columns, rows,
                 (f"Tuned over: settings tried and compared on validation{early}; settings: what "
                  f"differs from the model's defaults{beside}.",), "settings")


def hash_sheet(comparison: Comparison) -> Sheet:
    """Return the hash of every run's configuration, in the order of the seeds."""
    rows = [(line.label, _in_words(r.config_hash for r in line.results))
            for line in comparison.lines if line.results]
    return Sheet("Hash of the configuration, seed by seed",
                 ("model", Column("hashes", PROSE)), rows, name="configurations")


def _given_to_all(comparison: Comparison) -> dict:
    """Return the settings of all lines that neither the protocol nor those of training tell."""
    told = _TOLD.union(comparison.protocol, *(result.training for line in comparison.lines
                                              for result in line.results))
    return {key: value for key, value in comparison.settings.items() if key not in told}


def _settings(comparison: Comparison) -> tuple[dict[str, str], dict[str, dict[str, str]]]:
    """Return the settings of training that all lines share, and the others by label."""
    by_line = {line.label: [result.training for result in line.results]
               for line in comparison.lines}
    trained = {name for runs in by_line.values() for run in runs for name in run}
    names = [name for name in _SETTINGS if name in trained]
    names += sorted(trained - set(names))
    shared, different = {}, {}
    for name in names:
        values = {label: _one(_short(name, run.get(name)) for run in runs)
                  for label, runs in by_line.items()}
        distinct = {value for label, value in values.items() if by_line[label]}
        if len(distinct) == 1:
            shared[name] = distinct.pop()
        else:
            different[name] = values
    return shared, different


def _trials(line: Line) -> str:
    if line.trials is None:
        return NONE
    return f"{line.trials:,}" + (f", {line.pruned:,} pruned" if line.pruned else "")


def _tuning(lines: Iterable[Line]) -> str:
    budgets: dict[int | None, list[str]] = {}
    for line in lines:
        budgets.setdefault(line.trials, []).append(line.label)
    if not set(budgets) - {None}:
        return "none here: every line has the settings that it was given"
    if len(budgets) == 1:
        return f"{next(iter(budgets)):,} settings per line, selected on validation"
    told = [f"{'no' if trials is None else f'{trials:,}'} settings tried for {', '.join(labels)}"
            for trials, labels in budgets.items()]
    return f"not the same for every line: {'; '.join(told)}"


def _kind(values: Iterable[str]) -> str:
    """Return NUMBER for a column of short values that start as numbers do."""
    short = all(len(value) <= _LONGEST_NUMBER and not value[0].isalpha() for value in values)
    return NUMBER if short else PROSE


def _setting(name: str) -> str:
    return _SETTINGS.get(name, name.replace("_", " "))


def _one(values: Iterable[str]) -> str:
    """Return the value of all seeds, or all values where seeds differ."""
    return "; ".join(dict.fromkeys(values)) or NONE


def _short(name: str, value: object) -> str:
    """Return what a value says; hashes by their first letters."""
    if isinstance(value, str) and ("fingerprint" in name or name == "features"):
        return value[:_HASH]
    if name in ("ranking", "validation_ranking"):
        return ranking_words(value)
    if name == "threshold":
        return threshold_words(value) or NONE
    if name in ("users", "items"):
        return f"{value:,}"
    return _in_words(value)


def _in_words(value: object) -> str:
    """Return a value in words: a list with commas, a dict as name value."""
    if value is None:
        return NONE
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_in_words(entry)}" for key, entry in value.items())
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, Iterable):
        return ", ".join(map(_in_words, value))
    return str(value)
