"""What plugins have brought beside models and metrics; plugins.py writes it, the rooms read it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple


class Contribution(NamedTuple):
    """A function, and the yaml beside its file: its settings, or those of its dataset."""

    function: Callable
    yaml: Path


BANKS: dict[str, Contribution] = {}  # by the value of band_filter
RECIPES: dict[str, Contribution] = {}  # by the name of the dataset


def yaml_of(contributions: dict[str, Contribution], name: object) -> list[Path]:
    """Return the yaml of a contribution in a list; empty where there is none."""
    chosen = contributions.get(name) if isinstance(name, str) else None
    return [chosen.yaml] if chosen and chosen.yaml.is_file() else []
