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
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from datasets import INTERACTIONS, convert

import recbole_ssr  # noqa: F401  (repairs and registers)
from recbole_ssr import runs
from recbole_ssr.cli import exit_status
from recbole_ssr.config import build_config
from recbole_ssr.flags import parse_flags
from recbole_ssr.quick_start import prepare, trainer_of

NAMES = ("SSR", "LightGCN")
_WARM_UP = 5


class Built(NamedTuple):
    """A model to be measured: `step` runs training step k and returns its seconds."""

    step: Callable[[int], float]
    model: torch.nn.Module
    device: str

    @property
    def parameters(self) -> int:
        return sum(p.numel() for p in self.model.parameters())


def steps(model_name: str, dataset: str, settings: dict, batch_size: int) -> Built:
    """Build a model and its training step on batches drawn beforehand."""
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

    return Built(step, model, str(config["device"]))


def interleaved(measured: Sequence[Callable[[int], float]], rounds: int) -> list[tuple]:
    """Run the steps in turn, `rounds` times after warming up; return their seconds by step."""
    for step in measured:
        for k in range(_WARM_UP):
            step(k)
    return list(zip(*([step(k) for step in measured] for k in range(rounds))))


def quartiles_of(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the median, then the lower and the upper quartile."""
    low, middle, high = statistics.quantiles(values, n=4)
    return middle, low, high


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
    built = steps(*json.loads(content))
    interleaved([built.step], 0)
    print(json.dumps(own_peak() or runs.peak_mib(torch.device(built.device))))


def own_peak() -> float | None:
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
    times = interleaved([one.step for one in built], arguments.pairs)
    print(hardware(built[0].device))
    print(f"{dataset}, batch {arguments.batch_size}, {arguments.pairs} interleaved pairs")
    for one, name, column in zip(built, NAMES, times):
        middle, low, high = (1e3 * value for value in quartiles_of(column))
        peak = peak_of(name, dataset, settings[name], arguments.batch_size)
        print(f"  {name:9s} {middle:7.1f} ms a step (quartiles {low:.1f}, {high:.1f}), "
              f"{one.parameters:,} parameters"
              + ("" if peak is None else f", peak {peak:,.0f} MiB"))
    middle, low, high = quartiles_of([ssr / light for ssr, light in zip(*times)])
    print(f"  ratio SSR / LightGCN, median of pairs: {middle:.2f} (quartiles {low:.2f}, "
          f"{high:.2f})")


def parser_of(doc: str) -> argparse.ArgumentParser:
    """Return a parser of the data and the size of a measurement."""
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder with tiktok/ and baby-lattice/")
    parser.add_argument("--dataset", choices=("ml-100k", *INTERACTIONS),
                        help="default: tiktok with --data, else ml-100k")
    parser.add_argument("--pairs", type=int, default=40)
    parser.add_argument("--batch_size", type=int, default=2048)
    return parser


def on_data(arguments: argparse.Namespace, measure: Callable[[str, dict], None]) -> int:
    """Call `measure` with the dataset and its settings; return 0, the exit status."""
    warnings.filterwarnings("ignore", module=r"recbole\.")
    dataset = arguments.dataset or ("tiktok" if arguments.data else "ml-100k")
    with tempfile.TemporaryDirectory() as folder:
        data = {}
        if dataset in INTERACTIONS:
            data = convert(dataset, arguments.data or Path(), Path(folder))
        measure(dataset, data)
    return 0


def main() -> int:
    parser = parser_of(__doc__)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE",
                        help="a setting of SSR; may be repeated")
    parser.add_argument("--memory_of", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.memory_of:
        warnings.filterwarnings("ignore", module=r"recbole\.")
        measure_memory(arguments.memory_of)
        return 0

    def measure(dataset: str, data: dict) -> None:
        changes = parse_flags([f"--{pair}" for pair in arguments.set])
        report(dataset, {"SSR": {**data, **changes}, "LightGCN": data}, arguments)

    return on_data(arguments, measure)


if __name__ == "__main__":
    sys.exit(exit_status(main))
