r"""MENTOR: Multi-level self-supervised learning for multimodal recommendation.

Xu, Chen, Yang, Li, Wang, Ngai; AAAI 2025; arXiv 2402.19407. Modalities are propagated apart and
fused; two tasks without labels align the modalities under the guidance of the ids and make the
general, fused feature robust.

.. math::
    \text{signals}\quad & x_0 = \text{unit rows of } [E_u; E_i], \qquad
        x_m = \text{unit rows of } [P_m;\ X_m W_m + b_m] \\
    \text{encode}\quad & \hat h^m = \textstyle\sum_{l=0}^{L} \hat A^l x_m, \qquad
        h^m_u = \hat h^m_u, \qquad h^m_i = \hat h^m_i + S^{L_{ii}}\, \hat h^m_i \\
    \text{fuse}\quad & f = \textstyle\sum_{m \geq 1} \alpha_m h^m,\quad \alpha = softmax(a),
        \qquad g = f \text{ or } f + h^0, \qquad s_{ui} = \langle g_u, g_i \rangle \\
    \text{align}\quad & D(p, q) = \tfrac{1}{d} \big( \|\mu_p - \mu_q\|_1
        + \|\sigma^2_p - \sigma^2_q\|_1 \big) \\
    & \mathcal L_A = \underbrace{D(h^0, f) + \textstyle\sum_m D(h^0, h^m)}_{\text{ids guide}}
        + \underbrace{\textstyle\sum_m D(f, h^m)}_{\text{the fused one guides}}
        + \underbrace{\textstyle\sum_{m < n} D(h^m, h^n)}_{\text{modalities meet}} \\
    \text{mask}\quad & \mathcal L_F = \text{mean of } 1 - \cos(g W_p + b_p,\
        dropout_\rho(\operatorname{sg}(g))) \\
    \text{perturb}\quad & \tilde x^{l} = \hat A \tilde x^{l-1} + \epsilon \operatorname{sign}(\hat A
        \tilde x^{l-1}) \odot \tfrac{\delta}{\|\delta\|}, \qquad \delta \sim U(0, 1)^d, \qquad
        \mathcal L_G = NCE_\tau(g', g'') \\
    \mathcal L = &\ bpr(g_u, g_i, g_j) + \lambda_A \mathcal L_A + \lambda_F \mathcal L_F
        + \lambda_G \mathcal L_G + \tfrac{\lambda}{2 B} \textstyle\sum_{batch} (\|E\|^2 + \|P\|^2)

D compares modalities as Gaussians: :math:`\mu` and :math:`\sigma^2` are mean and variance of every
channel over all users, and over all items. g' and g'' are encoded as g is, over perturbed layers.
L_F and L_G take the distinct users and positive items of a batch. S joins every item with its k
nearest by raw features, modalities weighted, each neighbour 1 / k.

Departures. Written from what is known of the method, without its released code or a table of its
settings, and unsure in these points: that the signals are unit rows, as MMGCN's are, and layers a
sum, with which the published step size trains and Amazon Baby's validation is far higher than with
means of rows of any length; whether the ids enter the scores (`score_ids`) or guide the alignment
alone, which is far better on Baby and far worse on ml-100k; that the modalities are fused by one
trained weight each; that moments are compared by channel; that the mask is on channels of the
general feature, with BM3's predictor; that the noise is SimGCL's (Yu et al., SIGIR 2022); that raw
features are frozen. The weights of the tasks are plain choices. Encoding is linear in the signals,
so the fused modality needs no propagation of its own. An item without features of m has in h^m what
its neighbours give it.

Shapes: U users, I items, M modalities, d channels, f_m features of modality m; P_m (U, d);
W_m (f_m, d); h, f, g (U, d) and (I, d); W_p (d, d); S (I, I) sparse; a, alpha (M,).
"""

from __future__ import annotations

from itertools import combinations
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recbole_ssr.model.base import Embeddings
from recbole_ssr.model.baseline import Baseline, raw_features, xavier, xavier_linear
from recbole_ssr.model.item_graph import build_item_graph
from recbole_ssr.model.propagation import smoothed
from recbole_ssr.nn.batch import Batch
from recbole_ssr.nn.channel_dropout import dropout
from recbole_ssr.nn.contrast import info_nce
from recbole_ssr.nn.losses import half_squares, one_minus_cosine
from recbole_ssr.nn.normalise import unit_rows
from recbole_ssr.nn.sparse import adjacency_product
from recbole_ssr.nodes import Nodes
from recbole_ssr.spectral.chebyshev import propagate_sum


class MENTORLoss(NamedTuple):
    """Weighted parts of the loss; their sum is what training minimises."""

    ranking: Tensor
    alignment: Tensor
    masking: Tensor
    perturbation: Tensor
    l2: Tensor


class MENTOR(Baseline):
    """MENTOR. Settings: properties/model/MENTOR.yaml."""

    paper_objective = "bpr"
    affine_users = True
    embeds_new_items = True

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        d = config["embedding_size"]
        self.n_layers, self.item_layers = config["n_layers"], config["item_layers"]
        self.score_ids = config["score_ids"]
        self.align_weight, self.mask_weight = config["align_weight"], config["mask_weight"]
        self.contrast_weight, self.l2_weight = config["contrast_weight"], config["l2_weight"]
        self.feature_dropout, self.noise = config["feature_dropout"], config["noise"]
        self.temperature = config["temperature"]
        self.features = raw_features(config, dataset)
        self.S = build_item_graph(config, dataset.item_features)
        self.E_user, self.E_item = xavier(self.n_users, d), xavier(self.n_items, d)
        self.P = nn.ParameterList(xavier(self.n_users, d) for _ in self.features)
        self.W = nn.ModuleList(nn.Linear(X.width, d) for X in self.features)
        self.a = nn.Parameter(torch.zeros(len(self.features)))
        self.predictor = xavier_linear(d, d)

    @property
    def user_tables(self) -> tuple[str, ...]:
        return ("E_user", *(f"P.{m}" for m in range(len(self.P))))

    def forward(self) -> Embeddings:
        return Embeddings(*self.encoded(tuple(map(self.general, self.signals()))))

    def signals(self) -> Nodes:
        """Return x of ids and modalities side by side. Shapes: (U, (M + 1) d), (I, (M + 1) d)."""
        item = [self.E_item, *(X.through(W) for X, W in zip(self.features, self.W))]
        sides = [self.E_user, *self.P], item
        return tuple(torch.cat(list(map(unit_rows, parts)), dim=1) for parts in sides)

    def encoded(self, x: Nodes) -> Nodes:
        """Propagate signals over both graphs. Shapes: (U, D), (I, D) and the result."""
        user, item = propagate_sum(self.graph, x, self.n_layers)
        return user, self.enhanced(item)

    def enhanced(self, item: Tensor) -> Tensor:
        """Add what similar items hold. Shapes: item (I, D) and the result."""
        return item + smoothed(self.S, item, self.item_layers)

    def fused(self, h: Tensor) -> Tensor:
        """Mix the modalities of nodes, without the ids. Shapes: h (n, (M + 1) d); result (n, d)."""
        _, *modal = h.chunk(len(self.features) + 1, dim=1)
        return sum(share * part for share, part in zip(torch.softmax(self.a, dim=0), modal))

    def general(self, h: Tensor, fused: Tensor | None = None) -> Tensor:
        """Return g of nodes. Shapes: h (n, (M + 1) d); fused (n, d), if known; result (n, d)."""
        fused = self.fused(h) if fused is None else fused
        return fused + h[:, :fused.shape[1]] if self.score_ids else fused

    def calculate_loss(self, interaction) -> MENTORLoss:
        batch, x = self.batch(interaction), self.signals()
        h = self.encoded(x)
        f = tuple(map(self.fused, h))
        g = tuple(map(self.general, h, f))
        users, items = interaction[self.USER_ID].unique(), interaction[self.ITEM_ID].unique()
        return MENTORLoss(
            self.rank(*g, batch),
            self.align_weight * self.alignment(h, f),
            self.mask_weight * self.masking(g, users, items),
            self.contrast_weight * self.perturbation(x, users, items),
            self.l2_weight * self.l2(batch),
        )

    def alignment(self, h: Nodes, fused: Nodes) -> Tensor:
        """Return L_A. Shapes: h (U, (M + 1) d) and (I, (M + 1) d); fused (U, d) and (I, d)."""
        total = fused[0].new_zeros(())
        for side, f in zip(h, fused):
            # One row a signal: the ids, the modalities, the fused one. All pairs are compared.
            moments = torch.cat([_moments(side, f.shape[1]), _moments(f, f.shape[1])])
            for p, q in combinations(moments, 2):
                total = total + (p - q).abs().sum() / f.shape[1]
        return total

    def masking(self, g: Nodes, users: Tensor, items: Tensor) -> Tensor:
        """Return L_F of some nodes, users and items apart. Shapes: users (Bu,); items (Bi,)."""
        total = g[0].new_zeros(())
        if not self.mask_weight:
            return total
        for side, rows in zip(g, (users, items)):
            rows = side.index_select(0, rows)
            target = dropout(rows.detach(), self.feature_dropout, self.generator)
            total = total + one_minus_cosine(self.predictor(rows), target)
        return total

    def perturbation(self, x: Nodes, users: Tensor, items: Tensor) -> Tensor:
        """Return L_G of some nodes, users and items apart. Shapes: x as :meth:`signals`."""
        if not self.contrast_weight:  # the views cost as much as the rest of the model
            return x[0].new_zeros(())
        views = perturbed_views(self.graph, tuple(map(self.general, x)), self.n_layers, self.noise,
                                self.generator_at(x[0].device))
        total = x[0].new_zeros(())
        for side, rows in zip((views[0], self.enhanced(views[1])), (users, items)):
            total = total + info_nce(*side.index_select(0, rows).chunk(2, dim=1), self.temperature)
        return total

    def generator_at(self, device: torch.device) -> torch.Generator:
        """Return a generator on a device, where a step draws as much as the model embeds.

        Its seed comes from the model's own, so that a run resumes exactly.
        """
        seed = torch.randint(2**62, (), generator=self.generator).item()
        return torch.Generator(device).manual_seed(seed)

    def l2(self, batch: Batch) -> Tensor:
        """Half the squared norms of the batch's ids and preferences, over its interactions."""
        items = torch.cat([batch.positive_ids, batch.negative_ids])
        users = [table.index_select(0, batch.user_ids) for table in (self.E_user, *self.P)]
        return half_squares(len(batch.user), *users, self.E_item.index_select(0, items))


def perturbed_views(
    graph, x: Nodes, layers: int, noise: float, generator: torch.Generator
) -> Nodes:
    """Propagate x twice, every layer moved by a random vector of length `noise` in its own orthant.

    Shapes: x pair of (U, d) and (I, d); result (U, 2 d) and (I, 2 d), the views side by side.
    """
    x = total = tuple(part.repeat(1, 2) for part in x)
    for _ in range(layers):
        x = tuple(part + noise * _direction(part, generator)
                  for part in adjacency_product(graph, x))
        total = tuple(t + part for t, part in zip(total, x))
    return total


def _direction(x: Tensor, generator: torch.Generator) -> Tensor:
    """Return random unit vectors with the signs of x, one a node and view. Shapes: (n, 2 d)."""
    delta = torch.rand(x.shape, generator=generator, device=x.device, dtype=x.dtype)
    return F.normalize(delta.view(len(x), 2, -1), dim=2).view_as(x).mul_(x.detach().sign())


def _moments(h: Tensor, width: int) -> Tensor:
    """Return mean and variance of every channel over nodes, side by side, one row a signal.

    In the passes that they take, as torch.var_mean needs three times as long on a CPU.

    Shapes: h (n, S width) signals of nodes, row 0 padding; result (S, 2 width).
    """
    h = h[1:]
    mean = h.mean(0)
    variance = (h - mean).square().sum(0) / (len(h) - 1)
    return torch.cat([mean.view(-1, width), variance.view(-1, width)], dim=1)
