"""Time and peak memory of recommending to 100,000 users out of 100,000 items.

    OMP_NUM_THREADS=1 python benchmarks/recommend.py
    python benchmarks/recommend.py --users=5000 --items=20000 --format=parquet

What `recbole-ssr recommend --all` does once a run is loaded: score all items for all users, leave
out what they have seen, rank, and write a file. Embeddings and interactions are seeded noise, of
which neither time nor memory depends on the values. The work is done in a process of its own, whose
peak memory is that of its whole life; what it held before the first score is printed beside it.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import scipy.sparse as sp
import torch
from step_time import hardware, own_peak

from recbole_ssr.serve.catalogue import Catalogue
from recbole_ssr.serve.ranking import Audience, ranked
from recbole_ssr.serve.scores import EmbeddingScores
from recbole_ssr.serve.writers import write_blocks

_SEED = 2020


def measured(args: argparse.Namespace, folder: Path) -> dict:
    """Recommend and return seconds, MiB and the size of the file."""
    generator = torch.Generator().manual_seed(_SEED)
    scores = EmbeddingScores(*(torch.randn(n + 1, args.width, generator=generator)
                               for n in (args.users, args.items)))
    users, items = (np.array(["[PAD]", *(f"{kind}{i:07d}" for i in range(n))])
                    for kind, n in (("u", args.users), ("i", args.items)))
    rng = np.random.default_rng(_SEED)
    pairs = (np.repeat(np.arange(1, len(users)), args.seen),
             rng.integers(1, len(items), args.users * args.seen))
    seen = sp.csr_matrix((np.ones(len(pairs[0]), np.float32), pairs), (len(users), len(items)))
    catalogue = Catalogue(users, items, seen, sp.csr_matrix(seen.shape),
                          np.asarray(seen.sum(0)).ravel())
    audience = Audience(users[1:], np.arange(1, len(users)), scores, seen)
    before, start, used = own_peak(), time.perf_counter(), time.process_time()
    path = folder / f"recommendations.{args.format}"
    rows = write_blocks(ranked(audience, catalogue, args.topk), path)
    return {"rows": rows, "seconds": time.perf_counter() - start,
            "processor": time.process_time() - used, "before": before, "peak": own_peak(),
            "file": path.stat().st_size / 2**20}


def main(argv: list[str] | None = None) -> int:
    args = _arguments(argv)
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        if args.worker:
            print(json.dumps(measured(args, Path(folder))))
            return 0
        words = sys.argv[1:] if argv is None else argv
        done = subprocess.run([sys.executable, __file__, "--worker", *words], capture_output=True,
                              text=True)
    if done.returncode:
        sys.exit(done.stderr)
    cost = json.loads(done.stdout.splitlines()[-1])
    print(f"{args.users:,} users x {args.items:,} items, width {args.width}, {args.seen} seen "
          f"items each, the {args.topk} best as {args.format}")
    print(f"{cost['rows']:,} rows, {cost['file']:,.0f} MiB: {cost['seconds']:,.1f} s wall, "
          f"{cost['processor']:,.1f} s processor; peak {cost['peak']:,.0f} MiB, of which "
          f"{cost['before']:,.0f} before the first score")
    print(hardware("cpu"))
    return 0


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("users", 100_000), ("items", 100_000), ("width", 64), ("seen", 20),
                          ("topk", 20)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--format", choices=("csv", "jsonl", "parquet"), default="csv")
    parser.add_argument("--folder", help="where the file is written; the system's own by default")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
