"""Tensors that follow a module's device without being parameters or buffers."""

from __future__ import annotations

from copy import deepcopy

from torch import Tensor, nn


class Constants(nn.Module):
    """Named constant tensors (graph matrices, item features), dense or sparse.

    They move with `.to(device)`. As buffers they would be broadcast at every step under
    DistributedDataParallel, which sparse tensors do not survive, and would enter every checkpoint
    although the data rebuild them.
    """

    def __init__(self, **tensors: Tensor):
        super().__init__()
        self._tensors = tensors

    def __getitem__(self, name: str) -> Tensor:
        return self._tensors[name]

    def _apply(self, fn, recurse=True):
        super()._apply(fn, recurse)
        self._tensors = {name: fn(tensor) for name, tensor in self._tensors.items()}
        return self

    def __deepcopy__(self, memo):
        # Shared, because they never change in place and torch cannot copy sparse CSR tensors.
        memo.update((id(tensor), tensor) for tensor in self._tensors.values())
        copy = type(self).__new__(type(self))
        memo[id(self)] = copy
        copy.__dict__.update((key, deepcopy(value, memo)) for key, value in vars(self).items())
        return copy
