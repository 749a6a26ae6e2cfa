"""RecBole's settings at their limits: what a run makes of them, or in what words it refuses."""

import json
import sys
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
import torch
from recbole.data.interaction import Interaction
from rich.console import Console

import recbole_ssr
from recbole_ssr.compare.store import task_of
from recbole_ssr.config import build_config
from recbole_ssr.conformance.data import NAME, PARTS, write_sixty
from recbole_ssr.dataset_report import dataset_report
from recbole_ssr.errors import UserError
from recbole_ssr.host_errors import host_errors
from recbole_ssr.nn.batch import Batch
from recbole_ssr.quick_start import load_run, prepare
from recbole_ssr.registry import recbole_model_names
from recbole_ssr.report.result_table import result_table
from recbole_ssr.report.terminal import rendered
from recbole_ssr.result import RunResult
from recbole_ssr.train import checkpoint

INTER = ["user_id", "item_id", "rating", "timestamp"]
KG = {"inter": INTER, "kg": ["head_id", "relation_id", "tail_id"], "link": ["item_id", "entity_id"]}
SETTINGS = {"epochs": 3, "train_batch_size": 256, "learning_rate": 0.01, "show_progress": False,
            "topk": [5], "valid_metric": "Recall@5", "load_col": {"inter": INTER}}
AUC = {"metrics": ["AUC"], "valid_metric": "AUC"}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    write_sixty(folder)
    return folder


@pytest.fixture
def settings(data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return SETTINGS | {"data_path": str(data)}


def train(settings, model="BPR", folder=None, **changes):
    return recbole_ssr.run(model, NAME, config_dict=settings | changes, folder=folder)


def state(run, file="best.pth"):
    return checkpoint.load(Path(run) / file)["state_dict"]


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def refusal(settings, model="BPR", dataset=NAME, **changes):
    """The one line in which data and model of these settings are refused."""
    with pytest.raises(UserError) as error:
        prepare(build_config(model, dataset, config_dict=settings | changes))
    assert "\n" not in str(error.value)
    return str(error.value)


def shown(result):
    console = Console(width=100, record=True, file=StringIO())
    console.print(rendered(result_table([result])))
    return " ".join(console.export_text().split())


# Splits without a part, and runs that do not select


def test_a_split_without_validation_keeps_the_last_epoch(settings):
    result = train(settings, eval_args={"split": {"RS": [0.8, 0, 0.2]}})
    assert (result.valid, result.best_epoch, result.epochs) == ({}, 2, 3)
    assert same(state(result.run), state(result.run, "last.pth"))
    assert set(result.test) == {"recall@5", "ndcg@5"}
    assert RunResult.read(result.run) == result and "valid │" not in shown(result)
    assert "the last epoch" in shown(result) and "selected" not in shown(result)
    assert load_run(result.run, device="cpu").model is not None


def test_inference_is_corrupted_without_a_validation_part_too(settings, data):
    from recbole_ssr.data.features import write_features

    rows = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    write_features(data / NAME / "features", "text", rows, [f"i{k}" for k in range(50)])
    changes = {"eval_args": {"split": {"LS": "test_only"}}, "model": "FeatureItemKNN"}
    clean = train(settings, **changes)
    noisy = train(settings, **changes, feature_noise={"text": 5.0}, corruption_at="inference")
    assert clean.test != noisy.test


def test_a_split_without_test_ends_with_validation(settings):
    result = train(settings, eval_args={"split": {"LS": "valid_only"}})
    assert result.test == {} and set(result.valid) == {"recall@5", "ndcg@5"}
    assert RunResult.read(result.run) == result and "test │" not in shown(result)


def test_files_that_are_split_already_are_the_protocol(settings):
    files = {"benchmark_filename": list(PARTS)}
    result = train(settings, **files)
    assert result.protocol["split"] == "files first, second, third" == dataset_report(
        NAME, settings | files, out="report").split
    assert result.protocol["group_by"] is result.protocol["order"] is None
    assert result.training["split_seed"] is None


@pytest.mark.parametrize("split, part", [({"LS": "test_only"}, "validation"),
                                         ({"RS": [0.8, 0.2, 0]}, "test")])
def test_a_comparison_needs_both_parts(settings, split, part):
    with pytest.raises(UserError, match=f"without a {part} part"):
        task_of("a", "BPR", settings | {"dataset": NAME, "eval_args": {"split": split}}, 1, "runs")


def test_users_with_one_interaction_leave_parts_empty(settings, tmp_path):
    folder = tmp_path / "one"
    folder.mkdir()
    rows = "".join(f"u{k}\ti{k % 9}\t1\t{k}\n" for k in range(60))
    (folder / "one.inter").write_text(
        "user_id:token\titem_id:token\trating:float\ttimestamp:float\n" + rows)
    words = refusal(settings, dataset="one", data_path=str(tmp_path),
                    eval_args={"split": {"LS": "valid_and_test"}, "order": "TO"})
    assert "validation and the test part empty" in words and "group_by" in words


def test_an_eval_step_of_0_selects_nothing(settings):
    never, always = train(settings, eval_step=0), train(settings)
    assert never.best_epoch == 2 and not any("valid" in record for record in never.history)
    assert same(state(never.run), state(always.run, "last.pth"))
    assert set(never.valid) == set(always.valid)
    assert "the last epoch" in shown(never) and "selected on Recall@5" in shown(always)


# Metrics


@pytest.mark.parametrize("mode", ["full", "uni20"])
def test_gauc_is_a_number_that_json_holds(settings, mode):
    result = train(settings, metrics=["GAUC"], valid_metric="GAUC", eval_args={"mode": mode})
    told = json.loads((Path(result.run) / "metrics.json").read_text())
    assert type(told["history"][0]["valid"]["gauc"]) is float
    assert 0 < told["test"]["gauc"] == result.test["gauc"] < 1
    assert result.test["gauc"] == round(result.test["gauc"], 6)


# Knowledge graphs


def whole_and_resumed(settings, model, folder):
    """Train in one go, and once more with a stop after the first epoch: equal to the last bit."""
    whole = train(settings, model)

    def stop(_state, _experiment, history):
        if len(history) == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        recbole_ssr.run(model, NAME, config_dict=settings, folder=folder, callback=stop)
    resumed = train(settings, model, folder=folder)
    assert same(state(resumed.run, "last.pth"), state(whole.run, "last.pth"))
    return whole, resumed


@pytest.mark.parametrize("model", ["CFKG", "MKR"])
def test_a_run_with_a_knowledge_graph_resumes_exactly(settings, model, tmp_path):
    settings = settings | {"load_col": KG, "metrics": ["Recall", "ItemCoverage"]}
    whole, resumed = whole_and_resumed(settings, model, tmp_path / "cut")
    assert (resumed.test, resumed.best_epoch) == (whole.test, whole.best_epoch)
    losses = [[record["loss"] for record in result.history] for result in (whole, resumed)]
    assert losses[0] == losses[1]


@pytest.mark.parametrize("model, changes", [
    ("MultiVAE", {"total_anneal_steps": 3}), ("DiffRec", {"steps": 3}), ("RecVAE", {}),
])
def test_a_run_resumes_with_what_its_model_counts(settings, model, changes, tmp_path):
    settings = settings | changes | {"train_batch_size": 16}
    whole, resumed = whole_and_resumed(settings, model, tmp_path / "cut")
    assert resumed.test == whole.test


def test_losses_of_two_passes_are_means_of_their_own_steps(settings):
    result = train(settings, "MKR", load_col=KG, train_batch_size=64, epochs=1)
    log = result.history[0]["loss"]
    assert set(log) == {"loss1", "loss2"}
    finer = train(settings, "MKR", load_col=KG, train_batch_size=64, epochs=1, kge_interval=100)
    assert finer.history[0]["loss"]["loss1"] == pytest.approx(log["loss1"])


# Negatives


@pytest.mark.parametrize("objective", ["softmax", "in_batch_softmax"])
def test_an_objective_without_negatives_trains_without_them(settings, objective):
    changes = {"objective": objective, "l2_weight": 0, "epochs": 1}
    without = train(settings, "FastLightGCN", train_neg_sample_args=None, **changes)
    drawn = train(settings, "FastLightGCN", **changes)
    a, b = state(without.run), state(drawn.run)
    assert all(torch.allclose(a[k], b[k], atol=1e-6) for k in a if a[k].is_floating_point())
    assert without.training["negatives"] is None


@pytest.mark.parametrize("model, changes", [
    ("FastLightGCN", {}), ("FastLightGCN", {"objective": "sampled_softmax"}), ("BPR", {}),
    ("NeuMF", {}),
])
def test_a_loss_with_negatives_says_so(settings, model, changes):
    with pytest.raises(UserError, match="train_neg_sample_args") as error:
        train(settings, model, train_neg_sample_args=None, **changes)
    assert "\n" not in str(error.value)


def test_a_batch_without_negatives():
    users, items = torch.tensor([4, 2, 4]), torch.tensor([7, 7, 1])
    batch = Batch.of(users, items, items[:0])
    assert batch.items.tolist() == [1, 7] and batch.positive.tolist() == [1, 1, 0]
    assert batch.negative.numel() == 0


# In what words the rest is refused


@pytest.mark.parametrize("changes, words", [
    ({"topk": [500], "valid_metric": "Recall@500"}, "has 50: take 50 or fewer"),
    ({"topk": [51], "valid_metric": "Recall@51"}, "the best 51 items"),
    ({"train_neg_sample_args": {"dynamic": True}}, "Set candidate_num to 1 or more"),
    ({"eval_args": {"mode": "labeled"}, **AUC}, "no column 'label'"),
    ({"eval_args": {"mode": "labeled"}}, "are of rankings"),
    (AUC, "the mode full"),
    ({"eval_args": {"mode": "uni0"}}, "'uni0' is no mode"),
    ({"eval_args": {"split": {"RS": [0, 0.5, 0.5]}}}, "nothing to train on"),
    ({"eval_args": {"split": {"RS": [1, 0, 0]}}}, "nothing to measure on"),
    ({"eval_args": {"split": {"RS": [0.8, 0.2]}}}, "shares of train, valid and test"),
    ({"eval_args": {"order": "TO"}, "load_col": {"inter": INTER[:3]}}, "orders by time"),
    ({"val_interval": {"age": "[20,inf)"}}, "'age' of user, which is not loaded"),
    ({"normalize_field": ["aeg"]}, "Did you mean 'age'"),
    ({"threshold": {"age": 3}, "eval_args": {"mode": "labeled"}, **AUC}, "'age' of user"),
    ({"unused_col": {"inter": ["raiting"]}}, "Did you mean 'rating'"),
    ({"load_col": {"inter": INTER, "usr": ["age"]}}, "the file 'usr'"),
    ({"enable_amp": True}, "enable_amp"), ({"save_dataloaders": True}, "save_dataloaders"),
    ({"seed": -1}, "seed=-1"),
])
def test_refused_before_training(settings, changes, words):
    assert words in refusal(settings, **changes)


def test_a_cut_off_of_all_items_is_honoured(settings):
    assert train(settings, topk=[50], valid_metric="Recall@50").test["recall@50"] == 1


@pytest.mark.parametrize("model, words", [("KGAT", "dgl"), ("CKE", "HEAD_ENTITY_ID_FIELD")])
def test_what_a_model_lacks_is_named(settings, model, words, monkeypatch):
    monkeypatch.setitem(sys.modules, "dgl", None)
    changes = {"load_col": KG} if model == "KGAT" else {}
    assert words in refusal(settings, model, **changes)


def test_a_model_without_sampled_negatives_has_none_to_choose(settings):
    with pytest.raises(UserError, match="MultiVAE trains on UserDataLoader"):
        train(settings, "MultiVAE", train_neg_sample_args={"dynamic": True, "candidate_num": 2})


@pytest.mark.skipif("GRU4RecCPR" not in recbole_model_names(), reason="RecBole 1.2.0 lacks it")
def test_an_error_of_recbole_is_one_line_with_its_place(settings):
    with pytest.raises(UserError, match=r"cannot train its model GRU4RecCPR.*\.py, line \d+") as e:
        train(settings, "GRU4RecCPR", MAX_ITEM_LIST_LENGTH=5, epochs=1)
    assert "\n" not in str(e.value) and "out of range" in str(e.value)


def test_only_errors_of_recbole_become_words():
    with pytest.raises(UserError, match="cannot read it: KeyError: 'b'"), host_errors("read it"):
        Interaction({"a": torch.zeros(1)})["b"]
    with pytest.raises(UserError, match="as it is"), host_errors("read it"):
        raise UserError("as it is")
    with pytest.raises(ZeroDivisionError), host_errors("read it"):
        1 / 0  # noqa: B018
    with pytest.raises(MemoryError), host_errors("read it"):
        raise MemoryError
