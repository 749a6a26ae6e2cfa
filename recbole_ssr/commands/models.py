"""The command `models`: every model in a line, or the settings of one."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path

import recbole
import yaml
from recbole.utils import get_model
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from recbole_ssr import registry
from recbole_ssr.commands.words import switch, text, word_and_flags
from recbole_ssr.errors import UserError
from recbole_ssr.settings import Setting, about, settings_of

_WIDTH = 100
_PROFILES = 23  # column of the table of models
_DEFAULT, _TAKES = 16, 20  # columns of a setting, at most; what is left is its meaning
_OF_ALL = {"overall.yaml": "Of all runs", "recbole.yaml": "Of RecBole"}


def models(argv: Sequence[str], console: Console) -> int:
    """models [NAME] [--profile=PROFILE] [--all]"""
    name, flags = word_and_flags("models", argv)
    profile = text(flags, "profile") if "profile" in flags else None
    everything = switch(flags, "all")
    if name is not None:
        _show_settings(registry.canonical(name), profile, everything, console)
        return 0
    if profile is not None:
        raise UserError(f"--profile={profile} is of one model: recbole-ssr models NAME "
                        f"--profile={profile}")
    console.print(models_table())
    if everything:
        for kind, names in _recbole_models():
            console.print()
            console.print(textwrap.fill(f"{kind} models of RecBole: {', '.join(names)}", _WIDTH),
                          markup=False)
    else:
        number = len(registry.recbole_model_names())
        console.print(f"\nRecBole's own {number} models, such as BPR and LightGCN, train as well: "
                      "recbole-ssr models --all", markup=False)
    console.print("\nSettings of a model: recbole-ssr models SSR", markup=False)
    return 0


def models_table() -> Table:
    """Return what every model of the package is, its paper, what it needs, and its profiles."""
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 1, 0, 0))
    for column in ("Model", "What it is", "Paper", "Features", "Profiles"):
        table.add_column(column, max_width=_PROFILES if column == "Profiles" else None)
    for model in registry.plugin_models():
        heading = about(model)
        what, paper = heading or ("", "")
        needs = "needed" if _needs_features(model) else "-"
        table.add_row(model, what, ", ".join(paper.split(", ")[:2]) or "-", needs,
                      _brief(registry.profiles_of(model)[1:]))
    return table


def _needs_features(model: str) -> bool:
    return getattr(get_model(model), "needs_features", False)


def _brief(profiles: Sequence[str]) -> str:
    """Return names in short: amazon-baby, -sports for amazon-baby, amazon-sports."""
    short = []
    for _, family in groupby(profiles, lambda profile: profile.partition("-")[0]):
        first, *more = family
        short += [first, *(f"-{profile.partition('-')[2]}" for profile in more)]
    return ", ".join(short)


def _recbole_models() -> Iterable[tuple[str, list[str]]]:
    """Yield the kinds of RecBole's models with the names of each, without importing them."""
    by_lower = {name.lower(): name for name in registry.recbole_model_names()}
    for folder in sorted(Path(recbole.__file__).parent.glob("model/*_recommender")):
        stems = sorted(file.stem for file in folder.glob("*.py"))
        kind = folder.name.removesuffix("_recommender").replace("_", "-").capitalize()
        yield kind, [by_lower[stem] for stem in stems if stem in by_lower]


def _show_settings(model: str, profile: str | None, everything: bool, console: Console) -> None:
    settings = settings_of(model, profile)
    of_model = [s for s in settings if s.file not in _OF_ALL]
    console.print(_head(model, profile))
    groups = [of_model]
    if everything:
        groups += [[s for s in settings if s.file == file and not s.status] for file in _OF_ALL]
    shown = [setting for group in groups for setting in group]
    columns = (max(map(len, ("Setting", *(setting.name for setting in shown)))),
               min(max(map(len, ("Default", *map(_default, shown)))), _DEFAULT), _TAKES)
    width, header = min(console.width, _WIDTH), True
    for title, group in zip(("", *_OF_ALL.values()), groups):
        if title:
            console.print(f"\n[bold underline]{title}[/]")
        for section, of_section in groupby(group, lambda setting: setting.section):
            console.print(f"\n[bold]{escape(section)}[/]" if section else "")
            console.print(settings_table(of_section, columns, width, header))
            header = False
    more = "" if everything else f" Those of every run too: recbole-ssr models {model} --all."
    console.print(f"\nGive any as --KEY=VALUE, or in a yaml of --config_files.{more}",
                  markup=False)


def _head(model: str, profile: str | None) -> str:
    if not registry.is_plugin_model(model):
        return f"[bold]{model}[/], a model of RecBole."
    heading, profiles = about(model), registry.profiles_of(model)
    what = f": {escape(heading.what)}" if heading else ""
    paper = f" ({escape(heading.paper)})" if heading and heading.paper else ""
    needs = "Needs item features." if _needs_features(model) else "Needs no features."
    shown = profile or (profiles[0] if profiles else "")
    named = [f"{name} (shown)" if name == shown else name for name in profiles]
    return f"[bold]{model}[/]{what}{paper}. {needs}" \
        + (f" Profiles: {', '.join(named)}." if len(named) > 1 else "")


def settings_table(settings: Iterable[Setting], columns: Sequence[int], width: int,
                   header: bool) -> Table:
    """Return name, default, type with range or choices, and meaning of settings, a row each.

    `columns` has the widths of the first three, so that the tables of all sections agree; the last
    takes what they leave of `width`.
    """
    table = Table(box=None, pad_edge=False, show_header=header, header_style="bold", width=width)
    for title, of_column in zip(("Setting", "Default", "Takes"), columns):
        table.add_column(title, width=of_column, overflow="fold")
    table.add_column("Meaning", ratio=1, overflow="fold")
    for setting in settings:
        table.add_row(*map(escape, (setting.name, _default(setting), takes(setting), setting.doc)))
        for entry in setting.entries:
            table.add_row(*map(escape, (f"  {entry.name}", _default(entry), takes(entry),
                                        entry.doc)))
    return table


def _default(setting: Setting) -> str:
    """Return a default as text; that of a dict whose entries have lines of their own is there."""
    return "" if setting.entries else as_yaml(setting.default)


def takes(setting: Setting) -> str:
    """Return the type of a setting with its range, or its choices."""
    null = " | ~" if setting.type.endswith(" or null") and setting.choices else ""
    values = f"{' | '.join(setting.choices)}{null}" if setting.choices else \
        f"{setting.type} {setting.range or ''}".rstrip()
    families = f" ({' and '.join(setting.families)} models)" if setting.families else ""
    return setting.status or values + families


def as_yaml(value: object) -> str:
    """Return a value as it is given on a command line."""
    if isinstance(value, (list, dict)):
        return yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=1000).strip()
    return "~" if value is None else str(value)
