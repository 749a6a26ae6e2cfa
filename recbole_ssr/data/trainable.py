"""Data that no model can learn to rank from, named before it tries."""

from __future__ import annotations

import numpy as np
from recbole.data.interaction import Interaction

from recbole_ssr.distinct import distinct
from recbole_ssr.errors import UserError


def check_candidates(dataset) -> None:
    """Raise UserError where a user has all items, so that no negative can be drawn for him.

    `dataset` is one of RecBole's; nothing is checked of one that has not been built yet.
    """
    if not isinstance(dataset.inter_feat, Interaction):  # RecBole stopped before it was built
        return
    users, items = (dataset.inter_feat[field].numpy().astype(np.int64)
                    for field in (dataset.uid_field, dataset.iid_field))
    rows = distinct(users * dataset.item_num + items) // dataset.item_num  # the user of each pair
    n_items = dataset.item_num - 1
    full = np.flatnonzero(np.bincount(rows) == n_items)
    if len(full) == 0:
        return
    user = str(dataset.field2id_token[dataset.uid_field][full[0]])
    items = dataset.field2id_token[dataset.iid_field][1:].tolist()
    others = f" (and {len(full) - 1:,} more)" if len(full) > 1 else ""
    what = f"the only item, {items[0]!r}"
    if n_items > 1:
        what = f"all {n_items:,} items, {items[0]!r} to {items[-1]!r}"
    raise UserError(
        f"The user {user!r}{others} of {dataset.dataset_name} has {what}, so that no item is left "
        "to rank or to draw as a negative. Leave such users out (user_inter_num_interval: "
        f"'[1,{n_items})'), or bring more items."
    )


def check_training(train) -> None:
    """Raise UserError where all interactions of a training part are with one item."""
    items = distinct(train.inter_feat[train.iid_field].numpy())
    if len(items) == 1:
        item = str(train.field2id_token[train.iid_field][items[0]])
        raise UserError(
            f"All {len(train.inter_feat):,} training interactions of {train.dataset_name} are with "
            f"the item {item!r}, from which no model learns to rank. Move interactions with other "
            "items into training, or choose another split."
        )
