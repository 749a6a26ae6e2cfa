"""One run of a benchmark: a model through the package, or a line of a script."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import closed_forms
import lightgcn_features
import torch
from protocol import CUTOFFS, data_config, load_split, recall_at
from records import PARTS, Record, Task, write

import recbole_ssr
from recbole_ssr import runs
from recbole_ssr.config import build_config, config_hash
from recbole_ssr.evaluation.collector import FullRankingCollector
from recbole_ssr.quick_start import load_run, trainer_of

# The package's metrics are rounded to six decimals.
_TOLERANCE = 1e-6
_SELECTION = f"recall@{CUTOFFS[-1]}"


class Line(NamedTuple):
    """A line of the table: what runs it, its settings, how many seeds.

    `program` is package, for `model`, or one of the scripts lightgcn and closed.
    """

    program: str
    settings: dict
    seeds: int
    model: str = "SSR"


def task_of(name: str, line: Line, dataset: str, data: dict, seed: int) -> Task:
    """Return the task of a line and a seed. Its hash covers every setting that can change results.

    `data` holds the settings of the dataset. Raises UserError where the settings make no run.
    """
    if line.program == "package":
        config = build_config(line.model, dataset, config_dict=settings_of(line, data, seed))
        return Task(name, seed, config_hash(config))
    options = {"line": line.settings}
    if line.program == "lightgcn":
        options = {**lightgcn_features.DEFAULTS, **line.settings}
    content = [line.program, options, config_hash(data_config(dataset, {**data, "seed": seed}))]
    text = json.dumps(content, sort_keys=True)
    return Task(name, seed, hashlib.sha256(text.encode()).hexdigest()[:8])


def settings_of(line: Line, data: dict, seed: int) -> dict:
    """Return the settings of a run of the package over the model's defaults."""
    return {**data, **line.settings, "seed": seed, "show_progress": False}


def run_one(
    task: Task, line: Line, dataset: str, data: dict, out: Path, by_user: bool = True
) -> Path:
    """Do a run and write its record; `by_user` keeps every user's recall as well."""
    start = {"variant": task.variant, "program": line.program, "settings": line.settings,
             "seed": task.seed, "config_hash": task.config_hash,
             "versions": runs.versions() | _commit()}
    if line.program == "package":
        found, recall = _package(task, line, dataset, data, by_user)
    else:
        run = {"lightgcn": _lightgcn, "closed": _closed}[line.program]
        found, recall = run(task, line, dataset, data)
    return write(out, Record(**start, **found), recall if by_user else None)


def _package(
    task: Task, line: Line, dataset: str, data: dict, by_user: bool
) -> tuple[dict, dict | None]:
    with tempfile.TemporaryDirectory() as folder:
        settings = {**settings_of(line, data, task.seed), "run_dir": folder}
        result = recbole_ssr.run(line.model, dataset, config_dict=settings)
        recall = recall_of_run(result) if by_user else None
    measured = [record["valid"][_SELECTION] for record in result.history if "valid" in record]
    found = {name: getattr(result, name) for name in
             ("valid", "test", "best_epoch", "epochs", "seconds_per_epoch", "peak_mib",
              "parameters")}
    fingerprint = result.protocol["split_fingerprint"]
    return {**found, "split_fingerprint": fingerprint, "curve": measured}, recall


class _KeepingCollector(FullRankingCollector):
    """Keeps the hits of every user, which RecBole's metrics average away."""

    def get_data_struct(self):
        struct = super().get_data_struct()
        self.users, self.hits = struct.get("rec.users"), struct.get("rec.topk")
        return struct


def recall_of_run(result, cutoff: int = CUTOFFS[-1]) -> dict[str, tuple]:
    """Rank once more with a run's best parameters; return recall by user for both parts.

    Raises RuntimeError where its mean is not what the run reported: then the run folder does not
    hold the parameters that were measured.
    """
    experiment = load_run(result.run)
    # Else RecBole opens a TensorBoard folder in the current directory.
    experiment.config["run_folder"] = experiment.config["checkpoint_dir"] = result.run
    trainer = trainer_of(experiment)
    trainer.eval_collector = _KeepingCollector(experiment.config)
    found = {}
    for part in PARTS:
        trainer.evaluate(getattr(experiment, part), load_best_model=False)
        recall = recall_at(trainer.eval_collector.hits, cutoff)
        mean, reported = recall.mean().item(), getattr(result, part)[f"recall@{cutoff}"]
        if abs(mean - reported) > _TOLERANCE:
            raise RuntimeError(f"{part} recall@{cutoff} is {mean:.7f} by user but {reported:.7f} "
                               f"in {result.run}; the checkpoint there is another model's")
        found[part] = trainer.eval_collector.users, recall
    return found


def _lightgcn(task: Task, line: Line, dataset: str, data: dict) -> tuple[dict, dict]:
    split = load_split(data_config(dataset, {**data, "seed": task.seed}))
    options = {**lightgcn_features.DEFAULTS, **line.settings}
    trained = lightgcn_features.train(split, options, task.seed)
    seconds = torch.tensor(trained.seconds).median().item()
    return _found(trained.valid, trained.test, split, best_epoch=trained.best_epoch,
                  epochs=len(trained.curve), seconds_per_epoch=seconds, curve=trained.curve)


def _closed(task: Task, line: Line, dataset: str, data: dict) -> tuple[dict, dict]:
    split = load_split(data_config(dataset, {**data, "seed": task.seed}))
    start = time.perf_counter()
    scores_of = closed_forms.fit(split, **line.settings)
    seconds = time.perf_counter() - start
    parts = (closed_forms.measure(scores_of, split, part) for part in PARTS)
    return _found(*parts, split, seconds_per_epoch=seconds)


def _found(valid, test, split, **rest) -> tuple[dict, dict]:
    by_user = {"valid": (valid.users, valid.recall), "test": (test.users, test.recall)}
    return {"valid": valid.metrics, "test": test.metrics, "split_fingerprint": split.fingerprint,
            "peak_mib": runs.peak_mib(torch.device("cpu")), **rest}, by_user


def _commit() -> dict[str, str]:
    """Return the commit of the checkout, marked where files of the package differ from it."""
    git = shutil.which("git")
    root = Path(__file__).resolve().parents[1]
    if not git:
        return {}
    words = [git, "-C", str(root), "describe", "--always", "--dirty", "--exclude", "*"]
    done = subprocess.run(words, capture_output=True, text=True)
    return {"commit": done.stdout.strip()} if done.returncode == 0 else {}
