"""A user's own tables: interactions, and items with their texts."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Collection, Iterator, Sequence, Sized
from dataclasses import replace
from datetime import datetime, timezone
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np

from recbole_ssr.data.ids import flaw_of_id
from recbole_ssr.dataset_prep.interactions import (
    Interactions,
    InteractionsBuilder,
    whole_or_not,
)
from recbole_ssr.dataset_prep.table_columns import choose_column, text_columns
from recbole_ssr.dataset_prep.table_rows import Table, open_table
from recbole_ssr.errors import UserError

logger = logging.getLogger("recbole_ssr")

_LABELS = {"train": 0, "training": 0, "0": 0, "0.0": 0,
           "valid": 1, "validation": 1, "val": 1, "dev": 1, "1": 1, "1.0": 1,
           "test": 2, "testing": 2, "2": 2, "2.0": 2}
# Columns that tell clicks from what was only shown, and their values.
_CLICKS = ("label", "is_click")
_BITS = ("0", "1", "0.0", "1.0")
# Cells that stand for an absent text.
_NO_TEXT = frozenset(("", "na", "n/a", "nan", "<na>", "null", "none"))
# Seconds since 1970 reach 1e11 in the year 5138; larger numbers are in a finer unit.
_UNITS = ((1e17, 10**9, "nanoseconds"), (1e14, 10**6, "microseconds"), (1e11, 1000, "milliseconds"))
# What no .inter file can hold.
_BROKEN = re.compile(r"[\t\r\n]")
# Few enough rows that Python's garbage collector does not walk them again and again.
_BLOCK = 2**10
_SAMPLE = 1000


class ItemTable(NamedTuple):
    """n items, in the order of their file: tokens and texts; a text is "" where there is none.

    `key` is the column of the ids, `columns` are those that the texts are of.
    """

    tokens: list[str]
    texts: list[str]
    columns: list[str]
    key: str


def read_interaction_table(
    path: str | Path, user: str | None = None, item: str | None = None, time: str | None = None,
    rating: str | None = None, label: str | None = None,
) -> Interactions:
    """Read a table of interactions: CSV, TSV, JSON lines (each also .gz) or Parquet.

    Args:
        user, item, time, rating, label: columns; None takes the usual names (user_id, asin,
            timestamp, stars, x_label, ...), "" leaves an optional one out.

    Ids are text as in the file. Times are numbers (seconds, or milli-, micro- or nanoseconds, told
    from their size) or ISO dates, UTC where none states its zone, and become seconds with their
    fractions. Labels are train, valid, test or 0, 1, 2; a column of a usual name is taken for them
    where its first rows have some, words alone in one called partition or subset. Raises
    UserError, with file and line, for whatever is wrong.
    """
    table = open_table(path)
    wanted = {"user": user, "item": item, "time": time, "rating": rating, "label": label}
    chosen = {role: choose_column(table, role, name) for role, name in wanted.items()}
    if label is None and not _brings_split(table, chosen["label"]):
        chosen["label"] = None
    chosen = {role: name for role, name in chosen.items() if name is not None}
    _refuse_shared(table, chosen)
    logger.info("%s: columns %s", path,
                ", ".join(f"{name} ({role})" for role, name in chosen.items()))
    _tell_of_clicks(table, set(table.columns).difference(chosen.values()))
    builder, labels, kinds = InteractionsBuilder(), [], set()
    for numbers, columns in _blocks(table, list(chosen.values()), list(chosen.values())):
        block = _Block(table, numbers, dict(zip(chosen, columns)), chosen)
        times, kind = block.times()
        kinds.add(kind)
        if len(kinds) > 1:
            raise block.error("time", 0, "is of another kind than the times before it",
                              "Write all as numbers or all as ISO dates")
        builder.add(block.ids("user"), block.ids("item"), block.numbers("rating"), times)
        labels.append(block.labels())
    interactions = builder.build()
    _require_rows(path, interactions)
    return replace(
        interactions, ratings=interactions.ratings if "rating" in chosen else None,
        timestamps=_in_seconds(interactions.timestamps, path) if "time" in chosen else None,
        labels=np.concatenate(labels) if "label" in chosen else None,
    )


def read_item_table(path: str | Path, item: str | None = None,
                    text: Sequence[str] | None = None) -> ItemTable:
    """Read the texts of items from a table, in the formats of `read_interaction_table`.

    Args:
        item: column of the ids; None takes the usual names.
        text: columns whose values are joined by blanks; None takes all columns of words, which
            leaves out numbers, dates, addresses, ids and codes, and says so in the log. None of
            them: texts are "".

    Line breaks become blanks, cells such as NA and null nothing. Raises UserError, with file and
    line, for blank and repeated ids and unknown columns.
    """
    table = open_table(path)
    column = choose_column(table, "item", item, also=("id",), flag="--items_key")
    if text is None:
        head = [values for _, values in islice(table.rows(table.columns), _SAMPLE)]
        _require_rows(path, head)
        text = text_columns(table, column, list(zip(*head)))
    else:
        text = [choose_column(table, "text", name) for name in dict.fromkeys(text)]
    first_of: dict[str, int] = {}
    texts: list[str] = []
    for numbers, columns in _blocks(table, [column, *text], [column]):
        block = _Block(table, numbers, {"item": columns[0]}, {"item": column})
        for token, number in zip(block.ids("item"), numbers):
            if first_of.setdefault(token, number) != number:
                raise UserError(f"{path}: the item {token!r} is in {table.unit} {first_of[token]} "
                                f"and again in {table.unit} {number}. Keep one row per item.")
        texts.extend(map(_joined, zip(*columns[1:]) if text else [()] * len(numbers)))
    _require_rows(path, texts)
    return ItemTable(list(first_of), texts, text, column)


class _Block(NamedTuple):
    """Some consecutive rows, column by column, by the role of each column."""

    table: Table
    rows: list[int]
    values: dict[str, tuple[str, ...]]
    chosen: dict[str, str]

    def ids(self, role: str) -> tuple[str, ...]:
        values = self.values[role]
        for value in set(values):
            flaw = "is blank" if not value else flaw_of_id(value)
            if flaw or _BROKEN.search(value):
                raise self.error(role, values.index(value), flaw or "has a tab or line break",
                                 f"Every row needs the id of its {role}, in one line")
        return values

    def numbers(self, role: str) -> np.ndarray:
        """Return float64 values; zeros where there is no such column."""
        if role not in self.values:
            return np.zeros(len(self.rows))
        return self._parsed(role, float, "is no number", "Mend it, or leave the column out with "
                            f"--{role}_column=''")

    def times(self) -> tuple[np.ndarray, str]:
        """Return float64 times as they are written, or seconds of dates; and which of the two."""
        if "time" not in self.values:
            return np.zeros(len(self.rows)), "number"
        try:
            float(self.values["time"][0])
            parse, kind = float, "number"
        except ValueError:
            parse, kind = _seconds, "date"
        return self._parsed("time", parse, f"is no {kind} such as the others" if kind == "number"
                            else "is neither a number nor an ISO date such as 2014-09-13",
                            "Write seconds since 1970 or ISO dates, or leave the column out with "
                            "--time_column=''"), kind

    def labels(self) -> np.ndarray:
        if "label" not in self.values:
            return np.zeros(len(self.rows), dtype=np.int8)
        return self._parsed("label", lambda value: _LABELS[value.lower()], "is no part of a split",
                            "Use train, valid, test, or 0, 1, 2, or leave the column out with "
                            "--label_column=''").astype(np.int8)

    def error(self, role: str, place: int, what: str, remedy: str) -> UserError:
        return UserError(f"{self.table.path}, {self.table.unit} {self.rows[place]}: the {role} "
                         f"{self.values[role][place]!r} (column {self.chosen[role]}) {what}. "
                         f"{remedy}.")

    def _parsed(self, role: str, parse: Callable[[str], float], what: str,
                remedy: str) -> np.ndarray:
        out = np.empty(len(self.rows))
        for place, value in enumerate(self.values[role]):
            try:
                out[place] = parse(value)
            except (ValueError, KeyError, OverflowError) as error:
                raise self.error(role, place, what, remedy) from error
        # Beyond 9e18 a time does not fit 64 bits.
        bad = np.flatnonzero(~(np.abs(out) < 9e18))
        if len(bad):
            raise self.error(role, int(bad[0]), what, remedy)
        return out


def _brings_split(table: Table, column: str | None) -> bool:
    """Tell whether a column with the name of a split is one: whether a part is in its first rows.

    Numbers in a column named partition or subset may be anything else.
    """
    if column is None or re.sub(r"[\W_]+", "", column.lower()) == "xlabel":
        return column is not None
    known = _LABELS if column.lower() == "split" else [x for x in _LABELS if x.isalpha()]
    values = [value for _, (value,) in islice(table.rows([column]), _SAMPLE)]
    if values and not any(value.lower() in known for value in values):
        logger.warning("%s: the column %s, with values such as %r, is not taken for the split; if "
                       "it is, name it: --label_column=%s", table.path, column, values[0], column)
        return False
    return True


def _tell_of_clicks(table: Table, unread: Collection[str]) -> None:
    """Warn of a column that tells which rows are interactions, and is not read."""
    for column in sorted(name for name in unread if name.lower() in _CLICKS):
        if all(value in _BITS for _, (value,) in islice(table.rows([column]), _SAMPLE)):
            logger.warning("%s: %s is not read: every row counts as an interaction. Keep those "
                           "with a 1 by --rating_column=%s --min_rating=1", table.path, column,
                           column)


def _blocks(table: Table, wanted: list[str], single: list[str]
            ) -> Iterator[tuple[list[int], list[tuple]]]:
    """Yield the numbers and the columns of some rows at a time; see `Table.rows`."""
    rows = table.rows(wanted, single)
    while block := list(islice(rows, _BLOCK)):
        yield [number for number, _ in block], list(zip(*(values for _, values in block)))


def _require_rows(path: str | Path, rows: Sized) -> None:
    if not len(rows):
        raise UserError(f"{path} has a header but no rows. Save the table again.")


def _refuse_shared(table: Table, chosen: dict[str, str]) -> None:
    role_of: dict[str, str] = {}
    for role, name in chosen.items():
        if role_of.setdefault(name, role) != role:
            raise UserError(f"{table.path}: the column {name!r} is named for both {role_of[name]} "
                            f"and {role}. Correct --{role_of[name]}_column or --{role}_column.")


def _in_seconds(times: np.ndarray, path: str | Path) -> np.ndarray:
    sizes = np.abs(times)
    largest = sizes.max()
    for least, factor, name in _UNITS:
        if largest >= least:
            # A twentieth of the least is 1970 in this unit, and next century in the next coarser.
            other = sizes[(sizes > 0) & (sizes < least / 20)]
            if len(other):
                raise UserError(f"{path}: the time {largest:.0f} is one of {name}, {other[0]:.0f} "
                                "is none. Write all times in one unit.")
            logger.info("%s: times up to %d are taken for %s", path, largest, name)
            return whole_or_not(times / factor)
    return times


@lru_cache(maxsize=2**16)
def _seconds(text: str) -> float:
    # Python 3.10 does not know the Z of universal time.
    moment = datetime.fromisoformat(re.sub(r"[zZ]$", "+00:00", text))
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)
    return moment.timestamp()


def _joined(values: Sequence[str]) -> str:
    words = (value for value in values if value.lower() not in _NO_TEXT)
    return " ".join(" ".join(words).split())
