"""The items that each user has interacted with, as sorted numbers instead of a set per user.

RecBole keeps a Python set for each user and part, and two tensors for each user who is evaluated.
At ten million interactions that is minutes and gigabytes; here, seconds and 8 bytes each.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from recbole_ssr.distinct import distinct

_INT64 = np.iinfo(np.int64).max


class UsedItems:
    """For every user the distinct items, in ascending order; `used[user]` is a set of them.

    Shapes: users, items (E,) ids; codes (n,) int64, user * n_items + item, ascending.
    """

    def __init__(self, users: np.ndarray, items: np.ndarray, n_users: int, n_items: int):
        if n_users * n_items > _INT64:
            raise OverflowError(f"{n_users:,} users x {n_items:,} items are more pairs than 64 "
                                "bits can number")
        self.n_users, self.n_items = n_users, n_items
        self.codes = distinct(users.astype(np.int64) * n_items + items)

    @classmethod
    def of_codes(cls, codes: np.ndarray, n_users: int, n_items: int) -> UsedItems:
        """Return those of pairs that are already numbered, ascending and distinct."""
        used = cls.__new__(cls)
        used.codes, used.n_users, used.n_items = codes, n_users, n_items
        return used

    def __or__(self, other: UsedItems) -> UsedItems:
        """Return the items that a user has in either."""
        both = np.concatenate([self.codes, other.codes])
        return UsedItems.of_codes(distinct(both), self.n_users, self.n_items)

    def __len__(self) -> int:
        return self.n_users

    def __getitem__(self, user):
        """Return the set of a user's items, or an array of the sets of several users."""
        if np.ndim(user) == 0:
            return set(self.of([user])[1].tolist())
        return np.array([self[one] for one in user] + [None], dtype=object)[:-1]

    def of(self, users: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """Return the items of some users: a user's place among them, and the item, (n,) each.

        Raises IndexError for a user who is none.

        >>> UsedItems(np.array([2, 0, 2]), np.array([5, 1, 3]), 3, 6).of([2, 0])
        (array([0, 0, 1]), array([3, 5, 1]))
        """
        users = self._checked(users)
        starts, ends = (np.searchsorted(self.codes, (users + k) * self.n_items) for k in (0, 1))
        lengths = ends - starts
        places = np.repeat(np.arange(len(users)), lengths)
        # Position in the users' own stretch, from the position among all of them.
        within = np.arange(len(places)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        return places, self.codes[starts[places] + within] % self.n_items

    def has(self, users: np.ndarray, items: np.ndarray) -> np.ndarray:
        """Return which pairs are among them, (n,) bool. Shapes: users, items (n,)."""
        if not len(self.codes):
            return np.zeros(len(items), dtype=bool)
        codes = self._checked(users) * self.n_items + items
        at = np.searchsorted(self.codes, codes)
        return self.codes[np.minimum(at, len(self.codes) - 1)] == codes

    def count(self) -> np.ndarray:
        """Return how many items each user has, (n_users,)."""
        return np.bincount(self.codes // self.n_items, minlength=self.n_users)

    def _checked(self, users: Sequence[int]) -> np.ndarray:
        users = np.asarray(users, dtype=np.int64)
        wrong = (users < 0) | (users >= self.n_users)
        if wrong.any():
            raise IndexError(f"user {users[wrong][0]} is none of {self.n_users:,}")
        return users
