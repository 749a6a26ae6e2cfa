"""Handing over what evaluation has collected."""

from __future__ import annotations

import copy

import torch
from recbole.evaluator.collector import DataStruct

# What evaluation collects batch by batch; the rest of a DataStruct comes once, from training data.
COLLECTED = ("rec.topk", "rec.meanrank", "rec.score", "rec.items", "data.label")


def take_data_struct(source: DataStruct, collected: tuple[str, ...]) -> DataStruct:
    """Move the resources named in `collected` out of `source`, copy the others; tensors on CPU."""
    taken = DataStruct()
    for key, value in list(source._data_dict.items()):
        if isinstance(value, torch.Tensor):
            value = value.cpu()
        if key in collected:
            del source[key]
        else:
            value = copy.deepcopy(value)
        taken.set(key, value)
    return taken
