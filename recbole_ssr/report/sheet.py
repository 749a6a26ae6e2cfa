"""A table before it is printed, and how its numbers are written.

Terminal, Markdown, LaTeX and HTML print the same sheets, so that they cannot disagree.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from rich.cells import cell_len, set_cell_size

from recbole_ssr.comparison import Spread

NONE = "-"
BEST, SECOND = "best", "second"
GOOD, WARNING, BAD, PALE = "good", "warning", "bad", "pale"
TEXT, NUMBER, PROSE = "text", "number", "prose"  # prose may be long and goes on in further lines
_DECIMALS = 4  # of metrics, which lie between 0 and 1


class Cell(NamedTuple):
    """What a cell says, its mark if it has one, and what it says less loudly below."""

    text: str
    mark: str = ""
    below: str = ""


class Column(NamedTuple):
    """A column: TEXT, NUMBER or PROSE; columns of a `group` stay together where a table splits.

    `width` is that on a terminal, 0 what the cells need.
    """

    name: str
    kind: str = NUMBER
    group: str = ""
    width: int = 0


@dataclass(frozen=True)
class Sheet:
    """A table before it is printed.

    Attributes:
        title: one line, what the table shows.
        columns: as many as cells in every row; plain text is a column of TEXT if it is the first
            one, else of NUMBER.
        rows: cells, or their texts.
        notes: sentences below the table.
        name: unique in a comparison, of letters, digits and hyphens.
        keys: leading columns that say what a row is; they are repeated where a table splits.
        ends: places of rows with a rule below.
        apart: holds nothing that was measured here.
        small: on a terminal, the title is no wider than the table, and the name of a column goes on
            in a further line only where it has a line break.
    """

    title: str
    columns: Sequence[Column | str]
    rows: Sequence[Sequence[Cell | str]]
    notes: tuple[str, ...] = ()
    name: str = ""
    keys: int = 1
    ends: tuple[int, ...] = ()
    apart: bool = False
    small: bool = False

    def __post_init__(self) -> None:
        columns = [column if isinstance(column, Column) else Column(column, NUMBER if k else TEXT)
                   for k, column in enumerate(self.columns)]
        rows = [tuple(cell if isinstance(cell, Cell) else Cell(cell) for cell in row)
                for row in self.rows]
        object.__setattr__(self, "columns", tuple(columns))
        object.__setattr__(self, "rows", tuple(rows))


def ends_of(rows: Sequence[Sequence[str]]) -> tuple[int, ...]:
    """Return the rows before those that name something new in their first cell."""
    return tuple(k for k, row in enumerate(rows[1:]) if row[0])


def each_note_once(sheets: Iterable[Sheet]) -> list[Sheet]:
    """Leave out the notes that the next sheet says again."""
    sheets = list(sheets)
    following = [sheet.notes for sheet in sheets[1:]] + [()]
    return [replace(sheet, notes=tuple(note for note in sheet.notes if note not in after))
            for sheet, after in zip(sheets, following)]


def number(value: float | None, form: str) -> str:
    """Write a number in a form such as ".3f"; a dash for nan, infinity or None."""
    return NONE if value is None or not math.isfinite(value) else f"{value:{form}}"


def shortened(text: str, longest: int) -> str:
    """Return a text of so many columns at most."""
    return text if cell_len(text) <= longest else set_cell_size(text, longest - 1) + "…"


def first_up(text: str) -> str:
    """Return a text that begins with a capital letter."""
    return text[:1].upper() + text[1:]


def figure(value: float | None, decimals: int | None = None, sign: bool = False) -> str:
    """Write a number without a leading zero: .1149, -.0021, 9.870, 153.2; a dash for nan or None.

    Without `decimals`, numbers below 1 get four decimals and larger ones four digits.
    """
    if value is None or math.isnan(value):
        return NONE
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    text = f"{value:{'+' if sign else ''},.{_decimals(value) if decimals is None else decimals}f}"
    if float(text.replace(",", "")) == 0:
        text = text.lstrip("+-")
    start = len(text) - len(text.lstrip("+-"))
    return text[:start] + text[start:].removeprefix("0") if "." in text else text


def spread_figure(spread: Spread | None, decimals: int | None = None) -> str:
    """Write mean±std, as .1149±.0027, with equal decimals; the mean alone of one seed."""
    if spread is None or not spread.n:
        return NONE
    if decimals is None:
        decimals = _decimals(spread.mean)
    mean = figure(spread.mean, decimals)
    if spread.n < 2 or math.isnan(spread.std):
        return mean
    return f"{mean}±{figure(spread.std, decimals)}"


def p_figure(p: float | None) -> str:
    """Write a p-value with three decimals: .036, <.001, 1.000; a dash for none.

    >>> p_figure(0.00001), p_figure(0.034)
    ('<.001', '.034')
    """
    if p is not None and p < 0.001:
        return "<.001"
    return figure(p, 3)


def metric_name(metric: str) -> str:
    """recall@10 -> Recall@10, ndcg@10 -> NDCG@10; names that are no metric stay as they are.

    >>> metric_name("recall@20"), metric_name("ndcg@10")
    ('Recall@20', 'NDCG@10')
    """
    name, at, k = metric.partition("@")
    if not at or not name.isalpha() or not name.islower():
        return metric
    return (name.upper() if len(name) <= 4 and name != "gini" else name.capitalize()) + at + k


def counted(number: int, noun: str) -> str:
    """Write a number with its noun, which takes an s: 1 seed, 1,500 users.

    >>> counted(1, "user"), counted(1200, "user")
    ('1 user', '1,200 users')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _decimals(value: float) -> int:
    if not math.isfinite(value):
        return 0
    digits = len(str(int(abs(value)))) if abs(value) >= 1 else 0
    return max(_DECIMALS - digits, 0)
