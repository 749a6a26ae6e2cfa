"""What can be the id of a user or an item: any text but none, and but RecBole's padding."""

from __future__ import annotations

import re
from collections.abc import Iterable

# RecBole's token of id 0, which stands for no user and no item.
PADDING = "[PAD]"
_HALF = re.compile("[\ud800-\udfff]")  # surrogates, which no file in UTF-8 can hold


def flaw_of_id(token: str) -> str | None:
    """Return why a text cannot be an id, for a message after its column; None where it can.

    Words such as NA, null and nan are ids as any other.
    """
    if not token.strip():
        return f"is {token!r}, which is no id"
    if _HALF.search(token):
        return f"is {token!r}, which has half a character, as of a text that was cut"
    if token == PADDING:
        return f"is {token!r}, which RecBole keeps for positions that are not filled"
    return None


def tokens_of(given: object) -> list[str]:
    """Return one token, or several, as a list of texts.

    >>> tokens_of("50"), tokens_of(50), tokens_of(["50", 181])
    (['50'], ['50'], ['50', '181'])
    """
    one = isinstance(given, str) or not isinstance(given, Iterable)
    return [str(token) for token in ([given] if one else given)]
