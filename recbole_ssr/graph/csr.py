"""CSR matrices from coordinates."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from recbole_ssr.int32 import check_int32


def csr_tensor(rows: Tensor, cols: Tensor, values: Tensor, shape: tuple[int, int]) -> Tensor:
    """Build a CSR matrix with int32 indices from coordinates; duplicates are summed.

    Raises UserError for more entries, or columns, than int32 can number.

    Shapes: rows, cols, values (E,); result `shape`. Sparse kernels of the CPU take int32 without
    converting, and half the index memory.

    >>> csr_tensor(torch.tensor([0, 0]), torch.tensor([1, 1]), torch.ones(2), (1, 2)).to_dense()
    tensor([[0., 2.]])
    """
    check_int32("entries of a sparse matrix", len(values))
    check_int32("columns of a sparse matrix", shape[1])
    place = torch.stack([rows, cols]).long()
    with warnings.catch_warnings():
        # Neither says anything about these tensors; PyTorch 2.11 gives the second one on a GPU.
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support")
        warnings.filterwarnings("ignore", message="Sparse invariant checks")
        coo = torch.sparse_coo_tensor(place, values, shape, check_invariants=True).coalesce()
        row, col = coo.indices()
        crow = torch.zeros(shape[0] + 1, dtype=torch.int32, device=values.device)
        crow[1:] = torch.bincount(row, minlength=shape[0]).cumsum(0)
        return torch.sparse_csr_tensor(
            crow, col.int(), coo.values(), shape, check_invariants=False
        )
