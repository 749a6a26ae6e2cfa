"""LATTICE against its contract, its equations written out, and what makes it LATTICE."""

from copy import deepcopy

import pytest
import torch
from baseline_contract import BaselineContract
from contract import ITEMS, USERS
from literal_graphs import (
    bpr_of_triples,
    dense_adjacency,
    light_gcn,
    parameters_of,
    randomise,
    triples_of,
)
from torch.nn import functional as F

from recbole_ssr.model.lattice import row_mean


def normalised(S):
    """s_ij / sqrt(r_i r_j), r the sums of the rows."""
    r = S.sum(1)
    return S / (r[:, None] * r[None, :]).sqrt()


def cosine_rows(X, present, k):
    """The cosines of the k nearest of every item; the identity's row where there is no X."""
    rows, ids = [], [i for i in range(len(X)) if present[i]]
    for i in range(len(X)):
        if not present[i]:
            rows.append(F.one_hot(torch.tensor(i), len(X)).to(X))
            continue
        cosines = F.cosine_similarity(X[i][None], X, dim=1)
        near = sorted(ids, key=lambda j: -cosines[j].item())[:k]
        rows.append(cosines * F.one_hot(torch.tensor(near), len(X)).sum(0))
    return torch.stack(rows)


def dense(model):
    """The S that the model mines from its parameters as they are."""
    with torch.no_grad():
        return model.mined()(torch.eye(ITEMS))


class TestLATTICE(BaselineContract):
    model = "LATTICE"

    @pytest.mark.parametrize("names", [["kg.v2"], ["image", "audio track", "text"]], ids=len)
    def test_any_number_and_any_names_of_modalities(self, names):
        """Every parameter has a gradient in an epoch's first batch, the only one that mines S."""
        model = self.build(features=self.some_features(*names))
        self.fit(model, self.batch(), 3)
        assert torch.isfinite(self.all_scores(model)).all()
        model.begin_epoch(1)
        self.fit(model, self.batch(), 1)
        assert not [name for name, p in model.named_parameters() if p.grad is None]

    # The equations

    def literal_S(self, P, keep, k):
        """S from float64 parameters: two dense graphs a modality, the sums written out."""
        features, alpha = self.features(), P["a"].softmax(0)
        initial = learned = 0
        for m, c in enumerate(features.modalities):
            here = features.has_feature(c)
            X = P[f"features.{m}.X"] * here[:, None]
            x = (X @ P[f"W.{m}.weight"].T + P[f"W.{m}.bias"]) * here[:, None]
            initial = initial + alpha[m] * normalised(
                cosine_rows(features.matrix(c).double(), here, k))
            learned = learned + alpha[m] * cosine_rows(x, here, k)
        return keep * initial + (1 - keep) * normalised(learned)

    def row_adjacency(self):
        """D^-1 (A + I) over users then items."""
        A = torch.eye(USERS + ITEMS, dtype=torch.float64)
        for u, i in self.edges()[0]:
            A[u, USERS + i] = A[USERS + i, u] = 1
        return A / A.sum(1, keepdim=True)

    @pytest.mark.parametrize("adjacency", ["symmetric", "row"])
    def test_losses_gradients_and_scores_equal_the_equations_written_out(self, adjacency):
        model = self.random(adjacency=adjacency, n_layers=3, item_layers=2, item_graph_keep=0.6,
                            l2_weight=0.3, train_batch_size=50)
        P = {name: p.requires_grad_() for name, p in parameters_of(model).items()}
        S = self.literal_S(P, 0.6, 4)
        A = (self.row_adjacency() if adjacency == "row"
             else dense_adjacency(self.edges()[0], USERS, ITEMS))
        user, item = light_gcn(A, P["E_user"], P["E_item"], 3)
        item = item + F.normalize(S @ S @ P["E_item"], dim=1)
        batch = self.batch(40)
        l2 = sum(user[u].square().sum() + item[i].square().sum() + item[j].square().sum()
                 for u, i, j in triples_of(batch))
        expected = bpr_of_triples(user, item, batch), 0.3 * l2 / (2 * 50)
        losses = model.train().calculate_loss(batch)
        for part, value in zip(losses, expected):
            torch.testing.assert_close(part.double(), value, rtol=1e-5, atol=1e-6)
        sum(losses).backward()
        sum(expected).backward()
        for name, p in model.named_parameters():
            torch.testing.assert_close(p.grad.double(), P[name].grad, rtol=1e-3, atol=1e-6,
                                       msg=name)
        torch.testing.assert_close(self.all_scores(model).double(), user @ item.T, rtol=1e-4,
                                   atol=1e-5)

    def random(self, **changes):
        """A model with random parameters whose learned graph has no row of negative sum."""
        model = randomise(self.build(knn_k=4, **changes))
        with torch.no_grad():
            for X, c in zip(model.features, self.features().modalities):
                X.X.copy_(self.features().matrix(c))
        return model

    def test_row_mean_is_the_mean_of_powers_of_the_row_normalised_adjacency(self):
        model = self.build(adjacency="row")
        user, item = torch.randn(USERS, 3), torch.randn(ITEMS, 3)
        degrees = model.degrees["user"], model.degrees["item"]
        assert degrees[0][0] == degrees[1][0] == 0  # padding has no neighbour and keeps itself
        result = row_mean(model.graph, (user, item), degrees, 2)
        expected = light_gcn(self.row_adjacency(), user.double(), item.double(), 2)
        for a, b in zip(result, expected):
            torch.testing.assert_close(a.double(), b, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(result[0][0], user[0])

    # Initial and learned

    def test_the_learned_graph_moves_and_the_initial_one_does_not(self):
        def graphs(model):
            result = []
            for X, W in zip(model.features, model.W):
                row, col, value = model.learned_edges(X, W, torch.tensor(1.0))
                result.append(torch.zeros(ITEMS, ITEMS).index_put((row, col), value.detach()))
            return model.initial["value"].clone(), torch.stack(result)

        model = self.build()
        initial, learned = graphs(model)
        for epoch in range(3):
            model.begin_epoch(epoch)
            self.fit(model, self.batch(256), 2)
        after = graphs(model)
        assert torch.equal(after[0], initial)
        assert not torch.allclose(after[1], learned)

    def test_the_shares_of_the_two_graphs(self):
        initial, learned, mixed = (dense(self.random(item_graph_keep=w)) for w in (1.0, 0.0, 0.9))
        assert not torch.allclose(initial, learned)
        torch.testing.assert_close(mixed, 0.9 * initial + 0.1 * learned)

    def test_an_item_without_a_modality_keeps_itself_in_both_graphs_of_it(self):
        model = self.build()
        texts = model.initial["modality"] == 0
        mine = texts & (model.initial["row"] == 5)
        assert model.initial["col"][mine].tolist() == [5] and model.initial["value"][mine] == 1
        row, col, value = model.learned_edges(model.features[0], model.W[0], torch.tensor(0.5))
        assert col[row == 5].tolist() == [5] and value[row == 5] == 0.5
        assert row[col == 5].tolist() == [5]  # and it is nobody else's neighbour

    # Rebuilt once an epoch

    def grads_of(self, model):
        model.zero_grad()
        model.train()
        sum(model.calculate_loss(self.batch(256))).backward()
        return [p.grad for name, p in model.named_parameters() if not name.startswith("E_")]

    def test_only_an_epochs_first_batch_reaches_the_features(self):
        model = self.build()
        for epoch in range(2):
            model.begin_epoch(epoch)
            assert all(grad is not None and grad.any() for grad in self.grads_of(model))
            for _ in range(2):
                assert all(grad is None for grad in self.grads_of(model))

    def test_every_batch_reaches_them_on_request(self):
        model = self.build(rebuild="step")
        for _ in range(3):
            assert all(grad is not None and grad.any() for grad in self.grads_of(model))

    def test_an_epoch_keeps_the_graph_of_its_first_batch(self):
        """The first batch and those after it propagate over the same matrix."""
        model = self.random()
        model.train()
        first = model.calculate_loss(self.batch(256)).ranking
        kept, S = model.S, dense(model)
        torch.testing.assert_close(kept["T"].to_dense(), S)
        torch.testing.assert_close(kept["Tt"].to_dense(), S.T)
        torch.testing.assert_close(model.calculate_loss(self.batch(256)).ranking, first)
        with torch.no_grad():
            model.W[0].weight.mul_(-1).add_(1)
        model.calculate_loss(self.batch(256))
        assert model.S is kept and not torch.allclose(dense(model), S)
        model.begin_epoch(1)
        model.calculate_loss(self.batch(256))
        assert model.S is not kept

    def test_evaluation_mines_the_graph_of_the_parameters_and_leaves_the_epochs_alone(self):
        model = self.build()
        self.fit(model, self.batch(256), 3)
        kept = model.S
        scores = self.all_scores(model).clone()
        assert model.S is kept
        torch.testing.assert_close(kept["T"].to_dense(), dense(model), rtol=0.2, atol=0.2)
        assert not torch.equal(kept["T"].to_dense(), dense(model))
        other = self.build(seed=4)
        self.fit(other, self.batch(64), 1)  # an epoch's graph of other parameters
        other.load_state_dict(deepcopy(model.state_dict()))
        assert torch.equal(self.all_scores(other), scores)

    # Sparse

    def test_mining_on_every_batch_stays_sparse_as_well(self):
        self.settings = {"rebuild": "step", "adjacency": "row", "item_layers": 2}
        self.test_no_dense_matrix_of_nodes_by_nodes()
