"""Columns of an atomic file: the distinct texts, and which of them each row has.

A file of regular lines is read in blocks, of whose bytes whole columns are taken at once: ten
million lines one by one take minutes and gigabytes.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from recbole_ssr.data.atomic_numbers import numbers, rounds_nothing

_BLOCK_BYTES = 2**23
_NEWLINE = b"\n"
# Bytes by which a line may mean something else than the texts between its separators. Without the
# last one, texts filled up with it to whole words differ where they do.
_IRREGULAR = (b'"', b"\r", b"\0")
_WORD = 8
_MASKS = np.array([2 ** (8 * length) - 1 for length in range(_WORD + 1)], dtype=np.uint64)


class Column(NamedTuple):
    """Cells of one column. Shapes: codes (n,) int32, into `distinct`, in order of appearance."""

    codes: np.ndarray
    distinct: list[str]

    def spread(self, values: Sequence) -> np.ndarray:
        """Return, for every row, the value of its text, (n,) objects; a value for each text.

        >>> Column(np.array([0, 1, 0]), ["a", "b"]).spread(["A", "B"])
        array(['A', 'B', 'A'], dtype=object)
        """
        table = np.empty(len(values), dtype=object)
        table[:] = values
        return table[self.codes]

    def first_row(self, code: int) -> int:
        """Return the first row, from 0, that has a text."""
        return int(np.argmax(self.codes == code))


class Texts:
    """A column to which texts, or blocks of texts, are added."""

    def __init__(self):
        self._known: dict[str, int] = {}
        self._rows: list[int] = []
        self._blocks: list[np.ndarray] = []

    def append(self, text: str) -> None:
        """Add a row."""
        self._rows.append(self._known.setdefault(text, len(self._known)))

    def extend(self, block: Column) -> None:
        """Add the rows of a block."""
        known = self._known
        table = [known.setdefault(text, len(known)) for text in block.distinct]
        self._blocks.append(np.array(table, dtype=np.int32)[block.codes])

    def finished(self) -> Column:
        """Return the column; single rows stand before blocks."""
        rows = np.array(self._rows, dtype=np.int32)
        return Column(np.concatenate([rows, *self._blocks]), list(self._known))


class Numbers:
    """A column of float64: texts of times are seldom the same, and are not kept."""

    def __init__(self):
        self._blocks = [np.empty(0)]

    def extend(self, block: Column) -> None:
        """Add the rows of a block. Raises ValueError where float64 holds one of them wrong."""
        values = numbers(block.distinct)
        if not rounds_nothing(values):
            raise ValueError("integers beyond float64")
        self._blocks.append(values[block.codes])

    def finished(self) -> np.ndarray:
        """Return the column (n,)."""
        return np.concatenate(self._blocks)


def columns_by_block(file: str, separator: str, places: Sequence[int], width: int,
                     numeric: Sequence[bool]) -> list[Column | np.ndarray] | None:
    """Read the columns at `places` of a UTF-8 file whose lines are all regular; else return None.

    A regular line has `width` texts between single bytes that separate them, no quotes, and
    numbers in the columns that are `numeric`.
    """
    if width < 2 or len(separator.encode()) != 1 or separator in '"\r\n\0':
        return None
    columns = [Numbers() if number else Texts() for number in numeric]
    with open(file, "rb") as lines:
        if b"\r" in lines.readline().removesuffix(_NEWLINE).removesuffix(b"\r"):
            return None  # lines end otherwise
        for block in _blocks(lines):
            borders = _borders(block, separator.encode(), width)
            if borders is None:
                return None
            try:
                for column, place in zip(columns, places):
                    column.extend(_column(block, borders, place))
            except ValueError:
                return None
    return [column.finished() for column in columns]


def _blocks(file: io.BufferedReader) -> Iterator[bytes]:
    """Yield whole lines, each with a newline of one byte at its end."""
    rest = b""
    while read := file.read(_BLOCK_BYTES):
        lines, newline, tail = read.rpartition(_NEWLINE)
        if newline:
            yield (rest + lines + newline).replace(b"\r\n", _NEWLINE)
            rest = tail
        else:
            rest += tail
    if rest:
        yield rest + _NEWLINE


def _borders(block: bytes, separator: bytes, width: int) -> np.ndarray | None:
    """Return where the texts of each line end, (n, width); None for lines that are irregular."""
    if any(byte in block for byte in _IRREGULAR):
        return None
    try:
        block.decode()
    except UnicodeDecodeError:
        return None
    codes = np.frombuffer(block, dtype=np.uint8)
    newline, between = codes == _NEWLINE[0], codes == separator[0]
    borders = np.flatnonzero(newline | between)
    if len(borders) % width:
        return None
    borders = borders.reshape(-1, width)
    # Of width borders in a row, the last one and no other ends a line.
    ends = newline[borders]
    return borders if ends[:, -1].all() and not ends[:, :-1].any() else None


def _column(block: bytes, borders: np.ndarray, place: int) -> Column:
    """Return the texts of one column of a block. Shapes: borders (n, width)."""
    ends = borders[:, place]
    starts = (borders[:, place - 1] if place else np.append(-1, borders[:-1, -1])) + 1
    lengths = ends - starts
    padded = np.frombuffer(block + bytes(_WORD), dtype=np.uint8)
    # Word k holds the bytes from k on, wherever that is.
    words = np.ndarray(len(block), dtype="<u8", buffer=padded, strides=(1,))
    codes = np.zeros(len(ends), dtype=np.int64)
    for offset in range(0, max(int(lengths.max(initial=0)), 1), _WORD):
        left = np.clip(lengths - offset, 0, _WORD)
        word = words[np.where(left > 0, starts + offset, 0)] & _MASKS[left]
        more, values = pd.factorize(word)
        # Equal so far and here. Both are below the number of rows, so that no code overflows.
        codes = pd.factorize(codes * len(values) + more)[0] if offset else more
    first = np.empty(int(codes.max(initial=-1)) + 1, dtype=np.int64)
    # The last assignment to a place counts, so that rows go backwards.
    first[codes[::-1]] = np.arange(len(codes))[::-1]
    texts = [block[start:end].decode() for start, end in zip(starts[first], ends[first])]
    return Column(codes, texts)
