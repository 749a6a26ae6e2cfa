"""Training steps of the bundled baselines against the same models on plain COO products.

    python benchmarks/baselines_step.py                                   # ml-100k, all models
    python benchmarks/baselines_step.py --data <folder> --dataset tiktok --only FREEDOM BM3
    python benchmarks/baselines_step.py --data <folder> --dataset baby-lattice --pairs 20

For every model three steps alternate in one process, on the same batch size: the model's, the same
model's with every graph product in its straightforward form (coo_products.py), and that of
RecBole's LightGCN (2 layers, 64-d). The figures are the medians, over rounds, of the ratios; a step
is loss, backward and Adam as the trainer runs them. What an epoch begins with, as the drawing of a
graph, is no part of a step: its milliseconds stand beside. MiB are not measured here, see
baselines_memory.py.
"""

from __future__ import annotations

import sys
import time

from coo_products import CooProducts
from step_time import Built, hardware, interleaved, on_data, parser_of, quartiles_of, steps

import recbole_ssr  # noqa: F401  (repairs and registers)
from recbole_ssr import registry
from recbole_ssr.cli import exit_status
from recbole_ssr.errors import UserError, nearest

# SSR has products of its own (step_time.py compares it); closed forms have no steps.
WITHOUT_STEPS = ("SSR", "FeatureItemKNN", "FeatureEASE", "GFCF", "ClosedFormSum")
MODELS = tuple(name for name in registry.MODELS if name not in WITHOUT_STEPS)
_COLUMNS = {"model": 15, "ms": 7, "COO, ms": 8, "ours / COO": 18, "ours / LightGCN": 18,
            "epoch, ms": 9}


def with_coo(built: Built, products: CooProducts):
    """Return the step of a model whose graph products are COO."""

    def step(k: int) -> float:
        with products:
            return built.step(k)

    return step


def measure(name: str, dataset: str, data: dict, light: Built, arguments) -> list[str]:
    """Return the cells of one model: milliseconds and ratios."""
    ours, plain = (steps(name, dataset, data, arguments.batch_size) for _ in range(2))
    measured = [ours.step, with_coo(plain, CooProducts()), light.step]
    direct, coo, other = interleaved(measured, arguments.pairs)
    start = time.perf_counter()
    ours.model.begin_epoch(1)
    begin = time.perf_counter() - start
    ratios = [_ratio(direct, column) for column in (coo, other)]
    return [name, *(f"{1e3 * quartiles_of(column)[0]:.1f}" for column in (direct, coo)), *ratios,
            f"{1e3 * begin:.1f}"]


def _ratio(direct, other) -> str:
    middle, low, high = quartiles_of([a / b for a, b in zip(direct, other)])
    return f"{middle:.2f} ({low:.2f}, {high:.2f})"


def report(dataset: str, data: dict, arguments) -> None:
    """Measure the models one by one and print a row each as it is known."""
    for name in arguments.only or ():
        if name not in MODELS:
            raise UserError(f"there is no baseline {name!r} with steps.{nearest(name, MODELS)} "
                            f"There are {', '.join(MODELS)}.")
    light = steps("LightGCN", dataset, data, arguments.batch_size)
    print(hardware(light.device))
    print(f"{dataset}, batch {arguments.batch_size}, {arguments.pairs} interleaved rounds; "
          "medians of the ratios (quartiles)\n")
    for cells in (list(_COLUMNS), ["-" * width for width in _COLUMNS.values()]):
        _print(cells)
    for name in arguments.only or MODELS:
        try:
            _print(measure(name, dataset, data, light, arguments))
        except Exception as error:
            # One model that cannot be measured does not cost the others' rows.
            _print([name, f"failed: {type(error).__name__}: {' '.join(str(error).split())}"])


def _print(cells: list[str]) -> None:
    widths = _COLUMNS.values()
    print(" | ".join(cell.ljust(width) for cell, width in zip(cells, widths)).rstrip(), flush=True)


def main() -> int:
    parser = parser_of(__doc__)
    parser.add_argument("--only", nargs="+", metavar="MODEL", help="these models")
    arguments = parser.parse_args()
    return on_data(arguments, lambda dataset, data: report(dataset, data, arguments))


if __name__ == "__main__":
    sys.exit(exit_status(main))
