"""The contract that every model of the package inherits.

A test module subclasses :class:`ModelContract`, sets `model` and may change `settings`. Where a
loss is not a sum that reaches zero, `overfit_loss` names the part that does.
"""

from contextlib import nullcontext
from copy import deepcopy

import pytest
import torch
from stubs import Data, Features, settings, triples

from recbole_ssr.distributed import group
from recbole_ssr.distributed.place import Place
from recbole_ssr.distributed.sharing import shared_step
from recbole_ssr.errors import UserError
from recbole_ssr.nn.fixed_shapes import each_tensor, fixed_shapes
from recbole_ssr.registry import model_class
from recbole_ssr.train import checkpoint

USERS, ITEMS = 26, 18  # no other axis of a model may have these lengths


class ModelContract:
    """Behaviour of a recommender on a checkerboard of users and items."""

    model: str
    profile: str | None = None
    settings: dict = {}
    overfit_loss = "bce"
    steps, learning_rate = 150, 0.02

    def edges(self):
        """Users like the items of their own colour, except one each, held out."""
        pairs = [(u, i) for u in range(1, USERS) for i in range(1, ITEMS) if (u + i) % 2 == 0]
        held_out = {}
        for u in range(1, USERS):
            liked = [i for v, i in pairs if v == u]
            held_out[u] = liked[u % len(liked)]
        return [pair for pair in pairs if held_out[pair[0]] != pair[1]], held_out

    def features(self):
        """Two modalities that carry the colour of an item under noise; none for item 5's text."""
        generator = torch.Generator().manual_seed(7)
        colour = torch.arange(ITEMS) % 2
        matrices, present = {}, {}
        for c, dim in (("text", 6), ("image", 9)):
            noise = torch.randn(ITEMS, dim, generator=generator)
            matrices[c] = noise * 0.3 + torch.where(colour == 1, 1.0, -1.0)[:, None]
            here = torch.arange(ITEMS) > 0
            here[5] &= c != "text"
            present[c] = here
            matrices[c][~here] = 0
        return Features(present, **matrices)

    def build(self, seed=1, edges=None, features=None, **changes):
        torch.manual_seed(seed)
        pairs = torch.tensor(edges or self.edges()[0])
        data = Data(pairs[:, 0], pairs[:, 1], USERS, ITEMS, features or self.features())
        options = {"embedding_size": 8, "seed": seed, **self.settings, **changes}
        return self.model_on(data, **options)

    def model_on(self, data, **options):
        kind = model_class(self.model, self.profile)
        return kind(settings(self.model, self.profile, **options), data)

    def batch(self, size=64, seed=0):
        generator = torch.Generator().manual_seed(seed)
        pairs = torch.tensor(self.edges()[0])
        u, i = pairs[torch.randint(len(pairs), (size,), generator=generator)].T
        other = torch.randint((ITEMS - 2) // 2, (size,), generator=generator) * 2
        negative = other + 1 + (u % 2 == 1).long()
        assert ((negative + u) % 2 == 1).all() and negative.min() > 0
        return triples(u, i, negative)

    def fit(self, model, batch, steps=None):
        optimizer = torch.optim.Adam(model.parameters(), lr=self.learning_rate)
        model.train()
        for _ in range(steps or self.steps):
            optimizer.zero_grad()
            losses = model.calculate_loss(batch)
            (sum(losses) if isinstance(losses, tuple) else losses).backward()
            optimizer.step()
        return model

    def ranking_loss(self, model, batch):
        losses = model.train().calculate_loss(batch)
        return getattr(losses, self.overfit_loss) if isinstance(losses, tuple) else losses

    def all_scores(self, model):
        users = {"user_id": torch.arange(USERS)}
        return model.eval().full_sort_predict(users).view(USERS, ITEMS)

    def test_one_batch_can_be_overfitted(self):
        model, batch = self.build(), self.batch()
        goal = 0.1 * self.ranking_loss(model, batch).item()
        for _ in range(5):
            self.fit(model, batch, self.steps // 5)
            if self.ranking_loss(model, batch).item() < goal:
                return
        raise AssertionError(f"{self.ranking_loss(model, batch)} instead of {goal}")

    def test_every_parameter_gets_a_gradient(self):
        model = self.build()
        losses = model.train().calculate_loss(self.batch(256))
        (sum(losses) if isinstance(losses, tuple) else losses).backward()
        without = [name for name, p in model.named_parameters()
                   if p.grad is None or not p.grad.abs().sum() > 0]
        assert not without

    def test_processes_that_share_a_step_have_its_loss_and_gradients_as_their_mean(
            self, monkeypatch):
        def step(model, size, rank):
            monkeypatch.setattr(group, "_place", Place(rank, size, rank, size))
            torch.manual_seed(3)
            with shared_step():
                losses = model.calculate_loss(self.batch(96))
            (sum(losses) if isinstance(losses, tuple) else losses).backward()
            return torch.stack(list(losses)).detach(), {
                name: p.grad for name, p in model.named_parameters()}

        whole = self.fit(self.build(), self.batch(), 3)
        whole.zero_grad()
        parts = [step(deepcopy(whole).train(), 3, rank) for rank in range(3)]
        losses, gradients = step(whole.train(), 1, 0)
        torch.testing.assert_close(torch.stack([part for part, _ in parts]).mean(0), losses)
        for name, gradient in gradients.items():
            own = [of_rank[name] for _, of_rank in parts]
            if gradient is None:  # none of them waits for it
                assert own == [None] * 3
                continue
            torch.testing.assert_close(torch.stack(own).mean(0), gradient, rtol=1e-4, atol=1e-7)

    def test_loss_parts_are_named_finite_scalars(self):
        losses = self.build().train().calculate_loss(self.batch())
        assert losses._fields
        assert all(part.shape == () and torch.isfinite(part) for part in losses)

    def test_evaluation_is_deterministic_and_draws_no_random_number(self):
        model = self.build()
        before, state = torch.get_rng_state(), model.generator.get_state()
        first = self.all_scores(model).clone()
        model.drop_encoded()
        assert torch.equal(self.all_scores(model), first)
        assert torch.equal(torch.get_rng_state(), before)
        assert torch.equal(model.generator.get_state(), state)

    def test_the_same_seed_gives_the_same_model_and_another_seed_another(self):
        batch = self.batch()
        a, b, c = (self.fit(self.build(seed), batch, 3) for seed in (1, 1, 2))
        assert torch.equal(self.all_scores(a), self.all_scores(b))
        assert not torch.allclose(self.all_scores(a), self.all_scores(c))

    def test_predict_equals_full_sort_predict(self):
        model = self.fit(self.build(), self.batch(), 5)
        scores = self.all_scores(model)
        u, i = torch.randint(USERS, (40,)), torch.randint(ITEMS, (40,))
        torch.testing.assert_close(model.predict({"user_id": u, "item_id": i}), scores[u, i])

    def test_a_checkpoint_restores_the_scores_and_the_generator(self, tmp_path):
        model = self.fit(self.build(), self.batch(), 5)
        scores = self.all_scores(model)
        checkpoint.save({"state_dict": model.state_dict()}, tmp_path / "model.pth")
        other = self.build(seed=9)
        assert not torch.allclose(self.all_scores(other), scores)
        other.load_state_dict(checkpoint.load(tmp_path / "model.pth")["state_dict"])
        torch.testing.assert_close(self.all_scores(other), scores, rtol=0, atol=0)
        assert torch.equal(other.generator.get_state(), model.generator.get_state())

    def test_kept_embeddings_are_dropped_on_train_and_on_loading(self):
        model, batch = self.build(), self.batch()
        before = self.all_scores(model).clone()
        state = {k: v.clone() for k, v in model.state_dict().items()}
        assert torch.equal(self.all_scores(model), before)
        self.fit(model, batch, 3)
        after = self.all_scores(model).clone()
        assert not torch.allclose(after, before)
        model.load_state_dict(state)
        torch.testing.assert_close(self.all_scores(model), before)

    def test_a_deep_copy_is_a_model_of_its_own(self):
        model, batch = self.build(), self.batch()
        before = self.all_scores(model).clone()
        twin = self.fit(deepcopy(model), batch, 3)
        assert torch.equal(self.all_scores(model), before)
        assert not torch.allclose(self.all_scores(twin), before)
        state = model.generator.get_state()
        torch.rand(1, generator=twin.generator)
        assert torch.equal(model.generator.get_state(), state)
        assert not torch.equal(twin.generator.get_state(), state)

    def test_scores_are_encoded_once_per_evaluation(self):
        model, calls = self.build().eval(), []
        encode = model.encode
        model.encode = lambda: calls.append(1) or encode()
        for user in range(1, 5):
            model.full_sort_predict({"user_id": torch.tensor([user])})
        assert len(calls) == 1

    def test_editing_returned_scores_leaves_the_model_alone(self):
        model = self.build()
        scores = self.all_scores(model)
        kept = scores.clone()
        scores[:] = -float("inf")
        assert torch.equal(self.all_scores(model), kept)

    def test_the_checkerboard_is_recovered(self):
        edges, held_out = self.edges()
        model = self.build()
        users, items = torch.tensor(edges).T
        for step in range(8):
            self.fit(model, self.batch(512, seed=step), 20)
            scores = self.all_scores(model).clone()
            scores[users, items] = -float("inf")
            scores[:, 0] = -float("inf")
            best = scores.argmax(1)
            right = [best[u].item() == held_out[u] for u in range(1, USERS)]
            if all(right):
                return
        raise AssertionError(f"{sum(right)} of {len(right)}")

    def test_relabelled_nodes_permute_the_scores(self):
        pu = torch.cat([torch.zeros(1, dtype=torch.long), 1 + torch.randperm(USERS - 1)])
        pi = torch.cat([torch.zeros(1, dtype=torch.long), 1 + torch.randperm(ITEMS - 1)])
        model, base = self.build(), self.features()
        moved, present = {}, {}
        for c in base.modalities:
            moved[c] = torch.empty_like(base.matrix(c))
            moved[c][pi] = base.matrix(c)
            present[c] = torch.empty_like(base.has_feature(c))
            present[c][pi] = base.has_feature(c)
        edges = [(pu[u].item(), pi[i].item()) for u, i in self.edges()[0]]
        other = self.build(edges=edges, features=Features(present, **moved))
        state = dict(model.state_dict())
        for name, value in state.items():
            for n, p in ((USERS, pu), (ITEMS, pi)):
                if value.dim() in (1, 2) and len(value) == n:
                    state[name] = torch.empty_like(value)
                    state[name][p] = value
        other.load_state_dict(state)
        torch.testing.assert_close(self.all_scores(other)[pu][:, pi], self.all_scores(model),
                                   rtol=1e-4, atol=1e-5)

    def test_no_constant_enters_the_state(self):
        """Buffers are what a model fitted to its data, small and dense: no graph, no features."""
        model = self.build()
        fitted = dict(model.named_buffers())
        assert all(b.layout == torch.strided and b.numel() < USERS * ITEMS for b in fitted.values())
        assert set(model.state_dict()) == {n for n, _ in model.named_parameters()} | set(fitted) | {
            "_extra_state"}

    @pytest.mark.parametrize("objective", ["sampled_softmax", "in_batch_softmax", "bpr", "softmax"])
    def test_fixed_shapes_change_neither_losses_nor_gradients(self, objective):
        """What a GPU captures: padding has no part in anything."""
        if "objective" not in settings(self.model, self.profile):
            pytest.skip("it has one objective, its own")
        options = settings(self.model, self.profile, **{**self.settings, "objective": objective})
        try:
            model = self.build(objective=objective).train()
        except UserError:
            pytest.skip(f"it trains no {objective}")
        if why := type(model).why_no_fixed_steps(options):
            pytest.skip(why)
        drawn = model.draw(self.batch(200))  # more interactions than users, and than items
        values, state = [], model.generator.get_state()
        for shapes, step in ((nullcontext(), drawn), (fixed_shapes(), model.padded(drawn))):
            model.generator.set_state(state)
            model.begin_epoch(0)
            model.zero_grad()
            with shapes:
                losses = model.loss(step)
                sum(losses).backward()
            values.append([*losses, *(p.grad for p in model.parameters() if p.grad is not None)])
        for a, b in zip(*values, strict=True):
            torch.testing.assert_close(b, a, rtol=1e-5, atol=1e-7)
        shapes = []
        for seed in (1, 2):
            batch = triples(*(x[:150] for x in self.batch(200, seed).values()))
            each_tensor(lambda x: shapes.append(x.shape), model.padded(model.draw(batch)))
        assert shapes[:len(shapes) // 2] == shapes[len(shapes) // 2:]

    @pytest.mark.gpu
    @pytest.mark.skipif(not torch.cuda.is_available(), reason="pytest -m gpu, with a CUDA device")
    def test_a_gpu_computes_the_same(self):
        model, batch = self.build(), self.batch()
        scores = self.all_scores(model)
        model.cuda()
        assert "cuda" in str(next(model.parameters()).device)
        users = {"user_id": torch.arange(USERS).cuda()}
        on_gpu = model.eval().full_sort_predict(users).view(USERS, ITEMS).cpu()
        torch.testing.assert_close(on_gpu, scores, rtol=1e-4, atol=1e-4)
        losses = model.train().calculate_loss({k: v.cuda() for k, v in batch.items()})
        sum(losses).backward()
        assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.requires_grad)
