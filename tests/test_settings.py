"""Settings as the yamls state them: what a line says, what every default is, what is refused."""

import math
import re
from pathlib import Path

import pytest
import yaml

from recbole_ssr import registry
from recbole_ssr.errors import UserError
from recbole_ssr.flags import ConfigLoader
from recbole_ssr.settings import (
    Interval,
    Setting,
    about,
    interval,
    read_settings,
    settings_of,
)

OWN = sorted(registry.MODELS)
LINES = """\
# About the file.

# Widths
width: 64          # (int: [1, 8192]) Width of the embeddings.
rate: 0.5          # (float: [0, 1)) Share that drops out, ~ (see there) is none.
step: 0.1          # (float: (0, inf)) Step size.

# Others
kind: none         # (str: none | l2 | train and valid) How rows are scaled.
parts: ~           # (list of str or null) Parts to load.
gains: [1]         # (list of float: [-2, 2]) Gains.
levels: ~          # (dict of float or null: [0, 1]) Share by name.
norm: ~            # (dict of float or null: {max_norm, norm_type}; (0, inf)) Largest norm.
k: 10              # (int or dict of int: [1, 100]) Neighbours.
at_least: "[0,inf)"  # (interval or null) How many.
keep: ~            # (dict of filter or null) Rows to keep.
columns: ~         # (dict of list of str or null) Columns by file.
length: 50         # (int: [1, 99]; for sequential or context) Length.
old: ~             # (refused) Write new: 1.
sampling:          # (dict or null) How.
  power: 1.0       # (float: [0, 10]) Exponent.
  kind: a          # (str or null: a | b) Kind.
free: 3
"""


@pytest.fixture
def table(tmp_path):
    file = tmp_path / "table.yaml"
    file.write_text(LINES)
    return {setting.name: setting for setting in read_settings(file)}


def test_a_line_says_type_values_default_meaning_and_place(table):
    width = table["width"]
    assert (width.type, width.default, width.doc, width.section) == \
        ("int", 64, "Width of the embeddings.", "Widths")
    assert width.range == Interval(1, 8192) and width.values == "[1, 8192]"
    assert table["rate"].range == Interval(0, 1, open_high=True)
    assert table["rate"].doc == "Share that drops out, ~ (see there) is none."
    assert table["step"].range == Interval(0, math.inf, True, True)
    assert table["kind"].choices == ("none", "l2", "train and valid")
    assert table["norm"].keys == ("max_norm", "norm_type") and table["norm"].range.open_low
    assert table["length"].families == ("sequential", "context")
    assert table["old"].status == "refused" and table["old"].doc == "Write new: 1."
    assert [(e.name, e.default) for e in table["sampling"].entries] == [("power", 1.0),
                                                                        ("kind", "a")]
    assert table["free"].type == "int" and table["free"].doc == ""


@pytest.mark.parametrize("name, value, taken", [
    ("width", 1, 1), ("rate", 0, 0.0), ("step", 1e-9, 1e-9), ("kind", "L2", "l2"),
    ("parts", "text", ["text"]), ("parts", ["text"], ["text"]), ("parts", None, None),
    ("gains", 2, [2]), ("gains", [0.5, 1], [0.5, 1]), ("levels", {"text": 1}, {"text": 1}),
    ("norm", {"max_norm": 5}, {"max_norm": 5}), ("k", {"text": 3}, {"text": 3}),
    ("at_least", "[7,inf);(2, 5]", "(2, 5];[7,inf)"),
    ("keep", {"x": "[4,inf)"}, {"x": "[4,inf)"}),
    ("keep", {"kind": ["a", 1]}, {"kind": ["a", 1]}), ("columns", {"inter": "*"}, {"inter": "*"}),
    ("sampling", {"power": 2, "kind": None}, {"power": 2.0, "kind": None}),
    ("sampling", None, None),
])
def test_a_value_is_taken_as_runs_need_it(table, name, value, taken):
    found = table[name].check(value, name)
    assert found == taken and type(found) is type(taken)
    if isinstance(taken, dict):
        assert list(map(type, found.values())) == list(map(type, taken.values()))


@pytest.mark.parametrize("name, value, message", [
    ("width", 0, "at least 1 and at most 8192"), ("width", 10**20, "at most 8192"),
    ("width", 10**400, "at most 8192"), ("width", 1.0, "of type int, for instance 64"),
    ("width", True, "type int"), ("width", "1", "type int"), ("width", None, "type int"),
    ("width", [1], "type int"), ("rate", 1, "at least 0 and below 1"),
    ("rate", math.nan, "below 1"),
    ("step", 0, "above 0"), ("step", math.inf, "above 0"), ("step", 10**400, "above 0"),
    ("step", 1e300, "above 0, at most 3.4e38"), ("levels", {"a": -1e300}, "at least 0"),
    ("kind", "l3", "one of none, l2, train and valid. Did you mean 'l2'"),
    ("kind", None, "type str"),
    ("parts", 2, "list of str or null, for instance \\['name'\\]"), ("parts", [[1]], "list of str"),
    ("gains", [], "must have an entry"), ("gains", [1, 3], "at most 2"),
    ("gains", [1, "x"], "list of float"), ("gains", [True], "list of float"),
    ("levels", {"text": 2}, "at most 1"), ("levels", {1: 0.5}, "dict of float"),
    ("levels", 0.5, "for instance {'name': 0.5}"), ("norm", {"max": 5}, "you mean 'max_norm'"),
    ("norm", {"max_norm": 0}, "above 0"), ("k", {"text": 0}, "at least 1"),
    ("k", 1.5, "int or dict"), ("at_least", "5", "no interval"),
    ("at_least", 5, r"interval or null, for instance '\[0,inf\)'"),
    ("at_least", "[5,2]", "no interval"), ("at_least", "[1,2];", "no interval"),
    ("at_least", "[nan,2]", "no interval"), ("keep", {"x": ">=4"}, "'>=4' is no interval"),
    ("keep", {"x": 4}, "type dict of filter"), ("keep", "[4,inf)", "type dict"),
    ("columns", {"inter": "user"}, "list of str"), ("columns", ["user"], "dict of list"),
    ("sampling", {"pover": 1}, "Did you mean 'power'"), ("sampling", {"power": 11}, "at most 10"),
    ("sampling", {"kind": "c"}, "one of a, b"), ("sampling", "a", "type dict"),
])
def test_what_a_setting_cannot_take_is_refused_in_one_line(table, name, value, message):
    with pytest.raises(UserError, match=message) as caught:
        table[name].check(value, f"{name}=...")
    assert f"{name}=..." in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text, inside, outside", [
    ("[0, 1)", (0, 0.5), (-1, 1)), ("(0,1]", (1,), (0, 1.1)), ("(-inf,4)", (-1e9,), (4,)),
])
def test_intervals_hold_what_their_brackets_say(text, inside, outside):
    found = interval(text)
    assert all(x in found for x in inside) and not any(x in found for x in outside)
    assert math.nan not in found and interval(str(found)) == found


# The yamls of the package and of RecBole


@pytest.mark.parametrize("model", registry.model_names())
def test_every_default_is_a_value_of_its_setting(model):
    for setting in settings_of(model):
        if not setting.status:
            setting.check(setting.default, setting.name)


@pytest.mark.parametrize("model", OWN)
def test_every_setting_of_a_bundled_model_is_described_and_bounded(model):
    file = registry.properties_folder() / "model" / f"{model}.yaml"
    keys = yaml.load(file.read_text(), ConfigLoader)
    settings = {setting.name: setting for setting in settings_of(model)}
    for key in keys:
        setting = settings[key]
        assert setting.file == f"model/{model}.yaml" and setting.default == keys[key]
        assert setting.doc.endswith(".") and setting.type != "any"
        if any(kind in setting.type for kind in ("int", "float")):
            assert setting.range is not None, key
        if "int" in setting.type:
            assert setting.range.high < math.inf, f"{key} can hang or exhaust the memory"


@pytest.mark.parametrize("model", OWN)
def test_every_bundled_model_says_what_it_is(model):
    found = about(model)
    assert len(found.what) > 20 and not found.what.endswith(".")
    floor = model in ("FeatureLightGCN", "ClosedFormSum")  # of this package, no paper's
    assert found.paper == "" if floor else re.search(r"^[A-Z][^,]+, [A-Z].* \d{4}", found.paper)


def test_a_model_without_a_head_says_nothing():
    assert about("Unknown") is None and about("VBPR.amazon-baby") is None
    assert about("FREEDOM") == ("frozen item graph, denoised user graph",
                                "Zhou and Shen, MM 2023, arXiv 2211.06924")


def test_a_profile_changes_defaults_and_nothing_else():
    plain = {s.name: s for s in settings_of("SSR")}
    tiktok = {s.name: s for s in settings_of("SSR", "tiktok")}
    assert tiktok.keys() == plain.keys()
    assert (plain["sampling_power"].default, tiktok["sampling_power"].default) == (0.0, 0.5)
    assert tiktok["sampling_power"].range == plain["sampling_power"].range
    assert {s.name for s in settings_of("SSR", "reference")} - plain.keys() == {
        "gate_scale", "operator_reg_weight"}


def recbole_keys():
    files = (registry.RECBOLE_PROPERTIES / f"{name}.yaml" for name in ("overall", "dataset/sample"))
    return [pair for file in files for pair in yaml.load(file.read_text(), ConfigLoader).items()]


@pytest.mark.parametrize("key, default", recbole_keys())
def test_every_setting_of_recbole_is_in_the_table_with_its_default(key, default):
    own = {s.name for s in read_settings(registry.properties_folder() / "overall.yaml")}
    setting = next(s for s in settings_of() if s.name == key)
    assert setting.file == "overall.yaml" if key in own else setting.default == default


def test_settings_of_recboles_models_have_values_by_name():
    found = {setting.name: setting for setting in settings_of("LightGCN")}
    assert found["n_layers"].default == 2 and 10**20 not in found["n_layers"].range
    assert found["n_layers"].doc and found["require_pow"].type == "bool"
    assert found["reg_weight"].check(0, "") == 0.0


def test_a_yaml_without_types_takes_those_of_its_defaults(tmp_path):
    file = tmp_path / "Mine.yaml"
    file.write_text("rate: 0.5\nname: x  # how it is called\nsome: [1]\n")
    found = {setting.name: setting for setting in read_settings(file)}
    assert [found[key].type for key in ("rate", "name", "some")] == ["float", "str", "list"]
    assert found["rate"].check(1, "") == 1.0 and found["name"].doc == "how it is called"
    assert found["some"] == Setting("some", "list", [1], file=f"{Path(tmp_path).name}/Mine.yaml")


@pytest.mark.parametrize("model, key, value, told", [
    ("BM3", "dropout", 1.0, "below 1"), ("PGL", "edge_dropout", 1.0, "below 1"),
    ("FREEDOM", "edge_dropout", -0.1, "at least 0"), ("FastSGL", "view_dropout", -0.1, "at least"),
    ("FastSGL", "augmentation", "edge", "Did you mean 'edge_dropout'"),
    ("FastSGL", "contrast_negatives", "bach", "Did you mean 'batch'"),
    ("FastLightGCN", "regulariser", "square", "Did you mean 'squared'"),
    ("LayerGCN", "n_layers", 0, "at least 1"), ("LayerGCN", "edge_sampling", "x", "mixed, degree"),
    ("MMGCN", "n_layers", 0, "at least 1"), ("MMGCN", "combination", "concatenate", "'concat'"),
    ("LGMRec", "n_hyperedges", 0, "at least 1"),
    ("LGMRec", "gumbel_temperature", 0.0, "at least 0.0001"),
    ("LGMRec", "hypergraph_dropout", 1.0, "below 1"), ("MENTOR", "noise", -0.1, "at least 0"),
    ("MENTOR", "feature_dropout", 1.0, "below 1"),
    ("SLMRec", "temperature", 0.0, "at least 0.0001"),
    ("LATTICE", "adjacency", "rows", "Did you mean 'row'"), ("LATTICE", "rebuild", "batch", "step"),
    ("LATTICE", "item_graph_keep", 1.1, "at most 1"), ("VBPR", "form", "papers", "'paper'"),
    ("SMORE", "view_attention", "modality", "'modalities'"), ("GFCF", "modes", 0, "at least 1"),
    ("GRCN", "edge_weights", "confidences", "'confidence'"), ("DualGNN", "user_neighbours", 0, "1"),
    ("FeatureEASE", "ridge", 0.0, "above 0"), ("FeatureEASE", "feature_weight", -1.0, "at least 0"),
    ("FeatureItemKNN", "interaction_weight", 1.5, "at most 1"),
    ("SSR", "feature_components", -1, "at least 0"), ("SSR", "gate_gains", [], "an entry"),
    ("MGCN", "knn_k", {"text": 0}, "at least 1"), ("LightGCN", "n_layers", 10**20, "at most 64"),
])
def test_what_models_cannot_compute_with_is_refused_before_they_are_built(model, key, value, told):
    setting = next(setting for setting in settings_of(model) if setting.name == key)
    with pytest.raises(UserError, match=told):
        setting.check(value, f"{key}={value!r}")
