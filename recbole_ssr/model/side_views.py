r"""Behaviour and side information of nodes: what MGCN and SMORE share.

.. math::
    \text{behaviour}\quad & c = \tfrac{1}{L+1} \sum_{l=0}^{L} \hat A^l (E_u, E_i) \\
    \text{views}\quad & V^i_k\ \text{from the model},\qquad V^u_k = \hat R\, V^i_k \\
    \text{final}\quad & e = c + s,\qquad s = side(c, V) \\
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
from recbole_ssr.nn.contrast import info_nce
from recbole_ssr.nn.losses import half_squares
from recbole_ssr.nn.rows import select
from recbole_ssr.nodes import Nodes


class SideLoss(NamedTuple):
    """Weighted parts of the loss; their sum is what training minimises."""

    ranking: Tensor
    contrast: Tensor
    l2: Tensor


class SideViews(Baseline):
    """A subclass writes :meth:`item_views` and :meth:`side`."""

    paper_objective = "bpr"
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

    def item_views(self) -> list[Tensor]:
        """Return what the items' content says of them, by view. Shapes: V times (I, d)."""
        raise NotImplementedError

    def side(self, behaviour: Tensor, views: Tensor) -> Tensor:
        """Fuse the views of some nodes. Shapes: behaviour (n, d); views (n, V, d); result (n, d).

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

    def calculate_loss(self, interaction) -> SideLoss:
        batch = self.batch(interaction)
        items = None if self.objective.all_items else batch.items
        behaviour, views = self.signals()
        (c_u, c_i), (V_u, V_i) = (
            (select(user, batch.users), select(item, items)) for user, item in (behaviour, views))
        s_u, s_i = self._side(c_u, V_u), self._side(c_i, V_i)
        e_u, e_i = c_u + s_u, c_i + s_i
        contrast = self._contrast(s_u, c_u, batch.user) + self._contrast(s_i, c_i, batch.positive)
        l2 = half_squares(self.batch_size, e_u.index_select(0, batch.user),
                          e_i.index_select(0, torch.cat([batch.positive, batch.negative])))
        return SideLoss(self.ranking_loss(e_u, e_i, batch), self.contrast_weight * contrast,
                        self.l2_weight * l2)

    def _side(self, behaviour: Tensor, views: Tensor) -> Tensor:
        return self.side(behaviour, views.view(len(views), -1, self.width))

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
