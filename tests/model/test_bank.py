import numpy as np
import pytest
import torch

from recbole_ssr.contributions import BANKS
from recbole_ssr.errors import UserError
from recbole_ssr.graph.bipartite import BipartiteGraph
from recbole_ssr.model.bank import build_bank
from recbole_ssr.spectral import exact, svd
from recbole_ssr.spectral.exact import ExactBank
from recbole_ssr.spectral.polynomial import ChebyshevBank, ReferenceBank
from recbole_ssr.spectral.svd import SVDBank

USERS, ITEMS = 23, 17


def graph_of(seed=3, n_users=USERS, n_items=ITEMS):
    generator = torch.Generator().manual_seed(seed)
    users = torch.randint(n_users, (90,), generator=generator)
    items = torch.randint(n_items, (90,), generator=generator)
    return BipartiteGraph(users, items, n_users, n_items)


@pytest.fixture
def config(tmp_path):
    return {
        "band_filter": "auto", "n_bands": 3, "cheb_degree": 8, "cheb_fit": "least_squares",
        "exact_max_nodes": ITEMS, "svd_modes": 5, "svd_bands": 1, "cache_dir": tmp_path,
    }


@pytest.fixture
def built(monkeypatch):
    """Names of the factorisations that were computed rather than read."""
    calls = []
    for module, name in ((exact, "exact_factors"), (svd, "truncated_factors")):
        function = getattr(module, name)

        def counted(*args, name=name, function=function):
            calls.append(name)
            return function(*args)

        monkeypatch.setattr(module, name, counted)
    return calls


def bands(bank, graph):
    generator = torch.Generator().manual_seed(4)
    x = torch.randn(sum(graph["R"].shape), 4, generator=generator)
    return torch.cat(bank([x.split([graph.n_users, graph.n_items])]), dim=1)


KINDS = {"exact": ExactBank, "chebyshev": ChebyshevBank, "svd": SVDBank,
         "reference": ReferenceBank}


def test_every_name_stands_for_a_bank_of_its_own():
    assert set(KINDS) <= set(BANKS)


@pytest.mark.parametrize("name, kind", KINDS.items())
def test_each_name_gives_its_bank(config, name, kind):
    graph = graph_of()
    bank = build_bank(config | {"band_filter": name}, graph)
    assert type(bank) is kind and bank.n_bands == 3
    x = bands(bank, graph)
    assert x.shape == (3, USERS + ITEMS, 4)
    generator = torch.Generator().manual_seed(4)
    signal = torch.randn(USERS + ITEMS, 4, generator=generator)
    torch.testing.assert_close(x.sum(0), signal, atol=1e-5, rtol=0)


def test_settings_reach_the_banks(config):
    graph = graph_of()
    jackson = build_bank(config | {"band_filter": "chebyshev", "cheb_fit": "jackson",
                                   "cheb_degree": 6, "n_bands": 4}, graph)
    assert jackson.method == "jackson" and jackson.coefficients.shape == (4, 7)
    svd = build_bank(config | {"band_filter": "svd", "n_bands": 4, "svd_bands": 2, "svd_modes": 6,
                               "cheb_fit": "jackson", "cheb_degree": 7}, graph)
    assert svd.mode_weights.shape == (2, 6) and svd.rest.coefficients.shape == (2, 8)
    assert svd.rest.method == "jackson"


@pytest.mark.parametrize("n_users, n_items", [(USERS, ITEMS), (ITEMS, USERS)])
def test_auto_is_exact_up_to_the_limit_of_the_smaller_side(config, n_users, n_items):
    graph = graph_of(n_users=n_users, n_items=n_items)
    assert type(build_bank(config, graph)) is ExactBank
    config["exact_max_nodes"] = ITEMS - 1
    assert type(build_bank(config, graph)) is ChebyshevBank
    config["exact_max_nodes"] = ITEMS
    users, items = graph.edges()
    wider = BipartiteGraph(users, items, n_users + 9, n_items + 9)  # without interactions
    assert type(build_bank(config, wider)) is ExactBank
    assert type(build_bank(config | {"band_filter": "exact"}, graph)) is ExactBank


@pytest.mark.parametrize("name", ["exact", "svd"])
class TestCache:
    def test_the_second_build_reads_the_first_one_s_factors(self, config, built, name):
        config["band_filter"], graph = name, graph_of()
        first = bands(build_bank(config, graph), graph)
        assert torch.equal(bands(build_bank(config, graph), graph), first)
        assert len(built) == 1 and len(list(config["cache_dir"].glob("spectra/*.npy"))) == 1

    def test_another_graph_of_the_same_size_is_another_entry(self, config, built, name):
        config["band_filter"] = name
        for seed in (3, 4):
            graph = graph_of(seed)
            cached = bands(build_bank(config, graph), graph)
            alone = build_bank(config | {"cache_dir": config["cache_dir"] / str(seed)}, graph)
            assert torch.equal(cached, bands(alone, graph))
        assert len(list(config["cache_dir"].glob("spectra/*.npy"))) == 2 and len(built) == 4

    def test_a_transposed_graph_is_another_entry(self, config, built, name):
        config["band_filter"], graph = name, graph_of()
        users, items = graph.edges()
        other = BipartiteGraph(items, users, ITEMS, USERS)
        one, two = (bands(build_bank(config, g), g) for g in (graph, other))
        assert len(built) == 2 and one.shape == two.shape

    def test_a_damaged_file_is_built_again(self, config, built, name):
        config["band_filter"], graph = name, graph_of()
        first = bands(build_bank(config, graph), graph)
        (file,) = config["cache_dir"].glob("spectra/*.npy")
        for content in (b"", b"nonsense", file.read_bytes()[:-40]):
            file.write_bytes(content)
            assert torch.equal(bands(build_bank(config, graph), graph), first)
        assert len(built) == 4
        assert np.load(file).shape[0] == USERS + 1 + ITEMS

    def test_deleting_the_cache_changes_nothing(self, config, built, name):
        config["band_filter"], graph = name, graph_of()
        first = bands(build_bank(config, graph), graph)
        for file in config["cache_dir"].glob("spectra/*.npy"):
            file.unlink()
        assert torch.equal(bands(build_bank(config, graph), graph), first)
        assert len(built) == 2


def test_the_number_of_modes_is_part_of_the_key(config, built):
    config["band_filter"] = "svd"
    for k in (5, 6, 5):
        bank = build_bank(config | {"svd_modes": k}, graph_of())
        assert bank.mode_weights.shape == (1, k)
    assert built == ["truncated_factors"] * 2


@pytest.mark.parametrize("changes, message", [
    ({"band_filter": "chebychev"}, r"band_filter is 'chebychev'; .* Did you mean 'chebyshev'\?"),
    ({"band_filter": None}, "band_filter is None; choose one of auto, exact"),
    ({"band_filter": "chebyshev", "cheb_fit": "lsq"}, "cheb_fit is 'lsq'; choose one of"),
    ({"band_filter": "chebyshev", "cheb_degree": 0}, "cheb_degree is 0; .* at least degree 1"),
    ({"band_filter": "reference", "cheb_degree": 2}, "cheb_degree must be at least 3"),
    ({"band_filter": "svd", "svd_bands": 3}, "svd_bands is 3 of n_bands 3; .* choose 0 to 2"),
    ({"band_filter": "svd", "svd_modes": 0}, "svd_modes is 0; at least one"),
    ({"band_filter": "exact", "n_bands": 0}, "n_bands is 0; .* at least one band"),
])
def test_settings_that_make_no_bank_are_the_user_s_to_put_right(config, changes, message):
    with pytest.raises(UserError, match=message):
        build_bank(config | changes, graph_of())


def test_more_exact_nodes_than_any_memory_is_for_are_refused(config):
    n = exact.MOST_EXACT_NODES + 5000
    graph = BipartiteGraph(torch.tensor([0]), torch.tensor([0]), n + 1, n)
    with pytest.raises(UserError, match=f"{n} nodes, .* 20 GB; .* chebyshev or svd"):
        build_bank(config | {"band_filter": "exact"}, graph)
    assert type(build_bank(config | {"exact_max_nodes": 10}, graph)) is ChebyshevBank
