r"""VBPR: visual Bayesian personalized ranking from implicit feedback.

He, McAuley; AAAI 2016; arXiv 1510.01784. Matrix factorisation with two factors a node: ids, and
what is seen of the items. f_i holds the features of all modalities side by side.

.. math::
    concat: \quad & s_{ui} = \langle p_u,\ [\gamma_i;\ E f_i + b] \rangle \\
        & \mathcal L = bpr + \tfrac{\lambda}{B} \big(\|P\|_F + \|Q^+\|_F + \|Q^-\|_F\big) \\
    paper: \quad & s_{ui} = \beta_i + \gamma_u^\top \gamma_i
        + \theta_u^\top (E f_i) + \beta'^\top f_i \\
        & \mathcal L = bpr + \tfrac{\lambda}{2 B} \textstyle\sum_{(u, i, j)} \|\gamma_u\|^2
        + \|\theta_u\|^2 + \|\gamma_i\|^2 + \|\gamma_j\|^2 + \beta_i^2 + \beta_j^2

The published multimodal comparisons use the form `concat` (the default): p_u is one vector for
both halves, items have no bias, and the norms are those of the batch's whole vectors, one row an
interaction, not squared. The form `paper` is the paper's; terms that are the same for all items of
a user (alpha, beta_u) rank nothing and are left out, and E and beta' are regularised by RecBole's
weight_decay alone. An item without any features has neither content nor b.

Shapes: d channels, F features of all modalities, B interactions; P (B, 2 d), Q (B, 2 d) the batch's
users and items; p_u (2 d,) = [gamma_u; theta_u]; gamma_i, b (d,); f_i, beta' (F,); E (d, F).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recbole_ssr.model.base import Embeddings
from recbole_ssr.model.baseline import Baseline, raw_features, xavier
from recbole_ssr.model.ids import rows_of_batch
from recbole_ssr.nn.batch import Batch
from recbole_ssr.nn.losses import frobenius, half_squares
from recbole_ssr.nn.rows import select


class VBPRLoss(NamedTuple):
    """Weighted parts of the loss; their sum is what training minimises."""

    ranking: Tensor
    l2: Tensor


class VBPR(Baseline):
    """VBPR. Settings: properties/model/VBPR.yaml.

    The form `paper` keeps its biases as one more channel: Q holds [gamma_i; beta_i] and E has
    beta' as its last row.
    """

    paper_objective = "bpr"
    embeds_new_items = True

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.biases, self.l2_weight = config["form"] == "paper", config["l2_weight"]
        self.bias_channels = 2 * self.biases
        d = config["embedding_size"]
        self.features = raw_features(config, dataset)
        self.widths = [X.width for X in self.features]
        self.P, self.Q = xavier(self.n_users, 2 * d), xavier(self.n_items, d + self.biases)
        self.E = xavier(d + self.biases, sum(self.widths), normal=True)
        self.b = None if self.biases else nn.Parameter(torch.zeros(d))

    def forward(self) -> Embeddings:
        return Embeddings(self.users(), self.items())

    def users(self, rows: Tensor | None = None) -> Tensor:
        """Return p_u of all or some users, [gamma_u; theta_u; 1; 1] beside biases.

        Shapes: rows (n,); result (n or U, 2 d or 2 d + 2).
        """
        p = select(self.P, rows)
        if not self.biases:
            return p
        return torch.cat([p, p.new_ones(len(p), self.bias_channels)], dim=1)

    def items(self, rows: Tensor | None = None) -> Tensor:
        """Return ids and content of all or some items. Shapes: as :meth:`users`."""
        E = self.E.split(self.widths, dim=1)
        content = sum(F.linear(X(rows), E_m) for X, E_m in zip(self.features, E))
        if not self.biases:
            present = torch.cat([X.mask(rows) for X in self.features], dim=1)
            content = content + self.b * present.amax(dim=1, keepdim=True)
        sides = select(self.Q, rows), content
        d = self.P.shape[1] // 2
        return torch.cat([side[:, :d] for side in sides] + [side[:, d:] for side in sides], dim=1)

    def calculate_loss(self, interaction) -> VBPRLoss:
        batch = self.batch(interaction)
        user = self.users(batch.users)
        item = self.items(None if self.objective.all_items else batch.items)
        return VBPRLoss(
            self.ranking_loss(user, item, batch), self.l2_weight * self.l2(user, item, batch)
        )

    def l2(self, user: Tensor, item: Tensor, batch: Batch) -> Tensor:
        """Return the norms of the form, one row an interaction.

        Shapes: user (Bu, .), item (Bi, .) of batch.users and batch.items; result ().
        """
        B = len(batch.user)
        if self.biases:
            return half_squares(B, *rows_of_batch(self.P, self.Q, batch))
        return frobenius(B, user.index_select(0, batch.user),
                         item.index_select(0, batch.positive),
                         item.index_select(0, batch.negative))
