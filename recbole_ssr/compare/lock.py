"""One process at a time in a run folder, and none without the command that wants its result."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from recbole_ssr.errors import UserError

try:
    import fcntl
except ImportError:  # not on Windows, where two commands at once must be avoided by hand
    fcntl = None

LOCK = "lock"
_LOOK_SECONDS = 0.2


class Busy(UserError):
    """Another process is at this run."""


@contextmanager
def locked(folder: Path, patience: float = 10) -> Iterator[None]:
    """Hold the lock of a run folder, a file with process and host, for as long as this lasts.

    The system lets go of it however a process ends. `patience` is in seconds: a process whose
    command was killed takes a moment to notice. Raises Busy where the lock stays taken.
    """
    path, end = folder / LOCK, time.monotonic() + patience
    while (file := _taken(path)) is None:
        if time.monotonic() > end:
            raise Busy(f"{folder} is being run by process {path.read_text().strip()}; wait for it "
                       "or end it, then give the same command again")
        time.sleep(_LOOK_SECONDS)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(file)


def _taken(path: Path) -> int | None:
    """Return an open file that holds the lock, or None where another process has it."""
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Its last holder may have removed the file between our opening and locking it.
        ours = path.is_file() and os.path.samestat(os.fstat(file), path.stat())
    except OSError:
        ours = False
    if not ours:
        os.close(file)
        return None
    os.truncate(file, 0)
    os.write(file, f"{os.getpid()} on {socket.gethostname()}\n".encode())
    return file


def die_with(parent: int) -> None:
    """End this process as soon as `parent`, the process that started it, has ended.

    Checkpoints are written in one step, so that an end at any moment leaves a run to go on from.
    """

    def look() -> None:
        while os.getppid() == parent:
            time.sleep(_LOOK_SECONDS)
        os._exit(1)

    threading.Thread(target=look, name="parent watch", daemon=True).start()
