"""The users and items of a run by their tokens, and what is known of their interactions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from recbole_ssr.data.ids import tokens_of
from recbole_ssr.errors import UserError, nearest
from recbole_ssr.experiment import Experiment, interactions_of
from recbole_ssr.serve.items import ItemTable

_NAMED = 5  # unknown tokens that a message names


class Catalogue:
    """Tokens and interactions; id 0 is padding.

    Attributes: users (U,), items (I,) tokens; seen (U, I) CSR of training and validation, and
    tested (U, I) of test; popularity (I,) training interactions; first_new, the id from which on
    items are new.
    """

    def __init__(self, users: np.ndarray, items: np.ndarray, seen: sp.csr_matrix,
                 tested: sp.csr_matrix, popularity: np.ndarray, first_new: int | None = None,
                 read_table: Callable[[], ItemTable] | None = None):
        self.users, self.items, self.seen, self.tested = users, items, seen, tested
        self.popularity = popularity
        self.first_new = len(items) if first_new is None else first_new
        self._read_table = read_table

    @classmethod
    def of(cls, experiment: Experiment, new_items: Sequence[str] = ()) -> Catalogue:
        """Return that of a run; new items get the ids after those of the others."""
        dataset = experiment.dataset
        users, known = (dataset.field2id_token[field].astype(str)
                        for field in (dataset.uid_field, dataset.iid_field))
        items = np.concatenate([known, np.asarray(new_items, dtype=str)])
        parts = interactions_of(experiment)
        seen, tested = (
            sp.csr_matrix((np.ones(pairs.shape[1], np.float32), pairs), (len(users), len(items)))
            for pairs in (np.concatenate([parts.train, parts.valid], axis=1), parts.test))
        return cls(users, items, seen, tested, np.bincount(parts.train[1], minlength=len(items)),
                   len(known), partial(ItemTable.of, dataset, items))

    @cached_property
    def table(self) -> ItemTable:
        """What the dataset's .item file says of the items."""
        return self._read_table() if self._read_table else ItemTable(Path(), {}, {})

    @cached_property
    def _user_ids(self) -> Mapping[str, int]:
        return {token: i for i, token in enumerate(self.users) if i}

    @cached_property
    def _item_ids(self) -> Mapping[str, int]:
        return {token: i for i, token in enumerate(self.items) if i}

    def user_ids(self, tokens: Iterable[str]) -> np.ndarray:
        """Return the ids of users, 0 where one is unknown."""
        return np.array([self._user_ids.get(t, 0) for t in tokens_of(tokens)], dtype=np.int64)

    def item_ids(self, tokens: Iterable[str]) -> np.ndarray:
        """Return the ids of items, 0 where one is unknown."""
        return np.array([self._item_ids.get(t, 0) for t in tokens_of(tokens)], dtype=np.int64)

    def user_id(self, token: str) -> int:
        """Return the id of one user; UserError with the nearest token if there is none."""
        return self._one(token, self._user_ids, "user")

    def item_id(self, token: str) -> int:
        """Return the id of one item; UserError with the nearest token if there is none."""
        return self._one(token, self._item_ids, "item")

    def _one(self, token: str, ids: Mapping[str, int], kind: str) -> int:
        if str(token) not in ids:
            raise UserError(f"the run knows no {kind} {str(token)!r}.{nearest(token, ids)} It has "
                            f"{len(ids):,}, for instance {', '.join(list(ids)[:3])}")
        return ids[str(token)]


def named(tokens: Sequence[str]) -> str:
    """Return a few of the tokens as text, and how many more there are.

    >>> named(["a", "b", "c"])
    'a, b, c'
    """
    more = len(tokens) - _NAMED
    return ", ".join(map(str, tokens[:_NAMED])) + (f" and {more:,} more" if more > 0 else "")
