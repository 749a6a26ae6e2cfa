"""Item kNN against dense similarities."""

import literal_closed_forms as literal
import numpy as np
import pytest
import torch
from closed_form_contract import ClosedFormContract
from contract import ITEMS, USERS
from recbole.utils import get_model
from stubs import Data, Features, settings

from recbole_ssr.errors import UserError


class TestFeatureItemKNN(ClosedFormContract):
    model = "FeatureItemKNN"
    settings = {"knn_k": 4}

    def matrix(self):
        R = np.zeros((USERS, ITEMS))
        R[tuple(np.array(self.edges()[0]).T)] = 1
        return R

    def dense(self, features, k, weights):
        return sum(w * literal.knn(features.matrix(c).numpy(), k, features.has_feature(c).numpy())
                   for c, w in zip(features.modalities, weights))

    def test_scores_equal_the_dense_similarities(self):
        features = self.features()
        for given, weights in ((None, (0.5, 0.5)), ({"image": 1, "text": 3}, (0.75, 0.25))):
            model = self.build(knn_weights=given)
            expected = self.matrix() @ self.dense(features, 4, weights)
            np.testing.assert_allclose(self.all_scores(model), expected, atol=1e-5)

    def test_three_items_by_hand(self):
        """Item 2 lies between 1 and 3; each keeps one neighbour."""
        x = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.8, 0.6], [0.0, 1.0]])
        data = Data([1, 2], [1, 2], 3, 4, Features(text=x))
        model = get_model("FeatureItemKNN")(settings("FeatureItemKNN", knn_k=1), data)
        scores = model.full_sort_predict({"user_id": torch.arange(3)}).view(3, 4)
        # Of user 2, who has item 2: items 1 and 3 have it for their neighbour.
        expected = [[0, 0, 0, 0], [0, 0, 0.8, 0], [0, 0.8, 0, 0.6]]
        torch.testing.assert_close(scores[:, 1:], torch.tensor(expected)[:, 1:])

    @pytest.mark.parametrize("weight", [0.3, 1.0])
    def test_interactions_mix_in(self, weight):
        rng = np.random.default_rng(2)
        R = (rng.random((USERS, ITEMS)) < 0.3).astype(float)
        R[0], R[:, 0] = 0, 0
        R[:, 9] = 0  # no interaction
        k = ITEMS  # all of them: which of equal ones are kept, another test tells
        model = self.build(edges=np.argwhere(R).tolist(), interaction_weight=weight, knn_k=k)
        W = weight * literal.knn(R.T, k) + (1 - weight) * self.dense(self.features(), k, (.5, .5))
        np.testing.assert_allclose(self.all_scores(model), R @ W, atol=1e-5)

    def test_interactions_alone_need_no_features(self):
        model = self.build(features=Features(), interaction_weight=1.0)
        assert self.all_scores(model)[1:].abs().sum() > 0
        with pytest.raises(UserError, match="no feature modality.*interaction_weight 1"):
            self.build(features=Features())

    def test_an_item_is_none_of_its_neighbours_even_among_copies(self):
        features = Features(text=torch.ones(ITEMS, 3))
        W = self.build(features=features, knn_k=2).weights["Wt"].to_dense()
        assert not W.diagonal().any()
        assert ((W > 0).sum(1) == 2).all()

    def test_an_item_without_interactions_is_scored_by_its_features(self):
        edges = [(u, i) for u, i in self.edges()[0] if i != 7]
        cold = self.all_scores(self.build(edges=edges))[1:, 7]
        odd = torch.arange(1, USERS) % 2 == 1
        assert cold[odd].min() > cold[~odd].max()

    def test_a_weight_for_an_unknown_modality_is_refused(self):
        with pytest.raises(UserError, match="'txet', which is no modality.*Did you mean 'text'"):
            self.build(knn_weights={"txet": 1.0})
