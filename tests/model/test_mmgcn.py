"""MMGCN against dense re-computation, and what the released code does otherwise."""

import pytest
import torch
from baseline_contract import BaselineContract
from contract import ITEMS, USERS
from torch.nn.functional import leaky_relu, normalize

from recbole_ssr.errors import UserError
from recbole_ssr.train import checkpoint


def dense_mean(edges):
    """Row-normalised adjacency of users and items, dense."""
    A = torch.zeros(USERS + ITEMS, USERS + ITEMS)
    for u, i in edges:
        A[u, USERS + i] = A[USERS + i, u] = 1
    return A / A.sum(1, keepdim=True).clamp(min=1)


def dense_scores(model, features, edges, concat=True):
    """The equations on one dense matrix of all nodes, from the model's parameters."""
    A, E, total = dense_mean(edges), torch.cat([model.E_user, model.E_item]), 0
    for name, network in zip(features.modalities, model.networks):
        content = features.matrix(name)
        if network.project is not None:
            content = content @ network.project.weight.T + network.project.bias
            content[~features.has_feature(name)] = 0
        x = torch.cat([normalize(network.P), normalize(content)])
        for layer in network.layers:
            h = leaky_relu(A @ x @ layer.W1.weight.T)
            x_hat = leaky_relu(x @ layer.W2.weight.T + layer.W2.bias) + E
            W, b = layer.W3.weight, layer.W3.bias
            if concat:
                x = leaky_relu(torch.cat([h, x_hat], 1) @ W.T + b)
            else:
                x = leaky_relu(h @ W.T + b + x_hat)
        total = total + x / len(features.modalities)
    return total[:USERS] @ total[USERS:].T


class TestMMGCN(BaselineContract):
    model = "MMGCN"
    settings = {"raw_feature_size": 6, "feature_hidden_size": 7}  # image is projected, text is not
    trained = True

    @pytest.mark.parametrize("combination", ["concat", "add"])
    @pytest.mark.parametrize("n_layers", [1, 3])
    def test_scores_are_those_of_the_equations(self, combination, n_layers):
        model = self.build(combination=combination, n_layers=n_layers)
        self.fit(model, self.batch(), 3)
        with torch.no_grad():
            dense = dense_scores(model, self.features(), self.edges()[0], combination == "concat")
        torch.testing.assert_close(self.all_scores(model), dense, rtol=1e-4, atol=1e-5)

    def test_the_loss_is_bpr_and_mean_squares(self):
        model, batch = self.build(l2_weight=0.3), self.batch(32)
        losses = model.train().calculate_loss(batch)
        with torch.no_grad():
            s = dense_scores(model, self.features(), self.edges()[0])
            u, i, j = (batch[k] for k in ("user_id", "item_id", "neg_item_id"))
            bpr = -torch.log(torch.sigmoid(s[u, i] - s[u, j])).mean()
            squares = torch.cat([model.E_user, model.E_item]).square().mean()
            squares = squares + sum(n.P.square().mean() for n in model.networks)
        torch.testing.assert_close(losses.ranking, bpr)
        torch.testing.assert_close(losses.l2, 0.3 * squares * self.trained)

    @pytest.mark.parametrize("n_layers", [1, 2, 4])
    def test_the_number_of_layers_is_heeded(self, n_layers):
        model = self.build(n_layers=n_layers)
        assert all(len(network.layers) == n_layers for network in model.networks)

    def test_only_wide_features_are_projected(self):
        text, image = self.build().networks
        assert text.project is None and text.P.shape == (USERS, 6)
        assert image.project.weight.shape == (7, 9) and image.P.shape == (USERS, 7)

    def test_an_item_is_reached_from_two_steps_away_by_two_layers(self):
        """The content of item 1 moves item 2, which shares a user with it, by the second layer."""
        edges = [(1, 1), (1, 2), (2, 3)]
        for n_layers, reached in ((1, False), (2, True)):
            model = self.build(edges=edges, n_layers=n_layers)
            before = model.eval().encode().item.clone()
            model.networks[0].features.constants["X"][1] += 1.0
            after = model.encode().item
            assert not torch.equal(before[1], after[1])
            assert (not torch.allclose(before[2], after[2])) == reached
            assert torch.equal(before[3], after[3])


class TestReleasedMMGCN(TestMMGCN):
    """`train_preferences: False`: ids and preferences are random constants of the seed."""

    settings = {**TestMMGCN.settings, "train_preferences": False}
    trained = False
    learning_rate = 0.01

    def constants(self, model):
        return [model.E_user, model.E_item, *(network.P for network in model.networks)]

    def test_every_parameter_gets_a_gradient(self):
        """Every one that is trained."""
        model = self.build()
        sum(model.train().calculate_loss(self.batch(256))).backward()
        without = {id(p) for p in model.parameters() if p.grad is None or not p.grad.any()}
        assert without == {id(p) for p in self.constants(model)}

    @pytest.mark.parametrize("names", [["kg.v2"], ["image", "audio track", "text"]], ids=len)
    def test_any_number_and_any_names_of_modalities(self, names):
        model = self.build(features=self.some_features(*names))
        self.fit(model, self.batch(), 3)
        assert torch.isfinite(self.all_scores(model)).all()

    def test_they_never_move_and_differ_by_seed(self):
        model = self.build()
        before = [p.clone() for p in self.constants(model)]
        self.fit(model, self.batch(), 5)
        assert all(map(torch.equal, before, self.constants(model)))
        other = self.build(seed=2)
        assert not any(map(torch.equal, before, self.constants(other)))

    def test_they_are_part_of_a_checkpoint(self, tmp_path):
        model = self.build()
        checkpoint.save({"state_dict": model.state_dict()}, tmp_path / "model.pth")
        other = self.build(seed=2)
        other.load_state_dict(checkpoint.load(tmp_path / "model.pth")["state_dict"])
        assert all(map(torch.equal, self.constants(model), self.constants(other)))


def test_by_default_ids_and_preferences_are_trained():
    case = TestMMGCN()
    model = case.build()
    before = [p.clone() for p in (model.E_user, model.E_item, model.networks[0].P)]
    case.fit(model, case.batch(), 1)
    assert not any(map(torch.equal, before, (model.E_user, model.E_item, model.networks[0].P)))


def test_a_dataset_without_features_is_refused():
    case = TestMMGCN()
    with pytest.raises(UserError, match="at least one feature modality"):
        case.build(features=case.some_features())
