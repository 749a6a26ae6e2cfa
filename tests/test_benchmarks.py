"""The benchmarks: comparisons that every model accepts, and scripts on data of a tiny size."""

import re
import sys

import numpy as np
import pytest
from benchmark_scripts import BENCHMARKS, scripts_of
from tune.made_trials import write_shop

from recbole_ssr import registry
from recbole_ssr.compare.comparison_options import options_of
from recbole_ssr.compare.plan import lines_of, plan_of
from recbole_ssr.tune.space import spaces_of

scripts = scripts_of("datasets", "step_time", "prepare_time")
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
    assert all(space.size == max(space.size, 1) < options.tune for space in spaces.values())
    assert not caplog.records


def test_the_comparison_on_tiktok_has_every_model_with_settings_that_were_tried():
    tried, asked = (options_of([BENCHMARKS / f"{name}_tiktok.yaml"], {})
                    for name in ("baselines", "compare"))
    (space,) = tried.space
    for options in (tried, asked):
        assert {model for model, _ in options.models.values()} == ALL_MODELS
        assert options.settings == asked.settings
    assert {len(settings) for model, settings in space.items() if model != "SSR"} == {3}
    for label, (model, settings) in asked.models.items():
        settings = {key: value for key, value in settings.items() if key != "profile"}
        before = tried.models[model][1]
        assert not settings or settings in [{**before, **entry} for entry in space[model]], label


def test_the_comparison_on_baby_has_every_model_with_its_published_settings():
    asked = options_of([BENCHMARKS / "compare_baby.yaml"], {})
    assert {model for model, _ in asked.models.values()} == ALL_MODELS
    profiled = {file.name.split(".")[0]
                for file in (registry.properties_folder() / "model").glob("*.amazon-baby.yaml")}
    changed = {label: settings for label, (_, settings) in asked.models.items() if settings}
    assert changed.pop("SSR-reference")["profile"] == "reference"
    assert changed == {model: {"profile": "amazon-baby"} for model in profiled}


def test_conversion_happens_once_and_missing_files_are_named(scripts, tmp_path):
    datasets, source = scripts["datasets"], tmp_path / "data"
    with pytest.raises(FileNotFoundError, match="name the folder that holds baby-lattice"):
        datasets.convert("baby-lattice", source, tmp_path / "out")
    (source / "baby-lattice").mkdir(parents=True)
    pairs = [f"{u}\t{(u + k) % 7}\t{min(k, 2)}" for u in range(5) for k in range(3)]
    (source / "baby-lattice/baby.inter").write_text("\n".join(["userID\titemID\tx_label", *pairs]))
    settings = datasets.convert("baby-lattice", source, tmp_path / "out")
    converted = tmp_path / "out" / "baby-lattice"
    assert np.load(converted / "features/image.npy").shape == (7, 4096)
    stamp = (converted / "features/text.npy").stat().st_mtime_ns
    assert datasets.convert("baby-lattice", source, tmp_path / "out") == settings
    assert (converted / "features/text.npy").stat().st_mtime_ns == stamp


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
