r"""SGL: Self-supervised Graph Learning for Recommendation.

Wu, Wang, Feng, He, Chen, Lian, Xie; SIGIR 2021; arXiv 2010.10783. On ids alone: LightGCN, and two
views of the graph, drawn anew every epoch, whose embeddings of a node must know each other among
all nodes of its kind. With z the ids propagated over the graph, z' and z'' over the views:

.. math::
    \mathcal L = \mathcal L_{bpr}(z) + \lambda_1 (\mathcal L_{user} + \mathcal L_{item})
        + \lambda_2 \|E\|^2,\qquad
    \mathcal L_{user} = -\tfrac{1}{B} \sum_{u} \log
        \frac{\exp(\cos(z'_u, z''_u) / \tau)}{\sum_{v} \exp(\cos(z'_u, z''_v) / \tau)}

and the same of the items that the batch interacts with. A view leaves out a share of the edges
(`edge_dropout`), of the nodes (`node_dropout`), or of the edges anew in every layer
(`random_walk`), and is normalised by the degrees that are left.

Departures: the paper sums over the batch what is averaged here, each part alike, which Adam
divides out. A view keeps the share of its edges exactly, as in the released code, where the paper
draws one coin an edge. As there, a node counts as often as it occurs in the batch. The row of
padding is no negative. `contrast_negatives: batch` takes the batch's own nodes as negatives.

Shapes: U users, I items, d width; E_user (U, d), E_item (I, d); B interactions of a batch.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from recbole_ssr.graph.views import AUGMENTATIONS, View
from recbole_ssr.model.base import Embeddings
from recbole_ssr.model.ids import IdBaseline
from recbole_ssr.model.propagation import propagate_mean
from recbole_ssr.nn.contrast import info_nce_among
from recbole_ssr.nn.losses import half_squares
from recbole_ssr.nn.sparse import adjacency_product


class FastSGLLoss(NamedTuple):
    """Weighted parts of the loss; their sum is what training minimises."""

    ranking: Tensor
    user_contrast: Tensor
    item_contrast: Tensor
    l2: Tensor


class FastSGL(IdBaseline):
    """SGL. Settings: properties/model/FastSGL.yaml."""

    paper_objective = "bpr"

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.augment = AUGMENTATIONS[config["augmentation"]]
        self.view_dropout = config["view_dropout"]
        self.among_all = config["contrast_negatives"] == "all"
        self.temperature = config["temperature"]
        self.contrast_weight = config["contrast_weight"]
        self.begin_epoch(0)

    def begin_epoch(self, epoch: int) -> None:  # noqa: ARG002
        """Draw the two views of an epoch."""
        self.views = nn.ModuleList(nn.ModuleList(self._draw()) for _ in range(2))

    def _draw(self) -> View:
        return self.augment(self.graph, self.view_dropout, self.n_layers, self.generator)

    def embed_view(self, view: View) -> Embeddings:
        r"""Return the mean of :math:`E, \hat A_1 E, \hat A_2 \hat A_1 E, \ldots` of all nodes."""
        x = self.E_user, self.E_item
        if len(view) == 1:
            return Embeddings(*propagate_mean(view[0], *x, self.n_layers))
        layers = [x]
        for graph in view:
            x = adjacency_product(graph, x)
            layers.append(x)
        return Embeddings(*(sum(side) / len(layers) for side in zip(*layers)))

    def calculate_loss(self, interaction) -> FastSGLLoss:
        batch = self.batch(interaction)
        one, other = map(self.embed_view, self.views)
        return FastSGLLoss(
            self.rank(*self.forward(), batch),
            self.contrast_weight * self.contrast(one.user, other.user, batch.user_ids),
            self.contrast_weight * self.contrast(one.item, other.item, batch.positive_ids),
            self.l2_weight * half_squares(len(batch.user), *self.ids(batch)),
        )

    def contrast(self, one: Tensor, other: Tensor, nodes: Tensor) -> Tensor:
        """InfoNCE of nodes in one view among the nodes of the other.

        Shapes: one, other (N, d) all nodes; nodes (B,) ids with repetitions; result ().
        """
        distinct, occurrences = nodes.unique(return_counts=True)
        if self.among_all:
            candidates, places = other[1:], distinct - 1  # id 0 is padding
        else:
            candidates = other.index_select(0, distinct)
            places = torch.arange(len(distinct), device=distinct.device)
        return info_nce_among(one.index_select(0, distinct), candidates, places, self.temperature,
                              occurrences.to(one) / len(nodes))
