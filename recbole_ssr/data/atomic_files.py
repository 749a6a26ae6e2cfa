"""RecBole's atomic files as text: `.inter`, `.user`, `.item` and the like, one row a line.

RecBole reads them with pandas, which takes words such as NA and null for missing values and fills
what a short line lacks. Here a cell is the text that stands in the file. Files of many lines that
hold no quotes are read in blocks, with the same result.
"""

from __future__ import annotations

import codecs
import csv
import os
import shlex
from collections.abc import Container, Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
from recbole.utils import FeatureType

from recbole_ssr.data.atomic_blocks import Column, Texts, columns_by_block
from recbole_ssr.errors import UserError

# Columns of MMRec's files, which have no types.
_OF_MMREC = {"userID", "itemID"}


def read_header(file: str | Path, separator: str, encoding: str | None) -> dict[str, str]:
    """Return the type of each column by its name, in the order of the file.

    Raises UserError for a file that does not exist or cannot be read, and for a first line that is
    no list of name:type columns.
    """
    if not os.path.isfile(file):
        path = Path(file)
        others = sorted(file.name for file in path.parent.glob(f"*{path.suffix}"))
        there = ", ".join(others) or f"no {path.suffix} file"
        raise UserError(f"{file} does not exist; the folder holds {there}. Name the interaction "
                        "file after its folder.")
    if not separator:
        raise UserError("field_separator is empty. Write the text between two columns, such as a "
                        "tab or a comma.")
    head = next(_lines(file, encoding), (1, ""))[1]
    columns = {}
    for column in head.split(separator):
        name, _, kind = column.partition(":")
        if not name or kind not in [known.value for known in FeatureType]:
            raise UserError(
                f"{file} starts with {head[:200]!r}; {column[:80]!r} is no name:type column. Write "
                f"for instance user_id:token{separator}item_id:token, separated by "
                f"field_separator ({separator!r}).{_import_of(file, head.split(separator))}"
            )
        if name in columns:
            raise UserError(f"{file}, line 1: two columns are named {name!r}. Rename one.")
        columns[name] = kind
    return columns


def _import_of(file: str | Path, columns: Sequence[str]) -> str:
    """Return how a file of MMRec's becomes a dataset, behind a blank; "" for any other."""
    folder = shlex.quote(str(Path(file).parent))
    return (f" To make a dataset of MMRec's file: recbole-ssr prepare --from=mmrec {folder} "
            "--name=OTHER" if _OF_MMREC.issubset(columns) else "")


def read_columns(file: str, separator: str, encoding: str | None,
                 wanted: Sequence[str],
                 numeric: Container[str] = ()) -> dict[str, Column | np.ndarray]:
    """Return the cells of the columns `wanted`, row by row, exactly as they stand in the file.

    Of a column in `numeric` they may be (n,) float64 in their place, where they all are numbers.
    Blank lines are no rows. A line that as a whole is CSV with quotes loses them; any other quote
    is text. Raises UserError, with file and line, for a line of another width than the
    first and for bytes of another encoding.
    """
    header = list(read_header(file, separator, encoding))
    places = [header.index(name) for name in wanted]
    columns = None
    if codecs.lookup(_with_mark(encoding)).name == "utf-8-sig":
        columns = columns_by_block(file, separator, places, len(header),
                                   numeric=[name in numeric for name in wanted])
    if columns is None:  # it has lines to be told apart, or to be told of
        texts = [Texts() for _ in places]
        for _, cells in _rows(file, separator, encoding):
            for column, place in zip(texts, places):
                column.append(cells[place])
        columns = [column.finished() for column in texts]
    return dict(zip(wanted, columns))


def line_of(file: str, separator: str, encoding: str | None, row: int) -> int:
    """Return the number, from 1, of the line that holds a row, which is counted from 0."""
    return next(islice(_rows(file, separator, encoding), row, None))[0]


def _rows(file: str, separator: str, encoding: str | None) -> Iterator[tuple[int, list[str]]]:
    """Yield the number of the line and the cells of each row."""
    width = len(read_header(file, separator, encoding))
    for number, line in islice(_lines(file, encoding), 1, None):
        if not line.strip() and separator not in line:
            continue
        cells = _quoted(line, separator, width) if '"' in line else line.split(separator)
        if len(cells) != width:
            raise UserError(
                f"{file}, line {number} has {len(cells)} columns, but the first line {width}: "
                f"{line[:80]!r}. Give every line as many, separated by field_separator "
                f"({separator!r})."
            )
        yield number, cells


def _quoted(line: str, separator: str, width: int) -> list[str]:
    """Return the cells of a line with quotes, which are CSV's only where that gives `width`."""
    plain = line.split(separator)
    if len(separator) > 1:  # which is no CSV
        return plain
    before = csv.field_size_limit(len(line) + 1)
    try:
        cells = next(csv.reader([line], delimiter=separator, strict=True))
    except csv.Error:
        return plain
    finally:
        csv.field_size_limit(before)
    return cells if len(cells) == width else plain


def _lines(file: str, encoding: str | None) -> Iterator[tuple[int, str]]:
    """Yield (number from 1, line without its end); a byte order mark is no part of the first."""
    number = 0
    try:
        with open(file, encoding=_with_mark(encoding)) as lines:
            for number, line in enumerate(lines, start=1):
                yield number, line.rstrip("\n")
    except UnicodeError as error:
        raise UserError(
            f"{file} cannot be read: from line {number + 1} on it is no {_named(encoding)} "
            f"({getattr(error, 'reason', error)}). Save it so, or set encoding to what it is."
        ) from error
    except LookupError as error:
        raise UserError(f"encoding is {encoding!r}, which Python does not know. Write for instance "
                        "utf-8.") from error
    except OSError as error:
        raise UserError(f"{file} cannot be read ({error}). Check its permissions.") from error


def _with_mark(encoding: str | None) -> str:
    name = _named(encoding)
    return "utf-8-sig" if codecs.lookup(name).name == "utf-8" else name


def _named(encoding: str | None) -> str:
    return encoding or "utf-8"
