"""What a configuration stands for, and what can be said of it in plain values."""

from __future__ import annotations

import hashlib
import json
from typing import NamedTuple

import numpy as np
from recbole.data.dataset import Dataset
from torch import nn

from recbole_ssr.config import PluginConfig, resolved
from recbole_ssr.corruption import Corruption
from recbole_ssr.data.features import ItemFeatures
from recbole_ssr.data.split_hash import split_hash
from recbole_ssr.eval_settings import given_split
from recbole_ssr.evaluation.rankings import Interactions
from recbole_ssr.int32 import check_int32


class Experiment(NamedTuple):
    """Everything that a configuration stands for; train, valid and test are RecBole's loaders."""

    config: PluginConfig
    dataset: Dataset
    train: object
    valid: object
    test: object
    model: nn.Module


def protocol_of(experiment: Experiment) -> dict:
    """Return everything that two results must share to be compared."""
    dataset = experiment.dataset
    return {
        **asked_protocol(experiment.config),
        "split_fingerprint": getattr(dataset, "split_fingerprint", None),
        "users": dataset.user_num - 1,
        "items": dataset.item_num - 1,
        **_without_selection(experiment),
    }


def asked_protocol(config: PluginConfig) -> dict:
    """Return the entries of a protocol that settings alone tell, before any data are read."""
    evaluation = config["eval_args"]
    given = given_split(config)
    ratio = next(iter(evaluation["split"].items()))
    return {
        "split": given or f"{ratio[0]} {ratio[1]}",
        "group_by": None if given else evaluation["group_by"],
        "order": None if given else evaluation["order"],
        "ranking": evaluation["mode"]["test"],
        "validation_ranking": evaluation["mode"]["valid"],
        "threshold": config["threshold"],
        "tail_ratio": config["tail_ratio"],
        "masked": _masked(config),
        "metrics": list(config["metrics"]),
        "topk": list(config["topk"]),
        "valid_metric": config["valid_metric"],
        "train_share": config["train_share"],
        "stopping_rule": config["stopping_rule"],
        "metric_decimal_place": config["metric_decimal_place"],
        "corruption": _corruption(config),
    }


def _without_selection(experiment: Experiment) -> dict:
    """Return what a run without validation tells of itself; nothing where validation selects."""
    selects = len(experiment.valid) and experiment.config["eval_step"]
    return {} if selects else {"selection": "the last epoch"}


def _masked(config: PluginConfig) -> str:
    if config["repeatable"]:
        return "nothing"
    validation_too = config["test_masking"] != "train"
    return "training and validation items" if validation_too else "training items"


def _corruption(config: PluginConfig) -> dict | None:
    """Return what was done to the features on purpose and where; None where nothing was."""
    facts = Corruption.of(config).facts()
    return None if facts is None else {**facts, "at": config["corruption_at"]}


def training_of(experiment: Experiment) -> dict:
    """Return how the model is trained: what compared results may differ in, and must tell.

    `features` is the fingerprint of the item features, None without any.
    """
    settings, features = resolved(experiment.config), _features(experiment)
    return {
        "objective": _objective(experiment),
        "sampling_power": settings.get("sampling_power"),
        "negatives": settings["train_neg_sample_args"],
        "batch_size": settings["train_batch_size"],
        "learning_rate": settings["learning_rate"],
        "epochs": settings["epochs"],
        "stopping_step": settings["stopping_step"],
        "split_seed": None if given_split(settings) else settings["split_seed"],
        "modalities": list(features.modalities) if features else [],
        "features": features.fingerprint if features else None,
    }


def _objective(experiment: Experiment) -> str:
    """Name the objective; a model of RecBole's has no choice of one."""
    if "objective" not in experiment.config:
        return "the model's own"
    name = experiment.config["objective"]
    paper = getattr(experiment.model, "paper_objective", None)
    return f"{name} ({paper})" if name == "paper" and paper else name


def _features(experiment: Experiment) -> ItemFeatures | None:
    """Return the features that the model has read; a dataset may read them on demand alone."""
    return vars(experiment.train._dataset).get("item_features")


def interactions_of(experiment: Experiment) -> Interactions:
    """Return the interactions of all parts, by id; those of training whatever `train_share`."""
    dataset = experiment.dataset
    check_int32("users or items", max(dataset.user_num, dataset.item_num))
    fields = dataset.uid_field, dataset.iid_field
    train = getattr(dataset, "full_train", experiment.train._dataset.inter_feat)
    rows = train, experiment.valid._dataset.inter_feat, experiment.test._dataset.inter_feat
    parts = [np.stack([part[field].numpy() for field in fields]) for part in rows]
    tokens = [dataset.field2id_token[field] for field in fields]
    fingerprint = getattr(dataset, "split_fingerprint", None) or split_hash(
        [part[0] for part in parts], [part[1] for part in parts], *tokens)
    return Interactions(dataset.user_num, dataset.item_num,
                        *(part.astype(np.int32) for part in parts), fingerprint,
                        ids_hash(dataset))


def data_of(experiment: Experiment) -> dict[str, str | None]:
    """Return hashes of all that parameters are worth nothing without, by name."""
    features = _features(experiment)
    return {
        "users or items": ids_hash(experiment.dataset),
        "split": getattr(experiment.dataset, "split_fingerprint", None),
        "item features": features.fingerprint if features else None,
    }


def ids_hash(dataset: Dataset) -> str:
    """Return the sha256 (hex) of the tokens of users and items in the order of their ids."""
    tokens = [[str(token) for token in dataset.field2id_token[field]]
              for field in (dataset.uid_field, dataset.iid_field)]
    return hashlib.sha256(json.dumps(tokens).encode()).hexdigest()
