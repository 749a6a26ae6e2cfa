r"""Filter coefficients of the spectral bands.

A bank is a matrix c (M, K + 1) of Chebyshev coefficients in x = lambda - 1, the filter of band m
being :math:`h_m(x) = \sum_k c_{mk} T_k(x)`. Its columns sum to those of the constant 1, so that
the bands sum to the signal.
"""

from __future__ import annotations

import torch
from torch import Tensor

# Response of the first band, 1 - T_1 / 2, and of the second when there are three, which the
# released code of SSR (NeurIPS 2025) fixes as numbers.
_FIRST = {0: 1.0, 1: -0.5}
_MIDDLE_OF_THREE = {2: 0.8, 3: 0.3}
# The first weight of a middle band when there are more than three, and its decay per order.
_MIDDLE_WEIGHT, _MIDDLE_DECAY = 0.8, 0.375


def reference_bank(n_bands: int, degree: int) -> Tensor:
    """Return the fixed filters of SSR's released code, any number of bands M >= 1.

    Band 1 is 1 - T_1 / 2; middle band j of M - 2 takes orders 2 + j, 2 + j + (M - 2), ... up to
    `degree` with weights 0.8 x 0.375^s; the last band is the residual. With M = 3 the middle band
    is 0.8 T_2 + 0.3 T_3. Two bands are the first and the residual; one band is the signal.

    Shapes: result (M, K + 1), K the highest order in use. Raises ValueError where `degree` leaves
    a band without any order.

    >>> reference_bank(n_bands=3, degree=3).sum(0)  # the signal, T_0
    tensor([1., 0., 0., 0.])
    """
    if n_bands < 1:
        raise ValueError(f"n_bands is {n_bands}; a filter bank has at least one band")
    middle = n_bands - 2
    lowest = 3 if n_bands == 3 else {1: 0, 2: 1}.get(n_bands, middle + 1)
    if degree < lowest:
        raise ValueError(
            f"cheb_degree {degree} is too low for n_bands {n_bands}: every band needs an order of "
            f"its own, so cheb_degree must be at least {lowest}"
        )
    bank = torch.zeros(n_bands, max(degree, lowest) + 1)
    if n_bands > 1:
        for order, weight in _FIRST.items():
            bank[0, order] = weight
    if n_bands == 3:
        for order, weight in _MIDDLE_OF_THREE.items():
            bank[1, order] = weight
    elif n_bands > 3:
        for j in range(middle):
            for s, order in enumerate(range(2 + j, degree + 1, middle)):
                bank[1 + j, order] = _MIDDLE_WEIGHT * _MIDDLE_DECAY**s
    bank[-1] = -bank[:-1].sum(0)
    bank[-1, 0] += 1.0
    used = bank.abs().sum(0).nonzero().max().item()
    return bank[:, : used + 1]


def response(bank: Tensor, eigenvalues: Tensor) -> Tensor:
    """Evaluate the filters at Laplacian eigenvalues.

    Shapes: bank (M, K + 1); eigenvalues (E,) in [0, 2]; result (M, E).

    >>> response(torch.tensor([[0.0, 0, 1]]), torch.tensor([0.0, 1, 2]))  # T_2(x - 1)
    tensor([[ 1., -1.,  1.]])
    """
    theta = torch.arccos((eigenvalues - 1).clamp(-1, 1))
    orders = torch.arange(bank.shape[1], dtype=theta.dtype, device=theta.device)
    return bank.to(theta) @ torch.cos(orders[:, None] * theta)
