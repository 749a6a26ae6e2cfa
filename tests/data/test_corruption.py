"""Corrupted features against the definition, computed anew; what a seed and a token decide."""

import pickle

import numpy as np
import pytest
import torch

from recbole_ssr import config, corruption, registry
from recbole_ssr.config import build_config, config_hash
from recbole_ssr.corruption import CLEAN, Corruption
from recbole_ssr.data.features import load_item_features, write_features
from recbole_ssr.errors import UserError
from recbole_ssr.flags import read_config_file

N, DIM = 40, 6
TOKENS = [f"t{k}" for k in range(N)]
WITHOUT = ("x1", "x2")  # items that no file has


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(3)
    for name, dim in (("image", DIM), ("text", 4)):
        write_features(tmp_path, name, rng.normal(2, 3, (N, dim)).astype(np.float32), TOKENS)
    return tmp_path


def load(folder, order=None, fill="zero", scaling="l2", **settings):
    items = ["[PAD]", *(order or [*TOKENS, *WITHOUT])]
    done = Corruption.of(settings)
    return load_item_features(folder, items, None, fill, scaling, done), items


def rows_of(features, items, modality="image"):
    """Rows by token, of the items that have features."""
    here, matrix = features.has_feature(modality).tolist(), features.matrix(modality).numpy()
    return {token: row for token, row, has in zip(items, matrix, here) if has}


# Noise


@pytest.mark.parametrize("scaling", ["none", "l2", "standardise"])
def test_noise_has_the_share_of_the_norm_and_one_direction_at_every_level(folder, scaling):
    clean = rows_of(*load(folder, scaling=scaling))
    weak = rows_of(*load(folder, scaling=scaling, feature_noise={"image": 0.3}))
    strong = rows_of(*load(folder, scaling=scaling, feature_noise={"image": 2}))
    assert clean.keys() == weak.keys() == strong.keys() == set(TOKENS)
    for token, x in clean.items():
        a, b = weak[token] - x, strong[token] - x
        assert np.linalg.norm(a) == pytest.approx(0.3 * np.linalg.norm(x), rel=1e-4)
        assert np.linalg.norm(b) == pytest.approx(2 * np.linalg.norm(x), rel=1e-4)
        np.testing.assert_allclose(b / 2, a / 0.3, rtol=1e-3, atol=1e-5)


def test_directions_are_those_of_independent_gaussians(folder):
    clean, noisy = (rows_of(*load(folder, **s)) for s in ({}, {"feature_noise": {"image": 1}}))
    directions = np.stack([noisy[t] - clean[t] for t in TOKENS])
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    cosines = directions @ directions.T
    assert np.abs(cosines[~np.eye(N, dtype=bool)]).max() < 0.999  # no two items share one
    # A uniform direction in d dimensions has mean 0 and variance 1/d in each coordinate.
    assert np.abs(directions.mean(0)).max() < 4 / np.sqrt(DIM * N)
    np.testing.assert_allclose((directions**2).mean(0), 1 / DIM, atol=0.12)


def test_rows_without_features_and_other_modalities_stay_as_they_are(folder):
    clean, items = load(folder, fill="mean")
    noisy, _ = load(folder, fill="zero", feature_noise={"image": 0.5})
    assert torch.equal(noisy.matrix("text")[:-2], clean.matrix("text")[:-2])
    assert not noisy.matrix("image")[[0, -2, -1]].any()


# Missing


def test_removed_items_are_missing_and_nested(folder):
    full, items = load(folder)
    before = set()
    for share, count in ((0.1, 4), (0.3, 12), (0.5, 20), (0.51, 20), (1.0, 40)):
        features, _ = load(folder, feature_missing={"image": share})
        here = features.has_feature("image")
        gone = {t for t in TOKENS if not here[items.index(t)]}
        assert len(gone) == count and before <= gone
        assert not here[0] and not here[-1]
        assert features.coverage("image") == pytest.approx((N - count) / (N + 2))
        assert not features.matrix("image")[~here].any()
        assert torch.equal(features.matrix("image")[here], full.matrix("image")[here])
        assert torch.equal(features.has_feature("text"), full.has_feature("text"))
        before = gone


def test_new_items_change_nothing_and_lose_a_dropped_modality_alone(folder, tmp_path_factory):
    part, _ = load(folder, feature_missing={"image": 0.3}, drop_modality="text")
    later = tmp_path_factory.mktemp("later")
    for count in (1, 7, 20):
        names = [f"new{k}" for k in range(count)]
        for name, dim in (("image", DIM), ("text", 4)):
            write_features(later, name, np.ones((count, dim), dtype=np.float32), names)
        after = part.with_new_items(later, names)
        here = after.has_feature("image")
        assert torch.equal(here[:-count], part.has_feature("image")) and here[-count:].all()
        assert not after.has_feature("text").any()


def test_removed_rows_are_filled_as_others_are(folder):
    features, _ = load(folder, fill="mean", feature_missing={"image": 0.5},
                       feature_noise={"image": 0.2})
    here, matrix = features.has_feature("image"), features.matrix("image")
    mean = matrix[here].double().mean(0).float()
    absent = torch.arange(len(here))[~here][1:]
    torch.testing.assert_close(matrix[absent], mean.expand(len(absent), -1))
    assert not matrix[0].any()


def test_dropping_a_modality_keeps_its_shape(folder):
    features, _ = load(folder, fill="mean", drop_modality="image")
    assert features.modalities == ("image", "text") and features.dim("image") == DIM
    assert not features.has_feature("image").any() and features.has_feature("text").any()
    matrix = features.matrix("image")
    assert matrix.shape == (N + 3, DIM) and not matrix.any()


def test_removed_rows_do_not_move_the_scale_of_columns(folder):
    """Standardised columns: in training by what is left; at inference as in training."""
    stored = np.load(folder / "image.npy").astype(np.float64)
    part = load(folder, scaling="standardise", feature_missing={"image": 0.5})
    here = part[0].has_feature("image").numpy()[1:-2]
    left = stored[here]
    np.testing.assert_allclose(part[0].matrix("image").numpy()[1:-2][here],
                               (left - left.mean(0)) / left.std(0), rtol=1e-4, atol=1e-5)
    clean, _ = load(folder, scaling="standardise")
    later = clean.corrupted(part[0].corruption)
    np.testing.assert_allclose(later.matrix("image").numpy()[1:-2][here],
                               ((stored - stored.mean(0)) / stored.std(0))[here],
                               rtol=1e-4, atol=1e-5)
    whole = part[0].corrupted(CLEAN)
    np.testing.assert_allclose(whole.matrix("image").numpy()[1:-2],
                               (stored - left.mean(0)) / left.std(0), rtol=1e-4, atol=1e-5)


# What decides a draw


def test_neither_ids_nor_other_items_nor_other_levels_decide(folder):
    settings = {"feature_noise": {"image": 0.4}, "feature_missing": {"image": 0.3}}
    result = rows_of(*load(folder, **settings))
    turned = rows_of(*load(folder, order=[*WITHOUT, *reversed(TOKENS)], **settings))
    assert result.keys() == turned.keys()
    assert all(np.array_equal(result[token], turned[token]) for token in result)
    more = rows_of(*load(folder, **settings | {"drop_modality": ["text"]}))
    assert all(np.array_equal(result[token], more[token]) for token in result)


def test_seed_and_modality_decide():
    rows = np.ones((N, 4), dtype=np.float32)

    def draws(seed, modality):
        done = Corruption({"a": 1.0, "b": 1.0}, {"a": 0.5, "b": 0.5}, seed=seed)
        return done.disturbed(modality, TOKENS, rows), done.removed(modality, TOKENS)

    first, others = draws(1, "a"), [draws(2, "a"), draws(1, "b")]
    assert all(np.array_equal(x, y) for x, y in zip(first, draws(1, "a")))
    for other in others:
        assert not any(np.array_equal(x, y) for x, y in zip(first, other))


def test_the_fingerprint_covers_what_was_done(folder):
    clean, _ = load(folder)
    noisy = {"feature_noise": {"image": 0.4}}
    prints = [load(folder, **settings)[0].fingerprint for settings in (
        {}, noisy, {"feature_noise": {"image": 0.5}}, {"feature_missing": {"image": 0.4}},
        {"drop_modality": ["image"]}, noisy | {"corruption_seed": 1})]
    prints += [clean.corrupted(Corruption.of(noisy)).fingerprint]
    assert len(set(prints)) == 7
    # A level of 0 does nothing, and says so.
    assert load(folder, feature_noise={"image": 0.0})[0].fingerprint == clean.fingerprint
    again = pickle.loads(pickle.dumps(load(folder, **noisy)[0]))
    assert again.fingerprint == prints[1]
    assert torch.equal(again.matrix("image"), load(folder, **noisy)[0].matrix("image"))


def test_nothing_is_corrupted_twice(folder):
    trained, _ = load(folder, feature_noise={"image": 0.4})
    other = Corruption.of({"feature_missing": {"image": 0.5}})
    assert torch.equal(trained.corrupted(other).matrix("image"),
                       load(folder, feature_missing={"image": 0.5})[0].matrix("image"))
    assert torch.equal(trained.corrupted(CLEAN).matrix("image"), load(folder)[0].matrix("image"))


# Settings


def test_stages():
    settings = {"feature_noise": {"image": 0.5}, "corruption_at": "inference"}
    assert Corruption.of(settings, "training") == CLEAN
    assert Corruption.of(settings, "inference") == Corruption({"image": 0.5})
    assert Corruption.of(settings) == Corruption({"image": 0.5})
    both = settings | {"corruption_at": "both"}
    assert Corruption.of(both, "training") == Corruption.of(both, "inference") != CLEAN


@pytest.mark.parametrize("key, value, message", [
    ("feature_noise", 0.5, "dict of float"), ("feature_noise", {"image": -1}, "at least 0"),
    ("feature_noise", {"image": "much"}, "dict"), ("feature_missing", {"text": 1.5}, "at most 1"),
    ("feature_missing", {"text": True}, "dict of float"), ("drop_modality", 3, "list of str"),
    ("feature_noise", {"image": float("nan")}, "at least 0"),
    ("drop_modality", [1], "list"), ("corruption_seed", -1, "at least 0"),
    ("corruption_at", "inferense", "Did you mean 'inference'"),
])
def test_values_out_of_range_are_refused(key, value, message):
    with pytest.raises(UserError, match=f"{key}=.*{message}"):
        build_config("LightGCN", config_dict={key: value})


def test_unknown_modalities_and_a_fill_that_cannot_be(folder):
    with pytest.raises(UserError, match="'imagee'.*Did you mean 'image'"):
        load(folder, feature_noise={"imagee": 0.1})
    with pytest.raises(UserError, match="modalities loaded are image, text"):
        load(folder)[0].corrupted(Corruption(dropped=("audio",)))
    with pytest.raises(UserError, match="feature_fill is 'error', but 20 items"):
        load(folder, order=TOKENS, fill="error", feature_missing={"image": 0.5})


def test_defaults_are_those_of_the_yaml():
    """The package's copies: for stock Configs, and of what stays out of the hash."""
    properties = registry.properties_folder()
    yaml = (read_config_file(properties / "overall.yaml")
            | read_config_file(properties / "model" / "SSR.yaml"))
    for copy in (corruption.DEFAULTS, config._AS_BEFORE):
        assert copy == {key: yaml[key] for key in copy}


def test_the_hash_of_settings_as_they_were_before_stays():
    plain = config_hash(build_config("LightGCN"))
    assert config_hash(build_config("LightGCN", config_dict={"corruption_seed": 0})) == plain
    changes = [{"feature_noise": {"image": 0.5}}, {"feature_missing": {"image": 0.5}},
               {"drop_modality": ["image"]}, {"corruption_at": "training"}, {"corruption_seed": 1},
               {"train_share": 0.5}, {"test_masking": "train"}, {"stopping_rule": "strict"}]
    hashes = {config_hash(build_config("LightGCN", config_dict=change)) for change in changes}
    assert len(hashes | {plain}) == 9
