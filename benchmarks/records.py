"""Finished runs of a benchmark: one json file and one npz file each, and what is still to run."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

PARTS = ("valid", "test")


class Task(NamedTuple):
    """A run to be done: a line of the table, a seed and the hash of all its settings."""

    variant: str
    seed: int
    config_hash: str


class Record(NamedTuple):
    """A finished run, or one that failed, for `error` reasons.

    `valid` and `test` belong to the epoch that validation chose, `curve` is recall@20 on
    validation after every epoch, `seconds_per_epoch` the median training time of one (for closed
    forms the time to fit), `peak_mib` the peak memory of the run's process, `parameters` the number
    of trained values where the run's program tells.
    """

    variant: str
    program: str
    settings: dict
    seed: int
    config_hash: str
    valid: dict[str, float] = {}
    test: dict[str, float] = {}
    best_epoch: int = 0
    epochs: int = 0
    seconds_per_epoch: float = 0.0
    peak_mib: float | None = None
    parameters: int | None = None
    split_fingerprint: str = ""
    versions: dict[str, str] = {}
    curve: list[float] = []
    error: str | None = None


def path_of(out: Path, variant: str, seed: int) -> Path:
    """Return the json file of a run."""
    # A file whose name starts with a dash would pass for an option of shell commands.
    name = re.sub(r"[^\w.+=-]+", "_", re.sub("^- ", "without ", variant))
    return out / f"{name}.seed{seed}.json"


def write(out: Path, record: Record, recall_by_user: dict[str, tuple] | None = None) -> Path:
    """Write a run's files; the json last, so that it stands for a complete run.

    Shapes: recall_by_user maps valid and test to (users, recall), each (n,).
    """
    path = path_of(out, record.variant, record.seed)
    out.mkdir(parents=True, exist_ok=True)
    if recall_by_user:
        arrays = {}
        for part, (users, recall) in recall_by_user.items():
            arrays[f"{part}_users"] = np.asarray(users, dtype=np.int32)
            arrays[f"{part}_recall"] = np.asarray(recall, dtype=np.float64)
        temporary = path.with_name(f".{path.stem}.tmp.npz")
        np.savez_compressed(temporary, **arrays)
        os.replace(temporary, path.with_suffix(".npz"))
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(json.dumps(record._asdict(), indent=1) + "\n")
    os.replace(temporary, path)
    return path


def read(path: Path) -> Record | None:
    """Return a record, or None where the file is missing or not one of this version."""
    try:
        return Record(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return None


def recall_by_user(out: Path, record: Record, part: str) -> dict[int, float] | None:
    """Return recall@20 of every user of a run, or None where it was not kept."""
    path = path_of(out, record.variant, record.seed).with_suffix(".npz")
    if not path.is_file():
        return None
    with np.load(path) as arrays:
        return dict(zip(arrays[f"{part}_users"].tolist(), arrays[f"{part}_recall"].tolist()))


def sort_out(out: Path, tasks: Iterable[Task]) -> tuple[list[Record], list[Task], list[str]]:
    """Return the records that count, failed ones too; the tasks to do; why others do not count.

    A record counts for a task of the same settings; a failed one is shown and tried again.
    """
    records, missing, notes = [], [], []
    for task in tasks:
        path = path_of(out, task.variant, task.seed)
        record = read(path)
        if record is None:
            missing.append(task)
            if path.exists():
                notes.append(f"{path.name} is no record of this version and does not count")
        elif record.config_hash != task.config_hash:
            missing.append(task)
            notes.append(f"{path.name} was run with other settings ({record.config_hash}, now "
                         f"{task.config_hash}) and does not count")
        else:
            records.append(record)
            if record.error:
                missing.append(task)
    # The hash covers settings, not code.
    commits = sorted({record.versions.get("commit", "unknown") for record in records
                      if not record.error})
    if len(commits) > 1:
        notes.append(f"the runs are of several commits: {', '.join(commits)}; delete those whose "
                     "code has changed since")
    return records, missing, notes
