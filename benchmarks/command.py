"""The command that benchmarks of many runs share: resume, run what is missing, print the table."""

from __future__ import annotations

import argparse
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple, Protocol

import torch
from ablation_jobs import Processes, run_all
from ablation_runs import Line, run_one, task_of
from datasets import convert
from records import Record, Task, sort_out, write

from recbole_ssr.errors import UserError, nearest


class Source(Protocol):
    """Where the tasks of a benchmark come from.

    `records` are those that count, failed ones too, `notes` why others do not; `done` and `left`
    count runs, as far as they are known.
    """

    records: list[Record]
    notes: list[str]
    done: int
    left: int

    def take(self) -> Task | None:
        """Return the next task, or None where there is none for now."""

    def finished(self, task: Task) -> None:
        """Take note that a task has left its record."""


class Fixed:
    """A Source of tasks that are all known beforehand."""

    def __init__(self, tasks: Iterable[Task], out: Path):
        tasks = list(tasks)
        self.records, self._missing, self.notes = sort_out(out, tasks)
        self.left = len(self._missing)
        self.done = len(tasks) - self.left

    def take(self) -> Task | None:
        return self._missing.pop(0) if self._missing else None

    def finished(self, task: Task) -> None:  # noqa: ARG002
        self.left -= 1


class Benchmark(NamedTuple):
    """A benchmark: its script, its data, and functions of what the command line says.

    `lines` gives every line by name; `source` its runs from the lines, the dataset's settings and
    the arguments; `render` the table. `by_user` keeps every user's recall, `features` the dataset's
    item features.
    """

    script: Path
    dataset: str
    lines: Callable[[argparse.Namespace], dict[str, Line]]
    source: Callable[[dict[str, Line], dict, argparse.Namespace], Source]
    render: Callable[[Source, argparse.Namespace], list[str]]
    by_user: bool = True
    features: bool = True


def parser_of(doc: str, dataset: str, only: str) -> argparse.ArgumentParser:
    """Return a parser of the shared options; `only` says what --only names."""
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path(), help=f"folder with {dataset}/")
    parser.add_argument("--out", type=Path, required=True, help="folder of records and tables")
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time, sharing the cores")
    parser.add_argument("--epochs", type=int, help="most epochs; to try the script out")
    parser.add_argument("--only", nargs="+", metavar="NAME", help=only)
    parser.add_argument("--table", action="store_true", help="run nothing, print what is there")
    for hidden, kind in (("one", str), ("seed", int), ("threads", int)):
        parser.add_argument(f"--{hidden}", type=kind, help=argparse.SUPPRESS)
    return parser


def chosen(names: Mapping[str, object], only: list[str] | None, what: str = "line") -> list[str]:
    """Return the names that --only asks for, or all; UserError for an unknown one."""
    for name in only or ():
        if name not in names:
            raise UserError(f"there is no {what} {name!r}.{nearest(name, names)} There are "
                            f"{', '.join(names)}.")
    return [name for name in names if only is None or name in only]


def perform(lines: dict[str, Line], source: Source, out: Path, jobs: int, execute) -> None:
    """Do the tasks of a source; write a record with the reason for every one that fails."""
    start, count = time.perf_counter(), 0

    def finished(task: Task, error: str | None) -> None:
        nonlocal count
        count += 1
        if error:
            line = lines[task.variant]
            write(out, Record(task.variant, line.program, line.settings, task.seed,
                              task.config_hash, error=error))
        source.finished(task)
        minutes = (time.perf_counter() - start) / 60
        print(f"{task.variant}, seed {task.seed}: {error or 'done'} ({minutes:.1f} min, "
              f"{source.left} left, some {minutes / count * source.left:.0f} min)", flush=True)

    run_all(source.take, jobs, execute, finished)


def main(benchmark: Benchmark, arguments: argparse.Namespace) -> int:
    """Do what the command line asks for; return the exit status."""
    warnings.filterwarnings("ignore", module=r"recbole\.")
    out = arguments.out = arguments.out.resolve()
    try:
        if arguments.jobs < 1:
            raise UserError(f"--jobs {arguments.jobs} must be at least 1")
        data = convert(benchmark.dataset, arguments.data, out / "data", benchmark.features)
        lines = benchmark.lines(arguments)
        if arguments.one:
            return _one(benchmark, lines[arguments.one], data, arguments)
        source = benchmark.source(lines, data, arguments)
    except (UserError, FileNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if not arguments.table:
        print("\n".join([*source.notes, f"{source.done} of {source.done + source.left} runs are "
                                        "done"]), flush=True)
        processes = Processes(benchmark.script, out, arguments.jobs, arguments.epochs)
        try:
            perform(lines, source, out, arguments.jobs, processes)
        except KeyboardInterrupt:
            processes.stop()
            print("interrupted; the same command goes on with what is missing", file=sys.stderr)
            return 130
        arguments.table = True  # what failed just now is a result
        source = benchmark.source(lines, data, arguments)
    print("\n".join([*benchmark.render(source, arguments), *source.notes]))
    return 1 if any(record.error for record in source.records) else 0


def _one(benchmark: Benchmark, line: Line, data: dict, arguments: argparse.Namespace) -> int:
    """The process of a single run."""
    torch.set_num_threads(arguments.threads)
    try:
        task = task_of(arguments.one, line, benchmark.dataset, data, arguments.seed)
        run_one(task, line, benchmark.dataset, data, arguments.out, benchmark.by_user)
    except Exception as error:
        traceback.print_exc()
        # Last, because the last line is what the record keeps.
        print(f"{type(error).__name__}: {' '.join(str(error).split())}", flush=True)
        return 1
    return 0
