"""What a dataset is like: pure functions of ids, times and stored vectors.

Users and items are numbered from 0 without gaps; [PAD] is none of them.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import numpy as np

from recbole_ssr.data.feature_files import row_blocks
from recbole_ssr.distinct import distinct


def powers_of_two(degrees: np.ndarray) -> list[tuple[int, int, int]]:
    """Count the nodes of degree 0, 1, 2 to 3, 4 to 7 and so on.

    Shapes: degrees (n,), whole numbers. Returns (lowest, highest, nodes) from the first to the last
    interval that has any, empty ones in between included.
    """
    # frexp is exact: d = m 2^e with m in [1/2, 1), so that e is 0 for 0, 1 for 1, 2 for 2 and 3.
    exponents = np.frexp(np.asarray(degrees, dtype=np.float64))[1]
    counts = np.trim_zeros(np.bincount(exponents), "f").tolist()
    first = int(exponents.min()) if counts else 0
    return [(2**e // 2, 2**e - 1, n) for e, n in enumerate(counts, start=first)]


def pairs(users: np.ndarray, items: np.ndarray, n_items: int) -> np.ndarray:
    """Return (n,) int64 codes that are equal where user and item are."""
    return users.astype(np.int64) * n_items + items


def repeats(codes: np.ndarray) -> int:
    """Return how many of the codes came before."""
    return len(codes) - len(distinct(codes))


def shared(codes: np.ndarray, others: np.ndarray) -> int:
    """Return how many distinct codes occur in both."""
    return len(np.intersect1d(distinct(codes), distinct(others), assume_unique=True))


def unseen(ids: np.ndarray, train_ids: np.ndarray) -> np.ndarray:
    """Return which ids (n,) training lacks, a mask (n,). Shapes: train_ids (m,)."""
    return ~np.isin(ids, train_ids)


def share_older(users: np.ndarray, times: np.ndarray, train_users: np.ndarray,
                train_times: np.ndarray) -> float:
    """Return the share of interactions older than the newest one of the same user in training.

    Users without training interactions do not count; nan if there are no others.
    Shapes: users, times (n,); train_users, train_times (m,).
    """
    most = int(max(users.max(initial=-1), train_users.max(initial=-1))) + 1
    newest = np.full(most, -np.inf)
    np.maximum.at(newest, train_users, train_times)
    bound = newest[users]
    trained = bound > -np.inf
    return float((times < bound)[trained].mean()) if trained.any() else float("nan")


class Vectors(NamedTuple):
    """Euclidean norms (n,) of the rows, and how many are zero or repeat another one before.

    Zero rows are no repeats.
    """

    norms: np.ndarray
    zero: int
    repeated: int


def vectors(stored: np.ndarray) -> Vectors:
    """Look at a matrix (n, dim), which may be mapped, a block at a time.

    Rows are compared as float32, as models receive them, by a hash of 64 bits: among a million
    rows, the chance to take two different ones for equal is 3e-8.
    """
    n, dim = stored.shape
    norms, hashes = np.empty(n), np.empty(n, dtype=np.uint64)
    for block in row_blocks(n, dim):
        # A file of column-major order gives rows with gaps, which cannot be hashed.
        rows = np.ascontiguousarray(stored[block], dtype=np.float32)
        norms[block] = np.linalg.norm(rows.astype(np.float64), axis=1)
        rows = rows + np.float32(0)  # -0.0 equals 0.0, but not its bytes
        hashes[block] = [int.from_bytes(hashlib.blake2b(row, digest_size=8).digest(), "big")
                              for row in rows]
    filled = hashes[norms > 0]
    return Vectors(norms, n - len(filled), len(filled) - len(np.unique(filled)))
