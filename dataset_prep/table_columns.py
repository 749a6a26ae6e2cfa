"""Which column of a user's table means what, by its usual names and by what it holds."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence

from recbole_ssr.dataset_prep.table_rows import Table, without_header
from recbole_ssr.errors import UserError, nearest

logger = logging.getLogger("recbole_ssr")

# Usual names in lower case without punctuation; of several in a table the first here counts.
_USUAL = {
    "user": ("userid", "user", "uid", "customerid", "customer", "reviewerid", "memberid",
             "visitorid", "accountid"),
    "item": ("itemid", "item", "iid", "productid", "product", "parentasin", "asin", "movieid",
             "bookid", "isbn", "sku", "articleid", "newsid", "videoid", "trackid", "songid",
             "gameid", "recipeid", "businessid"),
    "time": ("timestamp", "time", "unixreviewtime", "unixtime", "datetime", "date", "ts",
             "createdat", "eventtime"),
    "rating": ("rating", "ratings", "stars", "star", "overall", "score"),
    "label": ("xlabel", "split", "partition", "subset"),
}
_OPTIONAL = ("time", "rating", "label")
# Last words of the names of columns that do not describe an item.
_NO_WORDS = frozenset(("id", "ids", "uuid", "asin", "isbn", "sku", "code", "hash", "url", "urls",
                       "uri", "link", "path", "file", "filename", "timestamp", "date"))
_FILE = re.compile(r"\S+\.(png|jpe?g|webp|gif|bmp|mp4|mp3|wav)", re.IGNORECASE)
_ADDRESS = re.compile(r"(\w+://|www\.)\S+")


def choose_column(table: Table, role: str, name: str | None, also: tuple[str, ...] = (),
                  flag: str | None = None) -> str | None:
    """Return the column for a role: `name` if given, else one of the usual names or of `also`.

    None for an optional role (time, rating, label) that has no such column, or whose `name` is "".
    Raises UserError, with the columns there are and the flag, by default that of the role, for an
    unknown name and for a required role without a column.
    """
    flag = flag or ("--text" if role == "text" else f"--{role}_column")
    if name == "" and role in _OPTIONAL:
        return None
    if name is not None:
        if name in table.columns:
            return name
        raise UserError(f"{table.path} has no column {name!r}, only {_shown(table.columns)}."
                        f"{nearest(name, table.columns)} Correct {flag}.")
    plain = {re.sub(r"[\W_]+", "", column.lower()): column for column in reversed(table.columns)}
    for usual in _USUAL[role] + also:
        if usual in plain:
            return plain[usual]
    if role in _OPTIONAL:
        return None
    raise UserError(f"{table.path} has no column that is known as the {role}, such as {role}_id; "
                    f"it has {_shown(table.columns)}.{nearest(f'{role}_id', table.columns)} Name "
                    f"it with {flag}=COLUMN.{without_header(table.path, table.columns)}")


def text_columns(table: Table, item: str, values: Sequence[Sequence[str]]) -> list[str]:
    """Return the columns of words, judged by name and by `values` (per column, of the first rows).

    Raises UserError if there is none.
    """
    names = [name for name, column in zip(table.columns, values)
             if name != item and _last_word(name) not in _NO_WORDS and _are_words(column)]
    others = [name for name in table.columns if name not in (item, *names)]
    if not names:
        raise UserError(f"{table.path} has no column of words beside {item!r}; it has "
                        f"{_shown(table.columns)}. Name the columns with --text='[COLUMN]'.")
    logger.info("%s: text from the columns %s%s", table.path, ", ".join(names),
                f"; not from {', '.join(others)}" if others else "")
    return names


def _last_word(name: str) -> str:
    words = re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+", name)
    return words[-1].lower() if words else ""


def _are_words(values: Sequence[str]) -> bool:
    filled = [value for value in values if value]
    return 2 * sum(map(_is_wordy, filled)) > len(filled)


def _is_wordy(value: str) -> bool:
    # A piece with letters and digits may be a code, such as B00X4WHP5E.
    return value.lower() not in ("true", "false") and any(
        not _ADDRESS.fullmatch(piece) and not _FILE.fullmatch(piece)
        and any(map(str.isalpha, piece)) and not any(map(str.isdigit, piece))
        for piece in value.split())


def _shown(columns: Sequence[str]) -> str:
    more = f" and {len(columns) - 20} more" if len(columns) > 20 else ""
    return f"{', '.join(map(repr, columns[:20]))}{more}"
