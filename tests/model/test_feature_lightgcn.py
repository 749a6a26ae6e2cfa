"""FeatureLightGCN against its equations."""

import pytest
import torch
from baseline_contract import BaselineContract
from dense_ids import (
    BATCH,
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
from stubs import Features

from recbole_ssr.errors import UserError
from recbole_ssr.model.fast_lightgcn import FastLightGCN
from recbole_ssr.model.feature_lightgcn import FeatureLightGCN
from recbole_ssr.spectral.chebyshev import propagate_sum

TEXT = torch.arange(24.0).view(N_ITEMS, 4).sin()
IMAGE = torch.arange(12.0).view(N_ITEMS, 2).cos()


class TestFeatureLightGCN(BaselineContract):
    model = "FeatureLightGCN"
    # Softmax never reaches a loss of 0 on users of several items.
    settings = {"objective": "bpr", "l2_weight": 0.0}


def features(**present):
    return Features(present, text=TEXT, image=IMAGE)


def test_embeddings_by_its_equations():
    """x_i = e_i + sum_c W_c f_ic + b_c, then the mean over the layers."""
    model = make(FeatureLightGCN, features(), embedding_size=5)
    item = model.E_item
    for W, f in zip(model.W, (TEXT, IMAGE)):
        item = item + W(f)
    user, item = propagate_sum(model.graph, (model.E_user, item), 3)
    result = model.forward()
    # The padding row has no features: here no bias either.
    assert torch.equal(result.user, user / 4)
    assert torch.equal(result.item[1:], (item / 4)[1:])


def test_loss_and_scores_by_hand():
    model = make(FeatureLightGCN, features(), n_layers=2, objective="bpr", l2_weight=0.5)
    ids, x = stacked(model), stacked(model)
    for W, f in zip(model.W, (TEXT, IMAGE)):
        x[N_USERS:] += f @ W.weight.detach().T + W.bias.detach()
    x = light_gcn(dense_adjacency(), x, 2)
    losses = model.calculate_loss(BATCH)
    torch.testing.assert_close(losses.ranking, bpr(x))
    torch.testing.assert_close(losses.l2, 0.5 * sum((part**2).sum() for part in rows(ids)) / 8)
    torch.testing.assert_close(scored(model)[:, 1:], scores(x)[:, 1:])


def test_an_item_without_a_modality_gets_no_bias():
    here = torch.tensor([False, True, True, False, True, True])
    model = make(FeatureLightGCN, features(text=here, image=here))
    with torch.no_grad():
        for W in model.W:
            W.bias.fill_(100.0)
    model.n_layers = 0
    item = model.forward().item
    assert torch.equal(item[3], model.E_item[3])
    assert (item[1] > 100).all()


def test_its_own_objective_is_sampled_softmax_on_cosines():
    model, same = make(FeatureLightGCN, features()), make(
        FeatureLightGCN, features(), objective="sampled_softmax")
    assert model.objective.cosine
    assert model.calculate_loss(BATCH) == same.calculate_loss(BATCH)


def test_initial_ids_are_small_or_xaviers():
    small = make(FeatureLightGCN, features(), embedding_size=64, init_std=0.01)
    assert small.E_user.std().item() == pytest.approx(0.01, rel=0.2)
    xavier = make(FeatureLightGCN, features(), embedding_size=64, init_std=None)
    assert xavier.E_user.abs().max() <= (6 / (N_USERS + 64)) ** 0.5
    assert xavier.E_user.std() > 0.1


def test_without_features_there_is_fast_lightgcn():
    with pytest.raises(UserError, match="at least one feature modality.*FastLightGCN"):
        make(FeatureLightGCN)
    silent = make(FeatureLightGCN, features(), objective="bpr")
    plain = make(FastLightGCN)
    with torch.no_grad():
        for W in silent.W:
            W.weight.zero_()
            W.bias.zero_()
        silent.E_user.copy_(plain.E_user)
        silent.E_item.copy_(plain.E_item)
    torch.testing.assert_close(silent.calculate_loss(BATCH), plain.calculate_loss(BATCH))
