import numpy as np
import pytest
import torch
from bank_contract import BankContract, bands_of, laplacian, noise, random_graph, smoothed, split
from test_exact import as_scipy, repeated_graph

from recbole_ssr.graph.bipartite import BipartiteGraph
from recbole_ssr.spectral.polynomial import ChebyshevBank
from recbole_ssr.spectral.svd import SVDBank, truncated_factors

K = 5


def svd_bank(graph, n_bands=3, svd_bands=1, k=K):
    return SVDBank(graph, truncated_factors(as_scipy(graph), k, 0), n_bands, svd_bands, 8)


def low_projector(graph, k=K):
    _, V = torch.linalg.eigh(laplacian(graph))
    return V[:, :k] @ V[:, :k].T


class TestOneExactBand(BankContract):
    def build(self, graph, n_bands):
        return svd_bank(graph, n_bands, min(1, n_bands - 1))


class TestAllButOneExact(BankContract):
    def build(self, graph, n_bands):
        return svd_bank(graph, n_bands, n_bands - 1)


class TestNoExactBand(BankContract):
    def build(self, graph, n_bands):
        return svd_bank(graph, n_bands, 0)


@pytest.mark.parametrize("shape", [(60, 40, 400), (40, 60, 400)])
@pytest.mark.parametrize("k", [1, 5, 38, 39, 200])
def test_truncated_factors_are_the_largest_triples(shape, k):
    R = as_scipy(random_graph(*shape))
    P, s, Q = truncated_factors(R, k, 0)
    U, exact, Vt = np.linalg.svd(R.toarray(), full_matrices=False)
    rank = int((exact > 1e-4).sum())
    assert len(s) == min(k, rank)
    np.testing.assert_allclose(s, exact[: len(s)], atol=1e-6)
    largest = U[:, : len(s)] * exact[: len(s)] @ Vt[: len(s)]
    np.testing.assert_allclose(P * s @ Q.T, largest, atol=1e-5)


def test_truncated_factors_depend_on_nothing_but_their_inputs():
    R = as_scipy(random_graph(60, 40, 400))
    before = np.random.get_state()[1].copy()
    first, second = truncated_factors(R, 6, 0), truncated_factors(R, 6, 0)
    assert all(np.array_equal(a, b) for a, b in zip(first, second))
    assert np.array_equal(np.random.get_state()[1], before)
    for a, b in zip(first, truncated_factors(R, 6, 1)):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_an_eigenspace_is_kept_whole_or_left_out():
    graph = repeated_graph(copies=20)  # every singular value twenty times
    R = as_scipy(graph)
    exact = np.linalg.svd(R.toarray(), compute_uv=False)
    distinct = np.flatnonzero(exact[:-1] - exact[1:] > 1e-6)[0] + 1
    assert distinct == 20
    for k in (20, 21, 39):
        P, s, Q = truncated_factors(R, k, 0)
        assert len(s) == 20
        np.testing.assert_allclose(s, 1, atol=1e-6)
        np.testing.assert_allclose(P.T @ P, np.eye(20), atol=1e-5)
        np.testing.assert_allclose(P @ P.T, low_part(R), atol=1e-5)
    with pytest.raises(ValueError, match="svd_modes 7 lowest modes .* raise svd_modes"):
        truncated_factors(R, 7, 0)


def test_no_copy_of_a_repeated_singular_value_is_missed():
    """Isolated pairs beside a large component: s = 1 occurs once for each of them."""
    users, items = random_graph(300, 200, 1500).edges()
    pairs = torch.arange(60)
    users, items = torch.cat([users, 300 + pairs]), torch.cat([items, 200 + pairs])
    R = as_scipy(BipartiteGraph(users, items, 360, 260))
    P, s, Q = truncated_factors(R, 90, 0)
    exact = np.linalg.svd(R.toarray(), compute_uv=False)
    assert (exact > 1 - 1e-6).sum() == 61 and len(s) == 90
    np.testing.assert_allclose(s, exact[:90], atol=1e-6)
    for V in (P, Q):
        np.testing.assert_allclose(V.T @ V, np.eye(90), atol=1e-5)


@pytest.mark.parametrize("edges, rank", [(0, 0), (1, 1), (12, 12)])
def test_a_graph_of_fewer_modes_gives_them_all(edges, rank):
    """Isolated pairs among nodes without interactions."""
    pairs = torch.arange(edges)
    R = as_scipy(BipartiteGraph(pairs, pairs, 60, 40))
    P, s, Q = truncated_factors(R, 12, 0)
    assert len(s) == rank
    np.testing.assert_allclose(P * s @ Q.T, R.toarray(), atol=1e-6)


def low_part(R):
    U, s, _ = np.linalg.svd(R.toarray())
    return U[:, :20] @ U[:, :20].T


def test_the_first_band_is_the_projection_on_the_lowest_modes():
    graph = random_graph(60, 40, 400)
    x, Pi = noise(graph), low_projector(graph)
    bands = bands_of(svd_bank(graph).double(), graph, x)
    torch.testing.assert_close(bands[0], Pi @ x, atol=1e-5, rtol=0)
    torch.testing.assert_close(bands[1:].sum(0), x - Pi @ x, atol=1e-5, rtol=0)
    torch.testing.assert_close(Pi @ bands[1], torch.zeros_like(x), atol=1e-5, rtol=0)


def test_the_rest_is_the_chebyshev_bank_on_the_residual():
    graph = random_graph(60, 40, 400)
    x, Pi = smoothed(graph, noise(graph), 0.7), low_projector(graph)
    bank = svd_bank(graph, n_bands=4, svd_bands=2).double()
    bank.fit(split(graph, x))
    rest = ChebyshevBank(graph, 2, 8).double()
    rest.fit(split(graph, x - Pi @ x))
    torch.testing.assert_close(bank.rest.coefficients, rest.coefficients, atol=1e-5, rtol=0)
    expected = bands_of(rest, graph, x - Pi @ x)
    torch.testing.assert_close(bands_of(bank, graph, x)[2:], expected, atol=1e-4, rtol=0)


def test_exact_bands_share_out_the_modes_at_equal_energy():
    graph = random_graph(60, 40, 400)
    x = smoothed(graph, noise(graph), 0.7)
    bank = svd_bank(graph, n_bands=4, svd_bands=3, k=12).double()
    bank.fit(split(graph, x))
    _, V = torch.linalg.eigh(laplacian(graph))
    energy = (V[:, :12].T @ x).square().sum(1)
    shares = bands_of(bank, graph, x)[:3].square().sum((1, 2))
    torch.testing.assert_close(shares.sum(), energy.sum(), rtol=1e-5, atol=0)
    assert ((shares - energy.sum() / 3).abs() <= energy.max()).all()


@pytest.mark.parametrize("n_bands", [1, 3, 5])
def test_without_exact_bands_it_is_the_chebyshev_bank(n_bands):
    graph = random_graph(60, 40, 400)
    x = smoothed(graph, noise(graph), 0.7)
    bank, other = svd_bank(graph, n_bands, 0), ChebyshevBank(graph, n_bands, 8)
    for _ in range(2):
        assert torch.equal(bands_of(bank, graph, x), bands_of(other, graph, x))
        assert torch.equal(bank.borders, other.borders)
        bank.fit(split(graph, x))
        other.fit(split(graph, x))


@pytest.mark.parametrize("svd_bands", [-1, 3, 4])
def test_no_band_left_for_the_rest_is_refused(svd_bands):
    with pytest.raises(ValueError, match=f"svd_bands is {svd_bands} of n_bands 3; .* 0 to 2"):
        svd_bank(random_graph(), 3, svd_bands)


@pytest.mark.parametrize("k", [0, -3])
def test_no_modes_are_refused(k):
    with pytest.raises(ValueError, match=f"svd_modes is {k}; at least one"):
        truncated_factors(as_scipy(random_graph()), k, 0)
