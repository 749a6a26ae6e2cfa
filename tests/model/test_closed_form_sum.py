"""The sum of closed forms against the dense parts."""

import literal_closed_forms as literal
import numpy as np
import pytest
from closed_form_contract import ClosedFormContract
from contract import ITEMS, USERS
from stubs import Features

from recbole_ssr.errors import UserError

WEIGHTS = {"ease_weight": 1.0, "low_pass_weight": 0.5, "linear_weight": 2.0, "knn_weight": 0.25}


class TestClosedFormSum(ClosedFormContract):
    model = "ClosedFormSum"
    settings = {"modes": 2, "ridge": 5.0, "feature_weight": 2.0, "knn_k": 4}
    largest = 1400  # for EASE

    def random_matrix(self):
        R = (np.random.default_rng(4).random((USERS, ITEMS)) < 0.3).astype(float)
        R[0], R[:, 0] = 0, 0
        return R

    def parts(self, R, features):
        F = [features.matrix(c).numpy() for c in features.modalities]
        knn = sum(literal.knn(f, 4, features.has_feature(c).numpy()) / 2
                  for c, f in zip(features.modalities, F))
        return (literal.ease(R, np.concatenate(F, 1), 5.0, 2.0), literal.low_pass(R, 2),
                literal.linear(R), R @ knn)

    @pytest.mark.parametrize("standardise", [False, True])
    def test_scores_equal_the_dense_sum(self, standardise):
        R = self.random_matrix()
        model = self.build(edges=np.argwhere(R).tolist(), standardise=standardise, **WEIGHTS)
        scale = literal.standardised if standardise else (lambda scores: scores)
        expected = sum(w * scale(part)
                       for w, part in zip(WEIGHTS.values(), self.parts(R, self.features())))
        # A user without items has equal scores.
        np.testing.assert_allclose(self.all_scores(model)[1:], expected[1:], atol=1e-4)
        assert not self.all_scores(model)[0].any()

    def test_a_part_of_weight_0_is_not_fitted(self):
        weights = dict.fromkeys(WEIGHTS, 0.0)
        model = self.build(**{**weights, "linear_weight": 1.0}, features=Features(), max_items=1)
        assert len(model.weights.parts) == 1
        with pytest.raises(UserError, match="ease_weight, low_pass_weight, .* are all 0"):
            self.build(**weights)

    def test_ease_refuses_many_items_here_too(self):
        with pytest.raises(UserError, match="ease_weight 0"):
            self.build(max_items=10)
