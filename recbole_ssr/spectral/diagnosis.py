r"""What a trained model's bands look like, in numbers.

Shapes: M bands, C modalities, N nodes, d channels; slots (M, C, N, d), the bands of every modality
on one side of the graph.
"""

from __future__ import annotations

import torch
from torch import Tensor

from recbole_ssr.nodes import Nodes
from recbole_ssr.spectral.energy import EnergyDistribution, energy_distribution, moments, sketch

# Enough moments to tell 25 intervals of the spectrum apart.
_PRODUCTS = 64
_SMALLEST_NORM = 1e-12  # a shorter vector has no direction


def band_energy(slots: Tensor) -> Tensor:
    """Return the share of every band in its modality's energy; 0 where there is none.

    Shapes: result (M, C), float64; columns sum to 1.

    >>> slots = torch.tensor([1.0, 3.0]).view(2, 1, 1, 1)  # two bands of one modality
    >>> band_energy(slots)
    tensor([[0.1000],
            [0.9000]], dtype=torch.float64)
    """
    energy = slots.double().square().sum((2, 3))
    return energy / energy.sum(0).clamp(min=torch.finfo(energy.dtype).tiny)


def energy_of(graph, signal: Nodes) -> EnergyDistribution:
    """Return how a signal's energy is spread over the spectrum. Shapes: (U, d), (I, d).

    Raises ValueError for a signal without energy.
    """
    return energy_distribution(moments(graph, sketch(signal), _PRODUCTS))


def shares_between(distribution: EnergyDistribution, edges: Tensor) -> Tensor:
    """Return the share of the energy between adjacent eigenvalues.

    Shapes: edges (E + 1,) ascending in [0, 2]; result (E,), float64, sums to 1 if they span [0, 2].
    """
    theta = torch.arccos((edges.double() - 1).clamp(-1, 1))
    # The grid is uniform in theta and falls from pi to 0.
    cells = len(distribution.theta) - 1
    place = (1 - theta / torch.pi) * cells
    left = place.long().clamp(0, cells - 1)
    F = distribution.cumulative
    return torch.lerp(F[left], F[left + 1], place - left).diff()


def cosines(a: Tensor, b: Tensor) -> Tensor:
    """Cosines of matching rows, nan where one of them is zero. Shapes: a, b (..., d).

    >>> cosines(torch.tensor([[1.0, 0], [0, 0]]), torch.tensor([[2.0, 0], [1, 1]]))
    tensor([1., nan])
    """
    norms = a.norm(dim=-1) * b.norm(dim=-1)
    cosine = (a * b).sum(-1) / norms.clamp(min=_SMALLEST_NORM)
    return torch.where(norms > _SMALLEST_NORM**2, cosine, torch.nan).clamp(-1, 1)


def agreement(slots: Tensor) -> tuple[Tensor, Tensor]:
    """Mean cosine of two modalities of the same node, and of two different nodes, per band.

    Nodes without a signal in a modality take no part in its pairs. The second figure is the exact
    mean over all ordered pairs of different nodes: the level that any two vectors reach because
    all of them share a direction.

    Shapes: results (M, C, C), nan where no node has both.
    """
    norms = slots.double().norm(dim=3, keepdim=True)
    unit = slots.double() / norms.clamp(min=_SMALLEST_NORM)
    here = (norms > _SMALLEST_NORM).double()[..., 0]
    unit = unit * here[..., None]
    same = torch.einsum("mand,mbnd->mab", unit, unit)
    both = torch.einsum("man,mbn->mab", here, here)
    total = unit.sum(2)
    every = torch.einsum("mad,mbd->mab", total, total)
    count = here.sum(2)
    pairs = count[:, :, None] * count[:, None] - both
    return same / both, (every - same) / pairs


def stability(before: Tensor, after: Tensor) -> Tensor:
    """Mean cosine between every node's bands in two decompositions.

    Shapes: before, after (M, C, N, d); result (M, C), nan where no node has a signal.
    """
    return cosines(before.double(), after.double()).nanmean(2)


def reliance(slots: Tensor, gate: Tensor) -> Tensor:
    """Return the share of every slot in a node's gated bands, |g_mc| |B_mc| over their sum.

    Shapes: gate (N, M * C), band-major; result (N, M, C); rows sum to 1.
    """
    M, C, N, _ = slots.shape
    weight = slots.norm(dim=3).permute(2, 0, 1) * gate.view(N, M, C).abs()
    return weight / weight.sum((1, 2), keepdim=True).clamp(min=_SMALLEST_NORM)


def crossing(mixing: Tensor) -> dict[str, float]:
    """Share of the mixing weights |.| that stay in their slot, or cross to another.

    Shapes: mixing (M, C, M, C), output slot first. The four shares sum to 1.

    >>> crossing(torch.eye(4).view(2, 2, 2, 2))["stays"]
    1.0
    """
    M, C = mixing.shape[:2]
    weight = mixing.abs() / mixing.abs().sum()
    same_band = torch.eye(M, dtype=torch.bool, device=mixing.device)[:, None, :, None]
    same_modality = torch.eye(C, dtype=torch.bool, device=mixing.device)[None, :, None]
    return {
        "stays": (weight * (same_band & same_modality)).sum().item(),
        "crosses_bands": (weight * (~same_band & same_modality)).sum().item(),
        "crosses_modalities": (weight * (same_band & ~same_modality)).sum().item(),
        "crosses_both": (weight * (~same_band & ~same_modality)).sum().item(),
    }
