"""The data of a comparison, loaded once beside its runs: the split they must have, and features."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
from recbole.utils import init_seed

from recbole_ssr.compare.comparison_options import ComparisonOptions
from recbole_ssr.compare.store import Task, result_of, state_of
from recbole_ssr.config import build_config
from recbole_ssr.data.dataset import FixedSplitDataset, MultimodalDataset
from recbole_ssr.data.features import ItemFeatures
from recbole_ssr.errors import UserError, nearest
from recbole_ssr.host_errors import host_errors
from recbole_ssr.own_code import change_since
from recbole_ssr.result import FILE, VALID_FILE
from recbole_ssr.runs import quiet_host
from recbole_ssr.train.trainer import LAST

logger = logging.getLogger("recbole_ssr")

# Settings that decide what a model sees of the item features.
OF_FEATURES = ("modalities", "feature_path", "feature_fill", "feature_scaling", "feature_noise",
                "feature_missing", "drop_modality")


class Data(NamedTuple):
    """What all runs share: the hash of the split, and the item features where there are some.

    `asked` are the settings that the features follow from.
    """

    fingerprint: str
    features: ItemFeatures | None
    asked: dict[str, object]

    def matrices(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Return by modality the matrix (n_items, d) and the mask (n_items,) of its items."""
        features = self.features
        return {} if features is None else {
            name: (features.matrix(name).numpy(), features.has_feature(name).numpy())
            for name in features.modalities
        }


def load_data(settings: Mapping) -> Data:
    """Load and split the dataset as every run does. Raises UserError where that is impossible."""
    # RecBole's LightGCN has no setting that changes the data; those of other models are checked
    # where their runs are made.
    with _without_warnings():
        config = build_config("LightGCN", config_dict={**settings, "show_progress": False})
    init_seed(config["seed"], config["reproducibility"])
    with quiet_host(), host_errors(f"use the data of {config['dataset']}"):
        try:
            dataset = MultimodalDataset(config)
        except UserError as error:
            # Models on ids alone need none; a model that does will say what is missing.
            logger.debug("no features: %s", error)
            dataset = FixedSplitDataset(config)
        dataset.build()
    return Data(dataset.split_fingerprint, getattr(dataset, "item_features", None),
                {key: config[key] for key in OF_FEATURES})


def check_modalities(options: ComparisonOptions, data: Data) -> None:
    """Raise UserError where a modality that should be disturbed is not among the features."""
    known = () if data.features is None else data.features.modalities
    for name, disturbed in (("noise", options.noise), ("missing", options.missing),
                        ("drop_modality", options.drop_modality)):
        for modality in disturbed:
            if modality not in known:
                raise UserError(f"--{name} names the modality {modality!r}; "
                                f"{options.settings['dataset']} has {', '.join(known) or 'none'}."
                                f"{nearest(modality, known)}")


def check_code(folders: Iterable[Path], model: str) -> None:
    """Raise UserError where a run that has trained is of other code than its model has now."""
    for folder in folders:
        trained = any((folder / file).is_file() for file in (FILE, VALID_FILE, LAST))
        if trained and (change := change_since(folder, model)):
            raise UserError(f"{change}: the file has changed since. Name another folder with "
                            f"--out, or delete {folder.parent / model}-seed*.")


def check_data(tasks: Iterable[Task], data: Data) -> None:
    """Raise UserError where finished runs are of another split or of other features than those
    at hand, and where any has trained by other code of its model.
    """
    for task in tasks:
        check_code([task.folder], task.model)
        if state_of(task) != "done":
            continue
        result = result_of(task)
        pairs = [("on another split", result.protocol.get("split_fingerprint"), data.fingerprint)]
        seen = result.training.get("features")
        if seen and data.features and _asked_alike(task, data):
            pairs.append(("with other features", seen, data.features.fingerprint))
        for what, was, now in pairs:
            if was != now:
                raise UserError(
                    f"{task.folder} was run {what} of {task.settings['dataset']} (hash "
                    f"{str(was)[:12]}) than the data at hand ({now[:12]}): the dataset has "
                    "changed since. Name another folder with --out, or delete that one."
                )


def check_selected(split: str | None, label: str, data: Data, settings: Mapping) -> None:
    """Raise UserError where a search was on another split than the data at hand."""
    if split is not None and split != data.fingerprint:
        raise UserError(f"the search over {label} was on another split of {settings['dataset']} "
                        f"(hash {split[:12]}) than the data at hand ({data.fingerprint[:12]}): the "
                        "dataset has changed since. Name another folder with --out.")


@contextmanager
def _without_warnings():
    def severe(record: logging.LogRecord) -> bool:
        return record.levelno > logging.WARNING

    logger.addFilter(severe)
    try:
        yield
    finally:
        logger.removeFilter(severe)


def _asked_alike(task: Task, data: Data) -> bool:
    """Tell whether a run's settings ask for the features at hand."""
    config = build_config(task.model, config_dict=task.settings)
    return all(config[key] == value for key, value in data.asked.items())
