"""Presets: written by tuning, read back, and ordinary config files."""

import re

import pytest
import yaml
from made_trials import write_shop

from recbole_ssr.commands.experiments import presets_of
from recbole_ssr.compare.comparison_options import options_of
from recbole_ssr.config import build_config
from recbole_ssr.errors import UserError
from recbole_ssr.tune.presets import read_presets, write_preset
from recbole_ssr.tune.trials import Method
from recbole_ssr.tune.tuning import Selected

SETTINGS = {"learning_rate": 1e-05, "gate_gains": [0.5, 2], "knn_weights": {"text": 0.9},
            "mask_rate": 0.2, "n_bands": 4}


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    return write_shop(tmp_path_factory.mktemp("data"))


def selected(label="SSR", settings=SETTINGS, **changes):
    line = Selected(label, "SSR", "shop", settings, "recall@20", 0.123456, 0.1, 12, 8, 1, (), None,
                    Method(20), "SSR-shop-0123456789", "f" * 64)
    return line._replace(**changes)


def test_a_preset_is_a_config_file_of_what_was_selected(tmp_path, shop):
    beside = {"projection": "mlp", "modalities": ["text"], "learner": "sgd",
              "train_neg_sample_args": {"sample_num": 4}}
    given = {**shop, "epochs": 3, "device": "cpu", **beside}
    path = write_preset(tmp_path, selected(), given)
    assert path == tmp_path / "presets" / "SSR.yaml"
    # What the model was trained by belongs to it; protocol, dataset and machine do not.
    assert yaml.safe_load(path.read_text()) == {"model": "SSR", **beside, **SETTINGS}
    assert f"--preset={path} " in path.read_text()
    config = build_config(config_files=[path], config_dict=shop)
    assert config["model"] == "SSR"
    assert {key: config[key] for key in SETTINGS} == SETTINGS
    preset = read_presets(path)["SSR"]
    assert preset.settings == {**beside, **SETTINGS}
    assert build_config(preset.model, config_dict={**shop, **preset.settings})["n_bands"] == 4


def test_a_preset_says_how_it_was_found(tmp_path):
    path = write_preset(tmp_path, selected())
    notes = read_presets(path)["SSR"].notes
    assert notes["dataset"] == "shop" and notes["split"] == "f" * 64
    assert notes["metric"] == "recall@20 on validation"
    assert notes["reached"] == "0.123456, default settings 0.1"
    assert notes["trials"] == "20 (12 complete, 8 pruned), 1 failed, budget 20"
    assert notes["sampler"] == "tpe, seed 2020, pruner median"
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", notes["date"]) and "recbole_ssr" in notes["versions"]
    assert (read_presets(path)["SSR"].trials, read_presets(path)["SSR"].pruned) == (20, 8)
    pruned = write_preset(tmp_path, selected()._replace(default_pruned=True))
    assert read_presets(pruned)["SSR"].notes["reached"].endswith("0.1 when they were pruned")
    assert not any("on test" in note or str(tmp_path) in note for note in notes.values())


def test_lines_of_one_model_have_a_file_each(tmp_path):
    labels = ("SSR", "größer", "no mask / 2", "no mask/2", "no_mask_2", "\u2207", "\u2206",
              "x" * 300, "x" * 301)
    paths = [write_preset(tmp_path, selected(label)) for label in labels]
    names = [path.name for path in paths]
    assert names[:2] == ["SSR.yaml", "größer.yaml"] and names[4] == "no_mask_2.yaml"
    assert all(name.startswith("no_mask_2-") for name in names[2:4])
    assert len({name.lower() for name in names}) == len(labels)
    assert [path.is_file() for path in paths] == [True] * len(labels)


def test_files_folders_and_lists_are_read(tmp_path):
    write_preset(tmp_path, selected())
    other = tmp_path / "own.yaml"
    other.write_text("model: lightgcn\nn_layers: 3\n")
    found = read_presets(f"{tmp_path / 'presets'}, {other}")
    assert {name: preset.model for name, preset in found.items()} == {
        "SSR": "SSR", "LightGCN": "LightGCN"}
    assert found["LightGCN"].settings == {"n_layers": 3} and found["LightGCN"].trials is None
    assert read_presets([tmp_path / "presets", other]) == found


def test_a_line_takes_the_preset_of_its_label_then_of_its_model(tmp_path):
    for label, layers in (("SSR", 1), ("wide", 2)):
        write_preset(tmp_path, selected(label, {"n_layers": layers}))

    def layers(models, preset=tmp_path / "presets"):
        lines = presets_of(options_of([], {"models": models, "preset": str(preset)}))
        return {label: line.settings["n_layers"] for label, line in lines.items()}

    one, two, three = ({name: {"model": "SSR", "mask_rate": rate}}
                       for name, rate in (("SSR", 0.1), ("wide", 0.2), ("no mask", 0.0)))
    assert layers({**one, **two, **three}) == {"SSR": 1, "wide": 2, "no mask": 1}
    wide = tmp_path / "presets" / "wide.yaml"
    assert layers({**one, **two}, wide) == {"wide": 2}  # no line gets another line's
    assert layers(three, wide) == {"no mask": 2}
    write_preset(tmp_path, selected("deep", {"n_layers": 3}))
    (tmp_path / "presets" / "SSR.yaml").unlink()
    with pytest.raises(UserError, match="deep.yaml and .*wide.yaml are presets of SSR, none of them"
                                        " of the line 'no mask'"):
        layers(three)


@pytest.mark.parametrize("given, message", [
    ("presets/SRS.yaml", r"no preset 'presets/SRS.yaml'. Did you mean 'SSR.yaml'"),
    ("empty", r"'empty' holds no preset"),
    ("nameless.yaml", r"nameless.yaml is no preset: it does not say its model"),
    ("unknown.yaml", r"no model named 'SRS'"),
    ("presets,again.yaml", r"Both presets/SSR.yaml and again.yaml are presets of SSR"),
    ("broken.yaml", r"broken.yaml, line 1"),
])
def test_mistakes_are_named(tmp_path, monkeypatch, given, message):
    monkeypatch.chdir(tmp_path)
    write_preset("", selected())
    (tmp_path / "empty").mkdir()
    for name, text in (("nameless", "n_layers: 2"), ("unknown", "model: SRS"),
                       ("again", "model: SSR\nn_layers: 1"), ("broken", "- a")):
        (tmp_path / f"{name}.yaml").write_text(text + "\n")
    with pytest.raises(UserError, match=message):
        read_presets(given)
