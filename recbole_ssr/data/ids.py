"""What can be the id of a user or an item: any text but none, and but RecBole's padding."""

from __future__ import annotations

# RecBole's token of id 0, which stands for no user and no item.
PADDING = "[PAD]"


def flaw_of_id(token: str) -> str | None:
    """Return why a text cannot be an id, for a message after its column; None where it can.

    Words such as NA, null and nan are ids as any other.
    """
    if not token.strip():
        return f"is {token!r}, which is no id"
    if token == PADDING:
        return f"is {token!r}, which RecBole keeps for positions that are not filled"
    return None
