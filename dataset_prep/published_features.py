"""Item features in a folder that others published: one .npy per modality, one row per item id."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np

from recbole_ssr.data.feature_files import check_sizes, feature_paths
from recbole_ssr.errors import UserError

# image_feat.npy in MMRec, MMSSL and DiffMM; LATTICE's own preprocessing also writes the others.
_NAME = re.compile(r"(?P<modality>\w[\w.\-]*?)[_-]feat(s|ure|ures)?", re.IGNORECASE)
# Files of these names are features without the word.
_PLAIN = ("image", "visual", "text", "audio", "video", "acoustic")
# Features of users are called as those of items are.
_USERS = ("user", "users", "u")
# What else published features come in; a run without them would be another experiment.
_OTHER_FORMATS = (".pt", ".pth", ".npz", ".pkl", ".h5")


class FeatureSource(NamedTuple):
    """One modality: a file with a row per item, and the item token of each row."""

    path: Path
    tokens: list[str]

    def load(self) -> np.ndarray:
        """Map the (I, d) matrix in the floating type of its file; nothing is read before use.

        Raises UserError for a file that is no matrix of floating point numbers.
        """
        return _open(self.path)


class FoundFeatures(NamedTuple):
    """Features by modality, remarks for the log, and the files read."""

    features: dict[str, FeatureSource]
    notes: list[str]
    sources: list[Path]


def features_by_id(folder: Path, max_item: int) -> FoundFeatures:
    """Find ``<modality>_feat.npy`` and its spellings; row r belongs to item id r.

    Raises UserError for such a file that cannot be used: Python objects, another shape, fewer rows
    than item ids up to `max_item`.
    """
    features: dict[str, FeatureSource] = {}
    notes = []
    for path in sorted(folder.iterdir()):
        modality = _modality(path)
        if modality is None:
            if path.suffix.lower() == ".npy":
                notes.append(f"{path.name} is not read: item features are called "
                             "<modality>_feat.npy")
            continue
        if modality in _USERS:
            notes.append(f"{path.name} is not read: features of users")
            continue
        if path.suffix.lower() != ".npy":
            notes.append(f"{path.name} is not read: save its matrix as {modality}_feat.npy")
            continue
        if modality in features:
            raise UserError(f"{features[modality].path} and {path.name} are both of the modality "
                            f"{modality}. Keep one.")
        feature_paths(folder, modality)  # refuses a name that cannot be a modality's
        rows = len(_open(path))
        if rows <= max_item:
            raise UserError(f"{path} has {rows:,} rows, but item ids reach {max_item:,}: it needs "
                            f"{max_item + 1:,}, row r for item r. Is it of another dataset?")
        features[modality] = FeatureSource(path, [str(row) for row in range(rows)])
    return FoundFeatures(features, notes, [source.path for source in features.values()])


def features_by_token(folder: Path) -> FoundFeatures:
    """Find ``<modality>.npy`` with ``<modality>.tokens``, one item token a line; {} without folder.

    Raises UserError for a matrix without tokens, or with another number of them.
    """
    features = {}
    for path in sorted(folder.glob("*.[nN][pP][yY]")):
        matrix, names = _open(path), feature_paths(folder, path.stem)[1]
        try:
            text = names.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{names} cannot be read ({error}). Write the item token of each row "
                            f"of {path.name} there, one per line.") from error
        tokens = text.removesuffix("\n").split("\n") if text else []
        if len(tokens) != len(matrix):
            raise UserError(f"{names} has {len(tokens):,} tokens, but {path.name} has "
                            f"{len(matrix):,} rows. Write one token per row.")
        features[path.stem] = FeatureSource(path, [token.removesuffix("\r") for token in tokens])
    files = [file for source in features.values()
             for file in (source.path, source.path.with_suffix(".tokens"))]
    return FoundFeatures(features, [], files)


def _modality(path: Path) -> str | None:
    """Return the modality that the name of a feature file says, None for other files."""
    if path.suffix.lower() not in (".npy", *_OTHER_FORMATS) or path.name.startswith("."):
        return None
    match = _NAME.fullmatch(path.stem)
    if match:
        return match["modality"].lower()
    return path.stem.lower() if path.stem.lower() in _PLAIN else None


def _open(path: Path) -> np.ndarray:
    try:
        check_sizes(path)
        matrix = np.load(path, mmap_mode="r", allow_pickle=False)
    # numpy parses the header as Python: a damaged one raises whatever Python's own parser does.
    except Exception as error:
        reason = ("it holds Python objects, which could run code" if "allow_pickle" in str(error)
                  or "Python objects" in str(error) else error)
        raise UserError(f"{path} is not read ({reason}). Save the matrix again with numpy.save "
                        "from a floating point array, or download it again.") from error
    if not isinstance(matrix, np.ndarray) or matrix.ndim != 2 or matrix.shape[1] == 0 \
            or matrix.dtype.kind != "f" or matrix.dtype.itemsize > 8:
        about = (f"has the shape {matrix.shape} and type {matrix.dtype}"
                 if isinstance(matrix, np.ndarray) else "is an archive")
        raise UserError(f"{path} {about}. Item features are items x dimensions in float16, float32 "
                        "or float64.")
    return matrix
