"""What every bundled baseline inherits beyond the contract of all models.

A subclass sets `model`; `multimodal = False` for models on ids alone.
"""

import pytest
import torch
from contract import ITEMS, ModelContract
from stubs import Data, Features, triples
from torch.utils._python_dispatch import TorchDispatchMode

from recbole_ssr.nn.objectives import OBJECTIVES


class LargestTensor(TorchDispatchMode):
    """Remembers the largest dense tensor that any operation returned."""

    def __init__(self):
        super().__init__()
        self.numel, self.shape, self.by = 0, (), None

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, (tuple, list)) else (out,):
            if isinstance(tensor, torch.Tensor) and tensor.layout == torch.strided \
                    and tensor.numel() > self.numel:
                self.numel, self.shape, self.by = tensor.numel(), tuple(tensor.shape), func
        return out


def total(losses):
    return sum(losses) if isinstance(losses, tuple) else losses


class BaselineContract(ModelContract):
    multimodal = True
    overfit_loss = "ranking"

    def some_features(self, *names):
        generator = torch.Generator().manual_seed(3)
        return Features(**{name: torch.randn(ITEMS, 3 + k, generator=generator)
                           for k, name in enumerate(names)})

    @pytest.mark.parametrize("names", [["kg.v2"], ["image", "audio track", "text"]], ids=len)
    def test_any_number_and_any_names_of_modalities(self, names):
        features = self.some_features(*names)
        model = self.build(features=features)
        self.fit(model, self.batch(), 3)
        assert torch.isfinite(self.all_scores(model)).all()
        without = [name for name, p in model.named_parameters() if p.grad is None]
        assert not without

    @pytest.mark.parametrize("objective", OBJECTIVES)
    def test_trains_on_every_common_objective(self, objective):
        model = self.build(objective=objective)
        assert model.objective.name == objective
        before = model.train().calculate_loss(self.batch(256))
        self.fit(model, self.batch(256), 10)
        after = model.train().calculate_loss(self.batch(256))
        assert after.ranking < before.ranking
        if model.objective.cosine:
            item = model.eval().encode().item
            norm = item.norm(dim=1)
            assert ((norm - 1).abs() < 1e-4).logical_or(norm == 0).all()

    @pytest.mark.parametrize("trainable", [False, True])
    def test_features_are_trained_or_frozen_by_a_flag(self, trainable):
        if not self.multimodal:
            pytest.skip("on ids alone")
        model = self.build(train_features=trainable)
        model.begin_epoch(0)
        raw = [p for p in model.parameters() if p.shape in {(ITEMS, 6), (ITEMS, 9)}]
        assert len(raw) == (2 if trainable else 0)
        start = [p.clone() for p in raw]
        self.fit(model, self.batch(256), 2)
        for was, p in zip(start, raw):
            assert not torch.equal(was, p)
        if trainable:  # item 5 has no text, item 0 is padding
            text = next(p for p in raw if p.shape[1] == 6)
            assert torch.equal(text[5], torch.zeros(6))

    def test_a_missing_feature_value_is_never_read(self):
        """What stands in the row of a missing modality changes nothing, as a mean fill would."""
        if not self.multimodal:
            pytest.skip("on ids alone")
        base, batch = self.features(), self.batch(256)
        filled = {c: base.matrix(c) for c in base.modalities}
        filled["text"][5] = 3.0
        present = {c: base.has_feature(c) for c in base.modalities}
        a, b = self.build(), self.build(features=Features(present, **filled))
        for model in (a, b):
            self.fit(model, batch, 3)
        assert torch.equal(self.all_scores(a), self.all_scores(b))

    def test_no_dense_matrix_of_nodes_by_nodes(self):
        """Through building, an epoch's start, a step and an evaluation."""
        n_users, n_items, size = 1500, 1400, 64
        generator = torch.Generator().manual_seed(0)
        u = 1 + torch.randint(n_users - 1, (4000,), generator=generator)
        i = 1 + torch.randint(n_items - 1, (4000,), generator=generator)
        features = Features(text=torch.randn(n_items, 6, generator=generator),
                            image=torch.randn(n_items, 9, generator=generator))
        options = {"embedding_size": 8, "seed": 1, **self.settings}
        with LargestTensor() as largest:
            data = Data(u, i, n_users, n_items, features)
            model = self.model_on(data, **options)
            model.begin_epoch(0)
            batch = triples(u[:size], i[:size], 1 + (i[:size] + 7) % (n_items - 1))
            total(model.train().calculate_loss(batch)).backward()
            model.eval().predict({"user_id": u[:3], "item_id": i[:3]})
        # kNN works on blocks of 1,024 items; they are all that may be that large.
        assert largest.numel <= 1024 * n_items, (largest.shape, largest.by)

    def test_one_epoch_after_the_other_is_reproducible(self):
        """Random draws of an epoch come from the model's own generator, so that runs resume."""
        a, b = self.build(), self.build()
        batch = self.batch(256)
        for epoch in range(2):
            for model in (a, b):
                model.begin_epoch(epoch)
                torch.manual_seed(epoch)
                self.fit(model, batch, 2)
        assert torch.equal(self.all_scores(a), self.all_scores(b))
