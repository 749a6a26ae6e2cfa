"""Tables of why a user gets an item."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

import numpy as np

from recbole_ssr.report.explanation.record import Explanation, label
from recbole_ssr.report.sheet import TEXT, Column, Sheet, ends_of, shortened

_SHOWN = 12  # items of the user's that a table names
_LONGEST = 44  # letters of an item
_sheet = partial(Sheet, small=True)


def tables(explanation: Explanation) -> list[Sheet]:
    """Return the user's items that brought the item up, and for SSR its bands and modalities."""
    shown = [sources_table(explanation)]
    if explanation.slots:
        shown += [slots_table(explanation), modalities_table(explanation)]
    return shown


def sources_table(explanation: Explanation) -> Sheet:
    """One row per item of the user's with what it adds to the score, the largest first."""
    sources = explanation.sources
    modalities = explanation.slots.modalities if explanation.slots else []
    shown = sorted(sources, key=lambda source: -abs(source.score))[:_SHOWN]
    shown.sort(key=lambda source: -source.score)
    rows = [_row(label(source.item, source.title), source.score, source.by_modality or [])
            for source in shown]
    others = [source for source in sources if source not in shown]
    if others:
        parts = np.sum([source.by_modality for source in others], axis=0) if modalities else []
        rows.append(_row(f"{len(others)} other items", sum(s.score for s in others), parts))
    rows.append(_row("the user's own embedding", explanation.own))
    if explanation.bias:
        rows.append(_row("the item's bias, its popularity", explanation.bias))
    rows.append(("score", f"{explanation.score:.4f}"))
    rows = [(*row, *[""] * (2 + len(modalities) - len(row))) for row in rows]
    return _sheet(f"What brought it up: the user's {len(sources)} items, and what each adds to the "
                  f"score of {explanation.score:.4f}", ("item of the user", "adds", *modalities),
                  rows, ends=(len(rows) - 2,))


def _row(name: str, score: float, parts: Iterable[float] = ()) -> tuple[str, ...]:
    return (shortened(name, _LONGEST), *(f"{x:+.4f}" for x in (score, *parts)))


def slots_table(explanation: Explanation) -> Sheet:
    """One row per side and modality, one column per band; each side adds up to the score."""
    slots, rows = explanation.slots, []
    for side, shares in (("the item", slots.item), ("the user", slots.user)):
        matrix = np.array(shares)
        rows += [("" if c else side, name, *(f"{x:+.4f}" for x in matrix[:, c]),
                  f"{matrix[:, c].sum():+.4f}") for c, name in enumerate(slots.modalities)]
        rows.append(("", "sum", *(f"{x:+.4f}" for x in matrix.sum(1)), f"{matrix.sum():.4f}"))
    return _sheet("Through which band of which modality: each side adds up to "
                  f"{_whole(explanation)}",
                  ("bands of", Column("modality", TEXT), *slots.bands, "sum"), rows,
                  ends=ends_of(rows))


def modalities_table(explanation: Explanation) -> Sheet:
    """One row per modality of the user's, one column per modality of the item's."""
    slots = explanation.slots
    return _sheet("Which modality of the user meets which of the item: all add up to "
                  f"{_whole(explanation)}",
                  ("the user's", *(f"the item's\n{name}" for name in slots.modalities), "sum"),
                  [(name, *(f"{x:+.4f}" for x in row), f"{sum(row):+.4f}")
                   for name, row in zip(slots.modalities, slots.modalities_of_both)])


def _whole(explanation: Explanation) -> str:
    return "the score without the item's bias" if explanation.bias else "the score"
