"""Runs in processes of their own: they end, fail, are stopped and go on one by one."""

import json
import os
import signal
import sys
import time
from pathlib import Path

import pytest
from waiting import is_alive

from recbole_ssr.compare import fork_server, forked, local, worker
from recbole_ssr.compare.engine import FixedSource, Outcome
from recbole_ssr.compare.local import LocalEngine
from recbole_ssr.compare.ray_engine import failed
from recbole_ssr.compare.store import (
    Task,
    failure_of,
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
if do.get("early"):
    leave("metrics.json", {})
if "signal" in do:
    os.kill(os.getpid(), do["signal"])
if "status" in do:
    print("nothing to be done")
    sys.exit(do["status"])
if do.get("result", True):
    leave("metrics.json", {})
leave("ended.json", {"at": time.time()})
"""


# A fork server whose runs are such workers, without the imports of real ones.
STUB_SERVER = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("fork_server", {path!r})
server = importlib.util.module_from_spec(spec)
spec.loader.exec_module(server)
server.WORKER, server._LATER = "stub_worker", ()
sys.exit(server.main())
"""
STUB_WORKER = """
import runpy
def main(arguments):
    runpy.run_path({path!r}, run_name="__main__")
    return 0
"""


@pytest.fixture(autouse=True)
def a_server_of_its_own(monkeypatch):
    monkeypatch.setattr(local, "ForkServer", forked.ForkServer)


@pytest.fixture(params=["program", pytest.param("forked", marks=pytest.mark.skipif(
    not forked.can_fork(), reason="processes are not forked here"))])
def stub(request, tmp_path, monkeypatch):
    script = tmp_path / "stub.py"
    script.write_text(STUB)
    (tmp_path / "stub_worker.py").write_text(STUB_WORKER.format(path=str(script)))
    (tmp_path / "stub_server.py").write_text(STUB_SERVER.format(path=fork_server.__file__))
    monkeypatch.setattr(local, "COMMAND", (sys.executable, "-S", str(script)))
    monkeypatch.setattr(forked, "SERVER", "stub_server")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(local, "can_fork", lambda: request.param == "forked")
    monkeypatch.setattr(local, "_LOOK_SECONDS", 0.01)

    def task(name, **settings):
        return Task(name, name, 1, settings, tmp_path / "runs" / name)

    task.way = request.param
    return task


def content(task, name):
    return json.loads((task.folder / name).read_text())


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
        assert (began["parent"] == str(os.getpid())) == (stub.way == "program")


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


def test_what_ends_badly_after_its_result_is_done(stub):
    ends = {"killed": {"signal": 9}, "status": {"status": 3}, "busy": {"status": worker.BUSY}}
    tasks = [stub(name, early=True, **end) for name, end in ends.items()]
    source = FixedSource([*tasks, stub("next")])
    run(source)
    assert set(source.outcomes.values()) == {Outcome()} and len(source.outcomes) == 4
    assert [state_of(task) for task in tasks] == ["done"] * 3
    assert not (tasks[0].folder / "error.json").exists()
    assert failed(tasks[0], OSError("the machine is gone")) == Outcome()  # by Ray, just so


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


# The fork server


def test_a_server_that_cannot_begin_leaves_runs_to_programs(stub, monkeypatch):
    monkeypatch.setattr(forked, "SERVER", "no_such_server")
    tasks = [stub(f"t{n}") for n in range(3)]
    source = FixedSource(tasks)
    run(source, 2)
    assert source.outcomes == {str(task.folder): Outcome() for task in tasks}
    assert {content(task, "began.json")["parent"] for task in tasks} == {str(os.getpid())}


def test_where_an_import_has_begun_cuda_nothing_is_forked(stub, tmp_path):
    with open(tmp_path / "stub_worker.py", "a") as file:
        file.write("import sys, types\n"
                   "cuda = types.SimpleNamespace(is_initialized=lambda: True)\n"
                   "sys.modules['torch'] = types.SimpleNamespace(cuda=cuda)\n")
    task = stub("t")
    run(FixedSource([task]))
    assert content(task, "began.json")["parent"] == str(os.getpid())


def test_a_server_that_is_killed_takes_its_runs_along_and_another_goes_on(stub):
    if stub.way == "program":
        pytest.skip("there is no server")
    lost, good = stub("lost", epochs=1, hang=True), stub("good")
    source = FixedSource([lost, good])

    def watch(running):
        if [(task, progress.epoch) for task, progress in running] == [(lost, 1)]:
            os.kill(int(content(lost, "began.json")["parent"]), signal.SIGKILL)

    run(source, 1, watch)
    assert "SIGKILL" in source.outcomes[str(lost.folder)].error
    assert source.outcomes[str(good.folder)] == Outcome()
    assert content(good, "began.json")["parent"] != content(lost, "began.json")["parent"]
    os.kill(content(lost, "began.json")["pid"], signal.SIGKILL)  # a stub watches no parent


def test_no_server_is_left_behind(stub):
    task = stub("t")
    run(FixedSource([task]))
    assert not is_alive(int(content(task, "began.json")["parent"])) or stub.way == "program"
