"""Search spaces: what they hold, and that every mistake is named before anything starts."""

import itertools
import logging

import pytest
from made_trials import write_shop

from recbole_ssr.config import build_config
from recbole_ssr.errors import UserError
from recbole_ssr.flags import read_config_file
from recbole_ssr.registry import properties_folder
from recbole_ssr.tune.encoding import Encoding
from recbole_ssr.tune.space import Choice, Range, Space, space_of, spaces_of

WITHOUT_GRID = dict.fromkeys(read_config_file(properties_folder() / "grid" / "SSR.yaml"))


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    return write_shop(tmp_path_factory.mktemp("data"))


def test_a_models_own_grid_is_its_space(shop):
    grid = read_config_file(properties_folder() / "grid" / "LGMRec.yaml")
    space = space_of("LGMRec", shop)
    assert {key: list(d.values) for key, d in space.dimensions.items()} == grid
    assert space.size == 3 * 2 * 3 * 3 * 2
    config = build_config("LGMRec", config_dict=shop)
    assert space.default == {key: config[key] for key in grid}


def test_models_of_recbole_have_a_space_too(shop):
    assert list(space_of("LightGCN", shop).dimensions) == ["learning_rate", "n_layers",
                                                           "reg_weight"]
    assert list(space_of("BPR", shop).dimensions) == ["learning_rate"]
    assert list(space_of("ItemKNN", shop).dimensions) == ["k", "shrink"]
    assert list(space_of("EASE", shop).dimensions) == ["reg_weight"]


def test_a_model_with_nothing_to_tune_keeps_its_default(shop, caplog):
    with caplog.at_level(logging.WARNING, "recbole_ssr"):
        space = space_of("Pop", shop)
    assert space.point(0) == {} and space.size == 1
    assert "nothing to tune for Pop" in caplog.text


def test_points_are_the_product():
    space = Space("SSR", {"a": Choice((1, 2, 3)), "b": Range(0.1, 0.5, step=0.2),
                          "c": Range(4, 8, step=2, whole=True)}, {})
    expected = [dict(zip("abc", values))
                for values in itertools.product((1, 2, 3), (0.1, 0.3, 0.5), (4, 6, 8))]
    assert [space.point(k) for k in range(space.size)] == expected
    assert Space("SSR", {"a": Range(1, 2)}, {}).size is None


def test_a_users_entries_override_the_grid_and_null_leaves_a_key_out(shop, tmp_path):
    first, second = tmp_path / "a.yaml", tmp_path / "b.yaml"
    first.write_text("learning_rate: {low: 1e-4, high: 1e-2, log: true}\nn_layers: [2, 3]\n")
    second.write_text("n_layers: ~\nbm3:\n  dropout: [0.2]\n")
    space = spaces_of({"BM3": ("BM3", shop)}, [first, second])["BM3"]
    own = read_config_file(properties_folder() / "grid" / "BM3.yaml")
    assert set(own) == {"n_layers", "dropout", "l2_weight"}
    assert space.dimensions == {
        "learning_rate": Range(0.0001, 0.01, log=True), "dropout": Choice((0.2,)),
        "l2_weight": Choice(tuple(own["l2_weight"]))}


def test_values_are_what_a_run_takes(shop):
    space = space_of("SSR", shop, WITHOUT_GRID | {"mask_rate": [0, 0.0, 0.5], "svd_modes":
                                   {"low": 64, "high": 200, "step": 64},
                                   "contrast_weight": {"low": 0, "high": 1}})
    assert space.dimensions["mask_rate"] == Choice((0.0, 0.5))
    assert type(space.dimensions["mask_rate"].values[0]) is float
    assert space.dimensions["svd_modes"] == Range(64, 192, False, 64, True)
    assert space.dimensions["contrast_weight"] == Range(0.0, 1.0)


def test_lists_dicts_and_null_are_values(shop):
    space = space_of("SSR", shop, WITHOUT_GRID | {
        "gate_gains": [[1], [0.5, 1, 2]], "knn_weights": [None, {"text": 0.9, "image": 0.1}]})
    encoding = Encoding(space)
    chosen = {**space.default, "gate_gains": [0.5, 1, 2],
              "knn_weights": {"text": 0.9, "image": 0.1}}
    for settings in (chosen, {**chosen, "knn_weights": None}):
        params = encoding.params(settings)
        assert all(isinstance(p, (str, int, float)) for p in params.values())
        assert encoding.settings(params) == settings
        config = build_config("SSR", config_dict={**shop, **settings})
        assert {key: config[key] for key in settings} == settings


def test_a_default_outside_of_the_space_has_no_parameter_there():
    space = Space("SSR", {"a": Choice((1, 2)), "b": Range(1.0, 2.0), "c": Range(1, 9, whole=True)},
                  {"a": 3, "b": 0.5, "c": 4})
    assert Encoding(space).params(space.default) == {"c": 4}
    stepped = Space("SSR", {"a": Range(0.0, 1.0, step=0.25)}, {"a": 0.75})
    assert Encoding(stepped).params(stepped.default) == {"a": 0.75}
    assert Encoding(stepped).params({"a": 0.7}) == {}
    tenths = Space("SSR", {"a": Range(0.1, 0.9, step=0.1)}, {"a": 0.1})
    assert Encoding(tenths).settings({"a": 0.1 + 2 * 0.1}) == {"a": 0.3}


def test_what_a_line_sets_is_not_searched(shop, caplog):
    with caplog.at_level(logging.INFO, "recbole_ssr"):
        spaces = spaces_of({"all": ("MMGCN", shop), "one": ("MMGCN", {**shop, "l2_weight": 0})})
    assert list(spaces["all"].dimensions) == ["learning_rate", "l2_weight"]
    assert list(spaces["one"].dimensions) == ["learning_rate"]
    assert "l2_weight=0 is given" in caplog.text


def test_shared_keys_go_to_the_models_that_have_them(shop):
    lines = {name: (name, shop) for name in ("MGCN", "FREEDOM", "BPR")}
    spaces = spaces_of(lines, [{"edge_dropout": [0.7], "learning_rate": [0.1, 0.2],
                               "BPR": {"learning_rate": [0.3]}}])
    assert spaces["FREEDOM"].dimensions["edge_dropout"] == Choice((0.7,))
    assert "edge_dropout" not in spaces["MGCN"].dimensions
    assert spaces["MGCN"].dimensions["learning_rate"] == Choice((0.1, 0.2))
    assert spaces["BPR"].dimensions["learning_rate"] == Choice((0.3,))


def test_what_is_below_a_label_is_for_its_line_alone(shop):
    lines = {"BM3": ("BM3", shop), "slow": ("BM3", shop), "listed": ("BM3", shop)}
    spaces = spaces_of(lines, [{"bm3": {"learning_rate": [0.1, 0.2]},
                                "slow": {"learning_rate": [0.01]}, "listed": [{"n_layers": 3}]}])
    assert spaces["BM3"].dimensions["learning_rate"] == Choice((0.1, 0.2))
    assert spaces["slow"].dimensions["learning_rate"] == Choice((0.01,))
    assert spaces["listed"].point(0) == {"n_layers": 3}


def test_listed_settings_are_tried_and_no_others(shop):
    listed = [{"n_layers": 1}, {"n_layers": 2, "dropout": 0.25}]
    space = spaces_of({"BM3": ("BM3", shop)}, [{"BM3": listed}])["BM3"]
    dropout = build_config("BM3", config_dict=shop)["dropout"]
    points = [{"n_layers": 1, "dropout": dropout}, listed[1]]
    assert [space.point(k) for k in range(space.size)] == points
    encoding = Encoding(space)
    for point in (*points, space.default):
        assert encoding.settings(encoding.params(point)) == point
    with pytest.raises(UserError, match="names n_layers, which its line sets to 3"):
        spaces_of({"BM3": ("BM3", {**shop, "n_layers": 3})}, [{"BM3": listed}])


@pytest.mark.parametrize("given, message", [
    ({"n_band": [2, 3]}, r"unknown key 'n_band'.*Did you mean 'n_bands'"),
    ({"edge_dropout": [0.1, 0.2]}, r"edge_dropout, which has no effect on SSR"),
    ({"learning_rate": [0.1, -1]}, r"space of SSR: learning_rate=-1 .*above 0"),
    ({"n_bands": [2, "three"]}, r"n_bands='three' .*must be of type int"),
    ({"projection": ["linear", "mpl"]}, r"projection='mpl'.*Did you mean 'mlp'"),
    ({"n_bands": 3}, r"n_bands: 3 must be a list of values, as in \[3\], or a range"),
    ({"n_bands": []}, r"n_bands: \[\] must be a list"),
    ({"n_bands": {"low": 2, "high": 2}}, r"low below high"),
    ({"n_bands": {"low": 2}}, r"two numbers"),
    ({"n_bands": {"low": 2, "hgih": 4}}, r"unknown entry 'hgih'.*Did you mean 'high'"),
    ({"mask_rate": {"low": 0, "high": 1}}, r"space of SSR: mask_rate=1 .*below 1"),
    ({"learning_rate": {"low": 0, "high": 1, "log": True}}, r"log is true or false"),
    ({"n_bands": {"low": 2, "high": 4, "step": 5}}, r"step must be a number"),
    ({"n_bands": {"low": 2, "high": 4, "step": 0.5}}, r"n_bands=2.5 .*must be of type int"),
    ({"seed": [1, 2]}, r"seed, which belongs to the protocol"),
    ({"topk": [[5], [10]]}, r"topk, which belongs to the protocol"),
    ({"show_progress": [True, False]}, r"show_progress, which does not change"),
    ({"FREEDOM": {"edge_dropout": [0.8]}}, r"names FREEDOM, which is not among the models"),
    ({"SSR-256": {"n_bands": [2]}}, r"SSR-256, which is not among the models. Did you mean 'SSR'"),
    ({"SSR": [{"n_bands": 2}, {"n_bands": 2.5}]}, r"n_bands=2.5 .*must be of type int"),
    ({"SSR": [{"n_bands": 2}, {"n_bands": 2}]}, r"space of SSR lists settings twice"),
    ({"SSR": [{"dataset": "shop"}]}, r"dataset, which belongs to the protocol"),
    ({"SSR": [1]}, r"space of SSR is \[1\]. Write its keys below it"),
])
def test_mistakes_are_named(shop, given, message):
    with pytest.raises(UserError, match=message):
        spaces_of({"SSR": ("SSR", shop)}, [given])


def test_a_shared_key_that_no_model_has_is_a_mistake(shop):
    with pytest.raises(UserError, match="unknown key 'learning_rat'.*'learning_rate'"):
        spaces_of({name: (name, shop) for name in ("MGCN", "BPR")}, [{"learning_rat": [1]}])


def test_a_missing_file_is_named(shop):
    with pytest.raises(UserError, match="nowhere.yaml"):
        spaces_of({"SSR": ("SSR", shop)}, ["nowhere.yaml"])
