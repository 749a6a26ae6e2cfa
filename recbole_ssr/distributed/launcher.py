"""Starting the processes of a run on this machine, and ending all of them when one has ended."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from recbole_ssr.cores import environment_of, usable_cores
from recbole_ssr.distributed.group import LostProcess
from recbole_ssr.distributed.order import BUG, MISTAKE, Order
from recbole_ssr.distributed.place import Place
from recbole_ssr.errors import UserError

_COMMAND = (sys.executable, "-m", "recbole_ssr.distributed.worker")
_LOOK_SECONDS = 0.1
# After the first has ended, the others hear of it by their connections and may say why.
_GRACE_SECONDS = 3
_STOP_SECONDS = 10


class Ended(UserError):
    """A process of a run was ended from outside, without a word of its own."""


def launch(target: str, arguments: dict, size: int) -> None:
    """Call `target`, "module:function", in `size` processes that form a group, and wait.

    Each has its share of the cores. Ctrl-C reaches all of them, and none outlives this one.
    Raises the UserError of the process that failed first of itself, Ended for one that was
    killed, and RuntimeError with the traceback of any other error.
    """
    with tempfile.TemporaryDirectory(prefix="recbole_ssr-") as room:
        processes = []
        try:
            for rank in range(size):
                place = Place(rank, size, rank, size)
                order = Order(place, f"file://{room}/rendezvous", target, arguments,
                              Path(room, f"{rank}.error"), Path(room, f"{rank}.begun"))
                processes.append(_start(order))
            _wait(processes)
        except KeyboardInterrupt:
            _end([process for rank, process in enumerate(processes)
                  if not Path(room, f"{rank}.begun").exists()],
                 signal.SIGTERM)  # those that still import would end in tracebacks
            _end(processes, signal.SIGINT)
            raise
        finally:
            killed = _end(processes, signal.SIGTERM)
        failed = [rank for rank, process in enumerate(processes) if process.returncode]
        if failed:
            raise _cause(Path(room), processes, killed)


def _start(order: Order) -> subprocess.Popen:
    environment = environment_of(_threads(order.place.local_size))
    if sys.platform == "linux":  # the name of this machine need not lead to itself
        environment.setdefault("GLOO_SOCKET_IFNAME", "lo")
    # A session of its own: Ctrl-C of the terminal reaches the launcher alone, which passes it on.
    process = subprocess.Popen(_COMMAND, stdin=subprocess.PIPE, env=environment,
                               start_new_session=True)
    try:
        process.stdin.write(pickle.dumps(order))
        process.stdin.flush()
    except BrokenPipeError:  # it has ended already, and its status says how
        pass
    return process


def _threads(processes: int) -> int:
    """Return the threads of each of so many: OMP_NUM_THREADS, or its part of the cores."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return int(asked) if asked.isdigit() and int(asked) else max(usable_cores() // processes, 1)


def _wait(processes: Sequence[subprocess.Popen]) -> None:
    """Return once all have ended, or a while after one has failed."""
    end = None
    while any(process.poll() is None for process in processes):
        if end is None and any(process.returncode for process in processes):
            end = time.monotonic() + _GRACE_SECONDS
        if end is not None and time.monotonic() > end:
            return
        time.sleep(_LOOK_SECONDS)


def _end(processes: Sequence[subprocess.Popen], number: int) -> set[int]:
    """End those that still run, and wait for them; return their process ids."""
    running = [process for process in processes if process.poll() is None]
    for process in running:
        process.send_signal(number)
    for process in running:
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    for process in processes:
        process.stdin.close()
    return {process.pid for process in running}


def _cause(room: Path, processes: Sequence[subprocess.Popen], killed: set[int]) -> Exception:
    """Return the error of the process that failed first, as far as can be told.

    That others were lost is only said by processes that would have gone on.
    """
    reports = {rank: room / f"{rank}.error" for rank in range(len(processes))}
    told = {rank: json.loads(report.read_text()) for rank, report in reports.items()
            if report.is_file()}
    for rank, (kind, text) in told.items():
        if kind == BUG:
            return RuntimeError(f"process {rank} of {len(processes)} failed:\n{text}")
    for kind, text in told.values():
        if kind == MISTAKE:
            return UserError(text)
    for rank, process in enumerate(processes):
        if process.returncode and process.pid not in killed and rank not in told:
            return Ended(f"process {rank} of {len(processes)} {_how(process.returncode)}, and the "
                         "others were stopped")
    lost = [text for _, text in told.values()]
    return LostProcess(lost[0]) if lost else Ended("the processes of the run were stopped")


def _how(code: int) -> str:
    if code > 0:
        return f"ended with exit status {code}"
    name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
    hint = ", as the system does to one that asks for too much memory"
    return f"was ended by {name}{hint if name == 'SIGKILL' else ''}"
