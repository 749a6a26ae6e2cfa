"""Peak memory of every model with item features on 100,000 items x 384 numbers.

    python benchmarks/baselines_memory.py                            # every model, one by one
    python benchmarks/baselines_memory.py --models GFCF FREEDOM
    python benchmarks/baselines_memory.py --models BM3 --items=2000 --users=1000 \\
        --interactions=10000

The data are made, seeded noise: the time and memory of a model do not depend on what features say.
Each model has a process of its own, which loads the data, builds the model, begins an epoch, runs a
few training steps and scores all items for one block of users; what stands in the table is the most
that this process ever held. Item graphs are computed, or taken from the folder --cache where an
earlier model left them: computing one takes minutes, and less memory than training.
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

import numpy as np
import recbole.data.dataset as host_dataset
import torch
from made_data import write
from step_time import hardware, own_peak

import recbole_ssr  # noqa: F401  (repairs and registers)
from recbole_ssr import registry
from recbole_ssr.cli import exit_status
from recbole_ssr.compare.data import load_data
from recbole_ssr.config import build_config
from recbole_ssr.data.dataset import MultimodalDataset
from recbole_ssr.errors import UserError
from recbole_ssr.quick_start import prepare, trainer_of

DATASET, SEED = "made", 2020
DATA_ALONE = "data alone"
_HELD_OUT = 20  # one interaction of so many is for validation, one for test
_COLUMNS = {"model": 16, "peak MiB": 9, "beyond data": 12, "seconds": 8}


def models_with_features() -> tuple[str, ...]:
    """Return the plugin's models whose dataset has item features."""
    return tuple(name for name in registry.MODELS
                 if issubclass(getattr(host_dataset, f"{name}Dataset"), MultimodalDataset))


def make(folder: Path, users: int, items: int, interactions: int, width: int) -> dict:
    """Write a dataset of noise in which every user and item occurs; return a run's settings."""
    rng = np.random.default_rng(SEED)
    user = np.arange(max(interactions, users, items)) % users
    item = np.concatenate([rng.permutation(items),
                           rng.integers(items, size=max(0, len(user) - items))])[: len(user)]
    pairs = np.unique(np.stack([user, item], axis=1), axis=0)
    part = np.zeros(len(pairs), dtype=int)
    part[::_HELD_OUT], part[1::_HELD_OUT] = 1, 2
    matrix = rng.standard_normal((items, width), dtype=np.float32)
    return write(folder, DATASET, *pairs.T, part, {"text": matrix})


def exercise(name: str, settings: dict, arguments) -> None:
    """Build a model, begin an epoch, train a few steps and score one block of users."""
    settings = {**settings, "train_batch_size": arguments.batch_size}
    with tempfile.TemporaryDirectory() as folder:
        settings["cache_dir"] = arguments.cache or folder
        config = build_config(name, DATASET, config_dict=settings)
        config["run_folder"] = config["checkpoint_dir"] = folder
        experiment = prepare(config)
        trainer = trainer_of(experiment)
    model, device = experiment.model.train(), config["device"]
    if hasattr(model, "begin_epoch"):
        model.begin_epoch(0)
    for batch, _ in zip(experiment.train, range(arguments.steps)):
        trainer.optimizer.zero_grad()
        loss = model.calculate_loss(batch.to(device))
        (sum(loss) if isinstance(loss, tuple) else loss).backward()
        trainer.optimizer.step()
    dataset = experiment.dataset
    users = torch.arange(1, min(arguments.block + 1, dataset.user_num), device=device)
    with torch.no_grad():
        scores = model.eval().full_sort_predict({dataset.uid_field: users})
        scores.view(len(users), -1).topk(min(20, dataset.item_num))


def child(name: str, settings: dict, arguments) -> None:
    """The process of one model: print its peak, or what it refused, as the last line."""
    start = time.perf_counter()
    try:
        if name == DATA_ALONE:
            load_data({**settings, "dataset": DATASET})
        else:
            exercise(name, settings, arguments)
    except UserError as error:
        print(json.dumps({"error": f"refused: {error}"}))
        return
    print(json.dumps({"peak": own_peak(), "seconds": time.perf_counter() - start}))


def measured(name: str, settings: dict, arguments) -> dict:
    """Run a model in a process of its own; return its peak MiB and seconds, or its error."""
    command = [sys.executable, __file__, "--child", json.dumps([name, settings]),
               f"--batch_size={arguments.batch_size}", f"--steps={arguments.steps}",
               f"--block={arguments.block}"]
    command += [f"--cache={arguments.cache}"] if arguments.cache else []
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=arguments.timeout)
    except subprocess.TimeoutExpired:
        return {"error": f"not done after {arguments.timeout:.0f} s"}
    if done.returncode < 0:
        return {"error": f"ended by signal {-done.returncode}; 9 is often for lack of memory"}
    if done.returncode:
        return {"error": f"failed: {done.stderr.strip().splitlines()[-1]}"}
    return json.loads(done.stdout.splitlines()[-1])


def report(arguments) -> None:
    """Measure the data alone, then the models, and print a row each as it is known."""
    with tempfile.TemporaryDirectory() as folder:
        sizes = (arguments.users, arguments.items, arguments.interactions, arguments.width)
        settings = make(Path(folder), *sizes)
        print(hardware("cpu"))
        print(f"{arguments.users:,} users, {arguments.items:,} items x {arguments.width}, about "
              f"{arguments.interactions:,} interactions; {arguments.steps} steps of "
              f"{arguments.batch_size}, a block of {arguments.block} users\n")
        for cells in (list(_COLUMNS), ["-" * width for width in _COLUMNS.values()]):
            _print(cells)
        alone = None
        for name in (DATA_ALONE, *arguments.models):
            outcome = measured(name, settings, arguments)
            if "error" in outcome:
                _print([name, outcome["error"]])
                continue
            peak = outcome["peak"]
            beyond = "" if alone is None or peak is None else f"{peak - alone:,.0f}"
            _print([name, "" if peak is None else f"{peak:,.0f}", beyond,
                    f"{outcome['seconds']:.1f}"])
            alone = peak if name == DATA_ALONE else alone


def _print(cells: list[str]) -> None:
    print(" | ".join(cell.ljust(width) for cell, width in zip(cells, _COLUMNS.values())).rstrip(),
          flush=True)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=models_with_features(), metavar="MODEL")
    for flag, default in (("users", 50_000), ("items", 100_000), ("interactions", 500_000),
                          ("width", 384), ("batch_size", 2048), ("steps", 3), ("block", 512)):
        parser.add_argument(f"--{flag}", type=int, default=default)
    parser.add_argument("--timeout", type=float, default=3600, help="seconds for one model")
    parser.add_argument("--cache", help="folder that keeps item graphs from model to model")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    warnings.filterwarnings("ignore", module=r"recbole\.")
    if arguments.child:
        child(*json.loads(arguments.child), arguments)
        return 0
    arguments.models = [registry.canonical(name) for name in arguments.models]
    report(arguments)
    return 0


if __name__ == "__main__":
    sys.exit(exit_status(main))
