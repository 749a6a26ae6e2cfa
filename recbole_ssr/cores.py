"""The cores of this machine, and the environment of a process that has some of them."""

from __future__ import annotations

import os
from pathlib import Path

# Turns that an idle thread of libgomp waits for work before it sleeps. By its own default, 300,000,
# the threads of a process wait for one that the scheduler has set aside, and keep a core meanwhile:
# beside one busy process of another terminal, where Linux shares by terminals, an epoch takes 34
# times as long as alone; with 3,000 turns 2.5 times. Most gaps between two operations of torch are
# shorter than these, so that an idle machine does not notice (benchmarks/busy_machine.py).
SPINS = 3000


def spin_briefly() -> None:
    """Have idle threads of this process sleep soon; to be called before torch is imported.

    What the user set, by ``GOMP_SPINCOUNT`` or ``OMP_WAIT_POLICY``, stays.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", str(SPINS))


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
