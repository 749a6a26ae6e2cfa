"""The command `runs`: what has been trained, the newest first, and what waits to go on."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from recbole_ssr import registry
from recbole_ssr.commands.words import switch, word_and_flags
from recbole_ssr.errors import UserError
from recbole_ssr.files import expanded
from recbole_ssr.flags import read_config_file
from recbole_ssr.result import FILE, VALID_FILE, RunResult
from recbole_ssr.run_folders import CONFIG, FINISHED, UNFINISHED, VALIDATED, RunFolder, runs_in

_SHOWN = 20
_FILES = {FINISHED: FILE, VALIDATED: VALID_FILE}
_DAMAGED = "damaged"
_UNITS = (("days", 86400), ("h", 3600), ("min", 60), ("s", 1))


def runs(argv: Sequence[str], console: Console) -> int:
    """runs [FOLDER] [--all]"""
    word, flags = word_and_flags("runs", argv)
    default = read_config_file(registry.properties_folder() / "overall.yaml")["run_dir"]
    folder = expanded(word or default)
    listed = runs_in(folder)
    if word is not None and not os.path.isdir(folder):
        raise UserError(f"there is no folder {folder}; recbole-ssr runs lists those in {default}")
    if not listed:
        console.print(f"There are no runs in {folder}: recbole-ssr train leaves one, and "
                      "recbole-ssr runs FOLDER looks elsewhere.", markup=False, soft_wrap=True)
        return 0
    shown = listed if switch(flags, "all") else listed[:_SHOWN]
    rows = [row_of(run) for run in shown]
    console.print(runs_table(rows))
    if len(listed) > len(shown):
        console.print(f"\nand {len(listed) - len(shown):,} older ones: --all", markup=False)
    unfinished = next((row[0] for row in rows if row[-2] == UNFINISHED), None)
    if unfinished:
        console.print(f"\nGo on with one: recbole-ssr train --resume={folder / unfinished}",
                      markup=False, soft_wrap=True)
    return 0


def row_of(run: RunFolder) -> tuple[str, ...]:
    """Return name, model, dataset, metric, its value on validation and test, state and age."""
    state, age = run.state, age_of(time.time() - run.changed)
    try:
        if state in _FILES:
            result = RunResult.read(run.path, _FILES[state])
            metric = str(result.protocol["valid_metric"])
            values = [f"{part[metric.lower()]:.4f}" if metric.lower() in part else "-"
                      for part in (result.valid, result.test)]
            return run.path.name, result.model, result.dataset, metric, *values, state, age
        settings = read_config_file(run.path / CONFIG)
        return (run.path.name, str(settings["model"]), str(settings["dataset"]),
                str(settings.get("valid_metric", "-")), "-", "-", state, age)
    except (UserError, KeyError):
        return run.path.name, "-", "-", "-", "-", "-", _DAMAGED, age


def runs_table(rows: Sequence[tuple[str, ...]]) -> Table:
    """Return a table of the rows of :func:`row_of`."""
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 1, 0, 0))
    for name, how in (("Run", {"overflow": "fold"}), ("Model", {}), ("Dataset", {}), ("Metric", {}),
                      ("Valid", {"justify": "right"}), ("Test", {"justify": "right"}),
                      ("State", {}), ("Age", {"justify": "right", "no_wrap": True})):
        table.add_column(name, **how)
    for row in rows:
        table.add_row(*map(escape, row), style="bold" if row[-2] == UNFINISHED else None)
    return table


def age_of(seconds: float) -> str:
    """Return a time since for people, in its largest unit, rounded down: 45 s, 12 min, 3 days."""
    name, unit = next(((name, unit) for name, unit in _UNITS if seconds >= unit), _UNITS[-1])
    number = max(int(seconds // unit), 0)
    return f"{number} {name.rstrip('s') if name == 'days' and number == 1 else name}"
