"""GF-CF against dense eigenvectors, and what makes it what it is."""

import literal_closed_forms as literal
import numpy as np
import pytest
import torch
from closed_form_contract import ClosedFormContract
from contract import ITEMS, USERS
from stubs import Features

from recbole_ssr.errors import UserError


class TestGFCF(ClosedFormContract):
    model = "GFCF"
    multimodal = False
    # One mode of each colour's component. The next ones are as many as the colour's items, equal.
    settings = {"modes": 2}

    def matrix(self):
        R = np.zeros((USERS, ITEMS))
        R[tuple(np.array(self.edges()[0]).T)] = 1
        return R

    def test_scores_equal_the_dense_filters(self):
        model = self.build(edges=self.uneven(), modes=3, alpha=0.3, linear_weight=0.5)
        R = np.zeros((USERS, ITEMS))
        R[tuple(np.array(self.uneven()).T)] = 1
        expected = 0.5 * literal.linear(R) + 0.3 * literal.low_pass(R, 3)
        np.testing.assert_allclose(self.all_scores(model), expected, atol=1e-5)

    def uneven(self):
        """Without ties among the singular values, of which a solver may take either."""
        rng = np.random.default_rng(4)
        pairs = [(u, i) for u in range(1, USERS) for i in range(1, ITEMS - 2) if rng.random() < .3]
        return [*pairs, (1, ITEMS - 1), (1, 1)]  # item ITEMS - 2 has no interaction

    def test_weights_leave_a_filter_out_and_one_of_them_is_needed(self):
        both, linear, low = (self.all_scores(self.build(**weights)) for weights in (
            {"alpha": 2.0}, {"alpha": 0.0}, {"alpha": 2.0, "linear_weight": 0.0}))
        torch.testing.assert_close(both, linear + low)
        assert len(self.build(alpha=0.0).weights.parts) == 1
        with pytest.raises(UserError, match="linear_weight, alpha are all 0"):
            self.build(alpha=0.0, linear_weight=0.0)

    def test_all_modes_give_the_users_own_interactions(self):
        """An ideal filter that keeps everything changes nothing, apart from cold items."""
        model = self.build(modes=1000, alpha=1.0, linear_weight=0.0)
        R = self.matrix()
        assert np.linalg.matrix_rank(R) < ITEMS
        # The projection on the rows' space keeps rows.
        np.testing.assert_allclose(self.all_scores(model), R, atol=1e-5)

    def test_no_modality_is_needed(self):
        with_features, without = self.build(), self.build(features=Features())
        assert torch.equal(self.all_scores(with_features), self.all_scores(without))
