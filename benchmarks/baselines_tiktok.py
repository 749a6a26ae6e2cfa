"""The bundled baselines, SSR and RecBole's BPR and LightGCN on TikTok, all selected alike.

    python benchmarks/baselines_tiktok.py --data <folder> --out <folder> [--jobs 2]
        [--only MODEL ...] [--epochs N] [--table]

Every model is trained on its own paper's loss (three settings) and on one common objective (one),
see baselines_settings.py. One seed of each setting; validation Recall@20 chooses, then two more
seeds of the chosen one. Every (model, objective, setting, seed) is a process of its own and leaves
one json file in --out, so that the same command does only what is missing, failed or was run with
other settings. Test is shown for chosen settings alone. --table only prints and writes the tables
(results.md, results.csv) of what is there.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import command
from ablation_runs import Line, task_of
from baselines_settings import BASE, TIKTOK, Group, Plan
from baselines_table import render
from records import Record, Task, path_of, read, sort_out

import recbole_ssr  # noqa: F401  (repairs and registers)

SELECTION = "recall@20"  # on validation


def lines_of(plan: Plan, epochs: int | None = None) -> dict[str, Line]:
    """Return every setting of every model as a line by name; `epochs` bounds the trained ones."""
    bound = {} if epochs is None else {"epochs": epochs}
    return {
        name: Line("package", {**BASE[group.objective], **settings, **bound}, group.seeds,
                   group.model)
        for group in plan.groups for name, settings in zip(group.names, group.settings)
    }


def winner(group: Group, records: dict[str, dict[int, Record]]) -> str | None:
    """Return the setting with the best first seed on validation, or None where all failed."""
    first = {name: records[name][1] for name in group.names if 1 in records.get(name, {})}
    values = {name: record.valid[SELECTION] for name, record in first.items() if not record.error}
    return max(values, key=values.get) if values else None


class Schedule:
    """A Source that knows the further seeds of a model only when its settings have been compared.

    First seeds come before second ones, each in the order of the groups. `retry` tries again what
    failed before; without it a failure counts as a result, as a table of what is there needs it.

    Attributes: `records` and `notes`, see Source; `winners`, the chosen setting by title of
    the group, of those whose first seeds all ran or failed.
    """

    def __init__(self, groups: Sequence[Group], task: Callable[[str, int], Task], out: Path,
                 retry: bool = True):
        self.groups, self._task, self._out, self._retry = groups, task, out, retry
        self._order = {name: k for k, name in enumerate(n for g in groups for n in g.names)}
        self._found: dict[str, dict[int, Record]] = {}
        self._known: dict[Task, None] = {}
        self._waiting: list[Task] = []
        self._open: set[Task] = set()  # waiting or running
        self.winners: dict[str, str] = {}
        self.notes: list[str] = []
        self._admit([task(name, 1) for name in self._order])
        self._choose()

    @property
    def records(self) -> list[Record]:
        return [record for by_seed in self._found.values() for record in by_seed.values()]

    @property
    def done(self) -> int:
        return len(self._known) - len(self._open)

    @property
    def left(self) -> int:
        undecided = [group for group in self.groups if not self._decided(group)]
        return len(self._open) + sum(group.seeds - 1 for group in undecided)

    def take(self) -> Task | None:
        return self._waiting.pop(0) if self._waiting else None

    def finished(self, task: Task) -> None:
        record = read(path_of(self._out, task.variant, task.seed))
        self._found.setdefault(task.variant, {})[task.seed] = record
        self._open.discard(task)
        self._choose()

    def _decided(self, group: Group) -> bool:
        return not any(task.variant in group.names and task.seed == 1 for task in self._open)

    def _choose(self) -> None:
        for group in self.groups:
            if group.title in self.winners or not self._decided(group):
                continue
            name = winner(group, self._found)
            if name is not None:
                self.winners[group.title] = name
                self._admit([self._task(name, seed) for seed in range(2, group.seeds + 1)])

    def _admit(self, tasks: list[Task]) -> None:
        records, missing, notes = sort_out(self._out, tasks)
        for record in records:
            self._found.setdefault(record.variant, {})[record.seed] = record
        if not self._retry:
            missing = [t for t in missing if t.seed not in self._found.get(t.variant, {})]
        self._known.update(dict.fromkeys(tasks))
        self._open.update(missing)
        self._waiting = sorted([*self._waiting, *missing],
                               key=lambda task: (task.seed, self._order[task.variant]))
        self.notes += [note for note in notes if note not in self.notes]


def selected(plan: Plan, only: list[str] | None) -> list[Group]:
    """Return the groups of the models that --only names; UserError for an unknown one."""
    models = dict.fromkeys(group.model for group in plan.groups)
    wanted = command.chosen(models, only, "model")
    return [group for group in plan.groups if group.model in wanted]


def main(words: list[str] | None = None, plan: Plan = TIKTOK, script: str = __file__,
         doc: str = __doc__) -> int:
    def schedule(lines, data, arguments) -> Schedule:
        def task(name: str, seed: int) -> Task:
            return task_of(name, lines[name], plan.dataset, data, seed)

        return Schedule(selected(plan, arguments.only), task, arguments.out,
                        retry=not arguments.table)

    benchmark = command.Benchmark(
        Path(script).resolve(), plan.dataset, lambda a: lines_of(plan, a.epochs), schedule,
        lambda source, a: render(source, plan, a.out), by_user=False, features=plan.features,
    )
    parser = command.parser_of(doc, plan.dataset, "these models")
    return command.main(benchmark, parser.parse_args(words))


if __name__ == "__main__":
    sys.exit(main())
