"""Differentiable product of a constant sparse matrix with a dense one."""

from __future__ import annotations

from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable


def add_sparse_product(x: Tensor, matrix: Tensor, transpose: Tensor) -> Tensor:
    """Return x + matrix x for a constant CSR `matrix` with its `transpose` in CSR.

    The transpose is kept because a CSR kernel runs along rows; torch's own backward would convert
    at every step.

    Shapes: x (I, D); matrix, transpose (I, I); result (I, D).
    """
    return _AddSparseProduct.apply(x, matrix, transpose)


class _AddSparseProduct(Function):
    @staticmethod
    def forward(ctx, x, matrix, transpose):
        ctx.transpose = transpose
        return x.addmm(matrix, x)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        return grad.addmm(ctx.transpose, grad.contiguous()), None, None
