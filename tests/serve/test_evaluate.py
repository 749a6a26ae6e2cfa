"""`evaluate`: what a run measures by other metrics and cut-offs, without training."""

import json

import numpy as np
import pytest

import recbole_ssr
from recbole_ssr.cli import main
from recbole_ssr.measurement import evaluate
from recbole_ssr.result import RunResult

# Of its own kind each: of ranks, of lists, of items whoever likes them.
METRICS = {"metrics": ["Recall", "GAUC", "Hit", "ItemCoverage"], "topk": [1, 3, 5]}


@pytest.mark.parametrize("model", ["SSR", "BPR", "ClosedFormSum"])
def test_a_run_measures_what_one_that_was_asked_before_does(train, model):
    """The parameters are the same where the metric that selects is."""
    asked = {"knn_k": 3} if model == "ClosedFormSum" else {}
    before = RunResult.read(train(model, valid_metric="Recall@5", **asked, **METRICS))
    plain = train(model, **asked)
    after = evaluate(plain, **METRICS)
    assert (after.valid, after.test) == (before.valid, before.test)
    assert len(after.test) == 1 + 3 * 3
    own = RunResult.read(plain)
    again = evaluate(plain)
    assert (again.valid, again.test) == (own.valid, own.test)
    assert set(own.test) != set(after.test)


def test_of_a_part_alone(train):
    whole, valid = evaluate(train(), topk=7), evaluate(train(), topk=7, part="valid")
    assert valid.valid == whole.valid != {} and whole.test and valid.test == {}
    assert set(valid.rankings) == {"valid"} and valid.rankings["valid"].items.shape[1] == 7
    assert set(valid.facts()) & {"valid", "test"} == {"valid"}


def test_a_discount_is_that_of_recommendations(train):
    discounted = evaluate(train(), popularity_discount=0.4, topk=3)
    recommender = recbole_ssr.load(train(), "cpu", popularity_discount=0.4)
    ranking = discounted.rankings["test"]
    tokens = recommender.catalogue.items
    for user, items in zip(ranking.users, ranking.items, strict=True):
        token = recommender.catalogue.users[user]
        assert recommender.recommend([token], k=3)["item"].tolist() == tokens[items].tolist()
    assert not np.array_equal(ranking.items, evaluate(train(), topk=3).rankings["test"].items)
    assert discounted.facts()["popularity_discount"] == 0.4


def test_the_command_prints_and_writes_what_was_measured(train, capsys, tmp_path):
    run, out = train("VBPR"), tmp_path / "new" / "figures.json"
    measured = evaluate(run, {"drop_modality": ["image"]}, **METRICS)
    assert main(["evaluate", run, "--topk=[1, 3, 5]", "--drop-modality=image", f"--out={out}",
                 "--metrics=[Recall, GAUC, Hit, ItemCoverage]"]) == 0
    printed, record = capsys.readouterr().out, json.loads(out.read_text())
    assert (record["valid"], record["test"]) == (measured.valid, measured.test)
    assert record["corruption"]["dropped"] == ["image"] and record["run"] == run
    assert record["protocol"]["topk"] == [1, 3, 5]
    for value in measured.test.values():
        assert f"{value:.4f}" in printed
    assert "Without the features of image." in printed
    assert all(len(line) <= 100 for line in printed.splitlines() if "json" not in line)


def test_models_without_features_say_that_none_were_made_worse(train, capsys):
    words = ["evaluate", train("BPR"), "--part=valid"]
    assert main(words) == 0
    plain = capsys.readouterr().out
    assert main([*words, "--drop-modality=image"]) == 0
    assert capsys.readouterr().out == plain + \
        "BPR loads no features of items: none were made worse.\n"


@pytest.mark.parametrize("words, message", [
    (["--metrics=Recal"], "there is no metric 'Recal'. Did you mean 'Recall'?"),
    (["--metrics=AUC"], "are of scored pairs"),
    (["--topk=[]"], "topk=[] (command line) must have an entry"),
    (["--topk=999"], "asks for the best 999 items"),
    (["--part=tset"], "part='tset' must be valid or test. Did you mean 'test'?"),
    (["--popularity-discount=1"], "has no effect on this run's BPR"),
    (["--n_layers=3"], "there is no flag --n_layers here"),
    (["--out=figures.csv"], "--out=figures.csv must name a .json file"),
])
def test_mistakes_are_told(train, capsys, words, message):
    assert main(["evaluate", train("BPR"), *words]) == 2
    assert message in capsys.readouterr().err
