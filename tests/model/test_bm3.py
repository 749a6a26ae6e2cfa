"""BM3 against its contract, its equations written out, and what makes it BM3."""

import pytest
import torch
from baseline_contract import BaselineContract
from contract import ITEMS, USERS
from literal_graphs import dense_adjacency, light_gcn, parameters_of, randomise
from torch.nn import functional as F


def cosine(a, b):
    return (a * b).sum() / (a.square().sum().sqrt() * b.square().sum().sqrt())


class Refusing(dict):
    """A batch that refuses to show its negatives."""

    def __getitem__(self, key):
        if key == "neg_item_id":
            raise AssertionError("the negatives were read")
        return super().__getitem__(key)


class TestBM3(BaselineContract):
    model = "BM3"

    def test_one_batch_can_be_overfitted(self):
        """Without dropout and norms: no prediction meets a target that changes at random."""
        model, batch = self.build(dropout=0.0, l2_weight=0.0), self.batch()
        start = self.ranking_loss(model, batch).item()
        self.fit(model, batch)
        assert self.ranking_loss(model, batch).item() < 0.1 * start

    def literal(self, model, layers):
        """h of users and items, and the projected features, from float64 leaves."""
        P, features = parameters_of(model), self.features()
        for p in P.values():
            p.requires_grad_()
        A = dense_adjacency(self.edges()[0], USERS, ITEMS)
        user, item = light_gcn(A, P["E_user"], P["E_item"], layers)
        projected = [P[f"features.{k}.X"] @ P[f"W.{k}.weight"].T + P[f"W.{k}.bias"]
                     for k in range(len(features.modalities))]
        return P, user, item + P["E_item"], projected

    def test_losses_gradients_and_scores_equal_the_equations_written_out(self):
        model = randomise(self.build(dropout=0.0, n_layers=2, contrast_weight=0.7, l2_weight=0.3))
        batch, features = self.batch(40), self.features()
        losses = model.train().calculate_loss(batch)
        P, user, item, projected = self.literal(model, 2)

        def predict(h):
            return P["predictor.weight"] @ h + P["predictor.bias"]

        pairs = list(zip(batch["user_id"].tolist(), batch["item_id"].tolist()))
        ranking = sum(
            2 - cosine(predict(user[u]), item[i].detach()) - cosine(predict(item[i]),
                                                                    user[u].detach())
            for u, i in pairs) / len(pairs)
        alignment = masking = 0
        for c, x in zip(features.modalities, projected):
            here = [i for _, i in pairs if features.has_feature(c)[i]]
            alignment += sum(1 - cosine(predict(x[i]), item[i].detach()) for i in here) / len(here)
            masking += sum(1 - cosine(predict(x[i]), x[i].detach()) for i in here) / len(here)
        l2 = (user.square().sum().sqrt() + item.square().sum().sqrt()) / ITEMS
        expected = (ranking, 0.7 * alignment, 0.7 * masking, 0.3 * l2)
        for part, value in zip(losses, expected):
            torch.testing.assert_close(part.double(), value, rtol=1e-5, atol=1e-6)
        # A gradient into a target would show: the targets above are constants.
        sum(losses).backward()
        sum(expected).backward()
        for name, p in model.named_parameters():
            torch.testing.assert_close(p.grad.double(), P[name].grad, rtol=1e-3, atol=1e-5,
                                       msg=name)
        W, b = P["predictor.weight"], P["predictor.bias"]
        scores = (user @ W.T + b) @ (item @ W.T + b).T
        torch.testing.assert_close(self.all_scores(model).double(), scores, rtol=1e-4, atol=1e-4)

    # No negatives

    def test_no_negative_is_read(self):
        model, batch = self.build(), self.batch()
        losses = model.train().calculate_loss(Refusing(batch))
        assert all(torch.isfinite(part) for part in losses)
        without = {k: v for k, v in batch.items() if k != "neg_item_id"}
        model.calculate_loss(without)
        with pytest.raises(AssertionError, match="negatives were read"):
            self.build(objective="bpr").train().calculate_loss(Refusing(batch))

    def test_the_paper_has_no_common_objective(self):
        assert self.build().objective is None and self.build(objective="bpr").objective is not None

    def test_another_objective_ranks_what_is_predicted_and_keeps_the_rest(self):
        batch = self.batch(40)
        paper = randomise(self.build(dropout=0.0)).train().calculate_loss(batch)
        model = randomise(self.build(dropout=0.0, objective="bpr")).train()
        losses = model.calculate_loss(batch)
        for part in ("alignment", "masking", "l2"):
            torch.testing.assert_close(getattr(losses, part), getattr(paper, part))
        s = self.all_scores(model)
        u, i, j = (batch[name] for name in ("user_id", "item_id", "neg_item_id"))
        expected = -F.logsigmoid(s[u, i] - s[u, j]).mean()
        torch.testing.assert_close(losses.ranking, expected)

    # Targets

    def test_targets_carry_no_gradient_and_drop_channels_by_node(self):
        model = self.build(dropout=0.5).train()
        h = torch.ones(4000, 3, requires_grad=True)
        target = model.target(h)
        assert not target.requires_grad
        assert set(target.unique().tolist()) == {0.0, 2.0}
        assert 0.45 < (target == 0).float().mean() < 0.55

    def test_online_representations_are_not_dropped(self):
        batch = self.batch(40)
        model = self.build(dropout=0.0).train()
        plain = model.calculate_loss(batch)
        model.dropout = 0.5
        dropped = model.calculate_loss(batch)
        torch.testing.assert_close(dropped.l2, plain.l2, rtol=0, atol=0)
        assert dropped.ranking != plain.ranking and dropped.masking != plain.masking

    # Features

    def test_features_reach_no_score_but_through_training(self):
        model = self.build()
        scores = self.all_scores(model).clone()
        with torch.no_grad():
            for W in model.W:
                W.weight.normal_()
        model.drop_encoded()
        assert torch.equal(self.all_scores(model), scores)

    def test_an_item_without_features_has_no_part_in_their_losses(self):
        model = randomise(self.build(dropout=0.0)).train()
        five = torch.full((6,), 5)
        batch = {"user_id": torch.arange(1, 7), "item_id": five}
        losses = model.calculate_loss(batch)
        (losses.alignment + losses.masking).backward()
        assert model.W[1].bias.grad.abs().sum() > 0  # the image
        assert not model.W[0].bias.grad.any() and not model.features[0].X.grad.any()  # the text

    def test_modalities_are_not_compared_with_one_another(self):
        batch = self.batch(40)
        a = randomise(self.build(dropout=0.0)).train()
        both = a.calculate_loss(batch)
        single = []
        for k in range(2):
            model = randomise(self.build(dropout=0.0)).train()
            model.features, model.W = model.features[k:k + 1], model.W[k:k + 1]
            single.append(model.calculate_loss(batch))
        for part in ("alignment", "masking"):
            torch.testing.assert_close(getattr(both, part),
                                       sum(getattr(losses, part) for losses in single))

    def test_the_predictor_starts_with_the_bias_of_a_linear_layer(self):
        """As the release: from 0 its recall on Amazon Baby stays an eighth below."""
        bias = self.build().predictor.bias.detach()
        bound = len(bias) ** -0.5
        assert bias.abs().max() <= bound
        assert bias.square().mean().item() == pytest.approx(bound**2 / 3, rel=0.8)
