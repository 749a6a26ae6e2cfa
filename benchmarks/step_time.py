"""Training step of SSR against RecBole's own LightGCN (2 layers, 64-d) on the same data.

    python benchmarks/step_time.py                       # ml-100k
    python benchmarks/step_time.py --data <folder>       # tiktok, from <folder>/tiktok
    python benchmarks/step_time.py --data <folder> --dataset baby-lattice
    python benchmarks/step_time.py --set profile=reference --set n_layers=1

Pairs of steps alternate in one process, on the same batch size; the figure is the median over
pairs of the ratio SSR / LightGCN. A step is loss, backward and Adam as the trainer runs them; the
batches are drawn beforehand and cost neither model anything. Peak memory is that of a process of
its own for each model, which loads the data, builds the model and runs a few steps.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from datasets import INTERACTIONS, convert

import recbole_ssr  # noqa: F401  (repairs and registers)
from recbole_ssr import runs
from recbole_ssr.config import build_config
from recbole_ssr.errors import UserError
from recbole_ssr.flags import parse_flags
from recbole_ssr.quick_start import prepare, trainer_of

NAMES = ("SSR", "LightGCN")
_WARM_UP = 5


def steps(model_name: str, dataset: str, settings: dict, batch_size: int):
    """Return a function that runs one training step, and the model's number of parameters."""
    settings = {**settings, "show_progress": False, "train_batch_size": batch_size}
    if model_name == "LightGCN":
        settings |= {"n_layers": 2, "embedding_size": 64}
    config = build_config(model_name, dataset, config_dict=settings)
    config["run_folder"] = config["checkpoint_dir"] = tempfile.mkdtemp()
    experiment = prepare(config)
    trainer = trainer_of(experiment)
    model, optimizer = experiment.model.train(), trainer.optimizer
    batches = [batch.to(config["device"]) for batch, _ in zip(experiment.train, range(20))]

    def step(k: int) -> float:
        batch = batches[k % len(batches)]
        start = time.perf_counter()
        optimizer.zero_grad()
        loss = model.calculate_loss(batch)
        (sum(loss) if isinstance(loss, tuple) else loss).backward()
        optimizer.step()
        if config["device"].type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - start

    return step, sum(p.numel() for p in model.parameters()), str(config["device"])


def hardware(device: str) -> str:
    """One line about the machine."""
    cpu = platform.processor() or platform.machine()
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                cpu = line.split(":", 1)[1].strip()
                break
    except OSError:
        pass
    gpu = torch.cuda.get_device_name() if device.startswith("cuda") else "no GPU in use"
    return (f"{cpu}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, {gpu}, torch "
            f"{torch.__version__}, numpy {np.__version__}, Python {platform.python_version()}")


def peak_of(model_name: str, dataset: str, settings: dict, batch_size: int) -> float | None:
    """Peak resident MiB of a process that prepares a model and runs a few steps."""
    content = json.dumps([model_name, dataset, settings, batch_size])
    done = subprocess.run([sys.executable, __file__, "--memory_of", content],
                          capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"the process that measures {model_name}'s memory failed with status "
                           f"{done.returncode}: {done.stderr.strip()[-300:]}")
    return json.loads(done.stdout.splitlines()[-1])


def measure_memory(content: str) -> None:
    """The process of :func:`peak_of`: print its own peak as the last line."""
    step, _, device = steps(*json.loads(content))
    for k in range(_WARM_UP):
        step(k)
    print(json.dumps(_own_peak() or runs.peak_mib(torch.device(device))))


def _own_peak() -> float | None:
    """Peak resident MiB since this program was loaded, where the system tells (Linux).

    getrusage would count the process that this one was forked from, in which both models live.
    """
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return None
    peaks = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(peaks[0]) / 2**10 if peaks else None


def report(dataset: str, settings: dict[str, dict], arguments) -> None:
    """Measure both models and print times, memory and the ratio."""
    built = [steps(name, dataset, settings[name], arguments.batch_size) for name in NAMES]
    for step, *_ in built:
        for k in range(_WARM_UP):
            step(k)
    times = [[step(k) for step, *_ in built] for k in range(arguments.pairs)]
    print(hardware(built[0][2]))
    print(f"{dataset}, batch {arguments.batch_size}, {arguments.pairs} interleaved pairs")
    for (_, size, _), name, column in zip(built, NAMES, zip(*times)):
        low, middle, high = statistics.quantiles(column, n=4)
        peak = peak_of(name, dataset, settings[name], arguments.batch_size)
        print(f"  {name:9s} {middle * 1e3:7.1f} ms a step (quartiles {low * 1e3:.1f}, "
              f"{high * 1e3:.1f}), {size:,} parameters"
              + ("" if peak is None else f", peak {peak:,.0f} MiB"))
    ratios = [ssr / light for ssr, light in times]
    low, middle, high = statistics.quantiles(ratios, n=4)
    print(f"  ratio SSR / LightGCN, median of pairs: {middle:.2f} (quartiles {low:.2f}, "
          f"{high:.2f})")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder with tiktok/ and baby-lattice/")
    parser.add_argument("--dataset", choices=("ml-100k", *INTERACTIONS),
                        help="default: tiktok with --data, else ml-100k")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE",
                        help="a setting of SSR; may be repeated")
    parser.add_argument("--pairs", type=int, default=40)
    parser.add_argument("--batch_size", type=int, default=2048)
    parser.add_argument("--memory_of", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    arguments.dataset = arguments.dataset or ("tiktok" if arguments.data else "ml-100k")
    if arguments.dataset in INTERACTIONS and not (arguments.data or arguments.memory_of):
        parser.error(f"--dataset {arguments.dataset} needs --data, the folder that holds it")
    return arguments


def main() -> int:
    arguments = parse()
    warnings.filterwarnings("ignore", module=r"recbole\.")
    if arguments.memory_of:
        measure_memory(arguments.memory_of)
        return 0
    try:
        own = parse_flags([f"--{pair}" for pair in arguments.set])
        with tempfile.TemporaryDirectory() as folder:
            data = {}
            if arguments.dataset in INTERACTIONS:
                data = convert(arguments.dataset, arguments.data, Path(folder))
            report(arguments.dataset, {"SSR": {**data, **own}, "LightGCN": data}, arguments)
    except (UserError, FileNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
