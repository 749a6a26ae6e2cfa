"""What RecBole saves of a training run, in plain types."""

from __future__ import annotations

import enum
from typing import Any

import numpy as np
import torch
from recbole.config import Config
from recbole.trainer.trainer import Trainer


def model_state(trainer: Trainer, epoch: int) -> dict:
    """What RecBole saves of a training run, in plain types."""
    other = trainer.model.other_parameter() or {}
    return progress(trainer, epoch) | {
        "state_dict": trainer.model.state_dict(),
        # A submodule listed here (DIN, SASRecF ...) has its weights in the state_dict already.
        "other_parameter": {k: v for k, v in other.items() if not isinstance(v, torch.nn.Module)},
        "optimizer": trainer.optimizer.state_dict(),
    }


def progress(trainer: Any, epoch: int) -> dict:
    """Return settings and standing of a run, without its parameters."""
    return {
        "config": plain_config(trainer.config),
        "epoch": epoch,
        "cur_step": trainer.cur_step,
        "best_valid_score": trainer.best_valid_score,
    }


def plain_config(config: Config) -> dict:
    """Return the final values of `config` with plain types only: enums and devices by name."""
    return _plain_value(config.final_config_dict)


def _plain_value(value: Any) -> Any:
    if isinstance(value, dict):
        return {_plain_value(k): _plain_value(v) for k, v in value.items()}
    if isinstance(value, tuple):
        return tuple(_plain_value(v) for v in value)
    if isinstance(value, (list, set, frozenset)):
        return [_plain_value(v) for v in value]
    if isinstance(value, enum.Enum):
        return value.name
    if isinstance(value, np.generic):
        value = value.item()
    if type(value) in (str, int, float, bool, type(None)):
        return value
    return str(value)
