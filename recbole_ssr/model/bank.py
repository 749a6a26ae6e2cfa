"""The filter bank of a run, from its settings and graph."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy.sparse as sp

from recbole_ssr.cache import cache_folder, cached_array, content_key
from recbole_ssr.contributions import BANKS
from recbole_ssr.errors import UserError, nearest
from recbole_ssr.spectral.exact import ExactBank, Factors, exact_factors
from recbole_ssr.spectral.filter_bank import FilterBank
from recbole_ssr.spectral.polynomial import ChebyshevBank, ReferenceBank
from recbole_ssr.spectral.svd import SVDBank, truncated_factors

# All eigenvectors of n nodes take four n x n matrices in float64 (the matrix, its vectors and the
# solver's own two) and n^3 operations: at this many 13 GB.
MOST_EXACT_NODES = 20_000
_BYTES_PER_PAIR = 4 * 8
_VERSION = 2  # raise it when the factors change
_SVD_SEED = 0  # of the iterative solver: the same factors whatever the seed of the run


def build_bank(config, graph) -> FilterBank:
    """Build the bank that `band_filter` names; factors of the graph come from the cache.

    `auto` is exact where the smaller side of the graph has at most `exact_max_nodes` nodes, else
    chebyshev. Raises UserError for settings that make no bank.
    """
    kind = config["band_filter"]
    known = (*FILTERS, *BANKS)
    if kind not in known:
        raise UserError(
            f"band_filter is {kind!r}; choose one of {', '.join(known)}.{nearest(kind, known)}"
        )
    if kind == "auto":
        small = min(graph.n_users, graph.n_items) <= config["exact_max_nodes"]
        kind = "exact" if small else "chebyshev"
    try:
        build = BANKS[kind].function if kind in BANKS else _BANKS[kind]
        return build(config, graph)
    except ValueError as error:
        raise UserError(str(error)) from None


def _reference(config, graph) -> FilterBank:
    return ReferenceBank(graph, config["n_bands"], config["cheb_degree"])


def _chebyshev(config, graph) -> FilterBank:
    return ChebyshevBank(graph, config["n_bands"], config["cheb_degree"], config["cheb_fit"])


def _exact(config, graph) -> FilterBank:
    _check_size(graph)
    return ExactBank(_cached(config, graph, "exact", exact_factors), config["n_bands"])


def _svd(config, graph) -> FilterBank:
    k = config["svd_modes"]
    factors = _cached(
        config, graph, f"svd {k} {_SVD_SEED}", lambda R: truncated_factors(R, k, _SVD_SEED)
    )
    return SVDBank(graph, factors, config["n_bands"], config["svd_bands"], config["cheb_degree"],
                   config["cheb_fit"])


# What every name builds: there is none without.
_BANKS = {"exact": _exact, "chebyshev": _chebyshev, "svd": _svd, "reference": _reference}
FILTERS = ("auto", *_BANKS)


def _check_size(graph) -> None:
    n = min(graph.n_users, graph.n_items)
    if n > MOST_EXACT_NODES:
        raise UserError(
            f"band_filter exact needs all eigenvectors of {n} nodes, for which it would take "
            f"{_BYTES_PER_PAIR * n * n / 1e9:.0f} GB; the most is {MOST_EXACT_NODES} nodes on the "
            "smaller side, so set band_filter to chebyshev or svd"
        )


def _cached(config, graph, kind: str, build: Callable[[sp.csr_matrix], Factors]) -> Factors:
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
