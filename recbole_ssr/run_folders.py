"""What lies in a folder of runs: which there are, newest first, and how far each of them is."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple

from recbole_ssr.errors import UserError
from recbole_ssr.result import FILE, VALID_FILE

try:
    import fcntl
except ImportError:  # not on Windows, where nobody knows who is at a run
    fcntl = None

CONFIG, LOG = "config.yaml", "run.log"
FINISHED, VALIDATED, RUNNING, UNFINISHED = "finished", "validated", "running", "unfinished"
_FEW, _CLOSE = 5, 2  # names that a message lists, and how many of them for their likeness
_PATIENCE, _LOOK_SECONDS = 1.0, 0.05  # of held(); whoever lists the runs has a lock for a moment


class RunFolder(NamedTuple):
    """A run folder and when it was last written, in seconds since the epoch."""

    path: Path
    changed: float

    @property
    def state(self) -> str:
        """How far the run is; VALIDATED is one that was told not to test."""
        if _is_running(self.path):
            return RUNNING
        for file, state in ((FILE, FINISHED), (VALID_FILE, VALIDATED)):
            if (self.path / file).is_file():
                return state
        return UNFINISHED


def runs_in(folder: str | Path) -> list[RunFolder]:
    """Return the run folders that lie in a folder, the newest first."""
    names, found = [], []
    with suppress(OSError, ValueError):  # a folder that there is not, or cannot be
        names = os.listdir(folder)
    for path in (Path(folder, name) for name in names):
        if os.path.isfile(path / CONFIG):
            times = [os.path.getmtime(file) for file in
                     (path / name for name in (CONFIG, LOG, FILE, VALID_FILE))
                     if os.path.isfile(file)]
            found.append(RunFolder(path, max(times)))
    return sorted(found, key=lambda run: (run.changed, run.path.name), reverse=True)


def newest_unfinished(folder: str | Path) -> Path:
    """Return the newest run in a folder that has ended before its time.

    Raises UserError where there is none.
    """
    runs = runs_in(folder)
    for run in runs:
        if run.state == UNFINISHED:
            return run.path
    there = f"all {len(runs)} there are finished or running" if runs else "there is none"
    raise UserError(f"no run in {folder} is unfinished: {there}. Name one with "
                    "--resume=runs/<your run>, or its folder with --run_dir=<folder>")


def named_in(folder: str | Path, like: str) -> str:
    """Return " Runs there: ..." with the names most like one, then the newest; empty for none."""
    names = [run.path.name for run in runs_in(folder)]
    close = get_close_matches(like, names, n=_CLOSE)
    shown = list(dict.fromkeys([*close, *names]))[:_FEW]
    more = f" and {len(names) - _FEW} more" if len(names) > _FEW else ""
    return f" Runs there: {', '.join(shown)}{more}." if names else ""


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Keep a run folder to this process; the system lets go of it however the process ends.

    Raises UserError where another process is at the run.
    """
    end = time.monotonic() + _PATIENCE
    while (taken := _taken(folder)) is None:
        if time.monotonic() > end:
            raise UserError(f"{folder} is being run by another process; wait for it, or end it")
        time.sleep(_LOOK_SECONDS)
    try:
        yield
    finally:
        taken.close()


class _Taken(NamedTuple):
    """An open folder with its lock; none on systems without."""

    descriptor: int | None = None

    def close(self) -> None:
        if self.descriptor is not None:
            os.close(self.descriptor)


def _taken(folder: Path) -> _Taken | None:
    """Take the lock of a folder; None where another process has it."""
    if fcntl is None:
        return _Taken()
    try:
        taken = _Taken(os.open(folder, os.O_RDONLY))
    except OSError:
        return _Taken()  # what cannot be opened says so when it is read
    try:
        fcntl.flock(taken.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        taken.close()
        return None
    except OSError:  # a file system without locks
        pass
    return taken


def _is_running(folder: Path) -> bool:
    taken = _taken(folder)
    if taken is not None:
        taken.close()
    return taken is None
