"""Sheets on a terminal. They split rather than truncate, and fit 100 columns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from textwrap import wrap
from typing import NamedTuple

from rich.cells import cell_len
from rich.console import Console, Group
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from recbole_ssr.report.sheet import (
    BAD,
    BEST,
    GOOD,
    NUMBER,
    PALE,
    PROSE,
    SECOND,
    WARNING,
    Cell,
    Sheet,
)

WIDTH = 100
_BETWEEN = 3  # columns from one column's text to the next one's
_STYLES = {BEST: "bold", SECOND: "underline", GOOD: "green", WARNING: "yellow", BAD: "red",
           PALE: "dim", "": ""}
# Widths at which text goes on in the next line: first as asked, then where a table is too wide.
_ROOMY, _TIGHT = {"text": 32, PROSE: 60}, {"text": 16, PROSE: 24}
_LONGEST_WORD = 24  # of the head of a number


class _Plan(NamedTuple):
    """A part of a sheet: places of its columns in the sheet, and their widths."""

    places: list[int]
    widths: list[int]


def print_sheets(console: Console, sheets: Iterable[Sheet]) -> None:
    """Print sheets, each with an empty line below."""
    for sheet in sheets:
        console.print(rendered(sheet, min(console.width, WIDTH)))
        console.print()


def rendered(sheet: Sheet, width: int = WIDTH) -> Group:
    """Return a sheet as one table, or several where it is wider than `width`, and its notes."""
    plans = _plans(sheet, width)
    parts: list[Text | Table] = []
    for k, plan in enumerate(plans):
        title = sheet.title if len(plans) == 1 else f"{sheet.title} ({k + 1} of {len(plans)})"
        style = "bold italic" if sheet.apart else "bold"
        parts += [] if sheet.small else _lines(title, style, width)
        parts += [_table(sheet, plan, title if sheet.small else None), Text()]
    for note in sheet.notes:
        parts += _lines(note, "italic" if sheet.apart else "", width)
    return Group(*(parts if sheet.notes else parts[:-1]))


def _lines(text: str, style: str, width: int) -> list[Text]:
    """Return a text in lines of `width` at most, whatever the terminal's is."""
    return [Text(line, style=style) for line in wrap(text, width)]


def _table(sheet: Sheet, plan: _Plan, title: str | None) -> Table:
    """Return the columns of a plan, every width set so that rich leaves nothing out."""
    table = Table(title=title and Text(title, "bold"), title_justify="left", show_edge=False,
                  pad_edge=False, style="dim" if sheet.apart else "",
                  show_header=any(column.name for column in sheet.columns))
    for place, width in zip(plan.places, plan.widths):
        column = sheet.columns[place]
        table.add_column(escape(column.name), width=width, overflow="fold",
                         justify="right" if column.kind == NUMBER else "left")
    for k, row in enumerate(sheet.rows):
        table.add_row(*(_text(row[place]) for place in plan.places), end_section=k in sheet.ends)
    return table


def _text(cell: Cell) -> Text:
    text = Text(cell.text, style=_STYLES[cell.mark], overflow="fold")
    return text.append(f"\n{cell.below}", style="dim") if cell.below else text


def _plans(sheet: Sheet, width: int) -> list[_Plan]:
    """Return the tables to print: one if it fits, if need be with narrow texts, else several."""
    everything = list(range(len(sheet.columns)))
    for room in (_ROOMY, _TIGHT):
        widths = [_natural(sheet, place, room) for place in everything]
        if _total(widths) <= width:
            return [_Plan(everything, _widened(sheet, everything, widths, width))]
    keys = everything[: sheet.keys]
    plans = []
    for places in _split(sheet, widths, width):
        both = keys + places
        plans.append(_Plan(both, _widened(sheet, both, [widths[p] for p in both], width)))
    return plans


def _split(sheet: Sheet, widths: Sequence[int], width: int) -> list[list[int]]:
    """Pack columns after the keys into tables; columns of a group stay together where they fit."""
    free = width - _total(widths[: sheet.keys])

    def fits(places: Sequence[int]) -> bool:
        return sum(widths[place] + _BETWEEN for place in places) <= free

    rest = range(sheet.keys, len(sheet.columns))
    parts: list[list[int]] = [[]]
    for _, members in groupby(rest, lambda place: sheet.columns[place].group):
        together = list(members)
        if fits(together) and not fits(parts[-1] + together):
            parts.append([])
        for place in together:
            if parts[-1] and not fits([*parts[-1], place]):
                parts.append([])
            parts[-1].append(place)
    return parts


def _natural(sheet: Sheet, place: int, room: dict[str, int]) -> int:
    """Return the width of a column: of its widest cell and word of the head, texts within room."""
    column = sheet.columns[place]
    if column.width:
        return column.width
    cells = max((_widest(f"{cell.text}\n{cell.below}") for cell in
                 (row[place] for row in sheet.rows)), default=1)
    if column.kind != NUMBER:
        return max(min(max(cells, _widest(column.name)), room[column.kind]), 1)
    if sheet.small:
        return max(cells, _widest(column.name), 1)
    head = max((cell_len(word) for word in column.name.split()), default=1)
    return max(cells, min(head, _LONGEST_WORD), 1)


def _widest(text: str) -> int:
    return max(map(cell_len, text.split("\n")))


def _widened(sheet: Sheet, places: Sequence[int], widths: list[int], width: int) -> list[int]:
    """Share what is left of the width among texts, short ones taking no more than they need."""
    widths = list(widths)
    texts = [k for k, place in enumerate(places)
             if sheet.columns[place].kind != NUMBER and not sheet.columns[place].width]
    wanted = {k: _natural(sheet, places[k], {"text": width, PROSE: width}) for k in texts}
    for done, k in enumerate(sorted(texts, key=wanted.get)):
        share = max(width - _total(widths), 0) // (len(texts) - done)
        widths[k] = min(wanted[k], widths[k] + share)
    return widths


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + _BETWEEN * (len(widths) - 1)
