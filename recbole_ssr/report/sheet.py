"""Tables of a comparison as rows of text, and how their numbers are written.

Terminal, Markdown and LaTeX print the same sheets, so that they cannot disagree.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from recbole_ssr.comparison import Spread

NONE = "-"
BEST, SECOND = "best", "second"
TEXT, NUMBER, PROSE = "text", "number", "prose"  # prose may be long and goes on in further lines
_DECIMALS = 4  # of metrics, which lie between 0 and 1


class Cell(NamedTuple):
    """What a cell says, and whether it is marked: BEST, SECOND or not."""

    text: str
    mark: str = ""


class Column(NamedTuple):
    """A column: TEXT, NUMBER or PROSE; columns of a `group` stay together where a table splits."""

    name: str
    kind: str = NUMBER
    group: str = ""


@dataclass(frozen=True)
class Sheet:
    """A table before it is printed.

    Attributes:
        name: unique in a comparison, of letters, digits and hyphens.
        title: one line, what the table shows.
        columns: as many as cells in every row.
        rows: cells.
        notes: sentences below the table.
        keys: leading columns that say what a row is; they are repeated where a table splits.
        apart: holds nothing that was measured here.
    """

    name: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()
    keys: int = 1
    apart: bool = False


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
