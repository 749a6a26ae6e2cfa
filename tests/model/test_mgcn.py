"""MGCN against its equations written out densely, and what makes it itself."""

import pytest
import torch
from baseline_contract import BaselineContract
from contract import ITEMS, USERS
from literal_side_views import (
    binary,
    content,
    knn_graph,
    lightgcn,
    linear,
    normalised,
    side_loss,
)
from torch.nn import functional as F

from recbole_ssr.errors import UserError


def literal(model, pairs, features, n_layers, k):
    """Return behaviour and side of all nodes, each a pair (user, item)."""
    R = binary(pairs, USERS, ITEMS)
    c = lightgcn(R, model.E_u, model.E_i, n_layers)
    item = []
    for m, name in enumerate(features.modalities):
        X, here = features.matrix(name), features.has_feature(name)
        gate = torch.sigmoid(linear(content(X, here, model.project[m]), model.purify[m][0]))
        item.append(knn_graph(X, here, k) @ (model.E_i * gate))
    user, M, d = [normalised(R) @ v for v in item], len(item), model.E_i.shape[1]

    def side(behaviour, views):
        logits = [linear(torch.tanh(linear(v, model.attend[0])), model.attend[2]) for v in views]
        attention = torch.cat(logits, 1).softmax(1)
        common = sum(attention[:, [m]] * views[m] for m in range(M))
        W, b = model.prefer[0].weight, model.prefer[0].bias
        parts = [common]
        for m in range(M):
            rows = slice(m * d, (m + 1) * d)
            prefer = torch.sigmoid(behaviour @ W[rows].T + b[rows])
            parts.append((views[m] - common) * prefer)
        return sum(parts) / (M + 1)

    return c, (side(c[0], user), side(c[1], item))


class TestMGCN(BaselineContract):
    model = "MGCN"
    settings = {"knn_k": 5}

    @pytest.mark.parametrize("names", [None, ["a b"], ["x", "y.z", "w"]],
                             ids=["two", "one", "three"])
    def test_scores_and_loss_are_the_equations(self, names):
        features = self.some_features(*names) if names else self.features()
        model = self.build(features=features, contrast_weight=0.3, l2_weight=0.2, temperature=0.5)
        c, s = literal(model, self.edges()[0], features, 2, 5)
        torch.testing.assert_close(self.all_scores(model), (c[0] + s[0]) @ (c[1] + s[1]).T,
                                   rtol=1e-4, atol=1e-5)
        batch = self.batch(40)
        expected = side_loss(c, s, batch, 0.3, 0.5, 0.2, 2048)
        for part, value in zip(model.train().calculate_loss(batch), expected):
            torch.testing.assert_close(part, value, rtol=1e-4, atol=1e-6)

    def test_one_modality_alone_is_all_common(self):
        """Trap: the released code needs image and text. Alone, s = V / 2."""
        features = self.some_features("text")
        model = self.build(features=features)
        behaviour, views = model.signals()
        out = model.forward()
        torch.testing.assert_close(out.item, behaviour[1] + views[1] / 2)
        torch.testing.assert_close(out.user, behaviour[0] + views[0] / 2)

    def test_equal_views_leave_nothing_apart(self):
        """Then the gates have no say in the side information either."""
        model = self.build()
        view = torch.randn(4, 1, 8)
        for gate in torch.rand(2, 4, 2, 8):
            side = model.side(view.expand(4, 2, 8), gate)
            torch.testing.assert_close(side, view[:, 0] / 3)

    def test_content_reaches_an_item_only_through_its_id(self):
        model = self.build()
        with torch.no_grad():
            model.E_i.zero_()
        assert not model.signals()[1][1].any()

    def test_the_regulariser_divides_by_the_batch_size_of_the_settings(self):
        """A short last batch weighs its own sum, not its mean."""
        batch = self.batch(32)
        a, b = (self.build(train_batch_size=size).train().calculate_loss(batch)
                for size in (32, 64))
        torch.testing.assert_close(a.l2, 2 * b.l2)

    def test_every_common_objective_keeps_the_auxiliary_losses(self):
        batch = self.batch(32)
        paper, other = (self.build(objective=o).train().calculate_loss(batch)
                        for o in ("paper", "softmax"))
        torch.testing.assert_close(paper.contrast, other.contrast)
        torch.testing.assert_close(paper.l2, other.l2)
        assert not torch.isclose(paper.ranking, other.ranking)
        assert torch.equal(paper.ranking,
                           self.build(objective="bpr").train().calculate_loss(batch).ranking)

    def test_contrast_is_among_the_occurrences_of_the_batch(self):
        """One user and one item alone have no negatives."""
        batch = {k: v[:1] for k, v in self.batch(1).items()}
        assert self.build().train().calculate_loss(batch).contrast.abs() < 1e-6

    def test_k_may_differ_by_modality(self):
        model = self.build(knn_k={"text": 3, "image": 7})
        degrees = [T["T"].to_dense().count_nonzero(1) for T in model.T]
        assert degrees[0][1] == 3 and degrees[1][1] == 7
        assert degrees[0][5] == 1  # without text it keeps itself

    @pytest.mark.parametrize("k, told", [
        ({"text": 3, "imago": 3}, "'imago'.*Did you mean 'image'"), ({"text": 3}, "every modality"),
        ({"text": 3, "image": 0}, "at least 1"), ("ten", "whole number"),
    ])
    def test_a_wrong_k_is_refused(self, k, told):
        with pytest.raises(UserError, match=told):
            self.build(knn_k=k)

    def test_contrast_pulls_side_towards_behaviour(self):
        model, batch = self.build(contrast_weight=1.0), self.batch(256)
        self.fit(model, batch, 60)
        with torch.no_grad():
            (c, _), (V, _) = model.signals()
            side = model.side(V.view(USERS, 2, 8), model.prefer(c).view(USERS, 2, 8))
        cosines = F.cosine_similarity(side[1:], c[1:])
        other = F.cosine_similarity(side[1:], c[1:].roll(1, 0))
        assert cosines.mean() > other.mean() + 0.5
