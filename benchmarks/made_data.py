r"""Seeded data of any size: bipartite graphs with power laws, item features that tell groups apart.

Users and items belong to latent groups. A user's interactions are with items of his own group, or
of all, each in proportion to its popularity; a feature is the centre of the item's group and noise,
so that models have something to learn. The r-th most popular item has the weight
:math:`(r + r_0)^{-b}`, and the number of a user's interactions follows the law of Pareto:

.. math:: P(d > x) = (x / d_{min})^{-a}

Time and memory grow with the number of interactions (but for a sort); no users x items matrix.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from recbole_ssr.data.features import write_features

SEED = 2020
TRAIN, VALID, TEST = range(3)
ACTIVITY = 1.8  # a: of users
POPULARITY = 0.9  # b: of items by rank, nearly Zipf's law
FLATTENED = 10  # r_0: without it, one item would be in the history of most users
_GROUPS = 50
_OWN_GROUP = 0.7  # share of the draws that are from the items of the user's own group
_SIGNAL = 0.3  # deviation of a group's centre, in standard deviations of the noise, per column
_MOST = 0.25  # share of all items that one user has at most
_POPULAR_ROUNDS = 10  # of drawing what was drawn twice anew; then any item is as likely
_HELD_FROM = 5  # interactions of a user who has one held out for each part
_BLOCK = 2**18  # rows written at a time


class Interactions(NamedTuple):
    """Distinct interactions, sorted by user and item, and the groups behind them.

    Shapes: user, item (E,) int32, from 0; user_group (U,), item_group (I,) int64.
    """

    user: np.ndarray
    item: np.ndarray
    user_group: np.ndarray
    item_group: np.ndarray


def power_law(users: int, items: int, interactions: int, seed: int = SEED) -> Interactions:
    """Draw `interactions` distinct pairs in which every user occurs, and most items.

    Equal arguments give equal pairs. Raises ValueError for fewer interactions than users, or more
    than an eighth of all pairs.
    """
    most = int(_MOST / 2 * users * items)
    if not users <= interactions <= most:
        raise ValueError(f"{interactions:,} interactions of {users:,} users with {items:,} items: "
                         f"ask for {users:,} to {most:,}")
    rng = np.random.default_rng(seed)
    wanted = rng.permutation(activity(users, items, interactions))
    user_group = rng.integers(_GROUPS, size=users)
    ranked = rng.permutation(items)  # by popularity: ids tell nothing of it
    codes, lacking, drawn = np.empty(0, dtype=np.int64), wanted, 0
    while lacking.any():
        user = np.repeat(np.arange(users), lacking)
        rank = (_ranks_by_popularity(rng, user_group[user], items) if drawn < _POPULAR_ROUNDS
                else rng.integers(items, size=len(user)))
        codes = np.unique(np.concatenate([codes, user * items + ranked[rank]]))
        lacking, drawn = wanted - np.bincount(codes // items, minlength=users), drawn + 1
    item_group = np.empty(items, dtype=np.int64)
    item_group[ranked] = np.arange(items) % _GROUPS
    user, item = np.divmod(codes, items)
    return Interactions(user.astype(np.int32), item.astype(np.int32), user_group, item_group)


def activity(users: int, items: int, interactions: int) -> np.ndarray:
    """Return how many interactions each user has, in ascending order, (U,); their sum is asked for.

    They are the quantiles of the law, rounded, at least 1 and at most a quarter of the items.
    """
    shape = (1 - (np.arange(users) + 0.5) / users) ** (-1 / ACTIVITY)
    low, high = 0.0, float(interactions)
    for _ in range(100):  # the least scale whose sum is large enough, to the last bit
        middle = (low + high) / 2
        enough = np.clip(middle * shape, 1, _MOST * items).sum() >= interactions
        low, high = (low, middle) if enough else (middle, high)
    exact = np.clip(high * shape, 1, _MOST * items)
    # Sums of whole numbers: what rounding down loses of the sum goes to whom it happens first.
    return np.diff(np.floor(np.cumsum(exact) + 0.5), prepend=0).astype(np.int64)


def _ranks_by_popularity(rng: np.random.Generator, group: np.ndarray, items: int) -> np.ndarray:
    """Draw the rank of an item for every user, given as his group (n,); result (n,) from 0.

    Groups take turns by rank, so that each has popular and rare items.
    """
    by_group = np.argsort(np.arange(items) % _GROUPS, kind="stable")
    total = np.cumsum((by_group + 1.0 + FLATTENED) ** -POPULARITY)
    ends = np.cumsum(np.bincount(np.arange(items) % _GROUPS, minlength=_GROUPS))
    borders = np.concatenate([[0], total[ends - 1]])
    own = rng.random(len(group)) < _OWN_GROUP
    low = np.where(own, borders[group], 0)
    high = np.where(own, borders[group + 1], total[-1])
    place = np.searchsorted(total, low + rng.random(len(group)) * (high - low), side="right")
    return by_group[np.minimum(place, items - 1)]


def features(item_group: np.ndarray, width: int, seed: int) -> np.ndarray:
    """Return the centre of each item's group and noise, float32 (I, width)."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((_GROUPS, width), dtype=np.float32)
    out = rng.standard_normal((len(item_group), width), dtype=np.float32)
    out += _SIGNAL * centres[item_group]
    return out


def parts_of(user: np.ndarray, seed: int = SEED) -> np.ndarray:
    """Return 0 train, 1 valid or 2 test of every interaction, (E,) int8.

    Each user of five interactions and more has one held out for either part. `user` is sorted.
    """
    rng = np.random.default_rng(seed)
    count = np.bincount(user)
    first = np.cumsum(count) - count
    rich = np.flatnonzero(count >= _HELD_FROM)
    n = count[rich]
    valid = (rng.random(len(rich)) * n).astype(np.int64)
    test = (valid + 1 + (rng.random(len(rich)) * (n - 1)).astype(np.int64)) % n  # another one
    part = np.zeros(len(user), dtype=np.int8)
    part[first[rich] + valid], part[first[rich] + test] = VALID, TEST
    return part


def write(folder: Path, name: str, user: np.ndarray, item: np.ndarray, part: np.ndarray,
          matrices: Mapping[str, np.ndarray]) -> dict:
    """Write a dataset with a split column and features of all items; return a run's settings.

    Ids are those of the pairs. Shapes: user, item, part (E,); matrices (I, width) by modality.
    """
    target = Path(folder, name)
    target.mkdir(parents=True)
    with open(target / f"{name}.inter", "w") as file:
        file.write("user_id:token\titem_id:token\tpart:float\n")
        for start in range(0, len(user), _BLOCK):
            rows = (column[start:start + _BLOCK].tolist() for column in (user, item, part))
            file.write("".join([f"{u}\t{i}\t{p}\n" for u, i, p in zip(*rows)]))
    for modality, matrix in matrices.items():
        write_features(target / "features", modality, matrix, [str(i) for i in range(len(matrix))])
    return {"data_path": str(folder), "split_column": "part", "show_progress": False,
            "load_col": {"inter": ["user_id", "item_id", "part"]}}


def make(folder: Path, name: str, users: int, items: int, interactions: int,
         widths: Mapping[str, int], seed: int = SEED) -> dict:
    """Write data by these laws below `folder`; return a run's settings, see :func:`write`."""
    drawn = power_law(users, items, interactions, seed)
    matrices = {modality: features(drawn.item_group, width, seed + k)
                for k, (modality, width) in enumerate(widths.items(), start=1)}
    return write(folder, name, drawn.user, drawn.item, parts_of(drawn.user, seed), matrices)
