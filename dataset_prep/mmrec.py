"""Interaction files: ``.inter`` as MMRec and RecBole write them, tab-separated with a header."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path

import numpy as np
import pandas as pd

from recbole_ssr.data.ids import PADDING, flaw_of_id
from recbole_ssr.dataset_prep.interactions import Interactions, whole_or_not
from recbole_ssr.dataset_prep.table_rows import without_header
from recbole_ssr.errors import UserError, nearest

logger = logging.getLogger("recbole_ssr")

USERS = ("userID", "user_id", "user", "uid")
ITEMS = ("itemID", "item_id", "item", "iid")
LABELS = ("x_label", "label")
RATINGS = ("rating",)
TIMES = ("timestamp", "time")
# Interactions keep codes as int32; an id beyond is no position in a feature file either.
MOST_IDS = 2**31 - 1


def read_inter(path: Path, by_id: bool, needs_label: bool) -> Interactions:
    """Read the interactions of one file, in its order.

    Args:
        by_id: users and items are numbers from 0 on, else any tokens.
        needs_label: a file without labels is an error.

    Raises UserError, with file and line, for a file that cannot be read, has no such columns, or
    has values of another kind.
    """
    table = _read(path)
    columns = {name.split(":")[0]: name for name in table.columns}
    user, item = (_column(path, columns, names) for names in (USERS, ITEMS))
    # MMRec's files may call the split so; in RecBole's a label is one of a click.
    label = _find(columns, LABELS if by_id else LABELS[:1])
    if not by_id and label is None and _find(columns, LABELS[1:]):
        logger.warning("%s: label is not read: every row counts as an interaction, and the split "
                       "is not taken from it. Leave out rows that are none, and name a column of "
                       "0 train, 1 valid, 2 test %s", path, LABELS[0])
    if label is None and needs_label:
        raise UserError(f"{path}, line 1: no column {LABELS[0]} with 0 train, 1 valid, 2 test "
                        f"among {', '.join(columns)}. Add it, or draw a split, as by "
                        "--split=ratio.")
    labels = None if label is None else labels_of(path, table[label])
    ratings, times = (None if (name := _find(columns, names)) is None
                      else _floats(path, name, table[name]) for names in (RATINGS, TIMES))
    times = None if times is None else whole_or_not(times)
    if by_id:
        return from_ids(ids_of(path, user, table[user]), ids_of(path, item, table[item]), ratings,
                        times, labels)
    for name in (user, item):
        _refuse(path, name, table[name], table[name].map(flaw_of_id).notna(),
                f"Write an id, which is no blank and not {PADDING}.")
    return Interactions.from_tokens(table[user].to_numpy(), table[item].to_numpy(), ratings, times,
                                    labels)


def header_of(path: Path) -> list[str]:
    """Return the column names of the first line; UserError if it cannot be read."""
    try:
        with open(path, encoding="utf-8-sig") as file:
            return file.readline().rstrip("\r\n").split("\t")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read ({error}). Save it as UTF-8, or restore it.") \
            from error


def from_ids(users: np.ndarray, items: np.ndarray, ratings=None, times=None,
             labels=None) -> Interactions:
    """Number (n,) integer ids by first appearance; their tokens are the ids in digits."""
    (user_codes, user_ids), (item_codes, item_ids) = pd.factorize(users), pd.factorize(items)
    user_tokens, item_tokens = (ids.astype(str).astype(object) for ids in (user_ids, item_ids))
    ratings = None if ratings is None else ratings.astype(np.float32)
    return Interactions(user_codes.astype(np.int32), item_codes.astype(np.int32), user_tokens,
                        item_tokens, ratings, times, labels)


def ids_of(path: Path, name: str, column: pd.Series) -> np.ndarray:
    """Return the (n,) int64 of a column of digits; UserError names the first other value."""
    _refuse(path, name, column, ~column.str.fullmatch(r"[0-9]{1,18}"),
            "Ids are whole numbers from 0 on.")
    numbers = column.to_numpy().astype(np.int64)
    _refuse(path, name, column, pd.Series(numbers > MOST_IDS), f"Ids end at {MOST_IDS:,}.")
    return numbers


def labels_of(path: Path, column: pd.Series) -> np.ndarray:
    """Return the (n,) int8 of a column of 0, 1 and 2, or 0.0 and so on."""
    numbers = pd.to_numeric(column, errors="coerce")
    _refuse(path, column.name, column, ~numbers.isin([0, 1, 2]),
            "Labels are 0 train, 1 valid, 2 test.")
    return numbers.to_numpy().astype(np.int8)


def _floats(path: Path, name: str, column: pd.Series) -> np.ndarray:
    numbers = pd.to_numeric(column, errors="coerce").astype(np.float64)
    # 2**53: whole seconds beyond it are no time, and float64 could not tell them apart.
    _refuse(path, name, column, ~(numbers.abs() <= 2**53), "Write a number.")
    return numbers.to_numpy()


def _refuse(path: Path, name: str, column: pd.Series, wrong: pd.Series, remedy: str) -> None:
    rows = np.flatnonzero(wrong)
    if len(rows):
        # The first row is on line 2.
        others = f" ({len(rows):,} such lines)" if len(rows) > 1 else ""
        raise UserError(f"{path}, line {rows[0] + 2}: {name} is {column.iloc[rows[0]]!r}{others}. "
                        f"{remedy}")


def _read(path: Path) -> pd.DataFrame:
    header = header_of(path)
    if len(header) < 2:
        raise UserError(f"{path}, line 1: one column {header[0][:60]!r}. Separate columns by tabs.")
    if len(set(header)) < len(header):
        raise UserError(f"{path}, line 1: a column is named twice in {', '.join(header)}."
                        f"{without_header(path, header)}")
    try:
        with warnings.catch_warnings():
            # Lines of more fields than the header would be cut with no more than a warning.
            warnings.simplefilter("error", pd.errors.ParserWarning)
            table = pd.read_csv(path, sep="\t", dtype=str, quoting=3, na_filter=False,
                                index_col=False, encoding="utf-8-sig", skip_blank_lines=False)
    except (ValueError, pd.errors.ParserWarning, OSError) as error:
        problem = str(error).strip().splitlines()[-1]
        raise UserError(f"{path} cannot be read ({problem}). Write one interaction a line, with "
                        f"the {len(header)} fields of the first line.") from error
    # A blank line at the end is none in the middle.
    while len(table) and not table.iloc[-1].str.strip().any():
        table = table.iloc[:-1]
    if len(table) == 0:
        raise UserError(f"{path} has no line after its first. Download it again.")
    return table


def _column(path: Path, columns: dict[str, str], names: tuple[str, ...]) -> str:
    column = _find(columns, names)
    if column is None:
        raise UserError(f"{path}, line 1: no column {names[0]} among {', '.join(columns)}."
                        f"{nearest(names[0], columns)} Known names are {', '.join(names)}; rename "
                        "the column, or import the file with --interactions."
                        f"{without_header(path, list(columns))}")
    return column


def _find(columns: dict[str, str], names: tuple[str, ...]) -> str | None:
    by_lower = {name.lower(): full for name, full in columns.items()}
    return next((by_lower[name.lower()] for name in names if name.lower() in by_lower), None)
