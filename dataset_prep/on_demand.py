"""Preparing the dataset of a run that is not there yet, and what its flags then mean."""

from __future__ import annotations

import json
import logging
import shlex
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from recbole_ssr.data.manifest import read_manifest
from recbole_ssr.dataset_prep.options import (
    DATA_PATH,
    NAMES,
    SHARED,
    WITHOUT_EFFECT,
    options_of,
    recipe_of,
)
from recbole_ssr.dataset_prep.prepare import prepare
from recbole_ssr.dataset_prep.splits import read_split
from recbole_ssr.errors import MissingDataset, UserError

logger = logging.getLogger("recbole_ssr")

# Of an import or of own data, which a run cannot start; `name` is the run's `dataset`.
_NOT_FOR_RUNS = ("name", "source", "path", "interactions", "items", "items_key", "text", "vectors",
                 "overwrite", "modalities", "recipe", "category", "expected", "user_column",
                 "item_column", "time_column", "rating_column", "label_column", "like", "out")
FLAGS = tuple(name for name in NAMES if name not in SHARED + _NOT_FOR_RUNS)
# A run that prepares nothing has no use for these; no_download is a promise that it keeps.
_OF_PREPARING = frozenset(FLAGS) & set(WITHOUT_EFFECT) - {"no_download"}


def take_flags(flags: dict[str, object]) -> dict[str, object]:
    """Remove the flags of a preparation from those of a run, and return them."""
    return {name: flags.pop(name) for name in FLAGS if name in flags}


def prepare_missing(missing: MissingDataset, options: Mapping[str, object],
                    settings: Mapping[str, object]) -> bool:
    """Prepare the dataset that a run did not find; False where there is no recipe for its name.

    Args:
        missing: what the run said.
        options: flags of the preparation, from :func:`take_flags`.
        settings: the run's own config files and flags, of which the shared ones matter.
    """
    recipe = recipe_of(missing.dataset)
    folder = Path(missing.folder)
    if recipe is None:
        return False
    if folder.exists():
        raise UserError(f"{folder} is there but holds no {missing.dataset}.inter. Move it away, "
                        "and it will be prepared anew.") from missing
    shared = {key: settings[key] for key in SHARED if key in settings}
    shared["data_path"] = str(folder.parent)
    given = {**(settings.get("prepare") or {}), **shared, **options, "name": missing.dataset}
    options = options_of(given, recipe)
    if options.split and read_split(options.split).seed is None:
        options = replace(options, split_seed=None)  # of the run, which draws train_share by it
    logger.info("%s is not there yet and is prepared now", missing.dataset)
    prepare(options)
    return True


def shaping(options: Mapping[str, object], settings: Mapping[str, object],
            dataset: str) -> dict[str, object]:
    """Return what a run says of how its dataset should have been prepared.

    Args:
        options: flags of the preparation, from :func:`take_flags`.
        settings: the run's own config files and flags.
        dataset: of the run.
    """
    recipe, own = recipe_of(dataset) or {}, settings.get("prepare")
    said = {**own, "name": dataset} if isinstance(own, Mapping) else {}
    options_of(said)  # which refuses what is no option
    said = {key: value for key, value in said.items()
            if key not in WITHOUT_EFFECT and recipe.get(key) != value} if recipe else {}
    seed = {key: settings[key] for key in ("split_seed",) if key in settings}
    return {**said, **options, **seed}


def check_flags(flags: Mapping[str, object], dataset: str, data_path: str | Path) -> None:
    """Raise UserError where flags of a preparation have no effect or contradict what is there.

    Args:
        flags: those flags, and the run's ``split_seed`` where it has one.
        dataset, data_path: of the run.
    """
    folder = Path(data_path, dataset)
    if folder.exists() or recipe_of(dataset) is None:
        for key in flags.keys() & _OF_PREPARING:
            hint = " The interactions of a training step are train_batch_size." \
                if key == "batch_size" else ""
            raise UserError(f"--{key} says how to prepare a dataset, and {dataset} needs no "
                            f"preparation. Leave it out.{hint}")
    flags = {key: value for key, value in flags.items() if key not in WITHOUT_EFFECT}
    manifest = read_manifest(folder)
    if manifest is None and recipe_of(dataset) is None:
        for key in flags.keys() - {"split_seed"}:
            raise UserError(f"--{key} shapes a dataset while it is prepared, and a run does not "
                            f"prepare {dataset}. Give it to recbole-ssr prepare, or leave it out.")
    if manifest is None:
        return
    made = {**manifest.get("options", {}), "split_seed": manifest.get("split", {}).get("seed")}
    if made["split_seed"] is None:
        flags.pop("split_seed", None)  # nothing was drawn, so that a seed contradicts nothing
    for key, value in vars(options_of(flags)).items():
        if key not in flags or (key, value) == ("text_encoder", "auto"):  # whatever could be had
            continue
        if not (_is_split_of(value, manifest) if key == "split" else made.get(key) == value):
            raise UserError(
                f"{folder} was prepared with {key}={made.get(key)!r}, not {value!r}. Prepare it "
                f"anew with {_anew(folder, manifest, key, value)}, or leave --{key} out."
            )


def _anew(folder: Path, manifest: Mapping, key: str, value: object) -> str:
    """Return the command that prepares a dataset as it was, but for one option.

    Paths are as they were typed. Own data and published folders are named by all of their options.
    """
    made = {name: option for name, option in manifest.get("options", {}).items() if name in NAMES}
    words = [folder.name]
    if made.get("interactions") or made.get("path"):
        words = [made.pop("path")] if made.get("path") else []
        source = {"from": made.pop("source", "auto")} if words else {}
        others = {**source, **made, "name": folder.name}
    else:
        others = {}
    if str(folder.parent) != DATA_PATH:
        others["data_path"] = str(folder.parent)
    others = {name: option for name, option in others.items() if option is not None} | {key: value}
    words += [f"--{name}={option if isinstance(option, str) else json.dumps(option)}"
              for name, option in others.items()]
    return shlex.join(["recbole-ssr", "prepare", *words, "--overwrite"])


def _is_split_of(name_or_file: str, manifest: Mapping) -> bool:
    """Tell whether a dataset was split so, whatever the file said when it was."""
    split, made = read_split(name_or_file), manifest.get("split", {})
    if made.get("seed") is not None:
        split = split.with_seed(made["seed"])
    return (split.rule, split.title) == (made.get("rule"), made.get("title"))
