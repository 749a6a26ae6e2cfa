r"""Behaviour and side information of nodes: what MGCN and SMORE share.

.. math::
    \text{behaviour}\quad & c = \tfrac{1}{L+1} \sum_{l=0}^{L} \hat A^l (E_u, E_i) \\
    \text{views}\quad & V^i_k\ \text{from the model},\qquad V^u_k = \hat R\, V^i_k \\
    \text{gates}\quad & g = \sigma(W_4 c + b_4)\ \text{for every view} \\
    \text{final}\quad & e = c + s,\qquad s = side(V, g) \\
    \mathcal L =\ & \mathcal L_{BPR} + \gamma \big[ NCE_\tau(s_u, c_u) + NCE_\tau(s_i, c_i) \big]
        + \lambda \tfrac{1}{2 B} \sum_{batch} \|e\|^2

The contrast is within the batch: its users, its positive items, as often as they occur.

Shapes: U users, I items, V views, d width.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from recbole_ssr.errors import UserError, nearest
from recbole_ssr.model.base import Embeddings
from recbole_ssr.model.baseline import Baseline, raw_features, xavier
from recbole_ssr.model.propagation import propagate_mean, users_of
from recbole_ssr.nn.batch import Batch, padded
from recbole_ssr.nn.channel_dropout import kept
from recbole_ssr.nn.contrast import info_nce
from recbole_ssr.nn.fixed_shapes import on_device
from recbole_ssr.nn.losses import half_squares
from recbole_ssr.nn.rows import select
from recbole_ssr.nodes import Nodes


class SideLoss(NamedTuple):
    """Weighted parts of the loss; their sum is what training minimises."""

    ranking: Tensor
    contrast: Tensor
    l2: Tensor


class SideStep(NamedTuple):
    """A batch and what its gates are multiplied by: 0 or more, 1 on average; None for 1.

    Shapes: kept (B, V d), of the batch's users and of its items.
    """

    batch: Batch
    kept: Nodes | None


class SideViews(Baseline):
    """A subclass writes :meth:`item_views` and :meth:`side`; `prefer` is its :meth:`gates`."""

    paper_objective = "bpr"
    gate_dropout = 0.0
    user_tables = ("E_u",)
    embeds_new_items = True

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.width = config["embedding_size"]
        self.n_layers, self.temperature = config["n_layers"], config["temperature"]
        self.contrast_weight, self.l2_weight = config["contrast_weight"], config["l2_weight"]
        # The same divisor for the last, shorter batch of an epoch: the sum is what is regularised.
        self.batch_size = config["train_batch_size"]
        self.E_u, self.E_i = xavier(self.n_users, self.width), xavier(self.n_items, self.width)
        self.X = raw_features(config, dataset)
        self.project = nn.ModuleList(nn.Linear(X.width, self.width) for X in self.X)

    def gates(self, views: int) -> nn.Module:
        """Return the layer of all views' gates at once: W_4 is (V d, d)."""
        return nn.Sequential(nn.Linear(self.width, views * self.width), nn.Sigmoid())

    def item_views(self) -> list[Tensor]:
        """Return what the items' content says of them, by view. Shapes: V times (I, d)."""
        raise NotImplementedError

    def side(self, views: Tensor, gate: Tensor) -> Tensor:
        """Fuse the views of some nodes. Shapes: views, gate (n, V, d); result (n, d).

        Rows do not depend on each other, so that training fuses those of the batch alone.
        """
        raise NotImplementedError

    def signals(self) -> tuple[Nodes, Nodes]:
        """Return behaviour and views of all nodes.

        Shapes: pairs of (U, d) and (I, d), of (U, V d) and (I, V d).
        """
        item = torch.cat(self.item_views(), dim=1)
        behaviour = propagate_mean(self.graph, self.E_u, self.E_i, self.n_layers)
        return behaviour, (users_of(self.graph, item), item)

    def forward(self) -> Embeddings:
        behaviour, views = self.signals()
        return Embeddings(*(c + self._side(c, V) for c, V in zip(behaviour, views)))

    def draw(self, interaction) -> SideStep:
        batch = self.batch(interaction)
        if not self.gate_dropout:
            return SideStep(batch, None)
        wide = self.prefer[0].out_features
        masks = tuple(kept((len(rows), wide), self.gate_dropout, self.generator)
                      for rows in (batch.users, batch.items))
        return SideStep(batch, on_device(masks, batch.users.device))

    def padded(self, drawn: SideStep) -> SideStep:
        batch = drawn.batch.padded(self.objective.all_items)
        masks = drawn.kept and tuple(padded(mask, len(rows), 0) for mask, rows in
                                     zip(drawn.kept, (batch.users, batch.items)))
        return SideStep(batch, masks)

    def loss(self, step: SideStep) -> SideLoss:
        batch, (kept_u, kept_i) = step.batch, step.kept or (None, None)
        items = None if self.objective.all_items else batch.items
        behaviour, views = self.signals()
        (c_u, c_i), (V_u, V_i) = (
            (select(user, batch.users), select(item, items)) for user, item in (behaviour, views))
        s_u, s_i = self._side(c_u, V_u, kept_u), self._side(c_i, V_i, kept_i)
        e_u, e_i = c_u + s_u, c_i + s_i
        contrast = self._contrast(s_u, c_u, batch.user) + self._contrast(s_i, c_i, batch.positive)
        l2 = half_squares(self.batch_size, e_u.index_select(0, batch.user),
                          e_i.index_select(0, torch.cat([batch.positive, batch.negative])))
        return SideLoss(self.ranking_loss(e_u, e_i, batch), self.contrast_weight * contrast,
                        self.l2_weight * l2)

    def _side(self, behaviour: Tensor, views: Tensor, mask: Tensor | None = None) -> Tensor:
        gate = self.prefer(behaviour)
        if mask is not None:
            gate = gate * mask
        return self.side(*(x.view(len(x), -1, self.width) for x in (views, gate)))

    def _contrast(self, side: Tensor, behaviour: Tensor, rows: Tensor) -> Tensor:
        return info_nce(side.index_select(0, rows), behaviour.index_select(0, rows),
                        self.temperature)


def knn_by_modality(knn_k: int | dict, modalities: tuple[str, ...]) -> list[int]:
    """Return k of every modality; `knn_k` is one for all, or maps each to its own.

    Raises UserError for an unknown or missing modality and for a k below 1.
    """
    if not isinstance(knn_k, dict):
        knn_k = dict.fromkeys(modalities, knn_k)
    for name in knn_k:
        if name not in modalities:
            raise UserError(f"knn_k names {name!r}, which is no modality of this dataset "
                            f"({', '.join(modalities)}).{nearest(name, modalities)}")
    if any(type(knn_k.get(c)) is not int or knn_k[c] < 1 for c in modalities):
        raise UserError(f"knn_k is {knn_k}; give every modality ({', '.join(modalities)}) a whole "
                        "number of neighbours of at least 1, or all of them one")
    return [knn_k[c] for c in modalities]
