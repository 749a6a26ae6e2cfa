"""Interactions in memory while a dataset is prepared: integer codes and the tokens they stand for.

Tens of millions of interactions fit: a row takes 8 bytes, 12 more with a rating and a time.
Times keep their fractions: a float64 tells times of today apart that lie a microsecond from each
other.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class Interactions:
    """n interactions of users with items, in the order of their source.

    Shapes:
        users, items: (n,) int32, codes into user_tokens and item_tokens.
        user_tokens, item_tokens: object arrays of str, one per code; each code occurs in a row.
        ratings: (n,) float32 or None.  timestamps: (n,) seconds or None, int64 where all
            are whole, else float64.
        labels: (n,) int8 or None; the part of the split, 0 train, 1 valid, 2 test.
    """

    users: np.ndarray
    items: np.ndarray
    user_tokens: np.ndarray
    item_tokens: np.ndarray
    ratings: np.ndarray | None = None
    timestamps: np.ndarray | None = None
    labels: np.ndarray | None = None

    @classmethod
    def from_tokens(cls, users: Sequence, items: Sequence, ratings=None, timestamps=None,
                    labels=None) -> Interactions:
        """Number the users and items of n rows, given as str, by first appearance."""
        user_codes, user_tokens = pd.factorize(np.asarray(users, dtype=object))
        item_codes, item_tokens = pd.factorize(np.asarray(items, dtype=object))
        return cls(user_codes.astype(np.int32), item_codes.astype(np.int32), user_tokens,
                   item_tokens, _column(ratings, np.float32), None if timestamps is None
                   else whole_or_not(np.asarray(timestamps)), _column(labels, np.int8))

    def __len__(self) -> int:
        return len(self.users)

    @property
    def n_users(self) -> int:
        """Number of users that have an interaction."""
        return len(self.user_tokens)

    @property
    def n_items(self) -> int:
        """Number of items that have an interaction."""
        return len(self.item_tokens)

    def select(self, rows: np.ndarray) -> Interactions:
        """Return the rows of a mask or of indices, users and items numbered anew as they appear."""
        users, user_tokens = _renumber(self.users[rows], self.user_tokens)
        items, item_tokens = _renumber(self.items[rows], self.item_tokens)
        ratings, timestamps, labels = (None if column is None else column[rows] for column in
                                       (self.ratings, self.timestamps, self.labels))
        return Interactions(users, items, user_tokens, item_tokens, ratings, timestamps, labels)

    def with_labels(self, labels: np.ndarray) -> Interactions:
        """Return the same interactions with the (n,) labels of a split."""
        return replace(self, labels=np.asarray(labels, dtype=np.int8))

    def pairs(self) -> np.ndarray:
        """Return (n,) int64 codes that are equal where user and item are."""
        return self.users.astype(np.int64) * self.n_items + self.items


class InteractionsBuilder:
    """Collects interactions row by row or in chunks, keeping each token once."""

    def __init__(self) -> None:
        self._codes: tuple[dict[str, int], dict[str, int]] = ({}, {})
        self._chunks: list[tuple[np.ndarray, ...]] = []

    def add(self, users: Iterable[str], items: Iterable[str], ratings: Sequence,
            timestamps: Sequence) -> None:
        """Append one chunk of n rows."""
        codes = [np.fromiter((of.setdefault(token, len(of)) for token in tokens), np.int32)
                 for of, tokens in zip(self._codes, (users, items))]
        self._chunks.append((*codes, np.asarray(ratings, np.float32),
                             np.asarray(timestamps, np.float64)))

    def build(self) -> Interactions:
        """Return all rows added so far."""
        columns = [np.concatenate(parts) for parts in zip(*self._chunks)] or [
            np.empty(0, kind) for kind in (np.int32, np.int32, np.float32, np.float64)]
        tokens = [np.array(list(of), dtype=object) for of in self._codes]
        return Interactions(columns[0], columns[1], *tokens, columns[2], whole_or_not(columns[3]))


def whole_or_not(times: np.ndarray) -> np.ndarray:
    """Return (n,) times as int64 where all of them are whole numbers, else as float64.

    >>> whole_or_not(np.array([1.0, 2.0]))
    array([1, 2])
    """
    whole = times.astype(np.int64)
    return whole if (whole == times).all() else times.astype(np.float64)


def _renumber(codes: np.ndarray, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    new, old = pd.factorize(codes)
    return new.astype(np.int32), tokens[old]


def _column(values, kind) -> np.ndarray | None:
    return None if values is None else np.asarray(values, dtype=kind)
