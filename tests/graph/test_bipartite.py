import pytest
import torch

from recbole_ssr.graph.bipartite import BipartiteGraph


def random_graph(n_users=13, n_items=9, n_edges=50, seed=0):
    generator = torch.Generator().manual_seed(seed)
    users = torch.randint(n_users, (n_edges,), generator=generator)
    items = torch.randint(n_items, (n_edges,), generator=generator)
    return BipartiteGraph(users, items, n_users, n_items), users, items


def product(graph, x):
    """The graph's product on stacked users and items."""
    return torch.cat(graph.product(x.split([graph.n_users, graph.n_items])))


def dense_adjacency(users, items, n_users, n_items):
    R = torch.zeros(n_users, n_items)
    R[users, items] = 1
    A = torch.zeros(n_users + n_items, n_users + n_items)
    A[:n_users, n_users:], A[n_users:, :n_users] = R, R.T
    scale = A.sum(1).clamp(min=1).rsqrt()
    return scale[:, None] * A * scale


def test_product_equals_the_dense_normalised_adjacency():
    graph, users, items = random_graph()
    A = dense_adjacency(users, items, 13, 9)
    x, out = torch.randn(22, 5), torch.randn(22, 5)
    torch.testing.assert_close(product(graph, x), A @ x)
    expected = out - 2 * A @ x
    added = graph.add_product(out.split([13, 9]), x.split([13, 9]), -2.0)
    torch.testing.assert_close(torch.cat(added), expected)
    torch.testing.assert_close(out, expected)  # in place


def test_spectrum_of_the_laplacian_is_within_0_and_2_and_symmetric_about_1():
    graph, _, _ = random_graph()
    identity = torch.eye(sum(graph["R"].shape))
    A = product(graph, identity)
    torch.testing.assert_close(A, A.T)
    eigenvalues = torch.linalg.eigvalsh(identity - A)
    assert eigenvalues.min() > -1e-6 and eigenvalues.max() < 2 + 1e-6
    torch.testing.assert_close(eigenvalues, 2 - eigenvalues.flip(0), atol=1e-5, rtol=0)


def test_a_repeated_interaction_counts_once():
    once = BipartiteGraph(torch.tensor([0, 1]), torch.tensor([1, 1]), 2, 2)
    twice = BipartiteGraph(torch.tensor([0, 1, 1]), torch.tensor([1, 1, 1]), 2, 2)
    torch.testing.assert_close(once["R"].to_dense(), twice["R"].to_dense())


def test_edges_are_the_distinct_interactions_and_indices_are_int32():
    graph, users, items = random_graph()
    expected = set(zip(users.tolist(), items.tolist()))
    assert set(zip(*(t.tolist() for t in graph.edges()))) == expected
    assert graph["R"].col_indices().dtype == torch.int32


def test_relabelled_nodes_permute_the_product():
    graph, users, items = random_graph()
    pu, pi = torch.randperm(13), torch.randperm(9)
    relabelled = BipartiteGraph(pu[users], pi[items], 13, 9)
    node = torch.cat([pu, 13 + pi])
    x = torch.randn(22, 4)
    moved = torch.empty_like(x)
    moved[node] = x
    expected = torch.zeros_like(x)
    expected[node] = product(graph, x)
    torch.testing.assert_close(product(relabelled, moved), expected)


@pytest.mark.parametrize("dtype", [torch.float64])
def test_the_graph_follows_its_module_but_is_no_state(dtype):
    graph, _, _ = random_graph()
    assert graph.state_dict() == {} and not list(graph.buffers())
    assert graph.to(dtype)["R"].dtype == dtype
