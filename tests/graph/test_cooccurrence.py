"""Users who share items, against the dense product of the interactions."""

import pytest
import torch

from recbole_ssr.graph.bipartite import BipartiteGraph
from recbole_ssr.graph.cooccurrence import co_users

N_USERS, N_ITEMS = 31, 12


def graph(n_edges=110, seed=0):
    generator = torch.Generator().manual_seed(seed)
    users = torch.randint(1, N_USERS - 1, (n_edges,), generator=generator)  # 30 has no items
    items = torch.randint(1, N_ITEMS, (n_edges,), generator=generator)
    return BipartiteGraph(users, items, N_USERS, N_ITEMS)


def dense_counts(graph):
    R = (graph["R"].to_dense() > 0).float()
    counts = R @ R.T
    counts.fill_diagonal_(0)
    return counts


def as_dense(found):
    counts = torch.zeros(N_USERS, N_USERS)
    counts[found.user, found.neighbour] = found.count
    return counts


def test_with_room_for_all_the_counts_are_those_of_the_dense_product():
    g = graph()
    assert torch.equal(as_dense(co_users(g, N_USERS)), dense_counts(g))


@pytest.mark.parametrize("most", [1, 3, 7])
def test_the_highest_counts_are_kept_and_the_lower_id_among_equals(most):
    g = graph()
    counts, result = dense_counts(g), co_users(g, most)
    for user in range(N_USERS):
        row = counts[user]
        ranked = sorted(row.nonzero().flatten().tolist(), key=lambda v: (-row[v].item(), v))
        of_user = result.user == user
        assert result.neighbour[of_user].tolist() == ranked[:most]
        assert result.count[of_user].tolist() == [row[v].item() for v in ranked[:most]]


@pytest.mark.parametrize("block", [1, 4, 30, 31, 1000])
def test_blocks_change_nothing(block):
    for one, other in zip(co_users(graph(), 5, block), co_users(graph(), 5)):
        assert torch.equal(one, other)


def test_ties_at_the_border_of_a_block():
    """Four users of the same item: everyone's neighbours are the first others."""
    g = BipartiteGraph(torch.tensor([1, 2, 3, 4]), torch.tensor([1, 1, 1, 1]), 5, 2)
    result = co_users(g, 2, block=2)
    assert result.user.tolist() == [1, 1, 2, 2, 3, 3, 4, 4]
    assert result.neighbour.tolist() == [2, 3, 1, 3, 1, 2, 1, 2]
    assert result.count.tolist() == [1] * 8


def test_users_who_share_nothing_have_no_neighbours():
    g = BipartiteGraph(torch.tensor([1, 2]), torch.tensor([1, 2]), 3, 3)
    result = co_users(g, 3)
    assert [part.numel() for part in result] == [0, 0, 0]
    assert result.user.dtype == result.neighbour.dtype == torch.int64


def test_a_repeated_interaction_is_shared_once():
    g = BipartiteGraph(torch.tensor([1, 1, 2]), torch.tensor([1, 1, 1]), 3, 2)
    assert co_users(g, 3).count.tolist() == [1, 1]
