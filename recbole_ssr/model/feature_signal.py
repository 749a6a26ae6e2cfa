r"""The signal of one feature modality on the user-item graph, and its bands.

.. math::
    H = \mathrm{project}(F),\qquad X = [P;\; H],\qquad
    Y = \tfrac{1}{L+1} \sum_{l=0}^{L} \hat A^l X,\qquad
    G = [Y_{user};\; Y_{item} + t\,T\,Y_{item}] \oslash \kappa,\qquad B_m = h_m(S)\, G

P are the users' trained preferences for the modality or zero, T an item graph, F the raw features.

**Missing features.** Rows without features are masked, not zeros that pass for content: the
coverage :math:`\kappa` of a node is the share of its propagated signal that comes from nodes which
have one, so that G is a mean over them alone. An item without features thus takes its signal from
the items that share its users.

**Frozen linear features cost nothing.** With H = F W + b and P = 0 all of the above is linear in
F, so that the bands of [F, 1] are computed once per fit of the filter bank, and a training step
multiplies some of their rows with W.

Shapes: U users, I items, f raw features, d channels, M bands, B rows.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from recbole_ssr.model.rotation import centre_of
from recbole_ssr.nn.projection import FeatureProjection
from recbole_ssr.nn.raw_features import RawFeatures
from recbole_ssr.nodes import Nodes
from recbole_ssr.products import csr_product
from recbole_ssr.spectral.chebyshev import PowerSum, mapped

_SMALLEST_COVERAGE = 1e-6  # below it a node has no signal to rescale


class Propagation:
    """The mean over powers of the adjacency, then the item graph; see the module's docstring.

    A LinearMap, which :meth:`__call__` applies differentiably.
    """

    def __init__(self, graph, n_layers: int, item_graph, item_graph_weight: float):
        self.graph, self.item_graph, self.t = graph, item_graph, item_graph_weight
        self.mean = PowerSum(graph, n_layers, 1 / (n_layers + 1))

    def __call__(self, user: Tensor, item: Tensor) -> Nodes:
        """Shapes: user (U, d), item (I, d) and the result."""
        return mapped(self, (user, item))

    def forward(self, x: Nodes) -> Nodes:
        user, item = self.mean.forward(x)
        return user, self._smoothed(item, "T")

    def adjoint(self, x: Nodes) -> Nodes:
        return self.mean.adjoint((x[0], self._smoothed(x[1], "Tt")))

    def _smoothed(self, item: Tensor, matrix: str) -> Tensor:
        if not self.t:
            return item
        return item.add(csr_product(self.item_graph[matrix], item), alpha=self.t)

    def coverage(self, present: Tensor, with_users: bool) -> Nodes:
        """Return kappa, 0 where a node has no signal. Shapes: present (I,) bool; (U, 1), (I, 1)."""
        users = self.graph.n_users
        known = present.new_full((users, 1), with_users).float(), present[:, None].float()
        every = known[0], torch.ones_like(known[1])
        kappa = (a / b.clamp(min=_SMALLEST_COVERAGE)
                 for a, b in zip(self(*known), self(*every)))
        return tuple(torch.where(k > _SMALLEST_COVERAGE, k, torch.zeros_like(k)) for k in kappa)


class FeatureSignal(RawFeatures):
    """One feature modality. `frozen` tells that its bands are those of the raw features.

    `centre` (f,) is subtracted from all rows; the mean of the present ones where it is None.
    """

    table = "F"

    def __init__(self, matrix: Tensor, present: Tensor, width: int, n_users: int,
                 projection: str, hidden: int, trainable: bool, preferences: bool,
                 centre: Tensor | None = None):
        # Centred, which only moves the bias: what all items share would fill the lowest band.
        centre = centre_of(matrix, present[:, None]) if centre is None else centre
        super().__init__(matrix - centre, present, trainable)
        self.frozen = projection == "linear" and not trainable and not preferences
        self.n_users = n_users
        n_features = matrix.shape[1]
        if projection == "linear":
            self.W = nn.Parameter(_initial_projection(n_features, width))
        else:
            self.W = None
            self.mlp = FeatureProjection(n_features, hidden, width)
        self.P = nn.Parameter(torch.zeros(n_users, width)) if preferences else None
        self._bands: Nodes | None = None

    def signal(self, propagation: Propagation, raw: bool = False) -> Nodes:
        """Return G, of the raw features [F, 1] if `raw`. Shapes: (U, d), (I, d)."""
        if self.W is None:
            H = self.through(self.mlp)  # (I, d)
        else:
            # The column of ones carries the bias through every linear step.
            F = torch.cat([self(), self.present], dim=1)  # (I, f + 1)
            H = F if raw else F @ self.W  # (I, f + 1 or d)
        P = H.new_zeros(self.n_users, H.shape[1]) if self.P is None else self.P
        kappa = propagation.coverage(self.present[:, 0] > 0, with_users=self.P is not None)
        scale = (torch.where(k > 0, 1 / k, torch.ones_like(k)) for k in kappa)
        return tuple(g * s for g, s in zip(propagation(P, H), scale))

    def frozen_bands(self, propagation: Propagation, bank, users, items) -> Nodes:
        """Return the bands of [F, 1] on some nodes, of a `frozen` modality; times W they are B.

        Shapes: users (Bu,), items (Bi,) or None for all; result (M, Bu, f + 1), (M, Bi, f + 1).
        """
        if self._bands is None:
            with torch.no_grad():
                self._bands = bank([self.signal(propagation, raw=True)])
        return tuple(B if rows is None else B.index_select(1, rows)
                     for B, rows in zip(self._bands, (users, items)))

    def drop_bands(self) -> None:
        """Forget the kept bands, because the filter bank changed."""
        self._bands = None

    def _apply(self, fn, recurse=True):
        self.drop_bands()
        return super()._apply(fn, recurse)


def _initial_projection(n_features: int, width: int) -> Tensor:
    """Return W, and the bias in its last row, of the energy of torch's own linear layer.

    Rows of W are orthogonal, columns where there are more rows: entries drawn one by one would blur
    the cosines of the features. Shapes: result (f + 1, d).
    """
    bound = n_features**-0.5
    out = torch.empty(n_features + 1, width).uniform_(-bound, bound)
    nn.init.orthogonal_(out[:-1], gain=(max(width / n_features, 1) / 3) ** 0.5)
    return out
