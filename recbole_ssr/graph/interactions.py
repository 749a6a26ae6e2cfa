"""The interactions as a matrix of ones, and the cosine of items by who interacted with them."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from recbole_ssr.graph.nearest import nearest_by_product


def interaction_matrix(users: Tensor, items: Tensor, n_users: int, n_items: int) -> sp.csr_matrix:
    """Return R, float64, an interaction that occurs twice once.

    Shapes: users, items (E,) integer; result (U, I).

    >>> interaction_matrix(torch.tensor([0, 0, 1]), torch.tensor([1, 1, 0]), 2, 2).toarray()
    array([[0., 1.],
           [1., 0.]])
    """
    pairs = users.numpy(), items.numpy()
    R = sp.csr_matrix((np.ones(len(users)), pairs), (n_users, n_items))
    R.data[:] = 1
    return R


def interaction_knn(R: sp.csr_matrix, k: int, block: int = 2048) -> tuple[Tensor, Tensor, Tensor]:
    """Return the k items most similar to every item by the cosine of their columns of R.

    The item itself is none of them, nor is one that shares no user with it. Among equal cosines the
    lower id comes first, so that the result does not depend on the block.

    Shapes: R (U, I); results (E,): item, neighbour, cosine (float32), sorted by item.

    >>> R = sp.csr_matrix([[1.0, 1, 0], [1, 1, 1]])
    >>> item, neighbour, cosine = interaction_knn(R, k=1)
    >>> neighbour  # 0 and 1 share both users
    tensor([1, 0, 0])
    """
    degree = np.asarray(R.sum(0)).ravel()
    unit = (R @ sp.diags(np.where(degree > 0, degree, 1) ** -0.5)).tocsr()
    rows, cols, values = nearest_by_product(unit.T.tocsr(), unit, k, block)
    return (torch.from_numpy(rows.astype(np.int64)), torch.from_numpy(cols.astype(np.int64)),
            torch.from_numpy(values.astype(np.float32)))
