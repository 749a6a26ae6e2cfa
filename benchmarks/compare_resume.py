"""A comparison killed twice in the middle and given again, against the same one left alone.

    python benchmarks/compare_resume.py --out=/tmp/resume      4 models x 3 seeds on ml-100k
    python benchmarks/compare_resume.py --out=/tmp/quick --models=BPR,SSR --seeds=2 --kill=1,2 \\
        --epochs=20                                            the same within minutes

`run_recbole_ssr.py --models=...` runs once in OUT/unbroken. Another time, in OUT/broken, its
process gets SIGKILL in the middle of a training as soon as so many runs are finished as --kill
says, and is started again. Everything in comparison.json must then be equal, bit for bit, except
what is measured of a process and not computed by it: times and peak memory.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from recbole_ssr.compare.store import PROGRESS_FILE
from recbole_ssr.result import FILE

COMMAND = Path(__file__).resolve().parents[1] / "run_recbole_ssr.py"
MODELS = "SSR,LightGCN,BPR,FREEDOM"
# Below these keys lies what no second run repeats.
UNREPEATABLE = ("seconds", "peak_mib")
LOOK_SECONDS = 0.1
SHOWN = 20  # differences


def main() -> int:
    args, settings = _arguments()
    base = [sys.executable, str(COMMAND), f"--models={args.models}", f"--dataset={args.dataset}",
            f"--seeds={args.seeds}", f"--jobs={args.jobs}", *settings]
    minutes, reports = {}, {}
    for name, kills in (("unbroken", []), ("broken", args.kill)):
        out = args.out.resolve() / name
        if out.exists():
            sys.exit(f"{out} exists: what is finished there would not be run. Name another --out")
        command, start = [*base, f"--out={out}"], time.perf_counter()
        for finished in kills:
            print(f"{name}: killed with {killed_in_training(command, out, finished)}", flush=True)
        if subprocess.run(command, stdout=subprocess.DEVNULL).returncode:
            sys.exit(f"{name}: the comparison failed: {' '.join(command)}")
        minutes[name] = (time.perf_counter() - start) / 60
        reports[name] = json.loads((out / "comparison.json").read_text())
        print(f"{name}: {minutes[name]:.1f} minutes", flush=True)
    different = list(differences(*(repeatable(reports[name], str(args.out.resolve() / name))
                                   for name in reports)))
    print("\n".join(different[:SHOWN]))
    runs = sum(len(line["results"]) for line in reports["unbroken"]["lines"])
    verdict = f"differs in {len(different)} values" if different else "equals the unbroken one"
    print(f"{runs} runs: the comparison that was killed {len(args.kill)} times {verdict}")
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, "
          f"{args.jobs} runs at a time")
    return 1 if different else 0


def killed_in_training(command: Sequence[str], out: Path, finished: int) -> str:
    """Run a comparison, kill it in a training once `finished` runs are; return where it was.

    Only the command's own process is killed: what it started must end by itself.
    """
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        while process.poll() is None:
            done, training = _runs_of(out / "runs")
            if done >= finished and training:
                process.kill()
                process.wait()
                where = ", ".join(f"{name} after epoch {epoch}" for name, epoch in training.items())
                return f"{done} runs finished; {where}"
            time.sleep(LOOK_SECONDS)
    finally:
        process.kill()
    sys.exit(f"the comparison ended with status {process.returncode} before {finished} runs were "
             "finished and another one training")


def _runs_of(folder: Path) -> tuple[int, dict[str, int]]:
    """Return how many runs are finished, and the epochs of those that are in training."""
    done, training = 0, {}
    for run in sorted(folder.glob("*/")):
        if (run / FILE).is_file():
            done += 1
        elif (run / PROGRESS_FILE).is_file():
            progress = json.loads((run / PROGRESS_FILE).read_text())
            if progress["state"] == "training" and progress["epoch"] > 1:
                training[run.name] = progress["epoch"]
    return done, training


def repeatable(content: object, out: str) -> object:
    """Return the content of a comparison.json without what no second run repeats.

    Paths below `out`, the folder of the comparison, become relative to it.
    """
    if isinstance(content, dict):
        return {key: repeatable(value, out) for key, value in content.items()
                if not any(word in key for word in UNREPEATABLE)}
    if isinstance(content, list):
        return [repeatable(value, out) for value in content]
    return content.replace(out, "OUT") if isinstance(content, str) else content


def differences(one: object, other: object, where: str = "") -> Iterator[str]:
    """Yield a line for every value in which two contents of json differ."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in [*one, *(key for key in other if key not in one)]:
            if key in one and key in other:
                yield from differences(one[key], other[key], f"{where}.{key}")
            else:
                yield f"{where}.{key}: only in the {'first' if key in one else 'second'}"
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for place, pair in enumerate(zip(one, other)):
            yield from differences(*pair, f"{where}[{place}]")
    elif type(one) is not type(other) or one != other:
        yield f"{where}: {one!r} and {other!r}"


def _arguments() -> tuple[argparse.Namespace, list[str]]:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0],
                                     epilog="Other flags are settings of all runs: --epochs=20")
    parser.add_argument("--out", type=Path, required=True, help="folder of both comparisons")
    parser.add_argument("--dataset", default="ml-100k")
    parser.add_argument("--models", default=MODELS)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time, sharing the cores")
    parser.add_argument("--kill", type=lambda text: [int(part) for part in text.split(",")],
                        default=[3, 8], help="numbers of finished runs at which to kill: 3,8")
    return parser.parse_known_args()


if __name__ == "__main__":
    sys.exit(main())
