"""What values the plugin's settings may take, so that a mistake ends before any work begins."""

from __future__ import annotations

import math

from recbole_ssr.data.corruption import check_setting
from recbole_ssr.errors import UserError, nearest

_CHOICES = {
    "feature_fill": ("zero", "mean", "error"),
    "feature_scaling": ("none", "l2", "standardise"),
    "test_masking": ("train and valid", "train"),
    "stopping_rule": ("recbole", "strict"),
    "projection": ("linear", "mlp"),
    "mask_scope": ("node", "global"),
    "consistency": ("predictions", "distributions", "representations"),
}
_MINIMUM = {"epochs": 1, "train_batch_size": 1, "embedding_size": 1, "eval_users_per_step": 1,
            "stopping_step": 0, "n_bands": 1, "feature_components": 0, "operator_rank": 0,
            "gate_hidden_size": 1, "init_std": 0, "contrast_nodes": 0, "contrast_weight": 0,
            "consistency_weight": 0, "l2_weight": 0, "sampling_power": 0, "knn_k": 1,
            "learning_rate_decay_epochs": 1, "n_layers": 0, "item_layers": 0, "content_layers": 0,
            "feature_weight": 0, "align_weight": 0, "mask_weight": 0, "norm_weight": 0,
            "feature_hidden_size": 1, "weight_decay": 0}
_PROBABILITIES = ("modality_dropout", "item_graph_weight")


def check_range(given: str, key: str, value: object) -> None:
    """Raise UserError unless `value` may stand for `key`; `given` is how a message names both."""
    check_setting(given, key, value)
    if key in _CHOICES and value not in _CHOICES[key]:
        raise UserError(f"{given} must be one of {', '.join(_CHOICES[key])}."
                        f"{nearest(value, _CHOICES[key])}")
    if key in ("gate_gains", "inference_gains"):
        gains = value if isinstance(value, list) else []
        if not gains or any(type(g) not in (int, float) or not math.isfinite(g) for g in gains):
            raise UserError(f"{given} must be a list of numbers, for instance [0.5, 2, 1].")
    if not isinstance(value, (int, float)):
        return
    if key in _MINIMUM and not value >= _MINIMUM[key]:
        raise UserError(f"{given} must be at least {_MINIMUM[key]}.")
    if key in _PROBABILITIES and not 0 <= value <= 1:
        raise UserError(f"{given} must lie between 0 and 1.")
    if key == "mask_rate" and not 0 <= value < 1:
        raise UserError(f"{given} must be at least 0 and below 1, so that some band survives.")
    if key in ("temperature", "ranking_temperature") and not value > 0:
        raise UserError(f"{given} must be a positive number, for instance 0.2.")
    if key == "train_share" and not 0 < value <= 1:
        raise UserError(f"{given} must be above 0 and at most 1, for instance 0.5.")
    if key == "learning_rate_decay" and not 0 < value <= 1:
        raise UserError(f"{given} must be above 0 and at most 1, for instance 0.96.")
    if key == "learning_rate" and not (value > 0 and math.isfinite(value)):
        raise UserError(f"{given} must be a positive number, for instance 0.001.")
