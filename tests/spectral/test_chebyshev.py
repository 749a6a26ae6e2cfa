import pytest
import torch
from torch.autograd import gradcheck

from recbole_ssr.graph.bipartite import BipartiteGraph
from recbole_ssr.spectral.bands import reference_bank, response
from recbole_ssr.spectral.chebyshev import band_rows, propagate_sum


@pytest.fixture
def graph():
    generator = torch.Generator().manual_seed(3)
    users = torch.randint(7, (25,), generator=generator)
    items = torch.randint(6, (25,), generator=generator)
    return BipartiteGraph(users, items, 7, 6).double()


SIZES = [7, 6]


def dense(graph):
    identity = torch.eye(sum(graph["R"].shape), dtype=torch.float64)
    return torch.cat(graph.product(identity.split(SIZES)))


def signal(graph, width=3):
    return torch.randn(sum(graph["R"].shape), width, dtype=torch.float64,
                       generator=torch.Generator().manual_seed(4))


def propagated(graph, x, layers):
    return torch.cat(propagate_sum(graph, x.split(SIZES), layers))


def bands_of(graph, x, bank, users=None, items=None, signals=1):
    """Bands (M, B, D) of stacked nodes, the columns of x shared out over some signals."""
    parts = [part.split(SIZES) for part in x.chunk(signals, dim=1)]
    return torch.cat(band_rows(graph, parts, bank, users, items), dim=1)


@pytest.mark.parametrize("layers", [0, 1, 3])
def test_propagation_is_the_sum_of_powers(graph, layers):
    x, A = signal(graph), dense(graph)
    expected = sum(torch.linalg.matrix_power(A, power) @ x for power in range(layers + 1))
    torch.testing.assert_close(propagated(graph, x, layers), expected)


@pytest.mark.parametrize("bands, degree", [(1, 0), (2, 1), (3, 3), (4, 5), (5, 9)])
def test_bands_equal_the_filters_in_the_eigenbasis(graph, bands, degree):
    x, bank = signal(graph), reference_bank(bands, degree).double()
    laplacian = torch.eye(sum(graph["R"].shape), dtype=torch.float64) - dense(graph)
    eigenvalues, U = torch.linalg.eigh(laplacian)
    h = response(bank, eigenvalues)
    expected = torch.einsum("ne,me,ed->mnd", U, h, U.T @ x)
    torch.testing.assert_close(bands_of(graph, x, bank), expected)


def test_bands_sum_to_the_signal(graph):
    x = signal(graph)
    for bands in (1, 2, 3, 4, 6):
        bank = reference_bank(bands, 8).double()
        torch.testing.assert_close(bands_of(graph, x, bank).sum(0), x)


def test_rows_are_those_of_the_whole(graph):
    x, bank = signal(graph), reference_bank(4, 6).double()
    users, items = torch.tensor([2, 6, 0]), torch.tensor([5, 1])
    part = bands_of(graph, x, bank, users, items)
    torch.testing.assert_close(part, bands_of(graph, x, bank)[:, torch.cat([users, 7 + items])])


def test_signals_side_by_side_are_filtered_alike(graph):
    x, bank = signal(graph, width=6), reference_bank(3, 5).double()
    torch.testing.assert_close(bands_of(graph, x, bank, signals=3), bands_of(graph, x, bank))


@pytest.mark.parametrize("width", [1, 31, 32, 33, 70])
def test_wide_signals_are_filtered_column_by_column(graph, width):
    x, bank = signal(graph, width).requires_grad_(), reference_bank(4, 6).double()
    users, items = torch.tensor([2, 6, 0]), torch.tensor([5, 1])
    single = x.detach().clone().requires_grad_()
    whole, columns = (bands_of(graph, x, bank, users, items),
                      bands_of(graph, single, bank, users, items, signals=width))
    torch.testing.assert_close(whole, columns)
    (whole * signal(graph, width)[:5]).sum().backward()
    (columns * signal(graph, width)[:5]).sum().backward()
    torch.testing.assert_close(x.grad, single.grad)
    torch.testing.assert_close(propagated(graph, x, 2),
                               torch.cat([propagated(graph, c, 2) for c in x.split(1, 1)], dim=1))


@pytest.mark.parametrize("bands, degree", [(1, 0), (2, 1), (3, 3), (4, 6)])
@pytest.mark.parametrize("rows", [None, ([1, 5], [0, 4, 3])])
def test_gradient_of_the_bands(graph, bands, degree, rows):
    x = signal(graph, width=2).requires_grad_()
    bank = reference_bank(bands, degree).double()
    rows = (None, None) if rows is None else map(torch.tensor, rows)
    users, items = rows
    assert gradcheck(lambda q: bands_of(graph, q, bank, users, items, signals=2), (x,))


@pytest.mark.parametrize("layers", [0, 1, 3])
def test_gradient_of_the_propagation(graph, layers):
    assert gradcheck(lambda x: propagated(graph, x, layers), (signal(graph).requires_grad_(),))


def test_the_input_survives(graph):
    x, bank = signal(graph), reference_bank(4, 6).double()
    before = x.clone()
    propagated(graph, x, 2)
    bands_of(graph, x, bank)
    assert torch.equal(x, before)
    unchanged = propagate_sum(graph, x.split(SIZES), 0)
    assert torch.equal(torch.cat(unchanged), x)
    assert unchanged[0].data_ptr() != x.data_ptr()


def test_relabelled_nodes_permute_the_bands():
    users, items = torch.randint(7, (25,)), torch.randint(6, (25,))
    bank = reference_bank(3, 5)
    pu, pi = torch.randperm(7), torch.randperm(6)
    node = torch.cat([pu, 7 + pi])
    x = torch.randn(13, 4)
    moved = torch.empty_like(x)
    moved[node] = x
    bands = bands_of(BipartiteGraph(users, items, 7, 6), x, bank)
    permuted = bands_of(BipartiteGraph(pu[users], pi[items], 7, 6), moved, bank)
    torch.testing.assert_close(permuted[:, node], bands)
