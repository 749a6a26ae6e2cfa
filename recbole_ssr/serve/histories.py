"""Files that name users and items: one token a line, or a table of who had what."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from recbole_ssr.errors import UserError

_FORMATS = (".csv", ".tsv", ".inter", ".jsonl", ".parquet")


def read_tokens(file: str | Path) -> list[str]:
    """Return the tokens of a file, one a line, blank lines left out, each once."""
    try:
        lines = Path(file).read_text(encoding="utf-8-sig").splitlines()
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
    if Path(text).is_file():
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
            table = pd.read_parquet(file)
        else:
            table = pd.read_csv(file, sep="," if suffix == ".csv" else "\t", dtype=str,
                                keep_default_na=False, encoding="utf-8-sig")
    except (OSError, ValueError, ImportError) as error:
        raise UserError(f"{file} cannot be read: {error}") from None
    if table.shape[1] < 2 or not len(table):
        raise UserError(f"{file} has {table.shape[1]} columns and {len(table)} rows; give a header "
                        "and a user and an item in every row")
    histories: dict[str, list[str]] = {}
    for user, item in zip(table.iloc[:, 0].astype(str), table.iloc[:, 1].astype(str)):
        histories.setdefault(user, []).append(item)
    return histories


def _of_json_lines(file: Path) -> dict[str, list[str]]:
    histories: dict[str, list[str]] = {}
    for number, line in enumerate(file.read_text(encoding="utf-8-sig").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            histories.setdefault(str(row["user"]), []).extend(map(str, row["items"]))
        except (ValueError, KeyError, TypeError):
            raise UserError(f'{file}, line {number}: write {{"user": "u1", "items": ["i1", "i2"]}}'
                            ) from None
    if not histories:
        raise UserError(f"{file} names nobody")
    return histories
