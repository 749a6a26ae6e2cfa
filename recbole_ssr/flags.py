"""Command-line flags and configuration files as plain values; nothing is ever evaluated."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

import yaml

from recbole_ssr.errors import UserError, nearest
from recbole_ssr.files import expanded

# Values that Python refuses: 2020-13-45 and 5,000 digits raise ValueError, !!bool x KeyError, an
# empty !!int IndexError, !!timestamp x AttributeError.
_NO_YAML = (yaml.YAMLError, ValueError, AttributeError, LookupError, RecursionError)


class ConfigLoader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
    """Safe YAML that also reads `1e-3` and `-.5` as floats, as RecBole's own loader does.

    It is libyaml's where PyYAML has it: every run reads a dozen files, in a tenth of the time.
    Raises _KeyTwice where PyYAML would keep the last of equal keys.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if (key.tag, key.value) in seen:
                    problem = f"{key.value!r} is given twice"
                    raise _KeyTwice(problem=problem, problem_mark=key.start_mark)
                seen.add((key.tag, key.value))
        return super().construct_mapping(node, deep)


class _KeyTwice(yaml.constructor.ConstructorError):
    """A mapping has a key twice."""


ConfigLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(?:(?:\d[\d_]*\.?[\d_]*|\.\d[\d_]*)[eE][-+]?\d+|\.\d[\d_]*)$"),
    list("-+.0123456789"),
)


def read_config_file(path: str | Path) -> dict[str, object]:
    """Read a YAML file of keys and values; an empty file gives {}.

    Raises UserError, naming the file and the line, if it is missing, no YAML or no mapping, and
    for a key that is given twice.
    """
    try:
        text = expanded(path).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise UserError(f"Cannot read the configuration file {path}: {error}. Check its path and "
                        "that it is text in UTF-8.") from error
    try:
        content = yaml.load(text, Loader=ConfigLoader)
    except _KeyTwice as error:
        raise UserError(f"{_place(path, error)} {error.problem}. Keep one.") from error
    except _NO_YAML as error:
        raise UserError(f"{_place(path, error)} is no valid YAML: {_problem(error)}. "
                        "Write one 'key: value' per line.") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise UserError(f"{path}, line 1: expected a mapping, found {type(content).__name__} "
                        f"{str(content)[:60]!r}. Write one 'key: value' per line.")
    return {str(key): value for key, value in content.items()}


def parse_flags(argv: Sequence[str]) -> dict[str, object]:
    """Read `--key=value`, `--key value` and bare `--key` (True); values are YAML scalars or lists.

    `--config_files` takes all words up to the next flag and gives a list of str; the name of a
    dataset stays as it is typed, since 007 is no 7. Dashes in a key
    become underscores, and `None` is read as YAML's null, as RecBole's users write it. Raises
    UserError for a word that is no flag, a malformed value, or a flag given two values.

    >>> parse_flags(["--n_bands=4", "--topk", "[5, 20]", "--resume"])
    {'n_bands': 4, 'topk': [5, 20], 'resume': True}
    """
    flags: dict[str, object] = {}
    words = list(argv)
    while words:
        key, text = _split_flag(words.pop(0))
        if key == "config_files":
            value = _file_list(text, words)
        else:
            if text is None and words and not words[0].startswith("--"):
                text = words.pop(0)
            value = True if text is None else value_of(key, text, as_typed=key == "dataset")
        if repr(flags.setdefault(key, value)) != repr(value):
            if key == "config_files":
                raise UserError("--config_files is given twice. Name all files behind one: "
                                f"--config_files {' '.join([*flags[key], *value])}")
            raise UserError(f"--{key} is given twice, as {flags[key]!r} and {value!r}. Keep one.")
    return flags


def split_flags(argv: Sequence[str], names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Separate the flags of some names, with the words behind them, from all other words.

    >>> split_flags(["--name", "007", "--k=5"], names=["name"])
    (['--name', '007'], ['--k=5'])
    """
    parts: tuple[list[str], list[str]] = [], []
    named = False
    for word in argv:
        if word.startswith("--"):
            named = word[2:].partition("=")[0].replace("-", "_") in names
        parts[not named].append(word)
    return parts


def typed_flags(argv: Sequence[str], known: Sequence[str]) -> dict[str, str | bool]:
    """Read flags as :func:`parse_flags`, values as they were typed: a token may look like a number.

    Raises UserError for a flag that is not among `known`, and for one that is given twice.

    >>> typed_flags(["--users=007"], known=["users"])
    {'users': '007'}
    """
    flags: dict[str, str | bool] = {}
    words = list(argv)
    while words:
        key, text = _split_flag(words.pop(0))
        if key not in known:
            raise UserError(f"there is no flag --{key} here; there are "
                            f"{', '.join(f'--{name}' for name in known)}.{nearest(key, known)}")
        if text is None and words and not words[0].startswith("--"):
            text = words.pop(0)
        if key in flags:
            raise UserError(f"--{key} is given twice. Keep one.")
        flags[key] = True if text is None else text
    return flags


def _split_flag(word: str) -> tuple[str, str | None]:
    """Return the key and the text behind "=", None without one."""
    name, equals, text = word[2:].partition("=")
    if not word.startswith("--") or not re.fullmatch(r"[A-Za-z_][\w.-]*", name):
        raise UserError(f"{word!r} is no flag. Did you forget '--'? Flags read --key=value, and a "
                        "list is one word: --key='[a, b]'.")
    return name.replace("-", "_"), text if equals else None


def _file_list(text: str | None, words: list[str]) -> list[str]:
    """Take the words up to the next flag out of `words`."""
    files = [text] if text and os.path.isfile(text) else (text or "").split()
    while words and not words[0].startswith("--"):
        files.append(words.pop(0))
    if not files:
        raise UserError("--config_files names no file. Write --config_files a.yaml b.yaml.")
    return files


def value_of(key: str, text: str, as_typed: bool = False) -> object:
    """Return the YAML value of a flag's text, `as_typed` with numbers and words such as NO as text.

    Raises UserError where it is none.

    >>> value_of("topk", "[5, 20]"), value_of("learning_rate", "1e-3")
    ([5, 20], 0.001)
    """
    if text == "None":
        return None
    try:
        return yaml.load(text, Loader=yaml.BaseLoader if as_typed else ConfigLoader)
    except _KeyTwice as error:
        raise UserError(f"--{key}={text[:60]}: {error.problem}. Keep one.") from error
    except _NO_YAML as error:
        raise UserError(f"--{key}={text[:60]} is no valid YAML value: {_problem(error)}. "
                        f"Quote text with special characters: --{key}='\"text\"'.") from error


def _place(path: str | Path, error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    return f"{path}, line {mark.line + 1}:" if mark else f"{path}"


def _problem(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "brackets are nested too deep"
    return getattr(error, "problem", None) or str(error)
