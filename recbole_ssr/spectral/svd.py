"""Bands of the few lowest modes exactly, of the rest of the spectrum by polynomials."""

from __future__ import annotations

import numpy as np
import torch
from scipy.sparse.linalg import LinearOperator, eigsh
from torch import Tensor

from recbole_ssr.contributions import BANKS, contribute
from recbole_ssr.nodes import Nodes
from recbole_ssr.spectral.cached_factors import Factors, cached_factors
from recbole_ssr.spectral.chebyshev import band_rows
from recbole_ssr.spectral.energy import sketch
from recbole_ssr.spectral.exact import (
    SMALLEST_SIGMA,
    constants_of,
    exact_factors,
    oriented,
    with_receivers,
)
from recbole_ssr.spectral.filter_bank import FilterBank, signals_after
from recbole_ssr.spectral.modes import Gains, mode_energies, mode_rows
from recbole_ssr.spectral.partition import (
    DEGENERATE,
    equal_energy_partition,
    interval_response,
    partition_borders,
)
from recbole_ssr.spectral.polynomial import METHODS, ChebyshevBank, white_noise

# Triples per further run of the iterative solver, which looks for copies that it missed.
_ASKED_AGAIN = 32
_SEED = 0  # of the solver in runs: the same factors whatever the seed of the run


def truncated_factors(R, k: int, seed: int) -> Factors:
    """Return the singular triples of R with the k largest s, or all if there are fewer.

    Triples whose s equals that of the first one left out are left out as well, because the k
    would hold an arbitrary part of their eigenspace. Raises ValueError if none is left.

    Shapes: R scipy sparse (U, I); P (U, k'), s (k',) descending, Q (I, k'), float32, k' <= k.
    """
    if k < 1:
        raise ValueError(f"svd_modes is {k}; at least one mode is needed")
    smaller = min(R.shape)
    if k + 1 >= smaller:  # beyond what the iterative solver takes
        P, s, Q = exact_factors(R)
    else:
        P, s, Q = _largest_triples(R.astype(np.float64).tocsr(), k + 1, seed)
    kept = len(s)
    if kept > k:
        ends = np.flatnonzero(s[:k] - s[1 : k + 1] > DEGENERATE)
        if not len(ends):
            raise ValueError(
                f"the {len(s)} largest singular values of the graph equal {s[0]:.6f}, so that the "
                f"svd_modes {k} lowest modes are a part of one eigenspace; raise svd_modes"
            )
        kept = ends[-1] + 1
    return tuple(np.ascontiguousarray(x[..., :kept]) for x in (P, s, Q))


def _largest_triples(R, count: int, seed: int) -> Factors:
    """Return the `count` largest triples of R with s > 0, repeated singular values in full.

    Lanczos starts from one vector, which has one direction in every eigenspace; the others enter by
    rounding or not at all. A graph has s = 1 once for each of its components, and one run can miss
    half of them. So the solver runs again on what is left, until nothing larger turns up.
    """
    wide = R.shape[0] < R.shape[1]
    B = R.T.tocsr() if wide else R
    n, random = B.shape[1], np.random.default_rng(seed)
    values, V = np.zeros(0), np.zeros((n, 0))
    asked = count
    while True:

        def left(x, values=values, V=V):
            # Plus the identity: the solver takes no matrix that sends its start vector to zero.
            return x + B.T @ (B @ x) - V @ (values * (V.T @ x))

        gram = LinearOperator((n, n), matvec=left, dtype=np.float64)
        new_values, vectors = eigsh(gram, k=asked, v0=random.standard_normal(n), which="LA")
        new_values = new_values - 1
        if len(values) == count and new_values.max() <= values[-1] + DEGENERATE:
            break
        order = np.argsort(-np.concatenate([values, new_values]), kind="stable")[:count]
        values = np.concatenate([values, new_values])[order]
        V = np.concatenate([V, vectors], axis=1)[:, order]
        asked = min(count, _ASKED_AGAIN)
    s = np.sqrt(values.clip(min=0))
    V, s = V[:, s > SMALLEST_SIGMA], s[s > SMALLEST_SIGMA]
    W = (B @ V) / s
    return oriented(V, s, W) if wide else oriented(W, s, V)


class SVDBank(FilterBank):
    r"""The lowest modes as exact bands, the residual signal by a Chebyshev bank.

    The first `svd_bands` bands share out the k lowest modes at equal energy, eigenspaces whole;
    the other bands share out the energy of what is left. Polynomials commute with the projector
    :math:`\Pi` on the k modes, hence

    .. math:: h(S)(1 - \Pi) q = h(S) q - \Pi h(S) q,

    and the second term is a filter on the modes with gains -h. So the cost is that of the
    polynomial bank plus, per signal, two products with the factors' transposes and one per band
    with P and Q, and the bands sum to the signal however accurate the factors are.
    `mode_weights` (svd_bands, k) holds the exact bands' gains. With `svd_bands` 0 this is the
    Chebyshev bank.
    """

    mode_weights: Tensor

    def __init__(
        self,
        graph,
        factors: Factors,
        n_bands: int,
        svd_bands: int,
        degree: int,
        method: str = METHODS[0],
    ):
        super().__init__(n_bands)
        if not 0 <= svd_bands < n_bands:
            raise ValueError(
                f"svd_bands is {svd_bands} of n_bands {n_bands}; at least one band must be left "
                f"for the rest of the spectrum, so choose 0 to {n_bands - 1}"
            )
        kept = len(factors[1]) if svd_bands else 0
        like = graph["R"].values()
        self.factors = constants_of(tuple(x[..., :kept] for x in factors)).to(like)
        self.svd_bands, self.senders = svd_bands, None
        self.rest = ChebyshevBank(graph, n_bands - svd_bands, degree, method)
        self.register_buffer("mode_weights", like.new_zeros(svd_bands, kept))
        # Apart from the modes that it takes out, white noise is white; so all modes weigh the same.
        self._fit_rest(white_noise(graph))
        self._share_out(torch.ones(kept, dtype=torch.float64))

    def forward(self, signals, users=None, items=None, before=None) -> Nodes:
        signals = signals_after(before, signals)
        polynomials = self.rest.coefficients
        none = polynomials.new_zeros(self.svd_bands, polynomials.shape[1])
        bands = band_rows(self.rest.graph, signals, torch.cat([none, polynomials]), users, items)
        if not self.svd_bands:
            return bands
        a = torch.cat([self.mode_weights, -self.rest.response(1 - self.factors["s"])])
        gains = Gains(a, torch.zeros_like(a), torch.zeros_like(a[:, 0]))
        exact = mode_rows(self.factors, gains, signals, users, items, self.senders)
        return tuple(band.add_(part) for band, part in zip(bands, exact))

    def add_receivers(self, rows: Tensor) -> None:
        self.senders = self.senders or len(self.factors["P"])
        self.factors = with_receivers(self.factors, rows)

    @torch.no_grad()
    def fit(self, signal: Nodes) -> None:
        self._fit_rest(signal)
        if self.svd_bands:
            self._share_out(mode_energies(self.factors, signal)[0])

    def _fit_rest(self, signal: Nodes) -> None:
        """Fit the polynomials to a signal without its k lowest modes."""
        ones = torch.ones_like(self.factors["s"])[None]
        without = Gains(torch.zeros_like(ones), ones, ones.new_ones(1))
        residual = mode_rows(self.factors, without, [sketch(signal)])
        self.rest.fit(tuple(part[0] for part in residual))

    def _share_out(self, energies: Tensor) -> None:
        if self.svd_bands:
            band = equal_energy_partition(self._eigenvalues().cpu(), energies, self.svd_bands)
            self.mode_weights.copy_(torch.arange(self.svd_bands)[:, None] == band)

    def _eigenvalues(self) -> Tensor:
        return 1 - self.factors["s"].double()

    def _borders_within(self) -> Tensor:
        """Borders between the exact bands (svd_bands - 1,), infinite beyond the k modes."""
        band = self.mode_weights.argmax(0)
        return partition_borders(self._eigenvalues(), band, self.svd_bands)

    @property
    def borders(self) -> Tensor:
        """Borders within the k modes, their last eigenvalue, borders of the rest."""
        if not self.svd_bands:
            return self.rest.borders
        within, last = self._borders_within(), self._eigenvalues()[-1:]
        # Moments place a border to about .05, which may take it below modes that are not there.
        rest = self.rest.borders.to(last).maximum(last)
        return torch.cat([within.minimum(last), last, rest])

    def response(self, eigenvalues: Tensor) -> Tensor:
        rest = self.rest.response(eigenvalues)
        if not self.svd_bands:
            return rest
        last = self._eigenvalues()[-1] + DEGENERATE
        exact = interval_response(self._borders_within(), eigenvalues)
        low = (eigenvalues.to(last) <= last).to(rest)
        return torch.cat([exact * low, rest * (1 - low)])


@contribute(BANKS, "svd")
def svd_bank(config, graph) -> SVDBank:
    """With the factors from the cache."""
    k = config["svd_modes"]
    factors = cached_factors(config, graph, f"svd {k} {_SEED}",
                             lambda R: truncated_factors(R, k, _SEED))
    return SVDBank(graph, factors, config["n_bands"], config["svd_bands"], config["cheb_degree"],
                   config["cheb_fit"])
