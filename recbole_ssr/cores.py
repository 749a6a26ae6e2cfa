"""The cores of this machine, and the environment of a process that has some of them."""

from __future__ import annotations

import os
from pathlib import Path


def usable_cores() -> int:
    """Return the cores that this process may use, OMP_NUM_THREADS being a limit where it is set."""
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS and Windows
        cores = os.cpu_count() or 1
    limit = os.environ.get("OMP_NUM_THREADS", "")
    return min(cores, int(limit)) if limit.isdigit() and int(limit) else cores


def environment_of(threads: int) -> dict[str, str]:
    """Return this process's environment for the process of a run, on so many threads."""
    environment = {**os.environ, **variables(threads)}
    checkout = Path(__file__).resolve().parents[1]
    if (checkout / "properties" / "overall.yaml").is_file():  # not installed, perhaps
        paths = [str(checkout), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment["PYTHONPATH"] = os.pathsep.join(paths)
    return environment


def variables(threads: int) -> dict[str, str]:
    """Return the variables that keep the process of a run to so many threads."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    return dict.fromkeys(names, str(threads)) | {
        # Idle threads of OpenMP would spin on cores that the other runs could use.
        "OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "0",
        # A process that is killed or crashes leaves all that it had to say.
        "PYTHONUNBUFFERED": "1", "PYTHONFAULTHANDLER": "1",
    }
