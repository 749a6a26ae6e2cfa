"""Filter banks of polynomials, for graphs too large for eigenvectors."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from recbole_ssr.contributions import BANKS, contribute
from recbole_ssr.nodes import Nodes
from recbole_ssr.spectral.bands import reference_bank, response
from recbole_ssr.spectral.chebyshev import band_rows
from recbole_ssr.spectral.energy import (
    SKETCH_COLUMNS,
    energy_distribution,
    equal_energy_borders,
    moments,
    random_signs,
    sketch,
)
from recbole_ssr.spectral.filter_bank import FilterBank
from recbole_ssr.spectral.steps import jackson_steps, least_squares_steps, telescope

# How the steps between bands become polynomials, by name.
_STEPS = {
    "least_squares": least_squares_steps,
    "jackson": lambda theta, degree, _: jackson_steps(theta, degree),
}
METHODS = tuple(_STEPS)
# Products per fit: 65 moments, which place a border to about .05 in x. A filter of higher degree
# resolves more than that and gets as many products as its degree.
_FIT_PRODUCTS = 32
_NOISE_SEED = 1  # not the sketch's, with whose signs the noise would be correlated


class PolynomialBank(FilterBank):
    """Bands B_m = sum_k c_mk T_k(S) q with `coefficients` (M, K + 1).

    K products with the graph per signal, forward and backward alike, whatever M.
    """

    coefficients: Tensor

    def __init__(self, graph, n_bands: int):
        super().__init__(n_bands)
        self.graph = graph

    def forward(self, signals, users=None, items=None, before=None) -> Nodes:
        return band_rows(self.graph, signals, self.coefficients, users, items, before)

    def response(self, eigenvalues: Tensor) -> Tensor:
        return response(self.coefficients, eigenvalues)


class ReferenceBank(PolynomialBank):
    """The fixed filters of SSR's released code; see `reference_bank`.

    They are no step functions, so the borders are nan, and they fit no signal.
    """

    def __init__(self, graph, n_bands: int, degree: int):
        super().__init__(graph, n_bands)
        # The settings determine them: no part of a model's state.
        bank = reference_bank(n_bands, degree).to(graph["R"].values())
        self.register_buffer("coefficients", bank, persistent=False)
        self.register_buffer("borders", bank.new_full((n_bands - 1,), torch.nan), persistent=False)

    def fit(self, signal: Nodes) -> None:
        """Do nothing."""


class ChebyshevBank(PolynomialBank):
    """Bands of equal energy without eigenvectors: borders from moments, steps as polynomials.

    `method` "least_squares" fits the steps where the signal has its energy, which separates bands
    far better at low degree; "jackson" damps their Fourier series, which never overshoots.
    Until the first `fit` the bank suits white noise. A fit costs max(32, K) products of width 8.
    """

    def __init__(self, graph, n_bands: int, degree: int, method: str = METHODS[0]):
        super().__init__(graph, n_bands)
        if degree < 1 and n_bands > 1:
            raise ValueError(
                f"cheb_degree is {degree}; a bank of {n_bands} bands needs at least degree 1"
            )
        if method not in METHODS:
            raise ValueError(f"cheb_fit is {method!r}; choose one of {', '.join(METHODS)}")
        self.method = method
        like = graph["R"]
        bank = torch.zeros(n_bands, max(degree, 0) + 1, dtype=like.dtype, device=like.device)
        self.register_buffer("coefficients", bank)
        self.register_buffer("borders", bank.new_zeros(n_bands - 1))
        self.fit(white_noise(graph))

    @torch.no_grad()
    def fit(self, signal: Nodes) -> None:
        degree = self.coefficients.shape[1] - 1
        mu = moments(self.graph, sketch(signal), max(_FIT_PRODUCTS, degree))
        distribution = energy_distribution(mu)
        theta = resolvable(equal_energy_borders(distribution, self.n_bands), degree)
        self.coefficients.copy_(telescope(_STEPS[self.method](theta, degree, distribution)))
        self.borders.copy_(1 + theta.cos())


def resolvable(theta: Tensor, degree: int) -> Tensor:
    r"""Move borders apart, and away from both ends, to what polynomials of a degree can tell apart.

    That is :math:`\pi / (K + 1)` in theta. Signals with much of their energy at lambda = 0, such as
    features that share a mean, put a border so close to it that no polynomial separates the two
    sides, or several borders at one place, which makes the band between them a sliver.

    Shapes: theta (M - 1,) descending, and the result.
    """
    step = math.pi / max(degree + 1, len(theta) + 1)
    out = theta.clone()
    for m in range(len(out)):
        out[m] = min(out[m], (out[m - 1] if m else math.pi) - step)
    for m in reversed(range(len(out))):
        out[m] = max(out[m], (out[m + 1] if m + 1 < len(out) else 0) + step)
    return out


def white_noise(graph) -> Nodes:
    """Return a signal with the same expected energy in every mode, +-1 at random.

    Shapes: result (U, 8), (I, 8).
    """
    sizes = [graph.n_users, graph.n_items]
    noise = random_signs(sum(sizes), SKETCH_COLUMNS, _NOISE_SEED).to(graph["R"].values())
    return noise.split(sizes)


@contribute(BANKS, "chebyshev")
def chebyshev_of(config, graph) -> ChebyshevBank:
    """With the degree and the fit of the settings."""
    return ChebyshevBank(graph, config["n_bands"], config["cheb_degree"], config["cheb_fit"])


@contribute(BANKS, "reference")
def reference_of(config, graph) -> ReferenceBank:
    """With the degree of the settings."""
    return ReferenceBank(graph, config["n_bands"], config["cheb_degree"])
