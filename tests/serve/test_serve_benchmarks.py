"""The benchmarks of what a trained model is good for, at a size that takes seconds."""

from argparse import Namespace

import pandas as pd
import pytest
from benchmark_scripts import scripts_of

from recbole_ssr.result import RunResult

scripts = scripts_of("datasets", "step_time", "recommend", "new_items", "popularity_discount")


def test_recommending_is_measured_with_its_memory(scripts, tmp_path):
    args = Namespace(users=50, items=90, width=4, seen=3, topk=5, format="csv")
    result = scripts["recommend"].measured(args, tmp_path)
    table = pd.read_csv(tmp_path / "recommendations.csv")
    assert result["rows"] == len(table) == 250 and table["user"].nunique() == 50
    assert result["peak"] >= result["before"] > 10 and result["seconds"] > 0


@pytest.mark.parametrize("model", ["SSR", "BPR", "GFCF"])
def test_a_discount_of_0_has_the_metric_that_the_run_has(model, scripts, train, monkeypatch):
    script, run = scripts["popularity_discount"], train(model)
    monkeypatch.setattr(script, "_K", 5)
    monkeypatch.setattr(script, "_METRIC", "ndcg@5")
    name, curve = script.measured(run, (0, 5))
    plain, discounted = curve.values()
    assert name == model
    assert plain[0] == pytest.approx(RunResult.read(run).test["ndcg@5"], abs=1e-6)
    assert plain != discounted


def test_the_curves_of_runs_are_drawn(scripts, train, tmp_path, monkeypatch, capsys):
    script = scripts["popularity_discount"]
    monkeypatch.setattr(script, "_K", 5)
    monkeypatch.setattr(script, "_METRIC", "recall@5")
    path = tmp_path / "curves.png"
    assert script.main([train("SSR"), train("BPR"), f"--plot={path}"]) == 0
    assert capsys.readouterr().out.count("| BPR | ") == len(script.VALUES)
    assert path.read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_new_items_are_those_without_any_training_interaction(scripts, tmp_path, capsys):
    words = [f"--out={tmp_path}", "--models", "FeatureItemKNN", "--epochs=1"]
    assert scripts["new_items"].main(words) == 0
    out = capsys.readouterr().out
    assert "| FeatureItemKNN | " in out and "| random | " in out
    warm = pd.read_csv(tmp_path / "data/warm/warm.inter", sep="\t", dtype=str)
    new = set((tmp_path / "new/text.tokens").read_text().split())
    assert new and not new & set(warm["item_id:token"])
