"""InfoNCE without the matrix of similarities, against the dense formula."""

import math

import pytest
import torch
from torch.autograd import gradcheck
from torch.nn import functional as F

from recbole_ssr.nn.contrast import info_nce, info_nce_among

PLACES = torch.tensor([2, 0, 2, 5])


def views(*rows, width=3, scale=1.0):
    generator = torch.Generator().manual_seed(5)
    return [(scale * torch.randn(n, width, generator=generator, dtype=torch.float64))
            .requires_grad_() for n in rows]


def dense(anchor, candidates, places, temperature, weight=None):
    cosines = F.normalize(anchor) @ F.normalize(candidates).T / temperature
    terms = F.cross_entropy(cosines, places, reduction="none")
    return terms.mean() if weight is None else (weight * terms).sum()


def assert_same(result, expected, inputs):
    torch.testing.assert_close(result, expected)
    for a, b in zip(torch.autograd.grad(result, inputs), torch.autograd.grad(expected, inputs)):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("temperature", [0.02, 0.2, 1.0])
@pytest.mark.parametrize("rows", [1, 2, 300], ids=["alone", "two", "several blocks"])
def test_info_nce_and_its_gradients_are_the_dense_ones(temperature, rows):
    anchor, positive = views(rows, rows)
    assert_same(info_nce(anchor, positive, temperature),
                dense(anchor, positive, torch.arange(rows), temperature), (anchor, positive))


def test_gradcheck():
    anchor, positive = views(4, 4)
    assert gradcheck(lambda a, p: info_nce(a, p, 0.3), (anchor, positive))
    anchor, candidates = views(4, 7)
    assert gradcheck(lambda a, c: info_nce_among(a, c, PLACES, 0.3), (anchor, candidates))


def test_among_candidates_each_anchor_has_its_place():
    anchor, candidates = views(4, 7)
    assert_same(info_nce_among(anchor, candidates, PLACES, 0.3),
                dense(anchor, candidates, PLACES, 0.3), (anchor, candidates))


def test_weights_stand_for_repeated_anchors():
    anchor, candidates = views(4, 7)
    counts = torch.tensor([3, 1, 2, 1])
    repeated = info_nce_among(anchor.repeat_interleave(counts, 0), candidates,
                              PLACES.repeat_interleave(counts), 0.3)
    assert_same(info_nce_among(anchor, candidates, PLACES, 0.3, counts.double() / 7), repeated,
                (anchor, candidates))


def test_by_hand():
    """Orthogonal rows: the positive has cosine 1, the other 0."""
    eye = torch.eye(2)
    expected = -math.log(math.e**2 / (math.e**2 + 1))
    assert info_nce(eye, 5 * eye, 0.5).item() == pytest.approx(expected, abs=1e-6)
    assert info_nce(eye, eye.flip(0), 0.5).item() == pytest.approx(expected + 2, abs=1e-6)


def test_the_length_of_a_row_does_not_matter():
    anchor, positive = views(5, 5)
    scaled = info_nce(3 * anchor, 0.2 * positive, 0.2)
    torch.testing.assert_close(scaled, info_nce(anchor, positive, 0.2))


def test_a_row_of_zeros_is_no_nan():
    anchor, positive = (v.detach().clone().requires_grad_() for v in views(3, 3))
    with torch.no_grad():
        anchor[1] = 0
        positive[2] = 0
    loss = info_nce(anchor, positive, 0.2)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(anchor.grad).all() and torch.isfinite(positive.grad).all()
