r"""Polynomial filters of the bipartite graph as differentiable functions.

With :math:`S = L - I = -\hat A`, whose spectrum is x = lambda - 1 in [-1, 1], and Chebyshev
polynomials :math:`T_k(\cos\theta) = \cos k\theta`:

.. math::
    t_0 = Q,\quad t_1 = S Q,\quad t_k = 2 S t_{k-1} - t_{k-2},\qquad B_m = \sum_k c_{mk} t_k

A signal is a pair (user, item) of matrices. `graph` below is anything with ``product(x)``, which
returns A x on such pairs as new tensors, and ``add_product(out, x, alpha)``, which overwrites out
with out + alpha A x, for a symmetric A; that is why the same products serve forward and backward.

**Signs.** Subtracting twice a product from what is already there is one pass over memory, negating
the sum another. So the recursions carry :math:`\pm t_k` and leave the sign to the coefficient.

Shapes: U users, I items, d width of a signal, C signals, D = C d, M bands, K degree, B rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from recbole_ssr.nodes import Nodes

# A product gathers rows at random, so a CPU filters this many columns at a time: of a graph of some
# 10,000 nodes the rows of both sides then stay in its second-level cache. Narrower blocks read the
# graph's indices more often than that saves.
_CPU_COLUMNS = 64


class LinearMap(Protocol):
    """A linear map of signals by nodes, column by column. Neither method is differentiated; both
    return new tensors, contiguous, and leave `x` alone."""

    def forward(self, x: Nodes) -> Nodes:
        """Shapes: x pair of (U, w), (I, w), of any strides; result alike."""

    def adjoint(self, x: Nodes) -> Nodes:
        """Shapes: as in `forward`."""


class PowerSum:
    r"""The map :math:`\gamma \sum_{l=0}^{L} \hat A^l`, its own adjoint: L products by Horner's
    rule, nothing stored.
    """

    def __init__(self, graph, layers: int, gamma: float = 1.0):
        self.graph, self.layers, self.gamma = graph, layers, gamma

    def forward(self, x: Nodes) -> Nodes:
        x = tuple((self.gamma * part).contiguous() for part in x)
        total = x
        for _ in range(self.layers):
            total = tuple(product.add_(part) for product, part in
                          zip(self.graph.product(total), x))
        return total

    adjoint = forward


def mapped(linear: LinearMap, x: Nodes) -> Nodes:
    """Apply a linear map, differentiably. Shapes: x and result pairs of (U, d) and (I, d)."""
    return _Mapped.apply(*x, linear)


def propagate_sum(graph, x: Nodes, layers: int) -> Nodes:
    r"""Return :math:`\sum_{l=0}^{L} \hat A^l x`. Shapes: x and result pairs of (U, d), (I, d)."""
    return mapped(PowerSum(graph, layers), x)


def band_rows(
    graph,
    signals: Sequence[Nodes],
    coefficients: Tensor,
    users: Tensor | None = None,
    items: Tensor | None = None,
    before: LinearMap | None = None,
) -> Nodes:
    r"""Return the bands :math:`B_m = \sum_k c_{mk} T_k(S) q` of signals on some nodes.

    One recursion serves all bands: K products per signal whatever M. The backward is Clenshaw's
    recurrence, again K products, and stores nothing of the forward. With `before`, the signals are
    first mapped by it, block by block of columns, so that what is between never leaves the cache.

    Shapes: signals: C pairs of (U, d) and (I, d); coefficients (M, K + 1), not differentiated;
    users (Bu,), items (Bi,) ids without repetition, None for all; result a pair of (M, Bu, D) and
    (M, Bi, D), the signals side by side.
    """
    flat = [part for signal in signals for part in signal]
    return _BandRows.apply(graph, coefficients, users, items, before, *flat)


class _Mapped(Function):
    @staticmethod
    def forward(ctx, user, item, linear):
        ctx.linear = linear
        return _side_by_side([linear.forward(x) for x in _blocks((user, item))])

    @staticmethod
    @once_differentiable
    def backward(ctx, *grad):
        return *_side_by_side([ctx.linear.adjoint(g) for g in _blocks(grad)]), None


class _BandRows(Function):
    @staticmethod
    def forward(ctx, graph, coefficients, users, items, before, *flat):
        ctx.graph, ctx.rows, ctx.before = graph, (users, items), before
        ctx.c = _on_host(coefficients)
        ctx.sizes, ctx.width = tuple(map(len, flat[:2])), flat[0].shape[1]
        ahead = _contiguous_copy if before is None else before.forward
        signals = zip(flat[::2], flat[1::2])
        return _side_by_side([_filtered(ctx, ahead(q)) for signal in signals
                              for q in _blocks(signal)])

    @staticmethod
    @once_differentiable
    def backward(ctx, *grad):
        gradients = []
        for signal in zip(*(g.split(ctx.width, dim=2) for g in grad)):
            blocks = (_clenshaw(ctx, _contiguous_copy(G)) for G in _blocks(signal))
            if ctx.before is not None:
                blocks = map(ctx.before.adjoint, blocks)
            gradients += _side_by_side(list(blocks))
        return None, None, None, None, None, *gradients


def _on_host(coefficients: Tensor) -> list[list[float]]:
    """Return the numbers, read once as long as they stay the same: a GPU has to be waited for."""
    version, numbers = getattr(coefficients, "_numbers", (None, None))
    if version != coefficients._version:
        numbers = coefficients.tolist()
        coefficients._numbers = coefficients._version, numbers
    return numbers


def _blocks(x: Nodes) -> Iterator[Nodes]:
    """Yield blocks of columns, as views."""
    size = _CPU_COLUMNS if x[0].device.type == "cpu" else x[0].shape[-1]
    yield from zip(*(part.split(max(size, 1), dim=-1) for part in x))


def _contiguous_copy(x: Nodes) -> Nodes:
    return tuple(part.clone(memory_format=torch.contiguous_format) for part in x)


def _side_by_side(blocks: list[Nodes]) -> Nodes:
    if len(blocks) == 1:
        return blocks[0]
    return tuple(torch.cat(side, dim=-1) for side in zip(*blocks))


def chebyshev_terms(graph, q: Nodes, degree: int) -> Iterator[tuple[int, Nodes]]:
    r"""Yield :math:`(s_k, s_k T_k(S) q)` for k = 0 .. degree, :math:`s_k` 1 or -1.

    Each, q itself too, is overwritten two steps later. With :math:`v_k = s_k t_k`,
    :math:`v_k = v_{k-2} + 2 s_{k-2} s_{k-1} \hat A v_{k-1}` where :math:`s_k = -s_{k-2}`.
    """
    yield 1, q
    if degree == 0:
        return
    signs, before, current = [1, -1], q, graph.product(q)
    yield -1, current
    for k in range(2, degree + 1):
        alpha = 2 * signs[k - 2] * signs[k - 1]
        before, current = current, graph.add_product(before, current, alpha)
        signs.append(-signs[k - 2])
        yield signs[k], current


def _filtered(ctx, q: Nodes) -> Nodes:
    """B_m = sum_k c_mk t_k on the rows asked for. Shapes: q (U, w), (I, w); (M, B, w) each."""
    lengths = (size if rows is None else len(rows) for size, rows in zip(ctx.sizes, ctx.rows))
    bands = tuple(part.new_zeros(len(ctx.c), n, part.shape[1]) for n, part in zip(lengths, q))
    for order, (sign, t) in enumerate(chebyshev_terms(ctx.graph, q, len(ctx.c[0]) - 1)):
        for side, part, rows in zip(bands, t, ctx.rows):
            part = part if rows is None else part.index_select(0, rows)
            for m, c in _used(ctx, order):
                side[m].add_(part, alpha=sign * c)
    return bands


def _used(ctx, order: int) -> list[tuple[int, float]]:
    """Return the bands that use an order, with their coefficients."""
    return [(m, c[order]) for m, c in enumerate(ctx.c) if c[order]]


def _clenshaw(ctx, G: Nodes) -> Nodes:
    r"""b_k = u_k + 2 S b_{k+1} - b_{k+2}, u_k = sum_m c_mk G_m; the gradient is u_0 + S b_1 - b_2.

    Carried as :math:`w_k = s_k b_k` with :math:`s_k = -s_{k+2}`, so that :math:`w_k = w_{k+2} - 2
    s_k s_{k+1} \hat A w_{k+1} + s_k u_k`.

    Shapes: G pair of (M, B, w); result pair of (U, w), (I, w).
    """

    def add_u(out: Nodes, order: int) -> Nodes:
        for total, g, rows in zip(out, G, ctx.rows):
            # On some rows: first summed up in cache, then one scattered pass.
            u = total if rows is None else torch.zeros_like(g[0])
            for m, c in _used(ctx, order):
                u.add_(g[m], alpha=_clenshaw_sign(order) * c)
            if rows is not None:
                total.index_add_(0, rows, u)
        return out

    degree = len(ctx.c[0]) - 1
    after = tuple(g.new_zeros(size, g.shape[2]) for g, size in zip(G, ctx.sizes))
    if degree == 0:
        return add_u(after, 0)
    current = add_u(tuple(map(torch.zeros_like, after)), degree)
    for order in range(degree - 1, -1, -1):
        alpha = -(2 if order else 1) * _clenshaw_sign(order) * _clenshaw_sign(order + 1)
        following = ctx.graph.add_product(after, current, alpha)
        after, current = current, add_u(following, order)
    return current


def _clenshaw_sign(order: int) -> int:
    return 1 if order % 4 < 2 else -1
