import math

import pytest
import torch

from recbole_ssr.spectral.bands import response
from recbole_ssr.spectral.energy import energy_distribution
from recbole_ssr.spectral.steps import jackson_steps, least_squares_steps, telescope

BORDERS = torch.tensor([2.2, 1.3, 0.6], dtype=torch.float64)  # as theta
GRID = torch.linspace(0, 2, 501, dtype=torch.float64)


def uniform():
    """An energy that is the same in every cell of the theta grid."""
    return energy_distribution(torch.eye(1, 20, dtype=torch.float64)[0])


def step(theta):
    return (1 + math.cos(theta) > GRID).double()


@pytest.mark.parametrize("degree", [0, 1, 5, 40])
def test_jackson_steps_fall_between_one_and_zero(degree):
    h = response(jackson_steps(BORDERS, degree), GRID)
    assert h.max() <= 1 + 1e-12 and h.min() >= -1e-12


@pytest.mark.parametrize("method", ["jackson", "least_squares"])
def test_steps_tend_to_the_step(method):
    errors = []
    for degree in (4, 8, 16, 32, 64):
        if method == "jackson":
            h = response(jackson_steps(BORDERS, degree), GRID)
        else:
            h = response(least_squares_steps(BORDERS, degree, uniform()), GRID)
        errors.append(sum((row - step(b)).square().mean() for row, b in zip(h, BORDERS)).item())
    assert all(later < earlier for earlier, later in zip(errors, errors[1:]))
    assert errors[-1] < 0.06


def test_least_squares_under_uniform_energy_is_the_fourier_series():
    k = torch.arange(1, 9, dtype=torch.float64)
    waves = -2 / math.pi * torch.sin(BORDERS[:, None] * k) / k
    expected = torch.cat([1 - BORDERS[:, None] / math.pi, waves], dim=1)
    result = least_squares_steps(BORDERS, 8, uniform())
    torch.testing.assert_close(result, expected, atol=2e-3, rtol=0)  # the grid has 2048 cells


def test_no_polynomial_of_the_degree_is_nearer_under_the_energy():
    mu = torch.tensor([1.0, 0.3, 0.4, -0.1, 0.2], dtype=torch.float64)
    distribution = energy_distribution(mu)
    best = least_squares_steps(BORDERS, 6, distribution)
    theta = (distribution.theta[1:] + distribution.theta[:-1]) / 2
    weight = 0.95 * distribution.cells + 0.05 / len(theta)
    T = torch.cos(torch.arange(7, dtype=torch.float64)[:, None] * theta)
    residual = best @ T - (theta > BORDERS[:, None]).double()
    # The residual is orthogonal to every polynomial, up to the ridge.
    assert (residual * weight @ T.T).abs().max() < 1e-8


@pytest.mark.parametrize("n_bands", range(1, 7))
def test_bands_telescope_to_the_identity(n_bands):
    borders = torch.linspace(2.8, 0.3, n_bands - 1, dtype=torch.float64)
    for steps in (jackson_steps(borders, 9), least_squares_steps(borders, 9, uniform())):
        bands = telescope(steps)
        assert bands.shape == (n_bands, 10)
        expected = torch.eye(1, 10, dtype=torch.float64)[0]
        torch.testing.assert_close(bands.sum(0), expected, atol=1e-15, rtol=0)
        torch.testing.assert_close(bands.cumsum(0)[:-1], steps, atol=1e-12, rtol=0)
