r"""FREEDOM: A tale of two graphs, freezing and denoising graph structures.

Zhou, Shen; MM 2023; arXiv 2211.06924. The item graph is built from the raw features once and
frozen; the user-item graph is denoised, a sample of its edges anew each epoch.

.. math::
    \text{frozen}\quad & S = \textstyle\sum_m \alpha_m S^m, \qquad
        S^m_{ij} = \tfrac{1}{k}\,[j \text{ among the } k \text{ nearest of } i] \\
    \text{denoised}\quad & A_\rho: (1 - \rho) |\mathcal E| \text{ edges drawn with }
        p_{ui} \propto \tfrac{1}{\sqrt{d_u}\sqrt{d_i}}, \text{ normalised by their own degrees} \\
    \text{embed}\quad & h_u, \hat h_i = \tfrac{1}{L + 1} \textstyle\sum_{l=0}^{L}
        \hat A_\rho^l \,[E_u; E_i], \qquad
        h_i = \hat h_i + S^{L_{ii}} E_i, \qquad h_i^m = X_i^m W_m \\
    \mathcal L = &\ bpr(h_u, h_i, h_j) + \lambda \textstyle\sum_m bpr(h_u, h_i^m, h_j^m), \qquad
        s_{ui} = \langle h_u, h_i \rangle \text{ on the whole graph}

Departures. :math:`W_m` has no bias: the difference of two scores would cancel it, except for items
without features, which it would give content. With :math:`\lambda = 0` the features serve S alone
and are no part of the model. The released code caches S under a name that rounds the weights of the
modalities, and draws with a function that ends at 2^24 edges; the cache here hashes the features,
and the draw has no limit.

Shapes: U users, I items, d channels, f_m features of modality m; W_m (f_m, d); S (I, I) sparse.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional as F

from recbole_ssr.graph.bipartite import BipartiteGraph
from recbole_ssr.graph.sampling import denoised
from recbole_ssr.model.base import Embeddings
from recbole_ssr.model.baseline import Baseline, raw_features, xavier
from recbole_ssr.model.item_graph import build_item_graph
from recbole_ssr.model.propagation import propagate_mean, smoothed
from recbole_ssr.nn.batch import Batch


class FREEDOMLoss(NamedTuple):
    """Weighted parts of the loss; their sum is what training minimises."""

    ranking: Tensor
    features: Tensor


class FREEDOM(Baseline):
    """FREEDOM. Settings: properties/model/FREEDOM.yaml."""

    paper_objective = "bpr"
    user_tables, affine_users = ("E_user",), True
    embeds_new_items = True

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        d = config["embedding_size"]
        self.n_layers, self.item_layers = config["n_layers"], config["item_layers"]
        self.feature_weight = config["feature_weight"]
        self.edge_dropout = config["edge_dropout"]
        self.S = build_item_graph(config, dataset.item_features)
        self.E_user, self.E_item = xavier(self.n_users, d), xavier(self.n_items, d)
        self.reads_negatives = used = self.feature_weight > 0
        self.features = raw_features(config, dataset) if used else nn.ModuleList()
        self.W = nn.ModuleList(nn.Linear(X.width, d, bias=False) for X in self.features)
        self.begin_epoch(0)

    def begin_epoch(self, epoch: int) -> None:  # noqa: ARG002
        """Draw the edges that this epoch trains on."""
        self.denoised = denoised(self.graph, self.edge_dropout, self.generator)

    def forward(self, graph: BipartiteGraph | None = None) -> Embeddings:
        """Embed all nodes, on the whole graph where none is given."""
        user, item = propagate_mean(graph or self.graph, self.E_user, self.E_item, self.n_layers)
        return Embeddings(user, item + smoothed(self.S, self.E_item, self.item_layers))

    def loss(self, batch: Batch) -> FREEDOMLoss:
        user, item = self(self.denoised)
        return FREEDOMLoss(
            self.rank(user, item, batch),
            self.feature_weight * self.feature_loss(user, batch),
        )

    def feature_loss(self, user: Tensor, batch: Batch) -> Tensor:
        """BPR of the batch on the features of its items. Shapes: user (U, d); result ()."""
        if self.objective.all_items:  # only the batch's own items have to be projected
            batch = Batch.of(batch.user_ids, batch.positive_ids, batch.negative_ids)
        h_u, total = user.index_select(0, batch.user_ids), user.new_zeros(())
        for X, W in zip(self.features, self.W):
            x = X.through(W, batch.items)
            difference = x.index_select(0, batch.negative) - x.index_select(0, batch.positive)
            total = total + F.softplus((h_u * difference).sum(1)).mean()
        return total
