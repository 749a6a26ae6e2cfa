"""From a configuration to a finished run, without RecBole's `quick_start` and without ray."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import recbole.data.dataset as host_dataset
import torch
import yaml
from recbole.data import data_preparation
from recbole.data.dataset import Dataset
from recbole.utils import ModelType, get_model, get_trainer, init_seed
from torch import nn

from recbole_ssr import runs
from recbole_ssr.config import PluginConfig, build_config, config_hash, resolved
from recbole_ssr.data.dataset import FixedSplitDataset
from recbole_ssr.errors import UserError
from recbole_ssr.result import RunResult
from recbole_ssr.train import checkpoint
from recbole_ssr.train.trainer import BEST, LAST, RunMixin, run_trainer

logger = logging.getLogger("recbole_ssr")

# What may change when a run is resumed: where it runs and how long, never what it computes.
RESUMABLE = ("resume", "device", "show_progress", "epochs", "stopping_step", "run_dir")


class Experiment(NamedTuple):
    """Everything that a configuration stands for."""

    config: PluginConfig
    dataset: Dataset
    train: object
    valid: object
    test: object
    model: nn.Module


def run(
    model: str | None = None,
    dataset: str | None = None,
    config_files: Sequence[str | Path] = (),
    config_dict: Mapping | None = None,
    flags: Mapping | None = None,
) -> RunResult:
    """Train, select on validation, test once, and leave a run folder behind.

    Args:
        model: a plugin model or one of RecBole's own; default from the settings, then SSR.
        dataset: default from the settings, then the embedded ml-100k.
        config_files: yaml files, later ones win.
        config_dict: settings that win over files.
        flags: parsed command line, wins over all. ``{"resume": folder}`` continues a run.

    Raises:
        UserError: for every mistake in settings, data or folders.
    """
    flags = dict(flags or {})
    resume = flags.get("resume") or (config_dict or {}).get("resume")
    if resume:
        folder, config = _resumed_config(resume, model, dataset, config_files, config_dict, flags)
    else:
        config = build_config(model, dataset, config_files, config_dict, flags)
        folder = runs.create(config["run_dir"], config["dataset"], config["model"])
    config["run_folder"], config["checkpoint_dir"] = str(folder), str(folder)
    with runs.log_into(folder, discard_unless_started=not resume) as started:
        experiment = prepare(config)
        trainer = trainer_of(experiment)
        if resume:
            trainer.restore(folder / LAST)
            logger.info("resuming %s after epoch %d", folder, trainer.start_epoch - 1)
        runs.write_text(folder / "config.yaml", _dump(config))
        started()
        _announce(experiment, folder)
        try:
            return _train_and_test(experiment, trainer, folder)
        except KeyboardInterrupt:
            logger.warning("interrupted; continue with --resume=%s", folder)
            raise


def prepare(config: PluginConfig) -> Experiment:
    """Build the dataset, its loaders and the model of a configuration."""
    init_seed(config["seed"], config["reproducibility"])
    dataset = _dataset_class(config)(config)
    if "eval_batch_size" not in config.sources:
        config["eval_batch_size"] = config["eval_users_per_step"] * dataset.item_num
    try:
        train, valid, test = data_preparation(config, dataset)
    except ValueError as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"RecBole refuses the data of {config['dataset']}: {error}") from error
    init_seed(config["seed"], config["reproducibility"])
    model = get_model(config["model"])(config, train._dataset).to(config["device"])
    return Experiment(config, dataset, train, valid, test, model)


def load_run(folder: str | Path, device: str = "auto") -> Experiment:
    """Rebuild the experiment of a run folder with its best parameters, in evaluation mode.

    Raises UserError where the folder, its settings or its checkpoint are missing or damaged.
    """
    folder = runs.existing(folder)
    config = build_config(config_files=[folder / "config.yaml"], config_dict={"device": device})
    experiment = prepare(config)
    state = checkpoint.load(folder / BEST, map_location=config["device"])
    experiment.model.load_state_dict(state["state_dict"])
    experiment.model.load_other_parameter(state["other_parameter"])
    experiment.model.eval()
    return experiment


def _resumed_config(resume, model, dataset, config_files, config_dict, flags):
    folder = runs.existing(resume)
    given = {**(config_dict or {}), **flags}
    given |= {k: v for k, v in (("model", model), ("dataset", dataset)) if v is not None}
    changed = [key for key in given if key not in RESUMABLE]
    if changed or config_files:
        raise UserError(
            f"--resume continues a run with its own settings; {', '.join(changed or ['files'])} "
            f"cannot change. Only {', '.join(RESUMABLE[1:-1])} may"
        )
    if not (folder / LAST).is_file():
        raise UserError(f"{folder} has no {LAST} to resume from; start a new run")
    return folder, build_config(config_files=[folder / "config.yaml"], config_dict=config_dict,
                                flags=flags)


def _dataset_class(config) -> type:
    """RecBole's choice of dataset class, with the fixed split wherever it splits by rows."""
    name = f"{config['model']}Dataset"
    by_type = {ModelType.SEQUENTIAL: "SequentialDataset", ModelType.KNOWLEDGE:
               "KnowledgeBasedDataset"}
    default = by_type.get(config["MODEL_TYPE"], "Dataset")
    cls = getattr(host_dataset, name, None) or getattr(host_dataset, default)
    if issubclass(cls, FixedSplitDataset) or cls.build is not Dataset.build:
        return cls
    if cls is Dataset:
        return FixedSplitDataset
    return type(f"FixedSplit{cls.__name__}", (FixedSplitDataset, cls), {})


def trainer_of(experiment: Experiment) -> RunMixin:
    """Return the trainer that RecBole would choose, with run folder, resume and named losses."""
    config = experiment.config
    host = get_trainer(config["MODEL_TYPE"], config["model"])
    return run_trainer(host)(config, experiment.model)


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


def _train_and_test(experiment: Experiment, trainer: RunMixin, folder: Path) -> RunResult:
    config = experiment.config
    show = config["show_progress"]
    start = time.perf_counter()
    if config["device"].type == "cuda":
        torch.cuda.reset_peak_memory_stats(config["device"])
    trainer.fit(experiment.train, experiment.valid, show_progress=show)
    valid = trainer.evaluate(experiment.valid)
    test = trainer.evaluate(experiment.test, load_best_model=False)
    history = trainer.history
    result = RunResult(
        run=str(folder), model=config["model"], dataset=config["dataset"], seed=config["seed"],
        protocol=_protocol(experiment), config_hash=config_hash(config), valid=_floats(valid),
        test=_floats(test), best_epoch=trainer.best_epoch, epochs=len(history),
        seconds_per_epoch=_median([r["seconds"] for r in history]),
        seconds_per_evaluation=_median([r["eval_seconds"] for r in history if "valid" in r]),
        seconds=time.perf_counter() - start, peak_mib=runs.peak_mib(config["device"]),
        parameters=sum(p.numel() for p in experiment.model.parameters() if p.requires_grad),
        device=str(config["device"]), versions=runs.versions(), history=history,
    )
    result.write()
    from recbole_ssr.report.plots import learning_curve  # matplotlib is slow to import

    learning_curve(result, folder / "curve.png")
    logger.debug("valid %s, test %s", valid, test)
    return result


def _protocol(experiment: Experiment) -> dict:
    """Everything that two results must share to be compared."""
    config, dataset = experiment.config, experiment.dataset
    fingerprint = getattr(dataset, "split_fingerprint", None)
    evaluation = config["eval_args"]
    by_column = config["split_column"]
    ratio = next(iter(evaluation["split"].items()))
    by_name = by_column and (config["split_name"] or f"split by {by_column}")
    return {
        "split": by_name or f"{ratio[0]} {ratio[1]}",
        "split_fingerprint": fingerprint,
        "group_by": None if by_column else evaluation["group_by"],
        "order": None if by_column else evaluation["order"],
        "ranking": evaluation["mode"]["test"],
        "masked": "nothing" if config["repeatable"] else "training and validation items",
        "metrics": list(config["metrics"]),
        "topk": list(config["topk"]),
        "valid_metric": config["valid_metric"],
        "users": dataset.user_num - 1,
        "items": dataset.item_num - 1,
    }


def _dump(config) -> str:
    return yaml.safe_dump(resolved(config), sort_keys=True, allow_unicode=True)


def _floats(metrics) -> dict[str, float]:
    return {name: float(value) for name, value in (metrics or {}).items()}


def _median(values) -> float:
    return float(torch.tensor(values, dtype=torch.float64).median()) if values else 0.0
