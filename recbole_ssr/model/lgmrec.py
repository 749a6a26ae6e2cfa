r"""LGMRec: Local and Global Graph Learning for Multimodal Recommendation.

Guo, Li, Li, Wang, Shi, Ruan; AAAI 2024; arXiv 2312.16400. Local: behaviour and content, each
propagated apart. Global: K hyperedges per modality, attributes that users and items share however
far apart they are.

.. math::
    \text{behaviour}\quad & c = \tfrac{1}{L+1} \sum_{l=0}^{L} \hat A^l (E_u, E_i) \\
    \text{content}\quad & x_m = \hat A^{L_m} (D_u^{-1} B X_m W_m,\ X_m W_m) \\
    \text{dependency}\quad & H^i_m = \mathrm{softmax}\big( (X_m V_m + g) / \tau_g \big),\quad
        H^u_m = \mathrm{softmax}\big( (B X_m V_m + g) / \tau_g \big),\quad
        g = -\log(-\log \delta),\ \delta \sim U(0, 1) \\
    \text{hypergraph}\quad & y^i_m \leftarrow H^i_m {H^i_m}^\top y^i_m,\quad
        y^u_m \leftarrow H^u_m {H^i_m}^\top y^i_m,\quad L_h \text{ times from } y^i_m = c_i,
        \ H \text{ under dropout} \\
    \text{final}\quad & e = c + \textstyle\sum_m \mathrm{norm}(x_m)
        + \alpha\, \mathrm{norm}\big( \textstyle\sum_m y_m \big) \\
    \mathcal L =\ & \mathcal L_{BPR} + \lambda_h \textstyle\sum_{batch} \big[
        NCE_\tau(y^u_m, y^u_{m'}) + NCE_\tau(y^i_m, y^i_{m'}) \big]
        + \tfrac{\lambda}{B} \textstyle\sum_k \|e_k\|_F

B is the binary matrix of interactions. The contrast's negatives are all users, or all items, in the
other modality; k runs over users, positive and negative items of the batch.

Shapes: U users, I items, M modalities, d width, K hyperedges; X_m (I, f_m); W_m (f_m, d); V_m
(f_m, K); H (U, K) and (I, K); e, c, x, y (U, d) and (I, d).

Departures. The released code draws the noise g in evaluation as well, so that two evaluations of
one model differ. Here evaluation has none; `noise_at_evaluation` draws it from a fixed seed, the
same at every evaluation. Any number of modalities: the contrast is the mean over their pairs, and 0
with one alone. Where an item, or every item of a user, lacks a modality, the node depends on no
hyperedge of it, while a softmax would spread it over all.
"""

from __future__ import annotations

from itertools import combinations
from typing import NamedTuple

import torch
from torch import Tensor, nn

from recbole_ssr.constants import Constants
from recbole_ssr.graph.csr import csr_tensor
from recbole_ssr.model.base import Embeddings
from recbole_ssr.model.baseline import Baseline, raw_features, xavier
from recbole_ssr.model.propagation import layers_of, propagate_mean
from recbole_ssr.nn.batch import Batch
from recbole_ssr.nn.contrast import info_nce_among
from recbole_ssr.nn.losses import frobenius
from recbole_ssr.nn.normalise import unit_rows
from recbole_ssr.nn.rows import select
from recbole_ssr.nn.sparse import sparse_product
from recbole_ssr.nodes import Nodes


class LGMRecLoss(NamedTuple):
    """Weighted parts of the loss; their sum is what training minimises."""

    ranking: Tensor
    contrast: Tensor
    norm: Tensor


class LGMRec(Baseline):
    """Settings: properties/model/LGMRec.yaml."""

    paper_objective = "bpr"
    embeds_new_items = True

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self._read_settings(config)
        self.E_u, self.E_i = xavier(self.n_users, self.width), xavier(self.n_items, self.width)
        self.X = raw_features(config, dataset)
        self.W = nn.ParameterList(xavier(X.width, self.width) for X in self.X)
        self.V = nn.ParameterList(xavier(X.width, self.n_hyperedges) for X in self.X)
        self.drop = nn.Dropout(config["hypergraph_dropout"])
        self.B = self._interactions()

    def _read_settings(self, config) -> None:
        self.width, self.n_hyperedges = config["embedding_size"], config["n_hyperedges"]
        self.n_layers, self.content_layers = config["n_layers"], config["content_layers"]
        self.hypergraph_layers = config["hypergraph_layers"]
        self.hypergraph_weight = config["hypergraph_weight"]
        self.gumbel_temperature = config["gumbel_temperature"]
        self.temperature, self.contrast_weight = config["temperature"], config["contrast_weight"]
        self.norm_weight, self.seed = config["norm_weight"], config["seed"]
        self.noise_at_evaluation = config["noise_at_evaluation"]

    def _interactions(self) -> Constants:
        """Return B, its transpose and degrees, and who has content of which modality.

        Shapes: B (U, I); degree (U, 1); user (U, M), item (I, M) of 0 and 1.
        """
        users, items = self.graph.edges()
        ones, shape = torch.ones(len(users)), (self.n_users, self.n_items)
        B = csr_tensor(users, items, ones, shape)
        item = torch.cat([X.present for X in self.X], dim=1)
        degree = torch.bincount(users, minlength=self.n_users).clamp(min=1).float()
        return Constants(B=B, Bt=csr_tensor(items, users, ones, shape[::-1]),
                         degree=degree[:, None], user=((B @ item) > 0).float(), item=item)

    def forward(self) -> Embeddings:
        return self._embed()[0]

    def calculate_loss(self, interaction) -> LGMRecLoss:
        batch = self.batch(interaction)
        (user, item), y = self._embed()
        e_u, e_i = select(user, batch.users), item.index_select(0, batch.items)
        norm = frobenius(len(batch.user), *(
            e.index_select(0, rows) for e, rows in
            ((e_u, batch.user), (e_i, batch.positive), (e_i, batch.negative))))
        contrast = self.contrast(y, batch) if self.contrast_weight else norm.new_zeros(())
        return LGMRecLoss(self.ranking_loss(e_u, e_i, batch), self.contrast_weight * contrast,
                          self.norm_weight * norm)

    def _embed(self) -> tuple[Embeddings, list[Nodes]]:
        """Return the final embeddings, and every modality's hypergraph embeddings y."""
        c = propagate_mean(self.graph, self.E_u, self.E_i, self.n_layers)
        x, h = self.content()
        y = self.hypergraphs(h, c[1])
        final = (c + x + self.hypergraph_weight * unit_rows(sum(y))
                 for c, x, y in zip(c, x, zip(*y)))
        return Embeddings(*final), y

    def content(self) -> tuple[Nodes, Nodes]:
        """Return the modalities' propagated content, summed, and logits of the dependencies.

        One product of each kind serves all modalities, side by side.

        Shapes: pairs of (U, d) and (I, d), of (U, M K) and (I, M K).
        """
        both = [X() @ torch.cat([W, V], dim=1) for X, W, V in zip(self.X, self.W, self.V)]
        parts = [part.split([self.width, self.n_hyperedges], dim=1) for part in both]
        x_i, h_i = (torch.cat(part, dim=1) for part in zip(*parts))
        of_users = sparse_product(torch.cat([x_i, h_i], dim=1), self.B["B"], self.B["Bt"])
        x_u, h_u = of_users.split([x_i.shape[1], h_i.shape[1]], dim=1)
        x = x_u / self.B["degree"], x_i
        *_, x = x, *layers_of(self.graph, *x, self.content_layers)
        return tuple(self._sum_of_units(part) for part in x), (h_u, h_i)

    def hypergraphs(self, logits: Nodes, item: Tensor) -> list[Nodes]:
        """Pass item embeddings through the hyperedges of every modality.

        Shapes: logits (U, M K) and (I, M K); item (I, d); result M pairs of (U, d) and (I, d).
        """
        generator = self._noise_generator()
        H_u, H_i = (self._dependencies(h, self.B[side], generator)
                    for h, side in zip(logits, ("user", "item")))
        signals = []
        for m in range(len(self.X)):
            y = item
            for _ in range(self.hypergraph_layers):
                hyperedges = H_i[:, m].T @ y
                y = H_i[:, m] @ hyperedges
            signals.append((H_u[:, m] @ hyperedges, y))
        return signals

    def contrast(self, y: list[Nodes], batch: Batch) -> Tensor:
        """Return the summed InfoNCE of the batch's nodes, averaged over pairs of modalities.

        A node that occurs n times is one anchor of weight n. Row 0 is padding and no negative.
        """
        pairs, total = list(combinations(y, 2)), self.E_u.new_zeros(())
        for side, occurrences in enumerate((batch.user_ids, batch.positive_ids)):
            ids, times = torch.unique(occurrences, return_counts=True)
            for a, b in pairs:
                total = total + info_nce_among(a[side].index_select(0, ids), b[side][1:], ids - 1,
                                               self.temperature, times.to(total))
        return total / max(len(pairs), 1)

    def _dependencies(self, logits: Tensor, has: Tensor, generator) -> Tensor:
        """Return H of one side. Shapes: logits (n, M K); has (n, M); result (n, M, K)."""
        logits = logits.view(len(logits), len(self.X), self.n_hyperedges)
        if generator is not None:
            clocks = torch.empty(logits.shape).exponential_(generator=generator)
            logits = logits - clocks.log_().to(logits.device)
        H = torch.softmax(logits / self.gumbel_temperature, dim=2)
        return self.drop(H * has[:, :, None])

    def _noise_generator(self) -> torch.Generator | None:
        """Return what Gumbel noise is drawn from, on the CPU; None for no noise.

        In training the model's generator, so that a resumed run draws the same; in evaluation one
        that starts anew each time.
        """
        if self.training:
            return self.generator
        return torch.Generator().manual_seed(self.seed) if self.noise_at_evaluation else None

    def _sum_of_units(self, x: Tensor) -> Tensor:
        """Normalise every modality's part and add them up. Shapes: (n, M d) to (n, d)."""
        return unit_rows(x.reshape(-1, self.width)).view(len(x), -1, self.width).sum(1)
