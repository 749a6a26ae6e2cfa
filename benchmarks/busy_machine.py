"""Seconds of an epoch of the first command: alone, beside a loop, and beside another run.

    python benchmarks/busy_machine.py

One run for every value of GOMP_SPINCOUNT, the turns that an idle thread waits for work before it
sleeps, in each place and round, in turn; and one on a single thread. The loop and the other run
have one thread, and a session of their own, as in another terminal: by default Linux shares the
cores between sessions (autogroup) before threads. Start it on an idle machine.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

from step_time import hardware

from recbole_ssr.cli import exit_status
from recbole_ssr.cores import SPINS

ROOT = Path(__file__).resolve().parents[1]
SETTINGS = {
    "libgomp's own, 300,000 turns": {"GOMP_SPINCOUNT": "300000"},
    f"{SPINS:,} turns, as `recbole_ssr` sets": {"GOMP_SPINCOUNT": str(SPINS)},
    "none": {"GOMP_SPINCOUNT": "0"},
    "one thread": {"OMP_NUM_THREADS": "1"},
}
CHOICES = ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=1, help="of every run")
    parser.add_argument("arguments", nargs="*", help="of the command, after --: none is ml-100k")
    arguments = parser.parse_args()
    command = [*arguments.arguments, f"--epochs={arguments.epochs}"]
    run = [str(ROOT / "run_recbole_ssr.py"), *arguments.arguments, "--epochs=100000"]
    places = {"alone": None, "beside a loop": ["-c", "while True: pass"], "beside another run": run}
    seconds = {(place, name): [] for name in SETTINGS for place in places}
    for _ in range(arguments.rounds):
        for place, other in places.items():
            for name, settings in SETTINGS.items():
                with beside(other):
                    seconds[place, name].append(seconds_of(command, settings))
    report(seconds, list(places), arguments.rounds)
    return 0


def seconds_of(command: list[str], settings: dict[str, str]) -> float:
    """Run the command with these variables in its environment; return its seconds per epoch."""
    others = {name: value for name, value in os.environ.items() if name not in CHOICES}
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, str(ROOT / "run_recbole_ssr.py"), *command, f"--run_dir={folder}"],
            env=others | settings, capture_output=True, text=True)
        if done.returncode:
            sys.exit(done.stderr)
        [metrics] = Path(folder).rglob("metrics.json")
        return json.loads(metrics.read_text())["seconds_per_epoch"]


@contextmanager
def beside(arguments: list[str] | None):
    """Let another Python with these arguments run on one thread meanwhile, or nothing."""
    if arguments is None:
        yield
        return
    with tempfile.TemporaryDirectory() as folder:
        other = subprocess.Popen(
            [sys.executable, *arguments], cwd=folder, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, start_new_session=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"})
        try:
            yield
        finally:
            other.kill()
            other.wait()


def report(seconds: dict[tuple[str, str], list[float]], places: list[str], rounds: int) -> None:
    """Print the median seconds of every setting in each place."""
    print(f"Seconds per epoch, medians of {rounds}; {hardware('cpu')}\n")
    print(f"| idle threads wait | {' | '.join(places)} |")
    print("|---" * (1 + len(places)) + "|")
    for name in SETTINGS:
        cells = [f"{statistics.median(seconds[place, name]):.1f}" for place in places]
        print(f"| {' | '.join([name, *cells])} |")


if __name__ == "__main__":
    sys.exit(exit_status(main))
