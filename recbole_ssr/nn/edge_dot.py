r"""One inner product per edge of a sparse pattern.

.. math::
    s_e = \langle x_{row(e)}, y_{col(e)} \rangle,\qquad
    \frac{\partial}{\partial x} = S(g)\, y,\quad
    \frac{\partial}{\partial y} = S(g)^\top x

S(g) is the sparse matrix of the edges' gradients. No row is ever gathered for an edge, neither
forward nor backward: that would be E x D numbers, of which a CPU's caches hold few.

Shapes: E edges, (n, m) the pattern, D width.
"""

from __future__ import annotations

from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from recbole_ssr.nn.edges import EdgePattern, sampled_product


def edge_dot(pattern: EdgePattern, x: Tensor, y: Tensor) -> Tensor:
    """Return the inner product of both ends of every edge, differentiable in both.

    Shapes: x (n, D) for the pattern's rows; y (m, D) for its columns; result (E,).
    """
    return _EdgeDot.apply(x, y, pattern)


class _EdgeDot(Function):
    @staticmethod
    def forward(ctx, x, y, pattern):
        ctx.pattern = pattern
        ctx.save_for_backward(x, y)
        return sampled_product(pattern, x, y)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        x, y = ctx.saved_tensors
        by_x = ctx.pattern.matrix(grad) @ y if ctx.needs_input_grad[0] else None
        by_y = ctx.pattern.transpose(grad) @ x if ctx.needs_input_grad[1] else None
        return by_x, by_y, None
