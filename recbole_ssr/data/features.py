"""Item features on disk, and their alignment to the items of a dataset.

One modality is two files: ``<modality>.npy``, a matrix with one row per item, and
``<modality>.tokens``, whose line r names the item of row r. Items are matched by token, so neither
the order of the rows nor items unknown to the dataset matter.
"""

import hashlib
import json
import logging
import os
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from recbole_ssr.corruption import CLEAN, Corruption
from recbole_ssr.data.feature_files import (
    check_finite,
    check_shape,
    check_tokens,
    digest_of,
    feature_paths,
    open_matrix,
    read_tokens,
    row_blocks,
    zero_rows,
)
from recbole_ssr.data.same_encoder import check_same_encoder
from recbole_ssr.errors import UserError, nearest

FILLS = ("zero", "mean", "error")
SCALINGS = ("none", "l2", "standardise")

logger = logging.getLogger("recbole_ssr")


def write_features(
    folder: str | Path, modality: str, matrix: np.ndarray, tokens: Sequence[str]
) -> None:
    """Write `matrix` (n_rows, dim), floating point, with the item token of each row.

    Raises UserError for whatever `load_item_features` would refuse to read back.
    """
    npy, names = feature_paths(folder, modality)
    matrix, tokens = np.asarray(matrix), [str(token) for token in tokens]
    check_shape(matrix, npy)
    check_tokens(tokens, len(matrix), npy, names)
    check_finite(matrix, tokens, npy)
    npy.parent.mkdir(parents=True, exist_ok=True)
    unique = uuid.uuid4().hex
    new_npy, new_names = (path.with_name(f".{path.name}.{unique}") for path in (npy, names))
    try:
        with open(new_npy, "wb") as file:
            np.save(file, np.ascontiguousarray(matrix))
        new_names.write_bytes("".join(f"{token}\n" for token in tokens).encode("utf-8"))
        # An interruption between the two moves must leave an error, never a new matrix
        # beside the old tokens.
        names.unlink(missing_ok=True)
        os.replace(new_npy, npy)
        os.replace(new_names, names)
    finally:
        new_npy.unlink(missing_ok=True)
        new_names.unlink(missing_ok=True)


def list_modalities(folder: str | Path) -> tuple[str, ...]:
    """Return the sorted names of the modalities in `folder`.

    Raises UserError if there is none, and for files that are nearly a modality: a matrix whose
    suffix is not .npy in small letters, and tokens without a matrix.
    """
    remedy = ("Write <modality>.npy and <modality>.tokens there, set feature_path, or choose a "
              "model without features, such as LightGCN.")
    if not Path(folder).is_dir():
        raise UserError(f"The feature folder {folder} does not exist. {remedy}")
    files = sorted(path.name for path in Path(folder).iterdir() if not path.name.startswith("."))
    modalities = tuple(name.removesuffix(".npy") for name in files if name.endswith(".npy"))
    for name in files:
        stem, suffix = os.path.splitext(name)
        if suffix.lower() == ".npy" and suffix != ".npy":
            raise UserError(f"{Path(folder, name)} is read under the name {stem}.npy only. Rename "
                            "it, or take it out of the folder.")
        if suffix == ".tokens" and stem not in modalities:
            raise UserError(f"{Path(folder, name)} has no {stem}.npy beside it. Bring the matrix, "
                            "or take the tokens out of the folder.")
    if not modalities:
        raise UserError(f"The feature folder {folder} holds no .npy file. {remedy}")
    return modalities


def load_item_features(
    folder: str | Path,
    item_tokens: Sequence[str],
    modalities: str | Sequence[str] | None = None,
    fill: str = "zero",
    scaling: str = "l2",
    corruption: Corruption = CLEAN,
) -> "ItemFeatures":
    """Validate the files of `folder` and align them to `item_tokens` (n_items, [PAD] first).

    `modalities` None loads every one. UserError names the file, row and remedy of what is wrong.
    """
    for key, value, known in ("feature_fill", fill, FILLS), ("feature_scaling", scaling, SCALINGS):
        if value not in known:
            raise UserError(f"{key} is {value!r}. Use {', '.join(known)}.{nearest(value, known)}")
    available = list_modalities(folder)
    if modalities is None:
        modalities = available
    names = tuple(dict.fromkeys([modalities] if isinstance(modalities, str) else modalities))
    if not names:
        raise UserError(
            f"modalities is empty. Name at least one of {', '.join(available)}, or set it to null."
        )
    items = [str(token) for token in item_tokens]
    corruption.check(names)
    sources = [_load_source(folder, m, available, items, fill) for m in names]
    return ItemFeatures(sources, items, fill, scaling, corruption)


class ItemFeatures:
    """Feature matrices of the items of one dataset, in the order of its item ids.

    A pickle holds paths, hashes, tokens and row maps; matrices are read again from unchanged files.

    Attributes:
        corruption: what was done to the features on purpose.
        fitted: the features that a model was trained on, itself in training: whatever a model
            computes from all items once (means, directions) is theirs at inference, too.
        n_known: how many of the items, padding included, the fitted features have; those behind
            are new items, which are nobody's neighbours.
    """

    def __init__(self, sources: "Sequence[_Source]", tokens: Sequence[str], fill: str,
                 scaling: str, corruption: Corruption = CLEAN,
                 fitted: "ItemFeatures | None" = None):
        self._sources = {source.modality: source for source in sources}
        self._tokens = np.asarray(tokens)
        self.fill, self.scaling, self.corruption = fill, scaling, corruption
        self.fitted = fitted or self
        self.n_known = len(self.fitted._tokens)
        self._here = {name: self._kept(source) for name, source in self._sources.items()}
        self._announce()

    def corrupted(self, corruption: Corruption) -> "ItemFeatures":
        """Return the features of a model that is trained on these and then meets others.

        Nothing is corrupted twice: `corruption` starts from the files. Raises UserError where it
        names a modality that is not loaded, or takes features that feature_fill cannot replace.
        """
        corruption.check(self.modalities)
        return ItemFeatures(tuple(self._sources.values()), self._tokens, self.fill, self.scaling,
                            corruption, self.fitted)

    def with_new_items(self, folder: str | Path, tokens: Sequence[str]) -> "ItemFeatures":
        """Return these features with those of new items behind, as the trained model sees them.

        `folder` has the files of all modalities or some; the items lack the others, which is said.
        Raises UserError for a file that cannot be used, for another width than in training, and for
        another encoder, which the items tell that both have.
        """
        available = list_modalities(folder)
        unknown = [name for name in available if name not in self._sources]
        if len(unknown) == len(available):
            raise UserError(f"{folder} has features {', '.join(available)}, but the model was "
                            f"trained on {', '.join(self._sources)}. Name the files after these.")
        there = {name for name in available if _has_some(folder, name, tokens)}
        sources = [_with_new_rows(source, folder if name in there else None, self._tokens, tokens)
                   for name, source in self._sources.items()]
        for source in sources:
            lacking = int((source.rows[len(self._tokens):] < 0).sum())
            if lacking:
                logger.warning("%s of %s new items have no %s features: they are ranked by what "
                               "they have", f"{lacking:,}", f"{len(tokens):,}", source.modality)
        return ItemFeatures(sources, [*self._tokens, *tokens], self.fill, self.scaling,
                            self.corruption, self.fitted)

    @property
    def modalities(self) -> tuple[str, ...]:
        """Names of the modalities, in the order asked for."""
        return tuple(self._sources)

    @cached_property
    def fingerprint(self) -> str:
        """sha256 (hex) of all that determines the matrices: names, files, row maps, policies."""
        parts = [
            [s.modality, s.digest, hashlib.sha256(s.rows.astype("<i8").tobytes()).hexdigest()]
            for s in self._sources.values()
        ]
        content = [parts, self.fill, self.scaling]
        changes = [features.corruption.facts() for features in (self, self.fitted)]
        # Features as the files have them keep the hash that they had before there were others.
        text = json.dumps(content + changes if any(changes) else content)
        return hashlib.sha256(text.encode("utf-8")).hexdigest()

    def dim(self, modality: str) -> int:
        """Return the width of a modality's matrix."""
        return self._source(modality).dim

    def has_feature(self, modality: str) -> torch.Tensor:
        """Return a bool mask (n_items,): False for [PAD] and for items without features."""
        self._source(modality)
        return torch.from_numpy(self._here[modality].copy())

    def coverage(self, modality: str) -> float:
        """Return the share of the items ([PAD] aside) that have features, in [0, 1]."""
        self._source(modality)
        return float(self._here[modality][1:].mean())

    def stored_rows(self, modality: str) -> int:
        """Return how many rows of a modality's file belong to items of the dataset."""
        return self._source(modality).stored

    def matrix(self, modality: str) -> torch.Tensor:
        """Build the float32 matrix (n_items, dim), scaled and filled; row 0 is zero.

        Every call reads the file: keep the result. UserError if a file changed since it was hashed.
        """
        source = self._source(modality)
        here, fitted = self._here[modality], self.fitted._here[modality]
        fitted = np.pad(fitted, (0, len(here) - len(fitted)))  # new items were not trained on
        # Columns are scaled as in training; by the rows at hand where training had none.
        basis = fitted if fitted.any() else here
        out = self._scaled(source, here | basis, basis)
        present, missing = np.flatnonzero(here), np.flatnonzero(~here)
        out[missing] = 0
        for block in row_blocks(len(present), source.dim):
            rows = present[block]
            out[rows] = self.corruption.disturbed(modality, self._tokens[rows], out[rows])
        # The mean of standardised columns is zero already.
        if self.fill == "mean" and self.scaling != "standardise" and len(present):
            # Rows without features are zero up to here, so that the sum is that of present rows.
            out[missing[missing > 0]] = out.sum(axis=0, dtype=np.float64) / len(present)
        return torch.from_numpy(out)

    def blocks(self, modality: str) -> Iterator[torch.Tensor]:
        """Yield the rows of :meth:`matrix`, some at a time.

        Where every row stands for itself the file is read along with them, and the matrix never
        is in memory; columns that are standardised, and missing rows that are means, need it whole.
        """
        source, here = self._source(modality), self._here[modality]
        whole = self.scaling == "standardise" or self.fill == "mean"
        rows_of, stored = (self.matrix(modality), None) if whole else (None, source.open())
        for block in row_blocks(len(here), source.dim):
            if whole:
                yield rows_of[block]
                continue
            out = np.zeros((len(here[block]), source.dim), dtype=np.float32)
            present = np.flatnonzero(here[block])
            out[present] = stored[source.rows[block][present]]
            if self.scaling == "l2":
                _scale_to_unit_rows(out)
            out[present] = self.corruption.disturbed(
                modality, self._tokens[block][present], out[present])
            yield torch.from_numpy(out)

    def _scaled(self, source: "_Source", wanted: np.ndarray, basis: np.ndarray) -> np.ndarray:
        """Return the scaled rows of the items `wanted` and zeros; columns scaled by `basis`.

        Shapes: wanted, basis (n_items,) bool, basis among the wanted; result (n_items, dim).
        """
        stored, rows = source.open(), np.flatnonzero(wanted)
        out = np.zeros((len(source.rows), source.dim), dtype=np.float32)
        for block in row_blocks(len(rows), source.dim):
            out[rows[block]] = stored[source.rows[rows[block]]]
        if self.scaling == "l2":
            _scale_to_unit_rows(out)
        elif self.scaling == "standardise" and len(rows):
            _standardise_columns(out, rows, np.flatnonzero(basis))
        return out

    def _announce(self) -> None:
        for name in self.corruption.modalities:
            had, has = int((self._sources[name].rows >= 0).sum()), int(self._here[name].sum())
            logger.info("features %s, corrupted on purpose: noise %g, removed from %s of %s items",
                        name, self.corruption.noise.get(name, 0), f"{had - has:,}", f"{had:,}")

    def _kept(self, source: "_Source") -> np.ndarray:
        """Return which items have features once the corruption has taken its share, (n_items,)."""
        here = source.rows >= 0
        items = np.flatnonzero(here)
        # A share is that of the items of the run: new ones change nothing and keep what they have.
        items = items[items < self.n_known]
        removed = self.corruption.removed(source.modality, self._tokens[items])
        if removed.any() and self.fill == "error":
            raise UserError(
                f"feature_fill is 'error', but {int(removed.sum()):,} items lose their "
                f"{source.modality} features on purpose. Set feature_fill to zero or mean."
            )
        here[items[removed]] = False
        return here & (source.modality not in self.corruption.dropped)

    def _source(self, modality: str) -> "_Source":
        if modality not in self._sources:
            raise UserError(
                f"No modality {modality!r} is loaded, only {', '.join(self._sources)}."
                f"{nearest(modality, self._sources)} Add it to modalities."
            )
        return self._sources[modality]


@dataclass
class _Source:
    """The files of one modality and the row of each item (-1: none, or one of zeros).

    Attributes:
        stored: how many rows of the file are an item's, those of zeros among them.
    """

    folder: str
    modality: str
    dim: int
    digest: str
    rows: np.ndarray
    stored: int

    def open(self) -> np.ndarray:
        """Return the mapped matrix (n_rows, dim) after a check that the files are those hashed."""
        npy, names = feature_paths(self.folder, self.modality)
        if digest_of(npy, names) != self.digest:
            raise UserError(
                f"{npy} or {names.name} changed since the dataset was built: its rows may belong "
                "to other items. Build the dataset again, or restore the files."
            )
        return open_matrix(npy)


@dataclass
class _SourceOfNew(_Source):
    """The files of known items, and those of new ones, whose rows are counted on."""

    new: _Source

    def open(self) -> np.ndarray:
        return np.concatenate([super().open(), self.new.open()])


def _has_some(folder: str | Path, modality: str, tokens: Sequence[str]) -> bool:
    """Tell whether a file is of any of the items; without .tokens True, and loading it says so."""
    names = feature_paths(folder, modality)[1]
    return not names.is_file() or not set(tokens).isdisjoint(read_tokens(names))


def _with_new_rows(source: _Source, folder: str | Path | None, known: Sequence[str],
                   tokens: Sequence[str]) -> _Source:
    """Return a source for the items `known` and new ones, who lack it where there is no folder."""
    absent = np.full(len(tokens), -1)
    if folder is None:
        return replace(source, rows=np.concatenate([source.rows, absent]))
    new = _load_source(folder, source.modality, (source.modality,), ["", *tokens], "zero")
    if new.dim != source.dim:
        raise UserError(f"{new.folder}/{source.modality}.npy has {new.dim} columns, but the model "
                        f"was trained on {source.dim}. Encode the new items as the others were.")
    matrix = source.open()
    stored = len(matrix)
    npy, names = feature_paths(folder, source.modality)
    row_of = {token: row for row, token in enumerate(read_tokens(names))}
    both = [item for item, token in enumerate(known) if source.rows[item] >= 0 and token in row_of]
    check_same_encoder(matrix, source.rows[both], new.open(),
                       [row_of[known[item]] for item in both], npy)
    rows = np.where(new.rows[1:] >= 0, new.rows[1:] + stored, -1)
    return _SourceOfNew(source.folder, source.modality, source.dim, source.digest,
                        np.concatenate([source.rows, rows]), source.stored + new.stored, new)


def _load_source(folder, modality: str, available: tuple, items: list[str], fill: str) -> _Source:
    npy, names = feature_paths(folder, modality)
    if modality not in available:
        raise UserError(
            f"modalities names {modality!r}, but {npy} does not exist; the folder holds "
            f"{', '.join(available)}.{nearest(modality, available)} Correct modalities or add the "
            "file."
        )
    if not names.is_file():
        raise UserError(
            f"{names} is missing, so the rows of {npy.name} belong to no item. Write the item "
            "token of each row there, one per line."
        )
    digest = digest_of(npy, names)
    stored = open_matrix(npy)
    tokens = read_tokens(names)
    check_shape(stored, npy)
    check_tokens(tokens, len(stored), npy, names)
    check_finite(stored, tokens, npy)

    row_of = {token: row for row, token in enumerate(tokens)}
    rows = np.array([-1] + [row_of.get(token, -1) for token in items[1:]], dtype=np.int64)
    _check_overlap(rows, items, tokens, names)
    has_row = rows >= 0
    # Files without the picture of an item often have zeros instead, which have no direction: its
    # cosines are 0 with all others, so that its neighbours would be any items.
    rows[has_row & zero_rows(stored)[rows]] = -1
    n_stored, total, present = int(has_row.sum()), len(rows) - 1, int((rows >= 0).sum())
    _check_missing(rows, items, names, fill)
    zeros = f" ({n_stored - present:,} whose row is all zeros)" if n_stored > present else ""
    logger.info(
        f"features {modality}: {present:,} of {total:,} items ({100 * present / total:.1f} %), "
        f"{total - present:,} filled with {fill}{zeros}, {len(tokens) - n_stored:,} rows of the "
        "file unused"
    )
    return _Source(os.path.abspath(folder), modality, stored.shape[1], digest, rows, n_stored)


def _check_overlap(rows: np.ndarray, items, tokens, names: Path) -> None:
    if (rows < 0).all():
        raise UserError(
            f"{names}: none of its {len(tokens):,} tokens is an item of the dataset. The file has "
            f"{tokens[:3]}, the dataset {items[1:4]}. Write the tokens as in the .inter file."
        )


def _check_missing(rows: np.ndarray, items, names: Path, fill: str) -> None:
    missing = np.flatnonzero(rows[1:] < 0) + 1
    if len(missing) == len(rows) - 1:
        raise UserError(f"{names.with_suffix('.npy')}: the rows of all items are zeros, which say "
                        "nothing. Correct the file, or go without it.")
    if fill == "error" and len(missing):
        raise UserError(
            f"{names}: {len(missing):,} of the dataset's {len(rows) - 1:,} items have no row, or "
            f"one of zeros, for instance {[items[i] for i in missing[:3]]}. Add their rows, or set "
            "feature_fill to zero or mean."
        )


def _scale_to_unit_rows(out: np.ndarray) -> None:
    for block in row_blocks(*out.shape):
        # Squares of float32 values overflow float32.
        rows = out[block].astype(np.float64)
        norms = np.linalg.norm(rows, axis=1, keepdims=True)
        out[block] = rows / np.where(norms > 0, norms, 1)


def _standardise_columns(out: np.ndarray, rows: np.ndarray, basis: np.ndarray) -> None:
    """Scale the columns of some rows by mean and deviation of the rows `basis`."""
    for columns in row_blocks(out.shape[1], len(out)):
        known = out[basis, columns].astype(np.float64)
        # Tested exactly: rounding would blow a constant column up to noise of unit size.
        constant = (known == known[0]).all(axis=0)
        centre = known.mean(axis=0)
        scale = np.where(constant, 1, (known - centre).std(axis=0))
        values = out[rows, columns].astype(np.float64) - centre
        values[:, constant] = 0
        out[rows, columns] = values / scale
