"""Products with a trained sparse matrix, and softmax by group, against their dense forms."""

import pytest
import torch
from torch.autograd import gradcheck

from recbole_ssr.nn.edges import EdgePattern, edge_product, edge_softmax

SHAPE = (5, 4)
# Unsorted, (3, 1) twice; no edge of row 1 or of column 3.
ROWS = torch.tensor([3, 0, 4, 3, 0, 2, 3])
COLS = torch.tensor([1, 2, 0, 0, 0, 2, 1])


def pattern(rows=ROWS, cols=COLS, shape=SHAPE):
    return EdgePattern(rows, cols, shape)


def values_and_rows(n_edges=7, width=3):
    generator = torch.Generator().manual_seed(1)
    return (torch.randn(n_edges, generator=generator, dtype=torch.float64, requires_grad=True),
            torch.randn(SHAPE[1], width, generator=generator, dtype=torch.float64,
                        requires_grad=True))


def dense(values, rows=ROWS, cols=COLS, shape=SHAPE):
    """The matrix written edge by edge; repeated edges add up."""
    matrix = torch.zeros(shape, dtype=values.dtype)
    for r, c, v in zip(rows.tolist(), cols.tolist(), values):
        matrix = matrix + v * torch.outer(torch.eye(shape[0], dtype=values.dtype)[r],
                                          torch.eye(shape[1], dtype=values.dtype)[c])
    return matrix


def test_the_matrix_and_its_transpose_hold_the_values_in_place():
    values, _ = values_and_rows()
    expected = dense(values).detach()
    torch.testing.assert_close(pattern().matrix(values.detach()).to_dense(), expected)
    torch.testing.assert_close(pattern().transpose(values.detach()).to_dense(), expected.T)


def test_a_product_and_its_gradients_equal_the_dense_ones():
    values, x = values_and_rows()
    result, expected = edge_product(pattern(), values, x), dense(values) @ x
    torch.testing.assert_close(result, expected)
    upstream = torch.randn_like(result)
    for a, b in zip(torch.autograd.grad(result, (values, x), upstream),
                    torch.autograd.grad(expected, (values, x), upstream)):
        torch.testing.assert_close(a, b)


def test_gradcheck_by_values_and_rows_in_blocks_of_edges():
    assert gradcheck(lambda v, x: edge_product(pattern(), v, x), values_and_rows())


def test_one_of_both_may_be_constant():
    values, x = values_and_rows()
    edge_product(pattern(), values.detach(), x).sum().backward()
    torch.testing.assert_close(x.grad, dense(values).detach().sum(0)[:, None].expand(-1, 3))
    edge_product(pattern(), values, x.detach()).sum().backward()
    torch.testing.assert_close(values.grad, x.detach()[COLS].sum(1))


def test_a_gradient_that_is_not_contiguous():
    values, x = values_and_rows()
    edge_product(pattern(), values, x).T.cumsum(0)[-1].sum().backward()
    torch.testing.assert_close(values.grad, x.detach()[COLS].sum(1))


def test_repeated_edges_add_up_and_each_gets_a_gradient():
    values = torch.tensor([1.0, 2.0, 4.0], requires_grad=True)
    twice = pattern(torch.tensor([0, 0, 1]), torch.tensor([1, 1, 0]), (2, 2))
    x = torch.tensor([[1.0], [10.0]])
    result = edge_product(twice, values, x)
    assert result.tolist() == [[30.0], [4.0]]
    result.sum().backward()
    assert values.grad.tolist() == [10.0, 10.0, 1.0]


def test_a_matrix_has_one_entry_per_place_however_often_its_edges_occur():
    """cuSPARSE refuses a matrix of more entries than places."""
    often = pattern(ROWS.repeat(4), COLS.repeat(4))
    values = torch.arange(28.0)
    assert len(often.matrix(values).values()) == len(often.transpose(values).values()) == 6
    torch.testing.assert_close(often.matrix(values).to_dense(), dense(values, ROWS.repeat(4),
                                                                      COLS.repeat(4)))


def test_a_matrix_without_edges_is_zero_and_has_gradients():
    none = torch.zeros(0, dtype=torch.long)
    values, x = values_and_rows(n_edges=0)
    result = edge_product(pattern(none, none), values, x)
    assert result.shape == (5, 3) and not result.any()
    result.sum().backward()
    assert values.grad.shape == (0,) and not x.grad.any()


def test_a_pattern_follows_its_module_and_keeps_its_indices():
    moved = pattern().double()
    assert moved["crow"].dtype == torch.int32 and moved["order"].dtype == torch.int64
    assert not moved.state_dict()


def test_indices_of_32_bits_do_not_overflow():
    """The place row * m + column of an edge may lie beyond 2^31."""
    rows, cols = torch.tensor([40_000, 1, 0]), torch.tensor([5, 60_000, 1])
    narrow = pattern(rows.int(), cols.int(), (70_000, 70_000))
    values = torch.tensor([1.0, 2.0, 3.0])
    assert narrow.matrix(values).values().tolist() == [3, 2, 1]
    assert narrow.transpose(values).values().tolist() == [3, 1, 2]


# Softmax by group

TARGETS = torch.tensor([2, 0, 2, 2, 0, 4])


@pytest.mark.parametrize("width", [(), (3,)], ids=["one", "several"])
def test_softmax_of_each_group_is_torchs(width):
    generator = torch.Generator().manual_seed(2)
    logits = torch.randn(len(TARGETS), *width, generator=generator, dtype=torch.float64,
                         requires_grad=True)
    result = edge_softmax(logits, TARGETS, 6)
    expected = torch.empty_like(result)
    for target in TARGETS.unique():
        of_target = target == TARGETS
        expected[of_target] = logits[of_target].softmax(0)
    torch.testing.assert_close(result, expected)
    assert gradcheck(lambda x: edge_softmax(x, TARGETS, 6), (logits,))


def test_softmax_survives_large_logits():
    logits = torch.tensor([1e4, 1e4 - 1, -1e4, -1e4, 0.0, 1e30])
    targets = torch.tensor([0, 0, 1, 1, 1, 2])
    result = edge_softmax(logits, targets, 3)
    expected = torch.tensor([1.0, -1.0]).div(2).softmax(0)
    torch.testing.assert_close(result[:2], expected)
    assert result[2:].tolist() == [0, 0, 1, 1]


def test_softmax_of_no_edges():
    assert edge_softmax(torch.zeros(0), torch.zeros(0, dtype=torch.long), 3).shape == (0,)
