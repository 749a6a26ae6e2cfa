"""The union of item graphs, edge by edge."""

from __future__ import annotations

import torch
from torch import Tensor

from recbole_ssr.constants import Constants
from recbole_ssr.graph.csr import csr_tensor
from recbole_ssr.graph.knn import ItemGraph


def edge_union(graphs: list[ItemGraph], present: list[Tensor]) -> Constants:
    r"""Return the graph of all edges, each with its largest value.

    .. math:: T_{ij} = \max_{c:\, (i, j) \in T^{(c)}} T^{(c)}_{ij}

    An item without features in c has a row in :math:`T^{(c)}` that keeps itself, which is no
    neighbourhood: it counts only where the item has features nowhere.

    Shapes: T^(c) and T (I, I); present[c] (I,) bool; result holds T and its transpose Tt.
    """
    n = len(present[0])
    nowhere = ~torch.stack(present).any(0)
    places, values = [], []
    for graph, here in zip(graphs, present):
        T = graph["T"]
        rows = torch.arange(n).repeat_interleave(T.crow_indices().long().diff())
        kept = (here | nowhere)[rows]
        places.append((rows * n + T.col_indices().long())[kept])
        values.append(T.values()[kept])
    edges, place = torch.unique(torch.cat(places), return_inverse=True)
    value = torch.full((len(edges),), -torch.inf).scatter_reduce(
        0, place, torch.cat(values), "amax")
    row, col = edges // n, edges % n
    return Constants(T=csr_tensor(row, col, value, (n, n)), Tt=csr_tensor(col, row, value, (n, n)))
