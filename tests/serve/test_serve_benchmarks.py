"""The benchmarks of what a trained model is good for, at a size that takes seconds."""

from argparse import Namespace

import numpy as np
import pandas as pd
import pytest
import torch
from benchmark_scripts import scripts_of

from recbole_ssr.evaluation.rankings import Interactions
from recbole_ssr.result import RunResult

scripts = scripts_of("datasets", "step_time", "recommend", "new_items", "popularity_discount",
                     "popularity_calibration")


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


def test_calibration_by_popularity_of_any_run_starts_from_its_metric(scripts, train, monkeypatch,
                                                                    capsys):
    script, run, closed = scripts["popularity_calibration"], train("BPR"), train("GFCF")
    monkeypatch.setattr(script, "_K", 5)
    monkeypatch.setattr(script, "_METRIC", "ndcg@5")
    script.main([closed, run])
    said, result = capsys.readouterr(), RunResult.read(run)
    name, (plain, _) = script.measured(run)
    assert name == "BPR" and f"| BPR | {result.valid['ndcg@5']:.4f} | " in said.out
    assert plain == pytest.approx([result.valid["ndcg@5"], result.test["ndcg@5"]], abs=1e-6)
    assert "GFCF are no inner products" in said.err


def test_calibration_by_popularity_lowers_what_held_out_users_want_less(scripts):
    rng = np.random.default_rng(0)
    users, items = np.arange(1, 301), np.arange(1, 33)
    # Of 32 items training's users want one in proportion to its number, validation's do not.
    train = np.array([(u, i) for u in users for i in items if rng.random() < i / 64]).T
    seen = set(map(tuple, train.T))
    valid = np.array([(u, i) for u in users for i in items
                      if (u, i) not in seen and rng.random() < 0.1]).T
    noise = [torch.from_numpy(rng.normal(0, 0.1, (n, 4))).float() for n in (301, 33)]
    log_degree = torch.from_numpy(np.bincount(train[1], minlength=33)).clamp(min=1).log()
    noise[0][:, 0], noise[1][:, 0] = 1, log_degree  # scores that follow popularity
    added = scripts["popularity_calibration"].of_popularity(
        *noise, Interactions(301, 33, train, valid, valid, "", ""))
    assert added[0] == 0
    assert added[17:].max() < added[1:17].mean()


@pytest.mark.slow
def test_new_items_are_those_without_any_training_interaction(scripts, tmp_path, capsys):
    words = [f"--out={tmp_path}", "--models", "FeatureItemKNN", "--epochs=1"]
    assert scripts["new_items"].main(words) == 0
    out = capsys.readouterr().out
    assert "| FeatureItemKNN | " in out and "| random | " in out
    warm = pd.read_csv(tmp_path / "data/warm/warm.inter", sep="\t", dtype=str)
    new = set((tmp_path / "new/text.tokens").read_text().split())
    assert new and not new & set(warm["item_id:token"])
