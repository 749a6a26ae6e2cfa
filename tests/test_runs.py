"""Whole runs: what they leave behind, what they refuse, and that they resume exactly."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import recbole.trainer.trainer as host
import torch
import yaml
from tiny import SETTINGS, write_tiny

import recbole_ssr
from recbole_ssr.config import build_config
from recbole_ssr.errors import UserError
from recbole_ssr.quick_start import load_run, prepare, trainer_of
from recbole_ssr.report.result_table import calibration_line
from recbole_ssr.result import RunResult
from recbole_ssr.run_folders import runs_in
from recbole_ssr.train import checkpoint
from recbole_ssr.train.trainer import RunMixin

ROOT = Path(recbole_ssr.__file__).resolve().parents[1]
FILES = {"config.yaml", "metrics.json", "ranking.npz", "run.log", "curve.png", "best.pth",
         "last.pth", "tensorboard"}


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """Settings of a run on `tiny`, in an empty working folder."""
    settings = SETTINGS | write_tiny(tmp_path / "data")
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return settings


def train(settings, model="SSR", **changes):
    return recbole_ssr.run(model=model, dataset="tiny", config_dict=settings | changes)


def measured(result):
    """Everything of a result that a second run must repeat."""
    timeless = [{k: v for k, v in record.items() if "seconds" not in k}
                for record in result.history]
    return result.valid, result.test, result.best_epoch, result.epochs, timeless


def parameters(run):
    return checkpoint.load(Path(run) / "best.pth")["state_dict"]


def same(a, b):
    return a.keys() == b.keys() and all(
        torch.equal(a[k], b[k]) if isinstance(a[k], torch.Tensor) else str(a[k]) == str(b[k])
        for k in a
    )


# What a run leaves behind


@pytest.mark.parametrize("model", ["SSR", "LightGCN", "BPR", "ItemKNN", "EASE"])
def test_a_run_leaves_its_folder_and_nothing_else(tiny, model):
    result = train(tiny, model)
    folder = Path(result.run)
    assert [path.name for path in Path().iterdir()] == ["runs"]
    assert [path for path in Path("runs").iterdir()] == [folder]
    assert folder.name.startswith(f"tiny-{model}-")
    assert {path.name for path in folder.iterdir()} == FILES
    assert RunResult.read(folder) == result
    for part in (result.valid, result.test):
        assert list(part) == ["recall@2", "recall@5", "ndcg@2", "ndcg@5"]
        assert all(0 <= value <= 1 for value in part.values())
    assert result.peak_mib > 1 and result.seconds > 0 and result.seconds_per_epoch > 0
    assert [record["epoch"] for record in result.history] == list(range(result.epochs))
    picture = (folder / "curve.png").read_bytes()
    assert picture.startswith(b"\x89PNG") and len(picture) > 5000


def test_settings_log_and_losses_of_a_run(tiny):
    result = train(tiny)
    folder = Path(result.run)
    settings = yaml.safe_load((folder / "config.yaml").read_text())
    assert settings["model"] == "SSR" and settings["epochs"] == 4
    assert build_config(config_files=[folder / "config.yaml"])["learning_rate"] == 0.01
    parts = ["ranking", "consistency", "alignment", "l2"]
    assert all(list(record["loss"]) == parts for record in result.history)
    log = (folder / "run.log").read_text()
    assert "epoch 3" in log and str(result.history[2]["valid"]["recall@5"]) in log
    assert "\x1b" not in log
    assert result.protocol["split"] == "split by part"
    assert result.versions["torch"] == torch.__version__


def test_checkpoints_hold_data_only(tiny):
    folder = Path(train(tiny).run)
    for name in ("best.pth", "last.pth"):
        assert "state_dict" in torch.load(folder / name, weights_only=True)


def test_a_loaded_run_measures_what_it_reported(tiny):
    for model in ("SSR", "LightGCN", "ItemKNN"):
        result = train(tiny, model)
        experiment = recbole_ssr.load_run(result.run)
        assert not experiment.model.training
        trainer = recbole_ssr.quick_start.trainer_of(experiment)
        trainer.eval_collector.data_collect(experiment.train)
        for part, expected in ((experiment.valid, result.valid), (experiment.test, result.test)):
            assert trainer.evaluate(part, load_best_model=False) == expected, model


def test_metrics_are_those_of_stock_recbole(tiny):
    ranking = ["Recall", "NDCG", "MRR", "Hit", "MAP", "Precision"]
    repaired = ["ItemCoverage", "GiniIndex", "AveragePopularity", "TailPercentage"]
    settings = tiny | {"metrics": [*ranking, "ShannonEntropy", *repaired], "topk": [1, 5, 10]}
    for model in ("SSR", "LightGCN"):
        result = train(settings, model, epochs=2)
        experiment = recbole_ssr.load_run(result.run)
        stock = host.Trainer(experiment.config, experiment.model)
        stock.eval_collector.data_collect(experiment.train)
        expected = stock.evaluate(experiment.test, load_best_model=False)
        assert len(expected) == 33 and result.test.keys() == expected.keys()
        for name, value in expected.items():
            assert result.test[name] == pytest.approx(value, abs=1e-6), name


def test_the_best_epoch_is_the_one_that_is_tested(tiny):
    # A huge step size ruins the model after its first epochs.
    result = train(tiny, epochs=6, learning_rate=0.3)
    scores = [record["valid"]["recall@5"] for record in result.history]
    assert result.valid["recall@5"] == max(scores) == scores[result.best_epoch]
    assert checkpoint.load(Path(result.run) / "best.pth")["epoch"] == result.best_epoch


def test_early_stopping_counts_evaluations_without_improvement(tiny):
    result = train(tiny, "BPR", epochs=60, stopping_step=2, learning_rate=0.05)
    assert result.best_epoch + 1 < result.epochs < 60
    later = [r["valid"]["recall@5"] for r in result.history[result.best_epoch + 1:]]
    assert len(later) == 3 and max(later) < result.valid["recall@5"]


def test_validation_every_second_epoch(tiny):
    result = train(tiny, epochs=4, eval_step=2)
    assert ["valid" in record for record in result.history] == [False, True, False, True]
    assert result.best_epoch in (1, 3)


# Seeds and splits


def test_a_seed_decides_everything_but_the_split(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = SETTINGS | write_tiny(tmp_path / "data", split=False) | {"epochs": 2}
    first, again, other = (train(settings, seed=seed) for seed in (1, 1, 2))
    assert measured(first) == measured(again)
    assert same(parameters(first.run), parameters(again.run))
    assert measured(first) != measured(other)
    prints = {result.protocol["split_fingerprint"] for result in (first, again, other)}
    assert len(prints) == 1
    moved = train(settings, seed=1, split_seed=3)
    assert moved.protocol["split_fingerprint"] not in prints


def test_no_validation_or_test_edge_reaches_the_graph(tiny):
    experiment = prepare(build_config("SSR", "tiny", config_dict=tiny))
    dataset = experiment.dataset
    lines = [line.split("\t") for line in
             (Path(tiny["data_path"]) / "tiny/tiny.inter").read_text().splitlines()[1:]]
    ids = {(dataset.token2id("user_id", u), dataset.token2id("item_id", i)): int(part)
           for u, i, part in lines}
    graph = experiment.model.graph
    signal = torch.eye(dataset.item_num)
    reached = graph.product((torch.zeros(dataset.user_num, dataset.item_num), signal))[0]
    edges = {tuple(edge) for edge in reached.nonzero().tolist()}
    assert edges == {edge for edge, part in ids.items() if part == 0}


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="pytest -m gpu, with a CUDA device")
@pytest.mark.parametrize("model", ["SSR", "FREEDOM", "LightGCN"])
def test_a_run_on_a_gpu_is_read_and_measured_on_the_cpu(tiny, model):
    result = train(tiny, model, device="cuda", epochs=20)
    assert result.device.startswith("cuda") and result.test["recall@5"] > 0.4
    experiment = load_run(result.run, device="cpu")
    trainer = trainer_of(experiment)
    trainer.eval_collector.data_collect(experiment.train)
    again = trainer.evaluate(experiment.test, load_best_model=False)
    assert dict(again) == pytest.approx(result.test, abs=0.03)  # two near scores may change places


def losses_of(run):
    return [list(epoch["loss"].values()) for epoch in run.history]


@pytest.mark.parametrize("model, changes", [
    ("SSR", {"band_filter": "chebyshev"}),
    # Longer steps amplify the rounding of the first ones.
    ("SSR", {"modality_dropout": 0.3, "user_weights": True, "learning_rate": 1e-4}),
    ("FREEDOM", {}), ("LATTICE", {}), ("SMORE", {"view_dropout": 0.5}), ("PGL", {}),
    ("FastLightGCN", {"objective": "sampled_softmax", "clip_grad_norm": {
        "max_norm": 0.1}}),
])
def test_steps_of_one_shape_train_the_same(tiny, model, changes):
    """On a CPU: what is captured on a GPU, without the capture."""
    settings = tiny | {"epochs": 3, "train_batch_size": 48, "learning_rate_decay": 0.5,
                       "learning_rate_decay_epochs": 2, **changes}
    plain, fixed = (train(settings, model, run_dir=name, cuda_graph=name == "fixed")
                    for name in ("plain", "fixed"))
    for a, b in zip(losses_of(plain), losses_of(fixed), strict=True):
        assert b == pytest.approx(a, rel=1e-5, abs=1e-8)
    assert plain.history[0]["loss"].keys() == fixed.history[0]["loss"].keys()
    assert fixed.valid == pytest.approx(plain.valid, abs=1e-6)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="pytest -m gpu, with a CUDA device")
@pytest.mark.parametrize("model", ["SSR", "FREEDOM", "FastLightGCN", "FeatureLightGCN", "LATTICE",
                                   "MGCN", "SMORE", "PGL"])
def test_a_captured_step_trains_the_same(tiny, model):
    settings = tiny | {"epochs": 4, "train_batch_size": 32, "device": "cuda",
                       "learning_rate_decay": 0.5, "learning_rate_decay_epochs": 2}
    if model == "SSR":
        settings["band_filter"] = "chebyshev"
    plain, graphed = (train(settings, model, run_dir=name, cuda_graph=name == "graphed")
                      for name in ("plain", "graphed"))
    for a, b in zip(losses_of(plain), losses_of(graphed), strict=True):
        assert b == pytest.approx(a, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("model, changes, why", [
    ("LightGCN", {}, "LightGCN is RecBole's own"), ("BM3", {}, "BM3 draws while it computes"),
    ("SSR", {"consistency": "distributions"}, "distinct users of a batch"),
    ("LATTICE", {"rebuild": "step"}, "rebuild step"), ("GFCF", {}, "without training steps"),
])
def test_a_model_whose_steps_have_no_one_shape_is_refused(tiny, model, changes, why):
    with pytest.raises(UserError, match=f"cuda_graph is True, but .*{why}.*; set it to False"):
        train(tiny | changes, model, cuda_graph=True, run_dir="refused")
    assert not Path("refused").exists()


# Resuming


class Stop:
    """Interrupts a run at the start of an epoch's training step, as Ctrl-C would."""

    def __init__(self, monkeypatch, epoch, step=1):
        self.original = RunMixin._train_epoch
        self.at = epoch, step
        monkeypatch.setattr(RunMixin, "_train_epoch", lambda *a, **k: self.epoch(*a, **k))

    def epoch(self, trainer, data, epoch, *args, **kwargs):
        if epoch != self.at[0]:
            return self.original(trainer, data, epoch, *args, **kwargs)
        calculate, steps = trainer.model.calculate_loss, iter(range(10**6))

        def interrupted(batch):
            if next(steps) == self.at[1]:
                raise KeyboardInterrupt
            return calculate(batch)

        return self.original(trainer, data, epoch, interrupted, **kwargs)


@pytest.mark.parametrize("model, epoch", [("SSR", 0), ("SSR", 2), ("LightGCN", 3)])
def test_an_interrupted_run_continues_to_the_same_metrics(tiny, monkeypatch, model, epoch):
    whole = train(tiny, model)
    with monkeypatch.context() as patch:
        Stop(patch, epoch)
        with pytest.raises(KeyboardInterrupt):
            train(tiny, model, run_dir="broken")
    (folder,) = Path("broken").iterdir()
    assert not (folder / "metrics.json").exists()
    torch.rand(17)  # the resuming process has drawn other numbers
    resumed = recbole_ssr.run(flags={"resume": str(folder)})
    assert measured(resumed) == measured(whole)
    assert same(parameters(resumed.run), parameters(whole.run))
    assert Path(resumed.run) == folder and list(Path("broken").iterdir()) == [folder]


def test_early_stopping_continues_where_it_was(tiny, monkeypatch):
    settings = tiny | {"epochs": 60, "stopping_step": 2, "learning_rate": 0.05}
    whole = train(settings, "BPR")
    assert whole.best_epoch + 1 < whole.epochs < 60
    with monkeypatch.context() as patch:
        Stop(patch, whole.epochs - 1)
        with pytest.raises(KeyboardInterrupt):
            train(settings, "BPR", run_dir="broken")
    (folder,) = Path("broken").iterdir()
    assert measured(recbole_ssr.run(flags={"resume": str(folder)})) == measured(whole)


def test_a_finished_run_may_be_given_more_epochs(tiny):
    whole = train(tiny, epochs=5)
    short = train(tiny, epochs=3)
    longer = recbole_ssr.run(flags={"resume": short.run, "epochs": 5})
    assert measured(longer) == measured(whole)
    assert longer.seconds > short.seconds
    again = recbole_ssr.run(flags={"resume": short.run, "epochs": 5})
    assert measured(again) == measured(whole)


@pytest.mark.parametrize("model", ["BPR", "GFCF"])
def test_a_finished_run_that_is_measured_again_keeps_what_it_cost(tiny, model):
    run = train(tiny, model, epochs=1).run
    finished = replace(RunResult.read(run), seconds=777.0, peak_mib=8e6)
    finished.write()
    assert recbole_ssr.run(flags={"resume": run}) == finished == RunResult.read(run)
    Path(run, "metrics.json").write_text("{")
    assert recbole_ssr.run(flags={"resume": run}).seconds < 777
    finished.write()
    Path(run, "last.pth").unlink()  # so that it is trained anew
    again = recbole_ssr.run(model, "tiny", config_dict={**tiny, "epochs": 1}, folder=run)
    assert again.seconds < 777


def test_a_finished_run_that_is_ended_in_further_epochs_is_unfinished(tiny, monkeypatch):
    whole, short = train(tiny, "BPR", epochs=6), train(tiny, "BPR", epochs=2)
    with monkeypatch.context() as patch:
        Stop(patch, 2)
        with pytest.raises(KeyboardInterrupt):
            recbole_ssr.run(flags={"resume": short.run, "epochs": 6})
    assert {run.path.name: run.state for run in runs_in("runs")} == {
        Path(whole.run).name: "finished", Path(short.run).name: "unfinished"}
    assert measured(recbole_ssr.run(flags={"resume": True})) == measured(whole)
    with pytest.raises(UserError, match="epochs=3, but .* has trained 6"):
        recbole_ssr.run(flags={"resume": short.run, "epochs": 3})


def test_a_file_does_not_say_which_run_goes_on(tiny):
    folder = train(tiny, "BPR", epochs=1).run
    settings = yaml.safe_load(Path(folder, "config.yaml").read_text())
    assert "resume" not in settings
    Path("on.yaml").write_text(f"resume: {folder}\n")
    with pytest.raises(UserError, match=f"on.yaml.*give --resume={folder}"):
        recbole_ssr.run(config_files=["on.yaml"], dataset="tiny", config_dict=tiny)


def test_a_folder_of_another_finished_run_is_not_written_over(tiny):
    recbole_ssr.run("BPR", "tiny", config_dict=tiny | {"epochs": 1}, folder="mine")
    before = Path("mine", "metrics.json").read_text()
    Path("mine", "last.pth").unlink()
    with pytest.raises(UserError, match="mine holds a run of other settings"):
        recbole_ssr.run("GFCF", "tiny", config_dict=tiny, folder="mine")
    assert Path("mine", "metrics.json").read_text() == before


def test_a_calibrated_run_without_a_test_part_has_a_table(tiny):
    settings = tiny | {"split_column": None, "eval_args": {"split": {"LS": "valid_only"}},
                       "calibration_prior": 1.0}
    result = train(settings, epochs=2)
    assert result.test == {} and "test" not in result.calibration.get("uncalibrated", {})
    kept = replace(result, calibration={"kept": True, "uncalibrated": {
        "valid": result.valid, "test": {}}})  # as earlier versions left it
    assert "valid" in calibration_line(kept) and "test" not in calibration_line(kept)


def test_a_resumed_run_keeps_its_settings(tiny):
    run = train(tiny, epochs=1).run
    for flags in ({"learning_rate": 0.5}, {"model": "LightGCN"}, {"n_bands": 2, "epochs": 3}):
        with pytest.raises(UserError, match="cannot change"):
            recbole_ssr.run(flags={"resume": run, **flags})
    with pytest.raises(UserError, match="cannot change"):
        recbole_ssr.run(dataset="tiny", flags={"resume": run})


def test_a_run_shorter_than_an_eval_step_is_not_made_longer(tiny):
    """Its last epoch was evaluated, which a longer one would pass over."""
    run = train(tiny, epochs=2, eval_step=3).run
    with pytest.raises(UserError, match="epochs=7 with eval_step=3 would evaluate at other epochs"):
        recbole_ssr.run(flags={"resume": run, "epochs": 7})
    assert RunResult.read(run).epochs == 2


def test_settings_that_were_edited_are_noticed(tiny):
    run = Path(train(tiny, epochs=1).run)
    file = run / "config.yaml"
    whole = file.read_text()
    file.write_text(whole.replace("mask_rate: ", "mask_rate: 0.9 #")
                    .replace("\nlearning_rate: ", "\nlearning_rate: 0.3 #"))
    with pytest.raises(UserError, match="trained with learning_rate=.*, mask_rate=.*says "
                                        "learning_rate=0.3, mask_rate=0.9 now"):
        recbole_ssr.run(flags={"resume": str(run), "epochs": 2})
    assert RunResult.read(run).epochs == 1
    file.write_text(whole.replace("show_progress: ", "show_progress: true #"))
    assert recbole_ssr.run(flags={"resume": str(run), "epochs": 2}).epochs == 2


def test_what_cannot_be_resumed_is_named(tiny):
    run = Path(train(tiny, epochs=1).run)
    with pytest.raises(UserError, match=f"Runs there: {run.name}"):
        recbole_ssr.run(flags={"resume": str(run) + "x"})
    (run / "last.pth").write_bytes((run / "last.pth").read_bytes()[:1000])
    with pytest.raises(UserError, match="damaged"):
        recbole_ssr.run(flags={"resume": str(run), "epochs": 2})
    assert RunResult.read(run).epochs == 1
    (run / "last.pth").unlink()
    with pytest.raises(UserError, match="has a best.pth, but no last.pth"):
        recbole_ssr.run(flags={"resume": str(run), "epochs": 2})


@pytest.fixture
def bpr(tiny):
    """The folder of a finished run of two epochs."""
    return Path(train(tiny, "BPR", epochs=2).run)


def rot(path, places=200):
    """Change some bytes in the middle of a file."""
    content = bytearray(path.read_bytes())
    start = len(content) // 2 - places
    for place in range(start, start + places):
        content[place] ^= 0xFF
    path.write_bytes(bytes(content))


def test_rot_in_checkpoints_is_found(bpr):
    rot(bpr / "best.pth")
    with pytest.raises(UserError, match="best.pth is damaged .*digest"):
        load_run(bpr)
    rot(bpr / "last.pth")
    with pytest.raises(UserError, match="last.pth is damaged .*digest"):
        recbole_ssr.run(flags={"resume": str(bpr), "epochs": 3})


def rewritten(path, **changes):
    state = checkpoint.load(path) | changes
    checkpoint.save({k: v for k, v in state.items() if v is not None}, path)


def test_weights_that_are_no_numbers_are_not_loaded(bpr):
    weights = checkpoint.load(bpr / "best.pth")["state_dict"]
    weights["user_embedding.weight"][5, 2] = torch.nan
    rewritten(bpr / "best.pth", state_dict=weights)
    with pytest.raises(UserError, match="best.pth holds values in user_embedding.weight"):
        load_run(bpr)


def test_files_of_several_runs_in_one_folder_are_refused(tiny, bpr):
    other = Path(train(tiny, "BPR", epochs=1, embedding_size=16).run)
    ssr = Path(train(tiny, epochs=1).run)
    whole = {name: (bpr / name).read_bytes() for name in ("config.yaml", "best.pth")}
    for name, source, words in (
        ("best.pth", other, r"user_embedding.weight has shape .41, 16. instead of .41, 8"),
        ("best.pth", ssr, "of the model SSR, .* name BPR"),
        ("config.yaml", other, r"has shape .41, 8. instead of .41, 16"),
        ("config.yaml", ssr, "of the model BPR, .* name SSR"),
    ):
        (bpr / name).write_bytes((source / name).read_bytes())
        with pytest.raises(UserError, match=words):
            load_run(bpr)
        (bpr / name).write_bytes(whole[name])
    (bpr / "config.yaml").write_text("")
    with pytest.raises(UserError, match="config.yaml names no model and no dataset"):
        load_run(bpr)


def test_a_checkpoint_that_lacks_what_resuming_needs(bpr):
    rewritten(bpr / "last.pth", random_state=None)
    with pytest.raises(UserError, match="last.pth lacks 'random_state'.*start a new run"):
        recbole_ssr.run(flags={"resume": str(bpr), "epochs": 3})
    rewritten(bpr / "last.pth", random_state={"torch": 1})
    with pytest.raises(UserError, match="random_state in last.pth is not one of this version"):
        recbole_ssr.run(flags={"resume": str(bpr), "epochs": 3})
    checkpoint.save({}, bpr / "best.pth")
    with pytest.raises(UserError, match="best.pth lacks 'state_dict' .it has nothing"):
        load_run(bpr)


def test_data_of_the_same_size_are_not_taken_for_those_of_the_run(tiny, bpr):
    file = Path(tiny["data_path"]) / "tiny/tiny.inter"
    head, first, *lines = file.read_text().splitlines()
    file.write_text("\n".join([head, *lines, first]) + "\n")  # users get other ids
    with pytest.raises(UserError, match="other users or items than those of tiny now"):
        load_run(bpr)
    with pytest.raises(UserError, match="other users or items than those of tiny now"):
        recbole_ssr.run(flags={"resume": str(bpr), "epochs": 3})


def test_a_run_goes_with_its_data_into_other_folders(tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = Path(train(tiny | {"data_path": "data"}, "BPR", epochs=1).run).resolve()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert load_run(run).model is not None
    assert recbole_ssr.run(flags={"resume": str(run), "epochs": 2}).epochs == 2
    (tmp_path / "data").rename(tmp_path / "moved")
    with pytest.raises(UserError, match="Set data_path"):
        load_run(run)
    assert load_run(run, data_path="../moved").model is not None
    resumed = recbole_ssr.run(flags={"resume": str(run), "epochs": 3, "data_path": "../moved"})
    assert resumed.epochs == 3
    kept = yaml.safe_load((run / "config.yaml").read_text())["data_path"]
    assert kept == str((tmp_path / "moved").resolve())


def test_a_run_that_ended_before_its_first_checkpoint_starts_from_its_settings(tiny, monkeypatch):
    whole = train(tiny, "BPR", epochs=2)

    def killed(*_):
        raise SystemExit  # as good as a kill: nothing of ours handles it

    def drafts(folder):
        return [path.name for path in folder.iterdir() if path.name.startswith(".")]

    with monkeypatch.context() as patch:
        patch.setattr("recbole_ssr.quick_start.prepare", killed)
        patch.setattr("recbole_ssr.runs.shutil.rmtree", lambda *_, **__: None)
        with pytest.raises(SystemExit):
            train(tiny, "BPR", epochs=2, run_dir="killed")
    (folder,) = Path("killed").iterdir()
    assert {path.name for path in folder.iterdir()} == {"run.log", "config.yaml"}
    for name in (".last.pth.0123.tmp", ".best.pth.0123.tmp", ".4242.metrics.json"):
        (folder / name).write_text("half")
    resumed = recbole_ssr.run(flags={"resume": str(folder)})
    assert measured(resumed) == measured(whole) and Path(resumed.run) == folder
    assert {path.name for path in folder.iterdir()} == FILES
    evaluated = [yaml.safe_load((Path(r.run) / "config.yaml").read_text()).get("eval_batch_size")
                 for r in (whole, resumed)]
    assert evaluated == [None, None] and not drafts(folder)


def test_a_run_of_other_data_is_not_resumed(tiny):
    run = train(tiny, epochs=1).run
    file = Path(tiny["data_path"]) / "tiny/tiny.inter"
    file.write_text(file.read_text() + "newcomer\ti0\t0\nnewcomer\ti1\t1\n")
    with pytest.raises(UserError, match="Did the data"):
        recbole_ssr.run(flags={"resume": run, "epochs": 2})


KILLED = """
import sys, yaml
import recbole_ssr
recbole_ssr.run(model="SSR", dataset="tiny", config_dict=yaml.safe_load(sys.argv.pop()))
"""


@pytest.mark.slow
def test_a_killed_run_continues_to_the_same_metrics(tiny):
    settings = tiny | {"epochs": 30, "stopping_step": 100}
    whole = train(settings)
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, yaml.safe_dump(settings | {"run_dir": "killed"})],
        env=os.environ | {"PYTHONPATH": str(ROOT)}, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 240
    # Not before the sixth epoch has been written, so that there is something to continue.
    while time.monotonic() < deadline and process.poll() is None:
        log = next(iter(Path().glob("killed/*/run.log")), None)
        if log is not None and "epoch 5:" in log.read_text():
            break
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    _, errors = process.communicate()
    assert process.returncode == -signal.SIGKILL, errors
    (folder,) = Path("killed").iterdir()
    resumed = recbole_ssr.run(flags={"resume": str(folder)})
    assert measured(resumed) == measured(whole)
    assert not list(folder.glob(".*.tmp")) or resumed.epochs == 30


# Mistakes and failures


def test_a_full_disk_leaves_the_good_checkpoint(tiny, monkeypatch):
    real, saves = torch.save, []

    def full(state, file):
        saves.append(file)
        if len(saves) > 4:  # the first epoch's checkpoints are written, the second's fail
            file.write(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")
        real(state, file)

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", full)
        with pytest.raises(UserError, match="disk full"):
            train(tiny)
    (folder,) = Path("runs").iterdir()
    assert not list(folder.glob(".*"))
    assert checkpoint.load(folder / "best.pth")["epoch"] >= 0
    resumed = recbole_ssr.run(flags={"resume": str(folder)})
    assert resumed.epochs == 4


def test_a_run_folder_that_cannot_be_made(tiny):
    Path("taken").write_text("a file")
    with pytest.raises(UserError, match="run_dir"):
        train(tiny, run_dir="taken")
    if os.geteuid() != 0:
        Path("locked").mkdir(mode=0o500)
        with pytest.raises(UserError, match="cannot create the run folder"):
            train(tiny, run_dir="locked")


def test_a_read_only_file_system_is_named(tiny, monkeypatch):
    def refuse(self, *_, **__):
        raise OSError(errno.EROFS, "Read-only file system", str(self))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(UserError, match="Read-only file system.*--run_dir"):
        train(tiny)


@pytest.mark.parametrize("damage", ["inter", "features"])
def test_broken_data_leave_no_run_folder(tiny, damage):
    folder = Path(tiny["data_path"]) / "tiny"
    if damage == "inter":
        (folder / "tiny.inter").write_text("user_id:token\titem_id:token\n")
    else:
        (folder / "features/text.tokens").write_text("i0\ni0\n")
    with pytest.raises(UserError):
        train(tiny)
    assert not list(Path().glob("runs/*"))


@pytest.mark.parametrize(("changes", "told"), [
    ({}, "validation shares 1 of its 40 and test shares 2 of its 41 pairs of user and item with "
         "training, which a model may know by heart: keep each pair in one part, or see "
         "recbole-ssr data tiny"),
    ({"split_column": None}, "pairs of user and item with training, which a model may know by "
                             "heart: give --rm_dup_inter=first, or see recbole-ssr data tiny"),
    ({"split_column": None, "rm_dup_inter": "first"}, None),
    ({"repeatable": True}, None),
])
def test_held_out_pairs_that_lie_in_training_are_told(tiny, changes, told):
    file = Path(tiny["data_path"], "tiny", "tiny.inter")
    rows = [line.rsplit("\t", 1) for line in file.read_text().splitlines()[1:]]
    pairs = {part: [pair for pair, of in rows if of == part] for part in "012"}
    again = [(pairs["1"][0], 0), (pairs["2"][0], 0), (pairs["2"][0], 0), (pairs["0"][0], 2)]
    again += [(pair, 0) for pair in pairs["0"]] * ("split_column" in changes)
    with file.open("a") as end:
        end.writelines(f"{pair}\t{part}\n" for pair, part in again)
    log = Path(train(tiny, "BPR", epochs=1, **changes).run, "run.log").read_text()
    assert told in log if told else "by heart" not in log


def test_a_loss_that_diverges_is_explained(tiny, monkeypatch):
    from recbole_ssr.model.ssr import SSR

    original = SSR.calculate_loss

    def diverge(self, batch):
        losses = original(self, batch)
        return losses._replace(ranking=losses.ranking * float("nan"))

    monkeypatch.setattr(SSR, "calculate_loss", diverge)
    words = r"loss became nan .ranking nan. in epoch 0; lower learning_rate .*clip_grad_norm$"
    with pytest.raises(UserError, match=words):
        train(tiny)


def test_a_divergence_names_the_checkpoints_that_there_are(tiny, monkeypatch):
    original = RunMixin._train_epoch

    def diverge(self, data, epoch, *args, **kwargs):
        losses = original(self, data, epoch, *args, **kwargs)
        if epoch == 1:  # in the last step, which no loss follows
            with torch.no_grad():
                self.model.item_embedding.weight[3, 1] = torch.inf
        return losses

    monkeypatch.setattr(RunMixin, "_train_epoch", diverge)
    words = "item_embedding.weight holds .* in epoch 1; .*before are in best.pth and last.pth"
    with pytest.raises(UserError, match=words):
        train(tiny, "BPR")
    (folder,) = Path("runs").iterdir()
    assert checkpoint.load(folder / "last.pth")["epoch"] == 0
    with pytest.raises(UserError, match="before are in last.pth$"):  # none was validated
        train(tiny, "BPR", eval_step=2, run_dir="other")


def test_results_are_read_back_or_refused(tiny, tmp_path):
    run = Path(train(tiny, epochs=1).run)
    with pytest.raises(UserError, match="does not exist"):
        RunResult.read(tmp_path)
    content = json.loads((run / "metrics.json").read_text())
    del content["protocol"]
    (run / "metrics.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match="protocol"):
        RunResult.read(run)
    (run / "metrics.json").unlink()
    (run / "metrics.json").mkdir()
    with pytest.raises(UserError, match="cannot be read"):
        RunResult.read(run)


@pytest.mark.parametrize("given, message", [
    ({"config_files": ["a.yaml", None]}, "config_files=.*must be a list of files"),
    ({"config_dict": "my.yaml"}, "config_dict='my.yaml' must hold settings by key"),
    ({"flags": ["--epochs=1"]}, "flags=.*must hold settings by key"),
    ({"folder": ""}, "folder='' must name the folder"), ({"folder": 5}, "folder=5 must name"),
    ({"callback": 5}, "callback=5 must be a function"),
    ({"config_files": "nowhere.yaml"}, "nowhere.yaml"),
])
def test_arguments_of_another_kind_are_named(given, message):
    with pytest.raises(UserError, match=message):
        recbole_ssr.run("BPR", "tiny", **given)


def test_a_stage_that_there_is_not_is_refused(tiny):
    run = train(tiny, "BPR", epochs=1).run
    with pytest.raises(UserError, match="stage='train' must be inference or training. Did you"):
        load_run(run, stage="train")
