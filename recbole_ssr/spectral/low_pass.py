r"""The ideal low-pass filter of GF-CF: a projection on the lowest modes of the items' graph.

Shapes: U users, I items; R (U, I) scipy sparse, the interactions as ones; k modes.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import svds

_SVD_SEED = 0  # of the solver's start vector, on which nothing but rounding depends


def normalised(R: sp.csr_matrix) -> sp.csr_matrix:
    """Return R with every entry divided by the root of the degrees of its user and item.

    >>> normalised(sp.csr_matrix([[1.0, 1], [0, 1]])).toarray().round(3)
    array([[0.707, 0.5  ],
           [0.   , 0.707]])
    """
    by_user, by_item = (_power(np.asarray(R.sum(axis)).ravel(), -0.5) for axis in (1, 0))
    return (sp.diags(by_user) @ R @ sp.diags(by_item)).tocsr()


def low_pass_factors(R: sp.csr_matrix, modes: int) -> tuple[np.ndarray, np.ndarray]:
    r"""Return the factors of :math:`D^{-1/2} V V^\top D^{1/2}`, D the items' degrees.

    V are the k right singular vectors of the normalised R with the largest singular values.

    Shapes: results (I, k) and (k, I), float32.
    """
    Vt = lowest_modes(normalised(R), modes)
    degree = np.asarray(R.sum(0)).ravel()
    left, right = Vt * _power(degree, -0.5), Vt * _power(degree, 0.5)
    return np.ascontiguousarray(left.T, dtype=np.float32), right.astype(np.float32)


def lowest_modes(P: sp.csr_matrix, k: int) -> np.ndarray:
    """Return the right singular vectors of the k largest singular values, (k, I), fewer if need be.

    Every connected component of the graph has the singular value 1 once. An iterative solver that
    is given the whole graph finds some of these copies only, and which ones is up to rounding; so
    each component is solved for itself. TikTok's graph has 120 of them.
    """
    n_users = P.shape[0]
    label = connected_components(sp.bmat([[None, P], [P.T, None]]), directed=False)[1]
    by_user, by_item = label[:n_users], label[n_users:]
    values, vectors = [], []
    for component in np.unique(by_user[P.getnnz(axis=1) > 0]):
        rows, columns = (np.flatnonzero(side == component) for side in (by_user, by_item))
        s, Vt = _largest(P[rows][:, columns], k)
        values.append(s)
        vectors.append(sp.csr_matrix(Vt) @ _selection(columns, P.shape[1]))
    order = np.argsort(-np.concatenate(values), kind="stable")[:k]
    return sp.vstack(vectors).tocsr()[order].toarray()


def _largest(block: sp.csr_matrix, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the largest singular values and their right vectors, all of them of small blocks."""
    smaller = min(block.shape)
    if smaller <= k + 1:  # beyond what the iterative solver takes
        return np.linalg.svd(block.toarray(), full_matrices=False)[1:]
    v0 = np.random.default_rng(_SVD_SEED).standard_normal(smaller)
    return svds(block, k=k, v0=v0)[1:]


def _selection(columns: np.ndarray, n: int) -> sp.csr_matrix:
    """Return the matrix that puts the columns of a block into their places of n."""
    m = len(columns)
    return sp.csr_matrix((np.ones(m), (np.arange(m), columns)), shape=(m, n))


def _power(degree: np.ndarray, power: float) -> np.ndarray:
    """Return degree^power, and 0 for nodes without interactions."""
    return np.where(degree > 0, degree, 1) ** power * (degree > 0)
