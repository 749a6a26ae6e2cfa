"""Users who join a trained model: what they are, and that nobody else is changed by them."""

import pytest
import torch
from contract import ITEMS, USERS
from stub_models import FOLDED, built

from recbole_ssr.graph.bipartite import BipartiteGraph
from recbole_ssr.model.receivers import MEAN, NOTHING, with_receivers

CASES = [pytest.param(model, changes, id=f"{model}-{k}")
         for model, cases in FOLDED.items() for k, changes in enumerate(cases)]


@pytest.mark.parametrize("model, changes", CASES)
def test_a_trained_user_that_joins_again_is_itself_and_changes_nobody(model, changes):
    model, edges = built(model, changes)
    before = model.final_embeddings()
    users, items = edges.T
    rows = model.graph.receiving_rows(users, items, USERS)
    twin = with_receivers(model, rows, torch.arange(USERS))
    after = twin.final_embeddings()
    torch.testing.assert_close(after.user[USERS + 1:], before.user[1:], rtol=1e-4, atol=2e-5)
    torch.testing.assert_close(after.user[:USERS], before.user, rtol=0, atol=1e-6)
    torch.testing.assert_close(after.item, before.item, rtol=0, atol=1e-6)
    assert model.n_users == USERS and model.graph.n_users == USERS
    check_affine(model, edges)


def check_affine(model, edges):
    """A model says that its users are affine in their items if and only if these add up."""
    user = edges[edges[:, 1] == 5, 0][0].item()  # item 5 has no text
    items = edges[edges[:, 0] == user, 1]
    whole = model.graph.receiving_rows(torch.zeros_like(items), items, 1)
    apart = torch.sparse_csr_tensor(
        torch.tensor([*range(len(items) + 1), len(items), len(items)], dtype=torch.int32),
        whole.col_indices(), whole.values(), (len(items) + 2, ITEMS), check_invariants=False)
    who = torch.tensor([*[NOTHING] * len(items), user, NOTHING])
    parts = with_receivers(model, apart, who).final_embeddings().user[USERS:]
    constant = parts[-1]
    total = (parts[:-1] - constant).sum(0) + constant
    adds_up = torch.allclose(total, model.final_embeddings().user[user], rtol=1e-4, atol=1e-5)
    assert adds_up == model.affine_users


def test_a_new_user_starts_from_the_mean_of_the_active_users():
    model, edges = built("FastLightGCN", {})
    rows = model.graph.receiving_rows(torch.tensor([0, 0]), torch.tensor([1, 1]), 2)
    assert rows.values().numel() == 1  # an interaction given twice counts once
    twin = with_receivers(model, rows, torch.tensor([MEAN, NOTHING]))
    active = edges[:, 0].unique()
    torch.testing.assert_close(twin.E_user[USERS], model.E_user[active].mean(0))
    assert not twin.E_user[USERS + 1].any()


def test_rows_of_a_graph_are_its_own_and_cold_items_count_their_first_user():
    users, items = torch.tensor([0, 0, 1]), torch.tensor([0, 1, 1])
    graph = BipartiteGraph(users, items, 2, 3)
    rows = graph.receiving_rows(users, items, 2).to_dense()
    torch.testing.assert_close(rows, graph["R"].to_dense())
    cold = graph.receiving_rows(torch.tensor([0, 0]), torch.tensor([1, 2]), 1).to_dense()
    torch.testing.assert_close(cold, torch.tensor([[0, 0.5, 0.5**0.5]]))


@pytest.mark.parametrize("changes", FOLDED["SSR"][:-1])
def test_ssr_is_the_sum_of_its_slots(changes):
    model, _ = built("SSR", changes | {"inference_gains": [0.7, 1, 2], "user_weights": True})
    users, items = torch.tensor([5, 1, 9]), torch.tensor([2, 11])
    whole = model.final_embeddings()
    for fusion, side, rows in zip(model.linear_fusion(users, items), whole, (users, items)):
        d = fusion.slots.shape[3]
        torch.testing.assert_close(fusion.parts().sum((0, 1)), side[rows, :d], rtol=1e-4, atol=1e-5)
    bias = whole.item[:, d] if model.b is not None else torch.zeros(model.n_items)
    torch.testing.assert_close(model.score_bias(), bias)
