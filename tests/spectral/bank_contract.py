"""The contract that every filter bank inherits, and graphs whose spectra are known to test it on.

A test module subclasses :class:`BankContract` and writes `build`.
"""

from copy import deepcopy

import pytest
import torch
from torch.autograd import gradcheck

from recbole_ssr.graph.bipartite import BipartiteGraph

USERS, ITEMS = 23, 17


def random_graph(n_users=USERS, n_items=ITEMS, edges=90, seed=3, power=0.0):
    """Random edges in float64; node n is drawn with weight (n + 1)^-power."""
    generator = torch.Generator().manual_seed(seed)
    ends = (
        torch.multinomial((torch.arange(size) + 1.0) ** -power, edges, True, generator=generator)
        for size in (n_users, n_items)
    )
    return BipartiteGraph(*ends, n_users, n_items).double()


def split(graph, x):
    return x.split([graph.n_users, graph.n_items])


def laplacian(graph):
    identity = torch.eye(sum(graph["R"].shape), dtype=torch.float64)
    return identity - torch.cat(graph.product(split(graph, identity)))


def noise(graph, width=4, seed=4):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(sum(graph["R"].shape), width, dtype=torch.float64, generator=generator)


def smoothed(graph, x, share):
    """Return (I + share A) x, whose energy leans towards the low frequencies."""
    return x + share * (x - laplacian(graph) @ x)


def bands_of(bank, graph, x, users=None, items=None, signals=1):
    """Bands (M, B, D) of stacked nodes, the columns of x shared out over some signals."""
    parts = [split(graph, part) for part in x.chunk(signals, dim=1)]
    return torch.cat(bank(parts, users, items), dim=1)


class BankContract:
    """Behaviour of any filter bank; sums to 1e-5 in float32, the rest in float64."""

    fits = True

    def build(self, graph, n_bands):
        raise NotImplementedError

    def fitted(self, n_bands=3, share=0.7):
        """A bank in float64, its factors rounded to float32, fitted to a smooth signal."""
        graph = random_graph()
        bank = self.build(graph, n_bands).double()
        bank.fit(split(graph, smoothed(graph, noise(graph), share)))
        return graph, bank

    @pytest.mark.parametrize("n_bands", [1, 2, 3, 4, 5, 6, 25])
    def test_bands_sum_to_the_signal_before_and_after_a_fit(self, n_bands):
        graph = random_graph()
        x, bank = noise(graph).float(), self.build(graph, n_bands).float()
        for _ in range(2):
            total = bands_of(bank, graph, x).sum(0)
            torch.testing.assert_close(total, x, atol=1e-5, rtol=0)
            bank.fit(split(graph, smoothed(random_graph(), x.double(), 0.9).float()))

    def test_rows_are_those_of_the_whole(self):
        graph, bank = self.fitted()
        x = noise(graph)
        users, items = torch.tensor([2, 6, 0, 22]), torch.tensor([5, 1])
        whole = bands_of(bank, graph, x)
        part = bands_of(bank, graph, x, users, items)
        torch.testing.assert_close(part, whole[:, torch.cat([users, USERS + items])])
        half = bands_of(bank, graph, x, users, None)
        torch.testing.assert_close(half, whole[:, torch.cat([users, USERS + torch.arange(ITEMS)])])

    def test_no_rows_at_all(self):
        graph, bank = self.fitted()
        none = torch.zeros(0, dtype=torch.long)
        assert bands_of(bank, graph, noise(graph), none, none).shape == (3, 0, 4)

    def test_signals_side_by_side_are_filtered_alike(self):
        graph, bank = self.fitted()
        x = noise(graph, width=6)
        torch.testing.assert_close(bands_of(bank, graph, x, signals=3), bands_of(bank, graph, x))

    def test_the_input_survives(self):
        graph, bank = self.fitted()
        x = noise(graph)
        before = x.clone()
        bands_of(bank, graph, x)
        bank.fit(split(graph, x))
        assert torch.equal(x, before)

    @pytest.mark.parametrize("n_bands, rows", [
        (1, None), (2, ([1, 5], [0, 4, 3])), (4, ([2], None))])
    def test_gradient(self, n_bands, rows):
        graph, bank = self.fitted(n_bands)
        users, items = (None if r is None else torch.tensor(r) for r in rows or (None, None))
        x = noise(graph, width=2).requires_grad_()
        assert gradcheck(lambda q: bands_of(bank, graph, q, users, items, signals=2), (x,))

    @pytest.mark.parametrize("n_bands", [1, 3, 5])
    def test_bands_are_the_responses_in_the_eigenbasis(self, n_bands):
        graph, bank = self.fitted(n_bands)
        x, (eigenvalues, V) = noise(graph), torch.linalg.eigh(laplacian(graph))
        h = bank.response(eigenvalues).double()
        expected = torch.einsum("ne,me,ed->mnd", V, h, V.T @ x)
        torch.testing.assert_close(bands_of(bank, graph, x), expected, atol=1e-5, rtol=0)

    @pytest.mark.parametrize("n_bands", [1, 2, 6])
    def test_responses_sum_to_one_everywhere(self, n_bands):
        _, bank = self.fitted(n_bands)
        h = bank.response(torch.linspace(0, 2, 301, dtype=torch.float64))
        torch.testing.assert_close(h.sum(0).double(), torch.ones(301).double(), atol=1e-5, rtol=0)

    def test_relabelled_nodes_permute_the_bands(self):
        graph = random_graph()
        users, items = graph.edges()
        generator = torch.Generator().manual_seed(5)
        pu, pi = (torch.randperm(size, generator=generator) for size in (USERS, ITEMS))
        relabelled = BipartiteGraph(pu[users], pi[items], USERS, ITEMS).double()
        node, x = torch.cat([pu, USERS + pi]), smoothed(graph, noise(graph), 0.7)
        moved = torch.empty_like(x)
        moved[node] = x
        bands = []
        for g, signal in ((graph, x), (relabelled, moved)):
            bank = self.build(g, 3).double()
            bank.fit(split(g, signal))
            bands.append(bands_of(bank, g, signal))
        torch.testing.assert_close(bands[1][:, node], bands[0], atol=1e-5, rtol=0)

    def test_construction_and_fit_are_deterministic_and_draw_no_global_random_number(self):
        before = torch.get_rng_state()
        graph, bank = self.fitted()
        x = noise(graph)
        first = bands_of(bank, graph, x)
        bank.fit(split(graph, smoothed(graph, noise(graph), 0.7)))
        assert torch.equal(bands_of(bank, graph, x), first)
        _, other = self.fitted()
        assert torch.equal(bands_of(other, graph, x), first)
        assert torch.equal(torch.get_rng_state(), before)

    def test_a_fit_moves_the_bands(self):
        graph, bank = self.fitted(share=0.9)
        x = noise(graph)
        before = bands_of(bank, graph, x)
        bank.fit(split(graph, smoothed(graph, noise(graph), -0.9)))
        assert ((bands_of(bank, graph, x) - before).abs().max() > 1e-2) == self.fits

    def test_a_fit_leaves_no_gradient(self):
        graph, bank = self.fitted()
        bank.fit(split(graph, noise(graph).requires_grad_()))
        assert not any(buffer.requires_grad for buffer in bank.buffers())
        assert not list(bank.parameters())

    def test_a_state_dict_restores_the_bands_and_borders(self):
        graph, bank = self.fitted(share=0.9)
        x = noise(graph)
        _, other = self.fitted(share=-0.9)
        other.load_state_dict(bank.state_dict())
        assert torch.equal(bands_of(other, graph, x), bands_of(bank, graph, x))
        assert torch.equal(other.borders.nan_to_num(), bank.borders.nan_to_num())

    def test_a_deep_copy_is_fitted_on_its_own(self):
        graph, bank = self.fitted(share=0.9)
        x = noise(graph)
        before = bands_of(bank, graph, x)
        deepcopy(bank).fit(split(graph, smoothed(graph, noise(graph), -0.9)))
        assert torch.equal(bands_of(bank, graph, x), before)

    @pytest.mark.parametrize("n_bands", [1, 2, 6, 25])
    def test_borders_ascend(self, n_bands):
        _, bank = self.fitted(n_bands)
        borders = bank.borders
        assert bank.n_bands == n_bands and borders.shape == (n_bands - 1,)
        assert (borders[1:] >= borders[:-1]).all() if self.fits else borders.isnan().all()

    def test_the_bands_follow_the_dtype_of_the_bank(self):
        graph, bank = self.fitted()
        x = noise(graph)
        double = bands_of(bank, graph, x)
        single = bands_of(bank.float(), graph, x.float())
        assert double.dtype == torch.float64 and single.dtype == torch.float32
        torch.testing.assert_close(single.double(), double, atol=1e-5, rtol=0)

    @pytest.mark.parametrize("value", [0.0, float("nan"), float("inf")])
    def test_a_signal_without_finite_energy_is_refused(self, value):
        graph, bank = self.fitted()
        signal = split(graph, torch.full((sum(graph["R"].shape), 2), value, dtype=torch.float64))
        if not self.fits:
            return bank.fit(signal)
        with pytest.raises(ValueError, match=r"energy (0|nan|inf); give one with finite"):
            bank.fit(signal)

    @pytest.mark.parametrize("n_bands", [0, -2])
    def test_a_bank_without_bands_is_refused(self, n_bands):
        with pytest.raises(ValueError, match=f"n_bands is {n_bands}; .* at least one band"):
            self.build(random_graph(), n_bands)
