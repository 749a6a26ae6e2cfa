"""Whether shapes may follow from the data of a batch.

On a GPU such a shape has to be waited for, and a captured step cannot have it at all. Where shapes
are fixed, all rows are kept, those that weigh nothing too: the same sums.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

_fixed = False


@contextmanager
def fixed_shapes() -> Iterator[None]:
    """Compute with fixed shapes on a CPU too, as a captured step does on a GPU."""
    global _fixed
    before, _fixed = _fixed, True
    try:
        yield
    finally:
        _fixed = before


def shapes_are_fixed(like: Tensor) -> bool:
    """Tell whether a computation on the device of a tensor has to have fixed shapes."""
    return _fixed or like.is_cuda


def occurrences(positions: Tensor, n: int) -> Tensor:
    """Count how often each of n rows occurs. Shapes: positions (B,); result (n,) float.

    >>> occurrences(torch.tensor([0, 0, 2]), n=3)
    tensor([2., 0., 1.])
    """
    if not shapes_are_fixed(positions):
        return torch.bincount(positions, minlength=n).float()
    ones = torch.ones(positions.shape, device=positions.device)
    return ones.new_zeros(n).index_add_(0, positions, ones)


def rows_that_weigh(weight: Tensor) -> Tensor:
    """Return the rows with a weight above 0, or all. Shapes: weight (n,); result (R,) integer.

    >>> rows_that_weigh(torch.tensor([0.0, 2, 1]))
    tensor([1, 2])
    """
    if shapes_are_fixed(weight):
        return torch.arange(len(weight), device=weight.device)
    return weight.nonzero().squeeze(1)


def each_tensor(f: Callable[[Tensor], Tensor], nest):
    """Apply a function to every tensor of nested tuples; None stays None."""
    if nest is None or isinstance(nest, Tensor):
        return nest if nest is None else f(nest)
    parts = [each_tensor(f, part) for part in nest]
    return type(nest)(*parts) if hasattr(nest, "_fields") else tuple(parts)


def on_device(nest, device: torch.device):
    """Return nested tuples of tensors on a device, without waiting for it."""
    return each_tensor(lambda x: x.to(device, non_blocking=True), nest)
