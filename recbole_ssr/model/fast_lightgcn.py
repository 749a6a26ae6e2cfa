r"""LightGCN: Simplifying and Powering Graph Convolution Network for Recommendation.

He, Deng, Wang, Li, Zhang, Wang; SIGIR 2020; arXiv 2002.02126. On ids alone. With
:math:`\hat A = D^{-1/2} A D^{-1/2}` of the training interactions and the ids e of all nodes:

.. math::
    E^{(l+1)} = \hat A E^{(l)},\qquad
    E = \tfrac{1}{L+1} \sum_{l=0}^{L} E^{(l)},\qquad s_{ui} = \langle E_u, E_i \rangle \\
    \mathcal L = -\tfrac{1}{B} \sum_{(u,i,j)} \log\sigma(s_{ui} - s_{uj})
        + \tfrac{\lambda}{2B} \sum_{(u,i,j)} \|e_u\|^2 + \|e_i\|^2 + \|e_j\|^2

Named apart from RecBole's own LightGCN, which computes the same embeddings with one product of all
nodes a layer; here a product is two half products in CSR, forward and backward.

Departures: the paper writes :math:`\lambda \|E^{(0)}\|^2`; on batches its released code takes the
rows of the batch, halved and averaged, as above. MMRec and, by its default, RecBole take norms
that are not squared, :math:`\tfrac{\lambda}{B}(\|e_u\|_F + \|e_i\|_F + \|e_j\|_F)` over the batch's
matrices: `regulariser: frobenius`. A weight of one form means nothing to the other.

Shapes: U users, I items, d width; E_user (U, d), E_item (I, d); B interactions of a batch.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from recbole_ssr.model.ids import IdBaseline
from recbole_ssr.nn.batch import Batch
from recbole_ssr.nn.losses import frobenius, half_squares

REGULARISERS = {"squared": half_squares, "frobenius": frobenius}


class FastLightGCNLoss(NamedTuple):
    """Weighted parts of the loss; their sum is what training minimises."""

    ranking: Tensor
    l2: Tensor


class FastLightGCN(IdBaseline):
    """LightGCN. Settings: properties/model/FastLightGCN.yaml."""

    paper_objective = "bpr"

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.regulariser = REGULARISERS[config["regulariser"]]

    def loss(self, batch: Batch) -> FastLightGCNLoss:
        l2 = self.regulariser(len(batch.user), *self.ids(batch))
        return FastLightGCNLoss(self.rank(*self.forward(), batch), self.l2_weight * l2)
