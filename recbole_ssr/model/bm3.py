r"""BM3: Bootstrap latent representations for multi-modal recommendation.

Zhou, Zhou, Liu, Zeng, Miao, Wang, You, Jiang; WWW 2023; arXiv 2207.05969. No negatives: a predictor
learns to meet, from one side of an interaction, a dropped-out copy of the other side that carries
no gradient.

.. math::
    \text{online}\quad & h_u, \hat h_i = \tfrac{1}{L + 1} \textstyle\sum_{l=0}^{L}
        \hat A^l \,[E_u; E_i], \qquad h_i = \hat h_i + E_i, \qquad h_i^m = X_i^m W_m + b_m \\
    \text{predicted}\quad & \tilde h = h\, W_p + b_p \\
    \text{target}\quad & h' = dropout_\rho(\operatorname{sg}(h)) \\
    \mathcal L_{rec} = &\ [1 - \cos(\tilde h_u, h'_i)] + [1 - \cos(\tilde h_i, h'_u)] \\
    \mathcal L_{align} = & \textstyle\sum_m 1 - \cos(\tilde h_i^m, h'_i), \qquad
    \mathcal L_{mask} = \sum_m 1 - \cos(\tilde h_i^m, h'^m_i) \\
    \mathcal L = &\ \mathcal L_{rec} + \gamma\, (\mathcal L_{align} + \mathcal L_{mask})
        + \tfrac{\lambda}{|I|} (\|h_U\|_F + \|h_I\|_F), \qquad
        s_{ui} = \langle \tilde h_u, \tilde h_i \rangle

Departures. The paper's regulariser is a squared norm; its numbers and weights belong to the norm of
all users and all items, not squared, over the number of items, as the released code has it. An item
without features of m has no part in the losses of m. The released code calls the two losses of one
modality after both modalities; neither compares modalities with one another.

Shapes: U users, I items, d channels, f_m features of modality m, B interactions of a batch;
W_m (f_m, d); W_p (d, d).
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional as F

from recbole_ssr.model.base import Embeddings
from recbole_ssr.model.baseline import Baseline, raw_features, xavier, xavier_linear
from recbole_ssr.model.propagation import propagate_mean
from recbole_ssr.nn.batch import Batch
from recbole_ssr.nn.channel_dropout import dropout
from recbole_ssr.nn.losses import frobenius, one_minus_cosine
from recbole_ssr.nn.rows import counts, select


class BM3Loss(NamedTuple):
    """Weighted parts of the loss; their sum is what training minimises."""

    ranking: Tensor
    alignment: Tensor
    masking: Tensor
    l2: Tensor


class BM3(Baseline):
    """BM3. Settings: properties/model/BM3.yaml."""

    paper_objective = None
    user_tables, affine_users = ("E_user",), True

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        d = config["embedding_size"]
        self.n_layers, self.dropout = config["n_layers"], config["dropout"]
        self.contrast_weight, self.l2_weight = config["contrast_weight"], config["l2_weight"]
        self.E_user, self.E_item = xavier(self.n_users, d), xavier(self.n_items, d)
        self.features = raw_features(config, dataset)
        self.W = nn.ModuleList(xavier_linear(X.width, d, normal=True) for X in self.features)
        self.predictor = xavier_linear(d, d, normal=True)

    def forward(self) -> Embeddings:
        return Embeddings(*map(self.predictor, self.online()))

    def online(self) -> Embeddings:
        """Return h of all nodes, on the whole graph."""
        user, item = propagate_mean(self.graph, self.E_user, self.E_item, self.n_layers)
        return Embeddings(user, item + self.E_item)

    def calculate_loss(self, interaction) -> BM3Loss:
        users, items = interaction[self.USER_ID], interaction[self.ITEM_ID]
        batch = Batch.of(users, items, items)  # no negatives
        h = self.online()
        h_u, h_i = h.user.index_select(0, batch.users), h.item.index_select(0, batch.items)
        user_target, item_target = self.target(h_u), self.target(h_i)
        if self.objective is None:
            ranking = self.bootstrap(h_u, item_target, batch.user, batch.positive)
            ranking = ranking + self.bootstrap(h_i, user_target, batch.positive, batch.user)
        else:
            ranking = self.rank_predicted(h, self.batch(interaction))
        alignment, masking = self.modality_losses(item_target, batch)
        return BM3Loss(
            ranking,
            self.contrast_weight * alignment,
            self.contrast_weight * masking,
            self.l2_weight * frobenius(self.n_items, *h),
        )

    def target(self, h: Tensor) -> Tensor:
        """Return h' of some nodes, one mask a node. Shapes: h (n, d) and the result."""
        return dropout(h.detach(), self.dropout, self.generator)

    def bootstrap(self, h: Tensor, target: Tensor, anchor: Tensor, other: Tensor) -> Tensor:
        """Return the mean of 1 - cos over interactions, of one side with the target of the other.

        Shapes: h (n, d), target (m, d) distinct nodes; anchor, other (B,) places in them;
        result ().
        """
        predicted = self.predictor(h).index_select(0, anchor)
        return one_minus_cosine(predicted, target.index_select(0, other))

    def rank_predicted(self, h: Embeddings, batch: Batch) -> Tensor:
        """Return a common objective of the predicted embeddings. Shapes: result ()."""
        items = None if self.objective.all_items else batch.items
        user, item = h.user.index_select(0, batch.users), select(h.item, items)
        return self.ranking_loss(self.predictor(user), self.predictor(item), batch)

    def modality_losses(self, item_target: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return L_align and L_mask over the interactions whose item has the modality.

        Shapes: item_target (Bi, d) of batch.items; result () each.
        """
        alignment = masking = item_target.new_zeros(())
        occurs = counts(batch.positive, batch.items)
        for X, W in zip(self.features, self.W):
            x = X.through(W, batch.items)
            weight = occurs * X.mask(batch.items).squeeze(1)
            weight = weight / weight.sum().clamp(min=1)
            predicted = self.predictor(x)
            alignment = alignment + (weight * _distance(predicted, item_target)).sum()
            masking = masking + (weight * _distance(predicted, self.target(x))).sum()
        return alignment, masking


def _distance(x: Tensor, target: Tensor) -> Tensor:
    """Return 1 - cos of every row. Shapes: x, target (n, d); result (n,)."""
    return 1 - F.cosine_similarity(x, target, dim=1)
