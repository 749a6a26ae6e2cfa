"""The benchmarks of what a trained model is good for, at a size that takes seconds."""

from argparse import Namespace

import pandas as pd
import pytest
from benchmark_scripts import scripts_of

scripts = scripts_of("datasets", "step_time", "recommend", "new_items")


def test_recommending_is_measured_with_its_memory(scripts, tmp_path):
    args = Namespace(users=50, items=90, width=4, seen=3, topk=5, format="csv")
    result = scripts["recommend"].measured(args, tmp_path)
    table = pd.read_csv(tmp_path / "recommendations.csv")
    assert result["rows"] == len(table) == 250 and table["user"].nunique() == 50
    assert result["peak"] >= result["before"] > 10 and result["seconds"] > 0


@pytest.mark.slow
def test_new_items_are_those_without_any_training_interaction(scripts, tmp_path, capsys):
    words = [f"--out={tmp_path}", "--models", "FeatureItemKNN", "--epochs=1"]
    assert scripts["new_items"].main(words) == 0
    out = capsys.readouterr().out
    assert "| FeatureItemKNN | " in out and "| random | " in out
    warm = pd.read_csv(tmp_path / "data/warm/warm.inter", sep="\t", dtype=str)
    new = set((tmp_path / "new/text.tokens").read_text().split())
    assert new and not new & set(warm["item_id:token"])
