"""The process of one run: ``python -m recbole_ssr.compare.worker RUN_FOLDER [PARENT_PID]``.

It reads the folder's `task.json`, trains or goes on from `last.pth`, tells of every epoch in
`progress.json`, and leaves what a run leaves, or `error.json`; a task that measures a finished run
leaves the result beside that run. With the process id of its parent it ends when the parent does.
"""

from __future__ import annotations

import signal
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

import torch

from recbole_ssr.compare.engine import Progress
from recbole_ssr.compare.lock import Busy, die_with, locked
from recbole_ssr.compare.store import (
    MEASURE,
    Task,
    forget_failure,
    is_complete,
    read_task,
    run_of,
    split_path,
    write_failure,
    write_measurement,
    write_progress,
)
from recbole_ssr.errors import UserError
from recbole_ssr.evaluation.rankings import write_interactions
from recbole_ssr.experiment import Experiment, interactions_of
from recbole_ssr.files import sweep
from recbole_ssr.measurement import evaluate
from recbole_ssr.quick_start import run

# Exit statuses; the second is EX_TEMPFAIL of sysexits.h: another process is at this run.
FAILED, BUSY = 1, 75
# What torch's allocator of the CPU says; its error has no class of its own.
_NO_MEMORY = ("DefaultCPUAllocator", "not enough memory")


def main(argv: Sequence[str]) -> int:
    """Do the run of a folder; return the exit status."""
    folder, *parent = argv
    # Ctrl-C reaches all processes of a terminal; the command decides what becomes of its runs.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if parent:
        die_with(int(parent[0]))
    return perform(Path(folder))


def perform(folder: Path) -> int:
    """Do what is missing of a folder's task; return 0, FAILED or BUSY."""
    try:
        with locked(folder):
            return _perform(folder)
    except Busy as busy:
        sys.stderr.write(f"{busy}\n")
        return BUSY


def _perform(folder: Path) -> int:
    forget_failure(folder)
    sweep(folder)
    try:
        task = read_task(folder)
        if not is_complete(task):
            (_measure if task.stage == MEASURE else _train)(task)
    except Exception as error:
        traceback.print_exc()
        write_failure(folder, reason_of(error), traceback.format_exc())
        return FAILED
    return 0


def _train(task: Task) -> None:
    write_progress(task.folder, Progress("preparing"))
    split = []

    def tell(state: str, experiment: Experiment, history: list[dict]) -> None:
        if not split:
            split.append(_leave_split(task, experiment))
        config = experiment.config
        metric = config["valid_metric"].lower()
        valid = [record["valid"][metric] for record in history if "valid" in record]
        seconds = [record["seconds"] + record.get("eval_seconds", 0) for record in history]
        write_progress(task.folder, Progress(state, len(history), config["epochs"], valid, seconds))

    run(task.model, config_dict=task.settings, folder=task.folder, test=task.stage == "test",
        callback=tell)


def _measure(task: Task) -> None:
    """Measure a finished run with its features disturbed, and keep the result beside it."""
    write_progress(task.folder, Progress("measuring"))
    device, data_path = task.settings.get("device", "auto"), task.settings.get("data_path")
    measured = evaluate(run_of(task), task.disturbance, device=str(device), data_path=data_path)
    write_measurement(task, measured.valid, measured.test)


def _leave_split(task: Task, experiment: Experiment) -> Path:
    """Write the interactions of the run's split, once for all runs on it."""
    interactions = interactions_of(experiment)
    path = split_path(task.folder, interactions.fingerprint)
    if not path.is_file():
        write_interactions(path, interactions)
    return path


def reason_of(error: Exception) -> str:
    """Return in one line why a run failed, with a remedy where memory was too small."""
    text = " ".join(str(error).split())
    if isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError)) or (
        isinstance(error, RuntimeError) and any(sign in text for sign in _NO_MEMORY)
    ):
        return (f"out of memory: {text or 'the system has no more'}. Fewer --jobs, a smaller "
                "train_batch_size or eval_users_per_step need less")
    return text if isinstance(error, UserError) else f"{type(error).__name__}: {text}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
