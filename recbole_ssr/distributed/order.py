"""What a process of a run is told by the one that starts it."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from recbole_ssr.distributed.place import Place

# What a process reports of itself: that it lost another, a UserError, or any other error.
LOST, MISTAKE, BUG = "lost", "mistake", "bug"


class Order(NamedTuple):
    """What a process is to do: `target`, "module:function", with arguments.

    `rendezvous` is the URL where the processes meet, `report` the file for an error: its kind and
    its text, as json. `begun` is made once it can be interrupted.
    """

    place: Place
    rendezvous: str
    target: str
    arguments: dict
    report: Path
    begun: Path
