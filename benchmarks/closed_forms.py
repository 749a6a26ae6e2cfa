r"""Closed forms: what linear algebra alone reaches on the interactions and features.

R is the (U, I) matrix of training interactions, :math:`\hat R` its symmetric normalisation, V the k
right singular vectors of :math:`\hat R` with the largest singular values, D the items' degrees, F
the items' features, side by side.

.. math::
    \text{popularity}:\quad & s_{ui} = d_i \\
    \text{GF-CF}:\quad & s = R\,(\hat R^\top \hat R + \alpha D^{-1/2} V V^\top D^{1/2}) \\
    \text{EASE+features}:\quad & s = R\,B,\qquad B = 1 - P \operatorname{diag}(P)^{-1},\qquad
        P = (R^\top R + \beta F F^\top + \lambda)^{-1}

Shen et al., How powerful is graph convolution for recommendation? (CIKM 2021); Steck,
Embarrassingly shallow autoencoders for sparse data (WWW 2019).

    python benchmarks/closed_forms.py --data <folder>
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import scipy.linalg
import scipy.sparse as sp
import torch
from datasets import convert
from protocol import Split, data_config, load_split, measure
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import svds
from torch import Tensor

_SVD_SEED = 0
_EASE = {"kind": "ease", "ridge": 30.0, "beta": 100.0}
# Round weights after a coarse look at the validation part of TikTok; they are not its optimum. The
# sum as it is gains up to alpha 3 (.1098 there); standardised, .5 and 1 are level.
SETTINGS: dict[str, dict] = {
    "popularity": {"kind": "popularity"},
    "GF-CF": {"kind": "gf-cf", "modes": 256, "alpha": 3.0},
    "EASE+features": _EASE,
    "EASE+features+low": {**_EASE, "modes": 256, "alpha": 1.0},
    "EASE+features+low, std.": {**_EASE, "modes": 256, "alpha": 0.5, "standardise": True},
}


def fit(split: Split, kind: str, **options) -> Callable[[Tensor], Tensor]:
    """Return the scores of a closed form, as a function of user ids (B,) to (B, I).

    `modes` and `alpha` add the ideal low-pass filter of that many modes and that weight; with
    `standardise` the parts are first brought to mean 0 and deviation 1 over each user's items.
    """
    R = interactions(split)
    if kind == "popularity":
        degree = torch.from_numpy(np.asarray(R.sum(0)).ravel())
        return lambda users: degree.expand(len(users), -1)
    if kind == "gf-cf":
        P = normalised(R)
        item_item = (P.T @ P).tocsr()
    elif kind == "ease":
        F = np.concatenate([f.numpy() for f in split.features.values()], axis=1)
        item_item = ease(R, F, options["ridge"], options["beta"])
    else:
        raise ValueError(f"there is no closed form {kind!r}; choose popularity, gf-cf or ease")
    if not options.get("modes"):
        return lambda users: _dense(R[users.numpy()] @ item_item)
    low, alpha = low_pass(R, options["modes"]), options["alpha"]
    scaled = _standardised if options.get("standardise") else (lambda scores: scores)
    return lambda users: (scaled(_dense(R[users.numpy()] @ item_item))
                          + alpha * scaled(low(users)))


def interactions(split: Split) -> sp.csr_matrix:
    """Return R, float64, an interaction that occurs twice once."""
    users, items = (side.numpy() for side in split.train)
    R = sp.csr_matrix((np.ones(len(users)), (users, items)), (split.n_users, split.n_items))
    R.data[:] = 1
    return R


def normalised(R: sp.csr_matrix) -> sp.csr_matrix:
    """Return R with every entry divided by the root of the degrees of its user and item."""
    by_user, by_item = (_root(np.asarray(R.sum(axis)).ravel(), -0.5) for axis in (1, 0))
    return (sp.diags(by_user) @ R @ sp.diags(by_item)).tocsr()


def low_pass(R: sp.csr_matrix, modes: int) -> Callable[[Tensor], Tensor]:
    """Return the ideal low-pass filter of GF-CF on the k lowest modes of the items' graph."""
    Vt = lowest_modes(normalised(R), modes)
    degree = np.asarray(R.sum(0)).ravel()
    X = (R @ sp.diags(_root(degree, -0.5)) @ Vt.T).astype(np.float32)
    Vt = (Vt * _root(degree, 0.5)).astype(np.float32)
    return lambda users: torch.from_numpy(X[users.numpy()] @ Vt)


def lowest_modes(P: sp.csr_matrix, k: int) -> np.ndarray:
    """Return the right singular vectors of the k largest singular values, (k, I).

    Every connected component of the graph has the singular value 1 once. An iterative solver that
    is given the whole graph finds some of these copies only, and which ones is up to rounding; so
    each component is solved for itself. TikTok's graph has 120 of them.
    """
    n_users = P.shape[0]
    label = connected_components(sp.bmat([[None, P], [P.T, None]]), directed=False)[1]
    values, vectors = [], []
    for component in np.unique(label[:n_users][P.getnnz(axis=1) > 0]):
        rows, columns = (np.flatnonzero(side == component)
                         for side in (label[:n_users], label[n_users:]))
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


def ease(R: sp.csr_matrix, F: np.ndarray, ridge: float, beta: float) -> np.ndarray:
    """Return the item-item weights of EASE, the features as further rows of R.

    Shapes: R (U, I); F (I, f); result (I, I) float32 with a zero diagonal.
    """
    G = (R.T @ R).toarray().astype(np.float32)
    G += beta * (F @ F.T).astype(np.float32)
    G[np.diag_indices_from(G)] += ridge
    P = scipy.linalg.inv(G, overwrite_a=True)
    B = P / -np.diag(P)
    B[np.diag_indices_from(B)] = 0
    return B


def _root(degree: np.ndarray, power: float) -> np.ndarray:
    """Return degree^power, and 0 for nodes without interactions."""
    return np.where(degree > 0, degree, 1) ** power * (degree > 0)


def _standardised(scores: Tensor) -> Tensor:
    return (scores - scores.mean(1, keepdim=True)) / scores.std(1, keepdim=True).clamp(min=1e-9)


def _dense(x) -> Tensor:
    return torch.from_numpy((x.toarray() if sp.issparse(x) else x).astype(np.float32))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with tiktok/")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        settings = convert("tiktok", arguments.data, Path(folder))
        split = load_split(data_config("tiktok", settings))
    print(f"{'':24s}valid R@20  test R@20  test N@20")
    for name, options in SETTINGS.items():
        scores_of = fit(split, **options)
        valid, test = (measure(scores_of, split, part).metrics for part in ("valid", "test"))
        print(f"{name:24s}{valid['recall@20']:10.4f} {test['recall@20']:10.4f} "
              f"{test['ndcg@20']:10.4f}", flush=True)


if __name__ == "__main__":
    main()
