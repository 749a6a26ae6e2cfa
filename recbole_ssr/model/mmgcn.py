r"""MMGCN: Multi-modal Graph Convolution Network for Personalized Recommendation of Micro-video.

Wei, Wang, Nie, He, Hong, Chua; ACM Multimedia 2019; DOI 10.1145/3343031.3351034. Every modality m
has a network of its own over the user-item graph, on the users' preferences :math:`P_m` and the
items' content; the ids E tie the networks together:

.. math::
    x^{(0)}_m &= \text{unit rows of } (P_m;\ X_m \text{ or } X_m W_m + b_m) \\
    h^{(l)}_m &= \phi\big(\tfrac{1}{|N|} \textstyle\sum_{j \in N} W_{1,m} x^{(l-1)}_{m,j}\big)
        && \text{aggregation} \\
    \hat x^{(l)}_m &= \phi(W_{2,m} x^{(l-1)}_m) + E \\
    x^{(l)}_m &= \phi(W_{3,m} [h^{(l)}_m ; \hat x^{(l)}_m])
        && \text{combination: concat} \\
    x^{(l)}_m &= \phi(W_{3,m} h^{(l)}_m + \hat x^{(l)}_m)
        && \text{combination: add} \\
    z &= \tfrac{1}{C} \textstyle\sum_m x^{(L)}_m,\qquad s_{ui} = \langle z_u, z_i \rangle \\
    \mathcal L &= BPR + \lambda\,(\overline{E^2} + \textstyle\sum_m \overline{P_m^2})

:math:`\phi` is LeakyReLU, a bar the mean over all entries. Shapes: U users, I items, C modalities,
f_m features of m; P_m (U, w_m) and x^(0)_m of width w_m, which is f_m or, for wide features,
`feature_hidden_size`; E and all x^(l)_m (U and I, d).

Departures. The released code keeps E and the P_m out of the optimizer: they stay at their random
initial values, and lambda has no effect. `train_preferences: False` is that model; published
numbers rest on it. It ignores the number of layers (always 3), tests the string 'False' for truth
(always concat), penalises the preferences of one modality alone, and ranks by the embeddings of the
last training batch. The paper adds the modalities where the code takes their mean, as here.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recbole_ssr.graph.neighbour_mean import NeighbourMean
from recbole_ssr.model.base import Embeddings
from recbole_ssr.model.baseline import Baseline, raw_features, xavier_linear, xavier_sides
from recbole_ssr.nn.normalise import unit_rows
from recbole_ssr.nn.raw_features import RawFeatures
from recbole_ssr.nn.sparse import sparse_product
from recbole_ssr.nodes import Nodes


class MMGCNLoss(NamedTuple):
    """Weighted parts of the loss; their sum is what training minimises."""

    ranking: Tensor
    l2: Tensor


class MMGCN(Baseline):
    """Wei et al., ACM Multimedia 2019; see the module."""

    paper_objective = "bpr"
    embeds_new_items = True

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.l2_weight, self.trained = config["l2_weight"], config["train_preferences"]
        features = raw_features(config, dataset)
        self.E_user, self.E_item = xavier_sides(
            self.n_users, self.n_items, config["embedding_size"], trained=self.trained)
        self.networks = nn.ModuleList(ModalityNetwork(f, self.n_users, config) for f in features)
        self.mean = NeighbourMean(self.graph)

    def forward(self) -> Embeddings:
        x = [network(self.mean, (self.E_user, self.E_item)) for network in self.networks]
        return Embeddings(*(sum(side) / len(x) for side in zip(*x)))

    def calculate_loss(self, interaction) -> MMGCNLoss:
        batch = self.batch(interaction)
        user, item = self.forward()
        return MMGCNLoss(self.rank(user, item, batch), self.l2_weight * self.l2())

    def l2(self) -> Tensor:
        """Mean square of all ids plus that of every modality's preferences; 0 if not trained."""
        if not self.trained:
            return self.E_user.new_zeros(())
        ids = self.E_user.square().sum() + self.E_item.square().sum()
        ids = ids / (self.E_user.numel() + self.E_item.numel())
        return ids + sum(network.P.square().mean() for network in self.networks)


class ModalityNetwork(nn.Module):
    """The graph convolution of one modality."""

    def __init__(self, features: RawFeatures, n_users: int, config):
        super().__init__()
        d, width = config["embedding_size"], features.width
        self.features, self.project = features, None
        if width > config["raw_feature_size"]:
            width = config["feature_hidden_size"]
            self.project = xavier_linear(features.width, width, normal=True)
        self.P, = xavier_sides(n_users, width, trained=config["train_preferences"])
        widths = [width] + [d] * (config["n_layers"] - 1)
        self.layers = nn.ModuleList(Layer(w, d, config["combination"]) for w in widths)

    def forward(self, mean: NeighbourMean, E: Nodes) -> Nodes:
        """Return the last layer. Shapes: E and the result pairs of (U, d) and (I, d)."""
        features = self.features
        content = features() if self.project is None else features.through(self.project)
        x = unit_rows(self.P), unit_rows(content)
        for layer in self.layers:
            x = layer(mean, x, E)
        return x


class Layer(nn.Module):
    """One step of aggregation and combination, from width w to d."""

    def __init__(self, w: int, d: int, combination: str):
        super().__init__()
        self.concat = combination == "concat"
        self.W1 = xavier_linear(w, w, bias=False, normal=True)
        self.W2 = xavier_linear(w, d, normal=True)
        self.W3 = xavier_linear(w + d if self.concat else w, d, normal=True)

    def forward(self, mean: NeighbourMean, x: Nodes, E: Nodes) -> Nodes:
        """Shapes: x (U, w) and (I, w); E and the result (U, d) and (I, d)."""
        user, item = x
        from_items = sparse_product(self.W1(item), mean["to_user"], mean["to_user_t"])
        from_users = sparse_product(self.W1(user), mean["to_item"], mean["to_item_t"])
        return self.combine(from_items, user, E[0]), self.combine(from_users, item, E[1])

    def combine(self, aggregated: Tensor, x: Tensor, E: Tensor) -> Tensor:
        """Shapes: aggregated, x (n, w); E and the result (n, d)."""
        h, x_hat = F.leaky_relu(aggregated), F.leaky_relu(self.W2(x)) + E
        if self.concat:
            return F.leaky_relu(self.W3(torch.cat([h, x_hat], dim=1)))
        return F.leaky_relu(self.W3(h) + x_hat)
