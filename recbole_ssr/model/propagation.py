"""Propagation over the user-item graph as the baselines use it."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from recbole_ssr.nn.sparse import adjacency_product, sparse_product
from recbole_ssr.nodes import Nodes
from recbole_ssr.spectral.chebyshev import propagate_sum


def propagate_mean(graph, user: Tensor, item: Tensor, layers: int) -> Nodes:
    r"""LightGCN: :math:`\tfrac{1}{L+1} \sum_{l=0}^{L} \hat A^l x` (He et al., SIGIR 2020, eq. 4).

    Shapes: user (U, D), item (I, D) and the result.
    """
    if not layers:
        return user, item
    user, item = propagate_sum(graph, (user, item), layers)
    return user / (layers + 1), item / (layers + 1)


def layers_of(graph, user: Tensor, item: Tensor, layers: int) -> Iterator[Nodes]:
    r"""Yield :math:`\hat A x, \hat A^2 x, \ldots, \hat A^L x`. Shapes: user (U, D), item (I, D)."""
    x = user, item
    for _ in range(layers):
        x = adjacency_product(graph, x)
        yield x


def users_of(graph, item: Tensor) -> Tensor:
    r"""Return :math:`\hat R x`: a user's sum of its items' rows, normalised by both degrees.

    Shapes: item (I, D); result (U, D).
    """
    return sparse_product(item, graph["R"], graph["Rt"])


def smoothed(item_graph, item: Tensor, layers: int = 1) -> Tensor:
    r"""Return :math:`T^L x` for an ItemGraph T. Shapes: item (I, D) and the result."""
    for _ in range(layers):
        item = sparse_product(item, item_graph["T"], item_graph["Tt"])
    return item
