"""The run folders of a comparison: which run lies where, how far it is, and what came out of it.

A folder is named by its run's `config_hash`, so that the same settings meet the same folder: what
is finished is never done again, and what was interrupted goes on.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path, PurePath
from typing import NamedTuple

from recbole.utils import ModelType

from recbole_ssr.compare.progress import Progress
from recbole_ssr.comparison import Failure
from recbole_ssr.config import PluginConfig, build_config, config_hash
from recbole_ssr.errors import UserError
from recbole_ssr.eval_settings import given_split, parts_of
from recbole_ssr.files import ABANDONED_SECONDS, in_one_step, sweep
from recbole_ssr.result import FILE, VALID_FILE, RunResult
from recbole_ssr.runs import make
from recbole_ssr.train.trainer import LAST

TASK_FILE, PROGRESS_FILE, ERROR_FILE = "task.json", "progress.json", "error.json"
STAGES, SPLITS = ("valid", "test"), "splits"
MEASURE = "measure"  # the stage of a finished run that is measured once more, disturbed
MEASURED = "measured"  # the folder of what it leaves, in the run's


class Task(NamedTuple):
    """One run of a comparison.

    Attributes:
        label: what tables call its line.
        model: the class; seed: that of the run, never of the split.
        settings: everything over the defaults; dataset, data_path and seed among them.
        folder: its run folder.
        stage: "test", or "valid": train and validate only, test metrics are never computed; or
            MEASURE, which has the settings of the run and a folder of its own in the run's.
        disturbance: what MEASURE does to the features.
    """

    label: str
    model: str
    seed: int
    settings: dict
    folder: Path
    stage: str = "test"
    disturbance: dict | None = None


def task_of(label: str, model: str, settings: Mapping, seed: int, runs: str | Path,
            stage: str = "test") -> Task:
    """Return the task of a model's settings and seed, its folder in `runs`.

    Raises UserError for every mistake in the settings, before anything is trained.
    """
    if stage not in STAGES:
        raise UserError(f"stage {stage!r} is unknown; it is one of {', '.join(STAGES)}")
    if settings.get("resume"):
        raise UserError(f"resume={settings['resume']!r} continues a single run; a comparison "
                        "continues its own when the same command is given again")
    plain = {key: str(value) if isinstance(value, PurePath) else value
             for key, value in settings.items()} | {"seed": int(seed)}
    config = build_config(model, config_dict=plain)
    if config["MODEL_TYPE"] == ModelType.SEQUENTIAL and stage == "test":
        raise UserError(f"{config['model']} recommends by sequences, for which RecBole splits the "
                        "data in its own way: a comparison has one split, of general models. Train "
                        "it by itself, --model=" + config["model"])
    _check_split(config)
    name = f"{config['model']}-seed{config['seed']}-{config_hash(config)}"
    return Task(label, config["model"], config["seed"], plain, Path(runs) / name, stage)


def _check_split(config: PluginConfig) -> None:
    """Raise UserError for a split without the part that selects, or the part that is reported."""
    split = config["eval_args"]["split"]
    drawn = given_split(config) is None
    for name, there in zip(("validation", "test"), parts_of(split)):
        if drawn and not there:
            raise UserError(f"eval_args has the split {split} without a {name} part: lines are "
                            "selected on validation and compared on test. Give it a share, as in "
                            "RS: [0.8, 0.1, 0.1], or run the models one by one.")


def measurement_of(task: Task, label: str, disturbance: Mapping) -> Task:
    """Return the task that measures the run of `task` with its features disturbed."""
    disturbance = dict(disturbance)
    folder = _measurement_path(task.folder, disturbance).with_suffix("")
    return task._replace(label=label, folder=folder, stage=MEASURE, disturbance=disturbance)


def run_of(task: Task) -> Path:
    """Return the folder of the run that a task of the stage MEASURE measures."""
    return task.folder.parent.parent


def read_measurement(run: Path, disturbance: dict) -> dict | None:
    """Return valid and test metrics of a disturbed run, None where it is not measured yet."""
    content = _read(_measurement_path(run, disturbance))
    return content if content.get("settings") == disturbance else None


def write_measurement(task: Task, valid: dict[str, float], test: dict[str, float]) -> None:
    """Keep what a task of the stage MEASURE measured, beside its run."""
    path = _measurement_path(run_of(task), task.disturbance)
    sweep(path.parent, ABANDONED_SECONDS)
    content = {"settings": task.disturbance, "valid": valid, "test": test}
    with in_one_step(path) as draft:
        draft.write_text(json.dumps(content) + "\n")


def _measurement_path(run: Path, disturbance: dict) -> Path:
    digest = hashlib.sha256(json.dumps(disturbance, sort_keys=True).encode()).hexdigest()
    return run / MEASURED / f"{digest[:12]}.json"


def state_of(task: Task) -> str:
    """Return how far a run is.

    "done": tested; "failed": it ended with an error; "validated": trained, not tested; "started":
    there is a checkpoint to go on from; "missing": there is nothing. A measurement is done, failed
    or missing.
    """
    if task.stage == MEASURE:
        if read_measurement(run_of(task), task.disturbance):
            return "done"
        return "failed" if (task.folder / ERROR_FILE).is_file() else "missing"
    files = ((FILE, "done"), (ERROR_FILE, "failed"), (VALID_FILE, "validated"), (LAST, "started"))
    return next((state for file, state in files if (task.folder / file).is_file()), "missing")


def is_complete(task: Task) -> bool:
    """Tell whether nothing is left to do for the task's stage."""
    return state_of(task) in (("done", "validated") if task.stage == "valid" else ("done",))


def result_of(task: Task) -> RunResult:
    """Return what a run measured; of the stage "valid" without test metrics, whoever tested it.

    Raises UserError where it has not finished or its file is damaged.
    """
    if state_of(task) == "validated" and task.stage == "valid":
        return RunResult.read(task.folder, VALID_FILE)
    result = RunResult.read(task.folder)
    result = replace(result, run=str(task.folder))  # the folder may have moved
    return replace(result, test={}) if task.stage == "valid" else result


def failure_of(task: Task) -> Failure | None:
    """Return why a run failed, or None where it did not."""
    if state_of(task) != "failed":
        return None
    content = _read(task.folder / ERROR_FILE)
    return Failure(task.seed, str(content.get("reason", "unknown")), str(task.folder))


def progress_of(task: Task) -> Progress:
    """Return where a run is, as it last wrote it."""
    content = _read(task.folder / PROGRESS_FILE)
    return Progress(**{name: content[name] for name in Progress._fields if name in content})


def write_progress(folder: Path, progress: Progress) -> None:
    """Leave the progress of a run in its folder."""
    _write(folder / PROGRESS_FILE, progress._asdict())


def write_failure(folder: Path, reason: str, traceback: str) -> None:
    """Leave the reason of a failure, in one line, and where it happened."""
    _write(folder / ERROR_FILE, {"reason": " ".join(reason.split()), "traceback": traceback})


def forget_failure(folder: Path) -> None:
    """Drop the record of a failure: the run is tried again."""
    (folder / ERROR_FILE).unlink(missing_ok=True)


def split_path(folder: Path, fingerprint: str) -> Path:
    """Return the file of the interactions of a split, shared by all runs beside `folder`."""
    return folder.parent.parent / SPLITS / f"{fingerprint[:12]}.npz"


def begin(task: Task, progress: Progress) -> None:
    """Leave a task in its folder, for the process that is about to do it."""
    write_task(task)
    forget_failure(task.folder)
    write_progress(task.folder, progress)


def write_task(task: Task) -> None:
    """Leave a task in its folder."""
    make(task.folder)
    content = task._asdict()
    del content["folder"]
    _write(task.folder / TASK_FILE, content)


def read_task(folder: str | Path) -> Task:
    """Return the task that a folder was made for. Raises UserError where there is none."""
    content = _read(Path(folder) / TASK_FILE)
    try:
        return Task(folder=Path(folder), **content)
    except TypeError:
        raise UserError(f"{Path(folder) / TASK_FILE} is missing or not a task of this version; "
                        "give the comparison's command again") from None


def _read(path: Path) -> dict:
    """Return the content of a json file; nothing where it is missing or damaged."""
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _write(path: Path, content: dict) -> None:
    """Write a json file in one step, so that whoever reads it meanwhile finds it whole."""
    with in_one_step(path) as draft:
        draft.write_text(json.dumps(content, indent=1) + "\n")
