"""The reference profile against ssr_reference.npz: bands, embeddings, scores, each loss."""

import numpy as np
import pytest
import torch
from stubs import Data, Features, settings, triples

from recbole_ssr.model.ssr_reference import ReferenceSSR

TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def reference(shared_data):
    return dict(np.load(shared_data / "ssr_reference.npz"))


@pytest.fixture(scope="module")
def model(reference):
    r = reference
    image = float(r["image_weight"])
    config = settings(
        profile="reference",
        n_bands=int(r["bands"]), cheb_degree=int(r["cheb_degree"]), n_layers=int(r["layers"]),
        knn_k=int(r["knn_k"]), knn_weights={"image": image, "text": 1 - image},
        temperature=float(r["tau"]), operator_reg_weight=float(r["lam_reg"]),
        consistency_weight=float(r["lam_ma"]), contrast_weight=float(r["lam_cl"]),
        contrast_nodes=0, mask_rate=0.0, feature_hidden_size=r["W1_image"].shape[0],
        operator_rank=r["user_Wq"].shape[1],
    )
    data = Data(*r["edges"].T.copy() if r["edges"].shape[1] == 2 else r["edges"],
                int(r["n_users"]), int(r["n_items"]),
                Features(image=r["feat_image"], text=r["feat_text"]))
    model = ReferenceSSR(config, data)
    state = {"H_id": r["H_id"], "w": r["w_user"]}
    for k, c in enumerate(model.modalities):
        state[f"P.{k}"] = r[f"P_{c}"]
        if c != "id":
            for layer in ("1", "2"):
                state[f"project.modality{k}.W{layer}.weight"] = r[f"W{layer}_{c}"]
                state[f"project.modality{k}.W{layer}.bias"] = r[f"b{layer}_{c}"]
    for side in ("user", "item"):
        for name in ("Wq", "Wk", "g", "rho", "gamma"):
            state[f"{side}_operator.{name}"] = r[f"{side}_{name}"]
        for net in ("s", "a"):
            for place, layer in (("0", "1"), ("2", "2")):
                state[f"{side}_operator.{net}.{place}.weight"] = r[f"{side}_{net}_W{layer}"]
                state[f"{side}_operator.{net}.{place}.bias"] = r[f"{side}_{net}_b{layer}"]
    state_of_model = model.state_dict()
    loaded = {k: torch.as_tensor(v, dtype=torch.float32).reshape(state_of_model[k].shape)
              for k, v in state.items()}
    assert set(state_of_model) - set(loaded) == {"_extra_state"}
    model.load_state_dict(loaded | {"_extra_state": state_of_model["_extra_state"]})
    return model


def close(actual, expected):
    np.testing.assert_allclose(actual.detach().numpy(), expected, atol=TOLERANCE, rtol=TOLERANCE)


def test_bands_equal_the_reference(model, reference):
    user, item = model.spectra()
    close(user.bands.transpose(0, 1), reference["expected_bands_user"])
    close(item.bands.transpose(0, 1), reference["expected_bands_item"])


def test_embeddings_and_scores_equal_the_reference(model, reference):
    user, item = model.eval().encode()
    close(user, reference["expected_agg_user"])
    close(item, reference["expected_agg_item"])
    users = {"user_id": torch.arange(model.n_users)}
    close(model.full_sort_predict(users).view(model.n_users, -1), reference["expected_scores"])


def test_losses_equal_the_reference(model, reference):
    r = reference
    loss = model.train().calculate_loss(triples(r["batch_users"], r["batch_pos"], r["batch_neg"]))
    close(loss.bce, r["expected_bce"])
    close(loss.alignment / model.contrast_weight, r["expected_contrast"])
    close(loss.regulariser / model.operator_reg_weight, r["expected_reg"])
    close(sum(loss), r["expected_total"])
    assert loss.consistency == 0
