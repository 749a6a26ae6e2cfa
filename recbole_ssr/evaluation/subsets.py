"""Metrics of some users, or of some of the held-out items, from a stored ranking.

A group of items restricts what counts as relevant and leaves the ranking as it is: recall is the
share of the user's held-out items of the group that are ranked, ideal DCG is that of those items,
and only users who have one count.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

import numpy as np

from recbole_ssr.distinct import distinct
from recbole_ssr.errors import UserError
from recbole_ssr.evaluation.rankings import Interactions, Ranking
from recbole_ssr.evaluation.user_metrics import user_values


class Subset(NamedTuple):
    """Which users and which held-out items a metric counts.

    `kind` is users, cold or popularity. Shapes: users (n_users,) bool, items (n_items,) bool, by
    id.
    """

    name: str
    kind: str
    users: np.ndarray
    items: np.ndarray


class Subsets(NamedTuple):
    """The groups of a part that hold something; why others are left out; what readers must know."""

    subsets: tuple[Subset, ...]
    left_out: dict[str, str] = {}
    notes: tuple[str, ...] = ()


class SubsetValues(NamedTuple):
    """Metrics of the users of a group: users (m,) ascending, values (m,) by metric, never nan."""

    users: np.ndarray
    values: dict[str, np.ndarray]


def subset_values(
    ranking: Ranking, pairs: np.ndarray, subset: Subset, metrics: Sequence[str]
) -> SubsetValues:
    """Return metrics such as "recall@20" of every ranked user of a group with a pair in it.

    Shapes: pairs (2, E), the held-out users and items.
    """
    pairs = _within(pairs, subset)
    rows = np.isin(ranking.users, pairs[0])
    chosen = Ranking(ranking.users[rows], ranking.items[rows])
    return SubsetValues(chosen.users, user_values(chosen, pairs, metrics))


def user_groups(
    interactions: Interactions, borders: Sequence[int], part: str = "test"
) -> Subsets:
    """Group users by their number of training interactions.

    Borders (5, 10, 20) make the groups at most 5, 6-10, 11-20, and more than 20. Users without
    training interactions are in the first, and a note says how many.

    Raises:
        UserError: the borders are not ascending whole numbers from 1 on.
    """
    _check_borders(borders)
    counts = np.bincount(interactions.train[0], minlength=interactions.n_users)
    names = [_between(low + 1, high) for low, high in zip(borders, borders[1:])]
    names = [f"at most {borders[0]}", *names, f"more than {borders[-1]}"]
    place = np.searchsorted(borders, counts)
    everything = np.ones(interactions.n_items, dtype=bool)
    noun = ["interaction" if name.endswith(" 1") else "interactions" for name in names]
    subsets = [Subset(f"users with {name} {noun[k]}", "users", place == k, everything)
               for k, name in enumerate(names)]
    held = getattr(interactions, part)
    new = int((counts[distinct(held[0])] == 0).sum())
    notes = (f"{subsets[0].name}: {new} of them without any in training",) if new else ()
    return _filled(subsets, held, f"no user of the {part} part has that many in training", notes)


def cold_items(interactions: Interactions, part: str = "test") -> Subsets:
    """Return the group of the held-out items that have no training interaction."""
    cold = np.bincount(interactions.train[1], minlength=interactions.n_items) == 0
    subset = Subset("cold items", "cold", np.ones(interactions.n_users, dtype=bool), cold)
    return _filled([subset], getattr(interactions, part),
                   f"every item of the {part} part has training interactions")


def head_and_tail(
    interactions: Interactions, head_share: float, part: str = "test"
) -> Subsets:
    """Return the groups of the popular and of the other items; see `head_items`."""
    counts = np.bincount(interactions.train[1], minlength=interactions.n_items)
    head = head_items(counts, head_share)
    users = np.ones(interactions.n_users, dtype=bool)
    subsets = [Subset("head items", "popularity", users, head),
               Subset("tail items", "popularity", users, (counts > 0) & ~head)]
    return _filled(subsets, getattr(interactions, part), f"no item of the {part} part is in it")


def head_items(counts: np.ndarray, head_share: float) -> np.ndarray:
    """Return which items are the head: the fewest that receive `head_share` of the interactions.

    The most popular items are taken until together they have at least that share of the training
    interactions, among equally popular ones those with the smaller id. The usual .8 is the Pareto
    rule, as in Yin et al., Challenging the Long Tail Recommendation, VLDB 2012.

    Shapes: counts (n_items,), training interactions; returns (n_items,) bool.

    Raises:
        UserError: the share is not above 0 and at most 1.

    >>> head_items(np.array([1, 8, 1]), head_share=0.8)
    array([False,  True, False])
    """
    if not (isinstance(head_share, (int, float)) and 0 < head_share <= 1):
        raise UserError(f"head_share is {head_share!r}; it is a share above 0 and at most 1")
    order = np.argsort(-counts, kind="stable")
    # As a fraction, for .7 of 10 interactions are 7, whatever the binary digits of .7.
    needed = math.ceil(Fraction(str(float(head_share))) * int(counts.sum()))
    head = np.zeros(len(counts), dtype=bool)
    if needed:
        head[order[:1 + np.searchsorted(counts[order].cumsum(), needed)]] = True
    return head


def _check_borders(borders: Sequence[int]) -> None:
    listed = isinstance(borders, (list, tuple)) and len(borders) > 0
    if not (listed and all(type(border) is int for border in borders)
            and all(a < b for a, b in zip((0, *borders), borders))):
        raise UserError(f"user_groups is {borders!r}; it takes ascending whole numbers from 1 on, "
                        "such as [5, 10, 20]")


def _between(low: int, high: int) -> str:
    return str(low) if low == high else f"{low}-{high}"


def _within(pairs: np.ndarray, subset: Subset) -> np.ndarray:
    return pairs[:, subset.users[pairs[0]] & subset.items[pairs[1]]]


def _filled(
    subsets: list[Subset], held: np.ndarray, reason: str, notes: tuple[str, ...] = ()
) -> Subsets:
    """Keep the groups with a held-out pair of users and items, the others with a reason."""
    kept = tuple(subset for subset in subsets if _within(held, subset).size)
    names = {subset.name for subset in kept}
    return Subsets(kept, {s.name: reason for s in subsets if s.name not in names}, notes)
