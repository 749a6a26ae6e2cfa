"""Features of items without interactions, made as those of a prepared dataset were."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path

from recbole_ssr.data.manifest import MANIFEST, read_manifest
from recbole_ssr.dataset_prep.encode import Encoder, encode_items
from recbole_ssr.dataset_prep.image_encoder import DEFAULT_MODEL as IMAGE_MODEL
from recbole_ssr.dataset_prep.image_encoder import image_encoder
from recbole_ssr.dataset_prep.images import find_images
from recbole_ssr.dataset_prep.options import Options
from recbole_ssr.dataset_prep.own_tables import read_item_table
from recbole_ssr.dataset_prep.steps import fit_of, tell_of_broken
from recbole_ssr.dataset_prep.text_encoder import DEFAULT_MODEL as TEXT_MODEL
from recbole_ssr.dataset_prep.text_encoder import text_encoder
from recbole_ssr.dataset_prep.tfidf import TfidfEncoder
from recbole_ssr.errors import UserError

logger = logging.getLogger("recbole_ssr")

# How the names of encoders start, by the modality that they encode; other names are of files.
_ENCODERS = {"text": (TfidfEncoder.name, "sentence-transformers "), "image": ("transformers ",)}


def encode_new_items(options: Options) -> Path:
    """Encode texts and pictures of ``items`` by the encoders of the dataset ``like`` into ``out``.

    Known items may be among them: by their rows a run tells that the encoder is its own. Raises
    UserError for a folder that is no prepared dataset, and for encoders that cannot be had.
    """
    folder = Path(options.data_path, options.like)
    manifest = read_manifest(folder)
    if manifest is None:
        raise UserError(f"{folder} is no prepared dataset, as it has no {MANIFEST}. Correct --like "
                        "or --data_path.")
    if not options.items or not options.out:
        raise UserError(f"--like={options.like} needs --items=FILE, the table of the new items, "
                        "and --out=FOLDER for their features.")
    out, features = Path(options.out), manifest.get("features", {})
    if not options.overwrite and out.is_dir() and os.listdir(out):
        raise UserError(f"{out} is not empty. Choose another --out, or write into it by "
                        "--overwrite.")
    encoded = _encoded(folder, features, options)
    made = manifest.get("options", {})
    text = options.text or manifest.get("text_columns") or made.get("text")
    table = read_item_table(
        options.items, item=options.items_key or options.item_column or made.get("items_key")
        or made.get("item_column"), text=text if "text" in encoded else [])
    for modality in encoded:
        if modality == "text":
            contents, encoder = table.texts, _text_encoder(folder, features, made, options)
        else:
            pictures = find_images(options.images, table.tokens)
            contents = [pictures.get(token) for token in table.tokens]
            encoder = image_encoder(options.image_encoder or made.get("image_encoder")
                                    or IMAGE_MODEL, options.device)
        _check_name(encoder, features[modality]["made_by"], folder, modality)
        report = encode_items(table.tokens, contents, encoder, out, modality, options.cache_dir,
                              options.batch_size, options.show_progress)
        tell_of_broken(report, modality)
        logger.info("%s: %s items by %s, as in %s; %s without", modality,
                    f"{len(table.tokens):,}", report.encoder, folder,
                    f"{len(report.missing) + len(report.broken):,}")
    return out


def _encoded(folder: Path, features: Mapping, options: Options) -> list[str]:
    """Return the modalities to encode; say which of the dataset's the new items will lack."""
    able = [modality for modality, about in features.items()
            if str(about["made_by"]).startswith(_ENCODERS.get(modality, ()))]
    if options.images and "image" not in able:
        raise UserError(f"--images has no effect: {folder} has no features of pictures that were "
                        "encoded. Leave it out.")
    encoded = [modality for modality in able if modality != "image" or options.images]
    for modality in features:
        if modality not in able:
            logger.warning("%s of %s are ready vectors of %s: make those of new items as these "
                           "were made, and write them as %s.npy and %s.tokens into %s", modality,
                           folder, features[modality]["made_by"], modality, modality, options.out)
        elif modality not in encoded:
            logger.warning("%s has image features, and without --images new items get none",
                           folder)
    if not encoded:
        raise UserError(f"There is nothing to encode: {folder} has the features "
                        f"{', '.join(features) or 'of no modality'}. Give --images for pictures; "
                        "ready vectors of new items are yours to make.")
    return encoded


def _text_encoder(folder: Path, features: Mapping, made: Mapping, options: Options) -> Encoder:
    if features["text"]["made_by"] != TfidfEncoder.name:
        named = options.text_encoder or made.get("text_encoder")
        return text_encoder(TEXT_MODEL if named in (None, "auto") else named, options.device)
    if options.text_encoder not in (None, "auto", "tfidf"):
        raise UserError(f"--text_encoder={options.text_encoder} is not what made the texts of "
                        f"{folder}, which is {TfidfEncoder.name}. Leave it out.")
    fit = fit_of(folder / "features", "text")
    if not fit.is_file():
        raise UserError(f"{fit} is missing: {folder} was prepared before it was kept, and TF-IDF "
                        "of other texts does not compare. Prepare the dataset again from the same "
                        "files with --overwrite.")
    return TfidfEncoder.load(fit)


def _check_name(encoder: Encoder, made_by: str, folder: Path, modality: str) -> None:
    if encoder.name != made_by:
        raise UserError(f"The {modality} features of {folder} were made by {made_by}, not by "
                        f"{encoder.name}. Name that model by --{modality}_encoder.")
