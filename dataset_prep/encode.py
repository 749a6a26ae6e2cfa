"""Contents of items into item features by an encoder: resumable, cached, bounded in memory."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import torch
from tqdm import tqdm

from recbole_ssr.cache import cache_folder, content_key
from recbole_ssr.data.feature_files import check_tokens, feature_paths
from recbole_ssr.data.feature_writer import FeatureWriter, write_missing
from recbole_ssr.dataset_prep.vector_cache import VectorCache, vector_key
from recbole_ssr.errors import UserError

logger = logging.getLogger("recbole_ssr")

# Texts of this many batches are sorted by length together, so that a batch needs little padding.
_WINDOW = 32
# Rows of the result written at a time.
_BLOCK = 4096


class Encoder(Protocol):
    """What turns contents into vectors.

    Attributes:
        name: for manifests, e.g. ``sentence-transformers all-MiniLM-L6-v2``.
        key: names everything that determines a vector beside its content: weights, library
            versions, preprocessing.
        dim: width of the vectors, known after the first batch at the latest.
    """

    name: str
    key: str
    dim: int | None

    def encode(self, batch: list) -> np.ndarray:
        """Return (b, dim) float32; raises BrokenContents if some cannot be encoded."""

    def digest(self, content) -> bytes:
        """Return a hash of one content; raises OSError for a file that cannot be read."""


class BrokenContents(Exception):
    """Some contents of a batch cannot be encoded: `reasons` maps their places in it to why."""

    def __init__(self, reasons: Mapping[int, str]):
        super().__init__(reasons)
        self.reasons = dict(reasons)


class EncodingReport(NamedTuple):
    """What became of the items.

    encoder: the encoder's name.  dim: width of the vectors.  encoded, from_cache: numbers of
    distinct contents.  missing: tokens of items without content.  broken: (token, reason) of items
    whose content cannot be encoded.
    """

    encoder: str
    dim: int
    encoded: int
    from_cache: int
    missing: list[str]
    broken: list[tuple[str, str]]


def text_digest(text: str) -> bytes:
    """Return the sha256 of a text; lone surrogates, which JSON can hold, are no error."""
    return hashlib.sha256(str(text).encode("utf-8", "surrogatepass")).digest()


def encode_items(
    tokens: Sequence[str], contents: Sequence, encoder: Encoder, folder: str | Path, modality: str,
    cache_dir: str | Path | None = None, batch_size: int = 64, show_progress: bool = True,
) -> EncodingReport:
    """Write ``<modality>.npy`` and ``.tokens`` into `folder`: a row per item that has a content.

    Args:
        tokens, contents: one per item; None and blank contents mean that the item has none.
        batch_size: contents that the encoder receives at a time. Texts are sorted by length within
            windows of 32 batches to save padding, so that a vector's last bits may depend on it.

    Rows are in the order of `tokens`. Equal contents are encoded once. Finished batches are kept in
    the cache folder: an interrupted run goes on where it was, and only changed contents are encoded
    again. Items left out, for want of a content or because theirs is broken, are listed in
    ``<modality>.missing``, if there are any. Memory is that of a window, a block of rows, and the
    tokens with the hashes of their contents.

    Raises UserError for tokens that repeat or do not match the contents, if no item can be encoded,
    and for a cache folder that cannot be written.
    """
    npy, names = feature_paths(folder, modality)
    tokens = [str(token) for token in tokens]
    check_tokens(tokens, len(contents), npy, names)
    if batch_size < 1:
        raise UserError(f"batch_size is {batch_size}. Use 1 or more.")
    keys, why = _keys(contents, encoder, tqdm(desc=f"{modality}: reading", total=len(tokens),
                                              disable=not show_progress, leave=False))
    first_of: dict[bytes, int] = {}
    for place, key in enumerate(keys):
        if key is not None:
            first_of.setdefault(key, place)
    cache_at = cache_folder(cache_dir) / "encodings" / content_key(encoder.key)
    try:
        with VectorCache(cache_at, first_of) as cache:
            todo = [place for key, place in first_of.items() if key not in cache]
            bar = tqdm(desc=f"{modality}: encoding", total=len(first_of), unit="item",
                       initial=len(first_of) - len(todo), disable=not show_progress)
            failed = _encode(todo, keys, contents, encoder, cache, batch_size, bar)
            why.update({place: failed[key] for place, key in enumerate(keys) if key in failed})
            _require_some(tokens, why, cache, modality)
            _write(folder, modality, tokens, keys, cache)
            dim = cache.dim
    except OSError as error:
        raise UserError(
            f"The {modality} features could not be written to {cache_at} or {folder} ({error}). "
            "Free space on the disk, or choose other folders with --cache_dir and --data_path; "
            "what is encoded already is kept."
        ) from error
    missing = [tokens[p] for p, key in enumerate(keys) if key is None and p not in why]
    broken = [(tokens[place], why[place]) for place in sorted(why)]
    left_out = {*missing, *(token for token, _ in broken)}
    write_missing(folder, modality, [token for token in tokens if token in left_out])
    return EncodingReport(encoder.name, dim, len(todo) - len(failed), len(first_of) - len(todo),
                          missing, broken)


def _keys(contents: Sequence, encoder: Encoder, bar: tqdm
          ) -> tuple[list[bytes | None], dict[int, str]]:
    """Return each content's key, None if blank, and why places cannot be read."""
    keys, why = [], {}
    with bar:
        for place, content in enumerate(contents):
            key = None
            if content is not None and str(content).strip():
                try:
                    key = vector_key(encoder.digest(content))
                except OSError as error:
                    why[place] = f"{content} cannot be read ({error.strerror or error})"
            keys.append(key)
            bar.update()
    return keys, why


def _encode(todo: list[int], keys: list, contents: Sequence, encoder: Encoder, cache: VectorCache,
            batch_size: int, bar: tqdm) -> dict[bytes, str]:
    """Encode the contents at the places `todo` into the cache; return why some keys failed."""
    failed: dict[bytes, str] = {}
    with bar:
        for batch in _batches(todo, contents, batch_size):
            rows, reasons = _encode_batch([contents[place] for place in batch], encoder)
            good = [keys[place] for i, place in enumerate(batch) if i not in reasons]
            failed.update({keys[batch[i]]: reason for i, reason in reasons.items()})
            if good:
                cache.add(good, rows)
            bar.update(len(batch))
    return failed


def _batches(todo: list[int], contents: Sequence, batch_size: int) -> Iterator[list[int]]:
    for start in range(0, len(todo), _WINDOW * batch_size):
        window = todo[start : start + _WINDOW * batch_size]
        window.sort(key=lambda place: _length(contents[place]))
        for first in range(0, len(window), batch_size):
            yield window[first : first + batch_size]


def _length(content) -> int:
    return len(content) if isinstance(content, str) else 0


def _encode_batch(batch: list, encoder: Encoder) -> tuple[np.ndarray, dict[int, str]]:
    """Return the vectors (n, dim) of the contents that can be encoded, and why others cannot."""
    reasons: dict[int, str] = {}
    good, rows = list(range(len(batch))), np.empty((0, 1), np.float32)
    while good:
        try:
            rows = np.asarray(encoder.encode([batch[i] for i in good]), dtype=np.float32)
            break
        except BrokenContents as error:
            reasons.update({good[i]: reason for i, reason in error.reasons.items()})
            good = [i for i in good if i not in reasons]
        except (MemoryError, torch.cuda.OutOfMemoryError) as error:
            raise UserError(
                f"{encoder.name} ran out of memory with {len(good)} items at a time. Lower "
                "--batch_size; what is encoded already is kept."
            ) from error
    if rows.ndim != 2 or len(rows) != len(good):
        raise UserError(f"{encoder.name} gave the shape {rows.shape} for {len(good)} items. An "
                        "encoder must give one vector per item: use another model.")
    finite = np.isfinite(rows).all(axis=1)
    reasons.update({good[i]: "the encoder gave a value that is not finite"
                    for i in np.flatnonzero(~finite)})
    return rows[finite], reasons


def _require_some(tokens: list, why: dict, cache: VectorCache, modality: str) -> None:
    if cache.dim is None:
        place = min(why, default=None)
        example = ("none has any content" if place is None else
                   f"for instance {tokens[place]!r}: {why[place]}")
        raise UserError(f"None of the {len(tokens):,} items has a usable {modality}: {example}. "
                        f"Correct the contents, or leave {modality} out.")


def _write(folder: str | Path, modality: str, tokens: list, keys: list, cache: VectorCache) -> None:
    present = [place for place, key in enumerate(keys) if key is not None and key in cache]
    with FeatureWriter(folder, modality, cache.dim) as out:
        for start in range(0, len(present), _BLOCK):
            block = present[start : start + _BLOCK]
            out.write([tokens[p] for p in block], cache.rows([keys[p] for p in block]))
