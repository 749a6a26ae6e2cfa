"""What a preparation may be told, from yaml or by flag, and where a name's recipe comes from."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from importlib.resources import files
from pathlib import Path

from recbole_ssr.contributions import RECIPES, yaml_of
from recbole_ssr.errors import UserError, nearest
from recbole_ssr.flags import read_config_file
from recbole_ssr.option import option

DATA_PATH = "dataset"


@dataclass
class Options:
    """All options of a preparation. None leaves the choice to the recipe."""

    name: str | None = option("name=NAME", "name of the dataset, and of its folder")
    data_path: str = option(
        "data_path=FOLDER", "folder that receives the dataset's folder", DATA_PATH)
    raw: str | None = option(
        "raw=FOLDER", "folder of raw files, yours and those to come; default DATA_PATH/raw/NAME")
    no_download: bool = option("no_download", "use raw files that are there, fetch none", False)
    overwrite: bool = option("overwrite", "replace a prepared dataset of this name", False)
    cache_dir: str | None = option(
        "cache_dir=FOLDER", "folder of encodings; default the user's cache folder")
    # A recipe that downloads.
    recipe: str | None = option("recipe=RECIPE", "kind of the raw files: amazon")
    category: str | None = option("category=CATEGORY", "category as its files spell it")
    reviews_url: str | None = option("reviews_url=URL", "address of the reviews or ratings")
    meta_url: str | None = option("meta_url=URL", "address of the items' texts")
    images_url: str | None = option("images_url=URL", "address of the image features")
    modalities: list[str] | None = option("modalities=LIST", "which to make, for instance [text]")
    expected: dict | None = option("expected=COUNTS", "counts that the result should have")
    # A folder that someone published.
    source: str | None = option(
        "from=LAYOUT", "layout of PATH: mmrec, json, pickle, lightgcn, recbole, or auto")
    path: str | None = option("path=PATH", "published folder to import")
    # Own data.
    interactions: str | None = option(
        "interactions=FILE", "CSV, TSV, Parquet or JSON lines of interactions")
    items: str | None = option("items=FILE", "the same of items, with text columns")
    items_key: str | None = option(
        "items_key=COLUMN", "item column of --items and --vectors, where it is not --item_column")
    text: list[str] | None = option(
        "text=COLUMNS", "text columns of --items; default every column of words")
    images: str | None = option("images=FOLDER", "folder of pictures <item>.jpg, .png, ...")
    vectors: dict | None = option("vectors=FILES", "ready vectors, {image: FILE, audio: FILE}")
    user_column: str | None = option("user_column=COLUMN", "user column of --interactions")
    item_column: str | None = option(
        "item_column=COLUMN", "item column of --interactions, and of --items")
    time_column: str | None = option("time_column=COLUMN", "time column of --interactions")
    rating_column: str | None = option("rating_column=COLUMN", "rating column of --interactions")
    label_column: str | None = option(
        "label_column=COLUMN", "column of --interactions with the part of the split")
    # Items to come.
    like: str | None = option(
        "like=DATASET", "prepared dataset by whose encoders --items and --images are encoded")
    out: str | None = option("out=FOLDER", "receives features made by --like, for --new-items")
    # What is made of it.
    min_rating: float | None = option(
        "min_rating=RATING", "least rating that counts as an interaction, before the k-core")
    min_interactions: int | None = option("min_interactions=K", "k of the k-core; 0 keeps all")
    split: str | None = option("split=SPLIT", "a split of properties/split, or a yaml file")
    split_seed: int | None = option("split_seed=SEED", "seed of a random split")
    text_encoder: str | None = option(
        "text_encoder=MODEL",
        "sentence-transformers model or folder, tfidf, or auto: MiniLM, else tfidf")
    image_encoder: str | None = option(
        "image_encoder=MODEL", "transformers CLIP or ViT model or folder")
    batch_size: int = option("batch_size=N", "items encoded at a time", 64)
    device: str = option("device=DEVICE", "of the encoders: auto, cpu, cuda or cuda:N", "auto")
    show_progress: bool = option("show_progress", "progress bars", True)


NAMES = tuple(f.name for f in fields(Options))
_TYPES = {f.name: str(f.type).split(" |")[0] for f in fields(Options)}
# Those whose value is any text, which may look like a number.
TEXTS = tuple(name for name, kind in _TYPES.items() if kind == "str")
# Those that may name a file or a folder.
_PATHS = ("data_path", "raw", "cache_dir", "path", "interactions", "items", "images", "split",
          "text_encoder", "image_encoder", "like", "out")
# Settings of a run that its preparation shares. Not `modalities`: a run on one modality must not
# leave a dataset of one behind, on which a later run is unimodal without a word.
SHARED = ("data_path", "cache_dir", "split_seed", "device", "show_progress")
# Where files come from and go to: no part of what the prepared dataset is.
WITHOUT_EFFECT = ("data_path", "raw", "no_download", "overwrite", "cache_dir", "batch_size",
                  "device", "show_progress", "reviews_url", "meta_url", "images_url", "expected")


def options_of(options: Mapping[str, object],
               recipe: Mapping[str, object] | None = None) -> Options:
    """Merge options over those of a recipe. UserError for unknown names and wrong types."""
    merged = {**(recipe or {}), **{k: v for k, v in options.items() if v is not None}}
    for key, value in merged.items():
        if key not in _TYPES:
            raise UserError(f"Unknown option {key!r} of prepare.{nearest(key, _TYPES)} See "
                            "recbole-ssr prepare --help.")
        merged[key] = _as_type(key, value, _TYPES[key])
        if key in _PATHS:
            merged[key] = os.path.expanduser(merged[key])
    if "vectors" in merged:
        merged["vectors"] = _files(merged["vectors"])
    return Options(**merged)


def recipe_of(name: str) -> dict[str, object] | None:
    """Return the options that the yamls have for a dataset name; None for a name without recipe.

    ``amazon-sports`` is amazon.yaml, changed by amazon-sports.yaml; ``amazon-Office_Products`` is
    amazon.yaml with that category.
    """
    if name in RECIPES:
        for file in yaml_of(RECIPES, name):
            return {"recipe": name, **(read_config_file(file).get("prepare") or {}), "name": name}
        return {"recipe": name, "name": name}
    folder = Path(str(files("recbole_ssr.properties")), "dataset")
    family, _, rest = name.partition("-")
    recipe: dict[str, object] = {}
    for stem in dict.fromkeys((family, name)):
        file = folder / f"{stem}.yaml"
        if rest and file.is_file():
            recipe |= read_config_file(file).get("prepare") or {}
    # Files spell every category with a capital; amazon-sport is a slip for amazon-sports.
    if not recipe or not ((folder / f"{name}.yaml").is_file() or rest[0].isupper()):
        return None
    return {"category": rest, **recipe, "name": name}


def recipe_names() -> tuple[str, ...]:
    """Return the names that have a yaml of their own with a recipe, for messages."""
    folder = Path(str(files("recbole_ssr.properties")), "dataset")
    stems = [file.stem for file in sorted(folder.glob("*-*.yaml"))]
    return tuple(name for name in (*stems, *RECIPES) if recipe_of(name))


def _files(vectors: dict) -> dict[str, str]:
    for modality, file in vectors.items():
        if not (isinstance(modality, str) and isinstance(file, str)):
            raise UserError(f"--vectors: {modality!r}: {file!r} must be a name and a file, for "
                            "instance '{image: vectors.npy}'. Put names of digits into quotes.")
    return {modality: os.path.expanduser(file) for modality, file in vectors.items()}


def _as_type(key: str, value: object, kind: str) -> object:
    if kind.startswith("list"):
        value = [value] if isinstance(value, str) else value
        if isinstance(value, list) and all(isinstance(entry, str) for entry in value):
            return value
        wanted = "a list of names, for instance [text, image]"
    elif kind == "dict":
        if isinstance(value, dict):
            return value
        wanted = "entries, for instance '{image: vectors.npy}'"
    elif kind == "str":
        if isinstance(value, (str, int, float)) and not isinstance(value, bool):
            return str(value)
        wanted = "a text"
    elif kind == "float":
        if type(value) in (int, float) and math.isfinite(value):
            return float(value)
        wanted = "a number"
    else:
        if type(value).__name__ == kind:
            return value
        wanted = {"int": "a whole number", "bool": "True or False"}[kind]
    raise UserError(f"--{key}={value!r} must be {wanted}.")
