r"""MGCN: Multi-View Graph Convolutional Network for Multimedia Recommendation.

Yu, Tan, Lu, Bao; MM 2023; arXiv 2308.03588. What content may say of an item is gated through the
item's id embedding before it is propagated, and behaviour says how much of it counts.

.. math::
    \text{purify}\quad & \ddot E_m = E_i \odot \sigma(W_2^m (W_1^m X_m + b_1^m) + b_2^m) \\
    \text{item view}\quad & V^i_m = T^{(m)} \ddot E_m,\qquad V^u_m = \hat R\, V^i_m \\
    \text{behaviour}\quad & c = \tfrac{1}{L+1} \sum_{l=0}^{L} \hat A^l (E_u, E_i) \\
    \text{common}\quad & \alpha_m = \mathrm{softmax}_m\big( q^\top \tanh(W_3 V_m + b_3) \big),
        \qquad V_* = \textstyle\sum_m \alpha_m V_m \\
    \text{fuse}\quad & s = \tfrac{1}{M+1} \Big( V_* +
        \textstyle\sum_m (V_m - V_*) \odot \sigma(W_4^m c + b_4^m) \Big) \\
    \text{score}\quad & \langle c_u + s_u, c_i + s_i \rangle

The loss is that of side_views.py. T^(m) is the kNN graph of a modality, its cosines normalised by
row sums.

Shapes: U users, I items, M modalities, d width; X_m (I, f_m); E, V, c, s (U, d) and (I, d).

Departures. The released code knows two modalities, image and text, and needs both. Here the softmax
and the mean run over as many as there are. With one alone it is all that is common, nothing is left
apart, and s = V / 2; attention and gates then have no say. An item without a modality has zero
content there: its gate stands at its bias, and its row of T^(m) keeps the item itself.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from recbole_ssr.model.item_graph import modality_graph
from recbole_ssr.model.propagation import smoothed
from recbole_ssr.model.side_views import SideViews, knn_by_modality


class MGCN(SideViews):
    """Settings: properties/model/MGCN.yaml."""

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        d, features = self.width, dataset.item_features
        ks = knn_by_modality(config["knn_k"], features.modalities)
        self.T = nn.ModuleList(
            modality_graph(config, features, c, k) for c, k in zip(features.modalities, ks))
        self.purify = nn.ModuleList(nn.Sequential(nn.Linear(d, d), nn.Sigmoid()) for _ in ks)
        self.attend = nn.Sequential(nn.Linear(d, d), nn.Tanh(), nn.Linear(d, 1, bias=False))
        self.prefer = self.gates(len(ks))

    def item_views(self) -> list[Tensor]:
        layers = zip(self.X, self.project, self.purify, self.T)
        return [smoothed(T, self.E_i * purify(X.through(project)))
                for X, project, purify, T in layers]

    def side(self, views: Tensor, gate: Tensor) -> Tensor:
        attention = torch.softmax(self.attend(views), dim=1)
        common = (attention * views).sum(1)
        apart = (views - common[:, None]) * gate
        return (common + apart.sum(1)) / (views.shape[1] + 1)
