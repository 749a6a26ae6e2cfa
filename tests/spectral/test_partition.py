import math

import pytest
import torch

from recbole_ssr.spectral.partition import (
    equal_energy_partition,
    interval_response,
    partition_borders,
)


def test_partition_by_hand():
    eigenvalues = torch.tensor([0.0, 0.5, 0.9, 1.1, 1.5, 2.0])
    energies = torch.tensor([2.0, 1.0, 1.0, 2.0, 1.0, 1.0])
    # Middles of the intervals of cumulative energy: 1, 2.5, 3.5, 5, 6.5, 7.5 of 8.
    assert equal_energy_partition(eigenvalues, energies, 2).tolist() == [0, 0, 0, 1, 1, 1]
    assert equal_energy_partition(eigenvalues, energies, 4).tolist() == [0, 1, 1, 2, 3, 3]
    assert equal_energy_partition(eigenvalues, energies, 1).tolist() == [0] * 6


def test_equal_eigenvalues_share_a_band():
    eigenvalues = torch.tensor([0.0, 1.0 - 1e-7, 1.0, 1.0 + 1e-7, 2.0])
    energies = torch.tensor([1.0, 1.0, 2.0, 1.0, 1.0])
    for n_bands in range(1, 7):
        band = equal_energy_partition(eigenvalues, energies, n_bands)
        assert len(band[1:4].unique()) == 1


@pytest.mark.parametrize("n_bands", range(1, 9))
@pytest.mark.parametrize("seed", range(5))
def test_bands_are_within_one_eigenspace_of_an_equal_share(n_bands, seed):
    generator = torch.Generator().manual_seed(seed)
    eigenvalues = torch.randint(40, (60,), generator=generator).double().sort().values / 20
    energies = torch.rand(60, generator=generator, dtype=torch.float64) ** 4
    band = equal_energy_partition(eigenvalues, energies, n_bands)
    assert (band.diff() >= 0).all() and band[0] >= 0 and band[-1] < n_bands
    largest = max(energies[eigenvalues == value].sum() for value in eigenvalues.unique())
    for m in range(n_bands):
        assert (energies[band == m].sum() - energies.sum() / n_bands).abs() <= largest


def test_modes_without_energy_still_get_a_band():
    band = equal_energy_partition(torch.tensor([0.0, 1.0, 2.0]), torch.tensor([0.0, 1.0, 0.0]), 3)
    assert band.tolist() == [0, 1, 2]


def test_energies_that_are_all_zero_are_refused():
    with pytest.raises(ValueError, match="energy 0; give one with finite"):
        equal_energy_partition(torch.tensor([0.0, 2.0]), torch.zeros(2), 2)


def test_borders_lie_half_way_and_are_infinite_at_the_ends():
    eigenvalues = torch.tensor([0.0, 0.5, 1.0])
    borders = partition_borders(eigenvalues, torch.tensor([0, 0, 1]), 2)
    assert borders.tolist() == [0.75]
    borders = partition_borders(eigenvalues, torch.tensor([1, 1, 3]), 5)
    assert borders.tolist() == [-math.inf, 0.75, 0.75, math.inf]
    assert partition_borders(eigenvalues, torch.tensor([0, 0, 0]), 1).shape == (0,)


def test_responses_give_back_the_partition():
    eigenvalues = torch.tensor([0.0, 0.5, 1.0, 1.5])
    band = torch.tensor([1, 1, 3, 4])
    h = interval_response(partition_borders(eigenvalues, band, 6), eigenvalues)
    assert torch.equal(h, (torch.arange(6)[:, None] == band).float())
