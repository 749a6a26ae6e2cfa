"""Runs on two processes: those of one, with one folder, and nothing left when one is killed."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from tiny import SETTINGS, write_tiny

import recbole_ssr
from recbole_ssr.evaluation.rankings import read_rankings
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


def command(settings, *words, **environment):
    file = Path("settings.yaml")
    file.write_text(yaml.safe_dump(settings | {"model": "SSR", "dataset": "tiny"}))
    return subprocess.Popen(
        [sys.executable, str(ROOT / "run_recbole_ssr.py"), *words], text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE)
