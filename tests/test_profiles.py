"""Profiles of a model: one yaml each, between the model's defaults and the dataset's."""

import pytest
import yaml
from recbole.config import Config
from recbole.utils import get_model

from recbole_ssr.config import build_config, config_hash, resolved
from recbole_ssr.errors import UserError
from recbole_ssr.flags import read_config_file
from recbole_ssr.registry import model_class, properties_folder


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    """A dataset that exists, so that no embedded one has to be built."""
    root = tmp_path_factory.mktemp("data")
    (root / "shop").mkdir()
    (root / "shop" / "shop.inter").write_text("user_id:token\titem_id:token\nu\ti\n")
    return {"dataset": "shop", "config_dict": {"data_path": str(root)}}


def test_the_papers_profile_is_the_default(settings):
    config = build_config("SSR", **settings)
    assert config["profile"] == "paper" and config["objective"] != "bce"
    named = build_config("SSR", **settings, flags={"profile": "paper"})
    assert resolved(named) == resolved(config)


def test_a_profile_lies_over_the_models_defaults_and_under_the_users_settings(settings, tmp_path):
    file = tmp_path / "my.yaml"
    file.write_text("profile: reference\nn_bands: 4\n")
    config = build_config("SSR", **settings, config_files=[file], flags={"mask_rate": 0.3})
    assert (config["objective"], config["gate_scale"], config["sampling_power"]) == ("bce", 0.1, 0)
    assert (config["n_bands"], config["mask_rate"]) == (4, 0.3)
    assert config["init_std"] == build_config("SSR", **settings)["init_std"]


@pytest.mark.parametrize("model, profile", [
    tuple(file.stem.split(".")) for file in (properties_folder() / "model").glob("*.*.yaml")])
def test_the_settings_of_a_run_are_a_config_file_of_the_same_run(settings, tmp_path, model,
                                                                 profile):
    """Whatever form its yamls write a number in, or a run could not be taken up again."""
    config = build_config(model, **settings, flags={"profile": profile})
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(resolved(config)))
    again = build_config(config_files=[tmp_path / "config.yaml"])
    assert resolved(again) == resolved(config) and config_hash(again) == config_hash(config)


def test_stock_recbole_knows_profiles(settings):
    config = Config("SSR", "shop", config_dict={**settings["config_dict"], "profile": "reference"})
    assert config["gate_scale"] == 0.1 and config["objective"] == "bce"
    assert get_model(config["model"]) is model_class("SSR", "reference")


def test_a_profile_that_does_not_exist_is_refused_with_the_nearest(settings):
    with pytest.raises(UserError, match="no profile 'refrence'. Did you mean 'reference'.*paper"):
        build_config("SSR", **settings, flags={"profile": "refrence"})


def test_a_profile_says_which_settings_of_its_model_it_does_not_read(settings, caplog):
    plain, given = (build_config("SSR", **settings, flags={"profile": "reference", **flags})
                    for flags in ({}, {"item_bias": 3.0}))
    assert [record.getMessage() for record in caplog.records] == [
        "item_bias (command line) has no effect on profile reference."]
    assert config_hash(given) == config_hash(plain)
    keys, of_profile = (set(read_config_file(properties_folder() / f"model/SSR{name}.yaml"))
                        for name in ("", ".reference"))
    unread = given.model_class.unread_settings
    assert not unread & of_profile and keys - of_profile - unread == {"knn_weights"}


@pytest.mark.parametrize("key, value, told", [
    ("mask_rate", 1.0, "below 1"), ("modality_dropout", 1.5, "at least 0 and at most 1"),
    ("consistency", "prediction", "Did you mean 'predictions'"), ("n_bands", 0, "at least 1"),
    ("mask_scope", "nodes", "Did you mean 'node'"), ("ranking_temperature", 0.0, "at least 0.0001"),
    ("projection", "linar", "Did you mean 'linear'"), ("sampling_power", -1.0, "at least 0"),
])
def test_settings_outside_their_range_are_refused(settings, key, value, told):
    with pytest.raises(UserError, match=told):
        build_config("SSR", **settings, flags={key: value})


def test_stock_recbole_refuses_what_the_plugins_settings_cannot_be(settings):
    given = {**settings["config_dict"], "modalities": "text", "projection": "MLP"}
    config = Config("SSR", "shop", config_dict=given)
    assert (config["modalities"], config["projection"]) == (["text"], "mlp")
    with pytest.raises(UserError, match="mask_rate=1.5 must be at least 0 and below 1"):
        Config("SSR", "shop", config_dict={**given, "mask_rate": 1.5})


@pytest.mark.parametrize("key, changes", [
    ("test_masking", {"test_masking": "train"}), ("train_share", {"train_share": 0.5}),
    ("corruption_at", {"corruption_at": "inference", "feature_missing": {"text": 1.0}}),
])
def test_stock_recbole_refuses_what_its_own_loop_would_pass_over(settings, key, changes):
    with pytest.raises(UserError, match=f"{key}=.*start the run with recbole_ssr.run"):
        Config("SSR", "shop", config_dict={**settings["config_dict"], **changes})
    build_config("SSR", **settings, flags=changes)
    Config("SSR", "shop", config_dict={**settings["config_dict"], "corruption_at": "inference"})
