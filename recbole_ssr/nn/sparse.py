"""Differentiable products of constant sparse matrices with dense ones."""

from __future__ import annotations

from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from recbole_ssr.nodes import Nodes
from recbole_ssr.products import csr_product


def sparse_product(x: Tensor, matrix: Tensor, transpose: Tensor) -> Tensor:
    """Return matrix x for a constant CSR `matrix` with its `transpose` in CSR.

    The transpose is kept because a CSR kernel runs along rows; torch's own backward would convert
    at every step.

    Shapes: x (J, D); matrix (I, J); transpose (J, I); result (I, D).
    """
    return _SparseProduct.apply(x, matrix, transpose)


def add_sparse_product(x: Tensor, matrix: Tensor, transpose: Tensor) -> Tensor:
    """Return x + matrix x; see :func:`sparse_product`.

    Shapes: x (I, D); matrix, transpose (I, I); result (I, D).
    """
    return _AddSparseProduct.apply(x, matrix, transpose)


def adjacency_product(graph, x: Nodes) -> Nodes:
    r"""Return :math:`\hat A x` for the symmetric adjacency of a bipartite graph.

    `graph` is anything with ``product(x)``, as BipartiteGraph.

    Shapes: x and result pairs of (U, D) and (I, D).
    """
    return _AdjacencyProduct.apply(*x, graph)


class _SparseProduct(Function):
    @staticmethod
    def forward(ctx, x, matrix, transpose):
        ctx.transpose = transpose
        return csr_product(matrix, x)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        return csr_product(ctx.transpose, grad), None, None


class _AddSparseProduct(Function):
    @staticmethod
    def forward(ctx, x, matrix, transpose):
        ctx.transpose = transpose
        return x + csr_product(matrix, x)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        return grad + csr_product(ctx.transpose, grad), None, None


class _AdjacencyProduct(Function):
    @staticmethod
    def forward(ctx, user, item, graph):
        ctx.graph = graph
        return graph.product((user, item))

    @staticmethod
    @once_differentiable
    def backward(ctx, *grad):
        # A symmetric matrix is its own transpose.
        return *ctx.graph.product(grad), None

