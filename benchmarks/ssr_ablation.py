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
import time
import traceback
import warnings
from pathlib import Path

import closed_forms
import torch
from ablation_jobs import Processes, run_all
from ablation_runs import Line, run_one, task_of
from ablation_table import render
from datasets import convert
from records import Record, Task, sort_out, write

import recbole_ssr  # noqa: F401  (repairs and registers)
from recbole_ssr.errors import UserError, nearest

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
    of_program = (("ssr", MAIN, seeds), ("lightgcn", LIGHTGCN, seeds),
                  ("lightgcn", LIGHTGCN_SWEEPS, 1), ("closed", closed_forms.SETTINGS, 1),
                  ("ssr", SWEEPS, 1))
    trained = PATIENCE if epochs is None else {**PATIENCE, "epochs": epochs}
    base = {"ssr": {**_TUNED, **trained}, "lightgcn": trained, "closed": {}}
    return {name: Line(program, {**base[program], **settings}, n)
            for program, table, n in of_program for name, settings in table.items()}


def chosen(all_lines: dict[str, Line], only: list[str] | None) -> dict[str, Line]:
    """Return the lines that --only names, or all; UserError for an unknown name."""
    for name in only or ():
        if name not in all_lines:
            raise UserError(f"there is no line {name!r}.{nearest(name, all_lines)} There are "
                            f"{', '.join(all_lines)}.")
    return {name: line for name, line in all_lines.items() if only is None or name in only}


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


def perform(table: dict[str, Line], tasks: list[Task], out: Path, jobs: int, execute) -> None:
    """Do the missing tasks; write a record with the reason for every one that fails."""
    start, left = time.perf_counter(), len(tasks)

    def finished(task: Task, error: str | None) -> None:
        nonlocal left
        left -= 1
        if error:
            line = table[task.variant]
            write(out, Record(task.variant, line.program, line.settings, task.seed,
                              task.config_hash, error=error))
        minutes = (time.perf_counter() - start) / 60
        print(f"{task.variant}, seed {task.seed}: {error or 'done'} ({minutes:.1f} min, "
              f"{left} left)", flush=True)

    run_all(tasks, jobs, execute, finished)


def one(arguments, data: dict) -> int:
    """The process of a single run."""
    torch.set_num_threads(arguments.threads)
    line = lines(arguments.seeds, arguments.epochs)[arguments.one]
    try:
        task = task_of(arguments.one, line, DATASET, data, arguments.seed)
        run_one(task, line, DATASET, data, arguments.out)
    except Exception as error:
        traceback.print_exc()
        # Last, because the last line is what the record keeps.
        print(f"{type(error).__name__}: {' '.join(str(error).split())}", flush=True)
        return 1
    return 0


def parse(words: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path(), help="folder with tiktok/")
    parser.add_argument("--out", type=Path, required=True, help="folder of records and tables")
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time, sharing the cores")
    parser.add_argument("--seeds", type=int, default=3, help="of the main lines; sweeps have one")
    parser.add_argument("--epochs", type=int, help="most epochs; to try the script out")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these lines")
    parser.add_argument("--table", action="store_true", help="run nothing, print what is there")
    for hidden, kind in (("one", str), ("seed", int), ("threads", int)):
        parser.add_argument(f"--{hidden}", type=kind, help=argparse.SUPPRESS)
    arguments = parser.parse_args(words)
    if arguments.jobs < 1 or arguments.seeds < 1:
        parser.error(f"--jobs {arguments.jobs} and --seeds {arguments.seeds} must be at least 1")
    return arguments


def main(words: list[str] | None = None) -> int:
    warnings.filterwarnings("ignore", module=r"recbole\.")
    arguments = parse(words)
    out = arguments.out = arguments.out.resolve()
    try:
        data = convert(DATASET, arguments.data, out / "data")
        if arguments.one:
            return one(arguments, data)
        table = chosen(lines(arguments.seeds, arguments.epochs), arguments.only)
        tasks = tasks_of(table, data)
    except (UserError, FileNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    records, missing, notes = sort_out(out, tasks)
    if not arguments.table:
        print("\n".join([*notes, f"{len(tasks) - len(missing)} of {len(tasks)} runs are done"]))
        processes = Processes(Path(__file__).resolve(), out, arguments.jobs, arguments.epochs)
        try:
            perform(table, missing, out, arguments.jobs, processes)
        except KeyboardInterrupt:
            processes.stop()
            print("interrupted; the same command goes on with what is missing", file=sys.stderr)
            return 130
        records, missing, notes = sort_out(out, tasks)
    print("\n".join([*render(records, list(table), out), *notes]))
    return 1 if any(record.error for record in records) else 0


if __name__ == "__main__":
    sys.exit(main())
