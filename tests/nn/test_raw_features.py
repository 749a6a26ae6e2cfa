"""Raw features inside of a model: frozen or trained, and items without them."""

import pytest
import torch
from torch import nn

from recbole_ssr.nn.raw_features import RawFeatures

MATRIX = torch.arange(12.0).view(4, 3) + 1
HERE = torch.tensor([False, True, False, True])
ITEMS = torch.tensor([3, 2, 3])


def features(trainable, here=HERE):
    return RawFeatures(MATRIX, here, trainable)


@pytest.fixture(params=[False, True], ids=["frozen", "trained"])
def trainable(request):
    return request.param


def test_rows_of_items_without_features_are_zero_whatever_stands_there(trainable):
    expected = MATRIX * HERE[:, None]
    f = features(trainable)
    assert torch.equal(f(), expected)
    assert torch.equal(f(ITEMS), expected[ITEMS])
    assert f.width == 3
    assert torch.equal(f.present, HERE[:, None].float())
    assert f.mask(ITEMS).tolist() == [[1], [0], [1]]


def test_only_trained_features_are_parameters_and_frozen_ones_are_no_state():
    assert [n for n, _ in features(True).named_parameters()] == ["X"]
    assert list(features(True).state_dict()) == ["X"]
    frozen = features(False)
    assert not list(frozen.parameters()) and not frozen.state_dict()
    assert not frozen().requires_grad


def test_a_layer_gives_items_without_features_zeros_not_its_bias(trainable):
    layer = nn.Linear(3, 2)
    f = features(trainable)
    expected = layer(MATRIX) * HERE[:, None]
    torch.testing.assert_close(f.through(layer), expected)
    torch.testing.assert_close(f.through(layer, ITEMS), expected[ITEMS])
    f.through(layer).sum().backward()
    assert layer.bias.grad.tolist() == [2.0, 2.0]  # of the two items with features


def test_training_never_moves_the_row_of_a_missing_item():
    f = features(True)
    optimizer = torch.optim.Adam(f.parameters(), lr=0.1)
    for items in (None, ITEMS):
        optimizer.zero_grad()
        f.through(nn.Linear(3, 2), items).square().sum().backward()
        assert not f.X.grad[~HERE].any()
        optimizer.step()
    assert not f.X[~HERE].any()
    assert not torch.equal(f.X[3], MATRIX[3])


def test_the_given_matrix_is_left_alone(trainable):
    matrix = MATRIX.clone()
    f = RawFeatures(matrix, torch.ones(4, dtype=torch.bool), trainable)
    with torch.no_grad():
        f().add_(1)
    assert torch.equal(matrix, MATRIX)


def test_complete_features_need_no_mask_except_that_of_padding(trainable):
    f = features(trainable, torch.tensor([False, True, True, True]))
    assert f.complete and not features(trainable).complete
    layer = nn.Linear(3, 2)
    torch.testing.assert_close(f.through(layer)[1:], layer(MATRIX)[1:])
    assert not f.through(layer)[0].any()


def test_features_follow_their_module(trainable):
    f = features(trainable).double()
    assert f().dtype == f.mask().dtype == torch.float64
