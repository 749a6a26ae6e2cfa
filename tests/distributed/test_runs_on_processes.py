"""Runs on two processes: those of one, with one folder, and nothing left when one is killed."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from tiny import SETTINGS, write_tiny
from waiting import is_alive, until

import recbole_ssr
from recbole_ssr.config import build_config
from recbole_ssr.distributed.place import Place
from recbole_ssr.errors import UserError
from recbole_ssr.evaluation.rankings import read_rankings
from recbole_ssr.processes import check_processes, take_place
from recbole_ssr.result import RunResult
from recbole_ssr.train import checkpoint

ROOT = Path(recbole_ssr.__file__).resolve().parents[1]
FILES = {"config.yaml", "metrics.json", "ranking.npz", "run.log", "curve.png", "best.pth",
         "last.pth", "tensorboard"}
# Small enough for the exact bands; unequal shares, and a last batch of few.
TINY = SETTINGS | {"device": "cpu", "train_batch_size": 130, "clip_grad_norm": {"max_norm": 0.5}}


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    settings = TINY | write_tiny(tmp_path / "data")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return settings


def train(settings, model="SSR", **changes):
    return recbole_ssr.run(model, "tiny", config_dict=settings | changes)


def losses(result):
    return np.array([list(record["loss"].values()) for record in result.history])


def assert_equal_runs(several, one):
    """The same trajectory within rounding, and the same metrics and rankings."""
    np.testing.assert_allclose(losses(several), losses(one), rtol=1e-4, atol=1e-6)
    assert [r["valid"] for r in several.history] == [r["valid"] for r in one.history]
    assert (several.valid, several.test) == (one.valid, one.test)
    assert several.best_epoch == one.best_epoch and several.config_hash == one.config_hash
    ours, theirs = (read_rankings(Path(run.run) / "ranking.npz")[0] for run in (several, one))
    for part in ("valid", "test"):
        for a, b in zip(ours[part], theirs[part]):
            np.testing.assert_array_equal(a, b)
    states = [checkpoint.load(Path(run.run) / "best.pth")["state_dict"] for run in (several, one)]
    for name, value in states[1].items():
        if isinstance(value, torch.Tensor) and value.is_floating_point():
            torch.testing.assert_close(states[0][name], value, rtol=1e-3, atol=1e-5)


def test_two_processes_train_and_measure_as_one_and_leave_one_folder(tiny, capfd):
    several, one = train(tiny, nproc=2), train(tiny)
    assert_equal_runs(several, one)
    folders = {Path(several.run), Path(one.run)}
    assert set(Path("runs").iterdir()) == folders
    assert {file.name for file in Path(several.run).iterdir()} == FILES
    told = capfd.readouterr().err
    assert told.count("parameters, device cpu") == 2  # once for each run
    assert (Path(several.run) / "run.log").read_text().count("run folder") == 1
    assert yaml.safe_load((Path(several.run) / "config.yaml").read_text())["nproc"] == 2


def command(settings):
    file = Path("settings.yaml")
    file.write_text(yaml.safe_dump(settings | {"model": "SSR", "dataset": "tiny"}))
    return subprocess.Popen(
        [sys.executable, str(ROOT / "run_recbole_ssr.py"), "--config_files", str(file)], text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # A shell that starts the tests in the background has them ignore what Ctrl-C sends.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler))


def children(pid):
    """Return the process ids of the processes that a process has started."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def begun(settings):
    """Start a long run of two processes; return it, its processes and its folder after an epoch."""
    run = command(settings | {"nproc": 2, "epochs": 1000, "stopping_step": 1000})
    until(lambda: any(epochs_of(folder) > 1 for folder in Path("runs").glob("*")), 120)
    (folder,) = Path("runs").iterdir()
    return run, children(run.pid), folder


def epochs_of(folder):
    file = folder / "last.pth"
    return checkpoint.load(file)["epoch"] + 1 if file.is_file() else 0


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc for the processes of a run")
@pytest.mark.parametrize("rank", [0, 1])
def test_a_killed_process_ends_the_run_which_any_number_of_processes_goes_on_with(tiny, rank):
    run, workers, folder = begun(tiny)
    os.kill(workers[rank], signal.SIGKILL)
    out, err = run.communicate(timeout=60)
    assert run.returncode == 2
    (line,) = (line for line in err.splitlines() if line.startswith("error:"))
    assert f"process {rank} of 2 was ended by SIGKILL" in line
    assert line.endswith(f"Continue with --resume={folder}") and "Traceback" not in err
    until(lambda: not any(map(is_alive, workers)), 20)
    epochs = epochs_of(folder) + 2
    resumed = [recbole_ssr.run(flags={"resume": copied(folder, n), "nproc": n, "epochs": epochs})
               for n in (1, 2, 3)]
    one = train(tiny, epochs=epochs, stopping_step=1000)
    for several in resumed:
        assert_equal_runs(several, one)


def copied(folder, n):
    return str(shutil.copytree(folder, Path(f"copy-{n}"), dirs_exist_ok=True))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc for the processes of a run")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_process_outlives_the_command(tiny, number):
    run, workers, folder = begun(tiny)
    run.send_signal(number)
    out, err = run.communicate(timeout=60)
    until(lambda: not any(map(is_alive, workers)), 20)
    if number == signal.SIGINT:
        assert run.returncode == 130
        assert err.count(f"interrupted; continue with --resume={folder}") == 1
    assert "Traceback" not in err and epochs_of(folder) > 1


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc for the processes of a run")
def test_a_run_that_is_interrupted_before_it_begins_leaves_nothing(tiny):
    run = command(tiny | {"nproc": 2})
    until(lambda: len(children(run.pid)) == 2 or run.poll() is not None, 60)
    run.send_signal(signal.SIGINT)  # while the two import
    out, err = run.communicate(timeout=60)
    assert run.returncode == 130 and "Traceback" not in err and "--resume" not in err
    assert not list(Path("runs").glob("*"))


@pytest.mark.slow
def test_torchrun_starts_the_processes_of_one_run(tiny):
    file = Path("settings.yaml")
    file.write_text(yaml.safe_dump(tiny | {"model": "FREEDOM", "dataset": "tiny"}))
    words = ["-m", "torch.distributed.run", "--nproc_per_node=2", "--master_port=0",
             "--rdzv_backend=c10d", "--rdzv_endpoint=localhost:0",
             str(ROOT / "run_recbole_ssr.py"), "--config_files", str(file)]
    run = subprocess.run([sys.executable, *words], env=os.environ | {"PYTHONPATH": str(ROOT)},
                         text=True, capture_output=True, timeout=120)
    assert run.returncode == 0, run.stderr
    (folder,) = Path("runs").iterdir()
    assert run.stdout.count("Run folder:") == 1
    assert_equal_runs(RunResult.read(folder), train(tiny, model="FREEDOM"))


@pytest.mark.parametrize("model, changes, told", [
    ("LightGCN", {}, "2 processes cannot share a run of LightGCN: .*FastLightGCN"),
    ("GFCF", {}, "2 processes cannot share a run of GFCF: it is fitted without training"),
    ("SSR", {"cuda_graph": True}, "captured: set cuda_graph to False"),
    ("SSR", {"dataset": "none"}, "There is no dataset 'none'"),
])
def test_what_processes_cannot_share_is_refused_before_any_is_started(tiny, model, changes, told):
    settings = tiny | {"nproc": 2, "dataset": "tiny"} | changes
    with pytest.raises(UserError, match=told):
        recbole_ssr.run(model, config_dict=settings)
    assert not Path("runs").exists()


def test_functions_of_this_process_are_refused(tiny):
    with pytest.raises(UserError, match="leave callback out"):
        recbole_ssr.run("SSR", "tiny", config_dict=tiny | {"nproc": 2}, callback=print)


def test_an_error_that_all_processes_meet_is_told_once_and_leaves_nothing(tiny):
    with pytest.raises(UserError, match="topk=.* asks for the best 99 items"):
        train(tiny, nproc=2, topk=[99], valid_metric="Recall@99")
    assert not list(Path("runs").iterdir())


def test_torchrun_and_nproc_must_agree(tiny, monkeypatch):
    for name, value in {"RANK": 0, "WORLD_SIZE": 3, "LOCAL_RANK": 0, "LOCAL_WORLD_SIZE": 3,
                        "MASTER_ADDR": "localhost", "MASTER_PORT": 1}.items():
        monkeypatch.setenv(name, str(value))
    with pytest.raises(UserError, match="nproc=2 and WORLD_SIZE=3 disagree"):
        train(tiny, nproc=2)


@pytest.mark.parametrize("device, here, told", [
    ("cuda:1", Place(0, 2, 0, 2), "device=cuda:1 is one GPU, and 2 processes need one each"),
    ("cuda:0", Place(0, 8, 0, 4), "4 processes on this machine need a GPU each, and it has 3"),
    ("cuda:0", Place(4, 6, 1, 3), None),
])
def test_every_process_has_a_gpu_of_its_own(tiny, monkeypatch, device, here, told):
    config = build_config("SSR", "tiny", config_dict=tiny)
    config["device"] = torch.device(device)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.setattr(torch.cuda, "set_device", lambda _: None)
    if told:
        with pytest.raises(UserError, match=told):
            check_processes(config, here)
    else:
        check_processes(config, here)
        take_place(config, here)
        assert config["device"] == torch.device("cuda:1") and not config["show_progress"]
