"""The words and flags of `recbole-ssr prepare`."""

from __future__ import annotations

from collections.abc import Sequence

from recbole_ssr.dataset_prep.options import (
    NAMES,
    TEXTS,
    Options,
    options_of,
    recipe_names,
    recipe_of,
)
from recbole_ssr.dataset_prep.splits import split_names
from recbole_ssr.errors import UserError, nearest
from recbole_ssr.flags import parse_flags, split_flags, typed_flags, value_of
from recbole_ssr.option import meanings

_SWITCHES = ("no_download", "overwrite")
_FLAG_OF = {"source": "from"}
_TYPED = tuple(_FLAG_OF.get(name, name) for name in TEXTS)
_LEFT_OUT = ("time_column", "rating_column", "label_column")
_GROUPS = {
    "name": "All", "recipe": "Public files", "source": "A folder that others published",
    "interactions": "Your own data", "min_rating": "What is made of it",
}
_NAMES = ("NAME: one of recbole-ssr datasets, or amazon-<Category>, amazon2023-<Category> of the "
          "public files.")


def options_from(argv: Sequence[str]) -> Options:
    """Parse the words after `prepare`; UserError for what cannot be understood."""
    words, rest = _positional(argv)
    typed, others = split_flags(rest, _TYPED)
    flags = {_dest(key): value for key, value in {**_texts(typed), **parse_flags(others)}.items()}
    # A shell turns --rating_column='', which leaves the column out, into a flag without a value.
    flags |= {key: "" for key in _LEFT_OUT if key in flags and flags[key] is None}
    for key in flags:
        if key not in NAMES:
            known = [_FLAG_OF.get(name, name) for name in NAMES]
            raise UserError(f"prepare has no flag --{key}.{nearest(key, known)} See recbole-ssr "
                            "prepare --help.")
        if flags[key] is True and key not in (*_SWITCHES, "show_progress"):
            raise UserError(f"--{_FLAG_OF.get(key, key)} needs a value: --{key}=...")
    if len(words) > 1:
        raise UserError(f"prepare takes one dataset or folder, not {', '.join(words)}.")
    if not words:
        return options_of(flags, recipe_of(str(flags["name"])) if _only_named(flags) else None)
    if "source" in flags:
        return options_of({**flags, "path": words[0]})
    recipe = recipe_of(words[0])
    if recipe is None:
        names = recipe_names()
        raise UserError(
            f"There is no recipe for {words[0]!r}.{nearest(words[0], names)} Known are "
            f"{', '.join(names)}, amazon-<Category> and amazon2023-<Category>. A published folder "
            f"is imported by --from=auto {words[0]} --name=NAME."
        )
    return options_of(flags, recipe)


def option_groups() -> dict[str, dict[str, str]]:
    """Return the options of a preparation as they are typed -> their meaning, by heading."""
    names = [name for name in NAMES if name != "path"]  # a word, not a flag
    starts = [*map(names.index, _GROUPS), len(names)]
    return {heading: meanings(Options, *names[first:end])
            for heading, first, end in zip(_GROUPS.values(), starts, starts[1:])}


def notes() -> tuple[str, ...]:
    """Return what values of the options are, for the help."""
    return f"Splits: {', '.join(split_names())}", _NAMES


def _positional(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """Separate the words that are no flag and no value of the flag before them."""
    words, rest = [], []
    takes_value = False
    for word in argv:
        if word.startswith("--"):
            name = word[2:].replace("-", "_")
            takes_value = "=" not in word and name not in _SWITCHES
            rest.append(word)
        elif takes_value:
            takes_value = False
            rest.append(word)
        else:
            words.append(word)
    return words, rest


def _texts(words: Sequence[str]) -> dict[str, object]:
    """Read texts as they were typed, but for quotes and null, which are YAML's."""
    return {key: value_of(key, text) if text in ("", "None", "null") or str(text)[0] in "'\"" else
            text for key, text in typed_flags(words, _TYPED).items()}


def _dest(flag: str) -> str:
    return {"from": "source"}.get(flag, flag)


def _only_named(flags: dict) -> bool:
    return "name" in flags and not {"source", "path", "interactions", "like"} & set(flags)
