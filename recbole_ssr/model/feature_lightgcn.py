r"""LightGCN with the items' features added to their ids by one linear layer per modality.

No paper's model: the floor that a multimodal model has to beat (LightGCN: He et al., SIGIR 2020).
With the features f of modality c:

.. math::
    x_u = e_u,\qquad x_i = e_i + \sum_c (W_c f_{ic} + b_c),\qquad
    X = \tfrac{1}{L+1} \sum_{l=0}^{L} \hat A^l x,\qquad s_{ui} = \langle X_u, X_i \rangle \\
    \mathcal L = \mathcal L_{rank}(X)
        + \tfrac{\lambda}{2B} \sum_{(u,i,j)} \|e_u\|^2 + \|e_i\|^2 + \|e_j\|^2

An item without c lacks the whole term, :math:`b_c` included. Small initial ids let the features
speak first. `objective: paper` stands for sampled softmax on cosines.

Shapes: U users, I items, d width; E_user (U, d), E_item (I, d); f (I, f_c); W_c maps f_c to d.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn

from recbole_ssr.model.base import Embeddings
from recbole_ssr.model.baseline import Baseline, raw_features, xavier
from recbole_ssr.model.ids import rows_of_batch
from recbole_ssr.model.propagation import propagate_mean
from recbole_ssr.nn.batch import Batch
from recbole_ssr.nn.losses import half_squares


class FeatureLightGCNLoss(NamedTuple):
    """Weighted parts of the loss; their sum is what training minimises."""

    ranking: Tensor
    l2: Tensor


class FeatureLightGCN(Baseline):
    """LightGCN on ids and features. Settings: properties/model/FeatureLightGCN.yaml."""

    paper_objective = "sampled_softmax"
    user_tables, affine_users = ("E_user",), True
    embeds_new_items = True

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        d, std = config["embedding_size"], config["init_std"]
        self.n_layers, self.l2_weight = config["n_layers"], config["l2_weight"]
        self.E_user, self.E_item = xavier(self.n_users, d), xavier(self.n_items, d)
        if std is not None:
            nn.init.normal_(self.E_user, std=std)
            nn.init.normal_(self.E_item, std=std)
        self.F = raw_features(config, dataset)
        self.W = nn.ModuleList(nn.Linear(F.width, d) for F in self.F)

    def forward(self) -> Embeddings:
        x = self.E_item
        for W, F in zip(self.W, self.F):
            x = x + F.through(W)
        return Embeddings(*propagate_mean(self.graph, self.E_user, x, self.n_layers))

    def loss(self, batch: Batch) -> FeatureLightGCNLoss:
        l2 = half_squares(len(batch.user), *rows_of_batch(self.E_user, self.E_item, batch))
        return FeatureLightGCNLoss(self.rank(*self.forward(), batch), self.l2_weight * l2)
