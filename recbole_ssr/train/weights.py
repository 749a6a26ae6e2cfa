"""A checkpoint's parameters, given to the model of this run or refused with the reason."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor, nn

from recbole_ssr.errors import UserError

# What a training loop needs beside the parameters to go on, and of which type.
TRAINING = {
    "optimizer": dict, "history": list, "stopped": bool, "epoch": int, "cur_step": int,
    "best_valid_score": (int, float), "best_valid_result": (dict, type(None)),
    "random_state": dict,
}
_REMEDY = ("Did the data, its features or the settings change since the run began? Put them back, "
           "or start a new run instead")


def check_parts(state: Mapping, parts: Mapping[str, type | tuple], path: str | Path) -> None:
    """Raise UserError unless a checkpoint has these parts, each of its type."""
    for name, kind in parts.items():
        if name not in state:
            known = ", ".join(map(str, list(state)[:8])) or "nothing"
            raise UserError(f"checkpoint {path} lacks {name!r} (it has {known}): it is not what a "
                            "run writes there. Copy it again, or start a new run instead")
        if not isinstance(state[name], kind):
            raise UserError(f"{name!r} of checkpoint {path} is a {type(state[name]).__name__}: "
                            "that is not what a run writes there. Start a new run instead")


def load_weights(model: nn.Module, state: Mapping, path: str | Path, config: Mapping,
                 data: Mapping[str, str | None] | None = None) -> None:
    """Give a model the parameters of the checkpoint `state`, which was read from `path`.

    `config` has the model and dataset of this run; `data` hashes of its data by name, which are
    compared with those in the checkpoint where both are known.

    Raises UserError where the checkpoint is of another model, dataset or data, does not fit the
    model, or holds values that no training should leave.
    """
    check_parts(state, {"state_dict": dict}, path)
    _check_origin(state, path, config, data or {})
    other = state.get("other_parameter") or {}
    check_parts({"other_parameter": other}, {"other_parameter": dict}, path)
    built = model.state_dict()
    newer = {name: built[name] for name in getattr(model, "newer_state", ())}
    older = getattr(model, "older_state", ())
    parameters = newer | {k: v for k, v in state["state_dict"].items() if k not in older}
    _check_finite(model, parameters, other, path)
    reason = _misfit(model, parameters, other)
    try:
        if reason is None:
            model.load_state_dict(parameters)
            model.load_other_parameter(other)
    # What is wrong in a part that only the model understands can fail anywhere.
    except Exception as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
    if reason is not None:
        raise UserError(f"checkpoint {path} does not fit {config['model']} on {config['dataset']} "
                        f"as they are now: {reason}. {_REMEDY}")


def _check_origin(state: Mapping, path, config: Mapping, data: Mapping) -> None:
    saved = state.get("config")
    for key in ("model", "dataset"):
        if isinstance(saved, dict) and key in saved and saved[key] != config[key]:
            raise UserError(f"checkpoint {path} is of the {key} {saved[key]}, the settings of this "
                            f"run name {config[key]}. Put the files of one run together again")
    before = state.get("data") if isinstance(state.get("data"), dict) else {}
    changed = [name for name, value in data.items()
               if name in before and before[name] != value]
    if changed:
        raise UserError(f"checkpoint {path} was trained with other {' and '.join(changed)} than "
                        f"those of {config['dataset']} now. {_REMEDY}")


def _check_finite(model: nn.Module, parameters: Mapping, other: Mapping, path) -> None:
    """Buffers may hold what is not finite, as the borders of bands that are no intervals."""
    trained = [name for name, _ in model.named_parameters()]
    for name in [name for name in trained if name in parameters] + list(other):
        value = parameters.get(name, other.get(name))
        if not is_finite(value):
            raise UserError(f"checkpoint {path} holds values in {name} that are not finite: its "
                            "training diverged, or the file was changed. Train again, with a "
                            "lower learning_rate")


def is_finite(value: object) -> bool:
    """Tell whether a tensor, array or sparse matrix holds finite numbers; True of other values."""
    if sp.issparse(value):
        value = value.tocoo().data
    if isinstance(value, np.ndarray) and value.dtype.kind in "fc":
        return bool(np.isfinite(value).all())
    return not isinstance(value, Tensor) or bool(torch.isfinite(_values(value)).all())


def _values(x: Tensor) -> Tensor:
    if x.layout == torch.sparse_coo:
        return x.coalesce().values()
    return x.values() if x.layout in (torch.sparse_csr, torch.sparse_csc) else x


def _misfit(model: nn.Module, saved: Mapping, other: Mapping) -> str | None:
    """Return the first part that keeps a checkpoint from a model, None where all fit."""
    built = model.state_dict()
    for name, x in built.items():
        if name not in saved:
            return f"it lacks {name}"
        if isinstance(x, Tensor) and getattr(saved[name], "shape", None) != x.shape:
            shape = tuple(getattr(saved[name], "shape", ()))
            return f"its {name} has shape {shape} instead of {tuple(x.shape)}"
    known = [name for name, value in (model.other_parameter() or {}).items()
             if not isinstance(value, nn.Module)]
    missing = [name for name in known if name not in other]
    extra = [name for name in saved if name not in built] + [n for n in other if n not in known]
    if missing:
        return f"it lacks {missing[0]}"
    return f"it has {extra[0]}, which the model does not" if extra else None
