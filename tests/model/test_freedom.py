"""FREEDOM against its contract, its equations written out, and what makes it FREEDOM."""

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

from recbole_ssr.nn.objectives import OBJECTIVES


def pairs_of(graph):
    users, items = graph.edges()
    return list(zip(users.tolist(), items.tolist()))


class TestFREEDOM(BaselineContract):
    model = "FREEDOM"

    def literal(self, model, pairs, weights):
        """User and item embeddings on the graph of `pairs`, and the projected features."""
        P, features = parameters_of(model), self.features()
        S = sum(weights[c] * knn_rows(features.matrix(c), features.has_feature(c), 4)
                for c in features.modalities)
        A = dense_adjacency(pairs, USERS, ITEMS)
        user, item = light_gcn(A, P["E_user"], P["E_item"], 3)
        projected = []
        for k, c in enumerate(features.modalities):
            X = P[f"features.{k}.X"].clone()
            X[~features.has_feature(c)] = 0
            projected.append(X @ P[f"W.{k}.weight"].T)
        return user, item + S @ S @ P["E_item"], projected

    @pytest.mark.parametrize("weights", [{"text": 0.9, "image": 0.1}, None])
    def test_losses_and_scores_equal_the_equations_written_out(self, weights):
        model = randomise(self.build(knn_k=4, knn_weights=weights, n_layers=3, item_layers=2,
                                     edge_dropout=0.5, feature_weight=0.3))
        weights = weights or {"text": 0.5, "image": 0.5}
        batch = self.batch(40)
        losses = model.train().calculate_loss(batch)
        user, item, projected = self.literal(model, pairs_of(model.denoised), weights)
        ranking = bpr_of_triples(user, item, batch)
        of_features = sum(0.3 * bpr_of_triples(user, x, batch) for x in projected)
        torch.testing.assert_close(losses.ranking.double(), ranking, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(losses.features.double(), of_features, rtol=1e-5, atol=1e-6)
        user, item, _ = self.literal(model, self.edges()[0], weights)
        torch.testing.assert_close(self.all_scores(model).double(), user @ item.T, rtol=1e-4,
                                   atol=1e-5)

    def test_the_loss_of_the_features_does_not_depend_on_the_objective(self):
        batch = self.batch(40)
        expected = randomise(self.build()).train().calculate_loss(batch).features
        for objective in OBJECTIVES:
            losses = randomise(self.build(objective=objective)).train().calculate_loss(batch)
            torch.testing.assert_close(losses.features, expected)

    # Frozen

    def test_no_parameter_moves_the_item_graph(self):
        model = self.build(train_features=True)
        T = model.S["T"].to_dense().clone()
        model = randomise(self.fit(model, self.batch(256), 10))
        model.begin_epoch(1)
        assert torch.equal(model.S["T"].to_dense(), T)
        assert not model.S["T"].requires_grad
        assert torch.equal(self.build(seed=5, train_features=False).S["T"].to_dense(), T)

    def test_every_item_shares_itself_out_to_its_neighbours(self):
        T = self.build(knn_k=4).S["T"].to_dense()
        torch.testing.assert_close(T.sum(1), torch.ones(ITEMS))
        assert (T.diagonal() > 0).all()  # an item is its own nearest neighbour

    def test_item_graphs_of_close_weights_differ(self):
        """The released code would take one for the other: int(10 w) names its file."""
        a, b = (self.build(knn_weights={"image": w, "text": 1 - w}).S["T"].to_dense()
                for w in (0.10, 0.15))
        assert not torch.allclose(a, b)

    # Denoised

    def test_an_epoch_trains_on_its_own_sample_and_evaluation_on_all_edges(self):
        model, every = self.build(edge_dropout=0.8), set(self.edges()[0])
        samples = []
        for epoch in range(3):
            model.begin_epoch(epoch)
            samples.append(set(pairs_of(model.denoised)))
        assert all(len(s) == round(0.2 * len(every)) and s < every for s in samples)
        assert len(set(map(frozenset, samples))) == 3
        assert set(pairs_of(model.graph)) == every
        scores = self.all_scores(model).clone()
        model.begin_epoch(3)
        model.drop_encoded()
        assert torch.equal(self.all_scores(model), scores)

    def test_edges_between_popular_nodes_stay_less_often(self):
        hub = [(1, i) for i in range(1, ITEMS)] + [(u, 1) for u in range(2, USERS)]
        rare = [(u, 2 + u % (ITEMS - 2)) for u in range(2, USERS)]
        model = self.build(edges=hub + rare, edge_dropout=0.5)
        of_hub = of_rare = 0
        for epoch in range(200):
            model.begin_epoch(epoch)
            kept = set(pairs_of(model.denoised))
            of_hub, of_rare = of_hub + ((1, 1) in kept), of_rare + (rare[3] in kept)
        assert of_hub < 40 and of_rare > 100

    def test_a_sample_is_normalised_by_the_degrees_that_it_leaves(self):
        model = self.build(edge_dropout=0.6)
        R = model.denoised["R"].to_dense().double()
        A = dense_adjacency(pairs_of(model.denoised), USERS, ITEMS)
        torch.testing.assert_close(R, A[:USERS, USERS:], rtol=1e-6, atol=1e-7)

    def test_without_dropout_an_epoch_trains_on_the_whole_graph(self):
        model = self.build(edge_dropout=0.0)
        assert model.denoised is model.graph

    # The features' loss

    def test_without_their_loss_features_serve_the_item_graph_alone(self):
        model = self.build(feature_weight=0.0)
        assert {name for name, _ in model.named_parameters()} == {"E_user", "E_item"}
        assert model.train().calculate_loss(self.batch()).features == 0
        other = self.features()
        for c in other.modalities:
            other._matrices[c] = other._matrices[c].roll(3, 0)
        moved = self.build(feature_weight=0.0, features=other)
        assert not torch.equal(moved.S["T"].to_dense(), model.S["T"].to_dense())
        assert not torch.allclose(self.all_scores(moved), self.all_scores(model))

    def test_features_reach_scores_only_through_the_item_graph(self):
        model = self.build()
        scores = self.all_scores(model).clone()
        with torch.no_grad():
            for X, W in zip(model.features, model.W):
                X.X.normal_()
                W.weight.normal_()
        model.drop_encoded()
        assert torch.equal(self.all_scores(model), scores)
