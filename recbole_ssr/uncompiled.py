"""Optimizers that do without torch's compiler, whose import takes longer than a small run.

torch.optim imports `torch._dynamo` with the first optimizer that is made and with its first step,
to keep graphs that are being compiled out of them. Here nothing is compiled.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from types import MethodType

import torch
from torch.optim import Optimizer

_COMPILER = "torch._dynamo"
_MARK = "__dynamo_disable"  # where torch keeps what a call became for the compiler
_METHODS = ("zero_grad", "state_dict", "load_state_dict")


def without_compiler(build: Callable[[], Optimizer]) -> Optimizer:
    """Return the optimizer that `build` makes; its steps import no compiler.

    It computes what it would otherwise. Where the compiler is imported already, and for optimizers
    that are none of torch's own, nothing is changed.
    """
    if _COMPILER in sys.modules:
        return build()
    add_group = inspect.unwrap(Optimizer.add_param_group)
    setattr(add_group, _MARK, add_group)
    try:
        optimizer = build()
    finally:
        delattr(add_group, _MARK)
    kind = type(optimizer)
    if not kind.__module__.startswith("torch.optim.") or optimizer.defaults.get("differentiable"):
        return optimizer
    optimizer.step = MethodType(torch.no_grad()(inspect.unwrap(kind.step)), optimizer)
    for name in _METHODS:
        setattr(optimizer, name, MethodType(inspect.unwrap(getattr(kind, name)), optimizer))
    return optimizer
