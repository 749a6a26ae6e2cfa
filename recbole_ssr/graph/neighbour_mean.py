"""The mean over a node's neighbours in the user-item graph, as sparse matrices."""

from __future__ import annotations

import torch

from recbole_ssr.constants import Constants
from recbole_ssr.graph.bipartite import BipartiteGraph
from recbole_ssr.graph.csr import csr_tensor


class NeighbourMean(Constants):
    r"""Row-normalised blocks of the adjacency, each with its transpose for the backward.

    .. math:: to\_user = D_u^{-1} R,\qquad to\_item = D_i^{-1} R^\top

    The rows of a node with neighbours sum to 1; those of a node without any are empty.

    Shapes: to_user, to_item_t (U, I); to_item, to_user_t (I, U), CSR.
    """

    def __init__(self, graph: BipartiteGraph):
        users, items = graph.edges()
        by_user = 1 / torch.bincount(users, minlength=graph.n_users)[users].float()
        by_item = 1 / torch.bincount(items, minlength=graph.n_items)[items].float()
        shape = graph.n_users, graph.n_items
        super().__init__(
            to_user=csr_tensor(users, items, by_user, shape),
            to_user_t=csr_tensor(items, users, by_user, shape[::-1]),
            to_item=csr_tensor(items, users, by_item, shape[::-1]),
            to_item_t=csr_tensor(users, items, by_item, shape),
        )
