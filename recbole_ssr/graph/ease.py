r"""EASE: the item-item weights of a ridge regression of every item on all others.

Harald Steck, Embarrassingly shallow autoencoders for sparse data (WWW 2019).

.. math::
    B = \arg\min_{\operatorname{diag} B = 0} \|R - R B\|^2 + \beta \|F^\top - F^\top B\|^2
        + \lambda \|B\|^2 = 1 - P \operatorname{diag}(P)^{-1},\qquad
    P = (R^\top R + \beta F F^\top + \lambda)^{-1}

Shapes: R (U, I) scipy sparse, the interactions as ones; F (I, f) features; B, P (I, I).
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from scipy.linalg import lapack

from recbole_ssr.errors import UserError

_ROWS_AT_ONCE = 256


def ease(R: sp.csr_matrix, F: np.ndarray, ridge: float, beta: float,
         n_known: int | None = None) -> np.ndarray:
    """Return the item-item weights of EASE, the features as further rows of R.

    One I x I matrix of float32 is all that this holds: sums, Cholesky factor and inverse take
    turns in it. Items from `n_known` on are new, without interactions: each is regressed on known
    items alone, :math:`\beta P F F_n^\top`, and nothing on it. Raises UserError for a ridge with
    which the system cannot be solved.

    Shapes: result (I, I) float32 with a zero diagonal.

    >>> R = sp.csr_matrix([[1.0, 1, 0], [1, 1, 0], [0, 0, 1]])
    >>> ease(R, np.zeros((3, 1), np.float32), ridge=1, beta=0).round(2)[:2, :2]
    array([[0.  , 0.67],
           [0.67, 0.  ]], dtype=float32)
    """
    R, new, F = R[:, :n_known], F[n_known:] if n_known else F[:0], F[:n_known]
    G = (R.T @ R).astype(np.float32).toarray(order="C")
    for rows in _blocks(len(G)):
        G[rows] += (np.float32(beta) * F[rows]) @ F.T
    diagonal = np.diag_indices_from(G)
    G[diagonal] += ridge
    P = _inverse(G, ridge)
    of_new = np.float32(beta) * (P @ F) @ new.T
    B = np.divide(P, -P[diagonal], out=P)
    B[diagonal] = 0
    if not len(new):
        return B
    return np.pad(np.concatenate([B, of_new], axis=1), ((0, len(new)), (0, 0)))


def _inverse(G: np.ndarray, ridge: float) -> np.ndarray:
    """Invert a symmetric positive definite matrix in its own memory."""
    # LAPACK counts along columns: the upper triangle of its view is the lower one of G.
    A, failed = lapack.spotrf(G.T, lower=False, clean=False, overwrite_a=True)
    if failed:
        raise UserError(f"ridge is {ridge}, with which the equations of EASE have no unique "
                        "solution in float32; make it larger, for instance 30")
    A, _ = lapack.spotri(A, lower=False, overwrite_c=True)
    P = A.T
    for rows in _blocks(len(P)):
        below, square = slice(rows.stop, None), P[rows, rows]
        P[rows, rows] = np.tril(square) + np.tril(square, -1).T
        P[rows, below] = P[below, rows].T
    return P


def _blocks(n: int) -> list[slice]:
    return [slice(start, min(start + _ROWS_AT_ONCE, n)) for start in range(0, n, _ROWS_AT_ONCE)]
