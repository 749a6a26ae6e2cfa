"""VBPR in both forms against its contract and its equations written out."""

import torch
from baseline_contract import BaselineContract
from contract import ITEMS
from literal_graphs import parameters_of, randomise, triples_of
from stubs import Features


def literal_losses(s, batch, l2):
    """Mean BPR of scores, and the weighted norms. Shapes: s (U, I)."""
    terms = [(-(s[u, i] - s[u, j]).sigmoid().log()) for u, i, j in triples_of(batch)]
    return torch.stack(terms).mean(), l2


class VBPRContract(BaselineContract):
    model = "VBPR"

    def content(self):
        """f_i of all items, its modalities side by side. Shapes: (I, F)."""
        features = self.features()
        return torch.cat([features.matrix(c) for c in features.modalities], 1).double()

    def test_no_graph_reaches_a_score(self):
        model = randomise(self.build())
        other = randomise(self.build(edges=[(1, 1), (2, 2)]))
        assert torch.equal(self.all_scores(model), self.all_scores(other))

    def test_frozen_features_are_no_parameters(self):
        names = {name for name, _ in self.build().named_parameters()}
        assert names <= {"P", "Q", "E", "b"}
        trained = {name for name, _ in self.build(train_features=True).named_parameters()}
        assert trained - names == {"features.0.X", "features.1.X"}

    def test_items_of_the_same_content_differ_by_their_ids_alone(self):
        model = randomise(self.build())
        with torch.no_grad():
            model.Q.zero_()
        features = self.features()
        for c in features.modalities:
            features._matrices[c][3] = features._matrices[c][4]
        twin = self.build(features=features)
        twin.load_state_dict(model.state_dict())
        scores = self.all_scores(twin)
        torch.testing.assert_close(scores[:, 3], scores[:, 4])


class TestVBPR(VBPRContract):
    def test_losses_and_scores_equal_the_equations_written_out(self):
        model = randomise(self.build(l2_weight=0.3))
        P, batch, B = parameters_of(model), self.batch(40), 40
        has = torch.stack([self.features().has_feature(c) for c in ("text", "image")]).any(0)
        content = self.content() @ P["E"].T
        content[has] += P["b"]
        item = torch.cat([P["Q"], content], 1)
        s = P["P"] @ item.T
        rows = [[], [], []]
        for triple in triples_of(batch):
            for kept, table, k in zip(rows, (P["P"], item, item), triple):
                kept.append(table[k])
        norms = sum(torch.stack(kept).square().sum().sqrt() for kept in rows)
        losses = model.train().calculate_loss(batch)
        for part, value in zip(losses, literal_losses(s, batch, 0.3 * norms / B)):
            torch.testing.assert_close(part.double(), value, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(self.all_scores(model).double(), s, rtol=1e-4, atol=1e-5)

    def test_users_have_one_vector_for_ids_and_content(self):
        model = self.build()
        assert model.P.shape[1] == 2 * model.Q.shape[1] == model.encode().item.shape[1]

    def test_an_item_without_any_features_has_no_bias_for_content(self):
        present = {c: torch.arange(ITEMS) != 7 for c in ("text", "image")}
        features = self.features()
        features = Features(present, **{c: features.matrix(c) for c in features.modalities})
        item = randomise(self.build(features=features)).encode().item
        assert not item[7, 8:].any() and item[6, 8:].all() and item[5, 8:].all()


class TestVBPROfThePaper(VBPRContract):
    settings = {"form": "paper", "embedding_size": 10}  # with a bias 9 wide, as the images, else

    def test_losses_and_scores_equal_the_equations_written_out(self):
        model = randomise(self.build(l2_weight=0.3))
        P, batch, f = parameters_of(model), self.batch(40), self.content()
        gamma_u, theta_u = P["P"][:, :10], P["P"][:, 10:]
        gamma_i, beta_i = P["Q"][:, :10], P["Q"][:, 10]
        E, beta = P["E"][:10], P["E"][10]
        s = beta_i + gamma_u @ gamma_i.T + theta_u @ (f @ E.T).T + f @ beta
        squares = 0
        for u, i, j in triples_of(batch):
            squares += gamma_u[u].square().sum() + theta_u[u].square().sum()
            for k in (i, j):
                squares += gamma_i[k].square().sum() + beta_i[k] ** 2
        losses = model.train().calculate_loss(batch)
        for part, value in zip(losses, literal_losses(s, batch, 0.3 * squares / 2 / 40)):
            torch.testing.assert_close(part.double(), value, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(self.all_scores(model).double(), s, rtol=1e-4, atol=1e-5)

    def test_a_bias_lifts_an_item_for_every_user_alike(self):
        model = randomise(self.build())
        before = self.all_scores(model).clone()
        with torch.no_grad():
            model.Q[4, -1] += 1
        model.drop_encoded()
        change = self.all_scores(model) - before
        torch.testing.assert_close(change[:, 4], torch.ones(len(change)), rtol=1e-4, atol=1e-5)
        assert change[:, [0, 1, 2, 3, 5]].abs().max() < 1e-5
