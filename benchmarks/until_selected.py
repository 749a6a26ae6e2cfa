"""Seconds until the selected epoch, side by side: what a whole run takes.

    recbole-ssr --config_files benchmarks/compare_tiktok.yaml --jobs=2
    python benchmarks/until_selected.py comparisons/tiktok/runs/{SSR,LightGCN,FREEDOM}-seed2020-*

The finished runs say which epoch each selected. What an epoch of it and an evaluation take is
measured anew, in turns in one process, medians over rounds: their runs may have met other loads.
A closed form is fitted once, when it is built.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from step_time import hardware

from recbole_ssr.cli import exit_status
from recbole_ssr.errors import UserError
from recbole_ssr.quick_start import load_run, trainer_of
from recbole_ssr.train.sampling import balanced

_COLUMNS = ("model", "valid", "test", "epochs", "epoch, s", "evaluation, s",
            "until selected, s", "/ first")


class Finished(NamedTuple):
    """A finished run and what trains it further."""

    name: str
    result: dict
    trainer: object
    loader: object
    valid: object
    metric: str
    fit_seconds: float

    @property
    def epochs(self) -> int:
        """Epochs up to the selected one; 0 for a closed form."""
        return 0 if self.fit_seconds else self.result["best_epoch"] + 1

    def round(self, k: int) -> tuple[float, float]:
        """Train an epoch and evaluate; return the seconds of each."""
        if not self.epochs:
            return 0.0, 0.0
        start = time.perf_counter()
        self.trainer._train_epoch(self.loader, k)
        between = time.perf_counter()
        self.trainer.evaluate(self.valid, load_best_model=False)
        return between - start, time.perf_counter() - between

    def until_selected(self, epoch: float, evaluation: float) -> float:
        return self.fit_seconds + self.epochs * (epoch + evaluation)


def finished(folder: Path) -> Finished:
    """Load a finished run. Raises UserError where it is none."""
    if not (folder / "metrics.json").exists():
        raise UserError(f"{folder} has no metrics.json: give folders of finished runs")
    result = json.loads((folder / "metrics.json").read_text())
    experiment = load_run(folder, device="cpu", stage="training")
    task = folder / "task.json"  # of a comparison: what its line is called
    name = json.loads(task.read_text())["label"] if task.exists() else result["model"]
    return Finished(
        name, result, trainer_of(experiment),
        balanced(experiment.train, experiment.config["sampling_power"]), experiment.valid,
        experiment.config["valid_metric"].lower(), getattr(experiment.model, "fit_seconds", 0.0))


def measure(runs: Sequence[Finished], rounds: int) -> list[list[tuple[float, float]]]:
    """Run the models in turn, one round before all to warm up; return (epoch, evaluation) s."""
    for run in runs:
        run.round(0)
    return list(zip(*([run.round(1 + k) for run in runs] for k in range(rounds))))


def report(runs: Sequence[Finished], rounds: int) -> None:
    print(f"{hardware('cpu')}\n{runs[0].result['dataset']}, {runs[0].metric}, {rounds} rounds\n")
    for cells in (_COLUMNS, ["---"] * len(_COLUMNS)):
        print(f"| {' | '.join(cells)} |")
    first = None
    for run, times in zip(runs, measure(runs, rounds)):
        epoch, evaluation = (statistics.median(column) for column in zip(*times))
        seconds = run.until_selected(epoch, evaluation)
        first = first or seconds
        scores = [f"{run.result[part][run.metric]:.4f}".lstrip("0") for part in ("valid", "test")]
        each = [f"{epoch:.2f}", f"{evaluation:.2f}"] if run.epochs else ["", ""]
        print(f"| {run.name} | {' | '.join(scores)} | {run.epochs or 'closed form'} | "
              f"{' | '.join(each)} | {seconds:.0f} | {seconds / first:.2f} |")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path, help="folders of finished runs")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, help="default: all cores")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore", module=r"recbole\.")
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    report([finished(folder) for folder in arguments.folders], arguments.rounds)
    return 0


if __name__ == "__main__":
    sys.exit(exit_status(main))
