"""Products of sparse matrices with dense ones."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def csr_product(matrix: Tensor, x: Tensor) -> Tensor:
    """Return matrix x.

    On a CPU a row of the result is a bag of rows of x, for which torch has a vectorised kernel that
    fetches ahead: a half to a third of the time of its CSR kernel for 32 columns and more.

    Shapes: matrix (I, J) CSR; x (J, D); result (I, D), contiguous. Not differentiable.

    >>> csr_product(torch.eye(2).to_sparse_csr(), torch.ones(2, 1))
    tensor([[1.],
            [1.]])
    """
    if x.device.type != "cpu" or not x.numel():
        return matrix @ x
    return F.embedding_bag(
        matrix.col_indices(), x.detach().contiguous(), matrix.crow_indices(), mode="sum",
        per_sample_weights=matrix.values(), include_last_offset=True,
    )


def add_csr_product(out: Tensor, matrix: Tensor, x: Tensor, alpha: float = 1.0) -> Tensor:
    r"""Overwrite `out` with out + :math:`\alpha` matrix x and return it.

    Shapes: as in :func:`csr_product`, out like its result.
    """
    if x.device.type != "cpu":
        return out.addmm_(matrix, x, alpha=alpha)
    return out.add_(csr_product(matrix, x), alpha=alpha)
