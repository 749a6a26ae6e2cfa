"""The words of a command line: what stands first, and the values of options."""

from __future__ import annotations

from collections.abc import Sequence

from recbole_ssr.commands.table import COMMANDS
from recbole_ssr.errors import UserError
from recbole_ssr.flags import typed_flags, value_of


def run_and_flags(command: str, argv: Sequence[str]) -> tuple[str, dict]:
    """Return the run folder, which must stand first, and the options behind it."""
    if not argv or argv[0].startswith("-"):
        raise UserError(f"{command} needs a run folder as its first word: recbole-ssr {command} "
                        "runs/<your run>. recbole-ssr runs lists them")
    return argv[0], flags_of(command, argv[1:])


def word_and_flags(command: str, argv: Sequence[str]) -> tuple[str | None, dict]:
    """Return the first word, None where an option or nothing stands there, and the options."""
    word = argv[0] if argv and not argv[0].startswith("-") else None
    return word, flags_of(command, argv[word is not None:])


def flags_of(command: str, argv: Sequence[str]) -> dict:
    """Return the options of a command that takes no settings, as they were typed."""
    return typed_flags(argv, COMMANDS[command].flags)


def text(flags: dict, key: str, missing: str = "") -> str:
    """Return the text of an option. Raises UserError where it has none."""
    value = flags.get(key, True)
    if value is True:
        raise UserError(missing if missing and key not in flags else
                        f"--{key} needs a value: --{key}=...")
    return value


def switch(flags: dict, key: str) -> bool:
    """Return whether an option without a value is given; --key=False takes it back."""
    value = flags.get(key, False)
    if value is not True and value is not False:
        value = value_of(key, value)
    if not isinstance(value, bool):
        raise UserError(f"--{key} takes no value, or True or False")
    return value


def whole_number(flags: dict, key: str, default: int) -> int:
    """Return the number of an option, at least 1."""
    if key not in flags:
        return default
    value = text(flags, key)
    if not value.isdecimal() or int(value) < 1:
        raise UserError(f"--{key} is {value!r}; give a whole number of at least 1")
    return int(value)
