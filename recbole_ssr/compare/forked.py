"""Processes of runs that a fork server begins, used as those of `subprocess`."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

SERVER = "recbole_ssr.compare.fork_server"
_LOOK_SECONDS = 0.02
_END_SECONDS = 5


def can_fork() -> bool:
    """Tell whether a process that has imported torch may be forked; on macOS it may not."""
    return sys.platform == "linux"


class ForkServer:
    """A fork server of this process, in `environment`; see :mod:`recbole_ssr.compare.fork_server`.

    It begins with the first run.
    """

    def __init__(self, environment: dict[str, str]):
        self._environment = environment
        self._process: subprocess.Popen | None = None
        self._ids = itertools.count()
        self._pending = b""
        self.pids: dict[int, int] = {}
        self.codes: dict[int, int] = {}

    def start(self, folder: Path, log: Path, otherwise: Callable[[], subprocess.Popen]) -> Forked:
        """Begin the run of a folder; `otherwise` begins it where the server cannot."""
        if self._process is None or self._process.poll() is not None:
            if self._process is not None:
                self.look()
            self._process = subprocess.Popen(
                [sys.executable, "-m", SERVER], env=self._environment, stdin=subprocess.PIPE,
                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
            os.set_blocking(self._process.stdout.fileno(), False)
            self._pending = b""
        identity = next(self._ids)
        self.ask({"id": identity, "folder": str(folder), "log": str(log), "work": os.getcwd()})
        return Forked(self, self._process, identity, otherwise)

    def ask(self, request: dict) -> None:
        """Send a line; nobody hears it where the server has ended."""
        with suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()

    def look(self) -> None:
        """Take note of what the server has told since."""
        while read := self._process.stdout.read(1 << 16):
            *lines, self._pending = (self._pending + read).split(b"\n")
            for line in lines:
                told = json.loads(line)
                kind = "pid" if "pid" in told else "code"
                (self.pids if kind == "pid" else self.codes)[told["id"]] = told[kind]

    def close(self) -> None:
        """End the server, and whatever still runs under it."""
        if self._process is None:
            return
        self._process.kill()
        self._process.wait(_END_SECONDS)
        for pipe in (self._process.stdin, self._process.stdout):
            with suppress(BrokenPipeError):  # of a request that was never read
                pipe.close()


class Forked:
    """The process of a run, with the methods of `subprocess.Popen` that engines use."""

    def __init__(self, server: ForkServer, process: subprocess.Popen, identity: int,
                 otherwise: Callable[[], subprocess.Popen]):
        self._server, self._process, self._id = server, process, identity
        self._otherwise, self._own = otherwise, None

    def poll(self) -> int | None:
        """Return the exit status, None while the run goes on."""
        if self._own is not None:
            return self._own.poll()
        ended = self._process.poll() is not None  # before what it told last is read
        self._server.look()
        code = self._server.codes.get(self._id)
        if code is not None or not ended:
            return code
        if self._id in self._server.pids:
            return -signal.SIGKILL  # it ends with its server
        self._own = self._otherwise()
        return None

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end; return the exit status. Raises subprocess.TimeoutExpired."""
        end = None if timeout is None else time.monotonic() + timeout
        while (code := self.poll()) is None:
            if end is not None and time.monotonic() > end:
                raise subprocess.TimeoutExpired(SERVER, timeout)
            time.sleep(_LOOK_SECONDS)
        return code

    def terminate(self) -> None:
        """Ask the process to end."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End the process."""
        self._signal(signal.SIGKILL)

    def _signal(self, number: int) -> None:
        if self._own is not None:
            self._own.send_signal(number)
        else:
            self._server.ask({"id": self._id, "signal": int(number)})
