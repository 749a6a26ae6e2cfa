"""The sample of held-out interactions that a model is calibrated with."""

import math

import pytest
import torch

from recbole_ssr.graph.bipartite import BipartiteGraph
from recbole_ssr.model import held_out
from recbole_ssr.model.held_out import held_out_sample

# User 4 has the items 3, 5, 6 and 7; nobody has item 8, which user 2 is to meet.
GRAPH = BipartiteGraph(torch.tensor([1, 1, 2, 3, 4, 4, 4, 4]),
                       torch.tensor([1, 2, 2, 4, 3, 5, 6, 7]), 5, 9)
USERS, ITEMS = torch.tensor([1, 1, 2, 3, 2]), torch.tensor([3, 1, 5, 6, 8])


def named(sample, pairs):
    return {(int(sample.users[u]), int(sample.items[i])) for u, i in pairs.T}


@pytest.mark.parametrize("repeatable", [False, True])
def test_every_user_with_what_is_held_out_and_seen(repeatable):
    sample = held_out_sample(GRAPH, USERS, ITEMS, repeatable)
    held = {(1, 3), (2, 5), (3, 6)} | ({(1, 1)} if repeatable else set())
    assert named(sample, sample.held_out.positives) == held
    seen = set() if repeatable else {(1, 1), (1, 2), (2, 2), (3, 4)}
    assert named(sample, sample.held_out.seen) == seen
    assert sorted(sample.items.tolist()) == list(range(1, 8))  # all but padding and item 8
    assert (sample.held_out.log_weight == 0).all()
    assert held_out_sample(GRAPH, torch.tensor([1]), torch.tensor([1])) is None
    assert held_out_sample(GRAPH, torch.tensor([1]), torch.tensor([8]), repeatable) is None
    twice = held_out_sample(GRAPH, USERS.repeat(2), ITEMS.repeat(2), repeatable)
    assert torch.equal(twice.held_out.positives, sample.held_out.positives)


def test_of_many_a_sample_stands_for_all(monkeypatch):
    monkeypatch.setattr(held_out, "USERS", 2)
    monkeypatch.setattr(held_out, "ITEMS", 3)
    one, other = (held_out_sample(GRAPH, USERS, ITEMS) for _ in range(2))
    assert torch.equal(one.items, other.items) and torch.equal(one.users, other.users)
    assert len(one.users) == 2
    positives = set(one.items[one.held_out.positives[1]].tolist())
    weights = dict(zip(one.items.tolist(), one.held_out.log_weight.tolist()))
    assert len(weights) == len(positives) + 3
    for item, weight in weights.items():
        expected = 0 if item in positives else math.log((7 - len(positives)) / 3)
        assert weight == pytest.approx(expected)


def test_what_rankings_leave_out_besides_the_graph_is_no_candidate():
    left_out = torch.tensor([[1, 2, 3], [5, 4, 6]])
    sample = held_out_sample(GRAPH, USERS, ITEMS, left_out=left_out)
    assert named(sample, sample.held_out.positives) == {(1, 3), (2, 5)}  # (3, 6) was seen
    assert named(sample, sample.held_out.seen) == {(1, 1), (1, 2), (2, 2), (1, 5), (2, 4)}
