"""GRCN against dense re-computation, and what the released code does otherwise."""

import pytest
import torch
from baseline_contract import BaselineContract
from contract import ITEMS, USERS
from torch.nn.functional import leaky_relu, normalize

from recbole_ssr.errors import UserError


def dense_adjacency(edges):
    A = torch.zeros(USERS, ITEMS, dtype=torch.bool)
    A[tuple(torch.tensor(edges).T)] = True
    return A


def softmax_over(logits, A, dim):
    """Softmax over the edges of A, row- or column-wise; 0 elsewhere."""
    return logits.masked_fill(~A, -torch.inf).softmax(dim).nan_to_num(0.0)


def dense_parts(model, features, edges, routings):
    """The modalities' (user, item, alpha into users, alpha into items), matrices of all pairs."""
    A, parts = dense_adjacency(edges), []
    for name, P, W in zip(features.modalities, model.P, model.W):
        item = leaky_relu(features.matrix(name) @ W.weight.T + W.bias)
        item[~features.has_feature(name)] = 0
        user, item = normalize(P), normalize(item)
        for _ in range(routings):
            user = normalize(user + softmax_over(user @ item.T, A, 1) @ item)
        into_user = softmax_over(user @ item.T, A, 1)
        into_item = softmax_over(user @ item.T, A, 0)
        parts.append((user + into_user @ item, item + into_item.T @ user, into_user, into_item))
    return parts


def dense_scores(model, features, edges, routings=3, layers=2, combine="confidence", prune=True):
    parts = dense_parts(model, features, edges, routings)
    into_user, into_item = (torch.stack([p[k] for p in parts]) for k in (2, 3))
    if combine == "confidence":
        into_user = into_user * model.c_item.T[:, None, :]
        into_item = into_item * model.c_user.T[:, :, None]
    if combine == "mean":
        into_user, into_item = into_user.mean(0), into_item.mean(0)
    else:
        A = dense_adjacency(edges)
        into_user, into_item = into_user.amax(0) * A, into_item.amax(0) * A
    if prune:
        into_user, into_item = into_user.clamp(min=0), into_item.clamp(min=0)
    u, i = normalize(model.E_user), normalize(model.E_item)
    user, item = u, i
    for _ in range(layers):
        u, i = into_user @ i, into_item.T @ u
        user, item = user + u, item + i
    scores = user @ item.T
    return scores + sum(p[0] @ p[1].T for p in parts)


class TestGRCN(BaselineContract):
    model = "GRCN"
    routings = 3

    @pytest.mark.parametrize("combine, prune", [
        ("confidence", True), ("confidence", False), ("max", True), ("mean", True),
    ])
    def test_scores_are_those_of_the_equations(self, combine, prune):
        model = self.build(edge_weights=combine, pruning=prune)
        self.fit(model, self.batch(), 3)
        with torch.no_grad():
            dense = dense_scores(model, self.features(), self.edges()[0], self.routings,
                                 combine=combine, prune=prune)
        torch.testing.assert_close(self.all_scores(model), dense, rtol=1e-4, atol=1e-5)

    def test_the_numbers_of_routings_and_layers_are_heeded(self):
        model = self.build(n_routings=1, n_layers=3)
        with torch.no_grad():
            dense = dense_scores(model, self.features(), self.edges()[0],
                                 min(1, self.routings), layers=3)
        torch.testing.assert_close(self.all_scores(model), dense, rtol=1e-4, atol=1e-5)

    def test_the_loss_is_bpr_and_mean_squares_of_every_modality_once(self):
        model, batch = self.build(l2_weight=0.3), self.batch(32)
        losses = model.train().calculate_loss(batch)
        with torch.no_grad():
            s = dense_scores(model, self.features(), self.edges()[0], self.routings)
            u, i, j = (batch[k] for k in ("user_id", "item_id", "neg_item_id"))
            bpr = -torch.log(torch.sigmoid(s[u, i] - s[u, j])).mean()
            ids = (model.E_user[u].square() + (model.E_item[i].square()
                   + model.E_item[j].square()) / 2).mean()
            preferences = sum(P[u].square().mean() for P in model.P)
        torch.testing.assert_close(losses.ranking, bpr)
        torch.testing.assert_close(losses.l2, 0.3 * (ids + preferences))

    def test_an_edge_of_negative_confidence_carries_no_id(self):
        """Without confidence in anyone the ids of the neighbours are not seen."""
        model = self.build()
        with torch.no_grad():
            for c in (model.c_user, model.c_item):
                c.copy_(-c.abs())
        before = self.all_scores(model).clone()
        with torch.no_grad():
            model.E_item[1] += 1.0
        model.drop_encoded()
        others = torch.arange(ITEMS) != 1
        assert torch.equal(self.all_scores(model)[:, others], before[:, others])
        with torch.no_grad():
            model.c_item.abs_()
        model.drop_encoded()
        assert not torch.allclose(self.all_scores(model)[:, others], before[:, others])

    def test_routing_moves_the_preferences_of_users_with_items_alone(self):
        """Towards the mean of what they like: user 0 is padding and likes nothing."""
        model = self.build()
        with torch.no_grad():
            user, item = torch.nn.functional.normalize(model.P[0]), torch.randn(ITEMS, 8)
            item = torch.nn.functional.normalize(item)
            routed = model.routed(user, item)
        torch.testing.assert_close(routed[0], user[0])
        moved = (routed - user).norm(dim=1)[1:]
        A = dense_adjacency(self.edges()[0])[1:].float()
        liked = torch.nn.functional.normalize(A @ item)
        if self.routings:
            assert (moved > 1e-2).all()
            assert ((routed[1:] * liked).sum(1) > (user[1:] * liked).sum(1)).all()
        else:
            assert not moved.any()


class TestReleasedGRCN(TestGRCN):
    """`released_routing: True`: routing runs from users to items alone and reaches no user."""

    settings = {"released_routing": True}
    routings = 0

    def test_the_number_of_routings_has_no_effect(self):
        one, four = self.build(n_routings=1), self.build(n_routings=4)
        assert torch.equal(self.all_scores(one), self.all_scores(four))
        working = self.build(released_routing=False)
        assert not torch.allclose(self.all_scores(one), self.all_scores(working))

    def test_routing_along_the_released_edges_is_the_identity_on_users(self):
        """What the released code computes, literally: x_target += softmax . x_source, on (u, i)."""
        model = self.build()
        x = torch.nn.functional.normalize(
            torch.cat([model.P[0].detach(), torch.randn(ITEMS, 8)]))
        user, item = x[:USERS], x[USERS:]
        for _ in range(3):
            x, gathered = torch.cat([user, item]), torch.zeros_like(x)
            for target in range(ITEMS):
                sources = torch.tensor([u for u, i in self.edges()[0] if i == target])
                if len(sources):
                    alpha = (x[sources] @ item[target]).softmax(0)
                    gathered[USERS + target] = alpha @ x[sources]
            user = torch.nn.functional.normalize(user + gathered[:USERS])
        torch.testing.assert_close(user, model.routed(x[:USERS], item))


def test_without_confidence_there_are_no_such_parameters():
    names = {name for name, _ in TestGRCN().build(edge_weights="max").named_parameters()}
    assert not {"c_user", "c_item"} & names


def test_a_dataset_without_features_is_refused():
    case = TestGRCN()
    with pytest.raises(UserError, match="at least one feature modality"):
        case.build(features=case.some_features())
