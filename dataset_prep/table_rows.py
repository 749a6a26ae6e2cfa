"""Tables of a user as rows of text: CSV, TSV, JSON lines (each also .gz) and Parquet.

Values are text exactly as in the file, outer blanks aside: leading zeros stay, and an integer never
becomes 1.0. The numbers 3 and 3.0 of JSON are one. A blank, a null and an absent value are "".
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Protocol

from recbole_ssr.dataset_prep.lines import csv_rows, first_line, read_lines
from recbole_ssr.errors import UserError

_DELIMITED = (".csv", ".tsv", ".txt", ".inter", ".item")
# RecBole's atomic files: tabs, no quoting, and a type behind each column's name.
_ATOMIC = (".inter", ".item")
_JSON = (".jsonl", ".ndjson", ".json")
_PARQUET = (".parquet", ".pq")
SUFFIXES = (*_DELIMITED, *_JSON, *_PARQUET)
_DELIMITERS = ",;\t|"
# JSON lines have no header; keys that none of the first records has are not known as columns.
_HEAD = 1000
_BATCH = 2**16


class Table(Protocol):
    """A file of rows with named columns; `unit` is what its rows are counted in, line or row."""

    path: Path
    columns: list[str]
    unit: str

    def rows(self, wanted: Sequence[str], single: Sequence[str] = (),
             null: str = "") -> Iterator[tuple[int, list[str]]]:
        """Yield (number, values of the `wanted` columns), with `null` for nothing within a list.

        Raises UserError for a malformed row, and for a list or an object in a column of `single`.
        """


def open_table(path: str | Path) -> Table:
    """Return the table in a file, by its suffix, with its columns read.

    Raises UserError for another suffix, an absent, empty or malformed file, and columns of one
    name.
    """
    path, suffix = Path(path), suffix_of(path)
    kinds = {_DELIMITED: _delimited, _JSON: _json_lines, _PARQUET: _parquet}
    for suffixes, open_kind in kinds.items():
        if suffix in suffixes:
            table = open_kind(path)
            break
    else:
        raise UserError(f"{path} has the suffix {suffix!r}. Tables are .csv, .tsv, .jsonl (each "
                        "also .gz) or .parquet; save it as one of these.")
    twice = {name for name in table.columns if table.columns.count(name) > 1 and name}
    if twice:
        raise UserError(f"{path} has several columns named {sorted(twice)[0]!r}. Rename one."
                        f"{without_header(path, table.columns)}")
    return table


def without_header(path: str | Path, names: Sequence[str]) -> str:
    """Return a question, after a blank, where the names in a first line look like data; else "".

    >>> without_header("orders.csv", ["u0", "i28", "4"])
    ' Does the first line lack names? Write those of the columns there.'
    """
    digits = [any(map(str.isdigit, name)) for name in names if name]
    if suffix_of(path) in _DELIMITED and digits and (all(digits) or any(map(_is_number, names))):
        return " Does the first line lack names? Write those of the columns there."
    return ""


def suffix_of(path: str | Path) -> str:
    """Return the suffix in lower case, that before .gz of a packed file.

    >>> suffix_of("orders.CSV.gz")
    '.csv'
    """
    return Path(Path(path).name.lower().removesuffix(".gz")).suffix


def flat(value, null: str = "") -> str:
    """Return a JSON value as text: the entries of lists and objects joined by blanks.

    `null` stands for entries that are null or blank.

    >>> flat({"category": ["Toys", None, "Games"], "size": 3})
    'Toys Games 3'
    """
    if value is None:
        return ""
    if isinstance(value, bytes):  # texts of Parquet files that do not say that they are
        value = value.decode("utf-8", "backslashreplace")
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        return " ".join(filter(None, (flat(entry, null) or null for entry in value)))
    return str(value).strip()


@dataclass
class _Delimited:
    path: Path
    columns: list[str]
    dialect: dict
    unit: str = "line"

    def rows(self, wanted: Sequence[str], single: Sequence[str] = (),  # noqa: ARG002
             null: str = "") -> Iterator[tuple[int, list[str]]]:  # noqa: ARG002
        places, width = [self.columns.index(name) for name in wanted], len(self.columns)
        for number, row in islice(_csv_rows(self.path, self.dialect), 1, None):
            if len(row) != width:
                raise UserError(
                    f"{self.path}, line {number}: {len(row)} fields, but the header has "
                    f"{width}: {_shown(row)}. Put fields that contain the delimiter "
                    f"{self.dialect['delimiter']!r} into double quotes, or mend the line."
                )
            yield number, [row[place].strip() for place in places]


def _delimited(path: Path) -> _Delimited:
    suffix = suffix_of(path)
    header = first_line(path)[1]
    if suffix in (".tsv", *_ATOMIC):
        delimiter = "\t"
    else:
        # max returns the first of equals, the comma.
        delimiter = max(_DELIMITERS, key=header.count)
    quoting = csv.QUOTE_NONE if suffix in _ATOMIC else csv.QUOTE_MINIMAL
    # Strict, since a stray quote would otherwise swallow rows up to the next one in silence.
    dialect = {"delimiter": delimiter, "quoting": quoting, "strict": True}
    columns = [name.strip() for name in next(_csv_rows(path, dialect))[1]]
    if suffix in _ATOMIC:
        columns = [name.partition(":")[0] for name in columns]
    return _Delimited(path, columns, dialect)


def _csv_rows(path: Path, dialect: dict) -> Iterator[tuple[int, list[str]]]:
    """Yield (number of its first line, fields) of each row that is not blank."""
    reader = csv_rows((f"{line}\n" for _, line in read_lines(path)), **dialect)
    number = 1
    try:
        for row in reader:
            if dialect["delimiter"] == "\t" and any("\n" in x and "\t" in x for x in row):
                # A quote that opens one field and closes another has swallowed rows.
                raise csv.Error("a quoted field goes over several lines and has tabs in it")
            if any(row):
                yield number, row
            number = reader.line_num + 1
    except csv.Error as error:
        raise UserError(
            f"{path}, the row from line {number} on: {error}. Double the quotes inside a quoted "
            "field (\"\") and close every quote, or save the table as JSON lines or Parquet."
        ) from error


@dataclass
class _JsonLines:
    path: Path
    columns: list[str]
    unit: str = "line"

    def rows(self, wanted: Sequence[str], single: Sequence[str] = (),
             null: str = "") -> Iterator[tuple[int, list[str]]]:
        for number, record in _records(self.path):
            for name in single:
                _refuse_several(record.get(name), name, f"{self.path}, line {number}")
            yield number, [flat(record.get(name), null) for name in wanted]


def _json_lines(path: Path) -> _JsonLines:
    if first_line(path)[1].lstrip().startswith("["):
        raise UserError(f"{path} is one JSON array. Write one object per line (JSON lines; in "
                        "pandas to_json(orient='records', lines=True)).")
    columns: dict[str, None] = {}
    for _, record in islice(_records(path), _HEAD):
        columns.update(dict.fromkeys(record))
    return _JsonLines(path, list(columns))


def _records(path: Path) -> Iterator[tuple[int, dict]]:
    for number, line in read_lines(path):
        if not line.strip():
            continue
        try:
            # Numbers stay as they are written, save that 3.0 is 3.
            record = json.loads(line, parse_int=str, parse_float=_as_whole,
                                parse_constant=lambda _: None)
        except (ValueError, RecursionError) as error:
            raise UserError(f"{path}, line {number}: no JSON ({error}): {_shown(line)}. Write one "
                            "JSON object per line.") from error
        if not isinstance(record, dict):
            raise UserError(f"{path}, line {number}: {_shown(line)} is no JSON object. Write "
                            "{\"column\": value, ...} on every line.")
        yield number, record


def _as_whole(number: str) -> str:
    """Return the text of a JSON number with a point or an exponent; without them if it is whole."""
    value = float(number)
    return str(int(value)) if value.is_integer() and abs(value) < 2**53 else number


@dataclass
class _Parquet:
    path: Path
    columns: list[str]
    unit: str = "row"

    def rows(self, wanted: Sequence[str], single: Sequence[str] = (),
             null: str = "") -> Iterator[tuple[int, list[str]]]:
        number = 1
        with open_parquet(self.path) as file:
            for batch in file.iter_batches(_BATCH, columns=list(wanted)):
                for name in single:
                    first = next(filter(_is_several, batch.column(name).to_pylist()), None) \
                        if batch.schema.field(name).type.num_fields else None
                    _refuse_several(first, name, str(self.path))
                columns = [_texts(batch.column(name), null) for name in wanted]
                for row in zip(*columns):
                    yield number, list(row)
                    number += 1


def _parquet(path: Path) -> _Parquet:
    with open_parquet(path) as file:
        if not file.metadata.num_rows:
            raise UserError(f"{path} has no rows. Save the table again.")
        return _Parquet(path, list(file.schema_arrow.names))


@contextmanager
def open_parquet(path: Path) -> Iterator:
    """Yield the pyarrow ParquetFile of a file; UserError without pyarrow and for a damaged file."""
    try:
        import pyarrow
        from pyarrow.parquet import ParquetFile
    except ImportError as error:
        raise UserError(f"{path} needs the package pyarrow ({error}): pip install "
                        "recbole_ssr[report], or save the table as CSV.") from error
    try:
        with ParquetFile(path) as file:
            yield file
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist. Correct its path.") from error
    except (OSError, pyarrow.ArrowException) as error:
        raise UserError(f"{path} is no readable Parquet file ({error}). Save it again.") from error


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _is_several(value: object) -> bool:
    return isinstance(value, (list, tuple, dict))


def _refuse_several(value: object, column: str, where: str) -> None:
    if _is_several(value):
        kind = "an object" if isinstance(value, dict) else "a list"
        raise UserError(f"{where}: {column} is {kind}, {_shown(value)}. Write one row per value "
                        f"(in pandas df.explode({column!r})), and a table as JSON lines by "
                        "to_json(orient='records', lines=True).")


def _texts(column, null: str) -> list[str]:
    """Return a pyarrow column as text; times and dates become seconds since 1970 (UTC)."""
    import pyarrow

    kinds = pyarrow.types
    if kinds.is_dictionary(column.type):
        column = column.dictionary_decode()
    if kinds.is_date(column.type):
        column = column.cast(pyarrow.timestamp("ms"))
    if kinds.is_timestamp(column.type):
        per_second = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[column.type.unit]
        return ["" if value is None else _seconds(value, per_second)
                for value in column.cast(pyarrow.int64()).to_pylist()]
    values = column.to_pylist()
    if kinds.is_floating(column.type):
        # Integers with gaps are floating point in a data frame.
        return ["" if value is None or value != value
                else str(int(value)) if value.is_integer() else repr(value) for value in values]
    return [flat(value, null) for value in values]


def _seconds(value: int, per_second: int) -> str:
    """Return a number of parts of a second as seconds, with all digits of its fraction."""
    whole, part = divmod(abs(value), per_second)
    fraction = f".{part:0{len(str(per_second)) - 1}d}".rstrip("0") if part else ""
    return f"{'-' * (value < 0)}{whole}{fraction}"


def _shown(value) -> str:
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:100]} ..."
