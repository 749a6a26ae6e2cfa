r"""Polynomial filters of the bipartite graph as differentiable functions.

With :math:`S = L - I = -\hat A`, whose spectrum is x = lambda - 1 in [-1, 1], and Chebyshev
polynomials :math:`T_k(\cos\theta) = \cos k\theta`:

.. math::
    t_0 = Q,\quad t_1 = S Q,\quad t_k = 2 S t_{k-1} - t_{k-2},\qquad B_m = \sum_k c_{mk} t_k

A signal is a pair (user, item) of matrices. `graph` below is anything with
``add_product(out, x, alpha, beta)``: out <- beta out + alpha A x on such pairs, for a symmetric A,
which is why the same products serve forward and backward.

Shapes: U users, I items, d width of a signal, C signals, D = C d, M bands, K degree, B rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

Nodes = tuple[Tensor, Tensor]


def propagate_sum(graph, x: Nodes, layers: int) -> Nodes:
    r"""Return :math:`\sum_{l=0}^{L} \hat A^l x` by Horner's rule: L products, nothing stored.

    Shapes: x and result pairs of (U, d) and (I, d).
    """
    return _PropagateSum.apply(*x, graph, layers)


def band_rows(
    graph,
    signals: Sequence[Nodes],
    coefficients: Tensor,
    users: Tensor | None = None,
    items: Tensor | None = None,
) -> Nodes:
    r"""Return the bands :math:`B_m = \sum_k c_{mk} T_k(S) q` of signals on some nodes.

    One recursion serves all bands: K products per signal whatever M. The backward is Clenshaw's
    recurrence, again K products, and stores nothing of the forward.

    Shapes: signals: C pairs of (U, d) and (I, d); coefficients (M, K + 1), not differentiated;
    users (Bu,), items (Bi,) ids without repetition, None for all; result a pair of (M, Bu, D) and
    (M, Bi, D), the signals side by side.
    """
    flat = [part for signal in signals for part in signal]
    return _BandRows.apply(graph, coefficients, users, items, *flat)


def _horner(graph, x: Nodes, layers: int) -> Nodes:
    x = tuple(part.contiguous() for part in x)
    total = x
    for _ in range(layers):
        total = graph.add_product(_copy(x), total)
    return _copy(x) if layers == 0 else total


class _PropagateSum(Function):
    @staticmethod
    def forward(ctx, user, item, graph, layers):
        ctx.graph, ctx.layers = graph, layers
        return _horner(graph, (user, item), layers)

    @staticmethod
    @once_differentiable
    def backward(ctx, *grad):
        # The polynomial of a symmetric matrix is its own transpose.
        return *_horner(ctx.graph, grad, ctx.layers), None, None


class _BandRows(Function):
    @staticmethod
    def forward(ctx, graph, coefficients, users, items, *flat):
        ctx.graph, ctx.rows, ctx.c = graph, (users, items), coefficients.tolist()
        ctx.sizes, d = tuple(map(len, flat[:2])), flat[0].shape[1]
        width = d * len(flat) // 2
        bands = tuple(
            flat[0].new_zeros(len(ctx.c), size if rows is None else len(rows), width)
            for rows, size in zip(ctx.rows, ctx.sizes)
        )
        for k in range(len(flat) // 2):
            channels = slice(k * d, (k + 1) * d)
            signal = tuple(part.contiguous() for part in flat[2 * k : 2 * k + 2])
            for order, t in enumerate(chebyshev_terms(graph, signal, len(ctx.c[0]) - 1)):
                _add_order(bands, t, ctx.rows, ctx.c, order, channels)
        return bands

    @staticmethod
    @once_differentiable
    def backward(ctx, *grad):
        width = grad[0].shape[2]
        d = width // ((len(ctx.needs_input_grad) - 4) // 2)
        gradients = []
        for start in range(0, width, d):
            channels = slice(start, start + d)
            gradients += _clenshaw(ctx, grad, channels)
        return None, None, None, None, *gradients


def chebyshev_terms(graph, q: Nodes, degree: int) -> Iterator[Nodes]:
    """Yield T_0(S) q .. T_degree(S) q; each is overwritten two steps later."""
    yield q
    if degree == 0:
        return
    before, current = q, graph.add_product(_empty(q), q, alpha=-1.0, beta=0.0)
    yield current
    for k in range(2, degree + 1):
        # t_0 is the caller's; from the third order on the buffer of t_{k-2} is ours to reuse.
        buffer = _copy(before) if k == 2 else before
        before, current = current, graph.add_product(buffer, current, alpha=-2.0, beta=-1.0)
        yield current


def _add_order(bands, t, rows, c, order, channels) -> None:
    """Add c_mk t_k to every band, on both sides of the graph."""
    for side, part, selected in zip(bands, t, rows):
        part = part if selected is None else part.index_select(0, selected)
        for m, coefficient in enumerate(c):
            if coefficient[order]:
                side[m, :, channels].add_(part, alpha=coefficient[order])


def _clenshaw(ctx, grad, channels) -> Nodes:
    """b_k = u_k + 2 S b_{k+1} - b_{k+2}; the gradient is u_0 + S b_1 - b_2."""

    def add_u(out: Nodes, order: int) -> Nodes:
        """Add u_k = sum_m c_mk G_m on the rows of the forward."""
        for total, g, selected in zip(out, grad, ctx.rows):
            used = [m for m, coefficient in enumerate(ctx.c) if coefficient[order]]
            if not used:
                continue
            u = g[used[0], :, channels] * ctx.c[used[0]][order]
            for m in used[1:]:
                u.add_(g[m, :, channels], alpha=ctx.c[m][order])
            if selected is None:
                total.add_(u)
            else:
                total.index_add_(0, selected, u)
        return out

    degree, d = len(ctx.c[0]) - 1, channels.stop - channels.start
    zeros = tuple(grad[0].new_zeros(size, d) for size in ctx.sizes)
    if degree == 0:
        return add_u(zeros, 0)
    after, current = zeros, add_u(_copy(zeros), degree)
    for order in range(degree - 1, 0, -1):
        following = ctx.graph.add_product(after, current, alpha=-2.0, beta=-1.0)
        after, current = current, add_u(following, order)
    return add_u(ctx.graph.add_product(after, current, alpha=-1.0, beta=-1.0), 0)


def _copy(x: Nodes) -> Nodes:
    return tuple(part.clone() for part in x)


def _empty(x: Nodes) -> Nodes:
    return tuple(torch.empty_like(part) for part in x)
