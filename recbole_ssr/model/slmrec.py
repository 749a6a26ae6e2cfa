r"""SLMRec: Self-supervised learning for multimedia recommendation.

Tao, Liu, Xia, Wang, Yang, Huang, Chua; IEEE Transactions on Multimedia 2022; DOI
10.1109/TMM.2022.3187556. Ids and every modality are propagated apart, over the same users, and
fused; a task without labels has the modalities of an item predict each other. It is FAC here, from
fine to coarse: the space that the ids share with the first modality is fine, and every further
modality is met in a coarser space that holds those before it.

.. math::
    \text{signals}\quad & x_0 = E_i, \qquad x_m = X_m W_m + b_m \\
    \text{propagate}\quad & h^m = \tfrac{1}{L + 1} \textstyle\sum_{l=0}^{L}
        \hat A^l \,[E_u; x_m], \qquad m = 0 \ldots M \\
    \text{fuse}\quad & h_u = F_u\,[h^0_u, \ldots, h^M_u], \qquad
        h_i = F_i\,[h^0_i, \ldots, h^M_i] \\
    \text{FAC}\quad & z_0 = h^0_i, \qquad z_m = G_m z_{m-1}, \qquad
        \mathcal L_{FAC} = \textstyle\sum_{m=1}^{M} \ell_{\tau'}(z_m, H_m h^m_i) \\
    \mathcal L = &\ \ell_\tau(\bar h_u, \bar h_i) + \alpha\, \mathcal L_{FAC}, \qquad
        \ell_\tau(a, p) = -\tfrac{1}{B} \textstyle\sum_b \log \frac{e^{\langle a_b, p_b \rangle
        / \tau}}{\sum_{b'} e^{\langle a_b, p_{b'} \rangle / \tau}}

:math:`\bar h` is a unit row: recommendation compares cosines, FAC inner products. Both take the
positives of the batch, as often as they occur, as candidates; sampled negatives are not used. F, G
and H are linear layers, M the modalities in the order of the dataset.

Scores. The model is trained on cosines; it ranks by :math:`\sigma(\langle h_u, h_i \rangle)` as
published, and :math:`\sigma` changes no rank. `cosine_scores` ranks by what is trained.

Departures. The paper's tasks that drop features (FD) and mask modalities (FM) are not here. The
released code keeps a second linear layer between the spaces of image and text for an acoustic
modality that the datasets lack; two linear layers are one. H has no bias: it would add the same to
all logits of an anchor. An item without features of m takes part in FAC with what its neighbours'
items give it. The weight of the released code's regulariser is read nowhere; what holds back the
parameters is `weight_decay`.

Shapes: U users, I items, M modalities, d channels, f_m features of modality m, B interactions of a
batch; W_m (f_m, d); h^m (U, d) and (I, d); F (d, (M + 1) d); G, H (d, d).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from recbole_ssr.model.base import Embeddings
from recbole_ssr.model.baseline import Baseline, raw_features, xavier, xavier_linear
from recbole_ssr.model.propagation import propagate_mean
from recbole_ssr.nn.batch import Batch
from recbole_ssr.nn.normalise import unit_rows
from recbole_ssr.nn.rows import counts, select
from recbole_ssr.nn.softmax import log_sums
from recbole_ssr.nodes import Nodes


class SLMRecLoss(NamedTuple):
    """Weighted parts of the loss; their sum is what training minimises."""

    ranking: Tensor
    fac: Tensor


class SLMRec(Baseline):
    """SLMRec. Settings: properties/model/SLMRec.yaml."""

    paper_objective = None
    user_tables, affine_users = ("E_user",), True
    embeds_new_items = True

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        d = config["embedding_size"]
        self.n_layers, self.cosine_scores = config["n_layers"], config["cosine_scores"]
        self.contrast_weight = config["contrast_weight"]
        self.tau, self.fac_tau = config["ranking_temperature"], config["temperature"]
        self.E_user, self.E_item = xavier(self.n_users, d), xavier(self.n_items, d)
        self.features = raw_features(config, dataset)
        self.W = nn.ModuleList(xavier_linear(X.width, d) for X in self.features)
        self.F_user, self.F_item = (
            xavier_linear((len(self.features) + 1) * d, d) for _ in range(2))
        self.G = nn.ModuleList(xavier_linear(d, d) for _ in self.features)
        self.H = nn.ModuleList(xavier_linear(d, d, bias=False) for _ in self.features)

    def forward(self) -> Embeddings:
        user, item = self.signals()
        return Embeddings(self.F_user(user), self.F_item(item))

    def encode(self) -> Embeddings:
        user, item = super().encode()
        return Embeddings(user, unit_rows(item) if self.cosine_scores else item)

    def signals(self) -> Nodes:
        """Propagate ids and modalities side by side. Shapes: (U, (M + 1) d), (I, (M + 1) d)."""
        item = [self.E_item, *(X.through(W) for X, W in zip(self.features, self.W))]
        user = self.E_user.repeat(1, len(item))
        return propagate_mean(self.graph, user, torch.cat(item, dim=1), self.n_layers)

    def calculate_loss(self, interaction) -> SLMRecLoss:
        users, items = interaction[self.USER_ID], interaction[self.ITEM_ID]
        batch = Batch.of(users, items, items)  # no negatives
        user, item = self.signals()
        positives = item.index_select(0, batch.items)
        if self.objective is None:
            ranking = self.in_batch(user.index_select(0, batch.users), positives, batch)
        else:
            ranking = self.common(user, item, self.batch(interaction))
        return SLMRecLoss(ranking, self.contrast_weight * self.fac(positives, batch))

    def in_batch(self, user: Tensor, item: Tensor, batch: Batch) -> Tensor:
        """InfoNCE of the fused users with their positives, on cosines.

        Shapes: user (Bu, (M + 1) d) of batch.users; item (Bi, (M + 1) d) of batch.items; result ().
        """
        user, item = unit_rows(self.F_user(user)), unit_rows(self.F_item(item))
        return contrast(user, item, batch.user, batch.positive, self.tau)

    def common(self, user: Tensor, item: Tensor, batch: Batch) -> Tensor:
        """A common objective of the fused embeddings. Shapes: as :meth:`signals`; result ()."""
        items = None if self.objective.all_items else batch.items
        user, item = user.index_select(0, batch.users), select(item, items)
        return self.ranking_loss(self.F_user(user), self.F_item(item), batch)

    def fac(self, item: Tensor, batch: Batch) -> Tensor:
        """Every modality against the ids and those before it, over the batch's positives.

        Shapes: item (Bi, (M + 1) d) of batch.items; result ().
        """
        z, *modal = item.chunk(len(self.features) + 1, dim=1)
        total = item.new_zeros(())
        for h, G, H in zip(modal, self.G, self.H):
            z = G(z)
            total = total + contrast(z, H(h), batch.positive, batch.positive, self.fac_tau)
        return total


def contrast(
    anchor: Tensor, candidates: Tensor, places: Tensor, positives: Tensor, temperature: float
) -> Tensor:
    r"""The loss l of the module over interactions, of the distinct nodes that they name.

    A candidate that occurs c times stands c times in every denominator, and an anchor has one
    denominator for all of its interactions.

    Shapes: anchor (n, D); candidates (m, D); places, positives (B,) rows of them; result ().
    """
    size = len(places)
    sums = log_sums(anchor, candidates, counts(positives, candidates), temperature)
    positive = anchor.index_select(0, places) * candidates.index_select(0, positives)
    return (counts(places, anchor) * sums).sum() / size - positive.sum() / (size * temperature)
