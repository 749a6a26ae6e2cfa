"""SSR, profile paper, against its contract and the claims of its equations."""

import math

import pytest
import torch
from contract import ITEMS, USERS, ModelContract
from torch.nn import functional as F

from recbole_ssr.errors import UserError
from recbole_ssr.graph.bipartite import BipartiteGraph
from recbole_ssr.model.feature_signal import FeatureSignal, Propagation
from recbole_ssr.model.node_bands import NodeBands, Pairs, before_fusion
from recbole_ssr.model.node_facts import node_facts
from recbole_ssr.model.ssr_reference import ReferenceSSR
from recbole_ssr.model.unseen_items import UnseenItems

EVERYTHING = {"projection": "mlp", "train_features": True, "modality_preferences": True,
              "user_weights": True, "item_graph_weight": 0.3, "modality_dropout": 0.2,
              "mask_scope": "global", "band_filter": "exact", "contrast_ids": True}


class TestSSR(ModelContract):
    model = "SSR"
    overfit_loss = "ranking"
    # Inner products: the loss of a softmax over cosines has a floor far above zero. Polynomials:
    # almost all energy of the checkerboard is in two eigenspaces, so exact bands would be empty.
    settings = {"objective": "bce", "init_std": 0.1, "consistency_weight": 0.001,
                "contrast_nodes": 0, "band_filter": "chebyshev", "inference_gains": [1],
                "item_graph_weight": 0.0, "gate_hidden_size": 16, "operator_rank": 4}

    def trained(self, **changes):
        model = self.build(**changes)
        return self.fit(model, self.batch(512), 30)

    def sides(self, model, user, item):
        return [before_fusion(fusion, side, by_modality=False)
                for fusion, side in ((model.user_fusion, user), (model.item_fusion, item))]

    # Stage 1

    @pytest.mark.parametrize("bank", ["exact", "chebyshev", "svd", "reference"])
    @pytest.mark.parametrize("bands", [1, 2, 3, 5])
    def test_the_bands_sum_to_the_propagated_signal(self, bank, bands):
        model = self.build(band_filter=bank, n_bands=bands, svd_modes=4,
                           svd_bands=min(1, bands - 1)).eval()
        for spectrum, side in zip(model.spectra(), (0, 1)):
            total = spectrum.slots.sum(0)
            ids = model.propagation(model.E_user, model.E_item)[side]
            torch.testing.assert_close(total[0], ids, rtol=1e-5, atol=1e-5)
            for k, feature in enumerate(model.features):
                signal = feature.signal(model.propagation)[side]
                torch.testing.assert_close(total[1 + k], signal, rtol=1e-5, atol=1e-5)

    def test_bands_of_frozen_features_are_those_of_the_projected_signal(self):
        """The short cut by linearity against filtering the signal at every step."""
        frozen, general = self.build(), self.build(train_features=True)
        assert all(f.frozen for f in frozen.features)
        assert not any(f.frozen for f in general.features)
        general.load_state_dict({**general.state_dict(), **frozen.state_dict()})
        rows = torch.tensor([3, 9, 1]), torch.tensor([5, 0, 7])
        for a, b in zip(frozen.spectra(*rows), general.spectra(*rows)):
            torch.testing.assert_close(a.slots, b.slots, rtol=1e-4, atol=1e-5)
        batch = self.batch()
        for model in (frozen, general):
            sum(model.train().calculate_loss(batch)).backward()
        for a, b in zip(frozen.features, general.features):
            torch.testing.assert_close(a.W.grad, b.W.grad, rtol=1e-3, atol=1e-6)

    @pytest.mark.parametrize("f, d", [(5, 8), (8, 8), (12, 8)])
    def test_features_keep_their_cosines_at_first(self, f, d):
        F = torch.randn(200, f)
        signal = FeatureSignal(F, torch.ones(200, dtype=torch.bool), d, n_users=3,
                               projection="linear", hidden=0, trainable=False, preferences=False)
        W = signal.W[:-1].detach()
        gram = W @ W.T if f <= d else W.T @ W
        torch.testing.assert_close(gram, gram[0, 0] * torch.eye(min(f, d)))
        # The energy of a layer whose entries are uniform within 1 / sqrt(f): d / 3 f a row.
        torch.testing.assert_close(W.square().sum() / f, torch.tensor(d / (3 * f)))

    def test_rows_are_those_of_the_whole(self):
        model = self.build()
        users, items = torch.tensor([4, 2]), torch.tensor([7, 0, 11])
        for part, every, rows in zip(model.spectra(users, items), model.spectra(), (users, items)):
            torch.testing.assert_close(part.slots, every.slots[:, :, rows])
            torch.testing.assert_close(part.facts, every.facts[rows])

    def test_who_has_no_item_with_features_has_none_of_the_modality(self):
        here = torch.zeros(ITEMS, dtype=torch.bool)
        here[1] = True
        model = self.build(n_layers=1)
        kappa = model.propagation.coverage(here, with_users=False)
        signal = model.propagation(torch.zeros(USERS, 1), here[:, None].float())
        for side, of_signal in zip(kappa, signal):
            assert torch.equal(side > 0, of_signal > 0) and (side <= 1).all()
            assert 0 < int((side > 0).sum()) < len(side)
        facts = node_facts(model.graph, model.propagation, [here[:, None].float()], USERS, ITEMS)
        torch.testing.assert_close(facts["user"][:, 1:], kappa[0])

    def test_ids_without_a_direction_are_not_aligned(self):
        with pytest.raises(UserError, match="set init_std above 0"):
            self.build(contrast_ids=True, init_std=0.0)

    def test_the_bands_follow_the_energy_once_per_epoch(self):
        model, fixed = self.trained(), self.trained(band_refit=False)
        before = model.bank.borders.clone(), fixed.bank.borders.clone()
        for m in (model, fixed):
            torch.nn.init.normal_(m.E_user, std=5.0)
            m.begin_epoch(0)
        assert not torch.equal(model.bank.borders, before[0])
        assert torch.equal(fixed.bank.borders, before[1])

    # Stage 3

    @pytest.mark.parametrize("train", [False, True])
    def test_swapping_or_zeroing_a_band_changes_the_scores(self, train):
        """What the released model fails: there, the bands cancel at an untrained gate."""
        model = (self.trained() if train else self.build()).eval()
        user, item = model.spectra()
        whole = model.fuse(user, item)
        scores = whole.user @ whole.item.T
        for order in ([1, 0, 2], [0, 2, 1], [2, 1, 0]):
            swapped = model.fuse(*(NodeBands.of_slots(side.slots[order], side.facts)
                                   for side in (user, item)))
            change = (swapped.user @ swapped.item.T - scores).norm() / scores.norm()
            assert change > 1e-3, (order, change)
        for m in range(3):
            keep = torch.ones(3, 3)
            keep[m] = 0
            without = model.encode(keep)
            assert (without.user @ without.item.T - scores).norm() > 1e-3 * scores.norm()

    def test_without_operator_and_gate_it_is_lightgcn_with_linear_features(self):
        model = self.build(operator_rank=0, item_graph_weight=0.0, item_bias=None).eval()
        for fusion in (model.user_fusion, model.item_fusion):
            torch.nn.init.zeros_(fusion.mlp[2].weight)
        R = model.graph["R"].to_dense()
        zeros = torch.zeros(USERS, USERS), torch.zeros(ITEMS, ITEMS)
        A = torch.cat([torch.cat([zeros[0], R], 1), torch.cat([R.T, zeros[1]], 1)])
        # Item 5 has no text: leave text out of what is written down here.
        keep = torch.ones(3, 3)
        keep[:, model.modalities.index("text")] = 0
        image = model.features[model.modalities.index("image") - 1]
        H = torch.cat([image(), image.present], dim=1) @ image.W
        X = torch.cat([model.E_user, model.E_item + H])
        expected = sum(torch.linalg.matrix_power(A, power) @ X for power in range(3)) / 3
        torch.testing.assert_close(torch.cat(model.encode(keep)), expected, rtol=1e-4, atol=1e-5)

    def test_inference_gains_weigh_the_bands_in_evaluation_alone(self):
        plain, weighted = self.build(), self.build(inference_gains=[0, 1, 0.5])
        batch = self.batch()
        for a, b in zip(*(m.train().calculate_loss(batch) for m in (plain, weighted))):
            assert torch.equal(a, b)
        keep = torch.tensor([0, 1, 0.5])[:, None].expand(3, 3)
        for a, b in zip(weighted.eval().encode(), plain.eval().encode(keep)):
            torch.testing.assert_close(a, b)

    def test_user_weights_are_a_softmax_times_the_number_of_modalities(self):
        model = self.build(user_weights=True)
        torch.nn.init.normal_(model.v)
        weights = model.spectra()[0].weights
        torch.testing.assert_close(weights.sum(2), torch.full((USERS, 1), 3.0))
        assert model.spectra()[1].weights is None

    # Stage 2

    def test_masking_moves_the_consistency_loss_and_nothing_in_evaluation(self):
        masked, plain = self.build(mask_rate=0.5), self.build(mask_rate=0.0)
        assert torch.equal(self.all_scores(masked), self.all_scores(plain))
        batch = self.batch()
        assert masked.train().calculate_loss(batch).consistency > 0
        assert plain.train().calculate_loss(batch).consistency == 0

    @pytest.mark.parametrize("on", ["predictions", "distributions", "representations"])
    @pytest.mark.parametrize("scope", ["node", "global"])
    def test_consistency_sends_no_gradient_into_the_full_branch(self, on, scope):
        model = self.build(mask_rate=0.5, consistency=on, mask_scope=scope).train()
        batch = model.batch(self.batch())
        spectra = model.spectra(batch.users, batch.items)
        full = model.fuse(*spectra)
        for x in full:
            x.retain_grad()
        pairs = Pairs.of(batch, all_items=True)
        masks = model._band_masks(len(batch.users), len(pairs.items))
        user, item = self.sides(model, *spectra)
        model.consistency(pairs, masks, user, item.with_part(pairs.items)[1], full).backward()
        assert full.user.grad is None and full.item.grad is None
        assert model.E_user.grad.abs().sum() > 0

    def test_consistency_on_predictions_is_the_squared_change_of_the_pairs_scores(self):
        model = self.build(mask_rate=0.5).train()
        raw = self.batch(20)
        batch = model.batch(raw)
        user, item = model.spectra(batch.users, batch.items)
        pairs = Pairs.of(batch, all_items=False)
        for a, b in zip(pairs, Pairs.of(batch, all_items=True)):
            assert torch.equal(a, b)  # the pairs of a batch have all of its items
        masks = model._band_masks(len(batch.users), len(batch.items))
        sides = self.sides(model, user, item)
        value = model.consistency(pairs, masks, *sides, model.fuse(user, item))
        masked, full = model.fuse(user, item, masks), model.fuse(user, item)
        changes = [((masked.user[u] @ masked.item[i]) - (full.user[u] @ full.item[i])) ** 2
                   for items in (batch.positive, batch.negative)
                   for u, i in zip(batch.user, items)]
        torch.testing.assert_close(value, torch.stack(changes).mean())

    # Stage 4

    def test_alignment_compares_every_pair_of_feature_modalities(self):
        two, three = self.build(), self.build(contrast_ids=True)
        batch = self.batch()
        assert two.train().calculate_loss(batch).alignment > 0
        assert three.train().calculate_loss(batch).alignment > 0
        features = self.features()
        features.modalities = ("text",)
        one = self.build(features=features)
        losses = one.train().calculate_loss(batch)
        assert losses.alignment == 0 and losses.ranking > 0

    def test_the_anchor_cap_draws_fewer_nodes(self):
        whole, capped = self.build(), self.build(contrast_nodes=4)
        batch = self.batch()
        a, b = (m.train().calculate_loss(batch).alignment for m in (whole, capped))
        assert 0 < b < a  # fewer negatives, a smaller denominator

    # Signals

    def test_features_of_items_without_features_are_never_read(self):
        base, garbage = self.features(), self.features()
        garbage._matrices["text"][5] = 1e3
        garbage._matrices["image"][0] = -1e3  # [PAD]
        for settings in ({}, {"projection": "mlp"}):
            a, b = (self.all_scores(self.build(features=f, **settings)) for f in (base, garbage))
            torch.testing.assert_close(a, b)

    def test_users_average_over_the_items_that_have_the_feature(self):
        """A constant feature gives every node that it reaches the same signal."""
        model = self.build()
        text = model.features[model.modalities.index("text") - 1]
        G = torch.cat(text.signal(model.propagation, raw=True))[:, -1]  # of the ones
        plain = torch.cat(model.propagation(torch.zeros(USERS, 1), torch.ones(ITEMS, 1)))[:, 0]
        reached = G.abs() > 1e-6
        torch.testing.assert_close(G[reached], plain[reached], rtol=1e-4, atol=1e-6)
        # Item 5 has no text of its own, and takes the signal of its users' other items.
        assert reached[USERS + 5] and reached[1:USERS].all()

    def test_a_lost_modality_costs_less_after_modality_dropout(self):
        """Scores without image against scores with it, after the same steps of training."""
        change = {}
        for rate in (0.0, 0.6):
            model = self.trained(modality_dropout=rate).eval()
            keep = torch.ones(1, 3)
            keep[0, model.modalities.index("image")] = 0
            (u, i), (wu, wi) = model.encode(), model.encode(keep)
            cosine = F.cosine_similarity((u @ i.T).flatten(), (wu @ wi.T).flatten(), dim=0)
            change[rate] = 1 - cosine.item()
        assert change[0.6] < change[0.0]

    @pytest.mark.parametrize("scope", ["node", "global"])
    def test_what_bands_are_masked_of_lacks_the_same_modality_as_its_target(self, scope):
        """Masks that leave every band change no prediction, whatever modality is dropped."""
        model = self.build(modality_dropout=1.0, mask_rate=1e-9, consistency_weight=1.0,
                           mask_scope=scope)
        model = self.fit(model, self.batch(256), 5).train()
        assert model.calculate_loss(self.batch(64)).consistency.item() == pytest.approx(0, abs=1e-9)
        model.mask_rate = 0.5
        assert model.calculate_loss(self.batch(64)).consistency > 0

    def test_steps_of_one_size_have_one_shape_even_of_a_single_user(self):
        model = self.build(mask_rate=0.3, consistency_weight=0.1).train()
        batch = self.batch(8)
        one = {**batch, "user_id": torch.full((8,), 3)}
        shapes = [[part.shape for part in model.padded(model.draw(b)).band_masks]
                  for b in (batch, one)]
        assert shapes[0] == shapes[1]
        drawn = model.draw(one)
        loss, padded = (torch.stack(model.loss(step)) for step in (drawn, model.padded(drawn)))
        torch.testing.assert_close(padded, loss)

    def test_without_any_signal_there_is_nothing_to_decompose(self):
        model = self.build()
        with torch.no_grad():
            model.E_user.zero_(), model.E_item.zero_()
        model.features = model.features[:0]
        with pytest.raises(UserError, match="init_std"):
            model.fit_bands()

    def test_evaluation_ranks_by_the_cosine_that_the_objective_trains(self):
        for bias in (None, 0.5):
            model = self.build(objective="cosine_softmax", item_bias=bias)
            user, item = model.fuse(*model.spectra())
            expected = F.normalize(user) @ F.normalize(item).T
            if bias:  # a logit: the cosines are divided by the temperature, the bias is not
                expected = expected + model.objective.temperature * model.b
            scores = model.encode()
            torch.testing.assert_close(scores.user @ scores.item.T, expected)

    def test_the_bias_starts_at_a_power_of_popularity_and_is_trained_with_the_ranking(self):
        model = self.build(item_bias=0.5).train()
        degree = model.item_degree
        seen = degree > 0
        assert not seen[0]
        expected = 0.5 * torch.where(seen, degree, 0.5).log()
        torch.testing.assert_close(model.b, expected - expected[seen].mean())
        batch = model.batch(self.batch())
        user, item = model.fuse(*model.spectra(batch.users, batch.items))
        with_bias = model.ranking_loss(user, item, batch, model.b[batch.items])
        scores = user @ item.T + model.b[batch.items]
        positive, negative = (scores[batch.user, x] for x in (batch.positive, batch.negative))
        by_hand = (F.softplus(-positive).mean() + F.softplus(negative).mean()) / 2
        torch.testing.assert_close(with_bias, by_hand)
        torch.testing.assert_close(model.calculate_loss(self.batch()).ranking, by_hand)

    def test_l2_by_hand(self):
        for objective, negatives in (("bce", True), ("softmax", False)):
            model = self.build(objective=objective)
            raw = self.batch(20)
            value = model.l2(model.batch(raw))
            rows = [model.E_user[raw["user_id"]], model.E_item[raw["item_id"]]]
            rows += [model.E_item[raw["neg_item_id"]]] * negatives
            torch.testing.assert_close(value, sum(r.square().sum() for r in rows) / (2 * 20))

    def test_the_graph_holds_train_edges_only(self):
        edges, held_out = self.edges()
        users, items = self.build().graph.edges()
        assert set(zip(users.tolist(), items.tolist())) == set(edges)
        assert not set(held_out.items()) & set(edges)

    @pytest.mark.parametrize("objective", ["sampled_softmax", "bce"])
    def test_calibration_raises_the_likelihood_of_held_out_items(self, objective):
        model = self.trained(objective=objective, item_bias=0.5, calibration_prior=1.0)
        users, items = torch.tensor(list(self.edges()[1].items())).T
        before = self.all_scores(model).clone()
        result = model.calibrate(users, items)
        assert result.after < result.before
        after = self.all_scores(model).clone()
        assert not torch.allclose(after, before)
        with model.uncalibrated():
            torch.testing.assert_close(self.all_scores(model), before)
        torch.testing.assert_close(self.all_scores(model), after)
        # What explains a score, and what a checkpoint holds, has the gains.
        user, item = (side.parts().sum((0, 1)) for side in model.linear_fusion())
        torch.testing.assert_close(user @ item.T + model.score_bias(), after)
        other = self.build(objective=objective, item_bias=0.5)
        other.load_state_dict(model.state_dict())
        torch.testing.assert_close(self.all_scores(other), after)
        model.drop_calibration()
        torch.testing.assert_close(self.all_scores(model), before)

    def test_who_repeats_an_interaction_counts_once(self):
        """In the bias and all that depends on how popular an item is, as in the graph."""
        (user, item), *_ = edges = self.edges()[0]
        plain, repeated = (self.build(edges=given, item_bias=0.5, popularity_discount=0.4)
                           for given in (edges, edges + 20 * [(user, item)]))
        assert repeated.item_degree[item] == plain.item_degree[item] + 20
        assert torch.equal(repeated.b, plain.b)
        held_out = torch.tensor(list(self.edges()[1].items())).T
        for model in (plain, repeated):
            model.calibrate(*held_out)
        assert torch.equal(repeated.popularity, plain.popularity)
        assert torch.equal(self.all_scores(repeated), self.all_scores(plain))

    def test_calibration_leaves_training_as_it_is(self):
        plain, model = self.trained(), self.trained()
        model.calibrate(*torch.tensor(list(self.edges()[1].items())).T)
        batch = self.batch()
        for a, b in zip(*(m.train().calculate_loss(batch) for m in (plain, model))):
            assert torch.equal(a, b)

    def test_an_item_without_interactions_keeps_gains_of_one(self):
        edges = self.edges()[0]
        new = [pair for pair in edges if pair[1] == 6]
        model = self.build(edges=[pair for pair in edges if pair[1] != 6],
                           objective="sampled_softmax", calibration_prior=1.0)
        before = self.fit(model, self.batch(), 30).eval().encode().item[:, :-1]  # without the bias
        held_out = torch.tensor(list(self.edges()[1].items()) + new)
        model.calibrate(*held_out.T)
        after = model.encode()
        torch.testing.assert_close(after.item[6, :-1], before[6])
        assert not torch.allclose(after.item[7, :-1], before[7])
        user, item = (side.parts().sum((0, 1)) for side in model.linear_fusion())
        torch.testing.assert_close(user @ item.T + model.score_bias(), after.user @ after.item.T)
        fitted = model.gains.clone()
        model.calibrate(*held_out[held_out[:, 1] != 6].T)  # nor do its interactions say anything
        assert torch.equal(model.gains, fitted)
        assert model.popularity.abs().max() > 0 and model.score_bias()[6] == \
            model.bias_gain * model.b[6] / model.objective.logit_scale
        assert model.calibrate(*torch.tensor(new).T) is None and (model.gains == 1).all()

    @pytest.mark.parametrize("power", [0.5, 1.0])
    def test_validation_says_how_popular_items_without_interactions_are(self, power):
        """5 and 6 have none; a Poisson rate under an exponential prior of mean 1/2."""
        edges = [pair for pair in self.edges()[0] if pair[1] not in (5, 6)]
        model = self.build(edges=edges, item_bias=power)
        known = model.item_degree > 0
        start = model.b.detach().clone()
        value = {}
        for name, held_out in (("none", [1, 2, 3]), ("some", [1, 2, 5, 3, 5, 6]), ("all", [5, 6])):
            model.before_training(torch.tensor(held_out))
            torch.testing.assert_close(model.b[known], start[known])
            assert model.b[5] == model.b[6]
            value[name] = (model.b - start)[5].item() / power  # log of how many halves
        n = len(edges)
        assert value == pytest.approx({
            "none": math.log(2 * 1 / (2 + 2 * 3 / n)), "some": math.log(2 * 4 / (2 + 2 * 3 / n)),
            "all": math.log(2 * 3 / 2)}, abs=1e-5)
        assert self.build(edges=edges, item_bias=None).before_training(torch.tensor([5])) is None

    @pytest.mark.parametrize("changes", [{}, {"operator_rank": 0, "gate_hidden_size": 0}])
    def test_an_item_without_interactions_has_what_its_neighbours_contribute(self, changes):
        edges = [pair for pair in self.edges()[0] if pair[1] != 6]
        settings = {"objective": "bpr", "item_graph_weight": 2.0, "item_bias": 0.5, **changes}
        model = self.build(edges=edges, **settings)
        self.fit(model, self.batch(), 30).eval()
        held_out = torch.tensor(list(self.edges()[1].items()))
        model.calibrate(*held_out[held_out[:, 1] != 6].T)
        with_neighbours = model.encode()
        T = model.item_graph["T"].to_dense()[6].clone()
        T[model.item_degree == 0] = 0
        assert T.any()
        model.unseen = UnseenItems(model.item_degree, None, 0.0)
        alone = model.encode()
        expected = alone.item[:, :-1].clone()
        expected[6] += 2.0 * T @ expected
        torch.testing.assert_close(with_neighbours.item[:, :-1], expected)

    @pytest.mark.parametrize("objective", ["sampled_softmax", "bpr"])
    def test_what_neighbours_add_is_a_part_of_the_slots(self, objective):
        model = self.build(edges=[pair for pair in self.edges()[0] if pair[1] not in (5, 6)],
                           objective=objective, item_graph_weight=2.0, item_bias=0.5)
        self.fit(model, self.batch(), 30).eval()
        held_out = torch.tensor(list(self.edges()[1].items()))
        model.calibrate(*held_out[(held_out[:, 1] != 5) & (held_out[:, 1] != 6)].T)
        scores = self.all_scores(model)
        users, items = torch.tensor([3, 1]), torch.tensor([6, 2, 5])
        for rows in ((None, None), (users, items)):
            u, i = (side.parts().sum((0, 1)) for side in model.linear_fusion(*rows))
            bias, expected = model.score_bias(), scores
            if rows[0] is not None:
                bias, expected = bias[items], scores[users][:, items]
            torch.testing.assert_close(u @ i.T + bias, expected)

    def test_pairs_of_the_graph_calibrate_nothing(self):
        assert self.build().calibrate(*torch.tensor(self.edges()[0]).T) is None

    def test_the_profile_chooses_the_class(self):
        assert type(self.build()).__name__ == "SSR"
        other = type(self)()
        other.profile, other.settings = "reference", {}
        assert type(other.build()) is ReferenceSSR

    @pytest.mark.parametrize("objective", ["bpr", "softmax", "cosine_softmax", "sampled_softmax",
                                           "in_batch_softmax"])
    def test_every_objective_trains(self, objective):
        model, batch = self.build(objective=objective), self.batch(256)
        start = self.ranking_loss(model, batch).item()
        self.fit(model, batch, 40)
        assert self.ranking_loss(model, batch).item() < start


class TestSSRWithEverything(ModelContract):
    """The contract once more with all options on that add parameters or paths."""

    model = "SSR"
    overfit_loss = "ranking"
    settings = {**TestSSR.settings, **EVERYTHING}


def test_neighbours_are_added_to_what_items_received_from_their_users():
    mean = torch.full((3, 3), 1 / 3).to_sparse_csr()
    graph = BipartiteGraph(torch.tensor([0, 1]), torch.tensor([1, 2]), 2, 3)
    x = torch.randn(2, 4), torch.randn(3, 4)
    users, items = Propagation(graph, 2, None, 0.0)(*x)
    same, added = Propagation(graph, 2, {"T": mean, "Tt": mean}, 0.25)(*x)
    torch.testing.assert_close(same, users)
    torch.testing.assert_close(added, items + 0.25 * items.mean(0))
