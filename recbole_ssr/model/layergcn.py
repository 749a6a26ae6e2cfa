r"""LayerGCN: Layer-refined Graph Convolutional Networks for Recommendation.

Zhou, Lin, Liu, Miao; ICDE 2023; arXiv 2207.11088. On ids alone: each layer is weighted, node by
node, by its cosine with the ids, and the ids themselves are left out of the sum.

.. math::
    Y^{(l)} = \hat A X^{(l-1)},\qquad
    X^{(l)}_n = \cos(Y^{(l)}_n, X^{(0)}_n)\, Y^{(l)}_n,\qquad
    X = \sum_{l=1}^{L} X^{(l)},\qquad s_{ui} = \langle X_u, X_i \rangle \\
    \mathcal L = -\sum_{(u,i,j)} \log\sigma(s_{ui} - s_{uj})
        + \tfrac{\lambda}{2} \sum_{(u,i,j)} \|x^{(0)}_u\|^2 + \|x^{(0)}_i\|^2 + \|x^{(0)}_j\|^2

Training propagates over a part of the edges, drawn anew every epoch and normalised by the degrees
that it leaves: without replacement, an edge's chance in proportion to
:math:`1 / \sqrt{d_u d_i}` (`degree`), or all alike (`uniform`), or the one and the other in turn
(`mixed`, as in the published numbers). Evaluation takes all edges.

Departures: under `objective: paper` both parts are sums over the batch, as in the paper. A common
objective is a mean; then the regulariser is one as well, so that a weight keeps its meaning: the
two forms differ by a factor that Adam divides out.

Shapes: U users, I items, d width; E_user (U, d), E_item (I, d) the ids :math:`X^{(0)}`.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from recbole_ssr.graph.bipartite import BipartiteGraph
from recbole_ssr.graph.sampling import degree_weights, draw_edges, subgraph
from recbole_ssr.model.base import PAPER, Embeddings
from recbole_ssr.model.ids import IdBaseline
from recbole_ssr.nn.losses import half_squares
from recbole_ssr.nn.normalise import unit_rows
from recbole_ssr.nn.sparse import adjacency_product


class LayerGCNLoss(NamedTuple):
    """Weighted parts of the loss; their sum is what training minimises."""

    ranking: Tensor
    l2: Tensor


class LayerGCN(IdBaseline):
    """LayerGCN. Settings: properties/model/LayerGCN.yaml."""

    paper_objective = "bpr"
    affine_users = False

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.sums = config["objective"] == PAPER
        self.edge_dropout = config["edge_dropout"]
        self.edge_sampling = config["edge_sampling"]
        self.begin_epoch(0)

    def begin_epoch(self, epoch: int) -> None:
        """Draw the edges of an epoch."""
        if not self.edge_dropout:
            self.training_graph = self.graph
            return
        turn = ("degree", "uniform")[epoch % 2]
        kind = turn if self.edge_sampling == "mixed" else self.edge_sampling
        weights = degree_weights(self.graph)
        edges = draw_edges(len(weights), 1 - self.edge_dropout, self.generator,
                           weights.cpu() if kind == "degree" else None)
        self.training_graph = subgraph(self.graph, edges)

    def forward(self, graph: BipartiteGraph | None = None) -> Embeddings:
        """Return the embeddings of all nodes, by default on the whole training graph."""
        x = ids = self.E_user, self.E_item
        directions, layers = tuple(map(unit_rows, ids)), []
        for _ in range(self.n_layers):
            y = adjacency_product(graph or self.graph, x)
            x = tuple(_cosines(side, unit) * side for side, unit in zip(y, directions))
            layers.append(x)
        return Embeddings(*map(sum, zip(*layers)))

    def calculate_loss(self, interaction) -> LayerGCNLoss:
        batch = self.batch(interaction)
        n = len(batch.user)
        ranking = self.rank(*self.forward(self.training_graph), batch)
        l2 = self.l2_weight * half_squares(n, *self.ids(batch))
        return LayerGCNLoss(n * ranking, n * l2) if self.sums else LayerGCNLoss(ranking, l2)


def _cosines(y: Tensor, unit: Tensor) -> Tensor:
    """Shapes: y (N, d); unit (N, d) unit rows; result (N, 1)."""
    return (unit_rows(y) * unit).sum(1, keepdim=True)
