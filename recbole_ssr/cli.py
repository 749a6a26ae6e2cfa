"""Command line: `recbole-ssr` and `run_recbole_ssr.py`."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Sequence

from rich.console import Console

from recbole_ssr.commands.help import help_of, overview
from recbole_ssr.commands.table import COMMANDS
from recbole_ssr.errors import UserError, nearest

_WIDTH = 100  # where there is no terminal
_NO_COMMAND = "recbole_ssr.commands.train:train_or_compare"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line; return the exit status (0 done, 2 user's mistake, 130 interrupted)."""
    argv = list(sys.argv[1:] if argv is None else argv)
    console = Console(width=None if sys.stdout.isatty() else _WIDTH, highlight=False)
    return exit_status(lambda: _run(argv, console))


def exit_status(run: Callable[[], int]) -> int:
    """Call `run` and return its status; where the user was mistaken say so in a line, return 2."""
    try:
        return run()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader of our output went away; nothing is left to say to it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _run(argv: list[str], console: Console) -> int:
    if argv[:1] == ["help"]:
        argv = [*argv[1:], "--help"]
    name = argv[0] if argv and argv[0] in COMMANDS else None
    if name is None and argv:
        _check_word(argv[0])
    if any(word in ("--help", "-h") for word in argv):
        text = help_of(name, console.width) if name else overview()
        console.print(text, markup=False, soft_wrap=True)
        return 0
    if "--version" in argv:
        console.print(_versions(), markup=False, soft_wrap=True)
        return 0
    if name is None:
        return _function(_NO_COMMAND)(argv, console)
    return _function(COMMANDS[name].function)(argv[1:], console)


def _check_word(word: str) -> None:
    """Raise UserError for a first word that would be a command and is none."""
    if word.startswith("-") or "=" in word:
        return  # an option, or one that lacks its dashes
    from recbole_ssr.registry import model_names

    model = {name.lower(): name for name in model_names()}.get(word.lower())
    hint = f" To train the model: recbole-ssr train --model={model}." if model else \
        nearest(word, COMMANDS)
    raise UserError(f"there is no command {word!r}.{hint} There are {', '.join(COMMANDS)}; "
                    "recbole-ssr --help says what they do")


def _versions() -> str:
    from recbole_ssr.runs import versions

    of_package = versions()
    ours = of_package.pop("recbole_ssr")
    others = ", ".join(f"{name} {version}" for name, version in of_package.items())
    return f"recbole-ssr {ours} ({others})"


def _function(path: str) -> Callable[[Sequence[str], Console], int]:
    """Import a command only once it is called: each needs packages that others do without."""
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)
