"""The process that has imported what runs need and forks one for each: none waits for imports.

    python -m recbole_ssr.compare.fork_server

Lines of JSON come in: ``{"id", "folder", "log", "work"}`` begins the run of a folder, in the
working folder `work` and with its output in the file `log`; ``{"id", "signal"}`` sends its process
a signal. Lines go out: ``{"id", "pid"}`` once it has begun, and ``{"id", "code"}`` once it has
ended, negative for the signal that ended it. When its input ends this process does, and its runs
do with it. Nothing here may start a thread or CUDA: neither survives a fork.
"""

from __future__ import annotations

import importlib
import json
import os
import select
import signal
import sys

WORKER = "recbole_ssr.compare.worker"
# What a run imports on its way. Drawing is the last that it does.
_LATER = ("recbole_ssr.report.learning_curve", "torch.utils.tensorboard")
_LOOK_SECONDS = 0.05
UNFIT = 1  # exit status: runs have to be programs of their own


def main() -> int:
    """Serve until the input ends; in the process of a run, do it and return its exit status."""
    # Ctrl-C reaches all processes of a terminal; the command decides what becomes of its runs.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    asked, told = os.dup(0), os.dup(1)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)  # what an import prints is no answer
    for name in (WORKER, *_LATER):
        importlib.import_module(name)
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        return UNFIT
    run = _serve(asked, told)
    return importlib.import_module(WORKER).main(run) if run else 0


def _serve(asked: int, told: int) -> list[str] | None:
    """Return the arguments of a run in the process that was forked for it, None at the end."""
    running: dict[int, int] = {}  # process ids by the id of their run
    pending = b""
    while True:
        if select.select([asked], [], [], _LOOK_SECONDS)[0]:
            read = os.read(asked, 1 << 16)
            if not read:
                return None
            *lines, pending = (pending + read).split(b"\n")
            for line in lines:
                request = json.loads(line)
                if "signal" in request:
                    if request["id"] in running:
                        os.kill(running[request["id"]], request["signal"])
                    continue
                pid = os.fork()
                if pid == 0:
                    os.close(asked)
                    os.close(told)
                    return _become(request)
                running[request["id"]] = pid
                _tell(told, {"id": request["id"], "pid": pid})
        for identity, pid in list(running.items()):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                del running[identity]
                _tell(told, {"id": identity, "code": os.waitstatus_to_exitcode(status)})


def _become(request: dict) -> list[str]:
    """Turn this process into that of a run; return the arguments of its program."""
    os.chdir(request["work"])
    log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    arguments = [request["folder"], str(os.getppid())]
    sys.argv[1:] = arguments  # RecBole reads them
    return arguments


def _tell(told: int, answer: dict) -> None:
    os.write(told, json.dumps(answer).encode() + b"\n")


if __name__ == "__main__":
    sys.exit(main())
