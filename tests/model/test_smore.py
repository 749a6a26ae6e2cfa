"""SMORE against its equations written out densely, and what makes it itself."""

import cmath
import math

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
from stubs import Features, settings


def fourier(d):
    """The orthonormal transform as a matrix. Shapes: (d, d) complex."""
    rows = [[cmath.exp(-2j * math.pi * k * n / d) for n in range(d)] for k in range(d)]
    return torch.tensor(rows, dtype=torch.complex64) / math.sqrt(d)


def whole(w, d):
    """The weights of all d frequencies out of the d // 2 + 1 stored ones, for a real result."""
    w = torch.complex(w[:, 0], w[:, 1])
    full = torch.zeros(d, dtype=torch.complex64)
    full[: d // 2 + 1] = w
    full[0] = w[0].real
    if d % 2 == 0:
        full[d // 2] = w[d // 2].real
    for k in range(1, (d + 1) // 2):
        full[d - k] = w[k].conj()
    return full


def literal(model, pairs, features, n_layers, ks, over):
    """Return behaviour and side of all nodes, each a pair (user, item)."""
    R, d, M = binary(pairs, USERS, ITEMS), model.E_i.shape[1], len(features.modalities)
    c = lightgcn(R, model.E_u, model.E_i, n_layers)
    transform, item, graphs, spectra = fourier(d), [], [], []
    present = [features.has_feature(name) for name in features.modalities]
    for m, name in enumerate(features.modalities):
        X = features.matrix(name)
        spectra.append(content(X, present[m], model.project[m]).to(transform) @ transform.T)
        graphs.append(knn_graph(X, present[m], ks[m]))
    product = torch.ones(ITEMS, d, dtype=torch.complex64)
    union = torch.zeros(ITEMS, ITEMS)
    for i in range(ITEMS):
        having = [m for m in range(M) if present[m][i]]
        for m in having:
            product[i] = product[i] * spectra[m][i]
            union[i] = torch.maximum(union[i], graphs[m][i])
        if not having:
            product[i], union[i, i] = 0, 1
    for k, (F, T) in enumerate(zip([*spectra, product], [*graphs, union])):
        filtered = ((F * whole(model.w[k], d)) @ transform.conj()).real
        item.append(T @ (model.E_i * torch.sigmoid(linear(filtered, model.purify[k][0]))))
    user = [normalised(R) @ v for v in item]

    def side(behaviour, views):
        logits = torch.stack([linear(torch.tanh(linear(views[M], model.attend[m][0])),
                                     model.attend[m][2]) for m in range(M)])
        weights = logits.exp() / logits.exp().sum(0 if over == "modalities" else 2, keepdim=True)
        W, b = model.prefer[0].weight, model.prefer[0].bias
        total = 0
        for k in range(M + 1):
            rows = slice(k * d, (k + 1) * d)
            view = views[k] * weights[k] if k < M else views[k]
            total = total + torch.sigmoid(behaviour @ W[rows].T + b[rows]) * view
        return total / (M + 1)

    return c, (side(c[0], user), side(c[1], item))


class TestSMORE(BaselineContract):
    model = "SMORE"
    settings = {"knn_k": 5}

    @pytest.mark.parametrize("over", ["modalities", "channels"])
    @pytest.mark.parametrize("names", [None, ["a b"], ["x", "y.z", "w"]],
                             ids=["two", "one", "three"])
    def test_scores_and_loss_are_the_equations(self, names, over):
        features = self.some_features(*names) if names else self.features()
        ks = [3, 6, 4][:len(features.modalities)]
        model = self.build(features=features, knn_k=dict(zip(features.modalities, ks)),
                           contrast_weight=0.3, l2_weight=0.2, temperature=0.5, n_layers=3,
                           view_attention=over)
        c, s = literal(model, self.edges()[0], features, 3, ks, over)
        torch.testing.assert_close(self.all_scores(model), (c[0] + s[0]) @ (c[1] + s[1]).T,
                                   rtol=1e-3, atol=1e-5)
        batch = self.batch(40)
        expected = side_loss(c, s, batch, 0.3, 0.5, 0.2, 2048)
        for part, value in zip(model.train().calculate_loss(batch), expected):
            torch.testing.assert_close(part, value, rtol=1e-4, atol=1e-6)

    def test_an_odd_width_keeps_its_channels(self):
        model = self.build(embedding_size=7)
        assert [C.shape for C in model.filtered()] == [(ITEMS, 7)] * 3

    def test_the_views_attention_runs_across_modalities_or_over_channels(self):
        """Trap: over its d channels, the release's softmax makes single views d times smaller."""
        d, fused = 8, torch.zeros(4, 8)
        single = torch.ones(4, 2, d)
        views = torch.cat([single, fused[:, None]], dim=1)
        for over, weight in (("modalities", 1 / 2), ("channels", 1 / d)):
            model = self.build(view_attention=over)
            with torch.no_grad():
                for attend in model.attend:
                    attend[2].weight.zero_()
            side = model.side(views, torch.ones_like(views))
            torch.testing.assert_close(side, torch.full((4, d), 2 * weight / 3))

    def test_the_default_is_the_modalities_and_published_settings_the_channels(self):
        assert settings("SMORE")["view_attention"] == "modalities"
        for place in ("baby", "sports", "clothing"):
            assert settings("SMORE", f"amazon-{place}")["view_attention"] == "channels"

    def test_a_filter_of_ones_changes_nothing_and_the_fused_content_is_a_convolution(self):
        model = self.build(features=self.some_features("a", "b"))
        with torch.no_grad():
            for w in model.w:
                w.copy_(torch.tensor([1.0, 0.0]).expand_as(w))
        a, b, fused = model.filtered()
        x, y = (X.through(project) for X, project in zip(model.X, model.project))
        torch.testing.assert_close(a, x)
        torch.testing.assert_close(b, y)
        n = torch.arange(8)
        circular = torch.stack([(x * y[:, (k - n) % 8]).sum(1) for k in range(8)], dim=1)
        torch.testing.assert_close(fused, circular / math.sqrt(8), rtol=1e-4, atol=1e-5)

    def test_a_missing_modality_does_not_silence_the_fused_content(self):
        """Item 5 has no text: what remains of it is its image under the fusion's filter."""
        model = self.build()
        with torch.no_grad():
            model.w[2].copy_(model.w[1])
        _, image, fused = model.filtered()
        torch.testing.assert_close(fused[5], image[5])
        assert not torch.allclose(fused[6], image[6])

    def test_an_item_without_any_features_has_no_fused_content(self):
        base = self.features()
        here = torch.arange(ITEMS) > 0
        here[5] = False
        features = Features(dict.fromkeys(base.modalities, here),
                            **{c: base.matrix(c) for c in base.modalities})
        model = self.build(features=features)
        assert not model.filtered()[2][5].any()

    def test_dropout_of_preferences_is_in_training_alone(self):
        model, batch = self.build(view_dropout=0.5), self.batch()
        a, b = (model.train().calculate_loss(batch).ranking for _ in range(2))
        assert not torch.equal(a, b)
        first = self.all_scores(model).clone()
        model.drop_encoded()
        assert torch.equal(self.all_scores(model), first)
        assert torch.equal(first, self.all_scores(self.build(view_dropout=0.0)))

    def test_published_neighbours_differ_by_modality(self):
        assert settings("SMORE", "amazon-baby")["knn_k"] == {"image": 40, "text": 15}
        # Beyond the grid of the release, by its README.
        assert settings("SMORE", "amazon-sports")["contrast_weight"] == 0.03
