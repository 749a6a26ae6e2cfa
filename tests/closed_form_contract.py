"""What holds of models that are fitted when they are built, in place of a trained model's terms.

There is no parameter, no loss, no random number and nothing to keep between evaluations.
"""

from copy import deepcopy

import pytest
import torch
from baseline_contract import BaselineContract, LargestTensor
from contract import ITEMS, USERS
from recbole.utils import ModelType
from stubs import Data, Features

from recbole_ssr.data.lazy_features import LazyFeaturesDataset
from recbole_ssr.registry import _load, model_class
from recbole_ssr.train import checkpoint
from recbole_ssr.train.fitted import FittedTrainer

NOT_TRAINED = None  # pytest passes over a test of this value


class ClosedFormContract(BaselineContract):
    def build(self, seed=1, edges=None, features=None, **changes):
        torch.manual_seed(seed)
        pairs = torch.tensor(edges or self.edges()[0])
        data = Data(pairs[:, 0], pairs[:, 1], USERS, ITEMS, features or self.features())
        options = {"seed": seed, **self.settings, **changes}
        return self.model_on(data, **options)

    def fit(self, model, batch, steps=None):  # noqa: ARG002
        """Nothing: the model is fitted when it is built."""
        return model

    test_one_batch_can_be_overfitted = NOT_TRAINED
    test_processes_that_share_a_step_have_its_loss_and_gradients_as_their_mean = NOT_TRAINED
    test_trains_on_every_common_objective = NOT_TRAINED
    test_kept_embeddings_are_dropped_on_train_and_on_loading = NOT_TRAINED
    test_scores_are_encoded_once_per_evaluation = NOT_TRAINED
    test_features_are_trained_or_frozen_by_a_flag = NOT_TRAINED
    test_one_epoch_after_the_other_is_reproducible = NOT_TRAINED

    def test_a_closed_form_has_its_own_trainer_and_reads_features_on_demand(self):
        cls = model_class(self.model)
        assert cls.type is ModelType.TRADITIONAL
        assert _load(cls.trainer_class) is FittedTrainer
        assert _load(cls.dataset_class) is LazyFeaturesDataset

    def test_loss_parts_are_named_finite_scalars(self):
        """One, which is zero and may be differentiated, so that any trainer passes."""
        loss = self.build().train().calculate_loss(self.batch())
        loss.backward()
        assert loss.shape == () and loss.item() == 0

    def test_no_constant_enters_the_state(self):
        model = self.build()
        assert not dict(model.state_dict()) and not list(model.parameters())

    def test_a_checkpoint_restores_the_scores_and_the_generator(self, tmp_path):
        """The data do; the checkpoint is empty."""
        model, other = self.build(), self.build(seed=9)
        checkpoint.save({"state_dict": model.state_dict()}, tmp_path / "model.pth")
        assert (tmp_path / "model.pth").stat().st_size < 2000
        other.load_state_dict(checkpoint.load(tmp_path / "model.pth")["state_dict"])
        assert torch.equal(self.all_scores(other), self.all_scores(model))

    def test_evaluation_is_deterministic_and_draws_no_random_number(self):
        before = torch.get_rng_state()
        torch.manual_seed(3)
        kept = torch.get_rng_state()
        model = self.build(seed=3)
        first = self.all_scores(model)
        assert torch.equal(self.all_scores(model), first)
        assert torch.equal(torch.get_rng_state(), kept)
        torch.set_rng_state(before)

    def test_the_same_seed_gives_the_same_model_and_another_seed_another(self):
        """Any seed gives the same."""
        a, b, c = (self.build(seed) for seed in (1, 1, 2))
        assert torch.equal(self.all_scores(a), self.all_scores(b))
        assert torch.equal(self.all_scores(a), self.all_scores(c))

    def test_a_deep_copy_is_a_model_of_its_own(self):
        model = self.build()
        assert torch.equal(self.all_scores(deepcopy(model)), self.all_scores(model))

    def test_predict_takes_users_block_by_block(self, monkeypatch):
        monkeypatch.setattr("recbole_ssr.model.closed_form._USERS_AT_ONCE", 3)
        self.test_predict_equals_full_sort_predict()

    def test_users_of_a_block_may_repeat_or_be_without_items(self):
        model = self.build()
        users = torch.tensor([0, 5, 5, 1])
        scores = model.full_sort_predict({"user_id": users}).view(4, ITEMS)
        torch.testing.assert_close(scores, self.all_scores(model)[users])
        assert not scores[0].any()
        empty = model.full_sort_predict({"user_id": users[:1]})
        assert empty.shape == (ITEMS,) and not empty.any()

    def test_a_repeated_interaction_counts_once(self):
        edges, _ = self.edges()
        a, b = self.build(edges=edges), self.build(edges=edges + edges[:20])
        assert torch.equal(self.all_scores(a), self.all_scores(b))

    largest = 1024  # rows of the largest matrix with a column per item

    def test_no_dense_matrix_of_nodes_by_nodes(self):
        """Through building and an evaluation. See tests/graph for what numpy and scipy hold."""
        n_users, n_items, size = 1500, 1400, 64
        generator = torch.Generator().manual_seed(0)
        u = 1 + torch.randint(n_users - 1, (4000,), generator=generator)
        i = 1 + torch.randint(n_items - 1, (4000,), generator=generator)
        features = Features(text=torch.randn(n_items, 6, generator=generator),
                            image=torch.randn(n_items, 9, generator=generator))
        with LargestTensor() as largest:
            data = Data(u, i, n_users, n_items, features)
            model = self.model_on(data, **self.settings)
            model.eval().full_sort_predict({"user_id": u[:size]})
            model.predict({"user_id": u[:3], "item_id": i[:3]})
        assert largest.numel <= self.largest * n_items, (largest.shape, largest.by)

    @pytest.mark.gpu
    @pytest.mark.skipif(not torch.cuda.is_available(), reason="pytest -m gpu, with a CUDA device")
    def test_a_gpu_computes_the_same(self):
        model = self.build()
        scores = self.all_scores(model)
        users = {"user_id": torch.arange(USERS).cuda()}
        on_gpu = model.cuda().full_sort_predict(users).view(USERS, ITEMS)
        assert on_gpu.is_cuda
        torch.testing.assert_close(on_gpu.cpu(), scores, rtol=1e-4, atol=1e-4)
