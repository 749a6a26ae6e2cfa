"""A model, a metric, a filter bank and a recipe from outside of the package, as in the guide."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from recbole_ssr import plugins

SECTION = (Path(__file__).resolve().parents[1] / "docs/guide/extending.md").read_text("utf-8")
CODE = re.search(r"```python\n(.*?)```", SECTION, flags=re.DOTALL)[1]
CODE += textwrap.dedent(plugins.__doc__.partition("::\n")[2])
YAML = re.search(r"`Tiger.yaml` \(`(.*?)`\)", SECTION)[1]

SCRIPT = """
import recbole_ssr
from recbole_ssr.cli import main
from recbole_ssr.evaluation.user_metrics import METRICS
from recbole_ssr.model.bank import build_bank

assert main(["prepare", "zoo"]) == 0
common = {"data_path": "dataset", "device": "cpu",
          "metrics": ["Recall", "First"], "topk": [2], "valid_metric": "First@2", "epochs": 1}
result = recbole_ssr.run("Tiger", "zoo", config_dict={**common, "stripes": 4})
assert {"recall@2", "first@2"} == set(result.test), result.test
model = recbole_ssr.load_run(result.run).model
assert model.E[0].shape[1] == 4 and "first" in METRICS
settings = {"band_filter": "eight", "cheb_degree": 8, "cheb_fit": "jackson"}
assert build_bank({**settings, "n_bands": 8}, model.graph).n_bands == 8
try:
    build_bank({**settings, "n_bands": 3}, model.graph)
    raise SystemExit("three bands are eight")
except recbole_ssr.UserError as error:
    assert "set n_bands: 8" in str(error), error
assert main(["models", "Tiger"]) == 0 and main(["models"]) == 0 and main(["datasets"]) == 0
try:
    recbole_ssr.run("SSR", "zoo", config_dict={**common, "band_filter": "nine"})
except recbole_ssr.UserError as error:
    assert "eight" in str(error), error
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "tiger.py").write_text(CODE)
    (tmp_path / "Tiger.yaml").write_text(f"# Tiger: of the guide.\n\n{YAML}\n")
    (tmp_path / "zoo.yaml").write_text(
        "prepare: {min_interactions: 0, split: leave-one-out, user_column: who}\n")
    rows = [f"u{u},i{(u + k * k) % 9},{k}" for u in range(12) for k in range(5)]
    (tmp_path / "zoo.csv").write_text("\n".join(["who,item_id,timestamp", *rows]) + "\n")
    return tmp_path


def run(folder, script, **environment):
    path = os.pathsep.join(filter(None, (str(folder), os.environ.get("PYTHONPATH"))))
    return subprocess.run([sys.executable, "-c", script], cwd=folder, capture_output=True,
                          text=True, timeout=300,
                          env={**os.environ, "PYTHONPATH": path, **environment})


def test_the_example_of_the_readme_works_by_an_entry_point(folder):
    info = folder / "tiger-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: tiger\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[recbole_ssr.plugins]\ntiger = tiger\n")
    done = run(folder, SCRIPT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Tiger" in done.stdout and "of the guide" in done.stdout and "stripes" in done.stdout


def test_without_a_package_a_variable_names_it_and_a_broken_one_is_left_out(folder):
    (folder / "broken.py").write_text("import nowhere")
    script = "import recbole_ssr.registry as r; print(r.canonical('tiger'))"
    done = run(folder, script, RECBOLE_SSR_PLUGINS="tiger, broken")
    assert done.stdout == "Tiger\n"
    assert "the plugin broken cannot be loaded" in done.stderr and "nowhere" in done.stderr


def test_no_plugin_takes_the_place_of_a_model(folder):
    """RecBole finds a model by its name in small letters."""
    script = """
import recbole_ssr
from recbole_ssr import registry
from recbole_ssr.plugins import register_bank, register_model
from recbole_ssr.model.base import MultimodalRecommender

def refused(call, *words):
    try:
        call()
    except recbole_ssr.UserError as error:
        assert all(word in str(error) for word in words), error
    else:
        raise SystemExit("not refused")

before = registry.model_class("VBPR")
for name in ("SSR", "ssr", "VBpr", "FastLightGCN"):
    refused(lambda: register_model(type(name, (MultimodalRecommender,), {})), name, "already")
assert registry.model_class("VBPR") is before
refused(lambda: register_model(type("Plain", (), {})), "derives from a RecBole model", "Plain")
refused(lambda: register_bank(lambda config, graph: None), "Give the name")
"""
    done = run(folder, script)
    assert done.returncode == 0, done.stderr


def test_a_metric_has_a_value_for_every_user(folder):
    script = """
import numpy as np, recbole_ssr
from recbole_ssr.plugins import _of_users

hits, positives = np.ones((3, 2), bool), np.ones(3)
assert _of_users(lambda hits, positives: hits[:, 0], hits, positives).shape == (3,)
for wrong in (lambda h, p: h.sum(), lambda h, p: h, lambda h, p: 5):
    try:
        _of_users(wrong, hits, positives)
    except recbole_ssr.UserError as error:
        assert "for each of the 3 users" in str(error)
    else:
        raise SystemExit("not refused")
"""
    done = run(folder, script)
    assert done.returncode == 0, done.stderr


def test_runs_by_other_code_of_a_model_are_told_and_not_taken_for_its_own(folder):
    """Nothing in the settings of a run says that the file of its model has changed."""
    before = """
import recbole_ssr
from recbole_ssr.cli import main

assert main(["prepare", "zoo"]) == 0
common = {"data_path": "dataset", "device": "cpu", "topk": [2], "valid_metric": "Recall@2",
          "metrics": ["Recall"], "epochs": 1}
for model in ("Tiger", "BPR"):
    recbole_ssr.run(model, "zoo", config_dict=common, folder=model)
recbole_ssr.run("Tiger", "zoo", config_dict=common, folder="old")
recbole_ssr.load_run("Tiger")
"""
    words = ("--data_path=dataset", "--device=cpu", "--topk=[2]", "--valid_metric=Recall@2",
             "--metrics=[Recall]", "--epochs=1", "--dataset=zoo", "--out=out")
    compare = f"from recbole_ssr.cli import main; assert main(['--models=Tiger', *{words}]) == %d"
    plugin = {"RECBOLE_SSR_PLUGINS": "tiger"}
    done = run(folder, before + compare.partition(";")[2].strip() % 0, **plugin)
    assert done.returncode == 0 and "other code" not in done.stderr, done.stderr
    recorded = json.loads((folder / "Tiger/code.json").read_text())
    assert recorded["sha256"] == hashlib.sha256((folder / "tiger.py").read_bytes()).hexdigest()
    assert not (folder / "BPR/code.json").exists()
    (folder / "old/code.json").unlink()
    (folder / "tiger.py").write_text(CODE.replace("(j - i)", "(i - j)"))
    after = """
import recbole_ssr
recbole_ssr.load_run("Tiger")
for name in ("Tiger", "BPR", "old"):
    try:
        recbole_ssr.run(flags={"resume": name, "epochs": 2})
    except recbole_ssr.UserError as error:
        print(name, error)
"""
    done = run(folder, after, **plugin)
    assert done.returncode == 0, done.stderr
    assert "Tiger was run with other code of Tiger" in done.stderr, done.stderr
    said, = done.stdout.splitlines()  # the others go on
    assert said.startswith("Tiger Tiger was run with other code") and "tiger.py" in said
    ran = sorted(folder.glob("out/runs/Tiger-*/metrics.json"))
    times = [path.stat().st_mtime for path in ran]
    done = run(folder, compare % 2, **plugin)
    assert done.returncode == 0 and "was run with other code of Tiger" in done.stderr, done.stderr
    assert "delete out/runs/Tiger-seed*" in " ".join(done.stderr.split())
    assert ran and [path.stat().st_mtime for path in ran] == times


def test_a_search_by_other_code_of_a_model_is_refused_and_begins_anew(folder):
    pytest.importorskip("optuna")
    (folder / "space.yaml").write_text("stripes: [2, 4]\n")
    script = """
from recbole_ssr.cli import main

main(["prepare", "zoo"])
raise SystemExit(main(["tune", "--model=Tiger", "--trials=2", "--space=space.yaml", "--topk=[2]",
                       "--data_path=dataset", "--device=cpu", "--valid_metric=Recall@2",
                       "--metrics=[Recall]", "--epochs=1", "--dataset=zoo", "--out=out"]))
"""
    plugin = {"RECBOLE_SSR_PLUGINS": "tiger"}
    done = run(folder, script, **plugin)
    assert done.returncode == 0, done.stderr
    (folder / "tiger.py").write_text(CODE.replace("(j - i)", "(i - j)"))
    done = run(folder, script, **plugin)
    assert done.returncode == 2 and "was run with other code of Tiger" in done.stderr, done.stderr
    shutil.rmtree(folder / "out/runs")
    done = run(folder, script, **plugin)
    assert done.returncode == 0, done.stderr
    assert len(list(folder.glob("out/runs/Tiger-*/valid.json"))) == 2


def test_a_run_whose_model_is_not_loaded_names_the_plugin(folder):
    (folder / "run").mkdir()
    (folder / "run/config.yaml").write_text("model: Tiger\ndataset: zoo\n")
    (folder / "run/code.json").write_text(json.dumps(
        {"model": "Tiger", "module": "tiger", "file": "/zoo/tiger.py", "sha256": "0"}))
    done = run(folder, "from recbole_ssr.cli import main; main(['recommend', 'run', '--users=u1'])")
    assert "RECBOLE_SSR_PLUGINS=tiger" in done.stderr and "/zoo/tiger.py" in done.stderr
