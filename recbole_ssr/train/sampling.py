"""Which training interactions an epoch shows, and how often."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from recbole.data.dataloader.general_dataloader import TrainDataLoader
from torch import Tensor

from recbole_ssr.errors import UserError


class BalancedLoader:
    r"""A RecBole training loader whose epochs are drawn instead of shuffled.

    An epoch has as many interactions as the data. Each is drawn, with replacement, in proportion
    to degree(user)^-power: at power 1 every user is equally likely, whereas a shuffled epoch shows
    a user as often as it has interactions, and so trains mostly on few. Draws come from the
    loader's own generator, negatives from its sampler; all else is the loader's.
    """

    def __init__(self, loader: TrainDataLoader, power: float):
        dataset = loader._dataset
        users = dataset.inter_feat[dataset.uid_field].long()
        weight = torch.bincount(users).double().pow(-power).index_select(0, users)
        self._loader, self._cumulative = loader, weight.cumsum(0)

    def draw(self) -> Tensor:
        """Return the interactions of one epoch. Shapes: (E,) positions in the training data."""
        # Inverting the distribution has no limit on E, unlike torch.multinomial's 2^24.
        points = torch.rand(self._cumulative.shape, dtype=torch.float64, generator=self.generator)
        drawn = torch.searchsorted(self._cumulative, points * self._cumulative[-1], right=True)
        return drawn.clamp_(max=len(drawn) - 1)

    def __iter__(self) -> Iterator:
        for index in self.draw().split(self.step):
            yield self.collate_fn(index)

    def __len__(self) -> int:
        return len(self._loader)

    def __getattr__(self, name: str):
        return getattr(self._loader, name)


def balanced(loader, power: float | None):
    """Return `loader` with its epochs drawn by user degree, or itself where `power` is 0 or None.

    Raises UserError where the draws would not be the ones that `power` promises.
    """
    if not power:
        return loader
    if not power > 0:
        raise UserError(f"sampling_power is {power}; make it 0 (every interaction once an epoch) "
                        "or positive (1: users equally likely)")
    if type(loader) is not TrainDataLoader:
        raise UserError(f"sampling_power is {power}, but this model trains on "
                        f"{type(loader).__name__}, not on single interactions; set it to 0")
    if not loader.config["single_spec"]:
        raise UserError(f"sampling_power is {power}, but every process would draw the same "
                        "interactions; train in one process or set it to 0")
    return BalancedLoader(loader, power)
