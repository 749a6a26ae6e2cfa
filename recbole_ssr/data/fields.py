"""Columns that settings name: they must be in a file of the dataset, and loaded.

RecBole passes over a column of `load_col` that no file has, and over a feature to embed that was
not loaded; a filter on one ends in an error of its own.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from recbole_ssr.data.atomic_files import read_header
from recbole_ssr.errors import UserError, nearest

# Settings that name columns, as keys of a dict or as a list.
_BY_COLUMN = ("val_interval", "threshold", "normalize_field", "discretization", "seq_len",
              "numerical_features", "preload_weight", "alias_of_user_id", "alias_of_item_id",
              "alias_of_entity_id", "alias_of_relation_id")
# Settings that name columns by file.
_BY_FILE = ("load_col", "unload_col", "unused_col")
_FILES = ("inter", "user", "item", "kg", "link")


def check_columns(config, needed: Sequence[str] = ()) -> None:
    """Raise UserError for a column that a setting names and the run would not have.

    Of `load_col`, `unload_col` and `unused_col` only what the user gave is checked: RecBole's own
    lists name columns of many datasets.

    Args:
        needed: settings such as RELATION_ID_FIELD whose value is a column that the run reads.
    """
    header = _headers(config)
    for key in needed:
        _check_loaded(key, config[key], config, header)
    for key in _BY_FILE:
        if key in config.sources and isinstance(config[key], Mapping):
            _check_lists(key, config[key], header)
    for key in _BY_COLUMN:
        for column in _names(config[key]):
            _check_loaded(key, str(column), config, header)


def _headers(config) -> dict[str, list[str]]:
    """Return the columns of every file of the dataset that is there, by its suffix."""
    folder, name = Path(config["data_path"]), config["dataset"]
    extra = config["additional_feat_suffix"]
    suffixes = (*_FILES, *([extra] if isinstance(extra, str) else extra or ()))
    parts = config["benchmark_filename"] or ()
    files = {suffix: folder / f"{name}.{suffix}" for suffix in suffixes}
    if parts:
        files["inter"] = folder / f"{name}.{parts[0]}.inter"
    return {suffix: list(read_header(path, config["field_separator"], config["encoding"]))
            for suffix, path in files.items() if os.path.isfile(path)}


def _names(value: object) -> list:
    if isinstance(value, Mapping):
        return list(value)
    return list(value) if isinstance(value, (list, tuple)) else []


def _check_lists(key: str, lists: Mapping, header: Mapping[str, list[str]]) -> None:
    for suffix, columns in lists.items():
        if suffix not in header:
            if suffix == "inter":
                return  # its own absence is told where it is read
            raise UserError(f"{key} names the file {suffix!r}, which the dataset does not have; it "
                            f"has {', '.join(header)}. Take it out, or add the file.")
        for column in columns if isinstance(columns, (list, tuple)) else ():
            if str(column) not in header[suffix]:
                raise UserError(f"{key} names the column {column!r} of {suffix}, which has "
                                f"{', '.join(header[suffix])}.{nearest(column, header[suffix])}")


def _check_loaded(key: str, column: str, config, header: Mapping[str, list[str]]) -> None:
    homes = [suffix for suffix, columns in header.items() if column in columns]
    if not homes:
        known = sorted({name for columns in header.values() for name in columns})
        raise UserError(f"{key} names the column {column!r}, which no file of "
                        f"{config['dataset']} has; they have {', '.join(known)}."
                        f"{nearest(column, known)}")
    if not any(_is_loaded(column, suffix, config) for suffix in homes):
        raise UserError(f"{key} names the column {column!r} of {homes[0]}, which is not loaded: "
                        f"load_col is {config['load_col']}, unload_col {config['unload_col']}. "
                        f"Load it, as in load_col: {{{homes[0]}: [..., {column}]}}.")


def _is_loaded(column: str, suffix: str, config) -> bool:
    load, unload = config["load_col"], config["unload_col"]
    if isinstance(unload, Mapping) and column in (unload.get(suffix) or ()):
        return False
    if not isinstance(load, Mapping):
        return True
    columns = load.get(suffix) or ()
    return columns == "*" or column in columns
