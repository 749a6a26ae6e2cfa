r"""Bands of the nodes of a batch, as the stages of SSR hand them on.

**A gate that is the same at every node** makes the fusion of one side linear in its slots, with a
coefficient by slot and channel (SpectralFusion.coefficients_of_all), so that band m contributes

.. math::
    P_m = \sum_c a_{mc} \odot B_{mc}, \qquad
    B_{mc} = \Phi_{mc} W_c \Rightarrow a_{mc} \odot B_{mc} = \Phi_{mc} (W_c\,\mathrm{diag}(a_{mc}))

to the embedding, and the embedding from bands masked by :math:`\mu` is :math:`\sum_m \mu_m P_m`. No
slot of a frozen modality is built for it, and masking costs no second fusion.

Shapes: M bands, C modalities, B nodes, f features, d channels.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from recbole_ssr.model.base import Batch, Embeddings
from recbole_ssr.spectral.band_sums import band_sums
from recbole_ssr.spectral.fusion import SpectralFusion
from recbole_ssr.spectral.slots import tap

_SMALLEST_NORM = 1e-12


class ModalityBands(NamedTuple):
    """The bands of one modality, `bands` W: (M, B, f) with W (f, d), or (M, B, d) with W None."""

    bands: Tensor
    W: Tensor | None = None

    def projected(self) -> Tensor:
        """Return B_c. Shapes: result (M, B, d)."""
        return self.bands if self.W is None else self.bands @ self.W

    def at(self, rows: Tensor) -> ModalityBands:
        """Return the bands of some of the nodes. Shapes: rows (B',)."""
        return self._replace(bands=self.bands.index_select(1, rows))

    def add_to(self, total: Tensor | None, coefficients: Tensor) -> Tensor:
        """Return `total` + coefficients x B_c. Shapes: total (M, B, d); coefficients (M, d)."""
        by_band = coefficients.unsqueeze(1)  # (M, 1, d)
        if self.W is None:
            own = self.bands * by_band
            return own if total is None else total + own
        W = self.W * by_band  # (M, f, d)
        return self.bands @ W if total is None else torch.baddbmm(total, self.bands, W)


@dataclass(frozen=True)
class NodeBands:
    """What is known of some nodes of one side before fusion.

    Shapes: modalities: the bands of C of them; facts (B, Z) for the gate; weights (B, 1, C) of the
    modalities, or None for equal ones.
    """

    modalities: tuple[ModalityBands, ...]
    facts: Tensor
    weights: Tensor | None = None

    @classmethod
    def of_slots(cls, slots: Tensor, facts: Tensor, weights: Tensor | None = None) -> NodeBands:
        """Shapes: slots (M, C, B, d)."""
        return cls(tuple(ModalityBands(bands) for bands in slots.unbind(1)), facts, weights)

    @cached_property
    def slots(self) -> Tensor:
        """The bands of every modality. Shapes: (M, C, B, d)."""
        return torch.stack([bands.projected() for bands in self.modalities], dim=1)

    def factors(self, keep: Tensor | None) -> Tensor | None:
        """Return what every slot is multiplied with, by its weight and `keep`; None for 1.

        Shapes: keep (B or 1, M or 1, C or 1); result (B, M, C).
        """
        factors = [x for x in (self.weights, keep) if x is not None]
        if not factors:
            return None
        M, C, B = self.slots.shape[:3]
        return torch.stack([x.expand(B, M, C) for x in factors]).prod(0)

    def at(self, rows: Tensor) -> NodeBands:
        """Return what is known of some of the nodes. Shapes: rows (B',)."""
        return NodeBands(tuple(bands.at(rows) for bands in self.modalities),
                         self.facts.index_select(0, rows),
                         None if self.weights is None else self.weights.index_select(0, rows))

    def with_parts(self, *rows: Tensor) -> tuple[NodeBands, ...]:
        """Return itself with slots, to be used from here on, and its parts; see slots.py.

        Shapes: each of rows (B',).
        """
        slots, *parts = tap(self.slots, *rows)
        return self.of_slots(slots, self.facts, self.weights), *(
            self.of_slots(part, self.facts.index_select(0, r),
                          None if self.weights is None else self.weights.index_select(0, r))
            for part, r in zip(parts, rows)
        )

    def contributions(self, fusion: SpectralFusion, gains: Tensor | None = None) -> Tensor:
        """Return P, of slots times `gains` (M, C), for a fusion whose gate is the same everywhere.

        Shapes: result (M, B, d).
        """
        coefficients = fusion.coefficients_of_all()  # (M, C, d)
        if gains is not None:
            coefficients = coefficients * gains.unsqueeze(2)
        total = None
        for bands, a in zip(self.modalities, coefficients.unbind(1)):
            total = bands.add_to(total, a)
        return total


@dataclass(frozen=True)
class Slotwise:
    """One side before its fusion, in general: slots, fused anew for every choice of them."""

    fusion: SpectralFusion
    nodes: NodeBands

    def embed(self, keep: Tensor | None = None) -> Tensor:
        """Fuse. Shapes: keep (B or 1, M or 1, C or 1) factors; result (B, d)."""
        nodes = self.nodes
        return self.fusion(nodes.slots, nodes.facts, keep=nodes.factors(keep))

    def with_part(self, rows: Tensor) -> tuple[Slotwise, Slotwise]:
        """Return itself, to be used from here on, and some of the nodes. Shapes: rows (B',)."""
        return tuple(replace(self, nodes=nodes) for nodes in self.nodes.with_parts(rows))


@dataclass(frozen=True)
class Bandwise:
    """One side whose gate is the same at all nodes: what every band contributes to its embeddings.

    Shapes: P (M, B, d).
    """

    P: Tensor

    def embed(self, keep: Tensor | None = None) -> Tensor:
        """Add up the bands. Shapes: keep (B or 1, M, 1) factors; result (B, d)."""
        if keep is None:
            return self.P.sum(0)
        M, B = self.P.shape[:2]
        return band_sums(self.P, keep.expand(B, M, 1).permute(2, 0, 1))[0]

    def with_part(self, rows: Tensor) -> tuple[Bandwise, Bandwise]:
        """Return itself, to be used from here on, and some of the nodes. Shapes: rows (B',)."""
        return tuple(Bandwise(P.squeeze(1)) for P in tap(self.P.unsqueeze(1), rows))


Side = Slotwise | Bandwise


def before_fusion(
    fusion: SpectralFusion, nodes: NodeBands, by_modality: bool, gains: Tensor | None = None
) -> Side:
    """Return one side, ready to be fused several times; `by_modality` tells that a `keep` will
    choose between the modalities of a node. Shapes: gains (M, C), of a Bandwise side alone.
    """
    if fusion.mlp is not None or nodes.weights is not None or by_modality:
        return Slotwise(fusion, nodes)
    return Bandwise(nodes.contributions(fusion, gains))


def fused(fusion: SpectralFusion, nodes: NodeBands, keep: Tensor | None) -> Tensor:
    """Embed some nodes once. Shapes: keep (B or 1, M or 1, C or 1) factors; result (B, d)."""
    if keep is not None and len(keep) == 1:  # the same at all nodes
        M, C = fusion.w.shape
        side = before_fusion(fusion, nodes, by_modality=False, gains=keep[0].expand(M, C))
        return side.embed(keep if isinstance(side, Slotwise) else None)
    by_modality = keep is not None and keep.shape[2] > 1
    return before_fusion(fusion, nodes, by_modality).embed(keep)


class Pairs(NamedTuple):
    """The (user, positive) and (user, negative) pairs of a batch on distinct items.

    Shapes: items (Bi,) places among the batch's items; user, item (2 B,) places in the batch's
    users and in `items`, (B,) of a batch without negatives.
    """

    items: Tensor
    user: Tensor
    item: Tensor

    @classmethod
    def of(cls, batch: Batch, all_items: bool) -> Pairs:
        """`all_items` tells that the batch has every item, not its own ones."""
        place = torch.cat([batch.positive, batch.negative])
        items = torch.arange(len(batch.items), device=place.device)
        if all_items:
            items, place = torch.unique(place, return_inverse=True)
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
