r"""Sparse matrices whose values are trained: one value per edge.

.. math::
    y_r = \sum_{e:\, row(e) = r} v_e\, x_{col(e)},\qquad
    \frac{\partial}{\partial v_e} = \langle g_{row(e)}, x_{col(e)} \rangle

Nothing of size rows x columns exists, in the backward either: torch's own gradient of a sparse
matrix is dense.

Shapes: E edges, (n, m) the matrix, D width.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from recbole_ssr.constants import Constants
from recbole_ssr.int32 import check_int32
from recbole_ssr.products import csr_product


class EdgePattern(Constants):
    """Where a sparse (n, m) matrix has values; `values` are given in the order of these edges.

    An edge may occur several times, its values then add up in one entry of the matrix: cuSPARSE
    refuses a matrix of more entries than it has places.

    Shapes: rows, cols (E,) integer; entry (E,) the entry of every edge, `order` the other way round
    where no edge occurs twice.
    """

    def __init__(self, rows: Tensor, cols: Tensor, shape: tuple[int, int]):
        (n, m), rows, cols = shape, rows.long(), cols.long()
        place = rows * m + cols
        order = torch.argsort(place)
        first = torch.ones_like(place, dtype=torch.bool)
        first[1:] = place[order].diff() > 0
        entry = torch.empty_like(order)
        entry[order] = first.cumsum(0) - 1
        self.distinct = bool(first.all())
        row, col = rows[order][first], cols[order][first]
        order_t = torch.argsort(col * n + row)
        super().__init__(
            rows=rows, cols=cols, order=order, entry=entry, order_t=order_t,
            crow=_pointers(row, n), col=col.int(),
            crow_t=_pointers(col, m), col_t=row[order_t].int(),
        )
        self.shape = shape

    def matrix(self, values: Tensor) -> Tensor:
        """Return the CSR matrix of these values. Shapes: values (E,); result (n, m)."""
        return torch.sparse_csr_tensor(self["crow"], self["col"], self.entries(values), self.shape,
                                       check_invariants=False)

    def transpose(self, values: Tensor) -> Tensor:
        """Return the transpose in CSR. Shapes: values (E,); result (m, n)."""
        return torch.sparse_csr_tensor(self["crow_t"], self["col_t"],
                                       self.entries(values)[self["order_t"]], self.shape[::-1],
                                       check_invariants=False)

    def entries(self, values: Tensor) -> Tensor:
        """Return what is at every place of the matrix that has an edge, row by row.

        Shapes: values (E,); result (number of such places,).
        """
        if self.distinct:
            return values[self["order"]]
        return values.new_zeros(len(self["col"])).index_add_(0, self["entry"], values)


def edge_product(pattern: EdgePattern, values: Tensor, x: Tensor) -> Tensor:
    """Multiply by the matrix of `values`, differentiable in both.

    Shapes: values (E,); x (m, D); result (n, D).
    """
    return _EdgeProduct.apply(values, x, pattern)


def sampled_product(pattern: EdgePattern, x: Tensor, y: Tensor) -> Tensor:
    """The values of x y' at the edges, without a gradient.

    Shapes: x (n, D); y (m, D); result (E,).
    """
    at_edges = pattern.matrix(x.new_zeros(len(pattern["rows"])))
    # beta = 0: the zeros are where to compute, not what to add to.
    products = torch.sparse.sampled_addmm(at_edges, x, y.T, beta=0.0).values()
    return products.index_select(0, pattern["entry"])


def edge_softmax(logits: Tensor, targets: Tensor, n: int) -> Tensor:
    """Softmax over the edges that share a target.

    Shapes: logits (E,) or (E, C); targets (E,) in [0, n); result like logits.

    >>> edge_softmax(torch.zeros(3), torch.tensor([0, 0, 1]), n=2)
    tensor([0.5000, 0.5000, 1.0000])
    """
    index = targets if logits.dim() == 1 else targets[:, None].expand_as(logits)
    size = (n, *logits.shape[1:])
    top = logits.new_full(size, -torch.inf).scatter_reduce(0, index, logits.detach(), "amax")
    e = (logits - top.index_select(0, targets)).exp()
    total = e.new_zeros(size).index_add(0, targets, e)
    return e / total.index_select(0, targets)


class _EdgeProduct(Function):
    @staticmethod
    def forward(ctx, values, x, pattern):
        ctx.pattern = pattern
        ctx.save_for_backward(values, x)
        return csr_product(pattern.matrix(values), x)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        values, x = ctx.saved_tensors
        pattern, grad = ctx.pattern, grad.contiguous()
        by_value = by_x = None
        if ctx.needs_input_grad[0]:
            by_value = sampled_product(pattern, grad, x)
        if ctx.needs_input_grad[1]:
            by_x = csr_product(pattern.transpose(values), grad)
        return by_value, by_x, None


def _pointers(rows: Tensor, n: int) -> Tensor:
    check_int32("edges", len(rows))
    check_int32("nodes", n)
    pointers = torch.zeros(n + 1, dtype=torch.int32, device=rows.device)
    pointers[1:] = torch.bincount(rows, minlength=n).cumsum(0)
    return pointers
