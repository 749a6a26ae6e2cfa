"""MENTOR against its contract, its equations written out, and what makes it MENTOR."""

import pytest
import torch
from baseline_contract import BaselineContract
from contract import ITEMS, USERS
from literal_graphs import (
    bpr_of_triples,
    dense_adjacency,
    knn_rows,
    light_gcn,
    parameters_of,
    randomise,
    triples_of,
)
from torch.nn import functional as F

from recbole_ssr.errors import UserError
from recbole_ssr.model.mentor import perturbed_views
from recbole_ssr.nn.objectives import OBJECTIVES


def distance(p, q):
    """Distance of two sets of nodes as Gaussians, channel by channel; row 0 is padding."""
    total = 0
    for channel in range(p.shape[1]):
        a, b = p[1:, channel], q[1:, channel]
        total += (a.mean() - b.mean()).abs() + (a.var() - b.var()).abs()
    return total / p.shape[1]


def nce(a, p, temperature):
    """Mean of -log softmax of the cosines of every row with its own, in plain loops."""
    total = 0
    for b in range(len(a)):
        logits = torch.stack([F.cosine_similarity(a[b], row, dim=0) / temperature for row in p])
        total += logits.exp().sum().log() - logits[b]
    return total / len(a)


class TestMENTOR(BaselineContract):
    model = "MENTOR"

    # The equations

    def literal(self, P, weights, k, layers):
        """h of ids, first and second modality, and g: each users and items, in float64."""
        features = self.features()
        S = sum(weights[c] * knn_rows(features.matrix(c), features.has_feature(c), k)
                for c in features.modalities)
        A = dense_adjacency(self.edges()[0], USERS, ITEMS)
        signals = [(P["E_user"], P["E_item"])]
        for m, c in enumerate(features.modalities):
            X, here = features.matrix(c).double(), features.has_feature(c)[:, None]
            x = (X @ P[f"W.{m}.weight"].T + P[f"W.{m}.bias"]) * here
            signals.append((P[f"P.{m}"], x))
        h = []
        for sides in signals:
            user, item = light_gcn(A, *(F.normalize(side, dim=1) for side in sides), layers)
            user, item = (layers + 1) * user, (layers + 1) * item  # a sum over layers
            h.append((user, item + S @ S @ item))
        alpha = P["a"].softmax(0)
        return h, tuple(alpha[0] * h[1][side] + alpha[1] * h[2][side] for side in (0, 1))

    def literal_losses(self, P, h, g, batch):
        """Ranking, alignment and masking, unweighted, without a mask."""
        text_to_image, guided = 0, 0
        for side in (0, 1):
            ids, text, image = (signal[side] for signal in h)
            guided += distance(ids, text) + distance(ids, image) + distance(ids, g[side])
            guided += distance(g[side], text) + distance(g[side], image)
            text_to_image += distance(text, image)
        masking = 0
        for side, name in ((0, "user_id"), (1, "item_id")):
            rows = g[side][sorted(set(batch[name].tolist()))]
            predicted = rows @ P["predictor.weight"].T + P["predictor.bias"]
            masking += (1 - F.cosine_similarity(predicted, rows.detach(), dim=1)).mean()
        return bpr_of_triples(*g, batch), guided + text_to_image, masking

    @pytest.mark.parametrize("weights", [{"text": 0.9, "image": 0.1}, None])
    def test_losses_gradients_and_scores_equal_the_equations_written_out(self, weights):
        model = randomise(self.build(knn_k=4, knn_weights=weights, n_layers=3, item_layers=2,
                                     feature_dropout=0.0, align_weight=0.7, mask_weight=0.6,
                                     contrast_weight=0.0, l2_weight=0.5))
        P = {name: p.requires_grad_() for name, p in parameters_of(model).items()}
        h, g = self.literal(P, weights or {"text": 0.5, "image": 0.5}, 4, 3)
        batch = self.batch(40)
        ranking, alignment, masking = self.literal_losses(P, h, g, batch)
        l2 = sum(P["E_item"][i].square().sum() + P["E_item"][j].square().sum()
                 + sum(P[name][u].square().sum() for name in ("E_user", "P.0", "P.1"))
                 for u, i, j in triples_of(batch)) / (2 * 40)
        expected = ranking, 0.7 * alignment, 0.6 * masking, torch.zeros(()).double(), 0.5 * l2
        losses = model.train().calculate_loss(batch)
        for part, value in zip(losses, expected):
            torch.testing.assert_close(part.double(), value, rtol=1e-5, atol=1e-6)
        sum(losses).backward()
        sum(expected).backward()
        for name, p in model.named_parameters():
            torch.testing.assert_close(p.grad.double(), P[name].grad, rtol=1e-3, atol=1e-5,
                                       msg=name)
        torch.testing.assert_close(self.all_scores(model).double(), g[0] @ g[1].T, rtol=1e-4,
                                   atol=1e-4)

    def test_the_views_contrast_distinct_nodes_of_the_batch(self):
        """Without noise both views are g itself."""
        model = randomise(self.build(noise=0.0, contrast_weight=0.3, temperature=0.5, n_layers=2))
        batch = self.batch(40)
        loss = model.train().calculate_loss(batch).perturbation
        g = model.eval().encode()
        expected = 0
        for side, name in zip(g, ("user_id", "item_id")):
            rows = side[sorted(set(batch[name].tolist()))].double()
            expected = expected + nce(rows, rows, 0.5)
        torch.testing.assert_close(loss.double(), 0.3 * expected, rtol=1e-4, atol=1e-5)

    # Alignment

    def test_identical_modalities_are_aligned_at_its_minimum(self):
        model = randomise(self.build())
        h = tuple(torch.randn(n, 8).repeat(1, 3) for n in (USERS, ITEMS))
        f = tuple(map(model.fused, h))
        assert model.alignment(h, f) < 1e-5
        moved = h[0], h[1] + torch.cat([torch.zeros(16), torch.ones(8)])
        assert model.alignment(moved, tuple(map(model.fused, moved))) > 1
        wider = h[0], h[1] * torch.cat([torch.ones(16), torch.full((8,), 2.0)])
        assert model.alignment(wider, tuple(map(model.fused, wider))) > 1

    def test_distributions_are_aligned_not_items(self):
        """Which item has which content does not matter, as long as the content is alike."""
        model = randomise(self.build())
        ids, text, image = torch.randn(3, ITEMS, 8)
        moved = torch.cat([image[:1], image[1:].roll(3, 0)])
        f = torch.randn(ITEMS, 8)
        user = torch.ones(USERS, 24), torch.ones(USERS, 8)
        a, b = (model.alignment((user[0], torch.cat([ids, text, x], 1)), (user[1], f))
                for x in (image, moved))
        torch.testing.assert_close(a, b)

    def test_training_on_the_alignment_alone_brings_modalities_together(self):
        model = randomise(self.build(align_weight=1.0))
        batch = self.batch(256)
        start = model.train().calculate_loss(batch).alignment.item()
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        for _ in range(100):
            optimizer.zero_grad()
            loss = model.calculate_loss(batch).alignment
            loss.backward()
            optimizer.step()
        assert loss < 0.3 * start

    def test_padding_has_no_part_in_the_distributions(self):
        model = randomise(self.build())
        h = tuple(torch.randn(n, 24) for n in (USERS, ITEMS))
        f = tuple(map(model.fused, h))
        before = model.alignment(h, f)
        h[0][0], h[1][0], f[0][0], f[1][0] = 100.0, -50.0, 7.0, 3.0
        torch.testing.assert_close(model.alignment(h, f), before)

    def test_the_alignment_counts_all_pairs(self):
        """Three modalities, ids and their fusion: 10 pairs, of which 3 pairs are of modalities."""
        model = self.build(features=self.some_features("a", "b", "c"))
        levels = torch.tensor([0.0, 1.0, 3.0, 7.0])  # the ids and the modalities
        h = tuple(levels.repeat_interleave(8).expand(n, -1) for n in (USERS, ITEMS))
        f = tuple(torch.full((n, 8), 20.0) for n in (USERS, ITEMS))
        guided_by_ids, by_fused, between = 1 + 3 + 7 + 20, 19 + 17 + 13, 2 + 6 + 4
        expected = 2 * (guided_by_ids + by_fused + between)
        torch.testing.assert_close(model.alignment(h, f), torch.tensor(float(expected)))

    # General feature enhancement

    def test_the_mask_is_on_the_target_which_carries_no_gradient(self):
        model = randomise(self.build(feature_dropout=0.5)).train()
        g = tuple(torch.randn(n, 8, requires_grad=True) for n in (USERS, ITEMS))
        users, items = torch.arange(1, USERS), torch.arange(1, ITEMS)
        with torch.no_grad():
            model.predictor.weight.copy_(torch.eye(8))
            model.predictor.bias.zero_()
        state = model.generator.get_state()
        loss = model.masking(g, users, items)
        model.generator.set_state(state)
        again = model.masking(g, users, items)
        assert loss == again and loss > 0.1
        loss.backward()
        assert all((side.grad * side).sum().abs() < 1e-4 for side in g)  # cos ignores the norm
        model.feature_dropout = 0.0
        g = tuple(side.detach().requires_grad_() for side in g)
        loss = model.masking(g, users, items)
        loss.backward()
        assert loss < 1e-5 and all(side.grad.abs().max() < 1e-4 for side in g)

    def views(self, model, noise, seed=0):
        x = tuple(torch.randn(n, 5, generator=torch.Generator().manual_seed(n))
                  for n in (USERS, ITEMS))
        generator = torch.Generator().manual_seed(seed)
        return x, perturbed_views(model.graph, x, 1, noise, generator)

    def test_a_layer_moves_by_the_length_of_the_noise_within_its_orthant(self):
        model = self.build()
        A = dense_adjacency(self.edges()[0], USERS, ITEMS)
        x, moved = self.views(model, 0.3)
        near = (A.float() @ torch.cat(x)).split([USERS, ITEMS])
        for before, layer, view in zip(x, near, moved):
            for part in view.chunk(2, dim=1):
                step = part - before - layer
                lengths = step.norm(dim=1)
                assert ((lengths - 0.3).abs() < 1e-4)[1:].all()
                assert lengths[0] < 1e-6  # padding has no neighbour, nor a sign
                assert (step * layer >= -1e-5).all()

    def test_the_two_views_differ_and_come_from_the_generator(self):
        model = self.build()
        _, a = self.views(model, 0.3, seed=1)
        _, b = self.views(model, 0.3, seed=1)
        _, c = self.views(model, 0.3, seed=2)
        for first, again, other in zip(a, b, c):
            assert torch.equal(first, again) and not torch.allclose(first, other)
            assert not torch.allclose(*first.chunk(2, dim=1))

    def test_without_their_weight_views_are_not_computed(self):
        model = self.build(contrast_weight=0.0)
        calls = []
        model.generator_at = lambda device: calls.append(device)
        assert model.train().calculate_loss(self.batch()).perturbation == 0 and not calls

    # Scores

    def test_ids_guide_the_alignment_alone_or_are_scored_too(self):
        without, scored = (randomise(self.build(score_ids=flag)) for flag in (False, True))
        h = scored.encoded(scored.signals())
        (fu, fi), (du, di) = map(scored.fused, h), (side[:, :8] for side in h)
        torch.testing.assert_close(self.all_scores(scored), (fu + du) @ (fi + di).T, rtol=1e-4,
                                   atol=1e-5)
        torch.testing.assert_close(self.all_scores(without), fu @ fi.T, rtol=1e-4, atol=1e-5)
        losses = without.train().calculate_loss(self.batch(256))
        (losses.ranking + losses.masking + losses.perturbation).backward(retain_graph=True)
        assert without.E_item.grad is None or not without.E_item.grad.any()
        losses.alignment.backward()
        assert without.E_item.grad.any()

    def test_the_length_of_a_signal_does_not_matter(self):
        model = randomise(self.build())
        before = self.all_scores(model)
        with torch.no_grad():
            for P in model.P:
                P *= 3 * torch.rand(USERS, 1) + 0.1
            for W in model.W:
                W.weight *= 2.5
                W.bias *= 2.5
        torch.testing.assert_close(self.all_scores(model), before, rtol=1e-4, atol=1e-5)

    def test_the_fused_modality_is_what_propagating_it_would_give(self):
        model = randomise(self.build())
        x = model.signals()
        apart = model.encoded(tuple(map(model.fused, x)))
        for a, b in zip(apart, map(model.fused, model.encoded(x))):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)

    @pytest.mark.parametrize("objective", OBJECTIVES)
    def test_the_tasks_do_not_depend_on_the_objective(self, objective):
        batch = self.batch(40)
        expected = randomise(self.build()).train().calculate_loss(batch)
        losses = randomise(self.build(objective=objective)).train().calculate_loss(batch)
        for a, b in zip(losses[1:], expected[1:]):
            torch.testing.assert_close(a, b)

    # Settings

    def test_no_modality_at_all_is_refused(self):
        with pytest.raises(UserError, match="at least one feature modality"):
            self.build(features=self.some_features())
