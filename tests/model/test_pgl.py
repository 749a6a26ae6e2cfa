"""PGL against its contract, its equations written out, and what makes it PGL."""

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
)


def pairs_of(graph):
    users, items = graph.edges()
    return list(zip(users.tolist(), items.tolist()))


def literal_nce(a, b, temperature):
    """Mean over rows of -log softmax of the own partner's cosine among all partners'."""
    total = 0
    for k in range(len(a)):
        logits = torch.stack([torch.dot(a[k], row) / (a[k].norm() * row.norm()) for row in b])
        total -= (logits / temperature).log_softmax(0)[k]
    return total / len(a)


class TestPGL(BaselineContract):
    model = "PGL"

    def literal(self, model, pairs, k, layers, item_layers):
        """User and item embeddings on the graph of `pairs`."""
        P, features = parameters_of(model), self.features()
        S, x = 0, []
        for n, c in enumerate(features.modalities):
            here = features.has_feature(c)
            S = S + knn_rows(features.matrix(c), here, k) / 2
            projected = P[f"features.{n}.X"] @ P[f"W.{n}.weight"].T + P[f"W.{n}.bias"]
            projected = projected / projected.square().sum(1, keepdim=True).sqrt()
            projected[~here] = 0
            x.append(projected)
        h = x = torch.cat(x, 1)
        for _ in range(item_layers):
            h = S @ h
        user, item = light_gcn(dense_adjacency(pairs, USERS, ITEMS), P["E_user"], x, layers)
        return user, item + h

    def test_losses_and_scores_equal_the_equations_written_out(self):
        model = randomise(self.build(knn_k=4, n_layers=3, item_layers=2, edge_dropout=0.5,
                                     dropout=0.0, contrast_weight=0.3, temperature=0.4))
        batch = self.batch(40)
        losses = model.train().calculate_loss(batch)
        user, item = self.literal(model, pairs_of(model.principal), 4, 3, 2)
        ranking = bpr_of_triples(user, item, batch)
        # Without dropout both views are the node itself.
        views = user[sorted(set(batch["user_id"].tolist()))], \
            item[sorted(set(batch["item_id"].tolist()))]
        contrast = 0.3 * sum(literal_nce(h, h, 0.4) for h in views)
        torch.testing.assert_close(losses.ranking.double(), ranking, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(losses.contrast.double(), contrast, rtol=1e-5, atol=1e-6)
        user, item = self.literal(model, self.edges()[0], 4, 3, 2)
        torch.testing.assert_close(self.all_scores(model).double(), user @ item.T, rtol=1e-4,
                                   atol=1e-5)

    # Items are their features

    @pytest.mark.parametrize("trainable, expected", [
        (False, set()), (True, {"features.0.X", "features.1.X"}),
    ])
    def test_items_have_no_embedding_of_their_own(self, trainable, expected):
        model = self.build(train_features=trainable)
        sized = {name for name, p in model.named_parameters() if ITEMS in p.shape}
        assert sized == expected

    def test_items_of_the_same_features_and_interactions_are_the_same(self):
        features = self.features()
        for c in features.modalities:
            features._matrices[c][8] = features._matrices[c][10]
        edges = [pair for pair in self.edges()[0] if pair[1] not in (8, 10)]
        edges += [(u, i) for u in range(2, 10, 2) for i in (8, 10)]
        item = randomise(self.build(features=features, edges=edges, train_features=False,
                                    item_layers=0)).eval().encode().item
        torch.testing.assert_close(item[8], item[10])

    def test_every_modality_has_its_own_unit_channels(self):
        model = randomise(self.build(n_layers=0, item_layers=0))
        user, item = model.eval().encode()
        assert user.shape == (USERS, 2 * 8) and item.shape == (ITEMS, 2 * 8)
        # Without steps an item is x + x.
        text, image = item[:, :8].norm(dim=1) / 2, item[:, 8:].norm(dim=1) / 2
        here = torch.arange(ITEMS) > 0
        torch.testing.assert_close(image, here.float())
        here[5] = False  # without text: no content, not the bias
        torch.testing.assert_close(text, here.float())

    # Trained on a part, applied on the whole

    def test_an_epoch_trains_on_its_own_part_and_infers_on_the_whole_graph(self):
        model, every = self.build(), set(self.edges()[0])
        parts = []
        for epoch in range(3):
            model.begin_epoch(epoch)
            parts.append(frozenset(pairs_of(model.principal)))
        assert all(len(part) == round(0.3 * len(every)) and part < every for part in parts)
        assert len(set(parts)) == 3
        scores = self.all_scores(model).clone()
        model.begin_epoch(3)
        model.drop_encoded()
        assert torch.equal(self.all_scores(model), scores)

    def test_training_reads_no_edge_outside_of_its_part(self):
        model = self.build(dropout=0.0).train()
        expected = model.calculate_loss(self.batch(40))
        model.graph = model.principal
        got = model.calculate_loss(self.batch(40))
        assert all(torch.equal(a, b) for a, b in zip(got, expected))

    def test_the_item_graph_is_frozen(self):
        model = self.build()
        T = model.S["T"].to_dense().clone()
        randomise(self.fit(model, self.batch(256), 5))
        model.begin_epoch(1)
        assert torch.equal(model.S["T"].to_dense(), T) and not T.requires_grad

    # Contrast

    def test_two_views_of_a_node_drop_channels_apart(self):
        model = randomise(self.build(dropout=0.5)).train()
        state = model.generator.get_state()
        a, b = (model.calculate_loss(self.batch()).contrast.item() for _ in range(2))
        assert a != b
        model.generator.set_state(state)
        assert model.calculate_loss(self.batch()).contrast.item() == a
        model.dropout = 0.0
        assert model.calculate_loss(self.batch()).contrast.item() < min(a, b)

    def test_a_node_that_occurs_twice_is_no_negative_of_itself(self):
        model, batch = self.build(dropout=0.0).train(), self.batch(40)
        once = model.calculate_loss(batch).contrast
        twice = model.calculate_loss({k: v.repeat(2) for k, v in batch.items()}).contrast
        torch.testing.assert_close(once, twice)

    def test_without_weight_there_is_no_contrast_and_no_draw(self):
        model = self.build(contrast_weight=0.0).train()
        state = model.generator.get_state()
        assert model.calculate_loss(self.batch()).contrast == 0
        assert torch.equal(model.generator.get_state(), state)
