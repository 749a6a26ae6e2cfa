r"""DualGNN: Dual Graph Neural Network for Multimedia Recommendation.

Wang, Wei, Yin, Wu, Song, Nie; IEEE Transactions on Multimedia 2021; DOI 10.1109/TMM.2021.3138298.
One graph joins users and items, the other users who share items. Of each modality m:

.. math::
    x_m &= \text{unit rows of } (P_m;\ W'_m\, \phi(W_m X_m + b_m) + b'_m),\qquad
    r_m = \textstyle\sum_{l=0}^{L} \hat A^l x_m \\
    \text{items}\quad z_i &= \textstyle\sum_m r_{m,i} \\
    \text{users}\quad y_u &= \textstyle\sum_m w_{um}\, r_{m,u},\qquad
    z_u = y_u + \textstyle\sum_{v \in N_u} softmax_{N_u}(n_{uv})\, y_v \\
    \mathcal L &= BPR + \lambda\,(\textstyle\sum_m \overline{P_m^2} + \overline{w^2})

:math:`\phi` is LeakyReLU, a bar the mean (of P over the batch's users), n_uv the number of training
items that u and v share, N_u the `user_neighbours` users who share most with u; a user who shares
none has z = y. The weights w start as a softmax of small random numbers and are trained freely.
Shapes: U users, I items, C modalities; P_m (U, d); r_m (U and I, d); w (U, C); z (U and I, d).

Departures. Released code sums the items of the modalities in place, into the tensor of the first,
so that a user's first modality is the sum of all: with two, w_1 (r_1 + r_2) + w_2 r_2.
`released_aliasing: True` is that, for any number of modalities. It fills short lists of neighbours
by random repetitions, anew each epoch; here the softmax runs over the neighbours that there are.
Its BPR takes the logarithm to base 2, which scales it by 1 / ln 2 = 1.44 against lambda: a lambda
tuned there corresponds to ln 2 = 0.69 times as much here. The edges that it drops per modality are
never used, and neither are three of its layers; both are left out.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recbole_ssr.constants import Constants
from recbole_ssr.graph.cooccurrence import co_users
from recbole_ssr.model.base import Embeddings
from recbole_ssr.model.baseline import Baseline, raw_features, xavier
from recbole_ssr.nn.batch import Batch
from recbole_ssr.nn.edges import edge_softmax
from recbole_ssr.nn.normalise import unit_rows
from recbole_ssr.nn.rows import select
from recbole_ssr.nodes import Nodes
from recbole_ssr.spectral.chebyshev import propagate_sum


class DualGNNLoss(NamedTuple):
    """Weighted parts of the loss; their sum is what training minimises."""

    ranking: Tensor
    l2: Tensor


class DualGNN(Baseline):
    """Wang et al., TMM 2021; see the module."""

    paper_objective = "bpr"
    embeds_new_items = True

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        d, hidden = config["embedding_size"], config["feature_hidden_size"]
        self.n_layers, self.l2_weight = config["n_layers"], config["l2_weight"]
        self.aliasing = config["released_aliasing"]
        self.features = raw_features(config, dataset)
        self.P = nn.ParameterList(xavier(self.n_users, d, normal=True) for _ in self.features)
        self.W = nn.ModuleList(
            nn.Sequential(nn.Linear(f.width, hidden), nn.LeakyReLU(), nn.Linear(hidden, d))
            for f in self.features)
        w = xavier(self.n_users, len(self.features), normal=True)
        self.w = nn.Parameter(w.detach().softmax(dim=1))
        self.near = neighbourhood(self.graph, config["user_neighbours"])

    def forward(self) -> Embeddings:
        y, item = self.modal()
        return Embeddings(self.social(y), item)

    def modal(self) -> Nodes:
        """Propagate every modality over the user-item graph and fuse: y of users, z of items.

        Shapes: (U, d) and (I, d).
        """
        user, item, w = 0, 0, self.user_weights()
        for m, (P, W, features) in enumerate(zip(self.P, self.W, self.features)):
            x = unit_rows(P), unit_rows(features.through(W))
            r_user, r_item = propagate_sum(self.graph, x, self.n_layers)
            user, item = user + w[:, m:m + 1] * r_user, item + r_item
        return user, item

    def user_weights(self) -> Tensor:
        """The weights of the modalities; under aliasing the first's counts for all of them.

        Shapes: (U, C).
        """
        if not self.aliasing:
            return self.w
        first, others = self.w[:, :1], self.w[:, 1:]
        return torch.cat([first, others + first], dim=1)

    def social(self, y: Tensor, users: Tensor | None = None) -> Tensor:
        """Add what the neighbours in the user graph contribute, to all users or some.

        Shapes: y (U, d); users (B,); result (U or B, d).
        """
        near, share = (select(self.near[name], users) for name in ("users", "shares"))
        return select(y, users) + F.embedding_bag(near, y, per_sample_weights=share, mode="sum")

    def calculate_loss(self, interaction) -> DualGNNLoss:
        batch = self.batch(interaction)
        y, item = self.modal()
        item = select(item, None if self.objective.all_items else batch.items)
        ranking = self.ranking_loss(self.social(y, batch.users), item, batch)
        return DualGNNLoss(ranking, self.l2_weight * self.l2(batch))

    def l2(self, batch: Batch) -> Tensor:
        """Mean squares of the preferences of the batch's users and of all weights w."""
        users = batch.user_ids
        return self.w.square().mean() + sum(
            P.index_select(0, users).square().mean() for P in self.P)


def neighbourhood(graph, k: int) -> Constants:
    """Return the k users who share most items with each user, and the softmax of their counts.

    Places beyond a user's last neighbour name user 0 with a share of 0.

    Shapes: users (U, K) ids and shares (U, K), K at least 1 and at most k.
    """
    user, neighbour, count = co_users(graph, k)
    per_user = torch.bincount(user, minlength=graph.n_users)
    place = torch.arange(len(user)) - (per_user.cumsum(0) - per_user)[user]
    users = torch.zeros(graph.n_users, max(int(per_user.max()), 1), dtype=torch.long)
    shares = torch.zeros(users.shape)
    users[user, place] = neighbour
    shares[user, place] = edge_softmax(count, user, graph.n_users)
    return Constants(users=users, shares=shares)
