"""Factors of a graph, from the cache where they have been computed before."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy.sparse as sp

from recbole_ssr.cache import cache_folder, cached_array, content_key

Factors = tuple[np.ndarray, np.ndarray, np.ndarray]

_VERSION = 2  # raise it when the factors change


def cached_factors(config, graph, kind: str, build: Callable[[sp.csr_matrix], Factors]) -> Factors:
    """Return what `build` makes of R, from the cache if it has been built before."""
    R = graph["R"].cpu()
    crow, col, values = (x.numpy() for x in (R.crow_indices(), R.col_indices(), R.values()))
    packed = cached_array(
        cache_folder(config["cache_dir"]) / "spectra",
        content_key("spectrum", _VERSION, kind, tuple(R.shape), crow, col, values),
        lambda: _pack(build(sp.csr_matrix((values, col, crow), shape=tuple(R.shape)))),
    )
    return _unpack(packed, n_users=len(R))


def _pack(factors: Factors) -> np.ndarray:
    """Stack the factors into one array. Shapes: result (U + 1 + I, r)."""
    P, s, Q = factors
    return np.concatenate([P, s[None], Q])


def _unpack(packed: np.ndarray, n_users: int) -> Factors:
    return packed[:n_users], packed[n_users], packed[n_users + 1 :]
