"""A training batch by its distinct nodes."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Batch(NamedTuple):
    """The distinct nodes of a training batch and where each interaction finds them.

    Shapes: users (Bu,) and items (Bi,) distinct ids; user, positive, negative (B,) positions in
    them. A batch without negatives, for an objective that needs none, has negative (0,).
    """

    users: Tensor
    items: Tensor
    user: Tensor
    positive: Tensor
    negative: Tensor

    @classmethod
    def of(cls, users: Tensor, positives: Tensor, negatives: Tensor) -> Batch:
        """Find the distinct nodes of triples. Shapes: all (B,) ids; negatives may be (0,)."""
        rows_u, user = torch.unique(users, return_inverse=True)
        rows_i, item = torch.unique(torch.cat([positives, negatives]), return_inverse=True)
        return cls(rows_u, rows_i, user, *item.split([len(positives), len(negatives)]))

    @classmethod
    def of_all_items(
        cls, users: Tensor, positives: Tensor, negatives: Tensor, n_items: int
    ) -> Batch:
        """The same with every item a row, at the position of its id. Shapes: as in `of`."""
        rows_u, user = torch.unique(users, return_inverse=True)
        return cls(rows_u, torch.arange(n_items, device=users.device), user, positives, negatives)

    def padded(self, all_items: bool) -> Batch:
        """Return the batch with as many rows as it could have at most, id 0 in the ones without
        meaning: shapes that follow from the number of interactions alone. Nothing refers to them.
        `all_items` tells that the batch has every item.
        """
        users = padded(self.users, len(self.user), 0)
        most = 0 if all_items else len(self.positive) + len(self.negative)
        return self._replace(users=users, items=padded(self.items, most, 0))

    def of_users(self, part: slice) -> Batch:
        """Return the interactions of some of the distinct users; items stay where they are.

        Negatives that belong to interactions go with these.
        """
        mine = ((self.user >= part.start) & (self.user < part.stop)).nonzero().squeeze(1)
        paired = len(self.negative) == len(self.user)
        return self._replace(
            users=self.users[part], user=self.user[mine] - part.start,
            positive=self.positive[mine],
            negative=self.negative[mine] if paired else self.negative,
        )

    @property
    def user_ids(self) -> Tensor:
        """The users as given. Shapes: (B,)."""
        return self.users.index_select(0, self.user)

    @property
    def positive_ids(self) -> Tensor:
        """The positive items as given. Shapes: (B,)."""
        return self.items.index_select(0, self.positive)

    @property
    def negative_ids(self) -> Tensor:
        """The negative items as given. Shapes: (B,)."""
        return self.items.index_select(0, self.negative)


def padded(x: Tensor, n: int, value: float) -> Tensor:
    """Return x with rows of a value appended, up to n; x itself where it has as many.

    >>> padded(torch.tensor([5, 7]), 3, 0)
    tensor([5, 7, 0])
    """
    if len(x) >= n:
        return x
    return torch.cat([x, x.new_full((n - len(x), *x.shape[1:]), value)])
