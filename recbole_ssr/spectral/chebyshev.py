r"""Polynomial filters of the bipartite graph as one differentiable function.

With :math:`S = L - I = -\hat A`, whose spectrum is x = lambda - 1 in [-1, 1], and Chebyshev
polynomials :math:`T_k(\cos\theta) = \cos k\theta`:

.. math::
    t_0 = Q,\quad t_1 = S Q,\quad t_k = 2 S t_{k-1} - t_{k-2},\qquad B_m = \sum_k c_{mk} t_k

`graph` below is anything with ``add_product(out, x, alpha, beta)``: out <- beta out + alpha A x,
for a symmetric A, which is why the same products serve forward and backward.

Shapes: N nodes, D width, M bands, K degree, B rows; Q (N, D); coefficients c (M, K + 1).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable


def propagate_sum(graph, x: Tensor, layers: int) -> Tensor:
    r"""Return :math:`\sum_{l=0}^{L} \hat A^l x` by Horner's rule: L products, nothing stored.

    Shapes: x (N, D); result (N, D).
    """
    return _PropagateSum.apply(x, graph, layers)


def band_rows(graph, q: Tensor, coefficients: Tensor, rows: Tensor | None = None) -> Tensor:
    r"""Return the bands :math:`B_m = \sum_k c_{mk} T_k(S) q` on some nodes.

    One recursion serves all bands: K products whatever M. The backward is Clenshaw's recurrence,
    again K products, and stores nothing of the forward.

    Shapes: q (N, D); coefficients (M, K + 1), not differentiated; rows (B,) node ids without
    repetition, None for all; result (B, M, D).
    """
    return _BandRows.apply(q, graph, coefficients, rows)


def _horner(graph, x: Tensor, layers: int) -> Tensor:
    total = x
    for _ in range(layers):
        total = graph.add_product(x.clone(), total)
    return total.clone() if layers == 0 else total


class _PropagateSum(Function):
    @staticmethod
    def forward(ctx, x, graph, layers):
        ctx.graph, ctx.layers = graph, layers
        return _horner(graph, x.contiguous(), layers)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        # The polynomial of a symmetric matrix is its own transpose.
        return _horner(ctx.graph, grad.contiguous(), ctx.layers), None, None


class _BandRows(Function):
    @staticmethod
    def forward(ctx, q, graph, coefficients, rows):
        ctx.graph, ctx.coefficients, ctx.rows, ctx.n_nodes = graph, coefficients, rows, len(q)
        q = q.contiguous()

        def select(t):
            return t if rows is None else t.index_select(0, rows)

        orders = [select(q)]
        before, current = None, q
        for k in range(1, coefficients.shape[1]):
            if k == 1:
                following = graph.add_product(torch.empty_like(q), q, alpha=-1.0, beta=0.0)
            else:
                # From the third order on the buffer of t_{k-2} is free to receive t_k.
                out = before.clone() if before is q else before
                following = graph.add_product(out, current, alpha=-2.0, beta=-1.0)
            before, current = current, following
            orders.append(select(current) if rows is not None else current.clone())
        return torch.einsum("mk,kbd->bmd", coefficients, torch.stack(orders))

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        c, rows = ctx.coefficients, ctx.rows
        per_order = torch.einsum("mk,bmd->kbd", c, grad)

        def add_rows(out, k):
            return out.add_(per_order[k]) if rows is None else out.index_add_(0, rows, per_order[k])

        degree = c.shape[1] - 1
        zeros = grad.new_zeros(ctx.n_nodes, grad.shape[2])
        if degree == 0:
            return add_rows(zeros, 0), None, None, None
        # b_k = u_k + 2 S b_{k+1} - b_{k+2};  gradient = u_0 + S b_1 - b_2.
        after, current = zeros, add_rows(zeros.clone(), degree)
        for k in range(degree - 1, 0, -1):
            following = ctx.graph.add_product(after, current, alpha=-2.0, beta=-1.0)
            after, current = current, add_rows(following, k)
        return add_rows(ctx.graph.add_product(after, current, alpha=-1.0, beta=-1.0), 0), *[None] * 3
