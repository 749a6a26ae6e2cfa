"""What a preparation may be told, from yaml or by flag, and where a name's recipe comes from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from importlib.resources import files
from pathlib import Path

from recbole_ssr.contributions import RECIPES, yaml_of
from recbole_ssr.errors import UserError, nearest
from recbole_ssr.flags import read_config_file

DATA_PATH = "dataset"


def _option(text: str, default=None, metavar: str | None = None):
    return field(default=default, metadata={"help": text, "metavar": metavar})


@dataclass
class Options:
    """All options of a preparation. None leaves the choice to the recipe."""

    name: str | None = _option("name of the dataset, and of its folder", metavar="NAME")
    data_path: str = _option("folder that receives the dataset's folder", DATA_PATH, "FOLDER")
    raw: str | None = _option("folder of raw files, yours and those to come; default "
                              "DATA_PATH/raw/NAME", metavar="FOLDER")
    no_download: bool = _option("use raw files that are there, fetch none", False)
    overwrite: bool = _option("replace a prepared dataset of this name", False)
    cache_dir: str | None = _option("folder of encodings; default the user's cache folder",
                                    metavar="FOLDER")
    # A recipe that downloads.
    recipe: str | None = _option("kind of the raw files: amazon", metavar="RECIPE")
    category: str | None = _option("category as its files spell it", metavar="CATEGORY")
    reviews_url: str | None = _option("address of the reviews or ratings", metavar="URL")
    meta_url: str | None = _option("address of the items' texts", metavar="URL")
    images_url: str | None = _option("address of the image features", metavar="URL")
    modalities: list[str] | None = _option("which to make, for instance [text]", metavar="LIST")
    expected: dict | None = _option("counts that the result should have", metavar="COUNTS")
    # A folder that someone published.
    source: str | None = _option("layout of PATH: mmrec, json, pickle, lightgcn, recbole, "
                                 "or auto",
                                 metavar="LAYOUT")
    path: str | None = _option("published folder to import", metavar="PATH")
    # Own data.
    interactions: str | None = _option("CSV, TSV, Parquet or JSON lines of interactions",
                                       metavar="FILE")
    items: str | None = _option("the same of items, with text columns", metavar="FILE")
    items_key: str | None = _option("item column of --items, where it is not --item_column",
                                    metavar="COLUMN")
    text: list[str] | None = _option("text columns of --items; default every column of words",
                                     metavar="COLUMNS")
    images: str | None = _option("folder of pictures <item>.jpg, .png, ...", metavar="FOLDER")
    vectors: dict | None = _option("ready vectors, {image: FILE, audio: FILE}", metavar="FILES")
    user_column: str | None = _option("user column of --interactions", metavar="COLUMN")
    item_column: str | None = _option("item column of --interactions, and of --items",
                                      metavar="COLUMN")
    time_column: str | None = _option("time column of --interactions", metavar="COLUMN")
    rating_column: str | None = _option("rating column of --interactions", metavar="COLUMN")
    label_column: str | None = _option("column of --interactions with the part of the split",
                                       metavar="COLUMN")
    # What is made of it.
    min_rating: float | None = _option("least rating that counts as an interaction, before the "
                                       "k-core", metavar="RATING")
    min_interactions: int | None = _option("k of the k-core; 0 keeps all", metavar="K")
    split: str | None = _option("a split of properties/split, or a yaml file", metavar="SPLIT")
    split_seed: int | None = _option("seed of a random split", metavar="SEED")
    text_encoder: str | None = _option("sentence-transformers model or folder, tfidf, or auto: "
                                       "MiniLM, else tfidf", metavar="MODEL")
    image_encoder: str | None = _option("transformers CLIP or ViT model or folder",
                                        metavar="MODEL")
    batch_size: int = _option("items encoded at a time", 64, "N")
    device: str = _option("of the encoders: auto, cpu, cuda or cuda:N", "auto", "DEVICE")
    show_progress: bool = _option("progress bars", True)


NAMES = tuple(f.name for f in fields(Options))
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
    types = {f.name: str(f.type).split(" |")[0] for f in fields(Options)}
    for key, value in merged.items():
        if key not in types:
            raise UserError(f"Unknown option {key!r} of prepare.{nearest(key, types)} See "
                            "recbole-ssr prepare --help.")
        merged[key] = _as_type(key, value, types[key])
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
