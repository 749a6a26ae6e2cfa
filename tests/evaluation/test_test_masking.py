"""What a ranking leaves out, against brute force over the files."""

from pathlib import Path

import numpy as np
import pytest
import torch
from recbole.data import data_preparation
from tiny import SETTINGS, write_tiny

import recbole_ssr
from recbole_ssr.config import build_config
from recbole_ssr.data.dataset import FixedSplitDataset
from recbole_ssr.errors import UserError
from recbole_ssr.evaluation.rankings import read_rankings
from recbole_ssr.experiment import protocol_of
from recbole_ssr.quick_start import load_run, prepare, trainer_of


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return SETTINGS | write_tiny(tmp_path / "data")


def parts_of(settings, dataset):
    """Items of every user by part, read from the file, as ids."""
    lines = Path(settings["data_path"], "tiny", "tiny.inter").read_text().splitlines()[1:]
    found = [{}, {}, {}]
    for line in lines:
        user, item, part = line.split("\t")
        ids = dataset.token2id("user_id", user), dataset.token2id("item_id", item)
        found[int(part)].setdefault(ids[0], set()).add(ids[1])
    return found


@pytest.mark.parametrize("share", [1.0, 0.4])
@pytest.mark.parametrize("masking", ["train and valid", "train"])
def test_masked_items_are_those_of_the_parts(tiny, masking, share):
    e = prepare(build_config("LightGCN", "tiny",
                             config_dict=tiny | {"test_masking": masking, "train_share": share}))
    train, valid, test = parts_of(tiny, e.dataset)
    both = masking != "train"
    assert protocol_of(e)["masked"] == ("training and validation items" if both
                                        else "training items")
    for loader, positives, masked in (
        (e.valid, valid, train),
        (e.test, test, {u: train[u] | valid[u] if both else train[u] for u in train}),
    ):
        seen = {}
        for users, (row, item), positive_row, positive in loader:
            of = users["user_id"].tolist()
            for r, i in zip(row.tolist(), item.tolist()):
                seen.setdefault(of[r], set()).add(i)
            for r, i in zip(positive_row.tolist(), positive.tolist()):
                assert i in positives[of[r]]
        assert seen == {u: masked[u] - positives[u] for u in positives}


def literal_recall(settings, experiment, k, masked_parts):
    """Mean recall at k of the test part, one user at a time."""
    train, valid, test = parts_of(settings, experiment.dataset)
    recalls = []
    for user, wanted in test.items():
        scores = experiment.model.full_sort_predict({"user_id": torch.tensor([user])})
        scores = scores.detach().clone().double()
        left_out = set().union(*((train, valid)[p][user] for p in masked_parts)) - wanted
        scores[[0, *left_out]] = -np.inf
        best = scores.argsort(descending=True)[:k].tolist()
        recalls.append(len(wanted.intersection(best)) / len(wanted))
    return float(np.mean(recalls))


def test_test_metrics_and_rankings_follow(tiny):
    results = {}
    for masking, parts in (("train and valid", (0, 1)), ("train", (0,))):
        result = recbole_ssr.run("FastLightGCN", "tiny",
                                 config_dict=tiny | {"test_masking": masking})
        experiment = load_run(result.run)
        with torch.no_grad():
            expected = literal_recall(tiny, experiment, 5, parts)
        assert result.test["recall@5"] == pytest.approx(expected, abs=1e-6)
        rankings, _ = read_rankings(Path(result.run) / "ranking.npz")
        train, valid, _ = parts_of(tiny, experiment.dataset)
        recommended = dict(zip(rankings["test"].users.tolist(), rankings["test"].items.tolist()))
        assert not any(train[u].intersection(items) for u, items in recommended.items())
        assert any(valid[u].intersection(items) for u, items in recommended.items()) == (
            masking == "train")
        results[masking] = result
    plain, parity = results.values()
    # Training and validation are the same; more candidates can only hide what is looked for.
    assert parity.valid == plain.valid and parity.best_epoch == plain.best_epoch
    assert parity.test["recall@5"] <= plain.test["recall@5"]


def test_the_rule_without_the_setting_is_recboles(tiny):
    """The stock loader's own masks, bit for bit."""
    ours = prepare(build_config("LightGCN", "tiny", config_dict=tiny))
    config = build_config("LightGCN", "tiny", config_dict=tiny)
    _, valid, test = data_preparation(config, FixedSplitDataset(config))
    for mine, stock in ((ours.valid, valid), (ours.test, test)):
        assert torch.equal(mine.uid_list, stock.uid_list)
        for user in mine.uid_list.tolist():
            assert torch.equal(mine.uid2history_item[user], stock.uid2history_item[user])


@pytest.mark.parametrize("changes", [
    {"eval_args": {"mode": {"valid": "full", "test": "uni5"}}}, {"repeatable": True},
])
def test_where_it_cannot_be_it_is_refused(tiny, changes):
    settings = tiny | {"test_masking": "train"} | changes
    config = build_config("LightGCN", "tiny", config_dict=settings)
    with pytest.raises(UserError, match="test_masking is 'train'.*full ranking"):
        prepare(config)


def test_another_word_is_refused():
    with pytest.raises(UserError, match="test_masking.*train and valid, train"):
        build_config("LightGCN", config_dict={"test_masking": "valid"})


def test_a_trainer_of_a_loaded_run_measures_as_the_run_did(tiny):
    result = recbole_ssr.run("FastLightGCN", "tiny", config_dict=tiny | {"test_masking": "train"})
    experiment = load_run(result.run)
    trainer = trainer_of(experiment)
    assert trainer.evaluate(experiment.test, load_best_model=False) == result.test
