"""Sharing out known eigenvalues among bands of equal energy."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from recbole_ssr.spectral.energy import check_energy

# Eigenvalues closer than this are one eigenspace: factors in float32 leave equal ones about 1e-7
# apart.
DEGENERATE = 1e-6


def equal_energy_partition(eigenvalues: Tensor, energies: Tensor, n_bands: int) -> Tensor:
    """Return the band of every mode, 0 .. M - 1; modes of one eigenspace share a band.

    An eigenspace occupies an interval of the cumulative energy; the band in which the middle of
    that interval falls takes it, so that every cumulative energy is as near to m / M as whole
    eigenspaces allow. An eigenspace with more than 1 / M of the energy may leave its neighbours
    empty.

    Shapes: eigenvalues (E,) ascending; energies (E,) at least 0; result (E,) ascending.

    >>> equal_energy_partition(torch.tensor([0.0, 0.5, 0.5, 1]), torch.ones(4), n_bands=2)
    tensor([0, 1, 1, 1])
    """
    check_energy(energies.sum())
    starts = eigenvalues.diff(prepend=eigenvalues.new_full((1,), -math.inf)) > DEGENERATE
    group = starts.cumsum(0) - 1
    energy = torch.zeros_like(energies).index_add_(0, group, energies)
    middle = (energy.cumsum(0) - energy / 2) / energy.sum()
    return (n_bands * middle).long().clamp(max=n_bands - 1)[group]


def partition_borders(eigenvalues: Tensor, band: Tensor, n_bands: int) -> Tensor:
    """Return the eigenvalues half-way between the modes of adjacent bands.

    Where no mode lies below (above) a border it is -inf (inf).

    Shapes: eigenvalues, band (E,) ascending; result (M - 1,).

    >>> partition_borders(torch.tensor([0.0, 0.5, 1]), torch.tensor([0, 0, 1]), n_bands=2)
    tensor([0.7500])
    """
    below = torch.searchsorted(band, torch.arange(1, n_bands, device=band.device))
    infinity = eigenvalues.new_full((1,), math.inf)
    padded = torch.cat([-infinity, eigenvalues, infinity])
    return (padded[below] + padded[below + 1]) / 2


def interval_response(borders: Tensor, eigenvalues: Tensor) -> Tensor:
    """Return 1 where an eigenvalue lies in a band's interval, else 0.

    Shapes: borders (M - 1,); eigenvalues (E,); result (M, E).

    >>> interval_response(torch.tensor([0.5]), torch.tensor([0.2, 0.5, 1.7]))
    tensor([[1., 0., 0.],
            [0., 1., 1.]])
    """
    band = torch.bucketize(eigenvalues.to(borders), borders, right=True)
    bands = torch.arange(len(borders) + 1, device=band.device)
    return (band == bands[:, None]).to(eigenvalues)
