r"""GRCN: Graph-Refined Convolutional Network for Multimedia Recommendation with Implicit Feedback.

Wei, Wang, Nie, He, Chua; ACM Multimedia 2020; arXiv 2008.03697. Content tells which interactions
are likely to be noise; the weights of the edges carry this to the propagation of the ids. Of each
modality m, with preferences P and the items' content :math:`x_i = \phi(W X_i + b)`, both of unit
rows:

.. math::
    \text{routing, T times}\quad & P_u \leftarrow unit\big(P_u +
        \textstyle\sum_{i \in N_u} \alpha^m_{u \leftarrow i} x_i\big) \\
    & \alpha^m_{t \leftarrow s} = softmax_{s \in N_t} \langle x_t, x_s \rangle,\quad x_u = P_u \\
    \text{content}\quad & z^m_t = x_t + \textstyle\sum_{s \in N_t} \alpha^m_{t \leftarrow s} x_s \\
    \text{edge weights}\quad & w_{t \leftarrow s} =
        \big[\max_m \alpha^m_{t \leftarrow s}\, c^m_s\big]_+ \\
    \text{ids}\quad & h^{(0)} = unit(E),\quad
        h^{(l)}_t = \textstyle\sum_{s \in N_t} w_{t \leftarrow s} h^{(l-1)}_s \\
    & z = [\textstyle\sum_{l=0}^{L} h^{(l)} ; z^1 ; \ldots ; z^C],\qquad
        s_{ui} = \langle z_u, z_i \rangle \\
    \mathcal L &= BPR + \lambda\,(\overline{E^2} + \textstyle\sum_m \overline{P_m^2})

t and s are the ends of an edge, user and item or item and user; c the trained confidence of every
node in every modality; a bar the mean over the batch. :math:`[\cdot]_+`, the pruning, removes edges
whose weight would be negative. Shapes: U users, I items, C modalities, E edges; P, E (U or I, d);
alpha, w (E,) for each direction; c (U or I, C); z (U or I, (C + 1) d).

Departures. In the released code the routing runs over edges from users to items alone, so that no
user receives anything and P never moves: `released_routing: True`. It penalises the preferences of
one modality twice in place of the other's; every published setting has lambda 0.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recbole_ssr.model.base import Embeddings
from recbole_ssr.model.baseline import Baseline, raw_features, xavier, xavier_sides
from recbole_ssr.nn.batch import Batch
from recbole_ssr.nn.edge_dot import edge_dot
from recbole_ssr.nn.edges import EdgePattern, edge_product, edge_softmax
from recbole_ssr.nn.normalise import unit_rows
from recbole_ssr.nodes import Nodes


class GRCNLoss(NamedTuple):
    """Weighted parts of the loss; their sum is what training minimises."""

    ranking: Tensor
    l2: Tensor


class Content(NamedTuple):
    """What one modality says.

    Shapes: user (U, d); item (I, d); to_user, to_item (E,) the attention of every edge in either
    direction.
    """

    user: Tensor
    item: Tensor
    to_user: Tensor
    to_item: Tensor


class GRCN(Baseline):
    """Wei et al., ACM Multimedia 2020; see the module."""

    paper_objective = "bpr"
    embeds_new_items = True

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        d = config["embedding_size"]
        self.edge_weights = config["edge_weights"]
        self.pruning = config["pruning"]
        self.n_layers, self.l2_weight = config["n_layers"], config["l2_weight"]
        self.n_routings = 0 if config["released_routing"] else config["n_routings"]
        self.features = raw_features(config, dataset)
        self.E_user, self.E_item = xavier_sides(self.n_users, self.n_items, d)
        self.P = nn.ParameterList(xavier(self.n_users, d, normal=True) for _ in self.features)
        self.W = nn.ModuleList(nn.Linear(f.width, d) for f in self.features)
        if self.edge_weights == "confidence":
            self.c_user, self.c_item = xavier_sides(self.n_users, self.n_items, len(self.features))
        users, items = self.graph.edges()
        self.to_user = EdgePattern(users, items, (self.n_users, self.n_items))
        self.to_item = EdgePattern(items, users, (self.n_items, self.n_users))

    def forward(self) -> Embeddings:
        content = [self.content(*parts) for parts in zip(self.P, self.W, self.features)]
        weights = self.weights(content)
        x = h = unit_rows(self.E_user), unit_rows(self.E_item)
        for _ in range(self.n_layers):
            h = self.messages(*weights, *h)
            x = x[0] + h[0], x[1] + h[1]
        return Embeddings(torch.cat([x[0], *(c.user for c in content)], dim=1),
                          torch.cat([x[1], *(c.item for c in content)], dim=1))

    def content(self, P: Tensor, W: nn.Module, features) -> Content:
        """Route the preferences of one modality, then let both sides attend to their neighbours."""
        item = unit_rows(F.leaky_relu(features.through(W)))
        user = self.routed(unit_rows(P), item)
        logits = edge_dot(self.to_user, user, item)
        attention = self.attention(logits, "rows"), self.attention(logits, "cols")
        from_items, from_users = self.messages(*attention, user, item)
        return Content(user + from_items, item + from_users, *attention)

    def routed(self, user: Tensor, item: Tensor) -> Tensor:
        """Draw the preferences towards the items that fit them best.

        Shapes: user (U, d) and item (I, d) of unit rows; result (U, d), of unit rows.
        """
        for _ in range(self.n_routings):
            attention = self.attention(edge_dot(self.to_user, user, item), "rows")
            user = unit_rows(user + edge_product(self.to_user, attention, item))
        return user

    def attention(self, logits: Tensor, side: str) -> Tensor:
        """Softmax over the edges into each user ("rows") or item ("cols"). Shapes: all (E,)."""
        n = self.n_users if side == "rows" else self.n_items
        return edge_softmax(logits, self.to_user[side], n)

    def messages(self, to_user: Tensor, to_item: Tensor, user: Tensor, item: Tensor) -> Nodes:
        """Weighted sums over neighbours. Shapes: weights (E,); user (U, d); item (I, d)."""
        return (edge_product(self.to_user, to_user, item),
                edge_product(self.to_item, to_item, user))

    def weights(self, content: list[Content]) -> Nodes:
        """Combine the modalities' attention; confidence is that of the node which sends.

        Shapes: result a pair of (E,), into users and into items.
        """
        to_user = torch.stack([c.to_user for c in content], dim=1)
        to_item = torch.stack([c.to_item for c in content], dim=1)
        if self.edge_weights == "mean":
            return to_user.mean(1), to_item.mean(1)
        if self.edge_weights == "confidence":
            to_user = to_user * self.c_item.index_select(0, self.to_user["cols"])
            to_item = to_item * self.c_user.index_select(0, self.to_user["rows"])
        largest = to_user.amax(1), to_item.amax(1)
        return tuple(map(F.relu, largest)) if self.pruning else largest

    def calculate_loss(self, interaction) -> GRCNLoss:
        batch = self.batch(interaction)
        user, item = self.forward()
        return GRCNLoss(self.rank(user, item, batch), self.l2_weight * self.l2(batch))

    def l2(self, batch: Batch) -> Tensor:
        """Mean squares of the batch's ids, users plus items, and of its users' preferences."""
        items = torch.cat([batch.positive_ids, batch.negative_ids])
        total = self.E_item.index_select(0, items).square().mean()
        for table in (self.E_user, *self.P):
            total = total + table.index_select(0, batch.user_ids).square().mean()
        return total
