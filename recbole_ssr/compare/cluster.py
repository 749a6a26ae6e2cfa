"""What runs ask of the machines of a cluster, and what a cluster's errors mean for them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from recbole_ssr.errors import UserError


class Request(NamedTuple):
    """What a run asks of a machine; with a share of a CPU or GPU, several runs share it."""

    cpus: float = 1.0
    gpus: float = 0.0

    def fits(self, resources: dict[str, float]) -> int:
        """Return how many runs a machine with these resources, as Ray names them, takes at once."""
        asked = (("CPU", self.cpus), ("GPU", self.gpus))
        # Three runs of a third fit, whatever the rounding.
        return min(int(resources.get(name, 0) / amount + 1e-6) for name, amount in asked if amount)

    @property
    def threads(self) -> int:
        """How many threads a run has."""
        return max(1, int(self.cpus))

    def __str__(self) -> str:
        return _amounts(self.cpus, self.gpus)


def checked_address(address: str | None) -> str | None:
    """Return an address of a Ray cluster as it is. Raises UserError where it cannot be one."""
    if address is None or address == "auto" or re.fullmatch(r"[^:/\s]+:\d{1,5}", address):
        return address
    raise UserError(f"address={address!r} must be host:port of a Ray cluster's head, as in "
                    "--address=10.0.0.1:6379, or auto for the cluster of this machine")


def checked_request(cpus: float, gpus: float) -> Request:
    """Return what every run asks for. Raises UserError for amounts that Ray refuses."""
    for name, amount in (("cpus", cpus), ("gpus", gpus)):
        if amount < 0 or (amount > 1 and amount % 1) or (name == "cpus" and amount == 0):
            least = "above 0" if name == "cpus" else "at least 0"
            raise UserError(f"{name}={amount:g} must be {least}, and whole where it is above 1")
    return Request(cpus, gpus)


def capacity(request: Request, machines: Sequence[dict[str, float]]) -> int:
    """Return how many runs the machines take at once, each given by its resources in Ray's names.

    Raises UserError where no machine has what a run asks for.
    """
    room = sum(request.fits(resources) for resources in machines)
    if room:
        return room
    have = [_amounts(one.get("CPU", 0), one.get("GPU", 0)) for one in machines]
    raise UserError(f"a run asks for {request}, and no machine has that; there are: "
                    f"{'; '.join(have) or 'none'}. Lower --cpus or --gpus, or add a machine")


def reason_of(error: Exception) -> str:
    """Return in one line what an error of Ray means for a run."""
    kind, text = type(error).__name__, re.sub(r"\x1b\[[0-9;]*m", "", str(error)).strip()
    if kind == "NodeDiedError":
        address = re.search(r"IP: ([^,\s]+)", text)
        return f"its machine{' ' + address[1] if address else ''} died or was cut off"
    if kind == "OutOfMemoryError":
        return "its machine ran out of memory, and Ray ended the run"
    if kind in ("WorkerCrashedError", "LocalRayletDiedError"):
        return "Ray's process on its machine ended from outside, perhaps for lack of memory"
    return text.splitlines()[-1].strip() if text else kind


def _amounts(cpus: float, gpus: float) -> str:
    def amount(number: float, name: str) -> str:
        return f"{number:g} {name}" + "s" * (number != 1)

    return f"{amount(cpus, 'CPU')} and {amount(gpus, 'GPU')}"
