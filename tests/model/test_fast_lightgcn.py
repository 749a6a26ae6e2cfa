"""FastLightGCN against dense propagation and against RecBole's own LightGCN."""

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from baseline_contract import BaselineContract
from dense_ids import (
    BATCH,
    EDGES,
    N_ITEMS,
    N_USERS,
    bpr,
    dense_adjacency,
    light_gcn,
    make,
    rows,
    scored,
    scores,
    stacked,
)
from recbole.model.general_recommender import LightGCN
from tiny import SETTINGS, write_tiny

import recbole_ssr
from recbole_ssr.compat import apply as apply_compat
from recbole_ssr.model.fast_lightgcn import FastLightGCN


class TestFastLightGCN(BaselineContract):
    model = "FastLightGCN"
    multimodal = False
    settings = {"l2_weight": 0.0}


class StockData:
    """What RecBole's LightGCN reads of a dataset."""

    def num(self, field):
        return {"user_id": N_USERS, "item_id": N_ITEMS}[field]

    def inter_matrix(self, form):
        users, items = EDGES.numpy().T
        matrix = sp.coo_matrix((np.ones(len(users)), (users, items)), (N_USERS, N_ITEMS))
        return matrix.asformat(form)


def stock(model, layers, weight, squared):
    """RecBole's LightGCN on the same graph and parameters."""
    apply_compat()
    config = {"USER_ID_FIELD": "user_id", "ITEM_ID_FIELD": "item_id", "NEG_PREFIX": "neg_",
              "device": "cpu", "embedding_size": 3, "n_layers": layers, "reg_weight": weight,
              "require_pow": squared}
    other = LightGCN(config, StockData())
    other.user_embedding.weight.data.copy_(model.E_user.data)
    other.item_embedding.weight.data.copy_(model.E_item.data)
    return other


@pytest.mark.parametrize("layers", [0, 1, 3])
@pytest.mark.parametrize("regulariser, squared", [("squared", True), ("frobenius", False)])
def test_loss_gradient_and_scores_are_recboles(layers, regulariser, squared):
    model = make(FastLightGCN, n_layers=layers, regulariser=regulariser, l2_weight=0.3)
    other = stock(model, layers, 0.3, squared)
    loss, expected = sum(model.calculate_loss(BATCH)), other.calculate_loss(BATCH)
    torch.testing.assert_close(loss, expected.squeeze())
    loss.backward()
    expected.backward()
    torch.testing.assert_close(model.E_user.grad, other.user_embedding.weight.grad)
    torch.testing.assert_close(model.E_item.grad, other.item_embedding.weight.grad)
    users = {"user_id": torch.arange(N_USERS)}
    torch.testing.assert_close(model.eval().full_sort_predict(users),
                               other.full_sort_predict(users))


def test_loss_and_scores_by_hand():
    model = make(FastLightGCN, n_layers=2, l2_weight=0.5)
    ids = stacked(model)
    x = light_gcn(dense_adjacency(), ids, 2)
    losses = model.calculate_loss(BATCH)
    torch.testing.assert_close(losses.ranking, bpr(x))
    squares = sum((part**2).sum() for part in rows(ids))
    torch.testing.assert_close(losses.l2, 0.5 * squares / 2 / 4)
    torch.testing.assert_close(scored(model), scores(x))


def test_the_frobenius_regulariser_takes_norms_of_whole_batches_unsquared():
    model = make(FastLightGCN, regulariser="frobenius", l2_weight=0.5)
    norms = sum((part**2).sum().sqrt() for part in rows(stacked(model)))
    torch.testing.assert_close(model.calculate_loss(BATCH).l2, 0.5 * norms / 4)


def test_without_layers_it_is_matrix_factorisation():
    model = make(FastLightGCN, n_layers=0)
    torch.testing.assert_close(scored(model), scores(stacked(model)))


def test_a_common_objective_takes_the_place_of_the_ranking_part_alone():
    paper, other = make(FastLightGCN), make(FastLightGCN, objective="softmax")
    a, b = paper.calculate_loss(BATCH), other.calculate_loss(BATCH)
    assert a.l2 == b.l2 and a.ranking != b.ranking


@pytest.mark.parametrize("model", ["FastLightGCN", "LayerGCN", "FastSGL"])
@pytest.mark.parametrize("features", [False, True])
def test_models_on_ids_run_without_features_and_load_none(tmp_path, monkeypatch, model, features):
    monkeypatch.chdir(tmp_path)
    options = SETTINGS | write_tiny(tmp_path / "data", features=features) | {"epochs": 1}
    if features:  # a file that a model with features would refuse
        (tmp_path / "data/tiny/features/text.tokens").write_text("i0\ni0\n")
    result = recbole_ssr.run(model=model, dataset="tiny", config_dict=options)
    assert result.epochs == 1
