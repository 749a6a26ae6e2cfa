"""The benchmarks: comparisons that every model accepts, and scripts on data of a tiny size."""

import re
import sys

import numpy as np
import pytest
from benchmark_scripts import BENCHMARKS, scripts_of
from tiny import SETTINGS, write_tiny
from tune.made_trials import write_shop

from recbole_ssr import registry
from recbole_ssr.compare.comparison_options import options_of
from recbole_ssr.compare.plan import lines_of, plan_of
from recbole_ssr.errors import UserError
from recbole_ssr.quick_start import run
from recbole_ssr.tune.space import spaces_of

scripts = scripts_of("datasets", "step_time", "prepare_time", "until_selected")
YAMLS = sorted(BENCHMARKS.glob("*.yaml"))
ALL_MODELS = {*registry.MODELS, "BPR", "LightGCN"}


@pytest.mark.parametrize("file", YAMLS, ids=lambda file: file.stem)
def test_a_benchmark_is_a_comparison_whose_settings_every_model_takes(file, tmp_path, caplog):
    shop = {key: value for key, value in write_shop(tmp_path).items() if key.startswith("data")}
    options = options_of([file], {**shop, "out": str(tmp_path)})
    lines = lines_of(options, {})
    assert options.settings.keys() >= {"stopping_step"} and len(lines) == len(options.models) > 1
    plan_of(options, lines)
    spaces = spaces_of({line.label: (line.model, {**options.settings, **line.settings})
                        for line in lines}, options.space) if options.tune else {}
    assert all(space.size is None or 1 <= space.size < options.tune for space in spaces.values())
    assert not caplog.records


def of_published_width(models):
    """Return the lines but those of SSR's width, which are another line's but for that."""
    wide = {label: line for label, line in models.items() if label.endswith("-256")}
    for label, (model, settings) in wide.items():
        assert settings == {**models[model][1], "embedding_size": 256}, label
    return {label: line for label, line in models.items() if label not in wide}


def is_searched(value, entry):
    """Tell whether a value lies in an entry of a search space; 0 ends no range of powers."""
    if isinstance(entry, list):
        return value in entry
    return entry["low"] <= value <= entry["high"] or (value == 0 and entry.get("log", False))


def test_the_comparison_on_tiktok_has_every_model_with_settings_that_are_searched():
    tried, asked = (options_of([BENCHMARKS / f"{name}_tiktok.yaml"], {})
                    for name in ("baselines", "compare"))
    (space,) = tried.space
    assert {model for model, _ in asked.models.values()} == ALL_MODELS
    assert {model for model, _ in tried.models.values()} == space.keys() == ALL_MODELS - {"SSR"}
    for label, (model, settings) in of_published_width(asked.models).items():
        for key in settings.keys() - {"profile", "epochs", "stopping_step", "train_batch_size"}:
            assert is_searched(settings[key], space[model][key]), (label, key)


def test_the_comparison_on_baby_has_every_model_with_its_published_settings():
    asked = options_of([BENCHMARKS / "compare_baby.yaml"], {})
    assert {model for model, _ in asked.models.values()} == ALL_MODELS
    profiled = {file.name.split(".")[0]
                for file in (registry.properties_folder() / "model").glob("*.amazon-baby.yaml")}
    changed = {label: settings
               for label, (_, settings) in of_published_width(asked.models).items() if settings}
    (space,) = options_of([BENCHMARKS / "baselines_baby.yaml"], {}).space
    for model in ("FeatureItemKNN", "FeatureEASE", "GFCF", "ClosedFormSum"):
        for key, value in changed.pop(model).items():
            assert is_searched(value, space[model][key]), (model, key)
    assert changed.pop("SSR") == {"stopping_step": 5}
    assert set(changed.pop("FastSGL")) == {"contrast_weight"}  # it has no published settings
    assert changed.pop("SSR-reference")["profile"] == "reference"
    for model, name, published in (("LGMRec", "contrast_weight", 0.0001), ("VBPR", "l2_weight", 1)):
        assert changed[model].pop(name) < published  # see the file
    assert changed["MENTOR"].pop("learning_rate") > 0.0001
    assert not changed["MENTOR"].pop("mask_weight") and not changed["MENTOR"].pop("contrast_weight")
    assert changed == {model: {"profile": "amazon-baby"} for model in profiled}


def test_conversion_happens_once_and_missing_files_are_named(scripts, tmp_path):
    datasets, source = scripts["datasets"], tmp_path / "data"
    with pytest.raises(UserError, match="name the folder that holds baby-lattice"):
        datasets.convert("baby-lattice", source, tmp_path / "out")
    with pytest.raises(UserError, match="tiktok, baby, baby-lattice, not 'sports'"):
        datasets.convert("sports", source, tmp_path / "out")
    (source / "baby-lattice").mkdir(parents=True)
    pairs = [f"{u}\t{(u + k) % 7}\t{min(k, 2)}" for u in range(5) for k in range(3)]
    (source / "baby-lattice/baby.inter").write_text("\n".join(["userID\titemID\tx_label", *pairs]))
    settings = datasets.convert("baby-lattice", source, tmp_path / "out")
    converted = tmp_path / "out" / "baby-lattice"
    assert np.load(converted / "features/image.npy").shape == (7, 4096)
    stamp = (converted / "features/text.npy").stat().st_mtime_ns
    assert datasets.convert("baby-lattice", source, tmp_path / "out") == settings
    assert (converted / "features/text.npy").stat().st_mtime_ns == stamp
    np.save(source / "baby-lattice/text_feat.npy", np.eye(7, dtype=np.float32))
    datasets.convert("baby", source, tmp_path / "out")
    assert np.array_equal(np.load(tmp_path / "out/baby/features/text.npy"), np.eye(7))


@pytest.mark.slow
def test_the_preparation_of_made_files_reports_time_and_memory(scripts, tmp_path, monkeypatch,
                                                              capsys):
    monkeypatch.setattr(sys, "argv", [
        "prepare_time.py", f"--folder={tmp_path}", "--users=120", "--items=40",
        "--interactions=900", "--image_items=60"])
    scripts["prepare_time"].main()
    out = capsys.readouterr().out
    assert "900 interactions read, 0 repeated pairs dropped, 900 left in the 5-core" in out
    assert re.search(r"s wall, .* s processor, peak [\d,]+ MiB", out)
    inter = tmp_path / "data/amazon-Benchmark_Goods/amazon-Benchmark_Goods.inter"
    assert len(inter.read_text().splitlines()) == 901


def test_seconds_until_the_selected_epoch_are_of_the_epochs_that_finished_runs_selected(
        scripts, tmp_path, monkeypatch, capsys):
    settings = write_tiny(tmp_path) | SETTINGS | {"epochs": 2}
    folders = [tmp_path / name for name in ("SSR", "GFCF")]
    results = [run(folder.name, "tiny", config_dict=settings, folder=folder) for folder in folders]
    script = scripts["until_selected"]
    really = script.Finished.round

    def of_known_time(self, k):
        spent = really(self, k)
        assert (min(spent) > 0) == bool(self.epochs)
        return (9.0 + k, 11.0) if self.epochs else spent

    monkeypatch.setattr(script.Finished, "round", of_known_time)
    monkeypatch.setattr(sys, "argv", ["until_selected.py", *map(str, folders), "--rounds=3"])
    assert script.main() == 0
    ssr, closed = [line.split(" | ") for line in capsys.readouterr().out.splitlines()[-2:]]
    epochs = results[0].best_epoch + 1
    assert ssr[3:7] == [str(epochs), "11.00", "11.00", str(22 * epochs)]
    assert closed[3] == "closed form" and closed[4:6] == ["", ""]


def test_a_run_that_has_not_ended_has_no_seconds(scripts, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["until_selected.py", str(tmp_path)])
    with pytest.raises(UserError, match="no metrics.json: give folders of finished runs"):
        scripts["until_selected"].main()
