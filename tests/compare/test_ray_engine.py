"""The engine on Ray: what it asks and refuses, and that runs are those of the local engine."""

import _thread
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from tiny import SETTINGS, write_tiny

from recbole_ssr.compare import ray_engine, remote
from recbole_ssr.compare.cluster import (
    Request,
    capacity,
    checked_address,
    checked_request,
    reason_of,
)
from recbole_ssr.compare.engine import FixedSource, Outcome
from recbole_ssr.compare.local import LocalEngine
from recbole_ssr.compare.lock import LOCK
from recbole_ssr.compare.ray_engine import RayEngine
from recbole_ssr.compare.store import (
    failure_of,
    is_complete,
    measurement_of,
    read_measurement,
    result_of,
    state_of,
    task_of,
)
from recbole_ssr.cores import variables
from recbole_ssr.errors import UserError
from recbole_ssr.evaluation.rankings import read_rankings

# Ray's processes are the machine's last otherwise, and starve beside other tests.
os.environ.setdefault("RAY_worker_niceness", "0")
# One Ray at a time: several that start at once on few cores take each other for dead.
pytestmark = pytest.mark.xdist_group("ray")
LONG = 100_000  # epochs that no test waits for


# Without Ray


@pytest.mark.parametrize(("request_", "machine", "room"), [
    (Request(1, 0), {"CPU": 4.0}, 4),
    (Request(3, 0), {"CPU": 8.0, "GPU": 1.0}, 2),
    (Request(1, 1), {"CPU": 8.0, "GPU": 2.0}, 2),
    (Request(4, 0.5), {"CPU": 4.0, "GPU": 2.0}, 1),
    (Request(0.1, 0), {"CPU": 0.3}, 3),  # 0.3 / 0.1 is below 3 in floating point
    (Request(1, 0), {"memory": 1e9}, 0),
    (Request(1, 1), {"CPU": 8.0}, 0),
])
def test_what_fits_on_a_machine(request_, machine, room):
    assert request_.fits(machine) == room


def test_a_request_must_fit_on_one_machine():
    machines = [{"CPU": 2.0}, {"CPU": 3.0, "GPU": 1.0}, {"memory": 1.0}]
    assert capacity(Request(1, 0), machines) == 5
    assert capacity(Request(2, 0), machines) == 2
    assert capacity(Request(1, 1), machines) == 1
    with pytest.raises(UserError, match=r"4 CPUs and 0 GPUs.*2 CPUs and 0 GPUs; 3 CPUs and 1 GPU; "
                                        r"0 CPUs and 0 GPUs.*--cpus"):
        capacity(Request(4, 0), machines)
    with pytest.raises(UserError, match="there are: none"):
        capacity(Request(1, 0), [])


@pytest.mark.parametrize(("cpus", "gpus", "words"), [
    (0, 0, "cpus=0 must be above 0"), (-1, 0, "cpus=-1"), (1.5, 0, "cpus=1.5.*whole"),
    (1, -0.5, "gpus=-0.5 must be at least 0"), (1, 1.5, "gpus=1.5.*whole"),
])
def test_amounts_that_ray_refuses(cpus, gpus, words):
    with pytest.raises(UserError, match=words):
        RayEngine(cpus=cpus, gpus=gpus)


def test_amounts_that_ray_takes():
    assert checked_request(0.25, 0.5) == (0.25, 0.5)
    assert RayEngine().request == (1, 0)


@pytest.mark.parametrize("address", ["", "head", "ray://head:10001", "head:port", "head:", ":6379"])
def test_an_address_must_be_host_and_port(address):
    with pytest.raises(UserError, match="must be host:port"):
        RayEngine(address)


@pytest.mark.parametrize("address", [None, "auto", "10.0.0.1:6379", "head.example.org:6379"])
def test_addresses_stay_as_they_are(address):
    assert checked_address(address) == address


@pytest.mark.parametrize(("cpus", "threads"), [(0.5, "1"), (1, "1"), (4, "4")])
def test_threads_are_the_cpus(cpus, threads):
    found = variables(Request(cpus, 1).threads)
    assert {found[f"{name}_NUM_THREADS"] for name in ("OMP", "MKL", "OPENBLAS")} == {threads}
    assert "CUDA_VISIBLE_DEVICES" not in found  # Ray's own on the machine must stay


@pytest.mark.parametrize(("kind", "text", "reason"), [
    ("NodeDiedError", "Task failed due to the node dying.\n\nThe node (IP: 10.0.0.7, node ID: 2) "
                      "crashed", "its machine 10.0.0.7 died or was cut off"),
    ("NodeDiedError", "", "its machine died or was cut off"),
    ("OutOfMemoryError", "Task was killed\nsee the logs", "its machine ran out of memory, and Ray "
                                                          "ended the run"),
    ("WorkerCrashedError", "The worker died", "Ray's process on its machine ended from outside, "
                                              "perhaps for lack of memory"),
    ("RayTaskError", "\x1b[36mray::supervise()\x1b[39m (pid=1)\n  File x\nPermissionError: no\n",
     "PermissionError: no"),
    ("RaySystemError", "", "RaySystemError"),
])
def test_errors_of_ray_in_one_line(kind, text, reason):
    assert reason_of(type(kind, (Exception,), {})(text)) == reason


@pytest.fixture
def job(tmp_path, monkeypatch):
    """Return a function that supervises a program of the given text in place of a run."""
    monkeypatch.setattr(remote, "WORKER", "job")

    def supervise(text, **environment):
        (tmp_path / "job.py").write_text(text)
        code = remote.supervise("the folder", str(tmp_path / "log"), str(tmp_path), environment)
        return code, (tmp_path / "log").read_text()

    return supervise


def test_supervision_passes_on_folder_parent_and_variables(job):
    text = "import os, sys; print(sys.argv[1:], os.getppid(), os.environ['COLOUR']); sys.exit(7)"
    me = os.getpid()
    assert job(text, COLOUR="red") == (7, f"['the folder', '{me}'] {me} red\n")
    code, log = job("raise ValueError('two')")
    assert code == 1 and log.startswith("['the folder'") and log.endswith("ValueError: two\n")


def test_supervision_returns_the_signal_that_ended_a_process(job):
    assert job("import os; os.abort()")[0] == -signal.SIGABRT


def test_a_cancelled_task_ends_its_process(job):
    threading.Timer(1, _thread.interrupt_main).start()  # as Ray cancels a task
    start, before = time.monotonic(), signal.getsignal(signal.SIGINT)
    code, log = job("import os, time; print(os.getpid(), flush=True); time.sleep(60)")
    assert code == -signal.SIGKILL and time.monotonic() - start < 20
    assert not alive(int(log))
    assert signal.getsignal(signal.SIGINT) is before


def test_a_machine_must_see_the_token_the_working_folder_and_the_package(tmp_path, monkeypatch):
    token = tmp_path / "token"
    token.write_text("seven")
    here = str(tmp_path)
    assert remote.cannot_run(str(token), "seven", here) == ""
    assert "comparison's folder" in remote.cannot_run(str(token), "eight", here)
    assert "comparison's folder" in remote.cannot_run(str(tmp_path / "other"), "seven", here)
    assert "/nowhere" in remote.cannot_run(str(token), "seven", "/nowhere")
    monkeypatch.setattr(remote.importlib.util, "find_spec", lambda _: None)
    assert sys.executable in remote.cannot_run(str(token), "seven", here)
    (tmp_path / "recbole_ssr").mkdir()
    (tmp_path / "recbole_ssr/__init__.py").touch()
    assert remote.cannot_run(str(token), "seven", here) == ""


@pytest.mark.parametrize("module", ["ray", "pyarrow"])
def test_ray_that_cannot_be_used_is_an_error_with_the_remedy(tmp_path, module):
    error = "ModuleNotFoundError" if module == "ray" else "ImportError"
    (tmp_path / f"{module}.py").write_text(f"raise {error}('the reason')")
    script = f"""
import sys
from recbole_ssr.compare import ray_engine
from recbole_ssr.compare.engine import FixedSource
from recbole_ssr.errors import UserError
assert "ray" not in sys.modules
sys.path.insert(0, {str(tmp_path)!r})
sys.modules.pop("pyarrow", None)
try:
    ray_engine.RayEngine().run(FixedSource([]), 1, print)
except UserError as error:
    print(error)
"""
    if module == "pyarrow":
        pytest.importorskip("ray", reason="needs Ray: recbole_ssr[cluster]")
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", script], capture_output=True,
                          text=True)
    assert done.returncode == 0, done.stderr
    assert "the reason" in done.stdout and "--engine=local" in done.stdout


# Addresses, with Ray's own check but without a cluster


@pytest.fixture
def ray():
    """Return Ray where it can be used."""
    pytest.importorskip("ray", reason="needs Ray: recbole_ssr[cluster]")
    try:
        return ray_engine.import_ray()
    except UserError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("address", ["127.0.0.1:6", "127.0.0.1:65533", "no-such-host.invalid:6379"])
def test_a_wrong_address_is_an_error_within_seconds(ray, address):
    start = time.monotonic()
    with pytest.raises(UserError, match=rf"address={address}: .*ray start --head"):
        RayEngine(address).run(FixedSource([]), 1, print)
    assert time.monotonic() - start < 10 and not ray.is_initialized()


def test_auto_without_a_cluster(ray, monkeypatch):
    from ray._private import services

    def none(_):
        raise ConnectionError("Could not find any running Ray instance.")

    monkeypatch.setattr(services, "canonicalize_bootstrap_address_or_die", none)
    with pytest.raises(UserError, match="address=auto: Could not find any.*ray start --head"):
        RayEngine("auto").run(FixedSource([]), 1, print)
    assert not ray.is_initialized()


# With Ray


@pytest.fixture(scope="module")
def cluster():
    """Start a cluster of one machine, which tests may add to, and connect to it."""
    pytest.importorskip("ray", reason="needs Ray: recbole_ssr[cluster]")
    try:
        ray = ray_engine.import_ray()
    except UserError as error:
        pytest.skip(str(error))
    from ray.cluster_utils import Cluster

    found = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "num_gpus": 0,
                                                          "include_dashboard": False})
    ray.init(found.address, log_to_driver=False, logging_level="ERROR")
    yield found
    ray.shutdown()
    found.shutdown()


@pytest.fixture
def tiny(tmp_path):
    """Settings of runs on `tiny`."""
    return SETTINGS | write_tiny(tmp_path / "data") | {"dataset": "tiny"}


class Watched(FixedSource):
    """Stops a run at an evaluation, counts evaluations and runs at once, and acts on a run."""

    def __init__(self, tasks, stop_at=None, act=None):
        super().__init__(tasks)
        self.stop_at, self.act, self.heard, self.most, self.acted = stop_at, act, {}, 0, set()

    def progressed(self, task, valid):
        self.heard.setdefault(task.label, []).append(list(valid))
        return len(valid) != (self.stop_at or {}).get(task.label)

    def watch(self, running):
        self.most = max(self.most, len(running))
        for task, progress in running:
            if self.act and task.label == self.act[0] and progress.epoch > 1 \
                    and task.label not in self.acted:
                self.acted.add(task.label)
                self.act[1](task)

    def run(self, jobs=0, engine=None):
        (engine or RayEngine()).run(self, jobs, self.watch)
        # By model and seed, of a folder such as runs/BPR-seed1-hash.
        return {"".join(Path(folder).name.split("-")[:2]): outcome
                for folder, outcome in self.outcomes.items()}


def alive(pid):
    """Tell whether a process is there, and is no zombie."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def pid_of(task):
    return int((task.folder / LOCK).read_text().split()[0])


def measured(task):
    """Everything of a run that a second one must repeat."""
    result = result_of(task)
    timeless = [{k: v for k, v in record.items() if "seconds" not in k}
                for record in result.history]
    return result.valid, result.test, result.best_epoch, result.epochs, timeless


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
def test_runs_equal_those_of_the_local_engine(tiny, tmp_path):
    both = []
    for engine, jobs in ((LocalEngine(threads=1), 1), (RayEngine(), 2)):
        runs = tmp_path / type(engine).__name__
        tasks = [task_of(model, model, tiny, 1, runs) for model in ("BPR", "LightGCN")]
        source = Watched(tasks)
        assert set(source.run(jobs, engine).values()) == {Outcome()} and len(source.outcomes) == 2
        assert source.most == jobs
        both.append((tasks, source))
    (local, heard), (by_ray, heard_by_ray) = both
    for one, other in zip(local, by_ray):
        assert one.folder.name == other.folder.name
        assert measured(one) == measured(other)
        (mine, ids), (theirs, same_ids) = (read_rankings(task.folder / "ranking.npz")
                                           for task in (one, other))
        assert ids == same_ids and set(mine) == set(theirs) == {"valid", "test"}
        for part in mine:
            np.testing.assert_array_equal(mine[part].users, theirs[part].users)
            np.testing.assert_array_equal(mine[part].items, theirs[part].items)
    # Every evaluation was heard of, one by one.
    assert heard.heard == heard_by_ray.heard
    assert all(list(map(len, lists)) == [1, 2, 3, 4] for lists in heard.heard.values())


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
def test_measurements_equal_those_of_the_local_engine(tiny, tmp_path):
    noise, found = {"feature_noise": {"image": 2.0}, "corruption_at": "inference"}, []
    for engine, jobs in ((LocalEngine(threads=1), 1), (RayEngine(), 2)):
        runs = tmp_path / type(engine).__name__
        (run,) = tasks = [task_of("VBPR", "VBPR", tiny | {"epochs": 1}, 1, runs)]
        engine.run(FixedSource(tasks), jobs, lambda _: None)
        task = measurement_of(run, "noise", noise)
        source = FixedSource([task])
        engine.run(source, jobs, lambda _: None)
        assert list(source.outcomes.values()) == [Outcome()] and is_complete(task)
        found.append(read_measurement(run.folder, noise))
        assert found[-1]["test"] != result_of(run).test
    assert found[0] == found[1]


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
def test_a_run_that_fails_or_is_killed_or_stopped_leaves_the_others(tiny, tmp_path):
    runs, pids = tmp_path / "runs", {}

    def kill(task):
        pids["killed"] = pid_of(task)
        os.kill(pids["killed"], signal.SIGKILL)

    good = [task_of("good", "BPR", tiny, seed, runs) for seed in (1, 2)]
    broken = task_of("broken", "BPR", tiny, 3, runs)
    broken = broken._replace(settings=broken.settings | {"data_path": "/nowhere"})
    killed = task_of("killed", "BPR", tiny | {"epochs": LONG, "stopping_step": LONG}, 4, runs)
    stopped = task_of("stopped", "BPR", tiny | {"epochs": LONG, "stopping_step": LONG}, 5, runs)
    source = Watched([broken, killed, good[0], stopped, good[1]], {"stopped": 3},
                     ("killed", kill))
    found = source.run()
    assert found["BPRseed1"] == found["BPRseed2"] == Outcome() and len(found) == 5
    assert [state_of(task) for task in good] == ["done", "done"]
    for task, word in ((broken, "/nowhere"), (killed, "SIGKILL")):
        error = found[f"BPRseed{task.seed}"].error
        assert word in error and failure_of(task).reason == error
    assert found["BPRseed5"] == Outcome(stopped=True) and len(source.heard["stopped"]) == 3
    assert state_of(stopped) == "started" and failure_of(stopped) is None
    assert source.most == 2
    time.sleep(1)
    assert not alive(pid_of(stopped)) and not alive(pids["killed"])
    # The broken and the killed one begin again, and nothing of the others is done twice.
    before = [(task.folder / "metrics.json").stat().st_mtime_ns for task in good]
    again = [*good, task_of("broken", "BPR", tiny, 3, runs)]
    assert set(Watched(again).run().values()) == {Outcome()}
    assert [(task.folder / "metrics.json").stat().st_mtime_ns for task in good] == before
    assert state_of(again[-1]) == "done"


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
def test_an_interruption_ends_all_processes_and_leaves_runs_to_go_on(tiny, tmp_path):
    long = tiny | {"epochs": LONG, "stopping_step": LONG}
    tasks = [task_of(f"run{seed}", "BPR", long, seed, tmp_path / "runs") for seed in (1, 2)]
    pids = []

    def interrupt(_):
        end = time.monotonic() + 60
        while not all((task.folder / "last.pth").is_file() for task in tasks):
            assert time.monotonic() < end
            time.sleep(0.1)
        pids.extend(map(pid_of, tasks))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Watched(tasks, act=("run1", interrupt)).run()
    time.sleep(1)
    assert len(pids) == 2 and not any(map(alive, pids))
    assert [state_of(task) for task in tasks] == ["started", "started"]


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
def test_a_request_that_no_machine_can_serve_is_refused_at_once(tiny, tmp_path):
    task = task_of("one", "BPR", tiny, 1, tmp_path / "runs")
    start = time.monotonic()
    for asked in ({"gpus": 1}, {"cpus": 3}):
        with pytest.raises(UserError, match="there are: 2 CPUs and 0 GPUs. Lower --cpus or --gpus"):
            RayEngine(**asked).run(FixedSource([task]), 0, print)
    assert time.monotonic() - start < 5 and not task.folder.exists()


@pytest.fixture
def second(cluster, monkeypatch):
    """Add a machine of 4 CPUs and, it says, 2 GPUs for one test; it may be gone before the end."""
    import ray

    def wait_for(machines):
        end = time.monotonic() + 60
        while len([node for node in ray.nodes() if node["Alive"]]) != machines:
            assert time.monotonic() < end
            time.sleep(0.1)

    with monkeypatch.context() as patch:
        # Tests see no GPU, and Ray believes that of a machine's number, too.
        patch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        machine = cluster.add_node(num_cpus=4, num_gpus=2)
    wait_for(2)
    yield machine
    if machine in cluster.list_all_nodes():
        cluster.remove_node(machine, allow_graceful=False)
    # The machines share an IP address, and by that Ray chooses the one that the next driver talks
    # to: it may be this one for as long as Ray has not noticed its death.
    wait_for(1)


@pytest.mark.slow
def test_a_machine_that_dies_fails_its_runs_only(cluster, second, tiny, tmp_path):
    long = tiny | {"epochs": LONG, "stopping_step": LONG}
    tasks = [task_of("long", "BPR", long, seed, tmp_path / "runs") for seed in (1, 2, 3)]
    good = task_of("good", "BPR", tiny, 4, tmp_path / "runs")
    pids = []

    class Unplugging(Watched):
        def watch(self, running):
            begun = [task for task, progress in running if progress.epoch > 1]
            if len(begun) == 3 and not pids:  # of which the first machine takes two
                pids.extend(map(pid_of, tasks))
                cluster.remove_node(second, allow_graceful=False)

        def progressed(self, task, _):
            # Once a run has failed, the others show that they go on, and that is enough.
            return task == good or not any(outcome.error for outcome in self.outcomes.values())

    found = Unplugging([*tasks, good]).run(3)
    assert len(found) == 4 and found["BPRseed4"] == Outcome()
    failed = [task for task in tasks if found[f"BPRseed{task.seed}"].error]
    assert 1 <= len(failed) <= 3
    for task in failed:
        assert "its machine" in failure_of(task).reason and "died" in failure_of(task).reason
    assert all(found[f"BPRseed{task.seed}"] == Outcome(stopped=True) for task in tasks
               if task not in failed)
    time.sleep(2)
    assert not any(map(alive, pids))


@pytest.mark.slow
@pytest.mark.usefixtures("second")
def test_a_run_sees_only_the_gpus_that_it_asked_for(tiny, tmp_path):
    long = tiny | {"epochs": LONG, "stopping_step": LONG}
    tasks = [task_of("long", "BPR", long, seed, tmp_path / "runs") for seed in (1, 2)]
    seen = []

    class Reading(Watched):
        def watch(self, running):
            super().watch(running)
            begun = [task for task, progress in running if progress.epoch > 1]
            if len(begun) == len(running) and not seen:
                for pid in map(pid_of, begun):
                    pairs = Path(f"/proc/{pid}/environ").read_text().split("\0")
                    seen.append(dict(pair.partition("=")[::2] for pair in pairs))

        def progressed(self, *_):
            return not seen

    for gpus, most, visible in ((1, 2, {"0", "1"}), (0, 1, {""})):
        seen.clear()
        source = Reading(tasks[:most])
        assert set(source.run(engine=RayEngine(gpus=gpus)).values()) == {Outcome(stopped=True)}
        assert source.most == most == len(seen)
        assert {environ["CUDA_VISIBLE_DEVICES"] for environ in seen} == visible
        assert {environ["OMP_NUM_THREADS"] for environ in seen} == {"1"}


@pytest.mark.slow
@pytest.mark.usefixtures("second")
def test_every_machine_must_see_the_folder(tiny, tmp_path, monkeypatch):
    task = task_of("one", "BPR", tiny, 1, tmp_path / "runs")
    with monkeypatch.context() as patch, pytest.raises(UserError, match=r"is blind.*--out"):
        patch.setattr(remote, "cannot_run", lambda *_: "is blind")
        Watched([task]).run()
    assert not task.folder.exists()
    assert list((tmp_path / "runs").iterdir()) == []
    assert set(Watched([task]).run().values()) == {Outcome()}


@pytest.mark.slow
@pytest.mark.parametrize("given", ["none", "address", "auto"])
def test_ray_is_started_or_connected_to_by_the_engine(cluster, tiny, tmp_path, given):
    address = {"none": None, "address": cluster.address, "auto": "auto"}[given]
    task = task_of("one", "BPR", tiny, 1, tmp_path / "runs")
    script = f"""
import json, sys
from recbole_ssr.compare.engine import FixedSource
from recbole_ssr.compare.ray_engine import RayEngine
from recbole_ssr.compare.store import task_of
task = task_of("one", "BPR", json.loads(sys.argv[1]), 1, sys.argv[2])
addresses = []
def watch(running):
    import ray
    addresses.append(ray.get_runtime_context().gcs_address)
source = FixedSource([task])
RayEngine({address!r}).run(source, 1, watch)
import ray
print(json.dumps([addresses[0], ray.is_initialized(), [list(o) for o in source.outcomes.values()]]))
"""
    # Ray's own search would also find the cluster of the test before, which may still be dying.
    env = os.environ | ({"RAY_ADDRESS": cluster.address} if given == "auto" else {})
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", script, json.dumps(tiny),
                           str(tmp_path / "runs")], env=env, capture_output=True, text=True,
                          timeout=120)
    assert done.returncode == 0, done.stderr
    used, initialized, outcomes = json.loads(done.stdout.splitlines()[-1])
    assert (used == cluster.address) == (given != "none") and not initialized
    assert outcomes == [[None, False]] and state_of(task) == "done"
    assert "Error" not in done.stderr
