"""Time and peak memory of preparing a dataset from raw files of Amazon's formats.

    python benchmarks/prepare_time.py                      300k interactions, 20k items x 4096
    python benchmarks/prepare_time.py --image_items=200000 the same out of a file of 3.3 GB

The raw files are made (seeded noise of the real sizes) in --folder, once; the preparation runs in a
process of its own, of which wall time, processor time and peak resident memory are reported.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import platform
import re
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
CATEGORY = "Benchmark_Goods"
DIM = 4096
WORDS = 5000


def main() -> None:
    args = _arguments()
    raw = Path(args.folder, f"raw-{args.users}-{args.items}-{args.interactions}-"
                            f"{args.image_items}")
    if not (raw / "done").is_file():
        _make(raw, args)
    data = Path(args.folder, "data")
    shutil.rmtree(data, ignore_errors=True)
    command = [sys.executable, str(ROOT / "run_recbole_ssr.py"), "prepare", f"amazon-{CATEGORY}",
               "--no-download", f"--raw={raw}", f"--data_path={data}",
               f"--text_encoder={args.text_encoder}", f"--cache_dir={data / 'cache'}",
               "--show_progress=False"]
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True)
    seconds = time.perf_counter() - start
    if done.returncode:
        sys.exit(done.stderr)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(re.sub(r"(?m)^.*is ready in.*\n", "", done.stderr).rstrip())
    sizes = {path.name: path.stat().st_size / 2**20 for path in raw.iterdir()}
    print("raw files, MiB: " + ", ".join(f"{name} {size:,.0f}" for name, size in sizes.items()
                                         if size > 1))
    print(f"{seconds:.1f} s wall, {used.ru_utime + used.ru_stime:.1f} s processor, "
          f"peak {used.ru_maxrss / 1024:,.0f} MiB")
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, "
          f"numpy {np.__version__}")


def _make(raw: Path, args: argparse.Namespace) -> None:
    """Write reviews, meta and image features; every user and item has at least 5 interactions."""
    shutil.rmtree(raw, ignore_errors=True)
    raw.mkdir(parents=True)
    rng = np.random.default_rng(args.seed)
    users, items = _pairs(rng, args)
    times = rng.integers(1_300_000_000, 1_400_000_000, len(users))
    stars = rng.integers(1, 6, len(users))
    with gzip.open(raw / f"reviews_{CATEGORY}_5.json.gz", "wt", compresslevel=1) as out:
        text = " ".join(["word"] * 80)  # reviews carry about this much text, which is skipped
        for u, i, t, s in zip(users, items, times, stars):
            out.write(json.dumps({"reviewerID": f"A{u:012d}", "asin": _asin(i), "reviewText": text,
                                  "overall": float(s), "unixReviewTime": int(t)}) + "\n")
    with gzip.open(raw / f"meta_{CATEGORY}.json.gz", "wt", compresslevel=1) as out:
        for i in range(args.image_items):
            words = " ".join(f"w{w}" for w in rng.zipf(1.3, 60) % WORDS)
            out.write(repr({"asin": _asin(i), "title": words[:80], "brand": f"b{i % 300}",
                            "categories": [["Goods", f"c{i % 40}"]], "description": words}) + "\n")
    with open(raw / f"image_features_{CATEGORY}.b", "wb") as out:
        for i in rng.permutation(args.image_items):
            out.write(_asin(i).encode() + rng.standard_normal(DIM, dtype=np.float32).tobytes())
    (raw / "done").touch()


def _pairs(rng: np.random.Generator, args: argparse.Namespace) -> tuple[np.ndarray, np.ndarray]:
    """Distinct pairs: five rounds that give each user and item one more, then popular items."""
    users = np.concatenate([rng.permutation(args.users) for _ in range(5)])
    items = np.concatenate([rng.permutation(np.arange(args.users) % args.items)
                            for _ in range(5)])
    more = args.interactions - len(users)
    users = np.concatenate([users, rng.integers(0, args.users, 2 * more)])
    items = np.concatenate([items, (args.items * rng.random(2 * more) ** 3).astype(int)])
    first = np.sort(np.unique(users * args.items + items, return_index=True)[1])
    return users[first[: args.interactions]], items[first[: args.interactions]]


def _asin(i: int) -> str:
    return f"B{i:09d}"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", default="prepare-benchmark", help="where files are made")
    parser.add_argument("--users", type=int, default=36_000)
    parser.add_argument("--items", type=int, default=20_000)
    parser.add_argument("--interactions", type=int, default=300_000)
    parser.add_argument("--image_items", type=int, default=20_000,
                        help="items of the image and meta files, of which the first are kept")
    parser.add_argument("--text_encoder", default="tfidf")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
