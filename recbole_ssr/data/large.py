"""RecBole's samplers and loaders for many interactions: the same draws, batches and masks.

What is replaced are Python sets, lists and loops with an object for each interaction; see
:mod:`recbole_ssr.compat`, which puts these functions in place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from recbole.data.dataloader import FullSortEvalDataLoader
from recbole.data.dataloader.abstract_dataloader import AbstractDataLoader
from recbole.data.interaction import Interaction
from recbole.sampler import Sampler
from torch import Tensor
from torch.utils.data import RandomSampler
from torch.utils.data import Sampler as Order

from recbole_ssr.data.used_items import UsedItems

_AT_ONCE = 2**16  # positions of an epoch that are Python's numbers at the same time


def get_used_ids(sampler: Sampler) -> dict[str, UsedItems]:
    """Return by phase the items of that part and of those before it."""
    used, before = {}, None
    for phase, dataset in zip(sampler.phases, sampler.datasets):
        columns = (dataset.inter_feat[field].numpy()
                   for field in (sampler.uid_field, sampler.iid_field))
        own = UsedItems(*columns, sampler.user_num, sampler.item_num)
        before = used[phase] = own if before is None else before | own
    if (before.count() + 1 == sampler.item_num).any():  # [PAD] is an item
        raise ValueError("Some users have interacted with all items, which we can not sample "
                         "negative items for them.")
    return used


def sample_by_key_ids(original: Callable) -> Callable:
    """Return RecBole's way to draw values that a key has not used, for :class:`UsedItems`."""

    def sample(sampler, key_ids: np.ndarray, num: int) -> Tensor:
        used = sampler.used_ids
        if not isinstance(used, UsedItems):
            return original(sampler, key_ids, num)
        # Keys out of range are refused at the first draw, as an index is.
        keys = np.tile(np.asarray(key_ids), num)
        values, left = np.zeros(len(keys), dtype=np.int64), np.arange(len(keys))
        while len(left):
            values[left] = sampler.sampling(len(left))
            left = left[used.has(keys[left], values[left])]
        return torch.from_numpy(values)

    return sample


def init_full_sort(original: Callable) -> Callable:
    """Return how a loader for full ranking is set up without tensors for each user."""

    def init(loader: FullSortEvalDataLoader, config, dataset, sampler, shuffle=False) -> None:
        sequential = config["MODEL_TYPE"].name == "SEQUENTIAL"
        if sequential or not isinstance(sampler.used_ids, UsedItems):
            original(loader, config, dataset, sampler, shuffle=shuffle)
            return
        loader.logger, loader.is_sequential = dataset.logger, False
        loader.uid_field, loader.iid_field = dataset.uid_field, dataset.iid_field
        dataset.sort(by=dataset.uid_field, ascending=True)
        columns = (dataset.inter_feat[field].numpy()
                   for field in (dataset.uid_field, dataset.iid_field))
        loader.positives = UsedItems(*columns, dataset.user_num, dataset.item_num)
        loader.uid2items_num = loader.positives.count()
        loader.uid_list = torch.from_numpy(np.flatnonzero(loader.uid2items_num))
        loader.user_df = dataset.join(Interaction({loader.uid_field: loader.uid_list}))
        loader.uid2positive_item = _TensorOf(lambda users: loader.positives.of(users))
        loader.uid2history_item = _TensorOf(lambda users: history(loader, users))
        loader.sample_size = len(loader.user_df)
        super(FullSortEvalDataLoader, loader).__init__(config, dataset, sampler, shuffle=False)

    return init


def history(loader: FullSortEvalDataLoader, users: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Return what a ranking leaves out: places among the users, and items that are used but not
    positives, (n,) each.
    """
    users = np.asarray(users, dtype=np.int64)
    places, items = loader._sampler.used_ids.of(users)
    left = ~loader.positives.has(users[places], items)
    return places[left], items[left]


def collate_full_sort(original: Callable) -> Callable:
    """Return how the batch of some users is put together: masks and positives by row and item."""

    def collate(loader: FullSortEvalDataLoader, index: Sequence[int]):
        if not hasattr(loader, "positives"):
            return original(loader, index)
        user_df = loader.user_df[np.array(index)]
        users = user_df[loader.uid_field].numpy()
        masked, positive = history(loader, users), loader.positives.of(users)
        return (user_df, tuple(map(torch.from_numpy, masked)), *map(torch.from_numpy, positive))

    return collate


class _TensorOf:
    """The items of a user as a tensor (n,), or an array of the tensors of several."""

    def __init__(self, of: Callable[[Sequence[int]], tuple[np.ndarray, np.ndarray]]):
        self._of = of

    def __getitem__(self, user):
        if np.ndim(user) == 0:
            return torch.from_numpy(self._of([int(user)])[1])
        many = np.empty(len(user), dtype=object)
        many[:] = [self[one] for one in user]
        return many


def init_loader(original: Callable) -> Callable:
    """Return how a loader is set up whose positions are no list, in the same order."""

    def init(loader: AbstractDataLoader, config, dataset, sampler, shuffle=False) -> None:
        original(loader, config, dataset, sampler, shuffle=shuffle)
        order = loader.batch_sampler.sampler
        if type(order) is RandomSampler:
            order = _Shuffled(loader.sample_size, loader.generator)
            loader.batch_sampler.sampler = loader.__dict__["sampler"] = order
            loader.__dict__["dataset"] = range(loader.sample_size)

    return init


class _Shuffled(Order):
    """The order of torch's RandomSampler, of which only a part is a list of numbers at a time."""

    def __init__(self, n: int, generator: torch.Generator):
        self._n, self._generator = n, generator

    def __iter__(self) -> Iterator[int]:
        for part in torch.randperm(self._n, generator=self._generator).split(_AT_ONCE):
            yield from part.tolist()
        # torch draws the order of what is left after whole rounds, which is nothing, as well.
        torch.randperm(self._n, generator=self._generator)

    def __len__(self) -> int:
        return self._n
