"""Training steps as they come and as one captured graph, and epochs, on a GPU.

    python benchmarks/captured_step.py --data <folder> --dataset tiktok
    python benchmarks/captured_step.py --data <folder> --dataset baby-lattice --only SSR FREEDOM

The models' steps alternate in one process with those of RecBole's LightGCN (2 layers, 64-d); the
figures are medians over rounds. A captured step (setting cuda_graph) is what its trainer does:
draw, pad and copy the batch, replay the graph. Its loss is compared with that of the plain step on
the same parameters. An epoch is the second one of a trainer, with its loader and negatives. Without
a GPU nothing is captured, and the columns show what fixed shapes cost there.
"""

from __future__ import annotations

import statistics
import sys
import time
from copy import deepcopy

import torch
from baselines_step import _ratio
from step_time import hardware, interleaved, on_data, parser_of, quartiles_of, steps

import recbole_ssr  # noqa: F401  (repairs and registers)
from recbole_ssr.cli import exit_status
from recbole_ssr.config import build_config
from recbole_ssr.quick_start import prepare, trainer_of
from recbole_ssr.train.fixed_step import FixedStep
from recbole_ssr.train.sampling import balanced

MODELS = ("FastLightGCN", "LATTICE", "FREEDOM", "MGCN", "SMORE", "PGL", "SSR")
_COLUMNS = ("model", "ms", "captured, ms", "/ LightGCN", "captured / LightGCN", "loss differs by",
            "epoch, s", "captured, s")


def trainer_for(name: str, dataset: str, data: dict, batch_size: int, captured: bool):
    """Return the loader and the trainer of a model."""
    settings = {**data, "show_progress": False, "train_batch_size": batch_size,
                "cuda_graph": captured}
    config = build_config(name, dataset, config_dict=settings)
    experiment = prepare(config)
    return balanced(experiment.train, config["sampling_power"]), trainer_of(experiment)


def difference(trainer, batches) -> float:
    """Return by how much the losses of both kinds of step differ, relatively, at most."""
    model, device = trainer.model, trainer.device
    plain = deepcopy(model)
    fixed = FixedStep(model, torch.optim.SGD(model.parameters(), lr=0.0), device)
    worst = 0.0
    for batch in batches:
        plain.generator.set_state(model.generator.get_state())
        expected = sum(plain.calculate_loss(batch.to(device)))
        worst = max(worst, abs(fixed(batch).sum().item() / expected.item() - 1))
    return worst


def seconds_of_epoch(loader, trainer) -> float:
    """Return the seconds of a trainer's second epoch."""
    trainer._train_epoch(loader, 0)
    start = time.perf_counter()
    trainer._train_epoch(loader, 1)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


def row(name: str, dataset: str, data: dict, light, arguments) -> list[str]:
    """Measure a model; return the cells of its row."""
    plain = steps(name, dataset, data, arguments.batch_size)
    loader, trainer = trainer_for(name, dataset, data, arguments.batch_size, captured=False)
    epoch = f"{seconds_of_epoch(loader, trainer):.2f}"
    if plain.model.why_no_fixed_steps(trainer.config):
        direct, other = interleaved([plain.step, light.step], arguments.pairs)
        return [name, _ms(direct), "", _ratio(direct, other), "", "", epoch, ""]
    loader, trainer = trainer_for(name, dataset, data, arguments.batch_size, captured=True)
    batches = [batch for batch, _ in zip(loader, range(20)) if len(batch) == arguments.batch_size]
    differs = difference(trainer, batches[:6])
    fixed = FixedStep(trainer.model.train(), trainer.optimizer, trainer.device)

    def captured(k: int) -> float:
        start = time.perf_counter()
        fixed(batches[k % len(batches)])
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return time.perf_counter() - start

    direct, graphed, other = interleaved([plain.step, captured, light.step], arguments.pairs)
    return [name, _ms(direct), _ms(graphed), _ratio(direct, other), _ratio(graphed, other),
            f"{differs:.0e}", epoch, f"{seconds_of_epoch(loader, trainer):.2f}"]


def _ms(column) -> str:
    return f"{1e3 * statistics.median(column):.1f}"


def report(dataset: str, data: dict, arguments) -> None:
    """Measure the models one by one and print a row each as it is known."""
    light = steps("LightGCN", dataset, data, arguments.batch_size)
    print(f"{hardware(light.device)}\n{dataset}, batch {arguments.batch_size}, "
          f"{arguments.pairs} rounds\n")
    for cells in (_COLUMNS, ["---"] * len(_COLUMNS)):
        print(f"| {' | '.join(cells)} |", flush=True)
    only = interleaved([light.step], arguments.pairs)[0]
    print(f"| RecBole's LightGCN | {1e3 * quartiles_of(only)[0]:.1f} | | 1 | | | | |", flush=True)
    for name in arguments.only or MODELS:
        try:
            cells = row(name, dataset, data, light, arguments)
        except Exception as error:
            # One model that cannot be measured does not cost the others' rows.
            cells = [name, f"failed: {type(error).__name__}: {' '.join(str(error).split())[:200]}"]
        print(f"| {' | '.join(cells)} |", flush=True)


def main() -> int:
    parser = parser_of(__doc__)
    parser.add_argument("--only", nargs="+", metavar="MODEL", help="these models")
    arguments = parser.parse_args()
    return on_data(arguments, lambda dataset, data: report(dataset, data, arguments))


if __name__ == "__main__":
    sys.exit(exit_status(main))
