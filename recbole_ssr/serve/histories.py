"""Files that name users and items: one token a line, or a table of who had what."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pandas as pd

from recbole_ssr.errors import UserError

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
    if os.path.isfile(text):  # Path raises where the text is too long for a name
        return read_tokens(text)
    return list(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))


def read_histories(file: str | Path) -> dict[str, list[str]]:
    """Return the items of every user, in the order of the file.

    A table whose first two columns are users and items (CSV, TSV, Parquet, RecBole's .inter), or
    JSON lines ``{"user": "u1", "items": ["i1", "i2"]}``. Raises UserError for anything else.
    """
    file = Path(file)
    suffix = file.suffix.lower()
    if suffix not in _FORMATS:
        raise UserError(f"{file} is none of {', '.join(_FORMATS)}; give a table of users and items")
    try:
        if suffix == ".jsonl":
            return _of_json_lines(file)
        if suffix == ".parquet":
            table = pd.read_parquet(file, dtype_backend="numpy_nullable")
        else:
            table = pd.read_csv(file, sep="," if suffix == ".csv" else "\t", dtype=str,
                                keep_default_na=False, encoding="utf-8-sig")
    except (OSError, ValueError, ImportError) as error:
        raise UserError(f"{file} cannot be read: {error}") from None
    if table.shape[1] < 2 or not len(table):
        raise UserError(f"{file} has {table.shape[1]} columns and {len(table)} rows; give a header "
                        "and a user and an item in every row")
    histories: dict[str, list[str]] = {}
    users, items = (_as_tokens(table.iloc[:, k]) for k in (0, 1))
    for number, (user, item) in enumerate(zip(users, items), start=1):
        if not user or not item:
            raise UserError(f"{file}, row {number}: {'item' if user else 'user'} is missing; give "
                            "a user and an item in every row")
        histories.setdefault(user, []).append(item)
    return histories


def _as_tokens(ids: pd.Series) -> pd.Series:
    """Return ids as texts; whole numbers stay whole where gaps made them floats, gaps are ""."""
    if pd.api.types.is_float_dtype(ids) and (ids.dropna() % 1 == 0).all():
        ids = ids.astype("Int64")
    return ids.astype("string").fillna("")


def _of_json_lines(file: Path) -> dict[str, list[str]]:
    histories: dict[str, list[str]] = {}
    for number, line in enumerate(file.read_text(encoding="utf-8-sig").split("\n"), start=1):
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
