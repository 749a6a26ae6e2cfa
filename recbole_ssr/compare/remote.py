"""What a machine of a cluster does for a run: watch over its process, and look at the storage.

Standard library only: these functions travel to the machines by value, so that the process that
watches need not import torch as well.
"""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import time
from importlib.machinery import PathFinder

WORKER = "recbole_ssr.compare.worker"
LOOK_SECONDS = 0.1


def supervise(folder: str, log: str, work: str, variables: dict[str, str]) -> int:
    """Run the process of the run in `folder` and return its exit status.

    It works in the folder `work`, with `variables` over the machine's own, its output goes to the
    file `log`. It ends when the process that watches it ends, and when Ray cancels the task: Ray
    interrupts the watching process, as Ctrl-C does.
    """
    cancelled = []
    before = signal.signal(signal.SIGINT, lambda *_: cancelled.append(True))
    command = [sys.executable, "-m", WORKER, folder, str(os.getpid())]
    try:
        with open(log, "ab") as output:
            child = subprocess.Popen(command, cwd=work, env={**os.environ, **variables},
                                     stdin=subprocess.DEVNULL, stdout=output,
                                     stderr=subprocess.STDOUT)
        try:
            while child.poll() is None and not cancelled:
                time.sleep(LOOK_SECONDS)
        finally:
            child.kill()  # nothing where it has ended
        return child.wait()
    finally:
        signal.signal(signal.SIGINT, before or signal.default_int_handler)


def cannot_run(token: str, content: str, work: str) -> str:
    """Return why this machine cannot do the runs of a comparison, "" where nothing is in the way.

    `token` is a file that was just written with `content`: on storage that all machines share it is
    here, too.
    """
    try:
        with open(token) as file:
            shared = file.read() == content
    except OSError:
        shared = False
    if not shared:
        return "does not see the comparison's folder"
    if not os.path.isdir(work):
        return f"does not see the working folder {work}"
    if not (importlib.util.find_spec("recbole_ssr") or PathFinder.find_spec("recbole_ssr", [work])):
        return f"has no recbole_ssr for {sys.executable}"
    return ""
