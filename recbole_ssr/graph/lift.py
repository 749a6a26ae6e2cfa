"""How much more often pairs of items share users than chance would have it."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from torch import Tensor

from recbole_ssr.graph.bipartite import BipartiteGraph
from recbole_ssr.graph.interactions import interaction_matrix

_PAIRS_AT_ONCE = 65_536


def cooccurrence_lift(graph: BipartiteGraph, item: Tensor, other: Tensor) -> float:
    r"""Return how often pairs of items share a user, over how often they would by chance.

    .. math:: \frac{\sum_{ij} |U_i \cap U_j|}{\kappa \sum_{ij} d_i d_j}, \qquad
        \kappa = \frac{\sum_u d_u (d_u - 1)}{E^2}

    the sums over the given pairs. Chance is the configuration model: users and items keep their
    degrees d, interactions are drawn anew. 1 where the pairs say nothing, or nothing is known.

    Shapes: item, other (P,) ids.
    """
    users, items = (side.cpu() for side in graph.edges())
    R = interaction_matrix(users, items, graph.n_users, graph.n_items)
    d_user, d_item = (np.asarray(R.sum(axis)).ravel() for axis in (1, 0))
    i, j = item.numpy(), other.numpy()
    kappa = (d_user * (d_user - 1)).sum() / max(R.nnz, 1) ** 2
    expected = kappa * (d_item[i] * d_item[j]).sum()
    return _shared(R.T.tocsr(), i, j) / expected if expected > 0 else 1.0


def _shared(by_item: sp.csr_matrix, i: np.ndarray, j: np.ndarray) -> float:
    """Return the number of users that both items of a pair have, summed over the pairs."""
    blocks = (slice(k, k + _PAIRS_AT_ONCE) for k in range(0, len(i), _PAIRS_AT_ONCE))
    return sum(by_item[i[block]].multiply(by_item[j[block]]).sum() for block in blocks)
