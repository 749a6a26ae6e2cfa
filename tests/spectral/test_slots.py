"""A tap's gradient, and that no gradient of its neighbours changes."""

import pytest
import torch
from torch.autograd import grad, gradcheck

from recbole_ssr.spectral.fusion import _SlotSums
from recbole_ssr.spectral.slots import tap

SHAPE, ROWS, FEW = (2, 2, 5, 3), torch.tensor([4, 1, 2]), torch.tensor([0, 4])


def tensors(number):
    generator = torch.Generator().manual_seed(7)
    return [torch.randn(SHAPE, generator=generator, dtype=torch.float64, requires_grad=True)
            for _ in range(number)]


def plain_tap(x, *rows):
    """:func:`tap` in torch's own operations."""
    return x, *(x.index_select(2, r) for r in rows)


def plain_sums(x, weights):
    return x, (weights.T @ x.flatten(0, 1).flatten(1)).view(-1, *SHAPE[2:])


def our_sums(x, weights):
    out, sums = _SlotSums.apply(x.flatten(0, 1), weights)
    return out.view(SHAPE), sums


# How what leaves a tap can meet another tensor whose gradient is the same one, or a view of it.
def beside_a_sum(use, x, y, w):
    s, part = use(x)
    return ((s + y) * w).sum() + part.sum()


def beside_a_difference(use, x, y, w):
    s, part = use(x)
    return ((y - s) * w).sum() + part.square().sum()


def beside_a_product(use, x, y, w):
    s, part = use(x)
    return (s * y * w).sum() + (part * 2).sum()


def beside_a_view(use, x, y, w):
    s, part = use(x)
    return ((s.view(-1) + y.view(-1)).view(SHAPE) * w).sum() + part.exp().sum()


def beside_a_transpose(use, x, y, w):
    s, part = use(x)
    return ((s.transpose(0, 3) + y.transpose(0, 3)) * w.transpose(0, 3)).sum() + part.sum()


def beside_parts(use, x, y, w):
    s, part = use(x)
    joined = torch.cat([s, y], dim=1) * torch.cat([w, w], dim=1)
    first, second = joined.chunk(2, dim=1)
    return (first + second + s).square().sum() + part.sum()


def used_twice(use, x, y, w):
    s, part = use(x)
    again, more = use(s + y)
    return (again * w + s).sum() + part.sum() + more.square().sum()


def into_another(use, x, y, w):
    s, part = use(x + y)
    return (s * w).sum() + s.sum() + part.sum() + part.square().sum()


MEETINGS = [beside_a_sum, beside_a_difference, beside_a_product, beside_a_view,
            beside_a_transpose, beside_parts, used_twice, into_another]


@pytest.mark.parametrize("meeting", MEETINGS, ids=lambda f: f.__name__)
@pytest.mark.parametrize("what", ["tap", "sums"])
def test_gradients_beside_other_uses(meeting, what):
    x, y, w = tensors(3)
    weights = torch.tensor([[1.0, 0.5], [2.0, -1.0], [0.0, 3.0], [-2.0, 1.0]]).double()
    ours, plain = {
        "tap": (lambda t: tap(t, ROWS), lambda t: plain_tap(t, ROWS)),
        "sums": (lambda t: our_sums(t, weights), lambda t: plain_sums(t, weights)),
    }[what]
    got = grad(meeting(ours, x, y, w), (x, y, w))
    for result, expected in zip(got, grad(meeting(plain, x, y, w), (x, y, w))):
        torch.testing.assert_close(result, expected)
    assert gradcheck(lambda *t: meeting(ours, *t), (x, y, w))


def test_the_gradient_of_a_summand_is_exactly_the_weight():
    """The example that once came out wrong by one at every tapped row."""
    x, other, w = tensors(3)
    s, part = tap(x, ROWS)
    (result,) = grad(((s + other) * w.detach()).sum() + part.sum(), other)
    assert torch.equal(result, w)


def test_asked_for_together_the_gradients_before_and_after_differ_by_the_rows():
    x, w = tensors(2)
    s, part = tap(x, ROWS)
    at_output, at_input = grad((s * w.detach()).sum() + part.sum(), (s, x))
    assert torch.equal(at_output, w)
    expected = w.detach().clone()
    expected[:, :, ROWS] += 1
    torch.testing.assert_close(at_input, expected)


def test_several_selections_at_once_are_several_taps():
    x, w = tensors(2)

    def together(t):
        s, first, second = tap(t, ROWS, FEW)
        return (s * w).sum() + first.square().sum() + second.exp().sum()

    def one_by_one(t):
        s, first = tap(t, ROWS)
        s, second = tap(s, FEW)
        return (s * w).sum() + first.square().sum() + second.exp().sum()

    torch.testing.assert_close(grad(together(x), x), grad(one_by_one(x), x))
    assert gradcheck(together, (x,))
    assert tap(x) == (x,)
