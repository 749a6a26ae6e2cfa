"""Bands of the nodes of a batch, as the stages of SSR hand them on."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from recbole_ssr.model.base import Batch, Embeddings
from recbole_ssr.spectral.slots import tap

_SMALLEST_NORM = 1e-12


class NodeBands(NamedTuple):
    """What is known of some nodes of one side before fusion.

    Shapes: slots (M, C, B, d) the bands of every modality; facts (B, Z) for the gate; weights
    (B, 1, C) of the modalities, or None for equal ones.
    """

    slots: Tensor
    facts: Tensor
    weights: Tensor | None

    def factors(self, keep: Tensor | None) -> Tensor | None:
        """Return what every slot is multiplied with, by its weight and `keep`; None for 1.

        Shapes: keep (B or 1, M or 1, C or 1); result (B, M, C).
        """
        factors = [x for x in (self.weights, keep) if x is not None]
        if not factors:
            return None
        M, C, B = self.slots.shape[:3]
        return torch.stack([x.expand(B, M, C) for x in factors]).prod(0)

    def with_parts(self, *rows: Tensor) -> tuple[NodeBands, ...]:
        """Return itself, to be used from here on, and its parts on some nodes; see slots.py.

        Shapes: each of rows (B',).
        """
        slots, *parts = tap(self.slots, *rows)
        return self._replace(slots=slots), *(
            NodeBands(part, self.facts.index_select(0, r),
                     None if self.weights is None else self.weights.index_select(0, r))
            for part, r in zip(parts, rows)
        )


class BatchBands(NamedTuple):
    """The spectra that the parts of the loss read.

    `user` and `item` are all that is ranked, `item_of_pairs` the items of the batch's pairs, and
    `aligned` the users and items whose modalities are aligned, or nothing.
    """

    user: NodeBands
    item: NodeBands
    item_of_pairs: NodeBands
    aligned: tuple[NodeBands, ...]

    @classmethod
    def of(
        cls, user: NodeBands, item: NodeBands, pairs: Tensor, aligned: tuple[Tensor, ...]
    ) -> BatchBands:
        """Shapes: pairs (B',) and each of aligned (n,) places in item, and in user and item."""
        user, *aligned_users = user.with_parts(*aligned[:1])
        item, item_of_pairs, *aligned_items = item.with_parts(pairs, *aligned[1:])
        return cls(user, item, item_of_pairs, (*aligned_users, *aligned_items))


class Pairs(NamedTuple):
    """The (user, positive) and (user, negative) pairs of a batch on distinct items.

    Shapes: items (Bi,) places among the batch's items; user, item (2 B,) places in the batch's
    users and in `items`, (B,) of a batch without negatives.
    """

    items: Tensor
    user: Tensor
    item: Tensor

    @classmethod
    def of(cls, batch: Batch) -> Pairs:
        items, place = torch.unique(
            torch.cat([batch.positive, batch.negative]), return_inverse=True
        )
        return cls(items, batch.user.repeat(2)[:len(place)], place)

    def scores(self, x: Embeddings) -> Tensor:
        """Shapes: x.user (Bu, D), x.item (Bi, D); result (2 B,)."""
        return (x.user.index_select(0, self.user) * x.item.index_select(0, self.item)).sum(1)


class LinearFusion(NamedTuple):
    """Embeddings as sums over slots, gate and mixing held at their values.

    Shapes: slots, coefficients (M, C, B, d), whose product summed over M and C is the embedding.
    """

    slots: Tensor
    coefficients: Tensor

    def parts(self) -> Tensor:
        """Return what every slot contributes. Shapes: (M, C, B, d)."""
        return self.slots * self.coefficients

    def unit(self) -> LinearFusion:
        """Divide by the norm of the embeddings, held at its value."""
        norm = self.parts().sum((0, 1)).norm(dim=1, keepdim=True).clamp(min=_SMALLEST_NORM)
        return self._replace(coefficients=self.coefficients / norm)
