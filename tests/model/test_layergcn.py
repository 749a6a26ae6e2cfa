"""LayerGCN against a dense recomputation; its edges of an epoch and its two forms of the loss."""

import pytest
import torch
from baseline_contract import BaselineContract
from dense_ids import (
    BATCH,
    EDGES,
    N_USERS,
    bpr,
    dense_adjacency,
    make,
    rows,
    scored,
    scores,
    stacked,
)
from torch.nn import functional as F

from recbole_ssr.graph import sampling
from recbole_ssr.model.layergcn import LayerGCN


class TestLayerGCN(BaselineContract):
    model = "LayerGCN"
    multimodal = False
    settings = {"l2_weight": 0.0}


def refined(A, ids, layers):
    """Layers weighted by their cosine with the ids, summed without the ids."""
    x, total = ids, torch.zeros_like(ids)
    for _ in range(layers):
        y = A @ x
        x = F.cosine_similarity(y, ids)[:, None] * y
        total = total + x
    return total


def edges_of(graph):
    return {tuple(pair) for pair in torch.stack(graph.edges(), dim=1).tolist()}


@pytest.mark.parametrize("layers", [1, 2, 4])
def test_loss_and_scores_by_hand(layers):
    model = make(LayerGCN, n_layers=layers, l2_weight=0.5, edge_dropout=0.0)
    ids = stacked(model)
    x = refined(dense_adjacency(), ids, layers)
    losses = model.calculate_loss(BATCH)
    torch.testing.assert_close(losses.ranking, 4 * bpr(x))
    squares = sum((part**2).sum() for part in rows(ids))
    torch.testing.assert_close(losses.l2, 0.5 * squares / 2)
    torch.testing.assert_close(scored(model), scores(x))


def test_a_layer_by_numbers():
    """User 4 knows item 4 alone, which user 3 knows too."""
    model = make(LayerGCN, n_layers=1, edge_dropout=0.0)
    with torch.no_grad():
        model.E_user[4] = torch.tensor([3.0, 4.0, 0.0])
        model.E_item[4] = torch.tensor([2.0, 0.0, 0.0])
    # y = (2, 0, 0) / sqrt(1 * 2), whose cosine with (3, 4, 0) is 3 / 5.
    expected = torch.tensor([0.6 * 2**0.5, 0.0, 0.0])
    torch.testing.assert_close(model.forward().user[4], expected)


def test_the_ids_are_no_part_of_the_embeddings():
    """A node without interactions has nothing, where LightGCN would leave it its ids."""
    user, item = make(LayerGCN).forward()
    assert not user[0].any() and not item[5].any() and user[1].any()


def test_a_layer_opposed_to_the_ids_is_turned_over():
    """The weight is a cosine and may be negative: flipped ids flip all they weigh twice."""
    model = make(LayerGCN, n_layers=1, edge_dropout=0.0)
    before = model.forward().user.detach().clone()
    with torch.no_grad():
        model.E_user.neg_()
    torch.testing.assert_close(model.forward().user, -before)


# The loss


def test_the_papers_loss_is_a_sum_and_a_common_objective_a_mean():
    paper, mean = make(LayerGCN), make(LayerGCN, objective="bpr")
    for a, b in zip(paper.calculate_loss(BATCH), mean.calculate_loss(BATCH)):
        torch.testing.assert_close(a, 4 * b)
    other = make(LayerGCN, objective="softmax").calculate_loss(BATCH)
    assert other.l2 == mean.calculate_loss(BATCH).l2


def test_sum_and_mean_train_alike():
    """Adam divides a common factor out, so a weight means the same in both forms."""
    trained = []
    for objective in ("paper", "bpr"):
        model = make(LayerGCN, objective=objective, l2_weight=0.1)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01, eps=1e-12)
        for _ in range(5):
            optimizer.zero_grad()
            sum(model.calculate_loss(BATCH)).backward()
            optimizer.step()
        trained.append(stacked(model))
    torch.testing.assert_close(*trained, rtol=1e-4, atol=1e-5)


# The edges of an epoch


def test_training_sees_the_sampled_edges_and_evaluation_all():
    model = make(LayerGCN, edge_dropout=0.4, l2_weight=0.0)
    kept = edges_of(model.training_graph)
    assert len(kept) == round(0.6 * len(EDGES)) and kept < edges_of(model.graph)
    ids = stacked(model)
    on_kept = refined(dense_adjacency(torch.tensor(sorted(kept))), ids, 4)
    torch.testing.assert_close(model.calculate_loss(BATCH).ranking, 4 * bpr(on_kept))
    torch.testing.assert_close(scored(model), scores(refined(dense_adjacency(), ids, 4)))


def test_every_epoch_draws_anew_and_a_rate_of_0_never():
    model = make(LayerGCN, edge_dropout=0.4)
    drawn = set()
    for epoch in range(8):
        model.begin_epoch(epoch)
        drawn.add(frozenset(edges_of(model.training_graph)))
    assert len(drawn) > 3
    model = make(LayerGCN, edge_dropout=0.0)
    state = model.generator.get_state()
    model.begin_epoch(1)
    assert model.training_graph is model.graph
    assert torch.equal(model.generator.get_state(), state)


@pytest.mark.parametrize("sampling_by, weighted", [
    ("degree", [True] * 4), ("uniform", [False] * 4), ("mixed", [True, False, True, False]),
])
def test_edges_are_kept_by_degree_or_uniformly_or_in_turn(monkeypatch, sampling_by, weighted):
    model, seen = make(LayerGCN, edge_sampling=sampling_by, edge_dropout=0.3), []

    def draw(n_edges, keep, generator, weights=None):
        seen.append(weights)
        return sampling.draw_edges(n_edges, keep, generator, weights)

    monkeypatch.setattr("recbole_ssr.model.layergcn.draw_edges", draw)
    for epoch in range(4):
        model.begin_epoch(epoch)
    assert [weights is not None for weights in seen] == weighted
    users, items = model.graph.edges()
    A = dense_adjacency()
    for weights in filter(lambda w: w is not None, seen):
        torch.testing.assert_close(weights, A[users, N_USERS + items])
