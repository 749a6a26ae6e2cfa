"""The table of a run that was evaluated again: a row per part and metric, a column per cut-off."""

from __future__ import annotations

from collections.abc import Mapping

from recbole_ssr.report.protocol_words import ranking_words
from recbole_ssr.report.sheet import NONE, TEXT, Column, Sheet, ends_of

_PARTS = ("valid", "test")


def evaluation_table(facts: Mapping) -> Sheet:
    """Return the table of a record of measurement. Metrics without a cut-off have a column too."""
    protocol = facts["protocol"]
    parts = [part for part in _PARTS if part in facts]
    names, cutoffs = {}, {}  # as sets that keep their order
    for key in (key for part in parts for key in facts[part]):
        name, _, k = key.partition("@")
        names[name] = cutoffs[k] = None
    rows = [("" if n else part, _written(name, protocol["metrics"]),
             *(f"{facts[part][key]:.4f}" if (key := f"{name}@{k}" if k else name) in facts[part]
               else NONE for k in cutoffs))
            for part in parts for n, name in enumerate(names)]
    columns = ("part", Column("metric", TEXT), *(f"@{k}" if k else "value" for k in cutoffs))
    title = (f"{facts['model']} on {facts['dataset']}: "
             f"{ranking_words(protocol['ranking'], protocol['threshold'])}, {protocol['split']}")
    return Sheet(title, columns, rows, notes=tuple(_notes(facts)), keys=2, ends=ends_of(rows))


def _notes(facts: Mapping) -> list[str]:
    notes, worse = [], facts["corruption"] or {}
    if facts["popularity_discount"]:
        notes.append(f"Popularity discount {facts['popularity_discount']:g}.")
    for name in worse.get("dropped", ()):
        notes.append(f"Without the features of {name}.")
    notes += [f"{share:.0%} of the items have lost their features of {name}."
              for name, share in worse.get("missing", {}).items()]
    notes += [f"Noise on {name}, {level:g} times as long as a row."
              for name, level in worse.get("noise", {}).items()]
    return notes


def _written(name: str, metrics: list[str]) -> str:
    """recall -> Recall, as the settings write it."""
    return next((metric for metric in metrics if metric.lower() == name), name)
