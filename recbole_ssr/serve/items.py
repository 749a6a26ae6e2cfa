"""What is known of items beside their interactions: titles, fields to filter by, pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from recbole.data.dataset import Dataset

from recbole_ssr.data.ids import tokens_of
from recbole_ssr.errors import UserError, nearest

_TITLES = ("title", "name")  # parts of a column's name, in order of preference
_PICTURES, _SUFFIXES = "images", (".jpg", ".jpeg", ".png", ".webp", ".gif")


class ItemTable:
    """The columns of `<dataset>.item`, as text, by item id; none where there is no such file.

    `fields` maps the name of a column to its values (I,), "" where an item has none.
    """

    def __init__(self, folder: Path, fields: Mapping[str, np.ndarray], types: Mapping[str, str]):
        self.folder, self.fields, self.types = folder, dict(fields), dict(types)

    @classmethod
    def of(cls, dataset: Dataset, tokens: Sequence[str]) -> ItemTable:
        """Read the file beside a dataset's interactions. `tokens` are the items', padding first."""
        folder = Path(dataset.dataset_path)
        file = folder / f"{dataset.dataset_name}.item"
        if not file.is_file():
            return cls(folder, {}, {})
        try:
            table = pd.read_csv(file, sep=dataset.config["field_separator"], dtype=str,
                                keep_default_na=False, quoting=3, engine="c")
        except (ValueError, OSError) as error:
            raise UserError(f"{file} cannot be read: {error}. Correct it, or move it away: titles "
                            "and filters are all that it is needed for here") from None
        types = dict(column.partition(":")[::2] for column in table.columns)
        table.columns = list(types)
        if dataset.iid_field not in table:
            raise UserError(f"{file} has no column {dataset.iid_field}:token; name the items there")
        known = table.drop_duplicates(dataset.iid_field).set_index(dataset.iid_field)
        known = known.reindex(list(tokens), fill_value="")
        return cls(folder, {name: known[name].to_numpy(str) for name in known},
                   {name: types[name] for name in known})

    @property
    def title_field(self) -> str | None:
        """The column that names items: one called title or name, else the first of free text."""
        for part in _TITLES:
            for name in self.fields:
                if part in name.lower():
                    return name
        texts = (name for name, kind in self.types.items() if kind == "token_seq")
        return next(texts, None)

    def titles(self, items: np.ndarray) -> list[str]:
        """Return the titles of items, "" where there is none. Shapes: items (n,) ids."""
        name = self.title_field
        if name is None:
            return [""] * len(items)
        values = self.fields[name]
        return [str(values[i]) if i < len(values) else "" for i in items]

    def matching(self, where: Mapping[str, object]) -> np.ndarray:
        """Return which items (I,) have one of the wanted values in every field named.

        A field of several words (token_seq) has a value if it is one of the words or all of them.
        Raises UserError for a field that is not there, and where no value or none of an item is
        wanted.
        """
        keep = np.ones(len(next(iter(self.fields.values()), [])), dtype=bool)
        for name, wanted in where.items():
            if name not in self.fields:
                raise UserError(
                    f"items have no field {name!r}; "
                    + (f"they have {', '.join(self.fields)}.{nearest(name, self.fields)}"
                       if self.fields else f"there is no .item file in {self.folder}; prepare "
                       "writes it from the table of --items"))
            several = self.types[name].endswith("_seq")
            values = tokens_of(wanted)
            if not values:
                raise UserError(f"no value of {name} is wanted; name at least one, or leave the "
                                "field out")
            here = np.isin(self.fields[name], values)
            if several:
                here |= np.array([not set(values).isdisjoint(text.split())
                                   for text in self.fields[name]])
            if not here.any():
                known = {w for text in self.fields[name]
                         for w in (text.split() if several else [text])}
                raise UserError(f"no item has {name} {', '.join(values)}."
                                f"{nearest(values[0], known)}")
            keep &= here
        return keep

    def picture(self, token: str) -> Path | None:
        """Return the picture of an item, `images/<token>.jpg` or its like in the dataset."""
        folder = self.folder / _PICTURES
        files = (folder / f"{token}{suffix}" for suffix in _SUFFIXES)
        return next((file for file in files if file.is_file() and file.parent == folder), None)
