"""Dropout from a generator of one's own."""

import torch

from recbole_ssr.nn.channel_dropout import dropout


def test_entries_are_zero_or_scaled_and_their_mean_stays():
    x = torch.rand(400, 50) + 1
    y = dropout(x, 0.25, torch.Generator().manual_seed(0))
    kept = y != 0
    torch.testing.assert_close(y[kept], x[kept] / 0.75)
    assert abs(kept.float().mean() - 0.75) < 0.01


def test_draws_come_from_the_generator_alone():
    x, before = torch.ones(30, 4), torch.get_rng_state()
    a, b = (dropout(x, 0.5, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(a, b) and torch.equal(torch.get_rng_state(), before)


def test_without_dropout_nothing_is_drawn():
    generator = torch.Generator().manual_seed(0)
    x, before = torch.ones(3, 4), generator.get_state()
    assert dropout(x, 0.0, generator) is x and torch.equal(generator.get_state(), before)


def test_the_gradient_is_the_mask():
    x = torch.ones(20, 5, dtype=torch.float64, requires_grad=True)
    y = dropout(x, 0.5, torch.Generator().manual_seed(0))
    y.sum().backward()
    assert torch.equal(x.grad, y.detach())
