"""One hash for one split, whatever the order of its rows or the numbering of its ids."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

import numpy as np

from recbole_ssr.distinct import distinct


def split_hash(users: Sequence[np.ndarray], items: Sequence[np.ndarray], user_tokens: np.ndarray,
               item_tokens: np.ndarray) -> str:
    """Return the sha256 (hex) of the (user, item) tokens of each part.

    Args:
        users, items: per part an array (n,) of ids into the tokens.
        user_tokens, item_tokens: tokens by id; ids that no part uses do not matter.
    """
    total, codes = hashlib.sha256(), 0
    for tokens_of, parts in ((user_tokens, users), (item_tokens, items)):
        ids = [part.astype(np.int64) for part in parts]
        used = distinct(np.concatenate(ids))
        tokens = tokens_of[used]
        order = np.argsort(tokens)
        # A token's code is its sorted position, so that ids drop out.
        rank = np.zeros(int(used.max(initial=-1)) + 1, dtype=np.int64)
        rank[used[order]] = np.arange(len(used))
        total.update(json.dumps([str(token) for token in tokens[order]]).encode())
        codes = [code * len(used) + rank[i] for code, i in zip(codes or [0] * len(ids), ids)]
    for code in codes:
        total.update(f"{len(code)} ".encode())
        total.update(np.sort(code).astype("<i8").tobytes())
    return total.hexdigest()
