"""An engine on this machine: a process per run, several at a time, which share its cores.

Where it can be, a run's process is forked from one that has imported torch and RecBole already.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from recbole_ssr.compare.engine import Outcome, Progress, Source, Watch
from recbole_ssr.compare.forked import Forked, ForkServer, can_fork
from recbole_ssr.compare.store import (
    Task,
    begin,
    failure_of,
    is_complete,
    progress_of,
    write_failure,
)
from recbole_ssr.compare.worker import BUSY
from recbole_ssr.cores import environment_of, usable_cores
from recbole_ssr.errors import UserError

LOG = "worker.log"
COMMAND = (sys.executable, "-m", "recbole_ssr.compare.worker")
_LOOK_SECONDS = 0.2
_STOP_SECONDS = 10
_TAIL_LINES = 40
_SIGNALS = {
    "SIGKILL": "killed by SIGKILL, as the system does to a process that asks for too much memory. "
               "Fewer --jobs, a smaller train_batch_size or eval_users_per_step need less",
    "SIGSEGV": "crashed with SIGSEGV, an error in compiled code",
    "SIGBUS": "crashed with SIGBUS: the disk, a mapped file or shared memory is full or damaged",
    "SIGFPE": "crashed with SIGFPE, an error in compiled code",
    "SIGABRT": "aborted by compiled code with SIGABRT",
    "SIGTERM": "ended from outside by SIGTERM",
}


class LocalEngine:
    """Runs tasks on this machine.

    `threads` of every run; the default shares the cores that this process may use among the jobs.
    """

    def __init__(self, threads: int | None = None):
        self.threads = threads

    def run(self, source: Source, jobs: int, watch: Watch) -> None:
        """Run the tasks of a source; see :class:`recbole_ssr.compare.engine.Engine`."""
        if jobs < 1:
            raise UserError(f"jobs={jobs} must be at least 1")
        threads = self.threads or max(usable_cores() // jobs, 1)
        server = ForkServer(environment_of(threads)) if can_fork() else None
        running: list[_LocalRun] = []
        try:
            more = True
            while more or running:
                more = more and _fill(running, source, jobs, threads, server)
                watch([(run.task, run.progress) for run in running])
                if running:
                    time.sleep(_LOOK_SECONDS)
                ended = [(run, run.look(source)) for run in running]
                for run, outcome in ended:
                    if outcome is not None:
                        running.remove(run)
                        source.finished(run.task, outcome)
                        more = True  # what a source hears may bring more
        finally:
            stop([run.process for run in running])
            if server is not None:
                server.close()


def _fill(running: list[_LocalRun], source: Source, jobs: int, threads: int,
          server: ForkServer | None) -> bool:
    """Start tasks until `jobs` run; return whether the source may have more at once."""
    while len(running) < jobs:
        task = source.take()
        if task is None:
            return False
        if is_complete(task):
            source.finished(task, Outcome())
        else:
            running.append(_LocalRun(task, start(task, threads, server)))
    return True


class Run:
    """A run under way, and what its source has heard of it."""

    def __init__(self, task: Task):
        self.task, self.progress = task, Progress()
        self.stopped = False
        self._heard = 0

    def goes_on(self, source: Source) -> bool:
        """Tell the source of all further evaluations; return False once it stops the run."""
        self.progress = progress_of(self.task)
        # One by one, so that what is pruned does not depend on when we look.
        while not self.stopped and self._heard < len(self.progress.valid):
            self._heard += 1
            self.stopped = not source.progressed(self.task, self.progress.valid[:self._heard])
        return not self.stopped


class _LocalRun(Run):
    """A run in a process of this machine."""

    def __init__(self, task: Task, process: subprocess.Popen | Forked):
        super().__init__(task)
        self.process, self.progress = process, Progress("preparing")

    def look(self, source: Source) -> Outcome | None:
        """Return how the run has ended, None where it goes on."""
        code = self.process.poll()  # before progress, so that no evaluation is overlooked
        if not self.goes_on(source):
            stop([self.process])
            return Outcome(stopped=True)
        return None if code is None else outcome_of(self.task, code)


def start(task: Task, threads: int, server: ForkServer | None = None) -> subprocess.Popen | Forked:
    """Start the process of a task, its output in the run folder's `worker.log`.

    A `server` forks it, without one it is a new program. The process ends when this one does.
    """
    begin(task, Progress("preparing"))

    def program() -> subprocess.Popen:
        command = [*COMMAND, str(task.folder), str(os.getpid())]
        with open(task.folder / LOG, "ab") as log:
            return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log,
                                    stderr=subprocess.STDOUT, env=environment_of(threads))

    return program() if server is None else server.start(task.folder, task.folder / LOG, program)


def outcome_of(task: Task, code: int) -> Outcome:
    """Return how the process of a task ended; a failure is recorded in the run folder.

    What is complete stays so, whatever became of the process after its last file.
    """
    if is_complete(task):
        return Outcome()
    tail = _tail(task.folder / LOG)
    if code == BUSY:
        return Outcome(tail[-1] if tail else "another process is at this run")
    if failure_of(task) is None:
        write_failure(task.folder, _reason(code, tail), "\n".join(tail))
    return Outcome(failure_of(task).reason)


def stop(processes: Iterable[subprocess.Popen | Forked]) -> None:
    """End processes, all at once, and wait for them."""
    processes = list(processes)
    for process in processes:
        process.terminate()
    for process in processes:
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _tail(log: Path) -> list[str]:
    """Return the last lines of a log, without empty ones."""
    try:
        lines = log.read_text(errors="replace").splitlines()
    except OSError:
        return []
    return [line for line in lines if line.strip()][-_TAIL_LINES:]


def _reason(code: int, tail: list[str]) -> str:
    if code < 0:
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = f"signal {-code}"
        return _SIGNALS.get(name, f"ended by {name}")
    if code == 0:
        return "the process ended without a result"
    return tail[-1].strip() if tail else f"exit status {code} without output"
