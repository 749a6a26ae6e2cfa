import math

import pytest
import torch
from bank_contract import (
    BankContract,
    bands_of,
    laplacian,
    noise,
    random_graph,
    smoothed,
    split,
)
from test_exact import as_scipy

from recbole_ssr.graph.bipartite import BipartiteGraph
from recbole_ssr.spectral.bands import reference_bank
from recbole_ssr.spectral.exact import ExactBank, exact_factors
from recbole_ssr.spectral.polynomial import ChebyshevBank, ReferenceBank, resolvable


class TestReferenceBank(BankContract):
    fits = False

    def build(self, graph, n_bands):
        return ReferenceBank(graph, n_bands, 30)

    def test_its_filters_are_the_released_ones_and_no_state(self):
        bank = self.build(random_graph(), 3)
        torch.testing.assert_close(bank.coefficients, reference_bank(3, 30).double())
        assert not bank.state_dict()


class TestChebyshevBank(BankContract):
    def build(self, graph, n_bands):
        return ChebyshevBank(graph, n_bands, 8)


class TestJacksonBank(BankContract):
    def build(self, graph, n_bands):
        return ChebyshevBank(graph, n_bands, 8, "jackson")


def leakage(bank, graph, x):
    """Per band the share of its energy outside of its interval, by exact eigenvectors."""
    eigenvalues, V = torch.linalg.eigh(laplacian(graph))
    bands = torch.einsum("ne,mnd->med", V, bands_of(bank, graph, x)).square().sum(2)
    inside = torch.bucketize(eigenvalues, bank.borders) == torch.arange(len(bands))[:, None]
    return 1 - (bands * inside).sum(1) / bands.sum(1)


def mean_leakage(shape, share, degree=8, method="least_squares", power=0.0):
    """Averaged over three random graphs and signals; M = 3."""
    result = []
    for seed in range(3):
        graph = random_graph(*shape, seed, power)
        x = smoothed(graph, noise(graph, 16, seed + 10), share)
        bank = ChebyshevBank(graph, 3, degree, method).double()
        bank.fit(split(graph, x))
        result.append(leakage(bank, graph, x))
    return torch.stack(result).mean(0)


@pytest.mark.parametrize("method", ["least_squares", "jackson"])
def test_leakage_falls_with_the_degree(method):
    result = [
        mean_leakage((350, 150, 1500), 0.5, degree, method) for degree in (4, 8, 16, 32)
    ]
    assert all((later < earlier).all() for earlier, later in zip(result, result[1:]))


# Random bipartite graphs of 500 nodes, edges uniform or by a power law, whose spectrum has a gap
# around the atom. Without a gap a border has to cut through modes, and every low degree leaks more.
@pytest.mark.parametrize("shape, power, share", [
    ((350, 150, 1000), 0.0, 0.25),
    ((350, 150, 1500), 0.0, 0.25),
    ((350, 150, 1500), 0.0, 0.5),
    ((350, 150, 1500), 0.7, 0.5),
    ((400, 100, 2000), 0.0, 0.0),
    ((400, 100, 2000), 0.7, 0.5),
])
def test_leakage_of_the_default_bank(shape, power, share):
    low, middle, high = mean_leakage(shape, share, power=power)
    assert low <= 0.05 and middle <= 0.04 and high <= 0.02


def test_least_squares_leak_less_than_jackson_and_the_released_filters():
    shape, share = (350, 150, 1500), 0.5
    fitted, damped = (mean_leakage(shape, share, 8, m) for m in ("least_squares", "jackson"))
    assert (fitted < damped / 2).all()
    graph = random_graph(*shape)
    x = smoothed(graph, noise(graph, 16), share)
    released, bank = ReferenceBank(graph, 3, 8), ChebyshevBank(graph, 3, 8)
    bank.fit(split(graph, x))
    released.borders = bank.borders
    assert (leakage(bank, graph, x) < leakage(released, graph, x) / 5).all()


@pytest.mark.parametrize("method", ["least_squares", "jackson"])
@pytest.mark.parametrize("n_bands", [2, 3])
def test_bands_tend_to_the_exact_ones_with_the_same_borders(method, n_bands):
    graph = random_graph(60, 20, 200)
    x = smoothed(graph, noise(graph), 0.4)
    exact = ExactBank(exact_factors(as_scipy(graph)), n_bands).double()
    s, errors = exact.factors["s"], []
    modes = torch.cat([1 - s, s.new_ones(1), 1 + s.flip(0)])
    for degree in (4, 8, 16, 32):
        bank = ChebyshevBank(graph, n_bands, degree, method).double()
        bank.fit(split(graph, x))
        band = torch.bucketize(modes, bank.borders)
        exact.weights.copy_(torch.arange(n_bands)[:, None] == band)
        difference = bands_of(bank, graph, x) - bands_of(exact, graph, x)
        errors.append((difference.square().sum() / x.square().sum()).item())
    assert all(later < earlier for earlier, later in zip(errors, errors[1:]))
    assert errors[-1] < errors[0] / 4


def test_energies_are_about_equal_where_no_atom_interferes():
    graph = random_graph(250, 250, 3000)
    x = smoothed(graph, noise(graph), 1.0)
    bank = ChebyshevBank(graph, 2, 64, "jackson").double()
    bank.fit(split(graph, x))
    assert (bank.borders - 1).abs().min() > 0.1
    shares = bands_of(bank, graph, x).square().sum((1, 2)) / x.square().sum()
    assert (shares - 0.5).abs().max() < 0.1


@pytest.mark.parametrize("degree", [-1, 0])
def test_a_degree_without_orders_is_refused_unless_one_band_needs_none(degree):
    with pytest.raises(ValueError, match=f"cheb_degree is {degree}; .* at least degree 1"):
        ChebyshevBank(random_graph(), 3, degree)
    assert ChebyshevBank(random_graph(), 1, degree).coefficients.tolist() == [[1.0]]


def test_an_unknown_method_is_refused():
    with pytest.raises(ValueError, match="cheb_fit is 'lanczos'; choose one of least_squares"):
        ChebyshevBank(random_graph(), 3, 8, "lanczos")


def test_the_reference_bank_says_which_degree_it_needs():
    with pytest.raises(ValueError, match="cheb_degree 2 is too low for n_bands 3"):
        ReferenceBank(random_graph(), 3, 2)


def test_borders_move_apart_to_what_the_degree_resolves():
    step = math.pi / 9
    fine = torch.tensor([2.5, 1.2], dtype=torch.float64)
    assert torch.equal(resolvable(fine, 8), fine)
    stuck = torch.tensor([math.pi, math.pi - 1e-3, 0.0], dtype=torch.float64)
    expected = torch.tensor([math.pi - step, math.pi - 2 * step, step], dtype=torch.float64)
    torch.testing.assert_close(resolvable(stuck, 8), expected)
    # More borders than the degree resolves share the interval out evenly.
    many = resolvable(torch.zeros(5, dtype=torch.float64), 2)
    torch.testing.assert_close(many.diff(), torch.full((4,), -math.pi / 6, dtype=torch.float64))


def test_a_signal_of_one_frequency_leaves_no_band_a_sliver():
    """All energy at lambda = 0: the low band's filter still passes it, the others' do not."""
    generator = torch.Generator().manual_seed(0)
    users = torch.randint(60, (600,), generator=generator)
    items = torch.randint(40, (600,), generator=generator)
    graph = BipartiteGraph(users, items, 60, 40)
    ones = graph["R"].to_dense() > 0
    smooth = tuple(ones.sum(d, keepdim=True).float().sqrt().reshape(-1, 1) for d in (1, 0))
    bank = ChebyshevBank(graph, 3, 8)
    bank.fit(smooth)
    low, mid, high = bank.response(torch.tensor([0.0]))[:, 0].tolist()
    assert low > 0.9 and abs(mid) < 0.1 and abs(high) < 0.1
