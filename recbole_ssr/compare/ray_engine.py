"""Runs on the machines of a Ray cluster, or under a Ray of their own on this one.

A run is a Ray task with its request for CPUs and GPUs. Within it works the same process as without
Ray, so that whatever happens to it happens to one run; its files go to the comparison's folder,
which all machines must see. For Ray 2.6, the last that RecBole 1.2.1 allows, and today's.
"""

from __future__ import annotations

import io
import logging
import os
import time
import uuid
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, suppress
from pathlib import Path
from types import ModuleType

from recbole_ssr.compare import remote
from recbole_ssr.compare.cluster import (
    Request,
    capacity,
    checked_address,
    checked_request,
    reason_of,
)
from recbole_ssr.compare.engine import Outcome, Progress, Source, Watch
from recbole_ssr.compare.local import LOG, Run, outcome_of
from recbole_ssr.compare.store import Task, begin, failure_of, is_complete, write_failure
from recbole_ssr.cores import variables
from recbole_ssr.errors import UserError

_LOCAL = "--engine=local does without"
_LOOK_SECONDS = 0.2
_ANSWER_SECONDS = 5  # for the head of a cluster
_TOKEN_SECONDS = 60  # for every machine to look for the comparison's folder
_JOIN_SECONDS = 5  # until all machines know of one that has just joined
_ARRIVE_SECONDS = 90  # for files of another machine to be seen here; NFS remembers their absence
_STOP_SECONDS = 10
_STORE_BYTES = 100 * 2**20  # of Ray's object store, unused here; Ray's least is 75 MiB


class RayEngine:
    """Runs tasks by Ray.

    `address` is that of a cluster's head, host:port, or "auto" for the cluster that this machine
    belongs to; None starts Ray on this machine and ends it with the last run. A Ray that the
    program has started already is used as it is. Every run gets `cpus`, as many threads, and sees
    only the `gpus` that Ray gave it.

    Raises UserError for amounts and addresses that cannot be; `run` does where Ray is missing, the
    cluster cannot be reached, has no such machine or does not see the comparison's folder.
    """

    def __init__(self, address: str | None = None, cpus: float | None = None, gpus: float = 0.0):
        self.address = checked_address(address)
        self.request = checked_request(1.0 if cpus is None else cpus, gpus)

    def run(self, source: Source, jobs: int, watch: Watch) -> None:
        """Run the tasks of a source; see :class:`recbole_ssr.compare.engine.Engine`.

        Resources limit how many run at once, and so does `jobs` unless it is 0.
        """
        with _connected(self.address) as ray:
            runs = _Runs(ray, self.request, source)
            try:
                while runs.fill(jobs):
                    watch(runs.progress())
                    runs.look()
            except ray.exceptions.RayError as error:
                raise UserError(f"Ray itself failed: {reason_of(error)}. Give the same command "
                                "again to go on") from error
            finally:
                runs.cancel()


class _Runs:
    """The runs under way, by Ray's references."""

    def __init__(self, ray: ModuleType, request: Request, source: Source):
        self._ray, self._request, self._source = ray, request, source
        ray.cloudpickle.register_pickle_by_value(remote)
        self._supervise = ray.remote(remote.supervise).options(
            num_cpus=request.cpus, num_gpus=request.gpus, max_retries=0)
        self._runs: dict = {}
        self._seeing: set[str] = set()  # machines that see the comparison's folder

    def progress(self) -> list[tuple[Task, Progress]]:
        """Return where all runs are."""
        return [(run.task, run.progress) for run in self._runs.values()]

    def fill(self, jobs: int) -> bool:
        """Give Ray as many tasks as can run at once; return whether any is under way."""
        machines = [node for node in self._ray.nodes() if node["Alive"]]
        room = capacity(self._request, [machine["Resources"] for machine in machines])
        while len(self._runs) < min(jobs or room, room):
            task = self._source.take()
            if task is None:
                break
            if is_complete(task):
                self._source.finished(task, Outcome())
                continue
            self._check_storage(task.folder.parent, machines)
            self._runs[self._submit(task)] = Run(task)
        return bool(self._runs)

    def look(self) -> None:
        """Wait a moment, then tell the source how its runs fare, and end those that it stops."""
        ended, running = self._ray.wait(list(self._runs), timeout=_LOOK_SECONDS)
        for reference in running:
            run = self._runs[reference]
            if not run.stopped and not run.goes_on(self._source):
                self._ray.cancel(reference)
        for reference in ended:
            run = self._runs.pop(reference)
            code, error = self._end_of(run.task, reference)
            outcome = Outcome(stopped=True)
            if run.goes_on(self._source):
                outcome = outcome_of(run.task, code) if error is None else failed(run.task, error)
            self._source.finished(run.task, outcome)

    def cancel(self) -> None:
        """End all runs that are left, by force where need be."""
        for force in (False, True):
            left = list(self._runs)
            with suppress(self._ray.exceptions.RayError):
                for reference in left:
                    self._ray.cancel(reference, force=force)
                if left:
                    ended, _ = self._ray.wait(left, num_returns=len(left), timeout=_STOP_SECONDS)
                    for reference in ended:
                        del self._runs[reference]

    def _submit(self, task: Task):
        begin(task, Progress())
        folder = task.folder.resolve()
        return self._supervise.remote(str(folder), str(folder / LOG), os.getcwd(),
                                      variables(self._request.threads))

    def _end_of(self, task: Task, reference) -> tuple[int | None, Exception | None]:
        """Return the exit status of a run's process, or the error of Ray that ended it."""
        try:
            code = self._ray.get(reference)
        except self._ray.exceptions.RayError as error:
            return None, error
        end = time.monotonic() + _ARRIVE_SECONDS
        while code == 0 and not is_complete(task) and time.monotonic() < end:
            time.sleep(_LOOK_SECONDS)
        return code, None

    def _check_storage(self, folder: Path, machines: Sequence[dict]) -> None:
        """Raise UserError unless every machine that may get a run sees the comparison's folder."""
        new = {machine["NodeID"]: machine["NodeName"] for machine in machines
               if machine["NodeID"] not in self._seeing
               and self._request.fits(machine["Resources"])}
        new.pop(self._ray.get_runtime_context().get_node_id(), None)
        for identity, obstacle in self._obstacles(folder.resolve(), list(new)):
            if obstacle is None:
                del new[identity]
            elif obstacle:
                raise UserError(f"machine {new[identity]} {obstacle}. All machines of the cluster "
                                "need the working folder, the comparison's (--out) and the data "
                                "under the same paths, on shared storage, and recbole_ssr")
        self._seeing |= set(new)

    def _obstacles(self, folder: Path, machines: Sequence[str]) -> list[tuple[str, str | None]]:
        """Return what keeps each machine from runs: empty for nothing, None where it is gone."""
        if not machines:
            return []
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        token, content = folder / f".{uuid.uuid4().hex}", uuid.uuid4().hex
        look = self._ray.remote(remote.cannot_run)

        def ask(machine: str):
            only = NodeAffinitySchedulingStrategy(machine, soft=False)
            return look.options(num_cpus=0, max_retries=0, scheduling_strategy=only).remote(
                str(token), content, os.getcwd())

        try:
            folder.mkdir(parents=True, exist_ok=True)
            token.write_text(content)
            asked = {machine: ask(machine) for machine in machines}
            return [(machine, self._answer(reference, lambda machine=machine: ask(machine)))
                    for machine, reference in asked.items()]
        except OSError as error:
            raise UserError(f"cannot write {token}: {error.strerror}") from None
        finally:
            token.unlink(missing_ok=True)

    def _answer(self, reference, again: Callable[[], object]) -> str | None:
        """Return what a machine answers, None where it does not exist any more.

        Machines hear of each other with a delay, until which Ray calls a new one unknown; one that
        has died stands in Ray's list for a while, though no run can reach it.
        """
        end = time.monotonic() + _JOIN_SECONDS
        while True:
            try:
                return self._ray.get(reference, timeout=_TOKEN_SECONDS)
            except self._ray.exceptions.TaskUnschedulableError:
                if time.monotonic() > end:
                    return None
                time.sleep(_LOOK_SECONDS)
                reference = again()


def failed(task: Task, error: Exception) -> Outcome:
    """Return how a run ended that an error of Ray cut off; it is recorded in the run folder."""
    if is_complete(task):
        return Outcome()
    if failure_of(task) is None:
        write_failure(task.folder, reason_of(error), str(error))
    return Outcome(failure_of(task).reason)


@contextmanager
def _connected(address: str | None) -> Iterator[ModuleType]:
    """Give Ray, connected; end what was begun here."""
    ray = import_ray()
    if ray.is_initialized():
        yield ray
        return
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    try:
        if address is None:
            # "local": without it, a variable of the environment would name a cluster.
            begin = {"address": "local", "include_dashboard": False,
                     "object_store_memory": _STORE_BYTES}
        else:
            begin = {"address": _answering(ray, address)}
        try:
            ray.init(**begin, **quiet)
        except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
            raise UserError(f"Ray {f'at {address} refuses' if address else 'cannot start here'}: "
                            f"{reason_of(error)}. {_LOCAL}") from error
        yield ray
    finally:
        ray.shutdown()


def import_ray() -> ModuleType:
    """Import Ray, without the warnings of its imports. Raises UserError where it cannot be used."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray would report to its makers
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import ray
            import ray.cloudpickle
            import ray.exceptions
    except ImportError as error:
        raise UserError(f"--engine=ray needs Ray: {error}. pip install \"recbole_ssr[cluster]\" "
                        f"installs one that fits; {_LOCAL}") from None
    try:
        import pyarrow  # noqa: F401
    except ModuleNotFoundError:
        pass
    except ImportError as error:
        # Ray imports it where it is installed, and would fail with its first task.
        raise UserError(f"Ray fails with the installed pyarrow: {error}. recbole_ssr[report] "
                        f"installs one that fits; {_LOCAL}") from None
    return ray


def _answering(ray: ModuleType, address: str) -> str:
    """Return the address of a cluster's head that answers.

    Ray itself would try for a minute and end the program. Raises UserError.
    """
    from ray._private.services import canonicalize_bootstrap_address_or_die

    begin = "ray start --head begins a cluster"
    try:
        head = canonicalize_bootstrap_address_or_die(address)
        answers = _health(head)
    except (OSError, ValueError) as error:
        raise UserError(f"address={address}: {reason_of(error)} ({begin})") from None
    except (RuntimeError, ray.exceptions.RayError) as error:
        raise UserError(f"address={address}: no Ray cluster of this version answers there: "
                        f"{reason_of(error)}. Check host and port; {begin}") from None
    if not answers:
        raise UserError(f"address={address}: the Ray cluster there does not answer; {begin}")
    return head


def _health(address: str) -> bool:
    """Tell whether a head answers. Old Ray raises RuntimeError or RayError for other versions."""
    try:
        from ray._raylet import check_health
    except ImportError:  # newer Ray answers gRPC's own question, and checks versions by itself
        import grpc

        with grpc.insecure_channel(address) as channel:
            try:
                channel.unary_unary("/grpc.health.v1.Health/Check")(b"", timeout=_ANSWER_SECONDS)
            except grpc.RpcError as error:
                return error.code() == grpc.StatusCode.UNAUTHENTICATED
        return True
    with redirect_stderr(io.StringIO()):  # it prints the traceback of a refusal
        return check_health(address, timeout=_ANSWER_SECONDS)
