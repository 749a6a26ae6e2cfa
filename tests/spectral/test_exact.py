import numpy as np
import pytest
import scipy.sparse as sp
import torch
from bank_contract import (
    ITEMS,
    USERS,
    BankContract,
    bands_of,
    laplacian,
    noise,
    random_graph,
    smoothed,
    split,
)

from recbole_ssr.graph.bipartite import BipartiteGraph
from recbole_ssr.spectral.exact import ExactBank, exact_factors


def as_scipy(graph):
    R = graph["R"].double()
    parts = (x.numpy() for x in (R.values(), R.col_indices(), R.crow_indices()))
    return sp.csr_matrix(tuple(parts), shape=R.shape)


def repeated_graph(copies=3):
    """Several copies of one graph: every singular value occurs several times."""
    users, items = random_graph(6, 4, 14).edges()
    part = torch.arange(copies).repeat_interleave(len(users))
    return BipartiteGraph(
        users.repeat(copies) + 6 * part, items.repeat(copies) + 4 * part, 6 * copies, 4 * copies
    ).double()


GRAPHS = {
    "more users": random_graph(),
    "more items": random_graph(ITEMS, USERS),
    "square": random_graph(12, 12, 60),
    "repeated singular values": repeated_graph(),
    "nodes without edges": random_graph(20, 14, 12),
}


def fitted(graph, n_bands, share=0.5):
    bank = ExactBank(exact_factors(as_scipy(graph)), n_bands).double()
    bank.fit(split(graph, smoothed(graph, noise(graph), share)))
    return bank


def matrices(bank, graph):
    """The bands of the identity: the filters themselves, (M, N, N)."""
    return bands_of(bank, graph, torch.eye(sum(graph["R"].shape), dtype=torch.float64))


class TestExactBank(BankContract):
    def build(self, graph, n_bands):
        return ExactBank(exact_factors(as_scipy(graph)), n_bands)


@pytest.mark.parametrize("graph", GRAPHS.values(), ids=GRAPHS)
def test_factors_are_the_singular_triples(graph):
    R = as_scipy(graph).toarray()
    P, s, Q = exact_factors(sp.csr_matrix(R))
    exact = np.linalg.svd(R, compute_uv=False)
    np.testing.assert_allclose(s, exact[exact > 1e-4], atol=1e-6)
    np.testing.assert_allclose(P * s @ Q.T, R, atol=1e-6)
    for V in (P, Q):
        np.testing.assert_allclose(V.T @ V, np.eye(len(s)), atol=1e-5)
    np.testing.assert_allclose(Q.max(0), np.abs(Q).max(0), atol=1e-6)


@pytest.mark.parametrize("n_bands", [1, 2, 3, 5])
@pytest.mark.parametrize("graph", GRAPHS.values(), ids=GRAPHS)
def test_filters_are_the_projectors_of_a_dense_eigendecomposition(graph, n_bands):
    bank = fitted(graph, n_bands)
    eigenvalues, V = torch.linalg.eigh(laplacian(graph))
    band = torch.bucketize(eigenvalues, bank.borders)
    expected = torch.stack([V[:, band == m] @ V[:, band == m].T for m in range(n_bands)])
    torch.testing.assert_close(matrices(bank, graph), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("graph", GRAPHS.values(), ids=GRAPHS)
def test_bands_are_orthogonal_and_idempotent(graph):
    Pi = matrices(fitted(graph, 4), graph)
    products = torch.einsum("mab,nbc->mnac", Pi, Pi)
    expected = torch.eye(4, dtype=torch.float64)[:, :, None, None] * Pi
    torch.testing.assert_close(products, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("n_bands", range(1, 8))
@pytest.mark.parametrize("graph", GRAPHS.values(), ids=GRAPHS)
def test_no_border_splits_an_eigenspace_and_energies_are_equal_up_to_one(graph, n_bands):
    x = smoothed(graph, noise(graph), 0.5)
    bank = fitted(graph, n_bands)
    eigenvalues, V = torch.linalg.eigh(laplacian(graph))
    energy = (V.T @ x).square().sum(1)
    space = (eigenvalues.diff(prepend=torch.tensor([-9.0]).double()) > 1e-9).cumsum(0) - 1
    per_space = torch.zeros(len(energy), dtype=torch.float64).index_add_(0, space, energy)
    band = bank.response(eigenvalues).argmax(0)
    assert all(len(band[space == k].unique()) == 1 for k in space.unique())
    shares = bands_of(bank, graph, x).square().sum((1, 2)) / x.square().sum()
    atom = (per_space.max() / energy.sum()).item()
    assert ((shares - 1 / n_bands).abs() <= atom + 1e-6).all()


def test_all_degenerate_modes_of_lambda_one_are_one_band():
    graph = random_graph(30, 6, 60)
    eigenvalues, V = torch.linalg.eigh(laplacian(graph))
    atom = V[:, (eigenvalues - 1).abs() < 1e-9]
    assert atom.shape[1] >= 24
    for n_bands in range(1, 7):
        bands = bands_of(fitted(graph, n_bands), graph, atom)
        norms = bands.norm(dim=1)
        assert ((norms > 1 - 1e-5).sum(0) == 1).all() and (norms.max(1).values > 0.5).sum() == 1


def test_a_single_interaction_has_two_modes():
    """The Laplacian [[1, -1], [-1, 1]]: the mean at 0, the difference at 2."""
    graph = BipartiteGraph(torch.tensor([0]), torch.tensor([0]), 1, 1).double()
    bank = ExactBank(exact_factors(as_scipy(graph)), 2).double()
    x = torch.tensor([[3.0], [1.0]], dtype=torch.float64)
    expected = torch.tensor([[[2.0], [2.0]], [[1.0], [-1.0]]], dtype=torch.float64)
    torch.testing.assert_close(bands_of(bank, graph, x), expected)


def test_without_interactions_everything_is_at_lambda_one():
    nothing = torch.zeros(0, dtype=torch.long)
    graph = BipartiteGraph(nothing, nothing, 3, 2).double()
    bank = ExactBank(exact_factors(as_scipy(graph)), 3).double()
    x = noise(graph)
    bands = bands_of(bank, graph, x)
    torch.testing.assert_close(bands, torch.stack([0 * x, x, 0 * x]))
