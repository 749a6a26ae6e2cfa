"""Bands by the exact eigenvectors of the graph, from one small eigenproblem."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from recbole_ssr.constants import Constants
from recbole_ssr.contributions import BANKS, contribute
from recbole_ssr.errors import UserError
from recbole_ssr.nodes import Nodes
from recbole_ssr.spectral.cached_factors import Factors, cached_factors
from recbole_ssr.spectral.filter_bank import FilterBank, signals_after
from recbole_ssr.spectral.modes import Gains, mode_energies, mode_rows
from recbole_ssr.spectral.partition import (
    equal_energy_partition,
    interval_response,
    partition_borders,
)

# Smaller singular values count as zero: eigenvalues of the Laplacian within this of 1. Below it
# the vectors of the larger side, R q / s, lose their orthogonality: their inner products are off
# by 1e-14 / s^2.
SMALLEST_SIGMA = 1e-4

# All eigenvectors of n nodes take four n x n matrices in float64 (the matrix, its vectors and the
# solver's own two) and n^3 operations: at this many 13 GB.
MOST_EXACT_NODES = 20_000
_BYTES_PER_PAIR = 4 * 8


def exact_factors(R) -> Factors:
    """Return all singular triples of R with s > 0, by the eigenproblem of the smaller side.

    Dense only in that side n: n^2 numbers and n^3 operations in float64. Every vector of the item
    side has its entry of largest magnitude positive.

    Shapes: R scipy sparse (U, I); P (U, r), s (r,) descending, Q (I, r), float32.
    """
    R = R.astype(np.float64).tocsr()
    wide = R.shape[0] < R.shape[1]
    B = R.T.tocsr() if wide else R
    eigenvalues, V = np.linalg.eigh((B.T @ B).toarray())
    s = np.sqrt(eigenvalues.clip(min=0))[::-1]
    s = s[s > SMALLEST_SIGMA]
    V = V[:, ::-1][:, : len(s)]
    W = (B @ V) / s
    return oriented(V, s, W) if wide else oriented(W, s, V)


def oriented(P: np.ndarray, s: np.ndarray, Q: np.ndarray) -> Factors:
    """Choose the signs, which a solver leaves open, and round to float32."""
    largest = np.abs(Q).argmax(axis=0)
    signs = np.sign(Q[largest, np.arange(len(s))])
    return tuple(np.ascontiguousarray(x, dtype=np.float32) for x in (P * signs, s, Q * signs))


def constants_of(factors: Factors) -> Constants:
    """Hold factors as constants P, s, Q that follow a module's device."""
    return Constants(**{name: torch.from_numpy(x) for name, x in zip("PsQ", factors)})


def with_receivers(factors: Constants, rows: Tensor) -> Constants:
    r"""Append users to the factors: what P = R Q / s says of their rows of R.

    Shapes: rows (n, I) CSR; P (U + n, r).
    """
    P, s, Q = (factors[name] for name in "PsQ")
    added = (rows.double() @ Q.double() / s.double()).to(P)
    return Constants(P=torch.cat([P, added]), s=s, Q=Q)


class ExactBank(FilterBank):
    """Ideal bands of about equal energy from all singular triples of R.

    Eigenspaces are never split; everything orthogonal to the triples is the eigenspace of
    lambda = 1, applied as one projector. `weights` (M, 2 r + 1) holds every band's gains on the
    eigenvalues 1 - s ascending, 1, 1 + s ascending. No products with the graph: per signal two
    products with the factors' transposes and at most one with each column of P, Q per band that
    takes part of it. Until the first `fit` all modes have the same energy.
    """

    weights: Tensor

    def __init__(self, factors: Factors, n_bands: int):
        super().__init__(n_bands)
        self.factors, self.senders = constants_of(factors), None
        P, s, Q = factors
        rank, rest = len(s), len(P) + len(Q) - 2 * len(s)
        self.register_buffer("weights", torch.zeros(n_bands, 2 * rank + 1))
        ones = torch.ones(rank, dtype=torch.float64)
        self._share_out(ones, ones, torch.tensor(float(rest), dtype=torch.float64))

    def forward(self, signals, users=None, items=None, before=None) -> Nodes:
        signals = signals_after(before, signals)
        rank = len(self.factors["s"])
        a, c, b = self.weights.split([rank, 1, rank], dim=1)
        return mode_rows(self.factors, Gains(a, b.flip(1), c[:, 0]), signals, users, items,
                         self.senders)

    def add_receivers(self, rows: Tensor) -> None:
        self.senders = self.senders or len(self.factors["P"])
        self.factors = with_receivers(self.factors, rows)

    @torch.no_grad()
    def fit(self, signal: Nodes) -> None:
        self._share_out(*mode_energies(self.factors, signal))

    def _share_out(self, low: Tensor, high: Tensor, rest: Tensor) -> None:
        energies = torch.cat([low, rest[None], high.flip(0)])
        band = equal_energy_partition(self._eigenvalues().cpu(), energies, self.n_bands)
        self.weights.copy_(torch.arange(self.n_bands)[:, None] == band)

    def _eigenvalues(self) -> Tensor:
        s = self.factors["s"].double()
        return torch.cat([1 - s, s.new_ones(1), 1 + s.flip(0)])

    @property
    def borders(self) -> Tensor:
        return partition_borders(self._eigenvalues(), self.weights.argmax(0), self.n_bands)

    def response(self, eigenvalues: Tensor) -> Tensor:
        return interval_response(self.borders, eigenvalues)


@contribute(BANKS, "exact")
def exact_bank(config, graph) -> ExactBank:
    """Raises UserError for a graph too large for it."""
    n = min(graph.n_users, graph.n_items)
    if n > MOST_EXACT_NODES:
        raise UserError(
            f"band_filter exact needs all eigenvectors of {n} nodes, for which it would take "
            f"{_BYTES_PER_PAIR * n * n / 1e9:.0f} GB; the most is {MOST_EXACT_NODES} nodes on the "
            "smaller side, so set band_filter to chebyshev or svd"
        )
    return ExactBank(cached_factors(config, graph, "exact", exact_factors), config["n_bands"])
