import math

import pytest
import torch
from torch.autograd import gradcheck

from recbole_ssr.constants import Constants
from recbole_ssr.graph.csr import csr_tensor
from recbole_ssr.nn.losses import bce_ranking, weighted_mse
from recbole_ssr.nn.normalise import unit_rows
from recbole_ssr.nn.projection import FeatureProjection
from recbole_ssr.nn.sparse import add_sparse_product


def test_bce_by_hand():
    value = bce_ranking(torch.tensor([0.0, 2.0]), torch.tensor([0.0, -1.0]))
    terms = [math.log(2), math.log(1 + math.exp(-2)), math.log(2), math.log(1 + math.exp(-1))]
    assert value.item() == pytest.approx(sum(terms) / 4, abs=1e-6)


def test_bce_survives_extreme_scores():
    value = bce_ranking(torch.tensor([-1e4]), torch.tensor([1e4]))
    assert value.item() == pytest.approx(1e4)


def test_weighted_mse_is_the_mse_of_repeated_rows():
    x, y, counts = torch.randn(3, 4), torch.randn(3, 4), torch.tensor([2, 1, 3])
    repeated = torch.nn.functional.mse_loss(*(v.repeat_interleave(counts, 0) for v in (x, y)))
    torch.testing.assert_close(weighted_mse(x, y, counts.float()), repeated)


def test_projection_is_two_layers_with_a_leaky_rectifier():
    project = FeatureProjection(2, 1, 1)
    for p in project.parameters():
        torch.nn.init.ones_(p)
    out = project(torch.tensor([[1.0, 1.0], [-2.0, -1.0]]))
    torch.testing.assert_close(out, torch.tensor([[4.0], [1 - 0.02]]))


def test_sparse_product_and_its_gradient():
    rows, cols, values = torch.tensor([0, 1, 1, 3]), torch.tensor([2, 0, 1, 3]), torch.randn(4)
    T = csr_tensor(rows, cols, values.double(), (4, 4))
    Tt = csr_tensor(cols, rows, values.double(), (4, 4))
    x = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(add_sparse_product(x, T, Tt), x + T.to_dense() @ x)
    assert gradcheck(lambda x: add_sparse_product(x, T, Tt), (x,))


def test_duplicate_coordinates_are_summed():
    m = csr_tensor(torch.tensor([1, 1]), torch.tensor([0, 0]), torch.tensor([1.0, 2.0]), (2, 2))
    assert m.to_dense().tolist() == [[0, 0], [3, 0]]


def test_constants_follow_the_module_without_being_its_state():
    outer = torch.nn.Module()
    outer.inner = Constants(a=torch.ones(2))
    outer.double()
    assert outer.inner["a"].dtype == torch.float64
    assert not outer.state_dict() and not list(outer.parameters())


def test_unit_rows_equal_normalize_and_have_its_gradient():
    x = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(unit_rows(x), torch.nn.functional.normalize(x))
    assert gradcheck(unit_rows, (x,))
    zeros = torch.zeros(2, 3, requires_grad=True)
    result = unit_rows(zeros)
    assert torch.equal(result, torch.zeros(2, 3))
    result.sum().backward()  # no direction is better than another
    assert torch.equal(zeros.grad, torch.zeros(2, 3))
