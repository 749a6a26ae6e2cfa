"""The steps that all preparations share: k-core, split, encoders, and what the manifest says."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from recbole_ssr.data.feature_writer import FeatureWriter, write_missing
from recbole_ssr.dataset_prep.encode import EncodingReport, encode_items
from recbole_ssr.dataset_prep.interactions import Interactions
from recbole_ssr.dataset_prep.kcore import k_core, without_repeats
from recbole_ssr.dataset_prep.options import WITHOUT_EFFECT, Options
from recbole_ssr.dataset_prep.prepared import PARTS, Draft, split_hash_of
from recbole_ssr.dataset_prep.published import remarks
from recbole_ssr.dataset_prep.split_rules import TEST, VALID
from recbole_ssr.dataset_prep.splits import Split, label, read_split
from recbole_ssr.dataset_prep.tfidf import TfidfEncoder
from recbole_ssr.errors import UserError

logger = logging.getLogger("recbole_ssr")

# Rows of a ready matrix copied at a time.
_BLOCK = 4096


class Content(NamedTuple):
    """Raw content of items: texts or paths of pictures, None or blank where an item has none."""

    modality: str
    contents: list
    encoder: object


def filtered(interactions: Interactions, options: Options, draft: Draft) -> Interactions:
    """Drop low ratings, then repeated pairs, then take the k-core; say what went.

    Repeated pairs stay where the split is the one that the interactions bring; of those of a test
    part that it keeps, that one stays.
    """
    k = options.min_interactions or 0
    if k < 0:
        raise UserError(f"--min_interactions={k} must be 0, which keeps all, or more.")
    rated = _rated(interactions, options.min_rating)
    split = read_split(options.split or split_of(interactions))
    published = split.rule == "published"
    kept = rated if published else without_repeats(rated, _published_test(rated, split))
    for note in remarks(kept) if published else ():
        logger.info("%s", note)
    repeats = len(rated) - len(kept)
    kept = k_core(kept, k)
    draft.about["read"] = {"users": interactions.n_users, "items": interactions.n_items,
                           "interactions": len(interactions), "repeated_pairs": repeats}
    draft.about["min_interactions"] = k
    if options.min_rating is not None:
        draft.about["read"]["low_ratings"] = len(interactions) - len(rated)
    core = f" in the {k}-core" if k > 1 else ""
    logger.info("%s interactions read, %s repeated pairs dropped, %s left%s: %s users, %s items",
                f"{len(interactions):,}", f"{repeats:,}", f"{len(kept):,}", core,
                f"{kept.n_users:,}", f"{kept.n_items:,}")
    return kept


def _rated(interactions: Interactions, least: float | None) -> Interactions:
    """Return the interactions rated `least` or more; all for None."""
    if least is None:
        return interactions
    if interactions.ratings is None:
        raise UserError(f"--min_rating={least:g} needs ratings, and the interactions have none. "
                        "Name their column with --rating_column, or leave the flag out.")
    enough = interactions.ratings >= np.float32(least)
    if not enough.any():
        raise UserError(f"--min_rating={least:g} leaves none of {len(interactions):,} "
                        f"interactions: the highest rating is {interactions.ratings.max():g}. "
                        "Lower it.")
    logger.info("%s of %s interactions are rated %g or more, the others dropped",
                f"{int(enough.sum()):,}", f"{len(interactions):,}", least)
    return interactions.select(enough)


def compare_counts(interactions: Interactions, expected: dict | None, name: str) -> None:
    """Say aloud, for counts that the literature reports, whether these are they."""
    counts = {"users": interactions.n_users, "items": interactions.n_items,
             "interactions": len(interactions)}
    for key, count in (expected or {}).items():
        if key not in counts or type(count) is not int:
            raise UserError(f"--expected has {key}: {count!r}; it takes whole numbers of users, "
                            "items and interactions.")
    differing = [f"{counts[key]:,} {key} (expected {count:,})"
                 for key, count in (expected or {}).items() if counts[key] != count]
    if differing:
        logger.warning("%s differs from the counts that the literature reports: %s. Results on it "
                       "do not compare with published ones.", name, ", ".join(differing))
    elif expected:
        logger.info("%s has the counts that the literature reports", name)


def split_of(interactions: Interactions) -> str:
    """Return the split that is taken where none is asked for: the one that the data bring, if any.

    Where they bring training and testing alone, validation is drawn from training.
    """
    if interactions.labels is None:
        return "ratio"
    return "published" if (interactions.labels == VALID).any() else "published-test"


def split_into(draft: Draft, interactions: Interactions, options: Options,
               default: str) -> Interactions:
    """Label the interactions by the split asked for, write them, and record the split.

    Rows that repeat a user and item stay where the split is the published one. A drawn split would
    put them into two parts: the earliest is kept, or where the test part is published, that one.
    """
    split = read_split(options.split or default)
    if options.split_seed is not None:
        if split.seed is None:
            raise UserError(f"--split_seed={options.split_seed} has no effect: the split "
                            f"{split.title!r} draws nothing. Leave it out, or choose a --split "
                            "that draws, for instance ratio.")
        split = split.with_seed(options.split_seed)
    if split.rule != "published":
        interactions = _once(draft, interactions, split)
    interactions = interactions.with_labels(label(interactions, split))
    record_split(draft, interactions, split)
    return interactions


def _once(draft: Draft, interactions: Interactions, split: Split) -> Interactions:
    """Drop repeated pairs before a split is drawn; say what went."""
    kept = without_repeats(interactions, _published_test(interactions, split))
    repeats = len(interactions) - len(kept)
    if repeats:
        draft.about["read"] = {"users": interactions.n_users, "items": interactions.n_items,
                               "interactions": len(interactions), "repeated_pairs": repeats}
        logger.info("%s repeated pairs dropped, so that the split that is drawn puts none into two "
                    "parts", f"{repeats:,}")
    return kept


def _published_test(interactions: Interactions, split: Split) -> np.ndarray | None:
    """Return which interactions are of a test part that the split keeps, (n,) bool, if any."""
    if split.rule != "published-test" or interactions.labels is None:
        return None
    return interactions.labels == TEST


def record_split(draft: Draft, interactions: Interactions, split: Split) -> None:
    """Write the interactions and put the split's title, hash and counts into the manifest."""
    draft.add_interactions(interactions)
    digest = split_hash_of(interactions)
    draft.about["split"] = {"title": split.title, "rule": split.rule, "seed": split.seed,
                            "sha256": digest}
    counts = np.bincount(interactions.labels, minlength=len(PARTS))
    logger.info("split %s: %s; hash %s", split.title,
                ", ".join(f"{count:,} {part}" for part, count in zip(PARTS, counts)), digest[:12])


def encode_into(draft: Draft, tokens, content: Content, options: Options) -> None:
    """Encode one modality into the draft's features; nothing is written where no item has any."""
    if not any(entry is not None and str(entry).strip() for entry in content.contents):
        logger.warning("no item has a %s; the dataset is made without it", content.modality)
        return
    report = encode_items(
        list(tokens), content.contents, content.encoder, draft.features, content.modality,
        cache_dir=options.cache_dir, batch_size=options.batch_size,
        show_progress=options.show_progress,
    )
    tell_of_broken(report, content.modality)
    record_features(draft, content.modality, report.dim,
                    len(report.missing) + len(report.broken), report.encoder)
    if isinstance(content.encoder, TfidfEncoder):
        content.encoder.save(fit_of(draft.features, content.modality))


def tell_of_broken(report: EncodingReport, modality: str) -> None:
    """Warn of the first items whose content is broken, and where the others are listed."""
    for token, reason in report.broken[:5]:
        logger.warning("%s of item %s left out: %s", modality, token, reason)
    if len(report.broken) > 5:
        logger.warning("%s: %d more are broken and left out; %s.missing lists them",
                       modality, len(report.broken) - 5, modality)


def fit_of(features: Path, modality: str) -> Path:
    """Return the file, beside the features, of an encoder that was fitted to their texts."""
    return features / f"{modality}.tfidf.npz"


def record_features(draft: Draft, modality: str, dim: int, missing: int, made_by: str) -> None:
    """Put one modality into the manifest, and its counts into the log."""
    about = draft.about.setdefault("features", {})
    about[modality] = {"dim": dim, "missing": missing, "made_by": made_by}
    logger.info("%s: %d dimensions by %s; %s items without", modality, dim, made_by,
                f"{missing:,}")


def copy_matrix(draft: Draft, modality: str, matrix: np.ndarray, tokens: list[str],
                known: np.ndarray, source: Path) -> None:
    """Copy the rows of items in `known` (tokens) from a ready matrix (I, dim), in blocks.

    `source` is its file. Raises UserError where no row is of a known item, and for values that are
    no finite float32.
    """
    rows = np.flatnonzero(pd.Index(tokens).isin(known))
    if len(rows) == 0:
        raise UserError(f"The {modality} vectors have none of the dataset's items: they name "
                        f"{tokens[:3]}, the dataset {list(known[:3])}.")
    with FeatureWriter(draft.features, modality, matrix.shape[1], source) as out:
        for start in range(0, len(rows), _BLOCK):
            block = rows[start : start + _BLOCK]
            out.write([tokens[row] for row in block], np.asarray(matrix[block]))
    present = {tokens[row] for row in rows}
    missing = [token for token in known if token not in present]
    write_missing(draft.features, modality, missing)
    record_features(draft, modality, matrix.shape[1], len(missing), source.name)


def finish(draft: Draft, interactions: Interactions, options: Options) -> Path:
    """Write the settings of runs on the dataset, and move it to its place."""
    columns = ["user_id", "item_id"]
    columns += [name for name, values in (("rating", interactions.ratings),
                                          ("timestamp", interactions.timestamps))
                if values is not None]
    title = draft.about["split"]["title"]
    settings = {
        "split_column": ("x_label", "0 train, 1 valid, 2 test"),
        "split_name": (title, "what results call this split"),
        "load_col": ({"inter": [*columns, "x_label"]}, "columns that runs read"),
    }
    features = draft.about.get("features", {})
    if any(about["missing"] for about in features.values()):
        settings["feature_fill"] = ("mean", "for items without it; most models leave them out")
    record_options(draft, options)
    place = draft.finish(settings)
    logger.info("%s is ready in %s", options.name, place)
    return place


def record_options(draft: Draft, options: Options) -> None:
    """Put the options that shape the dataset into the manifest."""
    draft.about["options"] = {key: value for key, value in vars(options).items()
                              if key not in WITHOUT_EFFECT and value is not None}
