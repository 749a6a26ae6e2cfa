"""FastSGL against a dense recomputation; what its views leave out."""

import pytest
import torch
from baseline_contract import BaselineContract
from dense_ids import (
    BATCH,
    EDGES,
    N_ITEMS,
    N_USERS,
    bpr,
    dense_adjacency,
    light_gcn,
    make,
    rows,
    scored,
    scores,
    stacked,
)
from torch.nn import functional as F

from recbole_ssr.graph.views import AUGMENTATIONS
from recbole_ssr.model.fast_sgl import FastSGL


class TestFastSGL(BaselineContract):
    model = "FastSGL"
    multimodal = False
    settings = {"l2_weight": 0.0, "contrast_weight": 0.01}


@pytest.mark.parametrize("augmentation", ["node_dropout", "random_walk"])
class TestFastSGLOnOtherViews:
    def test_the_checkerboard_is_recovered(self, augmentation):
        contract = TestFastSGL()
        contract.settings = {**contract.settings, "augmentation": augmentation}
        contract.test_the_checkerboard_is_recovered()


def edges_of(graph):
    return torch.stack(graph.edges(), dim=1)


def walked(view, ids, layers):
    """The dense mean over the layers of a view."""
    graphs = list(view) * (layers if len(view) == 1 else 1)
    x, total = ids, ids
    for graph in graphs:
        x = dense_adjacency(edges_of(graph)) @ x
        total = total + x
    return total / (len(graphs) + 1)


def info_nce(one, other, nodes, negatives, temperature):
    """InfoNCE of every occurrence of a node among `negatives`, written out."""
    one, other = F.normalize(one), F.normalize(other)
    terms = []
    for n in nodes.tolist():
        logits = torch.stack([one[n] @ other[v] for v in negatives]) / temperature
        terms.append(logits.logsumexp(0) - one[n] @ other[n] / temperature)
    return sum(terms) / len(terms)


@pytest.mark.parametrize("augmentation", AUGMENTATIONS)
@pytest.mark.parametrize("negatives", ["all", "batch"])
def test_loss_and_scores_by_hand(augmentation, negatives):
    model = make(FastSGL, augmentation=augmentation, view_dropout=0.3, n_layers=2, l2_weight=0.5,
                 temperature=0.4, contrast_weight=0.7, contrast_negatives=negatives)
    ids = stacked(model)
    z = light_gcn(dense_adjacency(), ids, 2)
    one, other = (walked(view, ids, 2) for view in model.views)
    users, items = BATCH["user_id"], BATCH["item_id"]
    among_users, among_items = range(1, N_USERS), range(1, N_ITEMS)
    if negatives == "batch":
        among_users, among_items = [1, 2, 3], [1, 2, 3, 4]
    user = info_nce(one[:N_USERS], other[:N_USERS], users, among_users, 0.4)
    item = info_nce(one[N_USERS:], other[N_USERS:], items, among_items, 0.4)
    losses = model.calculate_loss(BATCH)
    torch.testing.assert_close(losses.ranking, bpr(z))
    torch.testing.assert_close(losses.user_contrast, 0.7 * user)
    torch.testing.assert_close(losses.item_contrast, 0.7 * item)
    torch.testing.assert_close(losses.l2, 0.5 * sum((part**2).sum() for part in rows(ids)) / 8)
    torch.testing.assert_close(scored(model), scores(z))


def test_the_terms_of_users_and_items_read_their_own_side():
    """User 1 occurs twice in the batch and counts twice; negatives of the batch are no anchors."""
    model = make(FastSGL, contrast_weight=1.0)
    losses = model.calculate_loss(BATCH)
    again = model.calculate_loss({**BATCH, "user_id": torch.tensor([4, 4, 4, 4])})
    assert again.user_contrast != losses.user_contrast
    assert again.item_contrast == losses.item_contrast
    again = model.calculate_loss({**BATCH, "neg_item_id": torch.tensor([5, 5, 5, 5])})
    assert again.user_contrast == losses.user_contrast
    assert again.item_contrast == losses.item_contrast


def test_a_common_objective_leaves_the_rest_of_the_loss_alone():
    a = make(FastSGL).calculate_loss(BATCH)
    b = make(FastSGL, objective="cosine_softmax").calculate_loss(BATCH)
    assert a.ranking != b.ranking and a[1:] == b[1:]


# Views


@pytest.mark.parametrize("augmentation", AUGMENTATIONS)
def test_two_views_differ_and_every_epoch_has_others(augmentation):
    model = TestFastSGL().build(augmentation=augmentation, view_dropout=0.2)

    def drawn():
        return [edges_of(graph).tolist() for view in model.views for graph in view]

    first = drawn()
    assert len(first) == (6 if augmentation == "random_walk" else 2)
    assert all(a != b for k, a in enumerate(first) for b in first[k + 1:])
    model.begin_epoch(1)
    assert all(a != b for a, b in zip(first, drawn()))
    one, other = (model.embed_view(view) for view in model.views)
    assert not torch.allclose(one.user, other.user) and not torch.allclose(one.item, other.item)


def test_edge_dropout_keeps_its_share_of_the_edges():
    model = TestFastSGL().build(view_dropout=0.25)
    every = set(map(tuple, edges_of(model.graph).tolist()))
    for (graph,) in model.views:
        kept = set(map(tuple, edges_of(graph).tolist()))
        assert kept < every and len(kept) == round(0.75 * len(every))


def test_node_dropout_takes_all_edges_of_a_node_or_none():
    graph = TestFastSGL().build().graph
    (view,) = AUGMENTATIONS["node_dropout"](graph, 0.3, 3, torch.Generator().manual_seed(4))
    kept, every = edges_of(view), edges_of(graph)
    users, items = kept[:, 0].unique(), kept[:, 1].unique()
    inside = torch.isin(every[:, 0], users) & torch.isin(every[:, 1], items)
    assert torch.equal(every[inside], kept)
    # 0.7 of 26 users and of 18 items, padding among them or not.
    assert 16 <= len(users) <= 18 and 11 <= len(items) <= 13


def test_a_view_is_normalised_by_its_own_degrees():
    model = make(FastSGL, view_dropout=0.4)
    for (graph,) in model.views:
        R = dense_adjacency(edges_of(graph))[:N_USERS, N_USERS:]
        assert not torch.equal(R, dense_adjacency(EDGES)[:N_USERS, N_USERS:])
        torch.testing.assert_close(graph["R"].to_dense(), R)


def test_without_dropout_both_views_are_the_graph():
    model = make(FastSGL, view_dropout=0.0, augmentation="random_walk", n_layers=2)
    for view in model.views:
        torch.testing.assert_close(model.embed_view(view), model.forward())
