"""Regularisers and the alignment of single rows, by hand."""

import pytest
import torch
from recbole.model.loss import EmbLoss
from torch.autograd import gradcheck

from recbole_ssr.nn.losses import frobenius, half_squares, one_minus_cosine

A = torch.tensor([[3.0, 4.0], [0.0, 0.0]])
B = torch.tensor([[1.0, 2.0], [2.0, 4.0], [0.0, 0.0]])


def test_frobenius_adds_norms_of_whole_matrices_unsquared():
    assert frobenius(10, A, B).item() == pytest.approx((5 + 5) / 10)
    assert frobenius(2, A).item() == pytest.approx(5 / 2)


def test_half_squares_adds_squared_norms():
    assert half_squares(10, A, B).item() == pytest.approx((25 + 25) / 20)
    assert half_squares(2048, A).item() == pytest.approx(25 / 4096)


def test_both_are_recboles_two_forms():
    rows = [torch.randn(4, 3, generator=torch.Generator().manual_seed(k)) for k in range(3)]
    for squared, ours in ((False, frobenius), (True, half_squares)):
        theirs = EmbLoss()(*rows, require_pow=squared)
        torch.testing.assert_close(ours(4, *rows), theirs.squeeze())


def test_a_row_that_occurs_twice_counts_twice():
    twice = torch.cat([A, A])
    assert half_squares(1, twice) == 2 * half_squares(1, A)


def test_gradients_and_the_one_at_zero():
    x = torch.randn(3, 2, dtype=torch.float64, requires_grad=True)
    assert gradcheck(lambda x: frobenius(3, x), (x,))
    assert gradcheck(lambda x: half_squares(3, x), (x,))
    zero = torch.zeros(3, 2, requires_grad=True)
    frobenius(3, zero).backward()
    assert not zero.grad.any()


def test_one_minus_cosine_by_hand():
    x = torch.tensor([[2.0, 0.0], [0.0, 3.0], [1.0, 1.0]])
    target = torch.tensor([[5.0, 0.0], [0.0, -1.0], [1.0, -1.0]])
    assert one_minus_cosine(x, target).item() == pytest.approx(1 - (1 - 1 + 0) / 3)


def test_one_minus_cosine_of_a_row_of_zeros_is_one_and_has_a_gradient():
    x = torch.zeros(1, 2, requires_grad=True)
    loss = one_minus_cosine(x, torch.ones(1, 2))
    loss.backward()
    assert loss.item() == 1 and torch.isfinite(x.grad).all()
