"""How far a run of a comparison is."""

from __future__ import annotations

from typing import NamedTuple


class Progress(NamedTuple):
    """Where a run is.

    Attributes:
        state: waiting, preparing, training, testing or measuring.
        epoch: finished epochs; epochs: the most there will be, 0 where not known yet.
        valid: valid_metric after every evaluation, those before an interruption included.
        seconds: of every epoch, training and evaluation.
    """

    state: str = "waiting"
    epoch: int = 0
    epochs: int = 0
    valid: list[float] = []
    seconds: list[float] = []
