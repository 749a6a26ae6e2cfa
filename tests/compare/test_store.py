"""Run folders of a comparison: their names, their states, and what runs leave in them."""

import json
import os
from pathlib import Path

import pytest
import torch
import yaml
from compared import measured, ndcg, recall, settings_of, tasks_of

import recbole_ssr
from recbole_ssr.compare import lock, worker
from recbole_ssr.compare.store import (
    failure_of,
    is_complete,
    progress_of,
    read_task,
    result_of,
    state_of,
    task_of,
    write_task,
)
from recbole_ssr.errors import MissingDataset, UserError
from recbole_ssr.evaluation.rankings import read_interactions, read_rankings
from recbole_ssr.result import RunResult
from recbole_ssr.train.trainer import RunMixin


@pytest.fixture
def settings(tmp_path, monkeypatch):
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return settings_of(tmp_path)


def perform(task):
    """Do a task in this process; return the exit status."""
    write_task(task)
    return worker.perform(task.folder)


# Tasks


def test_a_folder_stands_for_all_settings_that_change_results(settings):
    task = task_of("mine", "lightgcn", settings, 3, "runs")
    assert task.model == "LightGCN" and task.seed == 3 and task.settings["seed"] == 3
    assert task.folder.parent == Path("runs")
    assert task.folder.name.startswith("LightGCN-seed3-")
    same = task_of("other", "LightGCN", settings | {"show_progress": True}, 3, "runs", "valid")
    assert same.folder == task.folder
    for change in ({"learning_rate": 0.02}, {"n_layers": 1}, {"topk": [5]}):
        assert task_of("mine", "LightGCN", settings | change, 3, "runs").folder != task.folder
    assert task_of("mine", "LightGCN", settings, 4, "runs").folder != task.folder
    assert not Path("runs").exists()


@pytest.mark.parametrize("change, message", [
    ({"learning_rat": 1}, "Did you mean 'learning_rate'"),
    ({"valid_metric": "Recall@7"}, "not computed"),
    ({"resume": "runs/x"}, "same command"),
])
def test_mistakes_are_found_before_anything_runs(settings, change, message):
    with pytest.raises(UserError, match=message):
        task_of("SSR", "SSR", settings | change, 1, "runs")


def test_an_unknown_model_dataset_or_stage_is_a_mistake(settings):
    with pytest.raises(UserError, match="LightGCN"):
        task_of("x", "LightGNC", settings, 1, "runs")
    with pytest.raises(MissingDataset):
        task_of("SSR", "SSR", settings | {"dataset": "absent"}, 1, "runs")
    with pytest.raises(UserError, match="stage 'tset'"):
        task_of("SSR", "SSR", settings, 1, "runs", "tset")


def test_a_folder_that_cannot_be_made_is_a_mistake(settings):
    (task,) = tasks_of(settings, "runs", ["SSR"])
    Path("runs").write_text("")
    with pytest.raises(UserError, match=f"cannot create the run folder {task.folder}"):
        write_task(task)


def test_a_task_is_read_back(settings):
    task = task_of("SSR, deeper", "SSR", settings | {"data_path": Path(settings["data_path"])}, 1,
                   "runs", "valid")
    write_task(task)
    assert read_task(task.folder) == task
    (task.folder / "task.json").write_text("{}")
    with pytest.raises(UserError, match="task.json"):
        read_task(task.folder)


# What a worker leaves


def test_a_run_goes_from_missing_to_done(settings):
    (task,) = tasks_of(settings, "runs", ["SSR"])
    assert state_of(task) == "missing" and not is_complete(task)
    with pytest.raises(UserError, match="has the run finished"):
        result_of(task)
    assert perform(task) == 0
    assert state_of(task) == "done" and is_complete(task) and failure_of(task) is None
    result = result_of(task)
    assert result == RunResult.read(task.folder)
    assert result.seed == 1 and task.folder.name.endswith(result.config_hash)
    assert {path.name for path in task.folder.iterdir()} == {
        "task.json", "progress.json", "config.yaml", "metrics.json", "ranking.npz", "best.pth",
        "last.pth", "run.log", "curve.png", "tensorboard"}
    progress = progress_of(task)
    assert (progress.state, progress.epoch, progress.epochs) == ("testing", 4, 4)
    assert progress.valid == [record["valid"]["recall@5"] for record in result.history]
    assert progress.seconds == [record["seconds"] + record["eval_seconds"]
                                for record in result.history]
    before = (task.folder / "metrics.json").stat().st_mtime_ns
    assert perform(task) == 0  # nothing is left to do
    assert (task.folder / "metrics.json").stat().st_mtime_ns == before


def test_a_worker_does_what_a_single_run_does(settings):
    for model in ("SSR", "LightGCN", "ItemKNN", "FeatureEASE"):
        (task,) = tasks_of(settings, "runs", [model])
        assert perform(task) == 0
        single = recbole_ssr.run(model=model, config_dict=task.settings)
        assert measured(task.folder) == measured(Path(single.run))


@pytest.mark.parametrize("model", ["SSR", "LightGCN"])
def test_stored_rankings_give_the_reported_metrics(settings, model):
    (task,) = tasks_of(settings | {"topk": [1, 3, 10]} | {"valid_metric": "Recall@3"}, "runs",
                       [model])
    assert perform(task) == 0
    result = result_of(task)
    rankings, ids = read_rankings(task.folder / "ranking.npz")
    (path,) = Path("splits").iterdir()
    split = read_interactions(path)
    assert path.stem == split.fingerprint[:12] == result.protocol["split_fingerprint"][:12]
    assert ids == split.ids
    assert (split.n_users, split.n_items) == (41, 25)
    for part in ("valid", "test"):
        reported, pairs = getattr(result, part), getattr(split, part)
        for k in (1, 3, 10):
            assert recall(rankings[part], pairs, k) == pytest.approx(reported[f"recall@{k}"],
                                                                     abs=1e-6)
            assert ndcg(rankings[part], pairs, k) == pytest.approx(reported[f"ndcg@{k}"], abs=1e-6)
        # What a user has had already is never recommended, nor is the padding.
        had = set(map(tuple, split.train.T.tolist()))
        had |= set(map(tuple, split.valid.T.tolist())) if part == "test" else set()
        for user, items in zip(rankings[part].users.tolist(), rankings[part].items.tolist()):
            assert len(set(items)) == 10 and 0 not in items
            assert not had & {(user, item) for item in items}


def test_sampled_ranking_leaves_no_ranking(settings):
    mode = {"eval_args": {"mode": {"valid": "uni10", "test": "uni10"}}}
    (task,) = tasks_of(settings | mode, "runs", ["LightGCN"])
    assert perform(task) == 0
    assert not (task.folder / "ranking.npz").exists()


def test_results_tell_how_they_were_trained(settings):
    mine, own, host = (task_of("x", model, settings | change, 1, "runs") for model, change in (
        ("FastLightGCN", {"objective": "sampled_softmax", "sampling_power": 1.0}),
        ("FREEDOM", {"objective": "paper"}), ("LightGCN", {})))
    for task in (mine, own, host):
        assert perform(task) == 0
    first, second, third = (result_of(task).training for task in (mine, own, host))
    assert first["objective"] == "sampled_softmax" and first["sampling_power"] == 1.0
    assert second["objective"] == "paper (bpr)" and third["objective"] == "the model's own"
    for training in (first, second, third):
        assert training["batch_size"] == 128 and training["learning_rate"] == 0.01
        assert training["epochs"] == 4 and training["stopping_step"] == 20
        assert training["negatives"]["distribution"] == "uniform"
        assert training["split_seed"] is None  # a column gives the split
    assert second["modalities"] == ["image", "text"] and len(second["features"]) == 64
    assert third["modalities"] == [] and third["features"] is None
    old = json.loads((host.folder / "metrics.json").read_text())
    del old["training"]
    (host.folder / "metrics.json").write_text(json.dumps(old))
    assert result_of(host).training == {}


# Validation first, test later


@pytest.mark.parametrize("model", ["SSR", "BPR"])
def test_validation_computes_no_test_metric_and_the_test_trains_no_more(settings, model,
                                                                        monkeypatch):
    (whole,) = tasks_of(settings, "whole", [model])
    assert perform(whole) == 0
    (first,) = tasks_of(settings, "runs", [model], stage="valid")
    evaluated = []
    original = RunMixin.evaluate

    def evaluate(self, data, *args, **kwargs):
        evaluated.append(data._dataset)
        return original(self, data, *args, **kwargs)

    monkeypatch.setattr(RunMixin, "evaluate", evaluate)
    assert perform(first) == 0
    calibrated = model == "SSR"  # with and without
    assert len(set(map(id, evaluated))) == 1 and len(evaluated) == 5 + 2 * calibrated
    assert state_of(first) == "validated" and is_complete(first)
    assert not (first.folder / "metrics.json").exists()
    assert list(read_rankings(first.folder / "ranking.npz")[0]) == ["valid"]
    validated = result_of(first)
    assert validated.test == {} and validated.valid == result_of(whole).valid

    second = first._replace(stage="test")
    assert state_of(second) == "validated" and not is_complete(second)
    with pytest.raises(UserError, match="has the run finished"):
        result_of(second)
    evaluated.clear()
    monkeypatch.setattr(RunMixin, "_train_epoch", None)  # training again would fail
    assert perform(second) == 0
    assert len(evaluated) == 2 + bool(result_of(second).calibration.get("kept"))
    assert state_of(second) == "done"
    assert measured(second.folder) == measured(whole.folder)
    assert not (second.folder / "valid.json").exists()
    # Whoever asked for validation only is never shown test metrics.
    assert result_of(first).test == {} and result_of(second).test
    assert result_of(second).peak_mib >= validated.peak_mib
    assert result_of(second).seconds > sum(r["seconds"] for r in validated.history)


# Failures


def test_a_failure_is_recorded_and_tried_again(settings, monkeypatch):
    (task,) = tasks_of(settings, "runs", ["LightGCN"])
    original = RunMixin._train_epoch

    def broken(self, data, epoch, *args, **kwargs):
        if epoch == 2:
            raise RuntimeError("shapes\n do not match")
        return original(self, data, epoch, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(RunMixin, "_train_epoch", broken)
        assert perform(task) == worker.FAILED
    assert state_of(task) == "failed" and not is_complete(task)
    failure = failure_of(task)
    assert failure.reason == "RuntimeError: shapes do not match"
    assert (failure.seed, failure.folder) == (1, str(task.folder))
    assert "in broken" in json.loads((task.folder / "error.json").read_text())["traceback"]
    assert progress_of(task).epoch == 2
    assert perform(task) == 0  # goes on after the second epoch
    assert state_of(task) == "done" and failure_of(task) is None
    (whole,) = tasks_of(settings, "whole", ["LightGCN"])
    assert perform(whole) == 0
    assert measured(task.folder) == measured(whole.folder)


def test_a_loss_that_diverges_is_the_reason(settings):
    (task,) = tasks_of(settings | {"learning_rate": 1e30}, "runs", ["BPR"])
    assert perform(task) == worker.FAILED
    assert failure_of(task).reason.startswith("the training loss became nan in epoch 0; lower")


@pytest.mark.parametrize("error", [
    MemoryError(), torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
    "allocate", UserError("a mistake"), KeyError("x"),
])
def test_reasons_are_one_line_and_name_memory(error):
    if error == "allocate":
        with pytest.raises(RuntimeError) as caught:
            torch.empty(1 << 60, dtype=torch.uint8)
        error = caught.value
    reason = worker.reason_of(error)
    assert "\n" not in reason
    if isinstance(error, UserError):
        assert reason == "a mistake"
    elif isinstance(error, KeyError):
        assert reason == "KeyError: 'x'"
    else:
        assert reason.startswith("out of memory: ") and "train_batch_size" in reason


def test_settings_of_another_run_in_the_folder_are_refused(settings):
    (task,) = tasks_of(settings, "runs", ["BPR"], stage="valid")
    assert perform(task) == 0
    with pytest.raises(UserError, match="other settings"):
        recbole_ssr.run("BPR", config_dict=settings | {"seed": 2}, folder=task.folder)
    with pytest.raises(UserError, match="drop one"):
        recbole_ssr.run(flags={"resume": str(task.folder)}, folder=task.folder)


def test_a_broken_checkpoint_of_a_killed_process_is_cleared_away(settings):
    (task,) = tasks_of(settings, "runs", ["BPR"])
    write_task(task)
    (task.folder / ".last.pth.0123.tmp").write_bytes(b"half")
    assert worker.perform(task.folder) == 0
    assert not list(task.folder.glob(".*"))
    assert yaml.safe_load((task.folder / "config.yaml").read_text())["seed"] == 1


# One process at a time


def test_a_run_folder_has_one_process(settings, monkeypatch, capsys):
    (task,) = tasks_of(settings, "runs", ["BPR"])
    write_task(task)
    monkeypatch.setattr(lock, "_LOOK_SECONDS", 0.01)
    with lock.locked(task.folder):
        assert (task.folder / "lock").read_text().startswith(f"{os.getpid()} on ")
        with pytest.raises(lock.Busy, match=f"being run by process {os.getpid()} on"), \
                lock.locked(task.folder, patience=0.05):
            raise AssertionError("locked twice")
        monkeypatch.setattr(worker, "locked", lambda folder: lock.locked(folder, patience=0))
        assert worker.perform(task.folder) == worker.BUSY
    assert "being run by process" in capsys.readouterr().err
    assert state_of(task) == "missing"  # to be busy is no failure
    assert worker.perform(task.folder) == 0
    assert not (task.folder / "lock").exists()


def test_a_lock_that_was_left_behind_holds_nobody_up(tmp_path):
    (tmp_path / "lock").write_text("12345 on elsewhere\n")
    with lock.locked(tmp_path, patience=0):
        assert (tmp_path / "lock").read_text().startswith(f"{os.getpid()} on ")
