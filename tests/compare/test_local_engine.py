"""Runs in processes of their own: they end, fail, are stopped and go on one by one."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest
from compared import measured, settings_of, tasks_of, until

from recbole_ssr.compare import local, worker
from recbole_ssr.compare.engine import FixedSource, Outcome
from recbole_ssr.compare.local import LocalEngine
from recbole_ssr.compare.store import (
    Task,
    failure_of,
    progress_of,
    read_task,
    state_of,
    write_failure,
    write_task,
)
from recbole_ssr.errors import UserError

# A worker that imports nothing, and does what its task's settings say.
STUB = """
import json, os, sys, time
folder = sys.argv[1]
task = json.load(open(folder + "/task.json"))
do = task["settings"]

def leave(name, content):
    with open(folder + "/." + name, "w") as file:
        json.dump(content, file)
    os.replace(folder + "/." + name, folder + "/" + name)

leave("began.json", {"at": time.time(), "pid": os.getpid(), "omp": os.environ["OMP_NUM_THREADS"],
                     "wait": os.environ["OMP_WAIT_POLICY"], "parent": sys.argv[2]})
print("hello from", task["label"])
for epoch in range(do.get("epochs", 0)):
    valid = [0.1 * (n + 1) for n in range(epoch + 1)]
    leave("progress.json", {"state": "training", "epoch": epoch + 1, "epochs": 9, "valid": valid,
                            "seconds": [0.01] * (epoch + 1)})
    time.sleep(do.get("pause", 0))
if do.get("hang"):
    time.sleep(300)
if "signal" in do:
    os.kill(os.getpid(), do["signal"])
if "status" in do:
    print("nothing to be done")
    sys.exit(do["status"])
if do.get("result", True):
    leave("metrics.json", {})
leave("ended.json", {"at": time.time()})
"""


@pytest.fixture
def stub(tmp_path, monkeypatch):
    script = tmp_path / "stub.py"
    script.write_text(STUB)
    monkeypatch.setattr(local, "COMMAND", (sys.executable, "-S", str(script)))
    monkeypatch.setattr(local, "_LOOK_SECONDS", 0.01)

    def task(name, **settings):
        return Task(name, name, 1, settings, tmp_path / "runs" / name)

    return task


def content(task, name):
    return json.loads((task.folder / name).read_text())


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # A killed process stays until its parent has asked for it.
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] != "Z"


def run(source, jobs=1, watch=lambda _: None, **options):
    LocalEngine(**options).run(source, jobs, watch)


# The engine


def test_tasks_are_run_as_many_at_a_time_as_there_are_jobs(stub):
    tasks = [stub(f"t{n}", epochs=2, pause=0.1) for n in range(5)]
    source, seen = FixedSource(tasks), []
    run(source, 2, lambda running: seen.append(running))
    assert source.outcomes == {str(task.folder): Outcome() for task in tasks}
    times = [(content(task, "began.json")["at"], content(task, "ended.json")["at"])
             for task in tasks]
    together = [sum(begin < other and at < end for other, end in times) for begin, at in times]
    assert max(len(running) for running in seen) == 2
    spans = sorted(times)
    assert spans[1][0] < spans[0][1] and len(together) == 5  # the first two overlap
    assert all(sum(a <= moment < b for a, b in times) <= 2 for moment, _ in times)
    assert seen[-1] == []  # the last thing shown is that nothing runs
    states = {(task.label, progress.epoch) for running in seen for task, progress in running}
    assert {("t0", 2), ("t4", 2)} <= states
    assert "hello from t3" in (tasks[3].folder / "worker.log").read_text()
    assert [read_task(task.folder) for task in tasks] == tasks


def test_cores_are_shared_among_jobs(stub, monkeypatch):
    monkeypatch.setattr(local, "usable_cores", lambda: 7)
    for jobs, options, expected in ((1, {}, "7"), (3, {}, "2"), (9, {}, "1"),
                                    (3, {"threads": 5}, "5")):
        task = stub(f"t{jobs}{expected}")
        run(FixedSource([task]), jobs, **options)
        began = content(task, "began.json")
        assert (began["omp"], began["wait"]) == (expected, "passive")
        assert began["parent"] == str(os.getpid())


def test_a_limit_of_threads_is_kept(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert local.usable_cores() == len(os.sched_getaffinity(0))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert local.usable_cores() == 1
    monkeypatch.setenv("OMP_NUM_THREADS", "1000")
    assert local.usable_cores() == len(os.sched_getaffinity(0))


def test_one_failure_leaves_the_others_complete(stub):
    tasks = [stub("killed", signal=9, epochs=2), stub("crashed", signal=11),
             stub("status", status=3), stub("nothing", result=False),
             stub("good", epochs=1), stub("busy", status=worker.BUSY)]
    source = FixedSource(tasks)
    run(source, 2)
    errors = {Path(folder).name: outcome.error for folder, outcome in source.outcomes.items()}
    assert "SIGKILL" in errors["killed"] and "memory" in errors["killed"]
    assert "SIGSEGV" in errors["crashed"]
    assert errors["status"] == "nothing to be done"
    assert errors["nothing"] == "the process ended without a result"
    assert errors["good"] is None
    assert [state_of(task) for task in tasks] == ["failed"] * 4 + ["done", "missing"]
    assert errors["busy"] == "nothing to be done"  # what it says, and no failure of the run
    for task in tasks[:4]:
        assert failure_of(task).reason == errors[task.label]
    assert "hello from killed" in content(tasks[0], "error.json")["traceback"]


def test_an_old_failure_is_not_taken_for_a_new_one(stub):
    task = stub("again", signal=9)
    write_task(task)
    write_failure(task.folder, "the reason of last time", "")
    source = FixedSource([task])
    run(source)
    assert "SIGKILL" in source.outcomes[str(task.folder)].error


def test_what_is_complete_is_not_started(stub):
    task = stub("there")
    write_task(task)
    (task.folder / "metrics.json").write_text("{}")
    source = FixedSource([task])
    run(source)
    assert source.outcomes == {str(task.folder): Outcome()}
    assert not (task.folder / "began.json").exists()


class Pruning(FixedSource):
    """Stops a run at an evaluation, and keeps all that it hears."""

    def __init__(self, tasks, at):
        super().__init__(tasks)
        self.at, self.heard = at, []

    def progressed(self, task, valid):  # noqa: ARG002
        self.heard.append(valid)
        return len(valid) < self.at


def test_a_run_is_pruned_at_an_evaluation_however_late_that_is_seen(stub):
    slow, quick = stub("slow", epochs=3, hang=True), stub("quick", epochs=9)
    source = Pruning([slow, quick], at=3)
    started = time.monotonic()
    run(source, 1)
    assert time.monotonic() - started < 60
    assert set(source.outcomes.values()) == {Outcome(stopped=True)}
    # Every evaluation was told, one by one, the earlier ones with it.
    assert [len(valid) for valid in source.heard] == [1, 2, 3] * 2
    assert source.heard[2] == pytest.approx([0.1, 0.2, 0.3])
    assert not is_alive(content(slow, "began.json")["pid"])
    assert state_of(slow) == "missing"  # to be pruned is no failure


def test_evaluations_that_were_never_seen_while_running_are_told(stub):
    source = Pruning([stub("quick", epochs=9)], at=100)
    run(source, 1)
    assert [len(valid) for valid in source.heard] == list(range(1, 10))
    assert list(source.outcomes.values()) == [Outcome()]


class Chain(FixedSource):
    """Has its second task only once the first has ended."""

    def __init__(self, first, second):
        super().__init__([first])
        self.second = second

    def finished(self, task, outcome):
        super().finished(task, outcome)
        if task is not self.second:
            self._waiting.append(self.second)


def test_a_source_may_have_more_once_a_run_has_ended(stub):
    source = Chain(stub("first"), stub("second"))
    run(source, 2)
    assert len(source.outcomes) == 2


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_an_interruption_ends_all_processes(stub, error):
    tasks = [stub(f"t{n}", epochs=1, hang=True) for n in range(3)]
    source = FixedSource(tasks)

    def watch(running):
        if [progress.epoch for _, progress in running] == [1, 1]:
            raise error

    with pytest.raises(error):
        run(source, 2, watch)
    assert source.outcomes == {}
    for task in tasks[:2]:
        assert not is_alive(content(task, "began.json")["pid"])
    assert [state_of(task) for task in tasks] == ["missing"] * 3


def test_jobs_must_be_positive(stub):
    with pytest.raises(UserError, match="jobs=0"):
        run(FixedSource([stub("t")]), 0)


# Real workers

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


def test_a_killed_comparison_takes_its_workers_along_and_goes_on_exactly(tmp_path):
    # Long enough to be killed in the middle; nothing stops early.
    settings = settings_of(tmp_path, epochs=40, stopping_step=100)
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
    for epoch in (4, 40):
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
    run(source)
    thread.join()
    assert "SIGKILL" in source.outcomes[str(task.folder)].error
    again = FixedSource([task])
    run(again)
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
