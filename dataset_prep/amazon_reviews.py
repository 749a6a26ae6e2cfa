"""Interactions from the files of Amazon reviews and ratings.

The releases of 2014 (McAuley et al., SIGIR 2015) and 2018 (Ni et al., EMNLP 2019), and Amazon
Reviews 2023 (Hou et al., 2024). A row counts whatever its rating; rows keep the file's order.
"""

from __future__ import annotations

import csv
import json
import logging
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from recbole_ssr.data.ids import flaw_of_id
from recbole_ssr.dataset_prep.interactions import Interactions, InteractionsBuilder
from recbole_ssr.dataset_prep.lines import csv_rows, first_line, read_lines
from recbole_ssr.errors import UserError

logger = logging.getLogger("recbole_ssr")

# Rows that wait as Python objects before they become codes.
_ASIN = re.compile(r"[0-9B][0-9A-Z]{9}")
_CHUNK = 100_000
# Seconds of 1990 and 2100: Amazon opened in 1994, and a wrong unit misses by a factor of 1000.
_EARLIEST, _LATEST = 631_152_000, 4_102_444_800
_LARGEST_RATING = 3.4e38
_MISSING = frozenset(("", "NA", "NaN", "nan", "null", "None"))


class _Layout(NamedTuple):
    """The names that a release gives to what is read, and its units of time per second."""

    user: str
    item: str
    rating: str
    time: str
    per_second: int

    @property
    def names(self) -> tuple[str, ...]:
        return self[:4]


_LAYOUTS = (_Layout("reviewerID", "asin", "overall", "unixReviewTime", 1),
            _Layout("user_id", "parent_asin", "rating", "timestamp", 1000))


class _Row(NamedTuple):
    user: str
    item: str
    rating: float
    time: float


def read_interactions(path: str | Path) -> Interactions:
    """Read reviews (JSON lines) or ratings (CSV), whichever the file holds, plain or gzip.

    Raises UserError as `read_reviews` and `read_ratings` do.
    """
    is_json = first_line(path)[1].lstrip().startswith(("{", "["))
    return read_reviews(path) if is_json else read_ratings(path)


def read_reviews(path: str | Path) -> Interactions:
    """Read one JSON object per line; the keys of the first one tell its release.

    2014 and 2018: reviewerID, asin, overall, unixReviewTime in seconds. 2023: user_id,
    parent_asin, rating, timestamp in milliseconds. Times become seconds; other keys are ignored.

    Raises UserError, with file and line, for what `read_lines` refuses, an empty file, a web page,
    a line that is no JSON object, and a key that is missing or has another type or an absurd value.
    """
    layout = _layout_of(_record(path, *first_line(path)))
    rows = (_review(path, number, _record(path, number, line), layout)
            for number, line in read_lines(path) if line.strip())
    return _collected(rows, layout)


def read_ratings(path: str | Path) -> Interactions:
    """Read a CSV of ratings; rows that lack a value are dropped and counted in the log.

    2014: no header, columns user, item, rating, time in seconds. 2018: item before user, told from
    the form of the first row's ids. 2023: a header with user_id, parent_asin, rating and timestamp
    in milliseconds, among others such as history.

    Raises UserError, with file and line, for what `read_lines` refuses, an empty file, a web page,
    missing columns, rows of another width, and values that are no number or absurd.
    """
    first_line(path)
    lines = _csv_rows(path)
    number, fields = next(lines)
    if all(_is_number(field) for field in fields[2:4]) and len(fields) > 3:
        layout, columns = _without_header(path, number, fields)
        lines = _csv_rows(path)
    else:
        layout, columns = _by_header(path, number, fields)
    dropped: list[int] = []
    interactions = _collected(_ratings(path, lines, columns, layout, len(fields), dropped), layout)
    if len(interactions) == 0:
        raise UserError(f"{path} has no row with a user, an item, a rating and a time. Download it "
                        "again, or name another file.")
    if dropped:
        logger.info("%s: %s of %s rows dropped, which lack a value; the first is line %d", path,
                    f"{len(dropped):,}", f"{len(dropped) + len(interactions):,}", dropped[0])
    return interactions


def _collected(rows: Iterable[_Row], layout: _Layout) -> Interactions:
    builder = InteractionsBuilder()
    # Columns, not rows: many small containers that live on keep the garbage collector busy.
    columns: tuple[list, ...] = ([], [], [], [])
    users, items, ratings, seconds = columns
    for user, item, rating, time in rows:
        users.append(user)
        items.append(item)
        ratings.append(rating)
        seconds.append(time / layout.per_second)
        if len(users) == _CHUNK:
            builder.add(*columns)
            for column in columns:
                column.clear()
    builder.add(*columns)
    return builder.build()


def _layout_of(names: Iterable[str]) -> _Layout:
    present = set(names)
    return max(_LAYOUTS, key=lambda layout: len(present.intersection(layout.names)))


def _record(path: str | Path, number: int, line: str) -> dict:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UserError(
            f"{path}, line {number}: {line[:60]!r}... is no JSON ({error}). Each line should be "
            "one JSON object; is the file cut off? Download it again."
        ) from error
    if not isinstance(record, dict):
        raise UserError(f"{path}, line {number}: {line[:60]!r} is no JSON object. Write one object "
                        "per line, not a list.")
    return record


def _review(path: str | Path, number: int, record: dict, layout: _Layout) -> _Row:
    try:
        row = _Row(*[record[name] for name in layout.names])
    except KeyError as error:
        raise UserError(
            f"{path}, line {number}: the review has no key {error}; it has {', '.join(record)}. "
            f"Reviews need {' or '.join(', '.join(known.names) for known in _LAYOUTS)}."
        ) from error
    for name, value in zip(layout.names, row[:2]):
        if not (isinstance(value, str) and value.isprintable()) or flaw_of_id(value):
            raise UserError(f"{path}, line {number}: {name} is {value!r}, which is no id. Correct "
                            "the line, or leave it out.")
    # type, not isinstance: JSON's true is an int to Python.
    for name, value in zip(layout.names[2:], row[2:]):
        if type(value) not in (int, float):
            raise UserError(f"{path}, line {number}: {name} is {value!r}, which is no number. "
                            "Correct the line, or leave it out.")
    return _checked(path, number, row, layout)


def _checked(path: str | Path, number: int, row: _Row, layout: _Layout) -> _Row:
    # Written so that nan fails, too.
    if not -_LARGEST_RATING < row.rating < _LARGEST_RATING:
        raise UserError(f"{path}, line {number}: {layout.rating} is {row.rating}, which is no "
                        "finite float32. Correct the line, or leave it out.")
    unit = layout.per_second
    if not _EARLIEST * unit <= row.time < _LATEST * unit:
        raise UserError(
            f"{path}, line {number}: {layout.time} is {row.time}, which lies outside 1990 to 2100 "
            f"in {'seconds' if unit == 1 else 'milliseconds'} since 1970. Correct the unit or the "
            "line, or leave it out."
        )
    return row


def _csv_rows(path: str | Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the number of the line and the fields of rows that are not blank."""
    lines = (line if line.strip() else "" for _, line in read_lines(path))
    reader = csv_rows(lines, strict=True)
    try:
        for fields in reader:
            if fields:
                yield reader.line_num, fields
    except csv.Error as error:
        raise UserError(f"{path}, line {reader.line_num}: no CSV ({error}). Is a quote left open "
                        "in a line up to there? Correct it.") from error


def _is_number(field: str) -> bool:
    try:
        float(field or 0)
    except ValueError:
        return field.strip() in _MISSING
    return True


def _without_header(path: str | Path, number: int, fields: list[str]) -> tuple[_Layout, list[int]]:
    """Return the layout and the columns of user, item, rating and time."""
    if len(fields) != 4:
        raise UserError(f"{path}, line {number}: {len(fields)} columns without a header. Ratings "
                        "have four, user, item, rating and time, or a header with user_id, "
                        "parent_asin, rating and timestamp.")
    # Items begin with a digit or B, users with A.
    is_item_first = _ASIN.fullmatch(fields[0]) is not None
    if is_item_first and _ASIN.fullmatch(fields[1]):
        raise UserError(f"{path}, line {number}: {fields[0]!r} and {fields[1]!r} both look like "
                        "items. Give the file the header user_id,parent_asin,rating,timestamp, its "
                        "columns in any order.")
    if is_item_first:
        logger.info("%s: items stand before users, as in the release of 2018", path)
    layout = _LAYOUTS[0]._replace(user="user", item="item", rating="rating", time="time")
    return layout, [1, 0, 2, 3] if is_item_first else [0, 1, 2, 3]


def _by_header(path: str | Path, number: int, fields: list[str]) -> tuple[_Layout, list[int]]:
    """Return the layout and the columns of user, item, rating and time."""
    names = [field.strip() for field in fields]
    layout = _layout_of(names)
    missing = [name for name in layout.names if name not in names]
    if missing:
        if not set(names).intersection(layout.names):
            layout, missing = _LAYOUTS[1], list(_LAYOUTS[1].names)
        raise UserError(
            f"{path}, line {number}: the columns {', '.join(missing)} are missing; there are "
            f"{', '.join(names)[:200]}. Ratings are user,item,rating,time without a header, or "
            "have the header user_id,parent_asin,rating,timestamp."
        )
    return layout, [names.index(name) for name in layout.names]


def _ratings(path: str | Path, lines: Iterator[tuple[int, list[str]]], columns: list[int],
             layout: _Layout, width: int, dropped: list[int]) -> Iterator[_Row]:
    """Yield the complete rows; append the numbers of the others' lines to `dropped`."""
    for number, fields in lines:
        if len(fields) != width:
            raise UserError(f"{path}, line {number}: {len(fields)} columns, but the first line "
                            f"has {width}. Is the file cut off? Download it again, or correct the "
                            "line.")
        values = [fields[column].strip() for column in columns]
        if "" in values or not _MISSING.isdisjoint(values[2:]):
            dropped.append(number)
            continue
        user, item, rating, time = values
        for name, value in zip(layout.names, (user, item)):
            if flaw_of_id(value):
                raise UserError(f"{path}, line {number}: {name} {flaw_of_id(value)}. Correct the "
                                "line, or leave it out.")
        try:
            row = _Row(user, item, float(rating), float(time))
        except ValueError as error:
            raise UserError(
                f"{path}, line {number}: {layout.rating} {rating!r} and {layout.time} {time!r} "
                "should both be numbers. Correct the line, or leave it out."
            ) from error
        yield _checked(path, number, row, layout)
