"""Edges kept at random: how many, which, how likely; and the graph that they leave."""

import pytest
import torch

from recbole_ssr.graph.bipartite import BipartiteGraph
from recbole_ssr.graph.sampling import degree_weights, draw_edges, subgraph
from recbole_ssr.graph.views import AUGMENTATIONS


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def small_graph():
    """Users 1..3, items 1..4; item 1 has three users, user 1 three items."""
    users, items = torch.tensor([1, 1, 1, 2, 3, 3]), torch.tensor([1, 2, 3, 1, 1, 4])
    return BipartiteGraph(users, items, 4, 5)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("keep, size", [(0.0, 0), (0.3, 30), (0.256, 26), (1.0, 100)])
def test_size_order_and_no_repetitions(keep, size, weighted):
    weights = torch.rand(100, generator=seeded(9)) + 0.1 if weighted else None
    edges = draw_edges(100, keep, seeded(), weights)
    assert len(edges) == len(edges.unique()) == size
    assert torch.equal(edges, edges.sort().values)
    assert not size or (edges.min() >= 0 and edges.max() < 100)


def test_the_generator_decides_and_moves_on():
    one, other = seeded(3), seeded(3)
    first = draw_edges(50, 0.5, one)
    torch.rand(7)  # the global generator has no part in it
    assert torch.equal(draw_edges(50, 0.5, other), first)
    assert not torch.equal(draw_edges(50, 0.5, one), first)


def test_the_first_edge_is_drawn_in_proportion_to_the_weights():
    weights = torch.tensor([1.0, 2.0, 3.0, 4.0])
    generator, counts, n = seeded(), torch.zeros(4), 4000
    for _ in range(n):
        counts[draw_edges(4, 0.25, generator, weights)] += 1
    torch.testing.assert_close(counts / n, weights / 10, atol=0.03, rtol=0)


def test_edges_kept_are_as_likely_as_under_multinomial_without_replacement():
    """Two of three: edge k is kept with the probability that two draws in turn give it."""
    p = torch.tensor([0.6, 0.3, 0.1])
    expected = torch.tensor([
        p[k] + sum(p[j] * p[k] / (1 - p[j]) for j in range(3) if j != k) for k in range(3)
    ])
    generator, counts, n = seeded(1), torch.zeros(3), 4000
    for _ in range(n):
        counts[draw_edges(3, 2 / 3, generator, 10 * p)] += 1
    torch.testing.assert_close(counts / n, expected, atol=0.03, rtol=0)


def test_without_weights_all_are_alike():
    generator, counts, n = seeded(2), torch.zeros(10), 3000
    for _ in range(n):
        counts[draw_edges(10, 0.4, generator)] += 1
    torch.testing.assert_close(counts / n, torch.full((10,), 0.4), atol=0.04, rtol=0)


def test_weights_by_degree_favour_edges_between_unpopular_nodes():
    graph = small_graph()
    users, items = graph.edges()
    degree_u, degree_i = torch.bincount(users), torch.bincount(items)
    expected = (degree_u[users] * degree_i[items]).float().rsqrt()
    torch.testing.assert_close(degree_weights(graph), expected)


def test_a_subgraph_has_its_edges_and_the_degrees_that_they_leave():
    graph = small_graph()
    part = subgraph(graph, torch.tensor([0, 1, 3]))
    # Edges (1, 1), (1, 2), (2, 1): degrees of users 2, 1 and of items 2, 1.
    expected = torch.zeros(4, 5)
    expected[1, 1], expected[1, 2], expected[2, 1] = 1 / 2, 2**-0.5, 2**-0.5
    torch.testing.assert_close(part["R"].to_dense(), expected)
    torch.testing.assert_close(part["Rt"].to_dense(), expected.T)
    assert (part.n_users, part.n_items) == (4, 5)


def test_the_subgraph_of_all_edges_is_the_graph_and_of_none_is_empty():
    graph = small_graph()
    assert torch.equal(subgraph(graph, torch.arange(6))["R"].to_dense(), graph["R"].to_dense())
    empty = subgraph(graph, torch.arange(0))
    assert not empty["R"].to_dense().any() and empty["Rt"].shape == (5, 4)


@pytest.mark.parametrize("name, graphs", [("edge_dropout", 1), ("node_dropout", 1),
                                          ("random_walk", 3)])
def test_a_view_is_one_graph_for_all_layers_or_one_a_layer(name, graphs):
    view = AUGMENTATIONS[name](small_graph(), 0.3, 3, seeded())
    assert len(view) == graphs
    again = AUGMENTATIONS[name](small_graph(), 0.3, 3, seeded())
    assert all(torch.equal(a["R"].to_dense(), b["R"].to_dense()) for a, b in zip(view, again))
