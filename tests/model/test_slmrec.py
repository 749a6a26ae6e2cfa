"""SLMRec against its contract, its equations written out, and what makes it SLMRec."""

import pytest
import torch
from baseline_contract import BaselineContract
from contract import ITEMS, USERS
from literal_graphs import dense_adjacency, light_gcn, parameters_of, randomise
from stubs import settings, triples
from torch.nn import functional as F

from recbole_ssr.errors import UserError
from recbole_ssr.model.slmrec import contrast
from recbole_ssr.nn.objectives import OBJECTIVES


class Refusing(dict):
    """A batch that refuses to show its negatives."""

    def __getitem__(self, key):
        if key == "neg_item_id":
            raise AssertionError("the negatives were read")
        return super().__getitem__(key)


def in_batch(a, p, temperature):
    """Mean of -log softmax of every row's own place; one row an interaction, in plain loops."""
    total = 0
    for b in range(len(a)):
        logits = torch.stack([(a[b] * p[c]).sum() / temperature for c in range(len(p))])
        total = total - logits[b] + logits.exp().sum().log()
    return total / len(a)


class TestSLMRec(BaselineContract):
    model = "SLMRec"

    def test_one_batch_can_be_overfitted(self):
        """Of distinct users and items: where one occurs twice, two rows are right at once, and no
        softmax can give both of them all of its mass."""
        nodes = torch.arange(1, ITEMS)
        model, batch = self.build(), triples(nodes, nodes, nodes)
        start = self.ranking_loss(model, batch).item()
        self.fit(model, batch)
        assert self.ranking_loss(model, batch).item() < 0.1 * start

    # The equations

    def literal(self, P, layers):
        """Fused users and items, and h of the items by signal, from float64 parameters."""
        A, signals = dense_adjacency(self.edges()[0], USERS, ITEMS), [P["E_item"]]
        for m, c in enumerate(self.features().modalities):
            X = self.features().matrix(c).double()
            here = self.features().has_feature(c)[:, None]
            signals.append((X @ P[f"W.{m}.weight"].T + P[f"W.{m}.bias"]) * here)
        passes = [light_gcn(A, P["E_user"], x, layers) for x in signals]
        user, item = (torch.cat([h[side] for h in passes], dim=1) for side in (0, 1))
        return (user @ P["F_user.weight"].T + P["F_user.bias"],
                item @ P["F_item.weight"].T + P["F_item.bias"], [h[1] for h in passes])

    def literal_fac(self, P, h, items, temperature):
        fine = h[0] @ P["G.0.weight"].T + P["G.0.bias"]
        coarse = fine @ P["G.1.weight"].T + P["G.1.bias"]
        first, second = (h[m + 1] @ P[f"H.{m}.weight"].T for m in (0, 1))
        return (in_batch(fine[items], first[items], temperature)
                + in_batch(coarse[items], second[items], temperature))

    def test_losses_gradients_and_scores_equal_the_equations_written_out(self):
        model = randomise(self.build(n_layers=2, ranking_temperature=0.4, temperature=0.7,
                                     contrast_weight=0.3))
        P = {name: p.requires_grad_() for name, p in parameters_of(model).items()}
        user, item, h = self.literal(P, 2)
        batch = self.batch(40)  # of 25 users and 17 items, so that all repeat
        u, i = batch["user_id"], batch["item_id"]
        expected = (in_batch(F.normalize(user, dim=1)[u], F.normalize(item, dim=1)[i], 0.4),
                    0.3 * self.literal_fac(P, h, i, 0.7))
        losses = model.train().calculate_loss(batch)
        for part, value in zip(losses, expected):
            torch.testing.assert_close(part.double(), value, rtol=1e-5, atol=1e-6)
        sum(losses).backward()
        sum(expected).backward()
        for name, p in model.named_parameters():
            torch.testing.assert_close(p.grad.double(), P[name].grad, rtol=1e-3, atol=1e-5,
                                       msg=name)
        torch.testing.assert_close(self.all_scores(model).double(), user @ item.T, rtol=1e-4,
                                   atol=1e-4)

    def test_the_loss_of_distinct_nodes_is_that_of_interactions(self):
        generator = torch.Generator().manual_seed(2)
        a, p = (torch.randn(n, 3, generator=generator) for n in (4, 5))
        places, positives = torch.tensor([0, 3, 3, 1, 0]), torch.tensor([2, 2, 4, 0, 2])
        torch.testing.assert_close(contrast(a, p, places, positives, 0.5),
                                   in_batch(a[places], p[positives], 0.5), rtol=1e-6, atol=1e-6)

    # The objective

    def test_no_negative_is_read_under_the_papers_objective(self):
        model, batch = self.build(), self.batch()
        assert model.objective is None
        model.train().calculate_loss(Refusing(batch))
        model.calculate_loss({k: v for k, v in batch.items() if k != "neg_item_id"})
        with pytest.raises(AssertionError, match="negatives were read"):
            self.build(objective="bpr").train().calculate_loss(Refusing(batch))

    @pytest.mark.parametrize("objective", OBJECTIVES)
    def test_fac_does_not_depend_on_the_objective(self, objective):
        batch = self.batch(40)
        expected = randomise(self.build()).train().calculate_loss(batch).fac
        losses = randomise(self.build(objective=objective)).train().calculate_loss(batch)
        torch.testing.assert_close(losses.fac, expected)

    def test_another_objective_ranks_the_scores(self):
        model, batch = randomise(self.build(objective="bpr")), self.batch(40)
        ranking = model.train().calculate_loss(batch).ranking
        s = self.all_scores(model)
        u, i, j = (batch[name] for name in ("user_id", "item_id", "neg_item_id"))
        torch.testing.assert_close(ranking, -F.logsigmoid(s[u, i] - s[u, j]).mean())

    def test_trained_on_cosines_scored_by_inner_products(self):
        """The items' norms change scores but not the loss; `cosine_scores` leaves them out."""
        raw, cosine = (randomise(self.build(cosine_scores=flag)) for flag in (False, True))
        batch = self.batch(40)
        before = raw.train().calculate_loss(batch).ranking
        scores, cosines = self.all_scores(raw).clone(), self.all_scores(cosine).clone()
        for model in (raw, cosine):
            with torch.no_grad():
                model.F_item.weight.mul_(3)
                model.F_item.bias.mul_(3)
            model.drop_encoded()
        torch.testing.assert_close(self.all_scores(raw), 3 * scores, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(self.all_scores(cosine), cosines, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(raw.train().calculate_loss(batch).ranking, before)
        torch.testing.assert_close(cosine.eval().encode().item.norm(dim=1), torch.ones(ITEMS))
        assert not torch.equal(scores.argsort(), cosines.argsort())

    # FAC

    def test_fac_compares_inner_products_not_cosines(self):
        model, batch = randomise(self.build()), self.batch(40)
        before = model.train().calculate_loss(batch)
        with torch.no_grad():
            for H in model.H:
                H.weight.mul_(2)
        after = model.calculate_loss(batch)
        assert after.fac != before.fac and after.ranking == before.ranking

    def test_every_modality_meets_the_ids_in_a_space_of_its_own_behind_those_before(self):
        model, batch = randomise(self.build()), self.batch(40)

        def fac():
            return model.train().calculate_loss(batch).fac.item()

        before = fac()
        with torch.no_grad():
            model.G[1].weight.neg_()
        coarser = fac()
        with torch.no_grad():
            model.G[1].weight.neg_()
            model.G[0].weight.neg_()
            model.G[0].bias.neg_()
            model.H[0].weight.neg_()  # the fine space turned around leaves its own logits alone
        turned = fac()
        assert coarser != before and turned != before
        with torch.no_grad():
            model.G[1].weight.neg_()  # and the coarse one compensated
        assert abs(fac() - before) < 1e-5 * before

    # Traps

    def test_weights_decay_by_the_models_yaml(self):
        defaults = settings("SLMRec")
        assert defaults["weight_decay"] == 0.0001 and "l2_weight" not in defaults

    def test_all_passes_share_the_users(self):
        model = self.build()
        assert {n for n, p in model.named_parameters() if len(p) == USERS} == {"E_user"}

    def test_no_modality_at_all_is_refused(self):
        with pytest.raises(UserError, match="at least one feature modality"):
            self.build(features=self.some_features())
