r"""Polynomials that approximate steps in the spectrum, and the bands between them.

The step of a border b is 1 for x < b and 0 beyond, x = lambda - 1 = cos theta. With steps
:math:`c^{(1)}, \dots, c^{(M-1)}` at ascending borders the bands telescope:

.. math::
    h_1 = c^{(1)},\qquad h_m = c^{(m)} - c^{(m-1)},\qquad h_M = 1 - c^{(M-1)}

Shapes: M bands, K degree, E cells of the theta grid.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from recbole_ssr.spectral.energy import EnergyDistribution, jackson

# Weight of the signal's energy in the fit; the rest is uniform in theta, which bounds the filters
# where the signal has no energy. The ridge keeps the system regular.
_ENERGY_WEIGHT = 0.95
_RIDGE = 1e-9


def jackson_steps(borders: Tensor, degree: int) -> Tensor:
    r"""Return the damped Fourier series of the steps, between 0 and 1 everywhere.

    :math:`c_0 = 1 - \theta_b/\pi,\; c_k = -\tfrac{2}{\pi}\, g_k \sin(k\theta_b)/k`.

    Shapes: borders (M - 1,) as theta; result (M - 1, K + 1), float64.
    """
    k = torch.arange(1, degree + 1, dtype=torch.float64)
    waves = -2 / math.pi * jackson(degree)[1:] * torch.sin(borders[:, None] * k) / k
    return torch.cat([1 - borders[:, None] / math.pi, waves], dim=1)


def least_squares_steps(borders: Tensor, degree: int, distribution: EnergyDistribution) -> Tensor:
    """Return the polynomials nearest to the steps where the signal has its energy.

    Shapes: borders (M - 1,) as theta; result (M - 1, K + 1), float64.
    """
    centres = (distribution.theta[1:] + distribution.theta[:-1]) / 2
    weight = _ENERGY_WEIGHT * distribution.cells + (1 - _ENERGY_WEIGHT) / len(centres)
    T = torch.cos(centres[:, None] * torch.arange(degree + 1, dtype=torch.float64))
    steps = (centres[:, None] > borders).double()
    gram = T.T @ (weight[:, None] * T) + _RIDGE * torch.eye(degree + 1, dtype=torch.float64)
    return torch.linalg.solve(gram, T.T @ (weight[:, None] * steps)).T


def telescope(steps: Tensor) -> Tensor:
    """Return the bands between ascending steps; they sum to 1.

    Shapes: steps (M - 1, K + 1); result (M, K + 1).

    >>> telescope(torch.tensor([[0.25, 0.5]]))
    tensor([[ 0.2500,  0.5000],
            [ 0.7500, -0.5000]])
    """
    nothing = steps.new_zeros(1, steps.shape[1])
    everything = nothing.clone()
    everything[0, 0] = 1
    return torch.cat([nothing, steps, everything]).diff(dim=0)
