r"""PGL: Mind individual information! Principal graph learning for multimedia recommendation.

Yu, Tan, Lu, Bao; AAAI 2025. Training propagates over a part of the user-item graph, its principal
graph, so that what is a node's own is not smoothed away; inference over the whole graph. Items have
no embeddings of their own, only their features.

.. math::
    \text{principal graph}\quad & A_p: (1 - \rho) |\mathcal E| \text{ edges drawn anew each epoch
        with } p_{ui} \propto \tfrac{1}{\sqrt{d_u d_i}}, \text{ normalised by their own degrees} \\
    \text{items}\quad & x_i = \big[\, \tfrac{P_m}{\|P_m\|} \text{ for every } m \,\big], \qquad
        P_m = X_i^m W_m + b_m \\
    \text{embed}\quad & h_u, \hat h_i = \tfrac{1}{L + 1} \textstyle\sum_{l=0}^{L}
        \hat A_p^l \,[E_u; x_i], \qquad h_i = \hat h_i + S^{L_{ii}} x_i \\
    \mathcal L = &\ bpr(h_u, h_i, h_j) + \gamma \textstyle\sum_{v \in \{u, i\}}
        nce_\tau\big(dropout(h_v), dropout(h_v)\big)

S is the frozen item graph of FREEDOM. This is the paper's local extraction; its global one, by a
truncated singular value decomposition of the graph, is not built.

Departures. The contrast counts every user and every positive item of a batch once, so that no node
is a negative of itself. An item without features of m has zeros in m's channels before propagation.

Shapes: U users, I items, d channels a modality, C modalities, f_m features of modality m; W_m
(f_m, d); E_u (U, C d), x_i (I, C d).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from recbole_ssr.graph.bipartite import BipartiteGraph
from recbole_ssr.graph.sampling import denoised
from recbole_ssr.model.base import Embeddings
from recbole_ssr.model.baseline import Baseline, raw_features, xavier
from recbole_ssr.model.item_graph import build_item_graph
from recbole_ssr.model.propagation import propagate_mean, smoothed
from recbole_ssr.nn.batch import Batch, padded
from recbole_ssr.nn.channel_dropout import kept
from recbole_ssr.nn.contrast import info_nce
from recbole_ssr.nn.fixed_shapes import on_device
from recbole_ssr.nn.normalise import unit_rows


class PGLLoss(NamedTuple):
    """Weighted parts of the loss; their sum is what training minimises."""

    ranking: Tensor
    contrast: Tensor


class Views(NamedTuple):
    """Distinct nodes of a batch and two dropouts of their embeddings; None without dropout.

    Shapes: nodes (n,) ids; weight (n,) of each in the mean; kept twice (n, C d).
    """

    nodes: Tensor
    weight: Tensor
    kept: tuple[Tensor, Tensor] | None

    def padded(self, n: int) -> Views:
        """Return as many rows, of weight 0 where there is no node."""
        masks = self.kept and tuple(padded(mask, n, 0) for mask in self.kept)
        return Views(padded(self.nodes, n, 0), padded(self.weight, n, 0), masks)


class PGLStep(NamedTuple):
    """A batch and what is contrasted: its users and its positive items; None where nothing is."""

    batch: Batch
    views: tuple[Views, Views] | None


class PGL(Baseline):
    """PGL with local extraction. Settings: properties/model/PGL.yaml."""

    paper_objective = "bpr"
    user_tables, affine_users = ("E_user",), True
    embeds_new_items = True

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        d = config["embedding_size"]
        self.n_layers, self.item_layers = config["n_layers"], config["item_layers"]
        self.edge_dropout, self.dropout = config["edge_dropout"], config["dropout"]
        self.temperature = config["temperature"]
        self.contrast_weight = config["contrast_weight"]
        self.S = build_item_graph(config, dataset.item_features)
        self.features = raw_features(config, dataset)
        self.W = nn.ModuleList(nn.Linear(X.width, d) for X in self.features)
        self.width = len(self.features) * d
        self.E_user = xavier(self.n_users, self.width)
        self.begin_epoch(0)

    def begin_epoch(self, epoch: int) -> None:  # noqa: ARG002
        """Draw the edges of the principal graph that this epoch trains on."""
        self.principal = denoised(self.graph, self.edge_dropout, self.generator)

    def forward(self, graph: BipartiteGraph | None = None) -> Embeddings:
        """Embed all nodes, on the whole graph where none is given."""
        x = torch.cat([unit_rows(X.through(W)) for X, W in zip(self.features, self.W)], dim=1)
        user, item = propagate_mean(graph or self.graph, self.E_user, x, self.n_layers)
        return Embeddings(user, item + smoothed(self.S, x, self.item_layers))

    def draw(self, interaction) -> PGLStep:
        batch = self.batch(interaction)
        if not self.contrast_weight:
            return PGLStep(batch, None)
        views = tuple(map(self._views, (batch.users, batch.positive_ids.unique())))
        return PGLStep(batch, on_device(views, batch.users.device))

    def _views(self, nodes: Tensor) -> Views:
        weight, shape = torch.full((len(nodes),), 1 / len(nodes)), (len(nodes), self.width)
        masks = tuple(kept(shape, self.dropout, self.generator) for _ in range(2))
        return Views(nodes, weight, masks if self.dropout else None)

    def padded(self, drawn: PGLStep) -> PGLStep:
        batch = drawn.batch
        sizes = len(batch.user), len(batch.positive)
        views = drawn.views and tuple(part.padded(n) for part, n in zip(drawn.views, sizes))
        return PGLStep(batch.padded(self.objective.all_items), views)

    def loss(self, step: PGLStep) -> PGLLoss:
        user, item = self(self.principal)
        return PGLLoss(
            self.rank(user, item, step.batch),
            self.contrast_weight * self.contrast(user, item, step.views),
        )

    def contrast(self, user: Tensor, item: Tensor, views: tuple[Views, Views] | None) -> Tensor:
        """InfoNCE between two dropouts of the batch's users and of its positive items.

        Shapes: user (U, C d), item (I, C d); result ().
        """
        total = user.new_zeros(())
        for h, (nodes, weight, masks) in zip((user, item), views or ()):
            h = h.index_select(0, nodes)
            a, b = (h * mask for mask in masks) if masks else (h, h)
            total = total + info_nce(a, b, self.temperature, weight)
        return total
