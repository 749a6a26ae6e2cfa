"""The lift of co-occurrence over chance, against the definition written out."""

import torch

from recbole_ssr.graph import lift
from recbole_ssr.graph.bipartite import BipartiteGraph
from recbole_ssr.graph.lift import cooccurrence_lift


def random_graph(n_users=60, n_items=20, density=0.2, seed=0):
    R = torch.rand(n_users, n_items, generator=torch.Generator().manual_seed(seed)) < density
    return R.float(), BipartiteGraph(*R.nonzero().T, n_users, n_items)


def test_the_definition_written_out(monkeypatch):
    R, graph = random_graph()
    item, other = torch.tensor([0, 3, 3, 19]), torch.tensor([1, 4, 5, 0])
    shared = (R.T @ R)[item, other].sum()
    d_user, d_item = R.sum(1), R.sum(0)
    kappa = (d_user * (d_user - 1)).sum() / R.sum() ** 2
    expected = (shared / (kappa * (d_item[item] * d_item[other]).sum())).item()
    assert abs(cooccurrence_lift(graph, item, other) - expected) < 1e-6
    monkeypatch.setattr(lift, "_PAIRS_AT_ONCE", 3)
    assert abs(cooccurrence_lift(graph, item, other) - expected) < 1e-6


def test_chance_has_a_lift_of_one_and_communities_more():
    # Chance allows for an item with itself, 1 pair of 200 here.
    _, graph = random_graph(1000, 200, 0.1)
    every = torch.combinations(torch.arange(200)).T
    assert abs(cooccurrence_lift(graph, *every) - 1) < 0.01
    # Two groups of users who interact with items of their own group alone.
    every = torch.combinations(torch.arange(20)).T
    users, items = torch.cartesian_prod(torch.arange(40), torch.arange(20)).T
    same = (users % 2) == (items % 2)
    apart = BipartiteGraph(users[same], items[same], 40, 20)
    within, across = (every[:, (every.sum(0) % 2) == parity] for parity in (0, 1))
    assert cooccurrence_lift(apart, *across) == 0
    assert cooccurrence_lift(apart, *within) > 2


def test_nothing_known_is_chance():
    graph = BipartiteGraph(torch.tensor([0, 1]), torch.tensor([0, 1]), 2, 3)
    pair = torch.tensor([0]), torch.tensor([1])
    assert cooccurrence_lift(graph, *pair) == 1.0  # no user has two items
    assert cooccurrence_lift(graph, torch.tensor([2]), torch.tensor([2])) == 1.0
