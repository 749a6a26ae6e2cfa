"""Which of a run's processes this one is, and what torchrun says of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from recbole_ssr.errors import UserError

# What torchrun sets for every process; of these alone torch.distributed finds the others.
_VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
_NUMBERS = _VARIABLES[:4]


class Place(NamedTuple):
    """A process among the `size` of a run, and among the `local_size` on its machine.

    Ranks count from 0; the process of rank 0 writes and speaks.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1

    def __str__(self) -> str:
        return f"process {self.rank} of {self.size}"


def from_environment(environment: Mapping[str, str]) -> Place | None:
    """Return the place that torchrun gave this process; None where there is no other process.

    Raises UserError where a variable is missing or no number that fits the others.
    """
    if environment.get("WORLD_SIZE", "") in ("", "1"):
        return None
    missing = [name for name in _VARIABLES if not environment.get(name)]
    if missing:
        raise UserError(f"WORLD_SIZE={environment['WORLD_SIZE']} is set without "
                        f"{', '.join(missing)}. Start the processes with torchrun, or unset "
                        "WORLD_SIZE and write --nproc=N")
    told = {name: environment[name] for name in _NUMBERS}
    shown = ", ".join(f"{name}={value}" for name, value in told.items())
    if not all(value.isdigit() for value in told.values()):
        raise UserError(f"{shown} must be whole numbers; start the processes with torchrun")
    rank, size, local_rank, local_size = map(int, told.values())
    if not (rank < size and local_rank < local_size <= size):
        raise UserError(f"{shown} do not fit together: ranks count from 0 to the number of "
                        "processes less 1. Start the processes with torchrun")
    return Place(rank, size, local_rank, local_size)
