"""Which processes work on a study, and which of them are dead.

Every process leaves a heartbeat in the studies it works on: host, process id and time. On the same
machine a process that is gone is seen at once; elsewhere, one that has been silent for ten minutes
counts as dead. Machines that share a study need clocks that agree within some minutes.
"""

from __future__ import annotations

import logging
import os
import platform
import threading
import time
import uuid
import weakref

logger = logging.getLogger("recbole_ssr")

BEAT = 60.0  # seconds between heartbeats: a long search leaves few of them in its journal
SILENCE = 10 * BEAT  # seconds: a file server or a sleeping laptop may well be silent for minutes
ATTRIBUTE = "worker "  # and the id: an attribute of the study
# Workers of this process; one that was dropped without being closed is dead, too.
_here: weakref.WeakValueDictionary[str, Worker] = weakref.WeakValueDictionary()


class Worker:
    """This process at work on studies, until it is closed."""

    def __init__(self, every: float = BEAT):
        self.id = uuid.uuid4().hex[:12]
        self.host = _host()
        self._studies: list = []
        self._stop = threading.Event()
        _here[self.id] = self
        threading.Thread(target=_beat, args=(weakref.ref(self), self._stop, every),
                         daemon=True).start()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def join(self, study) -> None:
        """Leave heartbeats in an Optuna study from now on."""
        self._studies.append(study)
        self.beat()

    def beat(self) -> None:
        """Leave a heartbeat in every study."""
        record = {"host": self.host, "pid": os.getpid(), "time": time.time()}
        for study in self._studies:
            study.set_user_attr(ATTRIBUTE + self.id, record)

    def close(self) -> None:
        """Stop: whatever this worker left running may be taken over."""
        self._stop.set()
        _here.pop(self.id, None)


def is_alive(worker: str | None, attributes: dict, now: float) -> bool:
    """Tell whether a worker still works, from the attributes of the study.

    Args:
        worker: its id; None is a trial that lost its worker before it said its name.
        attributes: user attributes of the study, heartbeats among them.
        now: seconds of time.time().
    """
    record = attributes.get(f"{ATTRIBUTE}{worker}")
    if record is None:
        return False
    if record["host"] == _host():
        if record["pid"] == os.getpid():
            return worker in _here
        if not _runs(record["pid"]):
            return False
    return now - record["time"] < SILENCE


def _beat(reference: weakref.ref, stop: threading.Event, every: float) -> None:
    """Beat until told to stop, or until the worker is no more."""
    while not stop.wait(every):
        worker = reference()
        if worker is None:
            return
        try:
            worker.beat()
        except Exception as error:  # a database may be away for a while; the next beat tells
            logger.debug("no heartbeat: %r", error)
        del worker


def _host() -> str:
    """Return the machine's name; containers that share it have process ids of their own."""
    try:
        space = os.readlink("/proc/self/ns/pid")
    except OSError:
        space = ""
    return f"{platform.node()} {space}".strip()


def _runs(pid: int) -> bool:
    """Tell whether a process of this machine exists."""
    if os.name != "posix":
        return True  # os.kill would end it; its silence will tell
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
