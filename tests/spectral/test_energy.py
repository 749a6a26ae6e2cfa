import math

import pytest
import torch
from bank_contract import laplacian, noise, random_graph, smoothed, split

from recbole_ssr.spectral.energy import (
    EnergyDistribution,
    energy_distribution,
    equal_energy_borders,
    jackson,
    moments,
    sketch,
)


def spectrum(graph, x):
    """Eigenvalues of S and the share of the energy of x on each."""
    eigenvalues, V = torch.linalg.eigh(laplacian(graph))
    energy = (V.T @ x).square().sum(1)
    return (eigenvalues - 1).clamp(-1, 1), energy / energy.sum()


@pytest.mark.parametrize("products", [0, 1, 2, 5, 32])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_moments_are_those_of_the_eigenvectors(products, dtype):
    graph = random_graph(60, 40, 300)
    x = smoothed(graph, noise(graph), 0.6)
    place, energy = spectrum(graph, x)
    orders = torch.arange(2 * products + 1)
    expected = torch.cos(orders[:, None] * torch.arccos(place)) @ energy
    mu = moments(graph.to(dtype), split(graph, x.to(dtype)), products)
    assert mu.dtype == torch.float64
    torch.testing.assert_close(mu, expected, atol=1e-6, rtol=0)


def test_moments_survive_a_signal_that_is_no_contiguous_block():
    graph = random_graph()
    x = noise(graph, width=8)
    mu = moments(graph, split(graph, x[:, ::2]), 4)
    torch.testing.assert_close(mu, moments(graph, split(graph, x[:, ::2].contiguous()), 4))


@pytest.mark.parametrize("value, shown", [(0.0, "0"), (math.nan, "nan"), (math.inf, "inf|nan")])
def test_a_signal_without_finite_energy_has_no_moments(value, shown):
    graph = random_graph()
    with pytest.raises(ValueError, match=f"energy ({shown}); give one"):
        moments(graph, split(graph, torch.full_like(noise(graph), value)), 3)


def test_jackson_factors_by_hand():
    # K = 1: g_1 = (2 cos(pi/3) + sin(pi/3) / tan(pi/3)) / 3 = 1/2.
    torch.testing.assert_close(jackson(1), torch.tensor([1.0, 0.5], dtype=torch.float64))
    assert jackson(0).tolist() == [1.0]
    g = jackson(40)
    assert g[0] == 1 and (g.diff() < 0).all() and g[-1] > 0


@pytest.mark.parametrize("share", [0.0, 0.8, -0.8])
@pytest.mark.parametrize("products", [1, 4, 32])
def test_cumulative_energy_rises_from_zero_to_one(share, products):
    graph = random_graph(60, 40, 300)
    x = smoothed(graph, noise(graph), share)
    theta, F = energy_distribution(moments(graph, split(graph, x), products))
    assert (F.diff() >= 0).all() and (theta.diff() < 0).all()
    assert F[0].abs() < 1e-12 and (F[-1] - 1).abs() < 1e-12
    assert (EnergyDistribution(theta, F).cells >= 0).all()


def test_cumulative_energy_tends_to_the_exact_one():
    graph = random_graph(60, 40, 300)
    x = smoothed(graph, noise(graph), 0.5)
    place, energy = spectrum(graph, x)
    errors = []
    for products in (4, 16, 64, 256):
        theta, F = energy_distribution(moments(graph, split(graph, x), products))
        exact = ((place <= theta.cos()[:, None]) * energy).sum(1)
        errors.append((F - exact).abs().mean().item())
    assert all(later < 0.5 * earlier for earlier, later in zip(errors, errors[1:]))


def test_borders_halve_an_energy_that_is_uniform_in_theta():
    distribution = energy_distribution(torch.eye(1, 20, dtype=torch.float64)[0])
    expected = torch.tensor([3 / 4, 1 / 4], dtype=torch.float64) * math.pi
    borders = equal_energy_borders(distribution, 4)
    torch.testing.assert_close(borders[[0, 2]], expected)


@pytest.mark.parametrize("n_bands", range(1, 9))
@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, -0.9])
def test_no_border_cuts_the_atom(n_bands, share):
    for users, items in ((60, 20), (30, 30)):
        graph = random_graph(users, items, 200)
        mu = moments(graph, split(graph, smoothed(graph, noise(graph), share)), 32)
        x = equal_energy_borders(energy_distribution(mu), n_bands).cos()
        assert x.shape == (n_bands - 1,) and (x.abs() >= 0.1).all() and (x.diff() >= 0).all()


def test_borders_away_from_the_atom_share_out_the_energy():
    graph = random_graph(60, 40, 300)
    distribution = energy_distribution(
        moments(graph, split(graph, smoothed(graph, noise(graph), 0.9)), 32)
    )
    theta, F = (values.flip(0) for values in distribution)
    borders = equal_energy_borders(distribution, 5)
    kept = [m for m in range(4) if borders[m].cos().abs() > 0.26]
    assert kept
    for m in kept:
        at = torch.searchsorted(theta, borders[m])
        assert F[at] <= (m + 1) / 5 + 1e-9 and F[at - 1] >= (m + 1) / 5 - 1e-9


def test_a_border_in_the_atom_moves_to_the_side_nearer_to_its_target():
    def mass(left, atom, right):
        theta = torch.linspace(math.pi, 0, 2049, dtype=torch.float64)
        x = theta.cos()
        F = torch.where(x < -0.5, 0.0, left) + torch.where(x < 0, 0.0, atom)
        return EnergyDistribution(theta, (F + torch.where(x < 0.5, 0.0, right)).double())

    for left, atom, right, sign in ((0.45, 0.45, 0.1, -1), (0.1, 0.45, 0.45, 1)):
        (border,) = equal_energy_borders(mass(left, atom, right), 2).cos().tolist()
        assert 0.15 <= sign * border <= 0.25


def test_a_sketch_keeps_the_distribution_and_narrow_signals():
    graph = random_graph(300, 200, 1500)
    x = smoothed(graph, noise(graph, width=64), 0.5)
    narrow = sketch(split(graph, x))
    assert narrow[0].shape == (300, 8) and narrow[1].shape == (200, 8)
    F, G = (energy_distribution(moments(graph, q, 32)).cumulative
            for q in (split(graph, x), narrow))
    assert (F - G).abs().max() < 0.03  # 3 / sqrt(8 x 500 modes) x 1/2
    kept = split(graph, x[:, :8])
    assert sketch(kept) is kept
