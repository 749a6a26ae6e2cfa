import pytest
import torch

from recbole_ssr.spectral.masking import band_mask


def draw(rate, nodes=20_000, bands=3, seed=0):
    return band_mask(torch.zeros(bands, nodes, 1), rate, torch.Generator().manual_seed(seed))


def test_rate_zero_masks_nothing():
    assert torch.equal(draw(0.0, nodes=50), torch.ones(50, 3))


def test_survivors_are_scaled_and_no_node_loses_every_band():
    mask = draw(0.6)
    assert mask.unique().tolist() == [0.0, pytest.approx(1 / 0.4)]
    assert mask.any(dim=1).all()


def test_frequency_of_each_band():
    rate, mask = 0.4, draw(0.4) > 0
    kept = mask.float().mean(0)
    # Band 1 is also kept by the nodes that lost all three, a share of rate^3.
    expected = torch.tensor([1 - rate + rate**3, 1 - rate, 1 - rate])
    torch.testing.assert_close(kept, expected, atol=0.015, rtol=0)


def test_only_its_own_generator_is_used():
    before = torch.get_rng_state()
    assert torch.equal(draw(0.5, seed=1), draw(0.5, seed=1))
    assert not torch.equal(draw(0.5, seed=1), draw(0.5, seed=2))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("rate", [-0.1, 1.0, 2])
def test_a_rate_that_is_no_probability_is_refused(rate):
    with pytest.raises(ValueError, match="mask_rate"):
        draw(rate)
