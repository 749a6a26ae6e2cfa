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

from recbole_ssr.nodes import Nodes

# A product gathers rows at random, so a CPU filters this many columns at a time: of a graph of some
# 10,000 nodes the rows of both sides then stay in its second-level cache. Narrower blocks read the
# graph's indices more often than that saves.
_CPU_COLUMNS = 32


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


class _PropagateSum(Function):
    @staticmethod
    def forward(ctx, user, item, graph, layers):
        ctx.graph, ctx.layers = graph, layers
        return _side_by_side([_horner(graph, x, layers) for x in _blocks((user, item))])

    @staticmethod
    @once_differentiable
    def backward(ctx, *grad):
        # The polynomial of a symmetric matrix is its own transpose.
        blocks = [_horner(ctx.graph, g, ctx.layers) for g in _blocks(grad)]
        return *_side_by_side(blocks), None, None


class _BandRows(Function):
    @staticmethod
    def forward(ctx, graph, coefficients, users, items, *flat):
        ctx.graph, ctx.rows, ctx.c = graph, (users, items), coefficients.tolist()
        ctx.sizes, ctx.width = tuple(map(len, flat[:2])), flat[0].shape[1]
        signals = zip(flat[::2], flat[1::2])
        return _side_by_side([_filtered(ctx, q) for signal in signals for q in _blocks(signal)])

    @staticmethod
    @once_differentiable
    def backward(ctx, *grad):
        gradients = []
        for signal in zip(*(g.split(ctx.width, dim=2) for g in grad)):
            gradients += _side_by_side([_clenshaw(ctx, G) for G in _blocks(signal)])
        return None, None, None, None, *gradients


def _blocks(x: Nodes) -> Iterator[Nodes]:
    """Yield blocks of columns as contiguous copies, which the recursions may overwrite."""
    size = _CPU_COLUMNS if x[0].device.type == "cpu" else x[0].shape[-1]
    for block in zip(*(part.split(max(size, 1), dim=-1) for part in x)):
        yield tuple(part.clone(memory_format=torch.contiguous_format) for part in block)


def _side_by_side(blocks: list[Nodes]) -> Nodes:
    if len(blocks) == 1:
        return blocks[0]
    return tuple(torch.cat(side, dim=-1) for side in zip(*blocks))


def _horner(graph, x: Nodes, layers: int) -> Nodes:
    total = x
    for _ in range(layers):
        total = graph.add_product(_copy(x), total)
    return total


def chebyshev_terms(graph, q: Nodes, degree: int) -> Iterator[Nodes]:
    """Yield T_0(S) q .. T_degree(S) q; each, q itself too, is overwritten two steps later."""
    yield q
    if degree == 0:
        return
    before, current = q, graph.add_product(_empty(q), q, alpha=-1.0, beta=0.0)
    yield current
    for _ in range(2, degree + 1):
        before, current = current, graph.add_product(before, current, alpha=-2.0, beta=-1.0)
        yield current


def _filtered(ctx, q: Nodes) -> Nodes:
    """B_m = sum_k c_mk t_k on the rows asked for. Shapes: q (U, w), (I, w); (M, B, w) each."""
    lengths = (size if rows is None else len(rows) for size, rows in zip(ctx.sizes, ctx.rows))
    bands = tuple(part.new_zeros(len(ctx.c), n, part.shape[1]) for n, part in zip(lengths, q))
    for order, t in enumerate(chebyshev_terms(ctx.graph, q, len(ctx.c[0]) - 1)):
        for side, part, rows in zip(bands, t, ctx.rows):
            part = part if rows is None else part.index_select(0, rows)
            for m, c in _used(ctx, order):
                side[m].add_(part, alpha=c)
    return bands


def _used(ctx, order: int) -> list[tuple[int, float]]:
    """Return the bands that use an order, with their coefficients."""
    return [(m, c[order]) for m, c in enumerate(ctx.c) if c[order]]


def _clenshaw(ctx, G: Nodes) -> Nodes:
    """b_k = u_k + 2 S b_{k+1} - b_{k+2}, u_k = sum_m c_mk G_m; the gradient is u_0 + S b_1 - b_2.

    Shapes: G pair of (M, B, w); result pair of (U, w), (I, w).
    """

    def add_u(out: Nodes, order: int) -> Nodes:
        for total, g, rows in zip(out, G, ctx.rows):
            # On some rows: first summed up in cache, then one scattered pass.
            u = total if rows is None else torch.zeros_like(g[0])
            for m, c in _used(ctx, order):
                u.add_(g[m], alpha=c)
            if rows is not None:
                total.index_add_(0, rows, u)
        return out

    degree = len(ctx.c[0]) - 1
    zeros = tuple(g.new_zeros(size, g.shape[2]) for g, size in zip(G, ctx.sizes))
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
