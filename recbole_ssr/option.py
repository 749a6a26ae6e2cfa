"""Options of a command: fields of a dataclass, each with its meaning and how a value is read.

Both the help and the reading of values come from them. An option stands there as it is typed:
`topk=20` takes a value, of which 20 is the default or an example, `keep-seen` takes none.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field, fields

from recbole_ssr.errors import UserError, nearest

Read = Callable[[str, object], object]  # from name and value; raises UserError


def option(typed: str, meaning: str, default: object = None, read: Read | None = None):
    """Return the field of an option; see the module for `typed`."""
    factory = {"default_factory": default.copy} if isinstance(default, dict) else \
        {"default": default}
    return field(**factory, metadata={"typed": typed, "meaning": meaning, "read": read})


def meanings(options: type, *names: str) -> dict[str, str]:
    """Return options as they are typed -> their meaning: those of these names, or all."""
    known = {entry.name: entry.metadata for entry in fields(options) if entry.metadata}
    return {known[name]["typed"]: known[name]["meaning"] for name in names or known}


def values(options: type, asked: Mapping[str, object]) -> dict[str, object]:
    """Return what was asked for as the options read it. Raises UserError for a wrong value."""
    return {entry.name: entry.metadata["read"](entry.name, asked[entry.name])
            for entry in fields(options) if entry.name in asked}


def items(name: str, value: object) -> list:
    """Read a list, or text with commas."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    if isinstance(value, (list, tuple)):
        return list(value)
    if value is None or isinstance(value, bool):
        raise UserError(f"--{name} needs a value: --{name}=...")
    return [value]


def texts(name: str, value: object) -> tuple[str, ...]:
    """Read several texts."""
    return tuple(map(str, items(name, value)))


def text(name: str, value: object) -> str | None:
    """Read a text, in which ~ is the user's folder; null is as if it were not given."""
    if value is True:
        raise UserError(f"--{name} needs a value: --{name}=...")
    return None if value is None else os.path.expanduser(str(value))


def switch(name: str, value: object) -> bool:
    """Read True or False."""
    if type(value) is not bool:
        raise UserError(f"{name}={value!r} must be True or False.")
    return value


def one_of(known: Sequence[str]) -> Read:
    """Return what reads one of some words."""
    def read(name: str, value: object) -> str:
        if str(value) not in known:
            raise UserError(f"{name}={str(value)!r} is unknown.{nearest(str(value), known)} Use "
                            f"{', '.join(known)}.")
        return str(value)

    return read


def whole(least: int, most: int) -> Read:
    """Return what reads a whole number in a range, or null."""
    def read(name: str, value: object) -> int | None:
        if value is not None and (type(value) is not int or not least <= value <= most):
            raise UserError(f"{name}={value!r} must be a whole number of at least {least} and at "
                            f"most {most}.")
        return value

    return read


def number(least: float, most: float | None = None) -> Read:
    """Return what reads a number in a range, or null."""
    def read(name: str, value: object) -> float | None:
        if value is None:
            return None
        inside = type(value) in (int, float) and value >= least
        if not inside or (most is not None and value > most):
            bound = f"of at least {least}" if most is None else f"from {least} to {most}"
            raise UserError(f"{name}={value!r} must be a number {bound}.")
        return float(value)

    return read
