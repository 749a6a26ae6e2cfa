"""The closed forms as dense formulas, from a matrix of interactions and one of features."""

import numpy as np


def standardised(scores):
    deviation = scores.std(1, ddof=1, keepdims=True).clip(1e-9)
    return (scores - scores.mean(1, keepdims=True)) / deviation


def ease(R, F, ridge, beta):
    P = np.linalg.inv(R.T @ R + beta * F @ F.T + ridge * np.eye(R.shape[1]))
    return R @ (np.eye(len(P)) - P / np.diag(P))


def normalised(R):
    scale = np.sqrt(np.outer(R.sum(1), R.sum(0)))
    return np.divide(R, scale, out=np.zeros_like(R), where=R > 0)


def linear(R):
    return R @ normalised(R).T @ normalised(R)


def low_pass(R, modes):
    """By the eigenvectors of the items' graph with the largest eigenvalues."""
    N = normalised(R)
    V = np.linalg.eigh(N.T @ N)[1][:, ::-1][:, :modes]
    root = np.sqrt(R.sum(0))
    inverse = np.divide(1, root, out=np.zeros_like(root), where=root > 0)
    return R @ (inverse[:, None] * V @ V.T * root)


def cosines(X):
    """Cosines of all pairs of rows, none of a row with itself or of an empty one."""
    norm = np.linalg.norm(X, axis=1)
    C = X @ X.T / np.maximum(np.outer(norm, norm), 1e-12)
    C[norm == 0], C[:, norm == 0] = 0, 0
    np.fill_diagonal(C, -np.inf)
    return C


def knn(X, k, here=None):
    """W (I, I): column j holds the cosines of the k items nearest to j; `here` may be one."""
    n = len(X)
    here = np.ones(n, bool) if here is None else here
    C, W = cosines(X), np.zeros((n, n))
    C[~here], C[:, ~here] = -np.inf, -np.inf
    for j in range(n):
        near = [i for i in np.argsort(-C[:, j], kind="stable")[:k] if np.isfinite(C[i, j])]
        W[near, j] = C[near, j]
    return W
