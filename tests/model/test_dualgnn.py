"""DualGNN against dense re-computation, and what the released code does otherwise."""

import math

import pytest
import torch
from baseline_contract import BaselineContract
from contract import ITEMS, USERS
from stubs import Features
from torch.nn.functional import leaky_relu, normalize

from recbole_ssr.errors import UserError


def dense_adjacency(edges):
    R = torch.zeros(USERS, ITEMS)
    for u, i in edges:
        R[u, i] = 1
    return R


def dense_modal(model, features, edges, layers=2):
    """r_m of every modality, users above items."""
    R = dense_adjacency(edges)
    A = torch.zeros(USERS + ITEMS, USERS + ITEMS)
    A[:USERS, USERS:], A[USERS:, :USERS] = R, R.T
    root = A.sum(1).clamp(min=1).rsqrt()
    A, parts = root[:, None] * A * root, []
    for name, P, W in zip(features.modalities, model.P, model.W):
        content = leaky_relu(features.matrix(name) @ W[0].weight.T + W[0].bias)
        content = content @ W[2].weight.T + W[2].bias
        content[~features.has_feature(name)] = 0
        x = torch.cat([normalize(P), normalize(content)])
        parts.append(sum(torch.linalg.matrix_power(A, k) @ x for k in range(layers + 1)))
    return parts


def dense_social(y, edges, k=40):
    R, z = dense_adjacency(edges), y.clone()
    shared = R @ R.T
    for u in range(USERS):
        others = sorted((-shared[u, v].item(), v) for v in range(USERS)
                        if v != u and shared[u, v] > 0)[:k]
        if others:
            weight = torch.tensor([-count for count, _ in others]).softmax(0)
            z[u] = y[u] + sum(w * y[v] for w, (_, v) in zip(weight, others))
    return z


def dense_scores(model, features, edges, layers=2, k=40, aliasing=False):
    parts = dense_modal(model, features, edges, layers)
    total = sum(parts)
    if aliasing:
        parts[0] = total
    y = sum(model.w[:, m:m + 1] * r[:USERS] for m, r in enumerate(parts))
    return dense_social(y, edges, k) @ total[USERS:].T


class TestDualGNN(BaselineContract):
    model = "DualGNN"
    aliasing = False
    some_edges = [(1, 1), (1, 2), (2, 2), (3, 1), (3, 2), (3, 3), (4, 4), (5, 3)]

    @pytest.mark.parametrize("layers, k", [(2, 40), (0, 40), (1, 3)])
    def test_scores_are_those_of_the_equations(self, layers, k):
        model = self.build(n_layers=layers, user_neighbours=k)
        self.fit(model, self.batch(), 3)
        with torch.no_grad():
            dense = dense_scores(model, self.features(), self.edges()[0], layers, k, self.aliasing)
        torch.testing.assert_close(self.all_scores(model), dense, rtol=1e-4, atol=1e-5)

    def test_the_same_on_a_graph_with_lone_users(self):
        model = self.build(edges=self.some_edges)
        with torch.no_grad():
            dense = dense_scores(model, self.features(), self.some_edges, aliasing=self.aliasing)
        torch.testing.assert_close(self.all_scores(model), dense, rtol=1e-4, atol=1e-5)

    def test_the_loss_is_natural_bpr_and_mean_squares(self):
        model, batch = self.build(l2_weight=0.3), self.batch(32)
        losses = model.train().calculate_loss(batch)
        with torch.no_grad():
            s = dense_scores(model, self.features(), self.edges()[0], aliasing=self.aliasing)
            u, i, j = (batch[k] for k in ("user_id", "item_id", "neg_item_id"))
            bpr = -torch.log(torch.sigmoid(s[u, i] - s[u, j])).mean()
            squares = sum(P[u].square().mean() for P in model.P) + model.w.square().mean()
        torch.testing.assert_close(losses.ranking, bpr)
        torch.testing.assert_close(losses.l2, 0.3 * squares)

    def test_users_represent_modalities_as_computed_by_hand(self):
        """Two users, one item each: r_1 + r_2 and weights .5 and .25."""
        features = Features(text=torch.ones(ITEMS, 1), image=torch.ones(ITEMS, 1))
        model = self.build(edges=[(1, 1), (2, 2)], features=features, embedding_size=2, n_layers=0)
        with torch.no_grad():
            model.P[0][:] = torch.tensor([2.0, 0.0])
            model.P[1][:] = torch.tensor([0.0, 5.0])
            model.w[:] = torch.tensor([0.5, 0.25])
        expected = [0.5, 0.75] if self.aliasing else [0.5, 0.25]
        user = model.eval().encode().user
        torch.testing.assert_close(user, torch.tensor([expected]).expand_as(user))

    def test_items_are_the_sum_of_their_modalities(self):
        model = self.build()
        with torch.no_grad():
            parts = dense_modal(model, self.features(), self.edges()[0])
        torch.testing.assert_close(model.eval().encode().item, sum(parts)[USERS:])

    def test_modality_weights_start_as_shares_and_are_free_afterwards(self):
        model = self.build()
        torch.testing.assert_close(model.w.sum(1), torch.ones(USERS))
        self.fit(model, self.batch(256), 20)
        assert (model.w.sum(1) - 1).abs().max() > 0.05


class TestReleasedDualGNN(TestDualGNN):
    """`released_aliasing: True`: a user's first modality is the sum of all."""

    settings = {"released_aliasing": True}
    aliasing = True

    def test_literal_aliasing_in_place(self):
        """The released code's lines on three modalities: the sum goes into the first tensor."""
        features = self.some_features("image", "audio track", "text")
        model = self.build(features=features)
        with torch.no_grad():
            parts = dense_modal(model, features, self.edges()[0])
            representation = parts[0]
            for other in parts[1:]:
                representation += other
            y = sum(model.w[:, m:m + 1] * r[:USERS] for m, r in enumerate(parts))
            user, item = model.modal()
        torch.testing.assert_close(user, y)
        torch.testing.assert_close(item, representation[USERS:])

    def test_of_one_modality_it_is_no_different(self):
        features = self.some_features("image")
        released = self.build(features=features)
        right = self.build(features=features, released_aliasing=False)
        assert torch.equal(self.all_scores(released), self.all_scores(right))


def test_neighbours_share_by_a_softmax_of_counts_and_places_left_over_are_nothing():
    case = TestDualGNN()
    model = case.build(edges=case.some_edges)
    users, shares = model.near["users"], model.near["shares"]
    # Of user 3, 2 items shared with user 1, 1 with users 2 and 5.
    e = math.exp(1)
    result = dict(zip(users[3].tolist(), shares[3].tolist()))
    assert result == pytest.approx({1: e / (e + 2), 2: 1 / (e + 2), 5: 1 / (e + 2)})
    assert users[1, :2].tolist() == [3, 2]
    assert shares[1].tolist() == pytest.approx([e / (e + 1), 1 / (e + 1), 0])
    assert shares[2].tolist() == pytest.approx([1 / 2, 1 / 2, 0])
    assert not shares[4].any() and not shares[0].any()
    torch.testing.assert_close(shares.sum(1)[[1, 2, 3, 5]], torch.ones(4))


def test_a_user_without_neighbours_stays_as_it_is():
    case = TestDualGNN()
    model = case.build(edges=case.some_edges).eval()
    y, _ = model.modal()
    z = model.encode().user
    assert torch.equal(z[4], y[4]) and not torch.allclose(z[3], y[3])


def test_a_graph_without_any_shared_item_has_no_neighbours():
    model = TestDualGNN().build(edges=[(1, 1), (2, 2)])
    assert not model.near["shares"].any()


def test_a_dataset_without_features_is_refused():
    case = TestDualGNN()
    with pytest.raises(UserError, match="at least one feature modality"):
        case.build(features=case.some_features())
