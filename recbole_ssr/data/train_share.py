"""A part of the training interactions, for the question of how much data a model needs."""

from __future__ import annotations

import math

import numpy as np


def kept(users: np.ndarray, items: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Return the positions of `share` of the interactions, rounded, at least one, ascending.

    Every interaction is as likely as any other, whoever's it is, so that the data become sparser as
    if fewer had been collected: users and items with few interactions may lose all of theirs. What
    a share keeps, every larger share keeps. The order of the rows has no effect, save among repeats
    of one pair.

    Shapes: users, items (E,) numbers or tokens, which are compared by their order; result (n,).

    >>> len(kept(np.zeros(10, int), np.arange(10), share=0.5, seed=0))
    5
    """
    order = np.lexsort((items, users))
    count = max(math.floor(share * len(users) + 0.5), min(len(users), 1))
    drawn = np.random.default_rng(seed).permutation(len(users))[:count]
    return np.sort(order[drawn])
