"""How much memory a model needs, by what it is needed for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Footprint(NamedTuple):
    """Estimated bytes: what is `held` throughout training, and what a stage takes on top of it.

    `lower` names the settings that would lower it most. Stages come one after the other, so that
    the peak is that of the largest.

    >>> Footprint({"parameters": 8, "graph": 2}, {"a step": 1, "evaluation": 5}, ()).peak
    15
    """

    held: Mapping[str, int]
    stages: Mapping[str, int]
    lower: tuple[str, ...]

    @property
    def peak(self) -> int:
        return sum(self.held.values()) + max(self.stages.values(), default=0)
