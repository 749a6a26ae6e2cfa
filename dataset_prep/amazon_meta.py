"""Texts of items from the files of Amazon metadata.

The recipe of MMRec (https://github.com/enoche/MMRec): title, brand, the terms of the first list
of categories and description, joined by blanks; a blank for what is missing, HTML entities as they
are, line breaks made blanks. Releases: 2014 (one Python literal per line), 2018 (JSON), and Amazon
Reviews 2023 (JSON with parent_asin, store for the brand, and features).
"""

from __future__ import annotations

import ast
import json
import logging
import re
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

from recbole_ssr.dataset_prep.lines import first_line, read_lines
from recbole_ssr.errors import UserError, nearest

logger = logging.getLogger("recbole_ssr")

# Field -> the keys of the releases. A scalar that is missing is a blank, a list is nothing.
_KEYS = {"title": ("title",), "brand": ("brand", "store"), "categories": ("categories", "category"),
         "features": ("features", "feature"), "description": ("description",)}
_LISTS = ("categories", "features")
FIELDS = tuple(_KEYS)

_ITEM_KEYS = ("parent_asin", "asin")
_ITEM = re.compile(r"""["'](?:parent_)?asin["']\s*:\s*(?:'([^'\\]*)'|"([^"\\]*)")?""")


def read_texts(path: str | Path, item_tokens: Sequence[str],
               fields: Sequence[str] = FIELDS) -> list[str]:
    """Return one text per item of `item_tokens`, "" where nothing is known; one line is logged.

    `fields` are some of FIELDS, in the order in which they are joined. Only lines of these items
    are parsed; the first line of an item wins.

    Raises UserError, with file and line, for what `read_lines` refuses, an empty file, a web page,
    a line that is neither a Python literal nor JSON (code is never run), one without an id, and a
    value that is no text; further for an unknown field, and if the file has none of the items.
    """
    for field in fields:
        if field not in _KEYS:
            raise UserError(f"Unknown text field {field!r}. Use some of {', '.join(FIELDS)}."
                            f"{nearest(field, FIELDS)}")
    first_line(path)
    texts, lacking, others = {}, {"title": 0, "description": 0}, []
    for where, item, record in _records(path, frozenset(item_tokens), others):
        if item not in texts:
            pieces = {field: _pieces(where, field, record) for field in {*fields, *lacking}}
            for field in lacking:
                lacking[field] += not " ".join(pieces[field]).strip()
            text = " ".join(piece for field in fields for piece in pieces[field])
            texts[item] = _in_one_line(text) if text.strip() else ""
    if not texts and len(item_tokens):
        raise UserError(f"{path} describes none of the {len(item_tokens):,} items: it has "
                        f"{others[:3]}, the dataset {list(item_tokens[:3])}. Is it the file of "
                        "another category?")
    logger.info("%s: found %s of %s items, %s titles and %s descriptions missing", path,
                f"{len(texts):,}", f"{len(item_tokens):,}", f"{lacking['title']:,}",
                f"{lacking['description']:,}")
    return [texts.get(token, "") for token in item_tokens]


def _records(path: str | Path, wanted: frozenset[str],
             others: list[str]) -> Iterator[tuple[str, str, dict]]:
    """Yield (file and line, item, record) of the items wanted; fill `others` with three more."""
    for number, line in read_lines(path):
        if not line.strip():
            continue
        item = _item_at_a_glance(line)
        if item is None or item in wanted:
            where = f"{path}, line {number}"
            record = _parsed(where, line)
            item = _item_of(where, record)
            if item in wanted:
                yield where, item, record
        if item not in wanted and len(others) < 3:
            others.append(item)


def _item_at_a_glance(line: str) -> str | None:
    """Return the item of a line without parsing it; None where only parsing can tell.

    Texts may hold what looks like the key, so that it must be there once, with a plain value.
    """
    tokens = _ITEM.findall(line)
    return (tokens[0][0] or tokens[0][1] or None) if len(tokens) == 1 else None


def _parsed(where: str, line: str) -> dict:
    try:
        # JSON has no NaN; some files write it for what is missing.
        record = json.loads(line, parse_constant=lambda _: None)
    except (ValueError, RecursionError) as json_error:
        try:
            record = _literal(line)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
            # A line of JSON has its first key in double quotes, one of Python in single quotes.
            reason = json_error if re.match(r'\s*{\s*"', line) else error
            raise UserError(
                f"{where}: {line[:60]!r}... is neither a Python literal nor JSON "
                f"({str(reason)[:200]}). Code is never run. Is the file cut off? Download it "
                "again, or delete the line."
            ) from error
    if not isinstance(record, dict):
        raise UserError(f"{where}: {line[:60]!r} is no record of an item. Each line should be one "
                        "object with the item's id.")
    return record


def _literal(line: str) -> object:
    with warnings.catch_warnings():
        # Odd backslashes in somebody's description are no concern of the user.
        warnings.simplefilter("ignore")
        return ast.literal_eval(line.strip())


def _item_of(where: str, record: dict) -> str:
    for key in _ITEM_KEYS:
        if isinstance(record.get(key), str):
            return record[key]
    raise UserError(f"{where}: the record has no {' or '.join(_ITEM_KEYS)}; it has "
                    f"{', '.join(map(str, record))}. Is it a file of metadata?")


def _in_one_line(text: str) -> str:
    # Halves of surrogate pairs, which escapes can spell, are no text that a file can hold.
    text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return re.sub("[\r\n]", " ", text)


def _pieces(where: str, field: str, record: dict) -> list[str]:
    """Return the words of a field, to be joined by blanks."""
    value = next((record[key] for key in _KEYS[field] if record.get(key) not in (None, "")), None)
    if field == "categories" and isinstance(value, list) and value and isinstance(value[0], list):
        value = value[0]
    values = value if isinstance(value, list) else [value]
    values = [part for part in values if part is not None]
    for part in values:
        if not isinstance(part, (str, int, float)):
            raise UserError(f"{where}: {field} has {str(part)[:60]!r}, which is no text. Correct "
                            "the line, or delete it.")
    return [str(part) for part in values] or ([] if field in _LISTS else [" "])
