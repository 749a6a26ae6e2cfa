import pytest
import torch

from recbole_ssr.spectral.bands import reference_bank, response


def test_three_bands_have_the_published_responses():
    at = response(reference_bank(3, 5), torch.tensor([0.0, 1.0, 2.0]))
    expected = torch.tensor([[1.5, 1.0, 0.5], [0.5, -0.8, 1.1], [-1.0, 0.8, -0.6]])
    torch.testing.assert_close(at, expected)


def test_more_bands_share_the_middle_orders_by_stride():
    bank = reference_bank(4, 5)
    torch.testing.assert_close(bank[1], torch.tensor([0, 0, 0.8, 0, 0.3, 0]))
    torch.testing.assert_close(bank[2], torch.tensor([0, 0, 0, 0.8, 0, 0.3]))


@pytest.mark.parametrize("bands", range(1, 8))
def test_responses_sum_to_one_everywhere(bands):
    grid = torch.linspace(0, 2, 101)
    torch.testing.assert_close(response(reference_bank(bands, 10), grid).sum(0), torch.ones(101))


def test_unused_orders_cost_no_product():
    assert reference_bank(3, 9).shape == (3, 4)
    assert reference_bank(1, 9).shape == (1, 1)


@pytest.mark.parametrize("bands, degree, remedy", [(3, 2, "at least 3"), (6, 4, "at least 5"),
                                                   (0, 5, "at least one band")])
def test_a_bank_that_cannot_be_built_says_what_to_do(bands, degree, remedy):
    with pytest.raises(ValueError, match=remedy):
        reference_bank(bands, degree)
