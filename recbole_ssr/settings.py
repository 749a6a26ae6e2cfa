"""Every setting: type, values, default and a line of doc, read from the yamls in properties/.

One line of a yaml is a setting (its form stands at the top of properties/overall.yaml). From it
come the checks of a run's configuration, `recbole-ssr models NAME` and documentation.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import NamedTuple

from recbole_ssr import registry
from recbole_ssr.contributions import BANKS
from recbole_ssr.errors import UserError, nearest
from recbole_ssr.flags import read_config_file

_LARGEST = 2.0**128 * (1 - 2.0**-24)  # of 32-bit floats, in which models compute
NO_EFFECT, REFUSED = "no effect", "refused"
_LINE = re.compile(r"( *)(\w+):(?: .*?)?\s+# \((.+?)\) (.+)$")
_PLAIN = re.compile(r"( *)(\w+):(?: .*?)?(?:\s+#\s*(?:\((.*?)\))?\s*(.*))?$")  # RecBole's yamls
_HEAD = re.compile(r"# (\w+)(?: \((.+?)\))?: (.+)\.$")
_INTERVAL = re.compile(r"([\[(])\s*([^\s,]+)\s*,\s*([^\s,]+)\s*([\])])$")


class Interval(NamedTuple):
    """Numbers between two bounds; `open_low` and `open_high` leave the bound itself out."""

    low: float
    high: float
    open_low: bool = False
    open_high: bool = False

    def __contains__(self, number: float) -> bool:
        above = number > self.low if self.open_low else number >= self.low
        return above and (number < self.high if self.open_high else number <= self.high)

    def __str__(self) -> str:
        low, high = ("-inf" if x == -math.inf else f"{x:g}" if abs(x) < 1e5 or x == math.inf
                     else f"{int(x)}" for x in self[:2])
        return f"{'[('[self.open_low]}{low}, {high}{'])'[self.open_high]}"

    @property
    def words(self) -> str:
        """What a message asks for: "at least 0 and below 1"."""
        told = []
        if self.low > -math.inf:
            told.append(f"{'above' if self.open_low else 'at least'} {self.low:g}")
        if self.high < math.inf:
            told.append(f"{'below' if self.open_high else 'at most'} {self.high:.10g}")
        return " and ".join(told) or "a finite number"


# Of RecBole's models, whose yamls give no bounds: beyond them lies no setting of any of them.
_RECBOLES = Interval(-1e7, 1e7)


@dataclass(frozen=True)
class Setting:
    """One setting.

    Attributes:
        name: the key.
        type: as the yaml writes it, for instance "list of int" or "dict of float or null".
        default: the yaml's value, of a profile where one was asked for.
        doc: one line of meaning, with the unit.
        range: what the numbers of a value lie in, None for any.
        choices: what the texts of a value are taken from, none for any.
        keys: what the keys of a dict are taken from, none for any.
        entries: settings of a dict's entries, where each has its own line.
        families: of models that have it, none for all: names of RecBole's ModelType in lower
            case, or "recbole" for the models that are RecBole's own.
        section: heading of the group of lines in which it stands.
        file: the yaml, relative to properties/.
        status: empty, NO_EFFECT or REFUSED: then a value other than the default is warned of or
            refused, and doc is the reason.
    """

    name: str
    type: str
    default: object
    doc: str = ""
    range: Interval | None = None
    choices: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    entries: tuple[Setting, ...] = ()
    families: tuple[str, ...] = ()
    section: str = ""
    file: str = ""
    status: str = ""

    @property
    def values(self) -> str:
        """What it takes, in short: the interval or the choices; empty for all of its type."""
        return " | ".join(self.choices) or (str(self.range) if self.range else "")

    def check(self, value: object, shown: str) -> object:
        """Return `value` as a run takes it; `shown` is how a message names both.

        A whole number becomes a float where one is asked for, one entry a list of one, a choice
        is spelled as in the yaml. Raises UserError for a value that it cannot take.
        """
        for kind in self.type.split(" or "):
            fitting = _fitted(kind.split(" of "), value)
            if fitting is not _NO:
                return self._as_default(self._within(fitting, shown))
        raise UserError(f"{shown} must be of type {self.type}, for instance {self._example()!r}.")

    def _as_default(self, value: object) -> object:
        """Return 0 and not 0.0 where the yaml writes 0, or a run's hash would change with it."""
        whole = type(value) is float and type(self.default) is int and value == self.default
        return self.default if whole else value

    def _within(self, value: object, shown: str) -> object:
        if isinstance(value, list) and not value and self.default:
            raise UserError(f"{shown} must have an entry, as in {self.default!r}.")
        if isinstance(value, Mapping) and self.keys + self.entries:
            value = self._checked_entries(value, shown)
        for leaf in _leaves(value):
            if isinstance(leaf, (int, float)) and not isinstance(leaf, bool):
                self._check_number(leaf, shown)
        if "interval" in self.type and isinstance(value, str):
            return checked_intervals(value, shown)
        if "filter" in self.type and isinstance(value, Mapping):
            return {key: checked_intervals(kept, shown) if isinstance(kept, str) else kept
                    for key, kept in value.items()}
        return self._spelled(value, shown) if self.choices else value

    def _checked_entries(self, value: Mapping, shown: str) -> dict:
        known = {entry.name: entry for entry in self.entries} | dict.fromkeys(self.keys)
        for name in value:
            if name not in known:
                raise UserError(f"Unknown entry {name!r} of {shown}.{nearest(name, known)} It has "
                                f"{', '.join(known)}.")
        return {name: known[name].check(entry, f"{name}={entry!r} of {shown}")
                if known[name] else entry for name, entry in value.items()}

    def _check_number(self, number: float, shown: str) -> None:
        bounds = self.range or Interval(-math.inf, math.inf)
        if number not in bounds or not abs(number) <= _LARGEST:
            words = bounds.words if bounds.low > -math.inf else "a finite number"
            beyond = _LARGEST < abs(number) < math.inf and number in bounds
            raise UserError(f"{shown} must be {words}{', at most 3.4e38' * beyond}.")

    def _spelled(self, value: object, shown: str) -> object:
        """Return the value with its choices as the yaml spells them."""
        if isinstance(value, list):
            return [self._spelled(entry, shown) for entry in value]
        if not isinstance(value, str):
            return value
        if value in self.choices:
            return value
        for choice in self.choices:
            if value.lower() == choice.lower():
                return choice
        raise UserError(f"{shown} must be one of {', '.join(self.choices)}."
                        f"{nearest(value, self.choices)}")

    def _example(self) -> object:
        if self.default is not None:
            return self.default
        bounds = self.range or Interval(0, 1)
        number = bounds.low + 1 if math.isinf(bounds.high) else (bounds.low + bounds.high) / 2
        leaf = {"int": 1, "float": number, "bool": True, "interval": "[5,inf)", "filter": "[4,inf)",
                "str": self.choices[0] if self.choices else "name"}
        first = self.type.split(" or ")[0].split(" of ")
        example = leaf.get(first[-1], 1)
        for container in reversed(first[:-1]):
            key = self.keys[0] if self.keys else "name"
            example = [example] if container == "list" else {key: example}
        return {} if first == ["dict"] else example


def settings_of(model: str | None = None, profile: str | None = None,
                bank: str | None = None) -> list[Setting]:
    """Return every setting of a model's runs: its own, those of all runs, then RecBole's.

    `model` is a model of the plugin, registered ones included, or of RecBole; None leaves the
    model's own settings out. Raises UserError for an unknown model or profile.
    """
    folder, settings = registry.properties_folder(), []
    if model is not None:
        model = registry.canonical(model)
        settings += _of_plugin_model(model, profile, bank) if registry.is_plugin_model(model) \
            else _of_recbole_model(model)
    for name in ("overall.yaml", "recbole.yaml"):
        if (folder / name).is_file():
            settings += read_settings(folder / name)
    by_name: dict[str, Setting] = {}
    for setting in settings:
        by_name.setdefault(setting.name, setting)
    if "band_filter" in by_name:
        setting = by_name["band_filter"]
        choices = tuple(dict.fromkeys((*setting.choices, *BANKS)))
        by_name["band_filter"] = replace(setting, choices=choices)
    return list(by_name.values())


class About(NamedTuple):
    """What the head of a model's yaml says: a line of what it is, and its paper or ""."""

    what: str
    paper: str


def about(model: str) -> About | None:
    """Return what a plugin model is; None where its yaml is missing or has no such head.

    The form of the first line is ``# NAME (AUTHORS, VENUE YEAR, IDENTIFIER): what it is.``
    """
    file = registry.model_yaml(model)
    head = file.read_text(encoding="utf-8").partition("\n")[0] if file.is_file() else ""
    match = _HEAD.match(head)
    return About(match[3], match[2] or "") if match and match[1] == model else None


def checked(values: Mapping, settings: Iterable[Setting]) -> dict:
    """Return values by name as runs take them. Raises UserError for one that cannot be taken."""
    known = {setting.name: setting for setting in settings if not setting.status}
    return {name: known[name].check(value, f"{name}={value!r}") if name in known else value
            for name, value in values.items()}


def _of_plugin_model(model: str, profile: str | None, bank: str | None) -> list[Setting]:
    _, *files = registry.plugin_files(model, None, profile, bank)
    settings: dict[str, Setting] = {}
    for file in files:
        for setting in read_settings(file):
            known = settings.get(setting.name)
            settings[setting.name] = replace(known, default=setting.default) if known else setting
    return list(settings.values())


def _of_recbole_model(model: str) -> list[Setting]:
    """Return the settings of RecBole's yaml of a model, with the values that its names take."""
    file = next((path for path in (registry.RECBOLE_PROPERTIES / "model").glob("*.yaml")
                 if path.stem.lower() == model.lower()), None)
    tables = [registry.properties_folder() / name for name in ("recbole.yaml",
                                                               "recbole_models.yaml")]
    by_name = {s.name: s for table in tables if table.is_file() for s in read_settings(table)}
    settings = []
    for setting in read_settings(file) if file else ():
        known = by_name.get(setting.name)
        if known is not None and _fits(known, setting.default):
            setting = replace(known, default=setting.default, doc=setting.doc, file=setting.file,
                              families=())
        settings.append(setting)
    return settings


@cache
def read_settings(file: Path) -> tuple[Setting, ...]:
    """Return the settings of a yaml; a line without a type gets that of its default."""
    content, settings, section = read_config_file(file), [], []
    recboles = registry.RECBOLE_PROPERTIES in file.resolve().parents
    name = file.name if file.parent.name == "properties" else f"{file.parent.name}/{file.name}"
    for line in file.read_text(encoding="utf-8").splitlines():
        if not line.strip():
            section = []
        elif line.startswith("#"):
            section.append(line.lstrip("# ").rstrip())
        match = (_PLAIN if recboles else _LINE).match(line) or _PLAIN.match(line)
        if not match or line.lstrip().startswith("#"):
            continue
        indent, key, kind, doc = match.groups()
        if indent:
            if kind and settings and not recboles:
                parent, value = settings[-1], (settings[-1].default or {}).get(key)
                settings[-1] = replace(parent, entries=(*parent.entries,
                                                     _setting(key, value, kind, doc)))
            continue
        place = {"section": " ".join(section), "file": name}
        if kind and not recboles:
            settings.append(replace(_setting(key, content[key], kind, doc), **place))
        elif key in content:
            none = content[key] is None or "none" in (kind or "").lower()
            type_ = _type_of(content[key], recboles) + (" or null" if none else "")
            settings.append(Setting(key, type_, content[key], (doc or "").strip(),
                                 _RECBOLES if recboles else None, **place))
    return tuple(settings)


def _setting(name: str, default: object, kind: str, doc: str) -> Setting:
    """Build a setting from what a yaml's comment has in brackets and behind."""
    if kind in (NO_EFFECT, REFUSED):
        return Setting(name, "any", default, doc, status=kind)
    head, *parts = (part.strip() for part in kind.split(";"))
    type_, colon, first = head.partition(":")
    facts: dict = {}
    for part in ([first.strip()] if colon else []) + parts:
        if _INTERVAL.match(part):
            facts["range"] = interval(part)
        elif part.startswith("{"):
            facts["keys"] = tuple(key.strip() for key in part.strip("{}").split(","))
        elif part.startswith("for "):
            facts["families"] = tuple(part.removeprefix("for ").lower().split(" or "))
        else:
            facts["choices"] = tuple(choice.strip() for choice in part.split("|"))
    return Setting(name, type_.strip(), default, doc, **facts)


def interval(text: str) -> Interval:
    """Read "[0, 1)". Raises ValueError for text that is none, or whose bounds are reversed.

    >>> interval("[0, 1)")
    Interval(low=0.0, high=1.0, open_low=False, open_high=True)
    """
    match = _INTERVAL.match(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is no interval")
    left, low, high, right = match.groups()
    bounds = float(low), float(high)
    if not bounds[0] <= bounds[1]:
        raise ValueError(f"{text!r} has its bounds in the wrong order")
    return Interval(*bounds, left == "(", right == ")")


def checked_intervals(text: str, shown: str) -> str:
    """Return one of RecBole's intervals, or several split by ";" in ascending order.

    RecBole takes the first one's lower bound for the least of all. Raises UserError for other text.
    """
    parts = text.split(";")
    for part in parts:
        try:
            interval(part)
        except ValueError:
            raise UserError(f"{shown}: {part.strip()!r} is no interval. Write two bounds in "
                            'brackets: "[5,inf)" is 5 or more, "(0,5)" between 0 and 5 without '
                            'them, "[1,2];[4,5]" either.') from None
    return ";".join(sorted(parts, key=lambda part: interval(part).low))


def _fits(setting: Setting, value: object) -> bool:
    try:
        setting.check(value, setting.name)
    except UserError:
        return False
    return True


_NO = object()  # what does not fit; None is a value


def _fitted(kind: list[str], value: object, inside: bool = False) -> object:
    """Return `value` where it is of a kind, such as ["dict", "float"]; else _NO.

    At the top a whole number becomes a float and one entry a list: not inside of a list or a
    dict, where hashes of runs that people keep have them as they were written.
    """
    container, rest = kind[0], kind[1:]
    if container == "list":
        if not isinstance(value, (list, tuple)):
            if inside or not rest:  # "*" stands for all columns of a file
                return value if inside and value == "*" else _NO
            one = _fitted(rest, value, inside=True)
            return one if one is _NO else [one]
        entries = [_fitted(rest or ["any"], entry, inside=True) for entry in value]
        return _NO if any(entry is _NO for entry in entries) else entries
    if container == "dict":
        if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
            return _NO
        entries = {key: _fitted(rest or ["any"], entry, inside=True)
                   for key, entry in value.items()}
        return _NO if any(entry is _NO for entry in entries.values()) else entries
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if container == "float" and number:
        try:
            return value if inside else float(value)
        except OverflowError:
            return value  # refused by its size
    fits = {"any": True, "null": value is None, "bool": isinstance(value, bool),
            "int": number and isinstance(value, int), "number": number,
            "str": isinstance(value, str), "interval": isinstance(value, str),
            "filter": isinstance(value, (str, list))}
    return value if fits.get(container, False) else _NO


def _leaves(value: object) -> Iterable[object]:
    if isinstance(value, Mapping):
        value = list(value.values())
    if not isinstance(value, (list, tuple)):
        yield value
        return
    for entry in value:
        yield from _leaves(entry)


def _type_of(default: object, loose: bool) -> str:
    """Return the type of a default; `loose` as RecBole's yamls, which write 1 for 1.0 or True."""
    if isinstance(default, bool):
        return "bool"
    if loose and isinstance(default, int):
        return "number or bool"
    return {int: "int", float: "float", str: "str", list: "list",
            dict: "dict"}.get(type(default), "any")
