"""The command `datasets`: those that are here, and those that one command makes."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from recbole_ssr import registry
from recbole_ssr.commands.words import flags_of, text
from recbole_ssr.data.demo import MODALITIES
from recbole_ssr.data.feature_files import open_matrix
from recbole_ssr.data.manifest import read_manifest
from recbole_ssr.dataset_prep.mmrec import ITEMS, USERS
from recbole_ssr.dataset_prep.options import DATA_PATH, recipe_names, recipe_of
from recbole_ssr.errors import UserError
from recbole_ssr.files import expanded

_MOST_BYTES = 300 * 2**20  # of a file that is read to count what is in it
_FEATURES = "features"


class Entry(NamedTuple):
    """A dataset: sizes, None where nobody knows them; modalities; where it comes from."""

    name: str
    users: int | None
    items: int | None
    interactions: int | None
    modalities: str
    origin: str


def datasets(argv: Sequence[str], console: Console) -> int:
    """datasets [--data_path=FOLDER]"""
    flags = flags_of("datasets", argv)
    root = expanded(text(flags, "data_path") if "data_path" in flags else DATA_PATH)
    here = list(entries_in(root))
    names = {entry.name for entry in here}
    recipes = [recipe_entry(name) for name in recipe_names() if name not in names]
    console.print(datasets_table([embedded(), *here, *recipes]))
    console.print(f"\nIn {root}: {len(here) or 'none yet'}; --data_path names another folder.",
                  markup=False, soft_wrap=True)
    console.print("recbole-ssr data NAME looks at one, recbole-ssr prepare makes one.",
                  markup=False)
    return 0


def embedded() -> Entry:
    """Return the dataset that RecBole's wheel carries and this package adds features to."""
    folder = registry.RECBOLE_PROPERTIES.parent / "dataset_example" / registry.DEMO_DATASET
    sizes = counted(folder / f"{registry.DEMO_DATASET}.inter")
    return Entry(registry.DEMO_DATASET, *sizes, ", ".join(MODALITIES), "embedded")


def entries_in(root: Path) -> Iterable[Entry]:
    """Yield the datasets below a folder, by name; none where there is no such folder."""
    for name in sorted(os.listdir(root) if os.path.isdir(root) else ()):
        file = root / name / f"{name}.inter"
        if not os.path.isfile(file):
            continue
        try:
            manifest = read_manifest(file.parent)
        except UserError:
            manifest = None
        made = str((manifest or {}).get("made_at", ""))[:10]
        sizes = [(manifest or {}).get(key) for key in ("users", "items", "interactions")]
        yield Entry(name, *(sizes if None not in sizes else counted(file)),
                    widths(file.parent / _FEATURES), f"prepared {made}" if made else "own files")


def recipe_entry(name: str) -> Entry:
    """Return a dataset that is made on demand, with the sizes that its recipe expects."""
    recipe = recipe_of(name)
    expected = recipe.get("expected") or {}
    return Entry(name, *(expected.get(key) for key in ("users", "items", "interactions")),
                 ", ".join(recipe.get("modalities") or ()) or "-", "made on demand")


def counted(file: Path) -> tuple[int | None, int | None, int | None]:
    """Return users, items and interactions of an .inter file; None each where it is too large.

    Their columns are those of a usual name; where there is none, the first other one of tokens.
    """
    nothing = None, None, None
    try:
        with open(file, encoding="utf-8-sig") as lines:
            names = lines.readline().rstrip("\n").split("\t")
        tokens = {name.removesuffix(":token"): k for k, name in enumerate(names)
                  if name.endswith(":token")}
        if len(tokens) < 2 or file.stat().st_size > _MOST_BYTES:
            return nothing
        user, item = _users_and_items(tokens)
        table = pd.read_csv(file, sep="\t", usecols=[user, item], dtype=str, quoting=3,
                            keep_default_na=False)
    except (OSError, ValueError):
        return nothing
    first, second = (table.iloc[:, k].nunique() for k in range(2))  # in the order of the file
    return *((first, second) if user < item else (second, first)), len(table)


def _users_and_items(tokens: dict[str, int]) -> tuple[int, int]:
    """Return the columns of users and of items among two or more, name -> position."""
    user, item = (next((tokens[name] for name in names if name in tokens), None)
                  for names in (USERS, ITEMS))
    others = (k for k in tokens.values() if k not in (user, item))
    user = next(others) if user is None else user
    return user, next(others) if item is None else item


def widths(folder: Path) -> str:
    """Return the modalities in a folder with the width of each; "-" without any."""
    widths = []
    for file in sorted(folder.glob("*.npy")):
        try:
            matrix = open_matrix(file)
            widths.append(f"{file.stem} {matrix.shape[1]:,}")
        except (UserError, IndexError):
            widths.append(f"{file.stem} (damaged)")
    return ", ".join(widths) or "-"


def datasets_table(entries: Iterable[Entry]) -> Table:
    """Return a table of datasets, a row each."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in Entry._fields:
        number = name in ("users", "items", "interactions")
        table.add_column(name.capitalize(), justify="right" if number else "left",
                         no_wrap=number, overflow="fold")
    for entry in entries:
        table.add_row(*("-" if cell is None else f"{cell:,}" if isinstance(cell, (int, np.integer))
                        else escape(cell) for cell in entry))
    return table
