"""Indices for approximate search by inner product, with FAISS, and how well they do."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from recbole_ssr.errors import UserError, nearest
from recbole_ssr.files import in_one_step

KINDS = ("flat", "hnsw")
NEIGHBOURS, BUILD_DEPTH, SEARCH_DEPTH = 32, 200, 128  # of HNSW: M, efConstruction, efSearch
_QUERIES, _AT = 1000, 20


class Recall(NamedTuple):
    """Share of the `k` exactly best items that an index finds, mean over `users` users."""

    kind: str
    recall: float
    k: int
    users: int


def kinds_of(text: str) -> list[str]:
    """Return the kinds in "flat,hnsw". Raises UserError for another one, and without faiss."""
    kinds = [kind.strip() for kind in text.split(",")]
    for kind in kinds:
        if kind not in KINDS:
            raise UserError(f"index is {kind!r}; choose {' or '.join(KINDS)}."
                            f"{nearest(kind, KINDS)}")
    _faiss()  # before anything is computed
    return kinds


def name_of(kind: str) -> str:
    """Return the name of an index's file."""
    return f"items.{kind}.faiss"


def write_index(folder: Path, kind: str, user: np.ndarray, item: np.ndarray) -> Recall:
    """Write `items.<kind>.faiss`, whose id r is row r of the items, and measure its recall.

    Users are taken evenly from all of them. Shapes: user (U, D), item (I, D) float32. Raises
    UserError without faiss.
    """
    faiss = _faiss()
    index = faiss.IndexFlatIP(item.shape[1])
    if kind == "hnsw":
        index = faiss.IndexHNSWFlat(item.shape[1], NEIGHBOURS, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction, index.hnsw.efSearch = BUILD_DEPTH, SEARCH_DEPTH
    index.add(np.ascontiguousarray(item))
    with in_one_step(folder / name_of(kind)) as draft:
        faiss.write_index(index, str(draft))
    return _recall(index, kind, user, item)


def _faiss():
    try:
        import faiss
    except ImportError:
        raise UserError('an index needs FAISS: pip install "recbole_ssr[ann]"') from None
    return faiss


def _recall(index, kind: str, user: np.ndarray, item: np.ndarray) -> Recall:
    chosen = np.linspace(0, len(user) - 1, min(_QUERIES, len(user))).astype(int)
    k = min(_AT, len(item))
    queries = np.ascontiguousarray(user[chosen])
    nearest = index.search(queries, k)[1]
    hits = 0
    for query, near in zip(queries, nearest):
        best = np.argpartition(-(item @ query), k - 1)[:k]
        hits += len(np.intersect1d(best, near))
    return Recall(kind, hits / (k * len(chosen)), k, len(chosen))
