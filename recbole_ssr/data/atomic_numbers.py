"""Texts of an atomic file as numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

# What pandas takes for a missing number; such a word in another column is text.
_NO_NUMBER = frozenset(("", "NA", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "-NaN", "-nan",
                        "NULL", "null", "None"))
# float64 holds every whole number up to here.
_EXACT = 2**53


def numbers(cells: Sequence[str]) -> np.ndarray:
    """Return (n,) float64, nan for a cell such as NA; int64 where float64 would round integers.

    Raises WrongNumber for a cell that is neither.

    >>> numbers(["1", "NA", "2.5"])
    array([1. , nan, 2.5])
    """
    values = np.empty(len(cells))
    for row, cell in enumerate(cells):
        try:
            values[row] = np.nan if cell in _NO_NUMBER else float(cell)
        except ValueError as error:
            raise WrongNumber(row, cell) from error
    if rounds_nothing(values):
        return values
    try:
        return np.array([int(cell) for cell in cells], dtype=np.int64)
    except (ValueError, OverflowError):
        return values


def rounds_nothing(values: np.ndarray) -> bool:
    """Tell whether float64 holds integers of that size exactly. Shapes: values (n,)."""
    return not np.abs(values).max(initial=0) >= _EXACT


class WrongNumber(ValueError):
    """A cell of a column of numbers that is none: its row, from 0, and its text."""

    def __init__(self, row: int, cell: str):
        super().__init__(f"row {row}: {cell!r} is no number")
        self.row, self.cell = row, cell
