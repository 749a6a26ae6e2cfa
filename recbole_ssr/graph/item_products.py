r"""Products of users' interactions with item-item weights, dense, sparse or in factors.

Each module maps rows of R, those of B users, to these users' scores :math:`s = R_u W` of all items.

Shapes: rows (B, I) CSR; W (I, I), which only :class:`DenseWeights` holds as such; result (B, I).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from recbole_ssr.constants import Constants
from recbole_ssr.graph.bipartite import BipartiteGraph
from recbole_ssr.int32 import check_int32
from recbole_ssr.products import csr_product

# Scores of a user that do not differ stay 0 when they are standardised.
_SMALLEST_DEVIATION = 1e-9


def csr_rows(matrix: Tensor, rows: Tensor) -> Tensor:
    """Return some rows of a CSR matrix, in the order asked for.

    Shapes: matrix (N, M) CSR; rows (B,) integer; result (B, M) CSR.

    >>> csr_rows(torch.eye(3).to_sparse_csr(), torch.tensor([2, 0])).to_dense()
    tensor([[0., 0., 1.],
            [1., 0., 0.]])
    """
    crow = matrix.crow_indices().long()
    first, count = crow[rows], crow.diff()[rows]
    end = count.cumsum(0)
    total = int(end[-1]) if len(end) else 0
    check_int32("entries of a sparse matrix", total)
    place = torch.arange(total, device=crow.device)
    place += (first - end + count).repeat_interleave(count)
    return torch.sparse_csr_tensor(
        torch.cat([end.new_zeros(1), end]).int(), matrix.col_indices()[place],
        matrix.values()[place], (len(rows), matrix.shape[1]), check_invariants=False,
    )


class DenseWeights(Constants):
    """W as a dense matrix."""

    def __init__(self, W: Tensor):
        super().__init__(W=W)

    def forward(self, rows: Tensor) -> Tensor:
        return rows @ self["W"]


class SparseWeights(Constants):
    """W as a sparse matrix, of which the transpose is kept: a CSR kernel runs along its rows.

    Shapes: transpose (I, I) CSR, row j holding the weights from which item j is scored.
    """

    def __init__(self, transpose: Tensor):
        super().__init__(Wt=transpose)

    def forward(self, rows: Tensor) -> Tensor:
        return csr_product(self["Wt"], _columns(rows)).T


class LowRankWeights(Constants):
    """W = left right. Shapes: left (I, k); right (k, I)."""

    def __init__(self, left: Tensor, right: Tensor):
        super().__init__(left=left, right=right)

    def forward(self, rows: Tensor) -> Tensor:
        return (rows @ self["left"]) @ self["right"]


class GramWeights(nn.Module):
    r"""W = :math:`\hat R^\top \hat R`, as two products with the graph."""

    def __init__(self, graph: BipartiteGraph):
        super().__init__()
        self.graph = graph

    def forward(self, rows: Tensor) -> Tensor:
        return csr_product(self.graph["Rt"], csr_product(self.graph["R"], _columns(rows))).T


class WeightedSum(nn.Module):
    """The sum of several scores, each with a weight.

    With `standardise`, the scores of every part are first brought to mean 0 and deviation 1 over
    the first `n_known` items, all by default, user by user.
    """

    def __init__(self, parts: Sequence[nn.Module], weights: Sequence[float], standardise: bool,
                 n_known: int | None = None):
        super().__init__()
        self.parts = nn.ModuleList(parts)
        self.weights, self.standardise, self.n_known = tuple(weights), standardise, n_known

    def forward(self, rows: Tensor) -> Tensor:
        total = rows.values().new_zeros(rows.shape)
        for part, weight in zip(self.parts, self.weights):
            scores = part(rows)
            if self.standardise:
                scores = standardised(scores, self.n_known)
            total.add_(scores, alpha=weight)
        return total


def standardised(scores: Tensor, n_known: int | None = None) -> Tensor:
    """Return the rows with mean 0 and deviation 1 over the first `n_known` items, all by default.

    Shapes: (B, I).

    >>> standardised(torch.tensor([[1.0, 2.0, 3.0]]))
    tensor([[-1.,  0.,  1.]])
    """
    known = scores[:, :n_known]
    return (scores - known.mean(1, keepdim=True)) / deviation_of(known)


def deviation_of(scores: Tensor) -> Tensor:
    """Return what :func:`standardised` divides rows by. Shapes: scores (B, I); result (B, 1)."""
    return scores.std(1, keepdim=True).clamp(min=_SMALLEST_DEVIATION)


def _columns(rows: Tensor) -> Tensor:
    """Return rows (B, I) CSR as a dense (I, B)."""
    return rows.to_dense().T.contiguous()
