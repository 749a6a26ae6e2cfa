"""Terminal tables of why a user gets an item. They fit 100 columns."""

from __future__ import annotations

import numpy as np
from rich.markup import escape
from rich.table import Table

from recbole_ssr.report.explanation.record import Explanation, label

_SHOWN = 12  # items of the user's that a table names


def tables(found: Explanation) -> list[Table]:
    """Return the user's items that brought the item up, and for SSR its bands and modalities."""
    tables = [sources_table(found)]
    if found.slots:
        tables += [slots_table(found), modalities_table(found)]
    return tables


def sources_table(found: Explanation) -> Table:
    """One row per item of the user's with what it adds to the score, the largest first."""
    modalities = found.slots.modalities if found.slots else []
    table = _table(f"What brought it up: the user's {len(found.sources)} items, and what each adds "
                   f"to the score of {found.score:.4f}", "item of the user", "adds", *modalities)
    shown = sorted(found.sources, key=lambda source: -abs(source.score))[:_SHOWN]
    shown.sort(key=lambda source: -source.score)
    for source in shown:
        table.add_row(escape(label(source.item, source.title)), f"{source.score:+.4f}",
                      *(f"{part:+.4f}" for part in source.by_modality or []))
    others = [source for source in found.sources if source not in shown]
    if others:
        parts = np.sum([source.by_modality for source in others], axis=0) if modalities else []
        table.add_row(f"{len(others)} other items", f"{sum(s.score for s in others):+.4f}",
                      *(f"{part:+.4f}" for part in parts))
    table.add_row("the user's own embedding", f"{found.own:+.4f}", end_section=not found.bias)
    if found.bias:
        table.add_row("the item's bias, its popularity", f"{found.bias:+.4f}", end_section=True)
    table.add_row("score", f"{found.score:.4f}")
    return table


def slots_table(found: Explanation) -> Table:
    """One row per side and modality, one column per band; each side adds up to the score."""
    slots = found.slots
    table = _table(f"Through which band of which modality: each side adds up to {_whole(found)}",
                   "bands of", "modality", *slots.bands, "sum")
    for side, shares in (("the item", slots.item), ("the user", slots.user)):
        matrix = np.array(shares)
        for c, name in enumerate(slots.modalities):
            table.add_row("" if c else side, escape(name), *(f"{x:+.4f}" for x in matrix[:, c]),
                          f"{matrix[:, c].sum():+.4f}")
        table.add_row("", "sum", *(f"{x:+.4f}" for x in matrix.sum(1)), f"{matrix.sum():.4f}",
                      end_section=True)
    return table


def modalities_table(found: Explanation) -> Table:
    """One row per modality of the user's, one column per modality of the item's."""
    slots = found.slots
    table = _table("Which modality of the user meets which of the item: all add up to "
                   f"{_whole(found)}",
                   "the user's", *(f"the item's\n{name}" for name in slots.modalities), "sum")
    for name, row in zip(slots.modalities, slots.modalities_of_both):
        table.add_row(escape(name), *(f"{x:+.4f}" for x in row), f"{sum(row):+.4f}")
    return table


def _whole(found: Explanation) -> str:
    return "the score without the item's bias" if found.bias else "the score"


def _table(title: str, first: str, *names: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="", show_edge=False,
                  pad_edge=False)
    table.add_column(first, overflow="ellipsis", no_wrap=True, max_width=44)
    for name in names:
        table.add_column(escape(name), justify="left" if name == "modality" else "right")
    return table
