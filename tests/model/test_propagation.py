"""Propagation as the baselines use it, against powers of the dense adjacency."""

import pytest
import torch
from torch.autograd import gradcheck

from recbole_ssr.graph.bipartite import BipartiteGraph
from recbole_ssr.graph.knn import ItemGraph
from recbole_ssr.model.propagation import layers_of, propagate_mean, smoothed, users_of

N_USERS, N_ITEMS, WIDTH = 7, 5, 3


def graph():
    generator = torch.Generator().manual_seed(0)
    users = torch.randint(1, N_USERS, (14,), generator=generator)
    items = torch.randint(1, N_ITEMS, (14,), generator=generator)
    return BipartiteGraph(users, items, N_USERS, N_ITEMS).double()


def adjacency(graph):
    A = torch.zeros(N_USERS + N_ITEMS, N_USERS + N_ITEMS, dtype=torch.float64)
    R = (graph["R"].to_dense() > 0).double()
    A[:N_USERS, N_USERS:], A[N_USERS:, :N_USERS] = R, R.T
    scale = A.sum(1).clamp(min=1).rsqrt()
    return scale[:, None] * A * scale


def signal(width=WIDTH):
    generator = torch.Generator().manual_seed(1)
    return tuple(torch.randn(n, width, generator=generator, dtype=torch.float64)
                 .requires_grad_() for n in (N_USERS, N_ITEMS))


def power(A, k, x):
    return torch.linalg.matrix_power(A, k) @ torch.cat(x)


@pytest.mark.parametrize("layers", [0, 1, 2, 5])
@pytest.mark.parametrize("width", [1, 3, 70])
def test_the_mean_over_layers(layers, width):
    g, x = graph(), signal(width)
    expected = sum(power(adjacency(g), k, x) for k in range(layers + 1)) / (layers + 1)
    result = torch.cat(propagate_mean(g, *x, layers))
    torch.testing.assert_close(result, expected)
    upstream = torch.randn_like(expected)
    for a, b in zip(torch.autograd.grad(result, x, upstream),
                    torch.autograd.grad(expected, x, upstream)):
        torch.testing.assert_close(a, b)


def test_without_layers_the_signal_is_returned():
    x = signal()
    assert all(a is b for a, b in zip(propagate_mean(graph(), *x, 0), x))


def test_layers_are_the_powers_and_the_signal_is_none_of_them():
    g, x = graph(), signal()
    result = list(layers_of(g, *x, 3))
    assert len(result) == 3
    for k, layer in enumerate(result, start=1):
        torch.testing.assert_close(torch.cat(layer), power(adjacency(g), k, x))
    assert list(layers_of(g, *x, 0)) == []


def test_users_are_sums_of_their_items():
    g, (user, item) = graph(), signal()
    expected = adjacency(g)[:N_USERS, N_USERS:] @ item
    torch.testing.assert_close(users_of(g, item), expected)
    assert users_of(g, item).shape == user.shape


def test_smoothing_by_an_item_graph_that_is_not_symmetric():
    here = torch.tensor([False, True, True, True, True])
    near = torch.tensor([[1, 2], [2, 3], [3, 4], [4, 3]])
    item_graph = ItemGraph([near], [here], [1.0]).double()
    _, item = signal()
    T = item_graph["T"].to_dense()
    assert not torch.equal(T, T.T)
    torch.testing.assert_close(smoothed(item_graph, item), T @ item)
    smoothed(item_graph, item).sum().backward()
    torch.testing.assert_close(item.grad, T.sum(0)[:, None].expand(-1, WIDTH))


def test_gradients():
    g = graph()
    assert gradcheck(lambda *x: propagate_mean(g, *x, 2), signal())
    assert gradcheck(lambda *x: list(layers_of(g, *x, 2))[-1], signal())
    assert gradcheck(lambda item: users_of(g, item), signal()[1:])
