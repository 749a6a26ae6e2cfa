"""What a trainer does where several processes share a run; see recbole_ssr/distributed."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator, Mapping

import torch
from recbole.data.dataloader import FullSortEvalDataLoader
from recbole.trainer.trainer import Trainer
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from recbole_ssr.distributed.group import place, rows_of_all
from recbole_ssr.distributed.losses import average_gradients
from recbole_ssr.distributed.sharing import part_of
from recbole_ssr.errors import UserError

# Parameters of processes on unlike processors part by rounding; by more they train unlike models.
_TOLERANCE = 1e-3


class OwnUsers(FullSortEvalDataLoader):
    """The users of a loader for full ranking that this process measures, in the loader's order."""

    def __init__(self, loader: FullSortEvalDataLoader, part: slice):
        self.__dict__.update(loader.__dict__)
        self.__dict__["_users"] = torch.arange(part.start, part.stop)

    def __iter__(self) -> Iterator:
        for index in self._users.split(self.step):
            yield self.collate_fn(index)

    def __len__(self) -> int:
        return math.ceil(len(self._users) / self.step)


def own_users(loader):
    """Return what this process measures of a part: its share of the users where all items are
    ranked, and there are as many users as processes; else the part, which all processes measure.
    """
    here = place()
    if here.size == 1 or not isinstance(loader, FullSortEvalDataLoader):
        return loader
    n = len(loader.user_df)
    return OwnUsers(loader, part_of(n, here.rank, here.size)) if n >= here.size else loader


def share_gradients(trainer: Trainer) -> None:
    """Let every step of a trainer's optimizer take the gradients of the whole batch."""
    if place().size == 1:
        return
    # RecBole clips before the step, when the gradients are still this process's own.
    clip, trainer.clip_grad_norm = trainer.clip_grad_norm, None
    # Not a hook: those of torch are called by what `without_compiler` leaves out.
    step = trainer.optimizer.step

    def step_of_all(*args, **kwargs):
        average_gradients(trainer.model.parameters())
        if clip:
            clip_grad_norm_(trainer.model.parameters(), **clip)
        return step(*args, **kwargs)

    trainer.optimizer.step = step_of_all


def check_in_step(model: nn.Module, random_state: Mapping, epoch: int) -> None:
    """Raise UserError where the processes have come to differ in parameters or in random states."""
    if place().size == 1:
        return
    size = sum(p.detach().double().square().sum().item() for p in model.parameters())
    states = [random_state["torch"], random_state["loader"], random_state["numpy"],
              getattr(model, "generator", None)]
    facts = torch.tensor([[size, *(float(_digest(state)) for state in states)]],
                         dtype=torch.float64)
    sizes, digests = rows_of_all(facts).split([1, len(states)], dim=1)
    if (digests == digests[0]).all() and sizes.max() <= (1 + _TOLERANCE) * sizes.min():
        return
    raise UserError(f"the processes of the run are out of step in epoch {epoch}: they drew other "
                    "numbers or trained other parameters. A model must draw alike in all of them; "
                    "go on with --nproc=1")


def _digest(state) -> int:
    """Return 32 bits of a random state: a generator, a tensor, or lists of these and of numbers."""
    if isinstance(state, torch.Generator):
        state = state.get_state()
    if isinstance(state, Tensor):
        return zlib.crc32(state.cpu().numpy().tobytes())
    if isinstance(state, list):
        return zlib.crc32(repr([_digest(part) for part in state]).encode())
    return zlib.crc32(state.tobytes() if hasattr(state, "tobytes") else repr(state).encode())
