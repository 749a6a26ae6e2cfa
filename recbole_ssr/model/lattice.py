r"""LATTICE: Mining latent structures for multimedia recommendation.

Zhang, Zhu, Liu, Wu, Wang, Wang; MM 2021; arXiv 2104.09036. Items that resemble each other are
joined by edges: those of the raw features stay as they are, those of features that the model
transforms are mined anew while it learns.

.. math::
    \text{initial}\quad & S^m_{ij} = \cos(X^m_i, X^m_j) \text{ for the } k \text{ nearest } j
        \text{ of } i, \qquad \bar S^m = N(S^m) \\
    \text{learned}\quad & A^m_{ij} = \cos(\tilde X^m_i, \tilde X^m_j) \text{ likewise}, \qquad
        \tilde X^m = X^m W_m + b_m \\
    \text{latent}\quad & S = \lambda \textstyle\sum_m \alpha_m \bar S^m
        + (1 - \lambda)\, N\big( \sum_m \alpha_m A^m \big), \qquad \alpha = softmax(a) \\
    \text{embed}\quad & h_u, \hat h_i = \tfrac{1}{L + 1} \textstyle\sum_{l=0}^{L}
        \hat A^l \,[E_u; E_i], \qquad h_i = \hat h_i + \frac{z_i}{\|z_i\|}, \qquad
        z = S^{L_{ii}} E_i \\
    \mathcal L = &\ bpr(h_u, h_i, h_j) + \tfrac{\mu}{2 B} \textstyle\sum_{batch} \|h\|^2, \qquad
        s_{ui} = \langle h_u, h_i \rangle

:math:`N(S)_{ij} = s_{ij} / \sqrt{r_i r_j}`, r being the sums of the rows of S, which are
differentiated as well. Which items are neighbours carries no gradient; the cosines of those that
are do. S is sparse everywhere: neighbours are found block by block, and only their cosines are
computed again with a gradient.

When S changes. With `rebuild: epoch`, as the paper has it for speed, the first batch of an epoch
mines S and is the only one whose loss reaches :math:`W_m, b_m, X^m` and a; the epoch's other
batches take that S as a constant. Evaluation mines S from the parameters that it finds, so that
scores depend on nothing else and a saved model gives the same ones again.

Departures. An item without features of m is its own only neighbour in both graphs of m. The paper
normalises the learned graph of each modality, the released code their mixture; this is the latter.
The released code propagates over :math:`D^{-1}(A + I)` instead of LightGCN's
:math:`D^{-1/2} A D^{-1/2}`, and the published numbers rest on it: `adjacency: row`.

Shapes: U users, I items, d channels, f_m features of modality m; W_m (f_m, d); S (I, I) sparse;
a, alpha (M,).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from recbole_ssr.constants import Constants
from recbole_ssr.graph.csr import csr_tensor
from recbole_ssr.graph.knn import ItemGraph, knn, normalised
from recbole_ssr.model.base import Embeddings
from recbole_ssr.model.baseline import Baseline, raw_features, xavier
from recbole_ssr.model.item_graph import modality_graph
from recbole_ssr.model.propagation import propagate_mean, smoothed
from recbole_ssr.nn.batch import Batch
from recbole_ssr.nn.edge_dot import edge_dot
from recbole_ssr.nn.edges import EdgePattern, edge_product
from recbole_ssr.nn.losses import half_squares
from recbole_ssr.nn.normalise import unit_rows
from recbole_ssr.nn.raw_features import RawFeatures
from recbole_ssr.nn.sparse import adjacency_product
from recbole_ssr.nodes import Nodes


class LATTICELoss(NamedTuple):
    """Weighted parts of the loss; their sum is what training minimises."""

    ranking: Tensor
    l2: Tensor


class Edges(NamedTuple):
    """Values of a sparse (I, I) matrix. Shapes: row, col, value (E,)."""

    row: Tensor
    col: Tensor
    value: Tensor


class LATTICE(Baseline):
    """LATTICE. Settings: properties/model/LATTICE.yaml."""

    paper_objective = "bpr"
    affine_users = True
    embeds_new_items = True

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        d, features = config["embedding_size"], dataset.item_features
        self.knn_k, self.keep = config["knn_k"], config["item_graph_keep"]
        self.n_layers, self.item_layers = config["n_layers"], config["item_layers"]
        self.l2_weight, self.batch_size = config["l2_weight"], config["train_batch_size"]
        self.adjacency = config["adjacency"]
        self.rebuild = config["rebuild"]
        self.E_user, self.E_item = xavier(self.n_users, d), xavier(self.n_items, d)
        self.features = raw_features(config, dataset)
        self.n_known = features.n_known
        self.W = nn.ModuleList(nn.Linear(X.width, d) for X in self.features)
        self.a = nn.Parameter(torch.zeros(len(self.features)))
        self.initial = _edges_of(
            [modality_graph(config, features, c, self.knn_k) for c in features.modalities])
        if self.adjacency == "row":
            self.degrees = Constants(user=_degrees(self.graph, 0), item=_degrees(self.graph, 1))
        self.begin_epoch(0)

    @property
    def user_tables(self) -> tuple[str, ...] | None:
        return ("E_user",) if self.adjacency == "symmetric" else None

    def begin_epoch(self, epoch: int) -> None:  # noqa: ARG002
        """Have the next batch mine S."""
        self.S: Constants | None = None

    def forward(self) -> Embeddings:
        """Embed all nodes with S mined from the parameters as they are."""
        return self.embed(self.mined())

    def embed(self, S: Callable[[Tensor], Tensor]) -> Embeddings:
        """Embed all nodes with the product S of an item graph."""
        user, item = self.behaviour()
        z = self.E_item
        for _ in range(self.item_layers):
            z = S(z)
        return Embeddings(user, item + unit_rows(z))

    def behaviour(self) -> Nodes:
        """Propagate the ids over the user-item graph. Shapes: (U, d) and (I, d)."""
        x = self.E_user, self.E_item
        if self.adjacency == "symmetric":
            return propagate_mean(self.graph, *x, self.n_layers)
        return row_mean(self.graph, x, (self.degrees["user"], self.degrees["item"]), self.n_layers)

    @classmethod
    def why_no_fixed_steps(cls, config) -> str | None:
        if config["rebuild"] != "epoch":
            return f"rebuild {config['rebuild']} has every batch mine the item graph anew"
        return super().why_no_fixed_steps(config)

    def loss(self, batch: Batch) -> LATTICELoss:
        user, item = self.embed(self.current())
        return LATTICELoss(
            self.rank(user, item, batch),
            self.l2_weight * self.l2(user, item, batch),
        )

    def l2(self, user: Tensor, item: Tensor, batch: Batch) -> Tensor:
        """Half the squared norms of the batch's final embeddings, over a full batch's size."""
        items = torch.cat([batch.positive_ids, batch.negative_ids])
        rows = user.index_select(0, batch.user_ids), item.index_select(0, items)
        return half_squares(self.batch_size, *rows)

    # The latent item graph

    def current(self) -> Callable[[Tensor], Tensor]:
        """Return the product with the S of this step: with a gradient where the step mines it."""
        if self.S is not None and self.rebuild == "epoch":
            return partial(smoothed, self.S)
        row, col, value = self.latent_edges()
        if self.rebuild == "epoch":
            fixed, shape = value.detach(), (self.n_items, self.n_items)
            self.S = Constants(T=csr_tensor(row, col, fixed, shape),
                               Tt=csr_tensor(col, row, fixed, shape))
        return self.product(row, col, value)

    def mined(self) -> Callable[[Tensor], Tensor]:
        """Return the product with S mined now."""
        return self.product(*self.latent_edges())

    def product(self, row: Tensor, col: Tensor, value: Tensor) -> Callable[[Tensor], Tensor]:
        """Return the product with a matrix, differentiable in its values. Shapes: all (E,)."""
        pattern = EdgePattern(row, col, (self.n_items, self.n_items))
        return partial(edge_product, pattern, value)

    def latent_edges(self) -> Edges:
        """Return the edges of S; a pair that occurs more than once stands for the sum."""
        alpha = torch.softmax(self.a, dim=0)
        initial = self.initial["value"] * alpha.index_select(0, self.initial["modality"])
        row, col, learned = map(torch.cat, zip(*(
            self.learned_edges(X, W, share) for X, W, share in zip(self.features, self.W, alpha))))
        return Edges(
            torch.cat([self.initial["row"], row]), torch.cat([self.initial["col"], col]),
            torch.cat([self.keep * initial,
                       (1 - self.keep) * normalised(row, col, learned, self.n_items)]),
        )

    def learned_edges(self, X: RawFeatures, W: nn.Linear, share: Tensor) -> Edges:
        """Return the edges of the learned graph of one modality, times its share."""
        x, here = unit_rows(X.through(W)), X.present.squeeze(1) > 0
        ids, absent = here.nonzero().squeeze(1), (~here).nonzero().squeeze(1)
        near = knn(x.detach(), here, self.knn_k, n_known=self.n_known)
        pattern = EdgePattern(ids.repeat_interleave(near.shape[1]), near.reshape(-1),
                              (self.n_items, self.n_items))
        value = torch.cat([edge_dot(pattern, x, x), x.new_ones(len(absent))])
        return Edges(torch.cat([pattern["rows"], absent]), torch.cat([pattern["cols"], absent]),
                     share * value)


def row_mean(graph, x: Nodes, degrees: Nodes, layers: int) -> Nodes:
    r"""Mean of the layers :math:`M^l x` of :math:`M = D^{-1}(A + I)`, D counting the self-loops.

    With d the degrees in A, :math:`M x = (x + \sqrt d \odot \hat A (\sqrt d \odot x)) / (d + 1)`,
    so that the symmetric graph serves here too.

    Shapes: x and result pairs of (U, D) and (I, D); degrees (U, 1) and (I, 1) in A.
    """
    root = tuple(d.sqrt() for d in degrees)
    total = list(x)
    for _ in range(layers):
        scaled = tuple(r * part for r, part in zip(root, x))
        near = adjacency_product(graph, scaled)
        x = tuple((part + r * n) / (d + 1) for part, r, n, d in zip(x, root, near, degrees))
        total = [t + part for t, part in zip(total, x)]
    return tuple(t / (layers + 1) for t in total)


def _edges_of(graphs: list[ItemGraph]) -> Constants:
    """Return the edges of item graphs one after the other. Shapes: each (E,)."""
    rows, cols, values, of = [], [], [], []
    for m, graph in enumerate(graphs):
        T = graph["T"]
        rows.append(torch.arange(len(T)).repeat_interleave(T.crow_indices().long().diff()))
        cols.append(T.col_indices().long())
        values.append(T.values())
        of.append(torch.full_like(cols[-1], m))
    return Constants(row=torch.cat(rows), col=torch.cat(cols), value=torch.cat(values),
                     modality=torch.cat(of))


def _degrees(graph, side: int) -> Tensor:
    """Distinct interactions of every user (side 0) or item (1). Shapes: (U, 1) or (I, 1)."""
    n = (graph.n_users, graph.n_items)[side]
    return torch.bincount(graph.edges()[side], minlength=n).float()[:, None]
