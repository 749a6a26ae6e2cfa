"""Inner products along edges: value and gradient."""

import torch

from recbole_ssr.nn.edge_dot import edge_dot
from recbole_ssr.nn.edges import EdgePattern


def pattern():
    rows, cols = torch.tensor([2, 0, 2, 1, 4]), torch.tensor([0, 2, 1, 2, 0])
    return EdgePattern(rows, cols, (5, 3))


def test_it_is_the_dense_product_at_the_edges():
    edges, x, y = pattern(), torch.randn(5, 4), torch.randn(3, 4)
    dense = (x @ y.T)[edges["rows"], edges["cols"]]
    torch.testing.assert_close(edge_dot(edges, x, y), dense)


def test_rows_of_any_layout():
    edges, x, y = pattern(), torch.randn(4, 5).T, torch.randn(3, 8)[:, ::2]
    dense = (x @ y.T)[edges["rows"], edges["cols"]]
    torch.testing.assert_close(edge_dot(edges, x, y), dense)


def test_its_gradient():
    x, y = (torch.randn(n, 4, dtype=torch.float64, requires_grad=True) for n in (5, 3))
    assert torch.autograd.gradcheck(lambda x, y: edge_dot(pattern(), x, y), (x, y))


def test_without_edges():
    none = torch.zeros(0, dtype=torch.long)
    x, y = torch.randn(5, 4, requires_grad=True), torch.randn(3, 4)
    s = edge_dot(EdgePattern(none, none, (5, 3)), x, y)
    assert s.shape == (0,)
    s.sum().backward()
    assert torch.equal(x.grad, torch.zeros(5, 4))


def test_an_edge_that_occurs_twice_has_its_value_twice():
    edges = EdgePattern(torch.tensor([1, 0, 1]), torch.tensor([2, 0, 2]), (2, 3))
    assert not edges.distinct and pattern().distinct
    x, y = (torch.randn(n, 4, dtype=torch.float64, requires_grad=True) for n in (2, 3))
    torch.testing.assert_close(edge_dot(edges, x, y), (x @ y.T)[[1, 0, 1], [2, 0, 2]])
    assert torch.autograd.gradcheck(lambda x, y: edge_dot(edges, x, y), (x, y))
