"""Folders that others published, ready with a split: which layout it is, and what it holds."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import NamedTuple

import numpy as np

from recbole_ssr.dataset_prep import item_lists, json_splits, matrices
from recbole_ssr.dataset_prep.interactions import Interactions
from recbole_ssr.dataset_prep.mmrec import header_of, read_inter
from recbole_ssr.dataset_prep.published_features import (
    FeatureSource,
    FoundFeatures,
    features_by_id,
    features_by_token,
)
from recbole_ssr.distinct import distinct
from recbole_ssr.errors import UserError, nearest

logger = logging.getLogger("recbole_ssr")

LAYOUTS = {
    "mmrec": "one .inter file with userID, itemID, x_label, and <modality>_feat.npy",
    "json": "train.json, val.json, test.json, and <modality>_feat.npy",
    "pickle": "trnMat.pkl, valMat.pkl, tstMat.pkl, and <modality>_feat.npy",
    "lightgcn": "train.txt and test.txt, a line with a user and his items per user, and "
                "<modality>_feat.npy",
    "recbole": "one .inter file with user_id:token, item_id:token, and "
               "features/<modality>.npy with .tokens",
}
_PARTS_OF = {"json": json_splits.FILES, "pickle": matrices.FILES, "lightgcn": item_lists.FILES}
# Many publish training and testing alone.
_VALID = 1
# Names of a folder's content that a message lists.
_LISTED = 12


class Published(NamedTuple):
    """A published folder.

    Attributes:
        interactions: in the order of the files; labels are the published ones, without a 1 where
            there is no validation part, None where an .inter file has none. Tokens are the
            published ids.
        features: by modality; rows of items without interactions are among them.
        kind: the layout.  notes: remarks for the log.  sources: all files read.
    """

    interactions: Interactions
    features: dict[str, FeatureSource]
    kind: str
    notes: list[str]
    sources: list[Path]


def read_published(path: str | Path, kind: str | None = None,
                   needs_label: bool = True) -> Published:
    """Read a folder of the layout `kind`, or of the one that it has; nothing is dropped or moved.

    Raises UserError for a folder of no or of several layouts, missing parts, and damaged files; and
    where `needs_label`, for one of the kind mmrec without labels.
    """
    folder = Path(path)
    try:
        names = sorted(entry.name for entry in folder.iterdir())
    except OSError as error:
        raise UserError(f"{folder} is no folder that can be read ({error}). Name the folder with "
                        "the published files.") from error
    notes, n_items = [], None
    if kind is None:
        kind = _detected(folder, names)
        notes.append(f"{folder} is of the layout {kind}: {LAYOUTS[kind]}")
    elif kind not in LAYOUTS:
        raise UserError(f"There is no layout {kind!r}, only {', '.join(LAYOUTS)}."
                        f"{nearest(kind, LAYOUTS)}")
    if kind in _PARTS_OF:
        files = _part_files(folder, kind)
        if kind == "json":
            interactions = json_splits.read_json(files)
        elif kind == "lightgcn":
            interactions = item_lists.read_lists(files)
        else:
            interactions, n_items, more = matrices.read_matrices(files)
            notes += more
    else:
        files = (_inter_file(folder, kind),)
        by_id = kind == "mmrec"
        interactions = read_inter(files[0], by_id, needs_label=needs_label and by_id)
    features = _features(folder, kind, interactions)
    if n_items is not None:
        _compare_rows(features, n_items)
    notes += features.notes + _rows_unused(features, interactions)
    if not features.features:
        notes.append(f"{folder} has no item features")
    sources = [file for file in files if file is not None]
    return Published(interactions, features.features, kind, notes, [*sources, *features.sources])


def remarks(interactions: Interactions) -> list[str]:
    """Say what is unusual in a split: repeats, parts that share pairs, and who is never trained."""
    notes = []
    pairs = interactions.pairs()
    repeats = len(pairs) - len(distinct(pairs))
    labels = interactions.labels
    if labels is None:
        return [f"{repeats:,} interactions repeat another's user and item"] if repeats else []
    parts = [distinct(pairs[labels == part]) for part in range(3)]
    within = len(pairs) - sum(map(len, parts))
    if within:
        notes.append(f"{within:,} interactions repeat one of the same part; a published split "
                     "keeps them")
    if repeats > within:
        notes.append(f"{repeats - within:,} interactions are in two parts; a published split keeps "
                     "them")
    for name, codes in (("users", interactions.users), ("items", interactions.items)):
        trained = np.zeros(codes.max(initial=-1) + 1, dtype=bool)
        trained[codes[labels == 0]] = True
        untrained = [len(distinct(codes[(labels == part) & ~trained[codes]])) for part in (1, 2)]
        if sum(untrained):
            notes.append(f"{name} without a training interaction: {untrained[0]:,} in valid, "
                         f"{untrained[1]:,} in test, {int((~trained).sum()):,} in all")
    return notes


def _detected(folder: Path, names: list[str]) -> str:
    """Tell the layout from the names of the folder's content and the header of its .inter file."""
    kinds = [kind for kind, parts in _PARTS_OF.items()
             if any(name in names for part in parts for name in part)]
    inter = sorted(folder.glob("*.inter"))
    if inter:
        typed = any(":" in name for name in header_of(inter[0]))
        by_id = any(folder.glob("*_feat*.npy"))
        kinds.append("recbole" if any(folder.glob("features/*.npy")) or (typed and not by_id)
                     else "mmrec")
    if len(kinds) == 1:
        return kinds[0]
    problem = f"could be of {' and '.join(kinds)}" if kinds else "has none of the known layouts"
    remedy = "Say which with --from." if kinds else "Name another folder, or rename its files."
    listed = ", ".join(names[:_LISTED]) or "nothing"
    more = f" and {len(names) - _LISTED:,} more" if len(names) > _LISTED else ""
    known = "; ".join(f"{kind}: {text}" for kind, text in LAYOUTS.items())
    raise UserError(f"{folder} {problem}. It holds {listed}{more}. Layouts are {known}. {remedy}")


def _part_files(folder: Path, kind: str) -> tuple[Path | None, ...]:
    """Return the files of train, valid (None: there is none) and test.

    Raises UserError if one is missing or there twice.
    """
    files: list[Path | None] = []
    for part, names in enumerate(_PARTS_OF[kind]):
        present = [folder / name for name in names if (folder / name).is_file()]
        if part == _VALID and not present:
            present = [None]
        if len(present) != 1:
            problem = "are both there; keep one" if present else "is missing"
            raise UserError(f"{folder}: {' and '.join(names) if present else ' or '.join(names)} "
                            f"{problem}. The layout {kind} has {LAYOUTS[kind]}.")
        files += present
    return tuple(files)


def _inter_file(folder: Path, kind: str) -> Path:
    present = sorted(folder.glob("*.inter"))
    if len(present) != 1:
        names = ", ".join(path.name for path in present) or "no .inter file"
        raise UserError(f"{folder} has {names}, where the layout {kind} has {LAYOUTS[kind]}. Keep "
                        "one .inter file in the folder.")
    return present[0]


def _features(folder: Path, kind: str, interactions: Interactions) -> FoundFeatures:
    if kind == "recbole":
        return features_by_token(folder / "features")
    return features_by_id(folder, int(interactions.item_tokens.astype(np.int64).max(initial=-1)))


def _compare_rows(features: FoundFeatures, n_items: int) -> None:
    """Warn of features with another number of rows than the matrices have columns."""
    for name, source in features.features.items():
        if len(source.tokens) != n_items:
            logger.warning("%s has %s rows, but the matrices have a column for %s items: row r is "
                           "taken for item r. Check that %s is of these items.", source.path.name,
                           f"{len(source.tokens):,}", f"{n_items:,}", name)


def _rows_unused(features: FoundFeatures, interactions: Interactions) -> list[str]:
    known = set(interactions.item_tokens)
    counts = {name: sum(token not in known for token in source.tokens)
              for name, source in features.features.items()}
    return [f"{name}: {count:,} rows are of items without interactions"
            for name, count in counts.items() if count]
