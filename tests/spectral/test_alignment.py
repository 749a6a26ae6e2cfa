import math

import pytest
import torch
from torch.autograd import gradcheck
from torch.nn import functional as F

from recbole_ssr.spectral.alignment import cross_modal_infonce, sample_rows


def literal(a, b, temperature, exclude_self=False):
    """InfoNCE written out, every vector of both modalities in every denominator."""
    a, b = (F.normalize(v.reshape(-1, v.shape[-1]), dim=1) for v in (a, b))
    keys, total = torch.cat([a, b]), 0.0
    for start, anchors, targets in ((0, a, b), (len(a), b, a)):
        for n, (x, positive) in enumerate(zip(anchors, targets)):
            denominator = sum(math.exp(x @ key / temperature) for k, key in enumerate(keys)
                              if not exclude_self or k != start + n)
            total += -math.log(math.exp(x @ positive / temperature) / denominator)
    return total / (2 * len(a))


def vectors(seed=0, nodes=4, bands=2):
    """Two modalities, (M, B, d) each."""
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(bands, nodes, 5, generator=generator, dtype=torch.float64)
            for _ in range(2))


def test_equals_the_formula_written_out():
    a, b = vectors()
    value = cross_modal_infonce(a, b, torch.ones(4, dtype=torch.float64), 0.2)
    assert value.item() == pytest.approx(literal(a, b, 0.2), abs=1e-10)


def test_the_anchor_itself_can_be_left_out_of_its_denominator():
    a, b = vectors(nodes=5)
    ones = torch.ones(5, dtype=torch.float64)
    for block in (3, 2048):
        value = cross_modal_infonce(a, b, ones, 0.2, block, exclude_self=True)
        assert value.item() == pytest.approx(literal(a, b, 0.2, exclude_self=True), abs=1e-10)


def test_counts_stand_for_repeated_nodes():
    a, b = vectors()
    counts = torch.tensor([1, 3, 2, 1])
    repeated = [v.repeat_interleave(counts, dim=1) for v in (a, b)]
    value = cross_modal_infonce(a, b, counts.double(), 0.3)
    assert value.item() == pytest.approx(literal(*repeated, 0.3), abs=1e-10)


def test_blocks_do_not_change_the_value():
    a, b = vectors(nodes=6, bands=3)
    counts = torch.ones(6, dtype=torch.float64)
    whole = cross_modal_infonce(a, b, counts, 0.2)
    torch.testing.assert_close(cross_modal_infonce(a, b, counts, 0.2, block=5), whole)


@pytest.mark.parametrize("exclude_self", [False, True])
@pytest.mark.parametrize("temperature, block", [(0.5, 3), (0.02, 3), (0.02, 2048)])
def test_gradient(exclude_self, temperature, block):
    a, b = (v.requires_grad_() for v in vectors())
    counts = torch.tensor([2.0, 1, 1, 1], dtype=torch.float64)
    assert gradcheck(
        lambda a, b: cross_modal_infonce(a, b, counts, temperature, block, exclude_self), (a, b)
    )


@pytest.mark.parametrize("temperature", [0.02, 0.007, 0.0001])
def test_no_temperature_that_is_allowed_makes_it_infinite(temperature):
    """All of a row lies far below 1 / tau once the vector itself is left out."""
    a, b = (v.float() for v in vectors(nodes=3))
    value = cross_modal_infonce(a, b, torch.ones(3), temperature, exclude_self=True)
    x = F.normalize(torch.cat([v.reshape(-1, 5) for v in (a, b)]).double(), dim=1)
    similar = (x @ x.T / temperature).fill_diagonal_(-torch.inf)
    positive = (x[:6] * x[6:]).sum(1).repeat(2) / temperature
    assert value.item() == pytest.approx((similar.logsumexp(1) - positive).mean().item(), rel=1e-4)


def test_aligned_modalities_lose_less_than_shuffled_ones():
    a, _ = vectors(nodes=8)
    counts = torch.ones(8, dtype=torch.float64)
    assert cross_modal_infonce(a, a, counts, 0.2) < cross_modal_infonce(a, a.roll(1, 1), counts,
                                                                       0.2)


def test_sample_rows_draws_distinct_rows_or_none():
    generator = torch.Generator().manual_seed(0)
    rows = sample_rows(torch.ones(50), 20, generator)
    assert len(set(rows.tolist())) == 20 and rows.max() < 50
    assert sample_rows(torch.ones(50), 0, generator) is None
    assert sample_rows(torch.ones(50), 50, generator) is None
