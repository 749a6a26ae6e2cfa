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
from recbole_ssr.nn.edge_dot import sampled_product


class EdgePattern(Constants):
    """Where a sparse (n, m) matrix has values; `values` are given in the order of these edges.

    An edge may occur several times, its values then add up; `distinct` tells that none does.

    Shapes: rows, cols (E,) integer.
    """

    def __init__(self, rows: Tensor, cols: Tensor, shape: tuple[int, int]):
        (n, m), rows, cols = shape, rows.long(), cols.long()
        place = rows * m + cols
        order, order_t = torch.argsort(place), torch.argsort(cols * n + rows)
        super().__init__(
            rows=rows, cols=cols, order=order, order_t=order_t,
            crow=_pointers(rows, n), col=cols[order].int(),
            crow_t=_pointers(cols, m), col_t=rows[order_t].int(),
        )
        self.shape = shape
        self.distinct = bool((place[order].diff() > 0).all())

    def matrix(self, values: Tensor) -> Tensor:
        """Return the CSR matrix of these values. Shapes: values (E,); result (n, m)."""
        return torch.sparse_csr_tensor(self["crow"], self["col"], values[self["order"]],
                                       self.shape, check_invariants=False)

    def transpose(self, values: Tensor) -> Tensor:
        """Return the transpose in CSR. Shapes: values (E,); result (m, n)."""
        return torch.sparse_csr_tensor(self["crow_t"], self["col_t"], values[self["order_t"]],
                                       self.shape[::-1], check_invariants=False)


def edge_product(pattern: EdgePattern, values: Tensor, x: Tensor) -> Tensor:
    """Multiply by the matrix of `values`, differentiable in both.

    Shapes: values (E,); x (m, D); result (n, D).
    """
    return _EdgeProduct.apply(values, x, pattern)


def edge_softmax(logits: Tensor, targets: Tensor, n: int) -> Tensor:
    """Softmax over the edges that share a target.

    Shapes: logits (E,) or (E, C); targets (E,) in [0, n); result like logits.
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
        return pattern.matrix(values) @ x

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        values, x = ctx.saved_tensors
        pattern, grad = ctx.pattern, grad.contiguous()
        by_value = by_x = None
        if ctx.needs_input_grad[0]:
            by_value = sampled_product(pattern, grad, x)
        if ctx.needs_input_grad[1]:
            by_x = pattern.transpose(values) @ grad
        return by_value, by_x, None


def _pointers(rows: Tensor, n: int) -> Tensor:
    pointers = torch.zeros(n + 1, dtype=torch.int32, device=rows.device)
    pointers[1:] = torch.bincount(rows, minlength=n).cumsum(0)
    return pointers
