"""Files that name users and items: one token a line, or a table of who had what."""

from __future__ import annotations

import json
import logging
import os
import re
from contextlib import suppress
from pathlib import Path

from recbole_ssr.dataset_prep.lines import read_lines
from recbole_ssr.dataset_prep.table_columns import choose_column
from recbole_ssr.dataset_prep.table_rows import Table, open_table
from recbole_ssr.errors import UserError

logger = logging.getLogger("recbole_ssr")

_FORMATS = (".csv", ".tsv", ".inter", ".jsonl", ".parquet")


def read_tokens(file: str | Path) -> list[str]:
    """Return the tokens of a file, one a line, blank lines left out, each once."""
    try:
        lines = Path(file).read_text(encoding="utf-8-sig").split("\n")  # ids may have other ends
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file} cannot be read: {error}. Write one token a line") from None
    tokens = list(dict.fromkeys(line.strip() for line in lines if line.strip()))
    if not tokens:
        raise UserError(f"{file} names nobody; write one token a line")
    return tokens


def tokens_from(text: str) -> list[str]:
    """Return the tokens in a text "a,b,c", or those in the file that the text names.

    >>> tokens_from("196, 22")
    ['196', '22']
    """
    file = os.path.expanduser(text)
    if os.path.isfile(file):  # Path's own raises where the text is too long for a name
        return read_tokens(file)
    return list(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))


def read_histories(file: str | Path) -> dict[str, list[str]]:
    """Return the items of every user, in the order of the file.

    A table (CSV, TSV, Parquet, RecBole's .inter) with columns of users and items by a usual name,
    such as user_id and item_id, or else its first two, which an .inter file must name; or JSON
    lines ``{"user": "u1", "items": ["i1", "i2"]}``. Raises UserError for anything else.
    """
    file = Path(os.path.expanduser(file))
    suffix = file.suffix.lower()
    if suffix not in _FORMATS:
        raise UserError(f"{file} is none of {', '.join(_FORMATS)}; give a table of users and items")
    if suffix == ".jsonl":
        return _of_json_lines(file)
    table = open_table(file)
    columns = _user_and_item(table, by_name_alone=suffix == ".inter")
    histories: dict[str, list[str]] = {}
    for number, (user, item) in table.rows(columns, single=columns):
        if not user or not item:
            raise UserError(f"{file}, {table.unit} {number}: {'item' if user else 'user'} is "
                            "missing; give a user and an item in every row")
        histories.setdefault(user, []).append(item)
    if not histories:
        raise UserError(f"{file} has a header but no rows; give a user and an item in every row")
    return histories


def _user_and_item(table: Table, by_name_alone: bool) -> list[str]:
    """Return the columns of users and items: by name, or the first two where neither is known."""
    columns = [name for name in table.columns if name]  # a data frame's index has no name
    found = []
    for role in ("user", "item"):
        with suppress(UserError):
            found.append(choose_column(table, role, None))
    if len(found) == 2:
        return found
    if by_name_alone or found:
        raise UserError(f"{table.path} needs a column user_id and a column item_id, or two columns "
                        f"of other names alone; it has {', '.join(columns)}. Rename the columns")
    if len(columns) < 2 or any(re.fullmatch(r"[\d.]+", name) for name in columns[:2]):
        raise UserError(f"{table.path} begins with {', '.join(columns[:2])}, which is no header of "
                        "two columns. Give it one, such as user,item, and a user and an item in "
                        "every row")
    logger.info("%s: the users are in %s, the items in %s", table.path, *columns[:2])
    return columns[:2]


def _of_json_lines(file: Path) -> dict[str, list[str]]:
    histories: dict[str, list[str]] = {}
    for number, line in read_lines(file):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            if not isinstance(row["items"], list):
                raise TypeError
            histories.setdefault(str(row["user"]), []).extend(map(str, row["items"]))
        except (ValueError, KeyError, TypeError):
            raise UserError(f'{file}, line {number}: write {{"user": "u1", "items": ["i1", "i2"]}}'
                            ) from None
    if not histories:
        raise UserError(f"{file} names nobody")
    return histories
