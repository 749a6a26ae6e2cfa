"""EASE with features against its normal equations and its optimality."""

import literal_closed_forms as literal
import numpy as np
import pytest
import torch
from closed_form_contract import ClosedFormContract
from contract import ITEMS, USERS
from recbole.utils import get_model
from stubs import Data, Features, settings

from recbole_ssr.errors import UserError
from recbole_ssr.model.closed_form import check_size


class TestFeatureEASE(ClosedFormContract):
    model = "FeatureEASE"
    settings = {"ridge": 5.0, "feature_weight": 2.0}
    largest = 1400  # item-item weights are dense by nature: hence max_items

    def matrices(self, features):
        R = np.zeros((USERS, ITEMS))
        R[tuple(np.array(self.edges()[0]).T)] = 1
        parts = [features.matrix(c).numpy() * features.has_feature(c).numpy()[:, None]
                 for c in features.modalities]
        return R, np.concatenate(parts, axis=1)

    def weights(self, model):
        return model.weights["W"].numpy()

    def test_scores_equal_the_dense_formula(self):
        R, F = self.matrices(self.features())
        assert not F[5, :6].any()  # no text
        expected = literal.ease(R, F, 5.0, 2.0)
        np.testing.assert_allclose(self.all_scores(self.build()), expected, atol=1e-5)

    def test_without_features_it_is_plain_ease(self):
        R, F = self.matrices(self.features())
        expected = literal.ease(R, 0 * F, 5.0, 0.0)
        for features in (self.features(), Features()):
            model = self.build(features=features, feature_weight=0.0)
            np.testing.assert_allclose(self.all_scores(model), expected, atol=1e-5)

    def test_two_items_by_hand(self):
        """Two items: G + 1 = [[3, 1], [1, 3]], whose inverse is [[3, -1], [-1, 3]] / 8."""
        data = Data([1, 1, 2, 3], [1, 2, 1, 2], 4, 3, Features())
        model = get_model("FeatureEASE")(settings("FeatureEASE", ridge=1.0, feature_weight=0.0),
                                         data)
        expected = [[0, 0, 0], [0, 0, 1 / 3], [0, 1 / 3, 0]]
        np.testing.assert_allclose(self.weights(model), expected, atol=1e-6)

    def test_weights_are_the_optimum_under_a_zero_diagonal(self):
        """The gradient vanishes off the diagonal, and no step with a zero diagonal is downhill."""
        R, F = self.matrices(self.features())
        X, B = np.concatenate([R, np.sqrt(2.0) * F.T]), self.weights(self.build()).astype(float)
        assert not np.diag(B).any()
        gradient = X.T @ (X @ B - X) + 5.0 * B
        np.testing.assert_allclose(gradient - np.diag(np.diag(gradient)), 0, atol=1e-4)
        assert np.abs(np.diag(gradient)[1:]).min() > 0.1  # the multipliers of the constraint

        def loss(B):
            return np.square(X - X @ B).sum() + 5.0 * np.square(B).sum()

        rng = np.random.default_rng(0)
        for scale in (1e-2, 1.0):
            step = rng.normal(scale=scale, size=B.shape)
            np.fill_diagonal(step, 0)
            assert loss(B + step) > loss(B)

    def test_features_alone_score_an_item_without_interactions(self):
        edges = [(u, i) for u, i in self.edges()[0] if i != 7]
        cold = self.all_scores(self.build(edges=edges))[1:, 7]
        odd = torch.arange(1, USERS) % 2 == 1  # who likes the colour of item 7
        assert cold[odd].min() > cold[~odd].max()
        plain = self.all_scores(self.build(edges=edges, feature_weight=0.0))
        assert not plain[:, 7].any()

    def test_more_items_than_max_items_are_refused_with_the_memory_and_a_remedy(self):
        assert self.build(max_items=ITEMS - 1)
        with pytest.raises(UserError) as refusal:
            self.build(max_items=10)
        for word in ("0.0 GiB", "17 items", "max_items is 10", "GFCF", "Raise max_items"):
            assert word in str(refusal.value)

    def test_the_memory_in_the_message_is_that_of_one_matrix(self):
        with pytest.raises(UserError, match=r"37\.3 GiB .*1e\+15 multiplications .*100,000 items"):
            check_size(100_001, 30_000)

    def test_no_modality_at_all_is_refused_with_the_way_out(self):
        with pytest.raises(UserError, match="no feature modality.*feature_weight 0"):
            self.build(features=Features())
