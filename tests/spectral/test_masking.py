import pytest
import torch

from recbole_ssr.spectral.masking import band_mask, modality_mask


def draw(rate, nodes=20_000, bands=3, seed=0):
    return band_mask(nodes, bands, rate, torch.Generator().manual_seed(seed))


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


def test_a_global_mask_is_one_draw_for_all_nodes():
    generator = torch.Generator().manual_seed(4)
    masks = [band_mask(1, 3, 0.5, generator) for _ in range(200)]
    assert all(mask.shape == (1, 3) and mask.any() for mask in masks)
    assert len({tuple(mask[0].tolist()) for mask in masks}) > 4


def drop(rate, modalities=3, nodes=20_000):
    return modality_mask(nodes, modalities, rate,
                         torch.Generator().manual_seed(0))


def test_a_dropped_modality_goes_in_all_bands_and_never_all_modalities():
    mask = drop(0.6)
    assert mask.shape == (20_000, 1, 3) and set(mask.unique().tolist()) == {0.0, 1.0}
    lost = 3 - mask.sum((1, 2))
    assert lost.max() == 1
    # Standard error of a share of 20,000 draws: below .0035.
    assert lost.mean().item() == pytest.approx(0.6, abs=0.015)
    torch.testing.assert_close(mask.mean(0)[0], torch.full((3,), 1 - 0.2), atol=0.015, rtol=0)


def test_the_only_modality_is_never_dropped():
    assert drop(1.0, modalities=1).all()


def test_a_modality_rate_that_is_no_probability_is_refused():
    with pytest.raises(ValueError, match="modality_dropout is 1.2"):
        drop(1.2)
