r"""Filters given by their gains on known modes of the bipartite graph.

A singular triple (p, s, q) of the normalised R gives two modes of the Laplacian: (p, q) / sqrt 2
at lambda = 1 - s and (p, -q) / sqrt 2 at lambda = 1 + s. A filter with gains a on the former, b on
the latter and c on everything else acts on a signal (u, i) as

.. math::
    \alpha = P^\top u,\quad \beta = Q^\top i,\qquad
    u' = c\,u + P\left[\left(\tfrac{a+b}{2} - c\right)\alpha + \tfrac{a-b}{2}\,\beta\right],\qquad
    i' = c\,i + Q\left[\left(\tfrac{a+b}{2} - c\right)\beta + \tfrac{a-b}{2}\,\alpha\right]

and is symmetric: the same formula serves forward and backward.

Shapes: U users, I items, r triples, d width of a signal, C signals, D = C d, M bands, B rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from recbole_ssr.constants import Constants
from recbole_ssr.nodes import Nodes


class Gains(NamedTuple):
    """Gains of M filters. Shapes: a, b (M, r); c (M,)."""

    a: Tensor
    b: Tensor
    c: Tensor


def mode_rows(
    factors: Constants,
    gains: Gains,
    signals: Sequence[Nodes],
    users: Tensor | None = None,
    items: Tensor | None = None,
    senders: int | None = None,
) -> Nodes:
    """Return the filtered signals on some nodes.

    Only the first `senders` users, all where it is None, enter the modes; the others receive.
    Only modes on which a filter differs from its c are computed with, and only the rows asked for.

    Shapes: factors P (U, r), s (r,), Q (I, r); gains not differentiated; signals: C pairs of
    (U, d) and (I, d); users (Bu,), items (Bi,) ids without repetition, None for all; result a
    pair of (M, Bu, D) and (M, Bi, D), the signals side by side.
    """
    flat = [part for signal in signals for part in signal]
    return _ModeRows.apply(factors, gains, users, items, senders, *flat)


def mode_energies(factors: Constants, signal: Nodes) -> tuple[Tensor, Tensor, Tensor]:
    """Return the energy of a signal in every mode and in the rest of the spectrum.

    Shapes: signal (U, D), (I, D); results (r,) for 1 - s, (r,) for 1 + s, () for the rest;
    float64 on the CPU.
    """
    alpha, beta = factors["P"].T @ signal[0], factors["Q"].T @ signal[1]
    low, high = (
        (mode.square().sum(1, dtype=torch.float64) / 2).cpu()
        for mode in (alpha + beta, alpha - beta)
    )
    total = sum(part.square().sum(dtype=torch.float64) for part in signal).cpu()
    return low, high, (total - low.sum() - high.sum()).clamp(min=0)


class _ModeRows(Function):
    @staticmethod
    def forward(ctx, factors, gains, users, items, senders, *flat):
        ctx.sides, ctx.rows = (factors["P"], factors["Q"]), (users, items)
        ctx.senders = senders, None
        ctx.same = (gains.a + gains.b) / 2 - gains.c[:, None]
        ctx.cross = (gains.a - gains.b) / 2
        ctx.c, ctx.spans = gains.c.tolist(), _spans(ctx.same, ctx.cross)
        d, width = flat[0].shape[1], flat[0].shape[1] * len(flat) // 2
        sides = [_select(side, rows) for side, rows in zip(ctx.sides, ctx.rows)]
        bands = tuple(flat[0].new_zeros(len(ctx.c), len(side), width) for side in sides)
        for k in range(len(flat) // 2):
            channels, signal = slice(k * d, (k + 1) * d), flat[2 * k : 2 * k + 2]
            alpha, beta = (side[:n].T @ part[:n]
                           for side, part, n in zip(ctx.sides, signal, ctx.senders))
            for m, (c, span) in enumerate(zip(ctx.c, ctx.spans)):
                mixed = _mix(ctx, m, span, alpha[span], beta[span])
                for band, side, part, rows, x in zip(bands, sides, signal, ctx.rows, mixed):
                    out = band[m, :, channels]
                    if c:
                        out.add_(_select(part, rows), alpha=c)
                    out.addmm_(side[:, span], x)
        return bands

    @staticmethod
    @once_differentiable
    def backward(ctx, *grad):
        width = grad[0].shape[2]
        d = width // ((len(ctx.needs_input_grad) - 5) // 2)
        sides = [_select(side, rows) for side, rows in zip(ctx.sides, ctx.rows)]
        gradients = []
        for start in range(0, width, d):
            G = [g[:, :, start : start + d] for g in grad]
            totals = [g.new_zeros(side.shape[1], d) for g, side in zip(G, sides)]
            for m, span in enumerate(ctx.spans):
                alpha, beta = (side[:, span].T @ g[m] for side, g in zip(sides, G))
                for total, x in zip(totals, _mix(ctx, m, span, alpha, beta)):
                    total[span].add_(x)
            for side, total, g, rows, n in zip(ctx.sides, totals, G, ctx.rows, ctx.senders):
                gradient = side @ total
                if n is not None:
                    gradient[n:] = 0
                for m, c in enumerate(ctx.c):
                    if c and rows is None:
                        gradient.add_(g[m], alpha=c)
                    elif c:
                        gradient.index_add_(0, rows, g[m], alpha=c)
                gradients.append(gradient)
        return None, None, None, None, None, *gradients


def _mix(ctx, m: int, span: slice, alpha: Tensor, beta: Tensor) -> Nodes:
    """Return what P and Q are multiplied with in band m. Shapes: alpha, beta (span, d)."""
    same, cross = ctx.same[m, span, None], ctx.cross[m, span, None]
    return same * alpha + cross * beta, same * beta + cross * alpha


def _spans(same: Tensor, cross: Tensor) -> list[slice]:
    """Return per band the range of modes outside of which both gains vanish.

    Modes come in the order of their singular values, so that an interval of the spectrum is a
    range of them, and a slice costs no copy.
    """
    used = ((same != 0) | (cross != 0)).cpu()
    spans = []
    for row in used:
        places = row.nonzero()
        spans.append(slice(places[0].item(), places[-1].item() + 1) if len(places) else slice(0))
    return spans


def _select(x: Tensor, rows: Tensor | None) -> Tensor:
    return x if rows is None else x.index_select(0, rows)
