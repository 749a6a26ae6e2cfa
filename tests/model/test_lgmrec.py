"""LGMRec against its equations written out densely, and what makes it itself."""

import itertools
from unittest import mock

import pytest
import torch
from baseline_contract import BaselineContract
from contract import ITEMS, USERS
from literal_side_views import adjacency, binary, bpr, lightgcn, nce
from stubs import Features, settings
from torch.nn import functional as F


def literal(model, pairs, features, alpha, layers, tau, noise=None):
    """Return the final embeddings and every modality's y; noise (n, M, K) of users, of items."""
    R, (L, L_m, L_h) = binary(pairs, USERS, ITEMS), layers
    c = lightgcn(R, model.E_u, model.E_i, L)
    degree = R.sum(1, keepdim=True).clamp(min=1)
    final, hypers = [c[0], c[1]], []
    for m, name in enumerate(features.modalities):
        X, here = features.matrix(name), features.has_feature(name).float()[:, None]
        XW, XV = X @ model.W[m], X @ model.V[m]
        x = torch.cat([R @ XW / degree, XW])
        x = torch.linalg.matrix_power(adjacency(R), L_m) @ x
        for side, part in enumerate(x.split([USERS, ITEMS])):
            final[side] = final[side] + F.normalize(part)
        g = [0, 0] if noise is None else [part[:, m] for part in noise]
        H_u = ((R @ XV + g[0]) / tau).softmax(1) * ((R @ here) > 0)
        H_i = ((XV + g[1]) / tau).softmax(1) * here
        item = c[1]
        for _ in range(L_h):
            user, item = H_u @ H_i.T @ item, H_i @ H_i.T @ item
        hypers.append((user, item))
    for side in (0, 1):
        final[side] = final[side] + alpha * F.normalize(sum(y[side] for y in hypers))
    return final, hypers


class TestLGMRec(BaselineContract):
    model = "LGMRec"
    settings = {"hypergraph_dropout": 0.0, "contrast_weight": 0.00001}

    @pytest.mark.parametrize("names", [None, ["a b"], ["x", "y.z", "w"]],
                             ids=["two", "one", "three"])
    def test_scores_and_loss_are_the_equations(self, names):
        features = self.some_features(*names) if names else self.features()
        model = self.build(features=features, hypergraph_weight=0.7, n_layers=2, content_layers=3,
                           hypergraph_layers=2, n_hyperedges=5, gumbel_temperature=0.4,
                           temperature=0.5, contrast_weight=0.1, norm_weight=0.2)
        args = model, self.edges()[0], features, 0.7, (2, 3, 2), 0.4
        user, item = literal(*args)[0]
        torch.testing.assert_close(self.all_scores(model), user @ item.T, rtol=1e-4, atol=1e-5)

        M, batch, B = len(features.modalities), self.batch(30), 30
        generator = torch.Generator()
        generator.set_state(model.generator.get_state())
        losses = model.train().calculate_loss(batch)
        noise = [-torch.empty(n, M, 5).exponential_(generator=generator).log()
                 for n in (USERS, ITEMS)]
        (user, item), y = literal(*args, noise)
        u, i, j = batch["user_id"], batch["item_id"], batch["neg_item_id"]
        pairs = list(itertools.combinations(y, 2))
        contrast = sum(
            B * (nce(a[0][u], b[0][1:], u - 1, 0.5) + nce(a[1][i], b[1][1:], i - 1, 0.5))
            for a, b in pairs) / max(len(pairs), 1)
        norm = (user[u].norm() + item[i].norm() + item[j].norm()) / B
        expected = bpr(user[u], item[i], item[j]), 0.1 * torch.as_tensor(contrast), 0.2 * norm
        for part, value in zip(losses, expected):
            torch.testing.assert_close(part, value, rtol=1e-4, atol=1e-5, check_dtype=False)

    def test_evaluation_has_no_noise_and_may_have_it_from_a_fixed_seed(self):
        """Trap: the release draws noise in evaluation, so that two evaluations differ."""
        clean, noisy = self.build(), self.build(noise_at_evaluation=True)
        plain = literal(clean, self.edges()[0], self.features(), 0.3, (2, 2, 1), 0.2)[0]
        torch.testing.assert_close(self.all_scores(clean), plain[0] @ plain[1].T,
                                   rtol=1e-4, atol=1e-5)
        first = self.all_scores(noisy).clone()
        assert not torch.allclose(first, self.all_scores(clean))
        noisy.train().calculate_loss(self.batch())
        before = torch.get_rng_state(), noisy.generator.get_state()
        assert torch.equal(self.all_scores(noisy), first)
        assert torch.equal(torch.get_rng_state(), before[0])
        assert torch.equal(noisy.generator.get_state(), before[1])

    def test_training_draws_noise_from_the_models_generator(self):
        """Not from torch's, so that a resumed run sees the same noise."""
        model, batch = self.build(), self.batch()
        state = model.generator.get_state()
        first = model.train().calculate_loss(batch).ranking
        assert not torch.equal(model.calculate_loss(batch).ranking, first)
        torch.manual_seed(99)
        model.generator.set_state(state)
        assert torch.equal(model.calculate_loss(batch).ranking, first)

    def test_noise_makes_choices_in_proportion_to_the_softmax(self):
        """At a low temperature H picks one hyperedge, each as often as softmax(logits) says."""
        model = self.build(gumbel_temperature=0.01, features=self.some_features("text"))
        logits = torch.tensor([[0.0, 1.0, 2.0, -1.0]])
        H = model._dependencies(logits.expand(20000, 4), torch.ones(20000, 1),
                                torch.Generator().manual_seed(0))
        torch.testing.assert_close(H.mean(0)[0], logits[0].softmax(0), atol=0.015, rtol=0)

    def test_features_are_frozen_by_default(self):
        assert settings("LGMRec")["train_features"] is False

    def test_one_modality_has_no_contrast(self):
        model = self.build(features=self.some_features("text"))
        assert model.train().calculate_loss(self.batch()).contrast == 0

    def test_contrast_is_a_sum_over_the_batch_and_never_against_padding(self):
        model = self.build(contrast_weight=1.0)
        batch = model.batch(self.batch(20))
        y = [tuple(torch.randn(n, 8) for n in (USERS, ITEMS)) for _ in range(2)]
        once = model.contrast(y, batch)
        twice = model.contrast(y, batch._replace(user=batch.user.repeat(2),
                                                 positive=batch.positive.repeat(2)))
        torch.testing.assert_close(twice, 2 * once)
        moved = [tuple(torch.cat([100 * torch.randn(1, 8), part[1:]]) for part in pair)
                 for pair in y]
        torch.testing.assert_close(model.contrast(moved, batch), once)

    def test_dropout_falls_on_dependencies_in_training_alone(self):
        model = self.build(hypergraph_dropout=0.5, gumbel_temperature=1.0)
        logits, has = torch.zeros(1000, 8), torch.ones(1000, 2)
        H = model.train()._dependencies(logits, has, None)
        assert 0.45 < (H == 0).float().mean() < 0.55
        assert H.unique().tolist() == [0.0, 0.5]  # 1/4, doubled where it stays
        assert model.eval()._dependencies(logits, has, None).unique().tolist() == [0.25]

    def test_a_node_without_a_modality_depends_on_no_hyperedge_of_it(self):
        pairs = [(1, 5), (2, 6), (2, 5), (3, 7)]
        model = self.build(edges=pairs).eval()
        y = model._embed()[1]
        text, image = y  # item 5 has an image alone, user 1 nothing but item 5
        assert not text[1][5].any() and image[1][5].any() and text[1][6].any()
        assert not text[0][1].any() and image[0][1].any() and text[0][2].any()

    def test_hyperedges_reach_beyond_the_graph(self):
        """Two components of the graph: a change of one's ids is felt in the other."""
        pairs = [(1, 1), (2, 2)]
        features = Features(text=torch.ones(ITEMS, 3))
        for weight, felt in ((0.3, True), (0.0, False)):
            model = self.build(edges=pairs, features=features, hypergraph_weight=weight).eval()
            before = model.forward().user[2].clone()
            with torch.no_grad():
                model.E_i[1].copy_(torch.linspace(-3, 3, 8))
            assert torch.allclose(model.forward().user[2], before) != felt

    def test_the_published_settings_of_sports_are_those_of_the_log(self):
        """Trap: the release's yaml has n_layers 4 and hypergraph_layers 1 for Sports."""
        sports = settings("LGMRec", "amazon-sports")
        assert (sports["n_layers"], sports["hypergraph_layers"]) == (2, 4)

    def test_no_dense_matrix_of_hyperedges_by_more_than_nodes(self):
        model, sizes = self.build(n_hyperedges=5), []
        dependencies = model._dependencies
        with mock.patch.object(model, "_dependencies", side_effect=lambda *a: sizes.append(
                dependencies(*a)) or sizes[-1]):
            model.forward()
        assert [H.shape for H in sizes] == [(USERS, 2, 5), (ITEMS, 2, 5)]
