"""Calibration finds the gains that held-out items were drawn with."""

import pytest
import torch
from torch.nn import functional as F

from recbole_ssr.spectral.calibration import HeldOut, calibration, octaves

M, C, B, N, D, TAU = 2, 3, 700, 60, 5, 0.2
DEGREE = torch.arange(N) % 16 + 1
POPULARITY = octaves(DEGREE, 6)


@pytest.fixture(scope="module")
def slots():
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(M, C, n, D, generator=generator) for n in (B, N)]


def drawn(slots, gains, beta, bias, seen, per_user=3):
    """Items drawn from the softmax of a model with these gains."""
    user, item = (F.normalize(torch.einsum("mc,mcbd->bd", gains, x), dim=1) for x in slots)
    logits = user @ item.T / TAU + beta * bias
    logits[seen[0], seen[1]] = -torch.inf
    generator = torch.Generator().manual_seed(1)
    items = torch.multinomial(logits.softmax(1), per_user, generator=generator)
    return torch.stack([torch.arange(B).repeat_interleave(per_user), items.flatten()])


def likelihood(slots, gains, alpha, beta, bias, held_out):
    """The definition, with all scores at once."""
    user, item = (F.normalize(torch.einsum("mc,mcbd->bd", gains, x), dim=1) for x in slots)
    scores = alpha * user @ item.T / TAU + beta * bias
    others = scores + held_out.log_weight
    others[held_out.seen[0], held_out.seen[1]] = -torch.inf
    rows, items = held_out.positives
    each = others.logsumexp(1)[rows] - scores[rows, items]
    return sum(each[rows == row].mean() for row in rows.unique()) / len(user)


def case(slots, gains, beta):
    bias = torch.linspace(-1, 1, N)
    seen = torch.stack([torch.arange(B), torch.arange(B) % N])
    positives = drawn(slots, gains, beta, bias, seen)
    return bias, HeldOut(positives, seen, torch.zeros(N))


def test_the_gains_of_the_truth_are_found(slots):
    truth = torch.tensor([[1.0, 0.5, 2.0], [0.6, 1.0, 1.5]])
    bias, held_out = case(slots, truth, 0.5)
    result = calibration(*slots, bias, POPULARITY, held_out, 1 / TAU, True, prior=0.0)
    ratio = result.gains / result.gains[0, 0]
    torch.testing.assert_close(ratio, truth, rtol=0.2, atol=0.1)
    assert result.bias.item() == pytest.approx(0.5, abs=0.15)
    ones = torch.ones(M, C)
    before = likelihood(slots, ones, 1, 1, bias, held_out).item()
    assert result.before == pytest.approx(before, rel=1e-4)
    at_truth = likelihood(slots, truth, 1, 0.5, bias, held_out).item()
    assert result.after < at_truth < before


def test_a_prior_holds_them_at_one_and_a_small_part_says_little(slots):
    truth = torch.tensor([[1.0, 0.5, 2.0], [0.6, 1.0, 1.5]])
    bias, held_out = case(slots, truth, 0.5)
    strong, weak = (calibration(*slots, bias, POPULARITY, held_out, 1 / TAU, True, prior=rho)
                    for rho in (1e6, 1.0))
    torch.testing.assert_close(strong.gains, torch.ones(M, C), rtol=1e-2, atol=1e-2)
    few = held_out._replace(positives=held_out.positives[:, held_out.positives[0] < 10],
                            seen=held_out.seen[:, held_out.seen[0] < 10])
    small = calibration(slots[0][:, :, :10], slots[1], bias, POPULARITY, few, 1 / TAU, True,
                        prior=1e2)
    assert small.gains.log().norm() < 0.3 * weak.gains.log().norm()


def test_the_optimum_has_no_gradient(slots):
    """The penalised likelihood, written down once more, is stationary at what is returned."""
    bias, held_out = case(slots, torch.ones(M, C), 1.0)
    held_out = held_out._replace(log_weight=torch.linspace(0, 0.5, N))
    prior = 30.0
    result = calibration(*slots, bias, POPULARITY, held_out, 1 / TAU, True, prior)
    log_gain = result.gains.log().requires_grad_()
    # alpha is not returned: it is the best one for these gains.
    log_scale = torch.zeros(2, requires_grad=True)
    knots = torch.zeros(6, requires_grad=True)
    optimizer = torch.optim.LBFGS([log_scale, knots], max_iter=50, line_search_fn="strong_wolfe")

    def value():
        optimizer.zero_grad()
        alpha, beta = log_scale.exp()
        added = beta * bias + POPULARITY @ knots
        total = likelihood(slots, log_gain.exp(), alpha, 1, added, held_out)
        total = total + prior / B * sum(x.square().sum() for x in (log_gain, log_scale, knots))
        total.backward()
        return total

    optimizer.step(value)
    log_gain.grad = None
    assert value().item() == pytest.approx(result.after, abs=1e-4)
    assert log_gain.grad.abs().max() < 5e-3
    assert (log_scale[1] - log_scale[0]).exp().item() == pytest.approx(result.bias.item(), abs=2e-2)
    torch.testing.assert_close(knots / log_scale[0].exp(), result.popularity, rtol=0, atol=2e-2)


def test_a_function_of_popularity_is_found(slots):
    truth = torch.tensor([0.0, 1.0, -1.0, 0.5, 0.0, 0.0])
    bias = torch.linspace(-1, 1, N)
    seen = torch.stack([torch.arange(B), torch.arange(B) % N])
    positives = drawn(slots, torch.ones(M, C), 1, bias + POPULARITY @ truth, seen)
    held_out = HeldOut(positives, seen, torch.zeros(N))
    result = calibration(*slots, bias, POPULARITY, held_out, 1 / TAU, True, prior=0.1)
    found = POPULARITY @ (result.popularity - truth)  # but for a constant, which ranks nothing
    assert (found - found.mean()).abs().max() < 0.25
    assert result.bias.item() == pytest.approx(1, abs=0.15)


def test_between_powers_of_two_it_is_linear_in_the_logarithm():
    degree = torch.tensor([0, 1, 2, 3, 4, 6, 16])
    weight = octaves(degree, 6)
    assert weight[0].tolist() == [0.0] * 6 and weight.shape == (7, 6)
    torch.testing.assert_close(weight[1:].sum(1), torch.ones(6))
    torch.testing.assert_close(weight[1:] @ torch.arange(6.0), degree[1:].log2())


def test_it_is_deterministic_and_writes_into_nothing(slots):
    bias, held_out = case(slots, torch.ones(M, C), 1.0)
    copies = [x.clone() for x in (*slots, bias)]
    a, b = (calibration(*slots, bias, POPULARITY, held_out, 1.0, False, 30.0) for _ in range(2))
    assert torch.equal(a.gains, b.gains) and torch.equal(a.bias, b.bias)
    assert all(torch.equal(x, y) for x, y in zip((*slots, bias), copies))
