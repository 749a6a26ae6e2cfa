"""What registers itself by a name: filter banks, bundled or not, and the recipes of plugins."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from recbole_ssr.errors import UserError


class Contribution(NamedTuple):
    """A function, and the yaml beside its file: its settings, or those of its dataset."""

    function: Callable
    yaml: Path


BANKS: dict[str, Contribution] = {}  # by the value of band_filter
RECIPES: dict[str, Contribution] = {}  # by the name of the dataset


def contribute(contributions: dict[str, Contribution], name: str) -> Callable[[Callable], Callable]:
    """Return a decorator that registers a function.

    Raises UserError for a name that is taken, and for what is none.
    """
    if not isinstance(name, str):
        raise UserError(f"Give the name under which {name!r} is known: @register_...(\"name\").")
    if name in contributions:
        raise UserError(f"The name {name!r} is taken already. Choose another one.")

    def register(function: Callable) -> Callable:
        file = Path(sys.modules[function.__module__].__file__)
        contributions[name] = Contribution(function, file.with_name(f"{name}.yaml"))
        return function

    return register


def yaml_of(contributions: dict[str, Contribution], name: object) -> list[Path]:
    """Return the yaml of a contribution in a list; empty where there is none."""
    chosen = contributions.get(name) if isinstance(name, str) else None
    return [chosen.yaml] if chosen and chosen.yaml.is_file() else []
