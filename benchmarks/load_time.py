"""Reading, splitting and the loaders of made data: RecBole's own way against this package's.

    python benchmarks/load_time.py                       # one million and ten million interactions
    python benchmarks/load_time.py --sizes 1e5 --folder <folder>

Either way has a process of its own, up to the first training batch and the first batch of users to
rank; the data are those of scaling.py, split by a ratio of each user's interactions. RecBole's own
way is its Dataset, samplers and loaders without what this package puts in their place. Processor
seconds are those of the process, peaks what it held at most.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

from recbole.data import data_preparation
from recbole.data.dataloader import FullSortEvalDataLoader
from recbole.data.dataloader.abstract_dataloader import AbstractDataLoader
from recbole.data.dataset import Dataset
from recbole.sampler import Sampler
from recbole.sampler.sampler import AbstractSampler
from recbole.utils import init_seed
from scaling import data_of, name_of
from step_time import hardware, own_peak

from recbole_ssr.config import build_config
from recbole_ssr.data.dataset import FixedSplitDataset

WAYS = {"RecBole": Dataset, "recbole_ssr": FixedSplitDataset}
# What compat.py replaces for large data.
_REPLACED = ((Sampler, "get_used_ids"), (AbstractSampler, "sample_by_key_ids"),
             (AbstractDataLoader, "__init__"), (FullSortEvalDataLoader, "__init__"),
             (FullSortEvalDataLoader, "collate_fn"))


def load(way: str, settings: dict, dataset: str) -> dict:
    """Load a dataset one way; return seconds, by the clock and of the processor, and the peak."""
    if way == "RecBole":
        for owner, name in _REPLACED:
            setattr(owner, name, getattr(owner, name).__wrapped__)
    # RecBole has no split by a column: both draw one.
    columns = {"inter": ["user_id", "item_id"]}
    config = build_config("LightGCN", dataset, config_dict={
        **settings, "split_column": None, "load_col": columns})
    init_seed(config["seed"], config["reproducibility"])
    libraries, wall, processor = own_peak(), time.perf_counter(), time.process_time()
    data = WAYS[way](config)
    config["eval_batch_size"] = config["eval_users_per_step"] * data.item_num
    train, valid, _ = data_preparation(config, data)
    next(iter(train))
    next(iter(valid))
    return {"wall": time.perf_counter() - wall, "processor": time.process_time() - processor,
            "peak": own_peak(), "libraries": libraries}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", nargs="+", type=float, default=(10**6, 10**7),
                        metavar="INTERACTIONS")
    parser.add_argument("--folder", type=Path, help="keep the data here")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    warnings.filterwarnings("ignore", module=r"recbole\.")
    if arguments.child:
        print(json.dumps(load(*json.loads(arguments.child))))
        return 0
    print(f"{hardware('cpu')}\n\n| interactions | way | processor, s | wall, s | peak MiB |\n"
          "| --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for size in map(int, arguments.sizes):
            settings = data_of(size, folder)
            for way in WAYS:
                child = json.dumps([way, settings, name_of(size)])
                done = subprocess.run([sys.executable, __file__, "--child", child], check=True,
                                      stdout=subprocess.PIPE, text=True)
                found = json.loads(done.stdout.splitlines()[-1])
                print(f"| {size:,} | {way} | {found['processor']:.1f} | {found['wall']:.1f} | "
                      f"{found['peak']:,.0f} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
