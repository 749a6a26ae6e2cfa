import pytest
import torch
from bank_contract import noise, random_graph, split
from torch.autograd import gradcheck

from recbole_ssr.constants import Constants
from recbole_ssr.spectral.modes import Gains, mode_energies, mode_rows


def triples(graph, r=6):
    P, s, Qt = torch.linalg.svd(graph["R"].to_dense(), full_matrices=False)
    return Constants(P=P[:, :r], s=s[:r], Q=Qt[:r].T)


def modes(factors):
    """The modes at 1 - s and at 1 + s as columns, (N, r) each."""
    P, Q = factors["P"], factors["Q"]
    return torch.cat([P, Q]) / 2**0.5, torch.cat([P, -Q]) / 2**0.5


def gains(r=6, n_bands=3):
    generator = torch.Generator().manual_seed(6)
    a, b = torch.randn(2, n_bands, r, dtype=torch.float64, generator=generator)
    a[1, :2], b[1, :2] = 0.5, 0.5  # modes on which filter 1 does not differ from its c
    a[2], b[2] = 0, 0
    return Gains(a, b, torch.tensor([0.7, 0.5, 0.0], dtype=torch.float64))


def filtered(factors, graph, x, users=None, items=None, signals=1):
    parts = [split(graph, part) for part in x.chunk(signals, dim=1)]
    return torch.cat(mode_rows(factors, gains(), parts, users, items), dim=1)


def test_filters_equal_their_gains_on_the_modes():
    graph = random_graph()
    factors, x, (a, b, c) = triples(graph), noise(graph), gains()
    low, high = modes(factors)
    rest = x - low @ (low.T @ x) - high @ (high.T @ x)
    expected = torch.stack([
        low @ (a[m, :, None] * (low.T @ x)) + high @ (b[m, :, None] * (high.T @ x)) + c[m] * rest
        for m in range(3)
    ])
    torch.testing.assert_close(filtered(factors, graph, x), expected)


def test_rows_and_signals_are_those_of_the_whole():
    graph = random_graph()
    factors, x = triples(graph), noise(graph)
    users, items = torch.tensor([4, 0, 11]), torch.tensor([3, 2])
    part = filtered(factors, graph, x, users, items, signals=2)
    rows = torch.cat([users, graph.n_users + items])
    torch.testing.assert_close(part, filtered(factors, graph, x)[:, rows])


@pytest.mark.parametrize("rows", [(None, None), ([1, 5], [0, 4, 3]), (None, [2])])
@pytest.mark.parametrize("signals", [1, 2])
def test_gradient(rows, signals):
    graph = random_graph(9, 7, 30)
    factors = triples(graph)
    users, items = (None if r is None else torch.tensor(r) for r in rows)
    x = noise(graph, width=2).requires_grad_()
    assert gradcheck(lambda q: filtered(factors, graph, q, users, items, signals), (x,))


def test_no_modes_leave_c_times_the_signal():
    graph = random_graph()
    factors, x = triples(graph, r=0), noise(graph)
    none = torch.zeros(2, 0, dtype=torch.float64)
    c = torch.tensor([0.25, 0.75], dtype=torch.float64)
    bands = torch.cat(mode_rows(factors, Gains(none, none, c), [split(graph, x)]), dim=1)
    torch.testing.assert_close(bands, torch.stack([0.25 * x, 0.75 * x]))


def test_energies_are_those_of_the_projections_and_add_up():
    graph = random_graph()
    factors, x = triples(graph), noise(graph)
    low, high, rest = mode_energies(factors, split(graph, x))
    for energies, vectors in zip((low, high), modes(factors)):
        torch.testing.assert_close(energies, (vectors.T @ x).square().sum(1))
    torch.testing.assert_close(low.sum() + high.sum() + rest, x.square().sum())
