"""The text of `recbole-ssr --help` and of every command's `--help`: one screen each."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from itertools import groupby

from recbole_ssr.commands.table import COMMANDS

_WIDTH = 100  # at most
_OVERVIEW = """\
usage: recbole-ssr COMMAND [--KEY=VALUE ...]
       recbole-ssr [--KEY=VALUE ...]

Multimodal recommendation for RecBole. Without a command it trains, or compares where --models names
several; without any word it trains SSR on the embedded ml-100k."""
_MORE = """\
  recbole-ssr COMMAND --help     options of a command
  recbole-ssr models SSR         every setting of a model, such as --n_bands=4
  recbole-ssr train --resume     go on with the newest unfinished run
  recbole-ssr --version          versions of what a result depends on"""


def overview() -> str:
    """Return the list of commands, by group."""
    parts = [_OVERVIEW]
    for group, commands in groupby(COMMANDS.items(), lambda item: item[1].group):
        parts.append("\n".join([group, *(f"  {name:<10} {command.summary}"
                                         for name, command in commands)]))
    return "\n\n".join([*parts, _MORE])


def help_of(name: str, width: int = _WIDTH) -> str:
    """Return usage, options and notes of a command, for a terminal of so many columns."""
    command, width = COMMANDS[name], min(width, _WIDTH)
    if name == "prepare":  # whose options are those of its package
        from recbole_ssr.dataset_prep.command import notes, option_groups

        groups = option_groups()
        column = _column(key for options in groups.values() for key in options)
        parts = [f"{heading}\n{_options(options, width, column)}"
                 for heading, options in groups.items()]
        return "\n".join([_usage(name), *parts, *_notes(notes(), width)])
    summary = f"{command.summary[0].upper()}{command.summary[1:]}."
    return "\n\n".join([_usage(name), summary,
                        _options(command.options, width, _column(command.options)),
                        *_notes(command.notes, width)])


def _usage(name: str) -> str:
    forms = [f"recbole-ssr {name} {form}" for form in COMMANDS[name].usage]
    return "\n".join(f"{'usage:' if k == 0 else '':<6} {form}" for k, form in enumerate(forms))


def _column(options: Iterable[str]) -> int:
    return max(map(len, options)) + len("  --  ")


def _options(options: dict[str, str], width: int, column: int) -> str:
    return "\n".join(
        textwrap.fill(meaning, width, initial_indent=f"  --{key}".ljust(column),
                      subsequent_indent=" " * column, break_on_hyphens=False)
        for key, meaning in options.items())


def _notes(notes: tuple[str, ...], width: int) -> list[str]:
    """Return paragraphs; examples stand together, set in."""
    lines = []
    for example, group in groupby(notes, lambda note: note.startswith("recbole-ssr ")):
        if example:
            lines.append("\n".join(f"  {note}" for note in group))
        else:
            lines += [textwrap.fill(note, width, break_on_hyphens=False) for note in group]
    return lines
