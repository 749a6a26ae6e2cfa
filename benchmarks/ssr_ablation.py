"""SSR on TikTok: every stage taken away, every choice changed, and what it has to beat.

    python benchmarks/ssr_ablation.py --data <folder> --out <folder> [--jobs 2] [--seeds 3]
        [--only NAME ...] [--table]

Every (line, seed) is a process of its own and leaves one json file in --out when it ends, so that
running the same command again does only what is missing, failed or was run with other settings.
The epoch is selected on validation; test is measured once, for that epoch. --table only prints and
writes the table (results.md, results.csv) of what is there.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import closed_forms
import command
from ablation_runs import Line, task_of
from ablation_table import render
from records import Task

import recbole_ssr  # noqa: F401  (repairs and registers)

DATASET = "tiktok"
# Evaluations without a better Recall@20 before training stops, the same for every line.
PATIENCE = {"stopping_step": 6}
_BCE = {"objective": "bce", "learning_rate": 0.001}
# Every SSR line but the reference profile starts from what validation chose for this dataset.
_TUNED = {"profile": "tiktok"}

# Settings over properties/model/SSR.yaml, with --seeds seeds.
MAIN: dict[str, dict] = {
    "default": {},
    "default, BCE": _BCE,
    "reference profile": {"profile": "reference"},
    "- bands (M=1)": {"n_bands": 1},
    "- masking": {"mask_rate": 0, "consistency_weight": 0},
    "- fusion (rank 0)": {"operator_rank": 0},
    "- inference gains": {"inference_gains": [1]},
    "- alignment": {"contrast_weight": 0},
    "- l2": {"l2_weight": 0},
    "- masking, - alignment": {"mask_rate": 0, "consistency_weight": 0, "contrast_weight": 0},
}
# The same with one seed.
SWEEPS: dict[str, dict] = {
    **{f"M={m}": {"n_bands": m} for m in (2, 4, 5)},
    **{f"filter {f}": {"band_filter": f} for f in ("chebyshev", "exact", "svd", "reference")},
    "consist. representations": {"consistency": "representations"},
    "consist. distributions": {"consistency": "distributions"},
    "embedding_size 64": {"embedding_size": 64},
    "cosine_softmax": {"objective": "cosine_softmax"},
    "modality_dropout .3": {"modality_dropout": 0.3},
    "mask_scope global": {"mask_scope": "global"},
    "sampling_power 0": {"sampling_power": 0},
    "features standardise": {"feature_scaling": "standardise"},
    "item_graph_weight .3": {"item_graph_weight": 0.3},
    "user_weights": {"user_weights": True},
    "modality_preferences": {"modality_preferences": True},
    "candidates all": {"softmax_candidates": "all"},
    **{o: {"objective": o} for o in ("bpr", "softmax", "in_batch_softmax")},
}
# Settings over lightgcn_features.DEFAULTS, with --seeds seeds.
LIGHTGCN: dict[str, dict] = {
    "lightgcn+features": {},
    "lightgcn": {"features": False},
    "lightgcn+features, BCE": _BCE,
    "lightgcn, BCE": {"features": False, **_BCE},
}
LIGHTGCN_SWEEPS: dict[str, dict] = {
    "lightgcn+f, width 64": {"embedding_size": 64},
    "lightgcn+f, 2 layers": {"n_layers": 2},
    "lightgcn+f, Xavier ids": {"init_std": None},
}


def lines(seeds: int, epochs: int | None = None) -> dict[str, Line]:
    """Return every line of the table by name; `epochs` bounds the trained ones."""
    of_program = (("package", MAIN, seeds), ("lightgcn", LIGHTGCN, seeds),
                  ("lightgcn", LIGHTGCN_SWEEPS, 1), ("closed", closed_forms.SETTINGS, 1),
                  ("package", SWEEPS, 1))
    trained = PATIENCE if epochs is None else {**PATIENCE, "epochs": epochs}
    base = {"package": {**_TUNED, **trained}, "lightgcn": trained, "closed": {}}
    return {name: Line(program, {**base[program], **settings}, n)
            for program, table, n in of_program for name, settings in table.items()}


def tasks_of(table: dict[str, Line], data: dict) -> list[Task]:
    """Return all runs, first seeds first, so that an interrupted benchmark has every line once.

    A line whose settings all are those of an earlier one, as an option that is the default by now,
    has no run of its own.
    """
    most = max((line.seeds for line in table.values()), default=0)
    tasks: dict[str, Task] = {}
    for seed in range(1, most + 1):
        for name, line in table.items():
            if seed <= line.seeds:
                task = task_of(name, line, DATASET, data, seed)
                tasks.setdefault(task.config_hash, task)
    return list(tasks.values())


def source_of(table: dict[str, Line], data: dict, arguments) -> command.Fixed:
    """Return the runs of the lines that --only names."""
    names = command.chosen(table, arguments.only)
    return command.Fixed(tasks_of({name: table[name] for name in names}, data), arguments.out)


def parse(words: list[str] | None) -> argparse.Namespace:
    parser = command.parser_of(__doc__, DATASET, "these lines")
    parser.add_argument("--seeds", type=int, default=3, help="of the main lines; sweeps have one")
    arguments = parser.parse_args(words)
    if arguments.seeds < 1:
        parser.error(f"--seeds {arguments.seeds} must be at least 1")
    return arguments


def main(words: list[str] | None = None) -> int:
    benchmark = command.Benchmark(
        Path(__file__).resolve(), DATASET, lambda a: lines(a.seeds, a.epochs), source_of,
        lambda source, a: render(source.records, command.chosen(lines(a.seeds), a.only), a.out),
    )
    return command.main(benchmark, parse(words))


if __name__ == "__main__":
    sys.exit(main())
