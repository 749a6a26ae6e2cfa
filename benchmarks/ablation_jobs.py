"""Runs in processes of their own, several at a time; one that fails does not stop the rest."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from pathlib import Path

from records import Task, path_of

# Beyond it a reason says no more; the whole output is in the log.
_LONGEST_REASON = 300
_STOP_SECONDS = 10


def run_all(
    take: Callable[[], Task | None],
    jobs: int,
    execute: Callable[[Task], str | None],
    finished: Callable[[Task, str | None], None],
) -> None:
    """Execute tasks, `jobs` at a time, and report each as it ends.

    `take` returns the next task, or None where there is none: for now, while others run, whose
    ends may bring more. `execute` returns None or why the run failed. An interruption starts no
    more.
    """
    pool, running = ThreadPoolExecutor(max_workers=jobs), {}
    try:
        while True:
            while len(running) < jobs and (task := take()) is not None:
                running[pool.submit(execute, task)] = task
            if not running:
                return
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                finished(running.pop(future), future.result())
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


class Processes:
    """Starts one process per task: this script's `--one`, on its share of the cores."""

    def __init__(self, script: Path, out: Path, jobs: int, epochs: int | None = None):
        self.script, self.out = script, out
        self.options = [] if epochs is None else ["--epochs", str(epochs)]
        self.threads = max((os.cpu_count() or 1) // jobs, 1)
        self._running: set[subprocess.Popen] = set()
        self._lock = threading.Lock()
        self._stopped = False

    def __call__(self, task: Task) -> str | None:
        """Run a task to its end; return None or the reason of its failure."""
        logs = self.out / "logs"
        logs.mkdir(parents=True, exist_ok=True)
        log = logs / path_of(self.out, task.variant, task.seed).with_suffix(".log").name
        command = [sys.executable, str(self.script), "--out", str(self.out), "--one", task.variant,
                   "--seed", str(task.seed), "--threads", str(self.threads), *self.options]
        # Idle threads of OpenMP would spin on cores that the other jobs could use.
        environment = {**os.environ, "OMP_NUM_THREADS": str(self.threads), "GOMP_SPINCOUNT": "0",
                       "OMP_WAIT_POLICY": "passive", "PYTHONWARNINGS": "ignore"}
        with open(log, "wb") as file:
            with self._lock:
                if self._stopped:
                    return "not started"
                process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT,
                                           stdin=subprocess.DEVNULL, env=environment)
                self._running.add(process)
            code = process.wait()
        self._running.discard(process)
        return None if code == 0 else reason_of(code, log)

    def stop(self) -> None:
        """End the processes that are still running."""
        with self._lock:
            self._stopped = True
            for process in list(self._running):
                process.terminate()
        for process in list(self._running):
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()


def reason_of(code: int, log: Path) -> str:
    """Return why a process failed: the last line of its output, or the signal that ended it."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    if code < 0:
        killer = f"ended by signal {-code}"
        return f"{killer} (the system ends a process that asks for too much memory)"
    return lines[-1][:_LONGEST_REASON] if lines else f"exit status {code} without output"
