"""From a configuration to a finished run, without RecBole's `quick_start` and without ray."""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import partial
from pathlib import Path
from statistics import median_low
from typing import NamedTuple

import recbole.data.dataset as host_dataset
import torch
import yaml
from recbole.data import data_preparation
from recbole.data.dataloader import FullSortEvalDataLoader
from recbole.data.dataset import Dataset
from recbole.utils import EvaluatorType, ModelType, get_trainer, init_seed
from torch import nn

from recbole_ssr import own_code, registry, runs
from recbole_ssr.config import (
    WITHOUT_EFFECT_ON_RESULTS,
    PluginConfig,
    build_config,
    config_hash,
    plain_value,
    resolved,
)
from recbole_ssr.corruption import Corruption
from recbole_ssr.data.dataset import FixedSplitDataset
from recbole_ssr.data.exact import ExactDataset
from recbole_ssr.data.exclusion import apply_exclusion
from recbole_ssr.data.fields import check_columns
from recbole_ssr.data.parts import check_parts, leaks, needs_labels
from recbole_ssr.data.trainable import check_candidates, check_training
from recbole_ssr.distributed.group import LostProcess, is_main, joined, of_main, place
from recbole_ssr.distributed.launcher import Ended, launch
from recbole_ssr.distributed.place import Place, from_environment
from recbole_ssr.errors import MissingDataset, UserError, nearest
from recbole_ssr.eval_settings import given_split, parts_of
from recbole_ssr.evaluation.rankings import Ranking, write_rankings
from recbole_ssr.experiment import Experiment, data_of, ids_hash, protocol_of, training_of
from recbole_ssr.files import expanded, sweep
from recbole_ssr.flags import read_config_file
from recbole_ssr.host_errors import host_errors, missing_columns
from recbole_ssr.inference import inference_model
from recbole_ssr.memory import tell_footprint
from recbole_ssr.processes import check_processes, check_size, take_place
from recbole_ssr.result import FILE, VALID_FILE, RunResult
from recbole_ssr.run_folders import CONFIG, held, newest_unfinished
from recbole_ssr.train import checkpoint
from recbole_ssr.train.fixed_step import check_fixed_steps
from recbole_ssr.train.state import plain_config
from recbole_ssr.train.trainer import BEST, LAST, RunMixin, run_trainer
from recbole_ssr.train.weights import load_weights

logger = logging.getLogger("recbole_ssr")

RANKING = "ranking.npz"
_NEWEST = "%s is the newest unfinished run in %s"
_INTERRUPTED = "interrupted; continue with --resume=%s"

# What may change when a run is resumed: where it runs and how long, never what it computes.
RESUMABLE = ("resume", "device", "nproc", "show_progress", "epochs", "stopping_step", "data_path",
             "cache_dir", "run_dir")


# Called with "training" once the data are ready and after every epoch, and with "testing".
Callback = Callable[[str, Experiment, list[dict]], None]


def run(
    model: str | None = None,
    dataset: str | None = None,
    config_files: Sequence[str | Path] | str | Path = (),
    config_dict: Mapping | None = None,
    flags: Mapping | None = None,
    *,
    folder: str | Path | None = None,
    test: bool = True,
    callback: Callback | None = None,
) -> RunResult:
    """Train, select on validation, test once, and leave a run folder behind.

    Args:
        model: a plugin model or one of RecBole's own; default from the settings, then SSR.
        dataset: default from the settings, then the embedded ml-100k.
        config_files: yaml files, later ones win, or a single one.
        config_dict: settings that win over files.
        flags: parsed command line, wins over all. ``{"resume": folder}`` continues a run, and
            ``{"resume": True}`` the newest unfinished one in run_dir.
        folder: the run folder; default a new one in run_dir. An unfinished run of the same
            settings in it is continued, whatever ended it.
        test: False ends after validation: no test metric is computed, and the result is in
            `valid.json` until a run in the same folder tests, which then trains no more.
        callback: hears of the run's state, see :data:`Callback`; of a run in one process.

    With `nproc` the run is shared by so many processes, which are started here; a process that
    torchrun has started is one of a run that all of them share.

    Raises:
        UserError: for every mistake in settings, data or folders, and where a process was lost.
    """
    if isinstance(config_files, (str, Path)):
        config_files = [config_files]
    _check_arguments(config_files, config_dict, flags, folder, callback)
    asked = _Asked(model, dataset, tuple(config_files), config_dict, dict(flags or {}))
    here = from_environment(os.environ)
    if here is not None and here.size > 1:
        check_size(here, asked.settings)
        _check_callback(callback)
        try:
            with joined(here):
                return _run_of_torchrun(asked, folder, test)
        except MissingDataset as error:  # one process cannot prepare it while the others wait
            raise UserError(str(error)) from None
    asked, newest = _named(asked)
    if asked.settings.get("nproc", 1) != 1:
        _check_callback(callback)
    folder, config, last = _opened(folder, asked)
    with held(folder):
        if config["nproc"] == 1:
            return _run_in(folder, config, last, newest, test, callback)
        _check_callback(callback)
        if newest:
            _say(folder, logging.INFO, _NEWEST, folder, folder.parent)
        return _run_on_processes(folder, asked, config["nproc"], last, test)


def _check_arguments(config_files, config_dict, flags, folder, callback) -> None:
    if not (isinstance(config_files, (list, tuple))
            and all(isinstance(file, (str, Path)) for file in config_files)):
        raise UserError(f"config_files={config_files!r} must be a list of files.")
    for name, value in (("config_dict", config_dict), ("flags", flags)):
        if not (value is None or isinstance(value, Mapping)):
            raise UserError(f"{name}={value!r} must hold settings by key, as in {{'epochs': 1}}.")
    if not (folder is None or isinstance(folder, (str, Path)) and str(folder)):
        raise UserError(f"folder={folder!r} must name the folder of the run.")
    if not (callback is None or callable(callback)):
        raise UserError(f"callback={callback!r} must be a function.")


class _Asked(NamedTuple):
    """The settings of a run as :func:`run` was given them."""

    model: str | None
    dataset: str | None
    config_files: tuple
    config_dict: Mapping | None
    flags: dict

    @property
    def settings(self) -> dict:
        """Those that are in no file."""
        return {**(self.config_dict or {}), **self.flags}


def _check_callback(callback: Callback | None) -> None:
    if callback is not None:
        raise UserError("several processes that share a run cannot call a function of this one: "
                        "leave callback out, or nproc, as runs of a comparison do")


def _named(asked: _Asked) -> tuple[_Asked, bool]:
    """Return what is asked with the run that is to go on by name, and whether nobody named it."""
    if asked.flags.get("resume") is not True:
        return asked, False
    newest = newest_unfinished(_run_dir(asked.flags, asked.config_dict))
    return asked._replace(flags=asked.flags | {"resume": str(newest)}), True


def _run_on_processes(folder: Path, asked: _Asked, nproc: int, last: Path | None,
                      test: bool) -> RunResult:
    """Start the processes of a run and return the result that they leave."""
    made_here = last is None and not any(folder.iterdir())
    try:
        # By its name, and not as a function: a process imports what it calls.
        launch(f"{__name__}:run_shared", {"folder": folder, "asked": asked, "last": last,
                                          "test": test}, nproc)
    except KeyboardInterrupt:
        if (folder / CONFIG).is_file():
            _say(folder, logging.WARNING, _INTERRUPTED, folder)
        elif made_here:
            shutil.rmtree(folder, ignore_errors=True)
        raise
    except (Ended, LostProcess) as error:
        raise type(error)(f"{error}. {_going_on(folder)}") from None
    except UserError:
        # Process 0 leaves none before training either, unless it was ended while it was at it.
        if made_here and not (folder / LAST).is_file():
            shutil.rmtree(folder, ignore_errors=True)
        raise
    return RunResult.read(folder, FILE if test else VALID_FILE)


def _going_on(folder: Path) -> str:
    begun = (folder / CONFIG).is_file()
    return f"Continue with --resume={folder}" if begun else "Start the run again"


def _run_of_torchrun(asked: _Asked, folder: Path | None, test: bool) -> RunResult:
    """Be one of the processes that torchrun has started; the main one opens the folder."""
    def opened() -> tuple[Path, Path | None, _Asked]:
        named, _ = _named(asked)
        made, _, last = _opened(folder, named)
        return made.resolve(), last, named

    folder, last, asked = of_main(opened)
    if not folder.is_dir():
        raise UserError(f"{place()} does not see the run folder {folder}, which process 0 "
                        "has made: run_dir must be on a disk that all machines share")
    try:
        with held(folder) if is_main() else nullcontext():
            return run_shared(folder, asked, last, test)
    except KeyboardInterrupt:
        if is_main() and (folder / CONFIG).is_file():
            _say(folder, logging.WARNING, _INTERRUPTED, folder)
        raise
    except LostProcess as error:
        raise LostProcess(f"{error}. {_going_on(folder)}") from None


def run_shared(folder: Path, asked: _Asked, last: Path | None, test: bool) -> RunResult:
    """Be one of the processes of a run in its folder, on from the checkpoint `last`."""
    # What lies there by now may be of this run, whose main process can be ahead: `last` counts.
    config = _opened(None if asked.settings.get("resume") else folder, asked)[1]
    take_place(config, place())
    return _run_in(folder, config, last, False, test, None)


def _say(folder: Path, level: int, *message) -> None:
    """Log a message where no run of this process does."""
    with runs.log_into(folder, discard_unless_started=False):
        logger.log(level, *message)


def _run_in(folder: Path, config: PluginConfig, last: Path | None, newest: bool, test: bool,
            callback: Callback | None) -> RunResult:
    """Do a run in its folder, on from the checkpoint `last`; `newest` if nobody named it."""
    config["run_folder"], config["checkpoint_dir"] = str(folder), str(folder)
    with _written_by_main(folder, last) as started:
        if newest:
            logger.info(_NEWEST, folder, folder.parent)
        if not last:  # already now: a run that is killed before its first checkpoint starts anew
            _write_settings(folder, config)
            if config["resume"]:
                logger.info("%s has no checkpoint yet and starts from its settings", folder)
        experiment = prepare(config)
        trainer = trainer_of(experiment)
        if last:
            before = trainer.restore(last)
            _check_settings(before, config, folder)
            _check_epochs(trainer, before.get("epochs"), folder)
            if is_main() and not trainer.stopped and trainer.start_epoch < trainer.epochs:
                for file in (FILE, VALID_FILE, RANKING):  # soon of other weights
                    (folder / file).unlink(missing_ok=True)
            _write_settings(folder, config)
            logger.info("resuming %s after epoch %d", folder, trainer.start_epoch - 1)
        trainer.begin_logging()
        started()
        _announce(experiment, folder)
        try:
            with _errors_of_host_model("train", config), missing_columns(config):
                return _train_and_test(experiment, trainer, folder, test, callback)
        except KeyboardInterrupt:
            if place().size == 1:
                logger.warning(_INTERRUPTED, folder)
            raise
        finally:
            trainer.end_logging()


def _check_settings(before: Mapping, config: PluginConfig, folder: Path) -> None:
    now = plain_config(config)
    changed = [key for key in sorted(resolved(config).keys() & before.keys())
               if plain_value(before[key]) != plain_value(now[key])
               and key not in WITHOUT_EFFECT_ON_RESULTS and key not in RESUMABLE]
    if changed:
        was, says = (", ".join(f"{key}={values[key]!r}" for key in changed)
                     for values in (before, now))
        raise UserError(f"{folder / LAST} was trained with {was}, and {CONFIG} beside it says "
                        f"{says} now. Put the settings back, or train a new run by the others")


def _check_epochs(trainer: RunMixin, epochs: int | None, folder: Path) -> None:
    """Refuse fewer epochs than are trained, and those that would move evaluations.

    RecBole evaluates a run that is shorter than `eval_step` after its last epoch.
    """
    step = trainer.config["eval_step"]
    if epochs and epochs < step and trainer.epochs != epochs:
        raise UserError(f"epochs={trainer.epochs} with eval_step={step} would evaluate at other "
                        f"epochs than {folder} has, whose {epochs} epochs are fewer than a step. "
                        "Train a new run")
    if trainer.epochs < trainer.start_epoch:
        raise UserError(f"epochs={trainer.epochs}, but {folder} has trained {trainer.start_epoch}: "
                        "a resumed run can only have as many or more. Train a new run for fewer")


def _written_by_main(folder: Path, last: Path | None) -> AbstractContextManager:
    """Log into the run folder, in the process that writes there; see :func:`runs.log_into`."""
    if not is_main():
        return runs.log_nowhere()
    sweep(folder)
    made_here = last is None and not any(folder.iterdir())
    return runs.log_into(folder, discard_unless_started=made_here)


def _write_settings(folder: Path, config: PluginConfig) -> None:
    if is_main():
        runs.write_text(folder / CONFIG, _dump(config))
        own_code.leave(folder, config["model"])


def prepare(config: PluginConfig) -> Experiment:
    """Build the dataset, its loaders and the model of a configuration."""
    init_seed(config["seed"], config["reproducibility"])
    _trainer_class(config)  # a model without one here is refused before its data are read
    with checked_data(config) as kind:
        dataset = kind(config)
        if "eval_batch_size" not in config.sources:
            config["eval_batch_size"] = config["eval_users_per_step"] * dataset.item_num
        _check_cutoffs(config, dataset)
        train, valid, test = _loaders(config, dataset)
    _check_split(config, dataset, (train, valid, test))
    check_training(train._dataset)
    apply_exclusion(config, dataset, valid, test)
    if config["run_folder"]:  # it will be trained
        tell_footprint(config, train._dataset)
    init_seed(config["seed"], config["reproducibility"])
    with _errors_of_host_model("build", config):
        model = config.model_class(config, train._dataset).to(config["device"])
    return Experiment(config, dataset, train, valid, test, model)


@contextmanager
def checked_data(config: PluginConfig) -> Iterator[type]:
    """Yield the class of a run's dataset; errors of its columns and of RecBole are one line."""
    kind = _dataset_class(config)
    check_columns(config, _needed_columns(kind))
    with host_errors(f"use the data of {config['dataset']}"):
        yield kind


def _loaders(config: PluginConfig, dataset: Dataset) -> tuple:
    try:
        return data_preparation(config, dataset)
    except UserError:
        raise
    except ValueError:
        check_candidates(dataset)
        raise


def _needed_columns(kind: type) -> list[str]:
    """Return the settings that name a column of a knowledge graph, where the model reads one."""
    if not issubclass(kind, host_dataset.KnowledgeBasedDataset):
        return []
    return ["HEAD_ENTITY_ID_FIELD", "RELATION_ID_FIELD", "TAIL_ENTITY_ID_FIELD", "ENTITY_ID_FIELD"]


def _errors_of_host_model(doing: str, config: PluginConfig) -> AbstractContextManager:
    """What RecBole's own models raise in one line; an error of the package's is shown in full."""
    if registry.is_plugin_model(config["model"]):
        return nullcontext()
    return host_errors(f"{doing} its model {config['model']}")


def _check_cutoffs(config: PluginConfig, dataset: Dataset) -> None:
    """Raise UserError where rankings are asked for that are longer than the list of all items."""
    longest, n_items = max(config["topk"]), dataset.item_num - 1
    if config["eval_type"] == EvaluatorType.RANKING and longest > n_items:
        raise UserError(f"topk={config['topk']} asks for the best {longest} items, and "
                        f"{config['dataset']} has {n_items}: take {n_items} or fewer.")


def _check_split(config: PluginConfig, dataset: Dataset, loaders: tuple) -> None:
    """Raise UserError where a part that is asked for is empty, or labels that it needs are not."""
    split = config["eval_args"]["split"]
    drawn = given_split(config) is None
    asked = (True, *(parts_of(split) if drawn else (True, True)))
    name = f"split {split}" if drawn else "the split of the dataset"
    check_parts(asked, [len(loader._dataset) for loader in loaders], name)
    needs_labels(config["eval_args"]["mode"], config["LABEL_FIELD"], list(dataset.inter_feat))


def load_run(folder: str | Path, device: str = "auto", stage: str = "inference",
             data_path: str | Path | None = None,
             changes: Mapping[str, object] | None = None) -> Experiment:
    """Rebuild the experiment of a run folder with its best parameters, in evaluation mode.

    The model has the item features that the run was measured with or, at the stage "training",
    was trained on; they differ where `corruption_at` says so. `data_path` names the folder of
    datasets where they have moved since; `changes` are settings of evaluation in place of the
    run's, such as `topk`.

    Raises UserError where the folder, its settings or its checkpoint are missing, damaged or not of
    one run, and where the data are not those of the run.
    """
    stages = ("inference", "training")
    if stage not in stages:
        raise UserError(f"stage={stage!r} must be inference or training.{nearest(stage, stages)}")
    folder = runs.existing(folder)
    config = _config_of(folder, config_dict={"device": device} | _placed(data_path),
                        flags=changes)
    if change := own_code.change_since(folder, config["model"]):
        logger.warning("%s: its parameters are used by the code of now", change)
    with runs.quiet_host():
        experiment = prepare(config)
    state = checkpoint.load(folder / BEST, map_location=config["device"])
    load_weights(experiment.model, state, folder / BEST, config, data_of(experiment))
    if stage == "training":
        experiment.model.eval()
        return experiment
    return experiment._replace(model=_as_measured(experiment)(experiment.model))


def _run_dir(flags: Mapping, config_dict: Mapping | None) -> Path:
    default = read_config_file(registry.properties_folder() / "overall.yaml")["run_dir"]
    run_dir = {"run_dir": default, **(config_dict or {}), **flags}["run_dir"]
    if not isinstance(run_dir, (str, Path)):
        raise UserError(f"run_dir={run_dir!r} must name a folder, as in --run_dir={default}")
    return expanded(run_dir)


def _opened(folder: str | Path | None,
            asked: _Asked) -> tuple[Path, PluginConfig, Path | None]:
    """Return the run folder, the configuration and the checkpoint to go on from, if any."""
    model, dataset, config_files, config_dict, flags = asked
    resume = flags.get("resume") or (config_dict or {}).get("resume")
    if resume:
        if folder is not None:
            raise UserError(f"resume={resume} and folder={folder} both name the run; drop one")
        return _resumed(resume, model, dataset, config_files, config_dict, flags)
    config = build_config(model, dataset, config_files, config_dict, flags)
    if config["resume"]:
        raise UserError(f"resume={config['resume']!r} ({config.sources['resume']}) names a run to "
                        f"go on with, which no file can: give --resume={config['resume']}, or take "
                        "the line out of the file")
    check_processes(config, _place_of(config))
    check_fixed_steps(config, config.model_class)
    if folder is None:
        return runs.create(config["run_dir"], config["dataset"], config["model"]), config, None
    folder = Path(folder)
    runs.make(folder)
    if not any((folder / file).is_file() for file in (LAST, BEST, FILE, VALID_FILE)):
        return folder, config, None
    earlier = _config_of(folder, config_dict=_placed(config.external_config_dict.get("data_path")))
    if config_hash(earlier) != config_hash(config):
        raise UserError(f"{folder} holds a run of other settings; name another folder")
    _check_code(folder, config["model"])
    return folder, config, folder / LAST if (folder / LAST).is_file() else None


def _resumed(resume, model, dataset, config_files, config_dict, flags):
    folder = runs.existing(resume)
    settings = {**(config_dict or {}), **flags}
    settings |= {k: v for k, v in (("model", model), ("dataset", dataset)) if v is not None}
    changed = [key for key in settings if key not in RESUMABLE]
    if changed or config_files:
        raise UserError(
            f"--resume continues a run with its own settings; {', '.join(changed or ['files'])} "
            f"cannot change. Only {', '.join(RESUMABLE[1:-1])} may"
        )
    config = _config_of(folder, config_dict=config_dict, flags=flags)
    check_processes(config, _place_of(config))
    check_fixed_steps(config, config.model_class)
    if (folder / LAST).is_file():
        _check_code(folder, config["model"])
        return folder, config, folder / LAST
    for file in (BEST, FILE, VALID_FILE):
        if (folder / file).is_file():
            raise UserError(f"{folder} has a {file}, but no {LAST} to resume from; start a new run")
    return folder, config, None


def _check_code(folder: Path, model: str) -> None:
    if change := own_code.change_since(folder, model):
        raise UserError(f"{change}: the file has changed since. Put it back as it was, or start a "
                        "new run")


def _place_of(config: PluginConfig) -> Place:
    """Return this process's place, or the first of those that are yet to be started."""
    n = config["nproc"]
    return place() if place().size > 1 else Place(0, n, 0, n)


def _config_of(folder: Path, **overrides) -> PluginConfig:
    """Return the configuration in a run folder, with what is given above it."""
    file = folder / CONFIG
    settings = read_config_file(file)
    missing = [key for key in ("model", "dataset") if not settings.get(key)]
    if missing:
        raise UserError(f"{file} names no {' and no '.join(missing)}, as the settings of a run do. "
                        "Copy it again from where it was whole, or start a new run")
    own_code.check_loaded(folder, registry.model_names())
    return build_config(config_files=[file], **overrides)


def _placed(data_path: str | Path | None) -> dict:
    return {} if data_path is None else {"data_path": str(data_path)}


def _dataset_class(config) -> type:
    """RecBole's choice of dataset class, read exactly; the split is fixed where it is of rows."""
    name = f"{config['model']}Dataset"
    by_type = {ModelType.SEQUENTIAL: "SequentialDataset", ModelType.KNOWLEDGE:
               "KnowledgeBasedDataset"}
    default = by_type.get(config["MODEL_TYPE"], "Dataset")
    cls = getattr(host_dataset, name, None) or getattr(host_dataset, default)
    base = FixedSplitDataset if cls.build is Dataset.build else ExactDataset
    if issubclass(cls, ExactDataset):
        return cls
    if cls is Dataset:
        return FixedSplitDataset
    return type(f"{base.__name__.removesuffix('Dataset')}{cls.__name__}", (base, cls), {})


def trainer_of(experiment: Experiment) -> RunMixin:
    """Return the trainer that RecBole would choose, with run folder, resume and named losses."""
    config = experiment.config
    trainer = _trainer_class(config)(config, experiment.model)
    trainer.as_measured, trainer.data = _as_measured(experiment), data_of(experiment)
    return trainer


def _trainer_class(config: PluginConfig) -> type:
    return run_trainer(get_trainer(config["MODEL_TYPE"], config["model"]))


def _as_measured(experiment: Experiment) -> Callable[[nn.Module], nn.Module]:
    """Return what turns a trained model into the one that is measured."""
    return partial(inference_model, experiment,
                   corruption=Corruption.of(experiment.config, stage="inference"))


def _announce(experiment: Experiment, folder: Path) -> None:
    dataset, config = experiment.dataset, experiment.config
    size = sum(p.numel() for p in experiment.model.parameters() if p.requires_grad)
    logger.info(
        "%s on %s: %s users, %s items, %s interactions (%s train); %s parameters, device %s",
        config["model"], config["dataset"], f"{dataset.user_num - 1:,}",
        f"{dataset.item_num - 1:,}", f"{dataset.inter_num:,}",
        f"{len(experiment.train._dataset):,}", f"{size:,}", config["device"],
    )
    logger.info("run folder %s", folder)
    _tell_leaks(experiment)


def _tell_leaks(experiment: Experiment) -> None:
    """Warn where items are to be ranked for users who have them in training."""
    config, dataset = experiment.config, experiment.dataset
    if (config["repeatable"] or config["eval_type"] != EvaluatorType.RANKING
            or config["MODEL_TYPE"] == ModelType.SEQUENTIAL):
        return
    train, valid, test = ([part._dataset.inter_feat[field].numpy()
                           for field in (dataset.uid_field, dataset.iid_field)]
                          for part in (experiment.train, experiment.valid, experiment.test))
    found = leaks(train, {"validation": valid, "test": test}, dataset.item_num)
    if found:
        remedy = "keep each pair in one part" if given_split(config) else \
            "give --rm_dup_inter=first"
        logger.warning("%s: %s, or see recbole-ssr data %s", found, remedy, config["dataset"])


def _train_and_test(experiment: Experiment, trainer: RunMixin, folder: Path, test: bool,
                    callback: Callback | None) -> RunResult:
    config = experiment.config
    tell = callback or (lambda *_: None)
    trainer.on_epoch = lambda history: tell("training", experiment, history)
    # What an interrupted run had done counts, what it had to do again does not.
    done = sum(r["seconds"] + r.get("eval_seconds", 0) for r in trainer.history)
    if not trainer.history:  # closed forms were fitted when they were built
        done = getattr(experiment.model, "fit_seconds", 0.0)
    start, begun = time.perf_counter() - done, len(trainer.history)
    if config["device"].type == "cuda":
        torch.cuda.reset_peak_memory_stats(config["device"])
    tell("training", experiment, trainer.history)
    trainer.fit(experiment.train, experiment.valid, show_progress=config["show_progress"])
    tell("testing", experiment, trainer.history)
    rankings, trained = {}, trainer.model
    valid, rankings["valid"] = evaluated(trainer, experiment.valid, load_best_model=True)
    if valid and trainer.calibration.get("kept") and trainer.model is not trained:
        # It was fitted on other features than those that are measured.
        trainer.calibration["uncalibrated"]["valid"] = _uncalibrated(trainer, experiment.valid)
    tested = {}
    if test:  # without a validation part nothing has loaded the parameters yet
        if trainer.calibration.get("kept") and experiment.test:
            trainer.calibration["uncalibrated"]["test"] = _uncalibrated(trainer, experiment.test)
        tested, rankings["test"] = evaluated(trainer, experiment.test, load_best_model=not valid)
    costs = _costs(time.perf_counter() - start, config["device"], folder,
                   trained=len(trainer.history) > begun)
    result = _result(experiment, trainer, folder, valid, tested, *costs)
    if is_main():
        _leave(result, folder, rankings, ids_hash(experiment.dataset), test)
    logger.debug("valid %s, test %s", valid, tested)
    return result


def _uncalibrated(trainer: RunMixin, part) -> dict:
    """Return the metrics of a part without the gains of calibration."""
    with trainer.model.uncalibrated():
        return evaluated(trainer, part, load_best_model=False)[0]


def evaluated(trainer: RunMixin, part, load_best_model: bool) -> tuple[dict, Ranking | None]:
    """Return the metrics of a part, and its ranking where all items were ranked.

    Of a part that the split does not have there are neither.
    """
    if not part:
        return {}, None
    collector = trainer.eval_collector
    collector.keep_ranking = isinstance(part, FullSortEvalDataLoader)
    metrics = trainer.evaluate(part, load_best_model=load_best_model)
    return metrics, collector.take_ranking()


def _result(experiment, trainer, folder, valid, test, seconds, peak_mib) -> RunResult:
    config, history = experiment.config, trainer.history
    return RunResult(
        run=str(folder), model=config["model"], dataset=config["dataset"], seed=config["seed"],
        protocol=protocol_of(experiment), config_hash=config_hash(config), valid=valid, test=test,
        best_epoch=trainer.best_epoch, epochs=len(history),
        seconds_per_epoch=median_low([r["seconds"] for r in history] or [0.0]),
        seconds_per_evaluation=median_low(
            [r["eval_seconds"] for r in history if "valid" in r] or [0.0]),
        seconds=seconds, peak_mib=peak_mib,
        parameters=sum(p.numel() for p in experiment.model.parameters() if p.requires_grad),
        device=str(config["device"]), versions=runs.versions(), history=history,
        training=training_of(experiment), calibration=trainer.calibration,
    )


def _costs(seconds: float, device: torch.device, folder: Path,
           trained: bool) -> tuple[float, float | None]:
    """Return seconds and peak memory of a run, of which this process may have trained nothing.

    What had finished, and was only measured again, has those of its result; the peak of an earlier
    process which trained and did not test is included.
    """
    if not trained:
        with suppress(UserError):  # no such file, or a damaged one, which is written anew
            finished = RunResult.read(folder)
            return finished.seconds, finished.peak_mib
    peak = runs.peak_mib(device)
    if peak is None or not (folder / VALID_FILE).is_file():
        return seconds, peak
    return seconds, max(peak, RunResult.read(folder, VALID_FILE).peak_mib or 0)


def _leave(result: RunResult, folder: Path, rankings: dict, ids: str, tested: bool) -> None:
    """Write what a run measured: the metrics last, so that they stand for a complete folder."""
    from recbole_ssr.report.learning_curve import learning_curve  # matplotlib is slow to import

    rankings = {part: ranking for part, ranking in rankings.items() if ranking is not None}
    if rankings:
        write_rankings(folder / RANKING, rankings, ids)
    learning_curve(result, folder / "curve.png")
    if tested:
        result.write()
        (folder / VALID_FILE).unlink(missing_ok=True)
    else:
        result.write(VALID_FILE)


def _dump(config: PluginConfig) -> str:
    """Return the settings as a config file that means the same in every working folder."""
    settings = resolved(config)
    settings.pop("resume", None)  # of the command, not of the run
    if "eval_batch_size" not in config.sources:
        del settings["eval_batch_size"]  # follows from eval_users_per_step
    if config["dataset"] != registry.DEMO_DATASET or "data_path" in settings:
        data_path = config.external_config_dict.get("data_path")
        settings["data_path"] = data_path or config.internal_config_dict["data_path"]
    for key in ("data_path", "cache_dir"):
        if settings.get(key):
            settings[key] = str(expanded(settings[key]).resolve())
    return yaml.safe_dump(settings, sort_keys=True, allow_unicode=True)
