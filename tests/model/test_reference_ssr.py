"""The reference profile of SSR against its contract and a slow transcription of its equations."""

import pytest
import torch
from contract import ITEMS, USERS, ModelContract
from literal_ssr import literal_losses
from stubs import Features

from recbole_ssr.errors import UserError
from recbole_ssr.spectral.masking import band_mask


class TestReferenceSSR(ModelContract):
    model, profile = "SSR", "reference"

    @pytest.mark.parametrize("bands, degree, rate, cap", [
        (1, 0, 0.0, 0), (2, 3, 0.3, 0), (3, 5, 0.1, 0), (4, 5, 0.5, 0), (5, 9, 0.2, 0),
    ])
    def test_losses_and_gradients_equal_the_equations_written_out(self, bands, degree, rate, cap):
        model = self.build(n_bands=bands, cheb_degree=degree, mask_rate=rate, contrast_nodes=cap,
                           consistency_weight=0.7, contrast_weight=0.3).double()
        for p in model.parameters():
            torch.nn.init.normal_(p, std=0.5)
        batch = self.batch(40)
        state = model.generator.get_state()
        losses = model.train().calculate_loss(batch)
        sum(losses).backward()
        ours = {name: p.grad.clone() for name, p in model.named_parameters()}
        model.zero_grad()
        model.generator.set_state(state)
        nodes = model.batch(batch)
        masks = [band_mask(len(distinct), bands, rate, model.generator).double()
                 for distinct in (nodes.users, nodes.items)]
        expected = literal_losses(model, batch, torch.cat(masks))
        for name, value in expected.items():
            torch.testing.assert_close(getattr(losses, name), value, rtol=1e-8, atol=1e-10)
        sum(expected.values()).backward()
        for name, p in model.named_parameters():
            torch.testing.assert_close(ours[name], p.grad, rtol=1e-6, atol=1e-9, msg=name)

    def test_trained_features_stand_in_the_order_of_modalities(self):
        """Also from ten on, which as texts stand before two."""
        X = {f"c{k}": torch.full((ITEMS, 2), float(k)) for k in range(12)}
        model = self.build(features=Features(**X), train_features=True)
        assert [rows[1, 0].item() for rows in model.trained_features()] == list(range(12))

    def test_one_modality_has_nothing_to_align(self):
        features = self.features()
        features.modalities = ("text",)
        model = self.build(features=features)
        losses = model.train().calculate_loss(self.batch())
        assert losses.alignment == 0 and losses.bce > 0
        assert model.encode().user.shape == (USERS, 2 * 8)

    def test_masking_moves_the_consistency_loss_and_nothing_in_evaluation(self):
        masked, plain = self.build(mask_rate=0.5), self.build(mask_rate=0.0)
        assert torch.equal(self.all_scores(masked), self.all_scores(plain))
        batch = self.batch()
        assert masked.train().calculate_loss(batch).consistency > 0
        assert plain.train().calculate_loss(batch).consistency == 0

    def test_consistency_sends_no_gradient_into_the_clean_branch(self):
        model = self.build(mask_rate=0.5).train()
        batch = model.batch(self.batch())
        user, item = (torch.randn(2, len(rows), 24, requires_grad=True)
                      for rows in (batch.users, batch.items))
        model.consistency(batch, user, item).backward()
        for side in (user, item):
            assert not side.grad[0].any() and side.grad[1].any()

    def test_the_anchor_cap_draws_fewer_nodes(self):
        whole, capped = self.build(contrast_nodes=0), self.build(contrast_nodes=4)
        batch = self.batch()
        a, b = (m.train().calculate_loss(batch).alignment for m in (whole, capped))
        assert 0 < b < a  # fewer negatives, a smaller denominator

    def test_trainable_features_are_parameters_and_learn(self):
        model = self.build(train_features=True)
        before = model.features["modality1"].detach().clone()
        self.fit(model, self.batch(), 2)
        assert not torch.equal(model.features["modality1"], before)

    def test_the_graph_holds_train_edges_only(self):
        edges, held_out = self.edges()
        users, items = self.build().graph.edges()
        assert set(zip(users.tolist(), items.tolist())) == set(edges)
        assert not set(held_out.items()) & set(edges)

    @pytest.mark.parametrize("weights, message", [
        ({"txt": 1.0, "image": 1.0}, "Did you mean 'text'"),
        ({"text": 1.0}, "every modality"),
        ({"text": 0, "image": 0}, "above 0"),
    ])
    def test_wrong_item_graph_shares_are_explained(self, weights, message):
        with pytest.raises(UserError, match=message):
            self.build(knn_weights=weights)

    def test_another_objective_is_refused(self):
        with pytest.raises(UserError, match="bce only, not bpr"):
            self.build(objective="bpr")

    def test_an_operator_of_no_rank_is_refused(self):
        with pytest.raises(UserError, match="operator_rank is 0"):
            self.build(operator_rank=0)

    def test_a_filter_bank_that_cannot_be_built_is_the_users_error(self):
        with pytest.raises(UserError, match="at least 5"):
            self.build(n_bands=6, cheb_degree=4)

    def test_the_item_graph_is_cached_by_content(self, tmp_path):
        self.build(cache_dir=tmp_path)
        files = {p.name for p in (tmp_path / "item-graphs").iterdir()}
        self.build(cache_dir=tmp_path)
        assert {p.name for p in (tmp_path / "item-graphs").iterdir()} == files
        changed = self.features()
        changed._matrices["text"][3] += 1
        self.build(cache_dir=tmp_path, features=changed)
        assert len({p.name for p in (tmp_path / "item-graphs").iterdir()} - files) == 1

    def test_scores_cover_padding_and_featureless_items(self):
        assert torch.isfinite(self.all_scores(self.build())).all()
        assert self.all_scores(self.build()).shape == (USERS, ITEMS)
