"""What a command costs before and beside training: processor and wall seconds of two checkouts.

    git worktree add /tmp/before 0d40423
    python benchmarks/startup.py --before=/tmp/before

runs the same commands in turn from the checkout given and from this one, on 40 users and 24 items,
so that nearly all of it is start-up, drawing and writing: `--help`, one run of SSR, and a
comparison of four runs, one at a time. Processor seconds are those of the command and all of its
processes, and hardly depend on what else the machine does; wall seconds do.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import yaml
from step_time import hardware

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))
from tiny import SETTINGS, write_tiny  # noqa: E402

RUN = ("--config_files", "tiny.yaml", "--epochs=1")
COMMANDS = {
    "--help": ("--help",),
    "a run": (*RUN, "--model=SSR"),
    "a comparison of 4 runs": (*RUN, "--models=BPR,LightGCN", "--seeds=2", "--jobs=1"),
}
SIDES = ("before", "after")


class Cost(NamedTuple):
    """Seconds of a command: of all processors that it used, and on the wall."""

    processor: float
    wall: float


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--before", type=Path, required=True, help="a checkout to compare with")
    parser.add_argument("--pairs", type=int, default=5, help="runs of every command per checkout")
    parser.add_argument("--threads", type=int, default=1, help="threads of a run")
    args = parser.parse_args()
    checkouts = dict(zip(SIDES, (args.before.resolve(), ROOT)))
    load = os.getloadavg()[0]
    costs: dict = {name: [] for name in COMMANDS}
    with tempfile.TemporaryDirectory() as folder:
        data = write_tiny(Path(folder, "data"))
        Path(folder, "tiny.yaml").write_text(yaml.safe_dump(SETTINGS | data | {"dataset": "tiny"}))
        for pair in range(args.pairs):
            for name, arguments in COMMANDS.items():
                costs[name].append({side: cost(checkouts[side], arguments, Path(folder), side,
                                               pair, args.threads) for side in SIDES})
    print(f"{args.pairs} interleaved pairs, medians; {hardware('cpu')}; load of the machine "
          f"{load:.1f} before, {os.getloadavg()[0]:.1f} after\n")
    print("| command | processor s before | after | ratio | wall s before | after | ratio |")
    print("|---|---|---|---|---|---|---|")
    for name, pairs in costs.items():
        row = [cell for kind in Cost._fields for cell in cells(pairs, kind)]
        print(f"| {' | '.join([name, *row])} |")
    return 0


def cost(checkout: Path, arguments: tuple[str, ...], folder: Path, side: str, pair: int,
         threads: int) -> Cost:
    """Run a command of a checkout; what it leaves is of this side and pair alone."""
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "PYTHONWARNINGS": "ignore",
                                "RECBOLE_SSR_CACHE": str(folder / f"cache-{side}")}
    place = f"{side}-{pair}"
    more = () if "--help" in arguments else (
        (f"--out={place}",) if any("--models" in word for word in arguments)
        else (f"--run_dir={place}",))
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, str(checkout / "run_recbole_ssr.py"), *arguments, *more],
        cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{side}: {' '.join([*arguments, *more])} failed")
    return Cost(used.ru_utime + used.ru_stime, time.perf_counter() - start)


def cells(pairs: list[dict[str, Cost]], kind: str) -> list[str]:
    """Return the median of both sides, and of the ratios of the pairs."""
    before, after = ([getattr(pair[side], kind) for pair in pairs] for side in SIDES)
    ratios = [one / other for one, other in zip(after, before)]
    return [f"{statistics.median(before):.1f}", f"{statistics.median(after):.1f}",
            f"{statistics.median(ratios):.2f}"]


if __name__ == "__main__":
    sys.exit(main())
