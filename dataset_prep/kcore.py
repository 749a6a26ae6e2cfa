"""The k-core: users and items with at least k interactions each, to a fixed point."""

from __future__ import annotations

import numpy as np

from recbole_ssr.dataset_prep.interactions import Interactions
from recbole_ssr.errors import UserError


def k_core(interactions: Interactions, k: int) -> Interactions:
    """Drop users and items of fewer than `k` interactions until none is left to drop.

    The result is the largest such subset and does not depend on the order of removal. k of 0 or 1
    keeps everything. Raises UserError if nothing is left.
    """
    kept = np.arange(len(interactions))
    users, items = interactions.users, interactions.items
    while True:
        of_user = np.bincount(users[kept], minlength=interactions.n_users)
        of_item = np.bincount(items[kept], minlength=interactions.n_items)
        enough = (of_user[users[kept]] >= k) & (of_item[items[kept]] >= k)
        if enough.all():
            break
        kept = kept[enough]
    if len(kept) == 0:
        raise UserError(
            f"No interaction is left of {len(interactions):,}: no set of users and items has at "
            f"least {k} interactions each. Lower min_interactions."
        )
    return interactions.select(kept)


def without_repeats(interactions: Interactions, fixed: np.ndarray | None = None) -> Interactions:
    """Keep the earliest of the rows that name the same user and item; the first without times.

    Rows of `fixed`, a mask (n,), all stay, and no other row that names the same as one of them.
    """
    pairs = interactions.pairs()
    stay = np.zeros(len(pairs), dtype=bool) if fixed is None else fixed.copy()
    others = np.flatnonzero(~np.isin(pairs, pairs[stay]))
    if interactions.timestamps is not None:
        others = others[np.argsort(interactions.timestamps[others], kind="stable")]
    stay[others[np.unique(pairs[others], return_index=True)[1]]] = True
    return interactions if stay.all() else interactions.select(stay)
