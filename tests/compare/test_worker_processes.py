"""Real processes of runs: killed, failing and resumed, they end as an unbroken run does."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest
from compared import measured, settings_of, tasks_of
from waiting import is_alive, until

from recbole_ssr.compare import worker
from recbole_ssr.compare.engine import FixedSource, Outcome
from recbole_ssr.compare.local import LocalEngine
from recbole_ssr.compare.store import failure_of, progress_of, state_of, write_task

PROGRAM = """
import sys
from pathlib import Path
from recbole_ssr.compare.engine import FixedSource
from recbole_ssr.compare.local import LocalEngine
from recbole_ssr.compare.store import read_task
source = FixedSource(read_task(Path(folder)) for folder in sys.argv[2:])
LocalEngine().run(source, int(sys.argv[1]), lambda _: None)
"""


def command(tasks, jobs, *path):
    """Start a comparison of its own of these tasks."""
    for task in tasks:
        write_task(task)
    root = Path(worker.__file__).resolve().parents[2]
    paths = os.pathsep.join([*map(str, path), str(root)])
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(jobs), *(str(task.folder) for task in tasks)],
        env=os.environ | {"PYTHONPATH": paths}, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL)


def unbroken(settings, models, root):
    """Run the same tasks in this process, without an interruption."""
    tasks = tasks_of(settings, root, models)
    for task in tasks:
        write_task(task)
        assert worker.perform(task.folder) == 0
    return [measured(task.folder) for task in tasks]


def kill_at(process, tasks, epoch):
    """Kill a comparison once all of its runs have finished an epoch; wait for its workers."""
    until(lambda: all(progress_of(task).epoch >= epoch for task in tasks))
    pids = [int((task.folder / "lock").read_text().split()[0]) for task in tasks]
    process.kill()
    process.wait()
    until(lambda: not any(map(is_alive, pids)), 20)
    assert not any((task.folder / "metrics.json").exists() for task in tasks)


@pytest.mark.slow
def test_a_killed_comparison_takes_its_workers_along_and_goes_on_exactly(tmp_path):
    # The quicker model has not ended when the slower one has had five epochs; nothing stops early.
    settings = settings_of(tmp_path, epochs=150, stopping_step=200)
    models = ["SSR", "LightGCN"]
    tasks = tasks_of(settings, tmp_path / "runs", models)
    process = command(tasks, 2)
    kill_at(process, tasks, 5)
    assert [state_of(task) for task in tasks] == ["started", "started"]
    for task in tasks:  # the lock of a killed process holds nobody up
        assert (task.folder / "lock").exists()
        assert worker.perform(task.folder) == 0
    assert [measured(task.folder) for task in tasks] == unbroken(settings, models,
                                                                 tmp_path / "whole")


@pytest.mark.slow
def test_a_comparison_that_is_killed_twice_equals_an_unbroken_one(tmp_path):
    settings = settings_of(tmp_path, epochs=150, stopping_step=200)
    models = ["SSR", "FREEDOM"]
    tasks = tasks_of(settings, tmp_path / "runs", models)
    for epoch in (4, 15):
        kill_at(command(tasks, 2), tasks, epoch)
    assert command(tasks, 2).wait() == 0
    assert [state_of(task) for task in tasks] == ["done", "done"]
    assert [measured(task.folder) for task in tasks] == unbroken(settings, models,
                                                                 tmp_path / "whole")


@pytest.mark.slow
def test_a_worker_that_is_killed_is_a_failure_and_then_goes_on(tmp_path):
    settings = settings_of(tmp_path, epochs=150, stopping_step=200)
    (task,) = tasks_of(settings, tmp_path / "runs", ["LightGCN"])
    source = FixedSource([task])

    def killer():
        until(lambda: progress_of(task).epoch >= 3)
        os.kill(int((task.folder / "lock").read_text().split()[0]), signal.SIGKILL)

    thread = threading.Thread(target=killer)
    thread.start()
    LocalEngine().run(source, 1, lambda _: None)
    thread.join()
    assert "SIGKILL" in source.outcomes[str(task.folder)].error
    again = FixedSource([task])
    LocalEngine().run(again, 1, lambda _: None)
    assert again.outcomes == {str(task.folder): Outcome()}
    assert [measured(task.folder)] == unbroken(settings, ["LightGCN"], tmp_path / "whole")


# What the interpreter of every worker does before anything else.
BROKEN = """
import os, signal
import torch
from recbole_ssr.model.fast_lightgcn import FastLightGCN
from recbole_ssr.model.layergcn import LayerGCN
from recbole_ssr.model.vbpr import VBPR

def raises(self, batch):
    raise IndexError("on purpose")

def dies(self, batch):
    os.kill(os.getpid(), signal.SIGKILL)

def eats(self, batch):
    return torch.empty(1 << 60, dtype=torch.uint8)

FastLightGCN.calculate_loss, LayerGCN.calculate_loss, VBPR.calculate_loss = raises, dies, eats
"""


@pytest.mark.slow
def test_models_that_raise_die_or_eat_memory_leave_the_others_complete(tmp_path):
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "sitecustomize.py").write_text(textwrap.dedent(BROKEN))
    settings = settings_of(tmp_path)
    models = ["FastLightGCN", "LayerGCN", "SSR", "VBPR", "LightGCN"]
    tasks = tasks_of(settings, tmp_path / "runs", models)
    assert command(tasks, 2, tmp_path / "broken").wait() == 0
    assert [state_of(task) for task in tasks] == ["failed", "failed", "done", "failed", "done"]
    reasons = [failure_of(task).reason for task in tasks if state_of(task) == "failed"]
    assert reasons[0] == "IndexError: on purpose"
    assert reasons[1].startswith("killed by SIGKILL, as the system does")
    assert reasons[2].startswith("out of memory: ")
    assert [measured(task.folder) for task in tasks if state_of(task) == "done"] == unbroken(
        settings, ["SSR", "LightGCN"], tmp_path / "whole")
