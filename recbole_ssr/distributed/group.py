"""What the processes of a run tell each other. Where there is one process, all of it does nothing.

Tensors on the CPU travel by gloo, those on a GPU by nccl: the backend follows from the device.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from recbole_ssr.distributed.place import Place
from recbole_ssr.errors import UserError

T = TypeVar("T")
_place = Place()


class LostProcess(UserError):
    """Another process of the run has ended, or cannot be reached any more."""


def place() -> Place:
    """Return which of its run's processes this one is."""
    return _place


def is_main() -> bool:
    """Tell whether this process is the one that writes and speaks."""
    return _place.rank == 0


@contextmanager
def joined(place: Place, rendezvous: str = "env://") -> Iterator[None]:
    """Be one of the processes that meet at `rendezvous`, a URL of torch.distributed.

    Raises LostProcess where the others do not come.
    """
    global _place
    cuda = torch.cuda.is_available() and dist.is_nccl_available()
    _place = place
    try:
        with _told():
            dist.init_process_group("cpu:gloo,cuda:nccl" if cuda else "gloo", rendezvous,
                                    rank=place.rank, world_size=place.size)
        yield
    finally:
        _place = Place()
        with suppress(RuntimeError, AssertionError):  # there is none, or the others are gone
            dist.destroy_process_group()


def wait_for_all() -> None:
    """Go on once every process is here."""
    of_main(lambda: None)


def of_main(work: Callable[[], T]) -> T:
    """Let the main process do something alone; return what it returns, in every process.

    A UserError there is raised, as one, in every process.
    """
    if _place.size == 1:
        return work()
    told = [None, None]
    if is_main():
        try:
            told[0] = work()
        except UserError as error:
            told[1] = str(error)
    with _told():
        dist.broadcast_object_list(told, src=0, device=torch.device("cpu"))
    if told[1] is not None:
        raise UserError(told[1])
    return told[0]


def rows_of_all(rows: Tensor) -> Tensor:
    """Return the rows of all processes in the order of their ranks, on the CPU.

    Shapes: rows (n, ...) of any n and the same beyond; result (sum of n, ...).
    """
    if _place.size == 1:
        return rows
    rows = rows.cpu()
    lengths = _of_each(torch.tensor([len(rows)]))
    most = int(max(lengths))
    padded = torch.cat([rows, rows.new_zeros(most - len(rows), *rows.shape[1:])])
    return torch.cat([part[:int(n)] for part, n in zip(_of_each(padded), lengths)])


def _of_each(tensor: Tensor) -> list[Tensor]:
    """Return the tensors of all processes, which have one shape, in the order of their ranks."""
    parts = [torch.empty_like(tensor) for _ in range(_place.size)]
    with _told():
        dist.all_gather(parts, tensor)
    return parts


def average(tensors: Sequence[Tensor]) -> None:
    """Overwrite each tensor with its mean over the processes. They must not require gradients."""
    if _place.size == 1 or not tensors:
        return
    with _told():
        for tensor in tensors:
            dist.all_reduce(tensor)
            tensor.div_(_place.size)


@contextmanager
def _told() -> Iterator[None]:
    """Raise LostProcess for what torch.distributed says where another process is gone."""
    try:
        yield
    except (RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else repr(error)
        raise LostProcess(f"{_place} has lost the others: one of them has ended or cannot be "
                          f"reached ({reason})") from error
