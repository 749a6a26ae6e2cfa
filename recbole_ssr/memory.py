"""What a run will need of the machine's memory, told before the model is built."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import NamedTuple

import torch

from recbole_ssr.distributed.group import place
from recbole_ssr.errors import UserError
from recbole_ssr.footprint import Footprint

logger = logging.getLogger("recbole_ssr")

# Measured peaks are within this factor of the estimates; see tests/test_memory.py.
ACCURACY = 1.5
_WORTH_TELLING = 2**30  # bytes from which a run says what it needs
_TIGHT = 0.9  # share of the free memory from which it warns
_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


class Memory(NamedTuple):
    """Bytes of a device: all of them, and those that are free; None where the system tells not."""

    total: int | None
    free: int | None


def tell_footprint(config, dataset) -> None:
    """Say what the model of a configuration needs, if it knows; warn where it may be too much.

    `dataset` is the training part. Raises UserError where even a peak that is lower than the
    estimate by its whole inaccuracy would be more than the machine has.
    """
    footprint_of = getattr(config.model_class, "footprint", None)
    if footprint_of is None:
        return
    needed = footprint_of(config, dataset)
    memory = memory_of(torch.device(config["device"]))
    told = (f"{config['model']} needs about {_gib(needed.peak)} of memory at its peak: "
            f"{_parts(needed)}")
    if memory.total is not None and needed.peak > ACCURACY * memory.total:
        raise UserError(f"{told}. The machine has {_gib(memory.total)}{_for_each()}. Lower "
                        f"{', '.join(needed.lower)}, or take a larger machine.")
    if memory.free is not None and needed.peak > _TIGHT * memory.free:
        logger.warning("%s; %s are free%s. If it is ended for lack of memory, lower %s", told,
                       _gib(memory.free), _for_each(), ", ".join(needed.lower))
    elif needed.peak >= _WORTH_TELLING:
        logger.info("%s", told)


def _for_each() -> str:
    processes = place().local_size
    return f" for each of its {processes} processes" if processes > 1 else ""


def memory_of(device: torch.device) -> Memory:
    """Return the memory of a GPU, or of this machine as far as this process may use it.

    Processes that share a run on one machine have equal parts of it.
    """
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        return Memory(total, free)
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return Memory(None, None)
    values = {name: int(value.split()[0]) * 1024
              for name, _, value in (line.partition(":") for line in lines)}
    total, free = values.get("MemTotal"), values.get("MemAvailable")
    limit = _container_limit()
    if limit is not None and total is not None and limit < total:
        total, free = limit, min(limit, free or limit)
    return Memory(*(n and n // place().local_size for n in (total, free)))


def _container_limit() -> int | None:
    for file in _LIMITS:
        try:
            return int(Path(file).read_text())
        except (OSError, ValueError):  # no such file, or "max"
            continue
    return None


def _parts(needed: Footprint) -> str:
    stage = max(needed.stages, key=needed.stages.get)
    parts = sorted({**needed.held, stage: needed.stages[stage]}.items(), key=lambda p: -p[1])
    return ", ".join(f"{_gib(size)} {name}" for name, size in parts if size >= needed.peak / 50)


def _gib(size: float) -> str:
    return f"{size / 2**30:.1f} GiB"
