"""Users who share items: a sparse graph built blockwise, no U x U matrix."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from recbole_ssr.graph.bipartite import BipartiteGraph
from recbole_ssr.graph.nearest import nearest_by_product


class Neighbours(NamedTuple):
    """The users that share most training items with each user.

    Shapes: user, neighbour (E,) ids, sorted by user; count (E,) float, the items shared.
    """

    user: Tensor
    neighbour: Tensor
    count: Tensor


def co_users(graph: BipartiteGraph, most: int, block: int = 2048) -> Neighbours:
    """Return at most `most` neighbours of every user, those with the highest counts.

    The user itself is none of them. Among equal counts the lower id comes first, so that the result
    does not depend on the block.
    """
    users, items = (side.cpu().numpy() for side in graph.edges())
    R = sp.csr_matrix((np.ones(len(users), dtype=np.float32), (users, items)),
                      (graph.n_users, graph.n_items))
    user, neighbour, count = nearest_by_product(R, R.T.tocsr(), most, block)
    return Neighbours(torch.from_numpy(user.astype(np.int64)),
                      torch.from_numpy(neighbour.astype(np.int64)), torch.from_numpy(count))
