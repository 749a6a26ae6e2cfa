"""Indices of 32 bits, which halve the memory of a graph, and where they end."""

from __future__ import annotations

from recbole_ssr.errors import UserError

LARGEST = 2**31 - 1


def check_int32(what: str, largest: int) -> None:
    """Raise UserError where 32 bits cannot hold an index, instead of another index in its place.

    >>> check_int32("edges", 10)
    """
    if largest > LARGEST:
        raise UserError(f"{largest:,} {what} are more than the {LARGEST:,} that indices of 32 bits "
                        "tell apart. Train on a part of the data (train_share, or a k-core by "
                        "user_inter_num_interval and item_inter_num_interval).")
