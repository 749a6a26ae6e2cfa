"""Items that a run has never seen: their place comes from their features, that of others stays."""

import numpy as np
import pandas as pd
import pytest
import torch
from recbole.utils import get_model
from tiny import ITEMS, write_tiny

import recbole_ssr
from recbole_ssr.cli import main
from recbole_ssr.data.features import write_features
from recbole_ssr.errors import UserError
from recbole_ssr.graph.knn import knn
from recbole_ssr.registry import MODELS

WIDTHS = {"text": 5, "image": 7}
NEW = {"red1": 1.0, "red2": 1.0, "blue1": -1.0, "blue2": -1.0}  # even items are +1 in `tiny`


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """New items of both colours; blue2 has no image. Of three known ones the text of i3 changed."""
    folder, rng = tmp_path_factory.mktemp("new"), np.random.default_rng(8)
    for modality, width in WIDTHS.items():
        tokens = [*NEW, "i3"][: 5 if modality == "text" else 3]
        rows = np.array([[NEW.get(token, 5.0)] for token in tokens])
        rows = rows + rng.normal(scale=0.2, size=(len(tokens), width))
        if modality == "text":
            tokens, rows = [*tokens, "i5", "i7"], np.concatenate([rows, known_rows(folder, 5, 7)])
        write_features(folder, modality, rows.astype(np.float32), tokens)
    return folder


def known_rows(folder, *items):
    """Return the text features of items of `tiny`, as its runs have them."""
    write_tiny(folder / "data")
    return np.load(folder / "data/tiny/features/text.npy")[list(items)]


@pytest.fixture(scope="module")
def with_new(train, folder):
    """Return a function that loads a model's run with the new items, once."""
    result = {}

    def load(model, **changes):
        key = model + str(changes)
        if key not in result:
            result[key] = recbole_ssr.load(train(model, **changes), "cpu", folder)
        return result[key]

    return load


def test_a_discount_of_popularity_leaves_new_items_as_they_are(train, folder, with_new):
    plain = with_new("SSR")
    discounted = recbole_ssr.load(train("SSR"), "cpu", folder, popularity_discount=0.5)
    before, after = (r.score("u3", r.items) for r in (plain, discounted))
    np.testing.assert_allclose(after[-4:], before[-4:], rtol=1e-5)
    assert (after[:-4] != before[:-4]).any()


@pytest.mark.parametrize("model", ["SSR", "FREEDOM", "FeatureItemKNN"])
def test_new_items_are_ranked_by_colour_and_known_ones_stay(model, with_new, recommender):
    new, known = with_new(model), recommender(model)
    assert new.items[-4:].tolist() == sorted(NEW)
    every = new.recommend(k=ITEMS + 4, keep_seen=True)
    before = known.recommend(k=ITEMS, keep_seen=True)
    scores, of_known = (table.pivot(index="user", columns="item", values="score")
                        for table in (every, before))  # equal scores may change places
    pd.testing.assert_frame_equal(scores[of_known.columns], of_known)
    fresh = every[every["item"].isin(list(NEW))]
    red_user = fresh["user"].str[1:].astype(int) % 2 == 0
    red_item = fresh["item"].str.startswith("red")
    liked = fresh[red_user == red_item]["score"].mean()
    assert liked > fresh[red_user != red_item]["score"].mean()


def test_new_items_beyond_the_limit_of_exact_bands_keep_the_bands_of_the_run(train, folder):
    run = train("SSR", exact_max_nodes=ITEMS, embedding_size=4)
    before = recbole_ssr.load(run, "cpu").score("u1", "i3")
    assert recbole_ssr.load(run, "cpu", folder).score("u1", "i3") == pytest.approx(before, rel=1e-4)


def test_a_new_item_of_feature_lightgcn_is_its_projected_features(with_new, folder):
    """Without interactions: unit((sum of W_c f_c + b_c) / (L + 1)), f_c unit rows."""
    result = with_new("FeatureLightGCN")
    model, total = result.experiment.model, 0
    for W, (modality, here) in zip(model.W, (("image", 2), ("text", 2))):
        row = np.load(folder / f"{modality}.npy")[here]  # blue1
        total = total + W(torch.from_numpy(row / np.linalg.norm(row)))
    modalities = result.experiment.train._dataset.item_features.modalities
    assert modalities == ("image", "text")
    expected = torch.nn.functional.normalize(total, dim=0)
    row = result.embeddings().item[result.catalogue.item_id("blue1")]
    torch.testing.assert_close(row, expected.detach(), rtol=1e-4, atol=1e-5)


def test_a_new_item_does_not_depend_on_the_others_that_come_with_it(
        with_new, train, tmp_path, folder):
    for modality in WIDTHS:
        rows = np.load(folder / f"{modality}.npy")[1:2]
        write_features(tmp_path, modality, rows, ["red2"])
    for model in ("SSR", "FREEDOM", "FeatureItemKNN", "FeatureEASE", "ClosedFormSum"):
        alone = recbole_ssr.load(train(model), "cpu", tmp_path)
        for user in ("u0", "u1"):
            np.testing.assert_allclose(alone.score(user, "red2"),
                                       with_new(model).score(user, "red2"), rtol=1e-4, atol=1e-6)


def test_new_items_can_be_explained_exported_and_recommended(with_new, train, folder, tmp_path,
                                                             capsys):
    result = with_new("SSR")
    why = result.explain("u2", "red1")
    total = sum(s.score for s in why.sources) + why.own + why.bias
    assert total == pytest.approx(why.score, abs=1e-5)
    assert why.score == pytest.approx(result.score("u2", "red1")[0], abs=1e-5)
    assert result.similar_items("red1", 1)["rank"].tolist() == [1]
    with pytest.raises(UserError, match="the new item 'red1' has none"):
        with_new("FeatureItemKNN").similar_items(np.str_("red1"))
    out = tmp_path / "r.csv"
    words = ["recommend", train(), "--users=u0", f"--new-items={folder}", f"--out={out}",
             "--candidates=red1,blue1"]
    assert main(words) == 0
    assert pd.read_csv(out)["item"].tolist() == ["red1", "blue1"]
    assert "4 new items" in capsys.readouterr().err


def test_a_folder_of_the_home_folder(train, folder, monkeypatch):
    monkeypatch.setenv("HOME", str(folder.parent))
    assert "red1" in recbole_ssr.load(train(), "cpu", f"~/{folder.name}").items


def test_what_cannot_be_used_is_refused(train, folder, tmp_path):
    with pytest.raises(UserError, match="new_items is 5; name the folder"):
        recbole_ssr.load(train(), "cpu", 5)
    with pytest.raises(UserError, match="FastLightGCN has no embedding of an item by its features"):
        recbole_ssr.load(train("FastLightGCN"), "cpu", folder)
    with pytest.raises(UserError, match="makes nothing of the features"):
        recbole_ssr.load(train("FeatureItemKNN", interaction_weight=1.0), "cpu", folder)
    write_features(tmp_path / "wide", "text", np.ones((1, 9), np.float32), ["x"])
    with pytest.raises(UserError, match="9 columns, but the model was trained on 5"):
        recbole_ssr.load(train(), "cpu", tmp_path / "wide")
    write_features(tmp_path / "known", "text", np.ones((1, 5), np.float32), ["i4"])
    with pytest.raises(UserError, match="no item that the run does not know"):
        recbole_ssr.load(train(), "cpu", tmp_path / "known")
    write_features(tmp_path / "sound", "sound", np.ones((1, 5), np.float32), ["x"])
    with pytest.raises(UserError, match="sound, but the model was trained on image, text"):
        recbole_ssr.load(train(), "cpu", tmp_path / "sound")


def test_features_that_the_run_has_none_of_name_no_new_item(train, folder, tmp_path, caplog):
    write_features(tmp_path, "text", np.load(folder / "text.npy")[:1], ["red1"])
    write_features(tmp_path, "sound", np.ones((1, 3), np.float32), ["silent"])
    assert recbole_ssr.load(train("SSR"), "cpu", tmp_path).items[-1] == "red1"
    assert "sound, of which the run has none" in caplog.text


def test_features_of_another_encoder_are_told_by_the_items_that_both_have(train, tmp_path):
    new, same = np.ones((1, 5), np.float32), known_rows(tmp_path, 1, 2, 3)
    tokens = ["x", "i1", "i2", "i3"]
    write_features(tmp_path / "same", "text", np.concatenate([new, 3 * same]), tokens)
    assert recbole_ssr.load(train(), "cpu", tmp_path / "same").items[-1] == "x"
    rotated = np.concatenate([new, np.roll(same, 1, axis=1) * [1, -1, 1, -1, 1]])
    write_features(tmp_path / "other", "text", rotated, tokens)
    with pytest.raises(UserError, match=r"text.npy was made by another encoder than the text "
                                        r"features.*of the 3 known items .* cosine .* is -?0\.\d"):
        recbole_ssr.load(train(), "cpu", tmp_path / "other")
    rotated[3] = 0  # a row of zeros does not count
    rotated[2] = same[1]
    rotated[1] = same[0]
    write_features(tmp_path / "zero", "text", rotated, tokens)
    recbole_ssr.load(train(), "cpu", tmp_path / "zero")


def test_where_no_known_item_tells_of_the_encoder_the_log_says_so(train, tmp_path, caplog):
    caplog.set_level("INFO", "recbole_ssr")
    write_features(tmp_path, "text", np.ones((2, 5), np.float32), ["x", "y"])
    recbole_ssr.load(train(), "cpu", tmp_path)
    assert "no item that the run knows" in caplog.text and "not checked" in caplog.text


def test_new_items_without_a_modality_are_told(train, tmp_path, caplog):
    write_features(tmp_path, "image", np.ones((2, 7), np.float32), ["x", "y"])
    recbole_ssr.load(train(), "cpu", tmp_path)
    assert caplog.text.count("2 of 2 new items have no text features") == 1
    write_features(tmp_path, "text", known_rows(tmp_path, 3), ["i3"])  # of a known item alone
    caplog.clear()
    recbole_ssr.load(train(), "cpu", tmp_path)
    assert caplog.text.count("2 of 2 new items have no text features") == 1


def test_new_items_are_nobody_s_neighbours_but_their_own():
    features = torch.tensor([[1.0, 0], [0.9, 0.1], [0, 1], [1, 0.01], [0.95, 0]])
    present = torch.tensor([True, True, True, True, True])
    near = knn(features, present, 2, block=2, n_known=3)
    assert near[:3].tolist() == knn(features[:3], present[:3], 2).tolist()
    assert [set(row) for row in near[3:].tolist()] == [{3, 0}, {4, 0}]


@pytest.mark.slow
@pytest.mark.parametrize("model", [
    name for name in MODELS
    if get_model(name).embeds_new_items])
def test_every_model_that_can_takes_new_items(model, with_new, recommender):
    result, known = with_new(model), recommender(model)
    item = result.score("u0", list(NEW))
    assert np.isfinite(item).all() and len(set(item)) >= 3  # no neighbours, no score
    np.testing.assert_allclose(result.score("u0", known.items), known.score("u0", known.items),
                               rtol=1e-5)
