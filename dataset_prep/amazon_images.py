"""Image features of items from the files of Amazon, image_features_<Category>.b.

He and McAuley, WWW 2016: the second to last layer of a CaffeNet that was trained on ImageNet. A
file is a row of records without header: an id of 10 ASCII bytes, then float32, little-endian.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from recbole_ssr.data.feature_files import non_finite
from recbole_ssr.data.feature_writer import FeatureWriter, write_missing
from recbole_ssr.dataset_prep.lines import is_gzip, read_blocks, refuse_web_page
from recbole_ssr.errors import UserError

logger = logging.getLogger("recbole_ssr")

# Of the format: http://jmcauley.ucsd.edu/data/amazon/links.html
ID_BYTES = 10
DIM = 4096
# Far above the cost of a call, far below memory.
_BLOCK_BYTES = 8 * 2**20


def write_image_features(path: str | Path, folder: str | Path, item_tokens: Sequence[str],
                         modality: str = "image", dim: int = DIM) -> list[str]:
    """Write the vectors of `item_tokens` from a file of records; return the items without one.

    `folder` receives ``<modality>.npy`` and ``.tokens``, rows in the order of the file, and, where
    items are missing, ``<modality>.missing``, their tokens in the order of `item_tokens`. The file,
    plain or gzip, is read once in blocks; memory does not grow with it. Repeated records of an item
    count once.

    Raises UserError for what `read_blocks` refuses, a web page, a length that is no multiple of
    10 + 4 * dim bytes, ids that are not printable ASCII, values of these items that are not finite,
    repeated records of an item that differ, and a file that has none of the items.
    """
    record = np.dtype([("id", f"S{ID_BYTES}"), ("vector", "<f4", (dim,))])
    _refuse_other_files(path, record.itemsize)
    keys = np.unique(np.array([token.encode() for token in item_tokens if _may_be_id(token)],
                              dtype=f"S{ID_BYTES}"))
    first_ids: list[bytes] = []
    digests: dict[str, bytes] = {}
    with FeatureWriter(folder, modality, dim) as out:
        for start, records in _record_blocks(path, record):
            first_ids = first_ids or records["id"][:3].tolist()
            rows = np.flatnonzero(_is_member(records["id"], keys))
            tokens = [key.decode() for key in records["id"][rows].tolist()]
            vectors = records["vector"][rows]
            _check_finite(path, start + rows, tokens, vectors)
            new = _first_rows(path, start + rows, tokens, vectors, digests)
            out.write([tokens[row] for row in new], vectors[new])
        if not digests:
            raise UserError(
                f"{path} has none of the {len(item_tokens):,} items: it has "
                f"{[key.decode() for key in first_ids]}, the dataset {list(item_tokens[:3])}. "
                "Is it the file of another category?"
            )
    missing = [token for token in item_tokens if token not in digests]
    write_missing(folder, modality, missing)
    logger.info("%s: vectors of %s of %s items", path, f"{len(item_tokens) - len(missing):,}",
                f"{len(item_tokens):,}")
    return missing


def _may_be_id(token: str) -> bool:
    return len(token) == ID_BYTES and token.isascii() and token.isprintable()


def _is_member(ids: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """Return a mask of the ids (n,) that are among the sorted keys."""
    if len(keys) == 0:
        return np.zeros(len(ids), dtype=bool)
    return keys[np.minimum(np.searchsorted(keys, ids), len(keys) - 1)] == ids


def _refuse_other_files(path: str | Path, size: int) -> None:
    """Raise UserError early for files that are web pages, empty or, unless packed, cut off."""
    start = next(read_blocks(path, 100), b"")
    refuse_web_page(path, start.decode("latin-1"))
    if not start or not is_gzip(path):
        _check_length(path, os.path.getsize(path) if start else 0, size)


def _record_blocks(path: str | Path, record: np.dtype) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (number of the first record from 0, records)."""
    start, size = 0, record.itemsize
    for block in read_blocks(path, max(1, _BLOCK_BYTES // size) * size):
        # Only the last block can be shorter; a file that is packed tells its length only then.
        _check_length(path, start * size + len(block), size)
        records = np.frombuffer(block, dtype=record)
        _check_ids(path, start, np.frombuffer(block, np.uint8).reshape(-1, size)[:, :ID_BYTES])
        yield start, records
        start += len(records)


def _check_length(path: str | Path, length: int, size: int) -> None:
    if length == 0:
        raise UserError(f"{path} is empty. Delete the file and download it again.")
    if length % size:
        whole = length // size
        raise UserError(
            f"{path} has {length:,} bytes, which are {whole:,} records of {size:,} bytes and "
            f"{length % size:,} more from byte {whole * size:,} on. The file is cut off, or of "
            "another format: delete it and download it again."
        )


def _check_ids(path: str | Path, start: int, ids: np.ndarray) -> None:
    """Raise UserError unless the bytes (n, 10) are printable ASCII."""
    wrong = ((ids < 0x20) | (ids > 0x7E)).any(axis=1)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise UserError(
            f"{path}: the id of record {start + row:,} (from 0) is {ids[row].tobytes()!r}, not "
            "printable ASCII. The file is damaged or of another format: download it again."
        )


def _check_finite(path: str | Path, numbers: np.ndarray, tokens: list[str],
                  vectors: np.ndarray) -> None:
    place = non_finite(vectors)
    if place is not None:
        row, column = place
        raise UserError(
            f"{path}: record {numbers[row]:,} (from 0), item {tokens[row]!r}, has "
            f"{vectors[row, column]} in column {column}, which is not finite. The file is damaged: "
            "download it again."
        )


def _first_rows(path: str | Path, numbers: np.ndarray, tokens: list[str], vectors: np.ndarray,
                digests: dict[str, bytes]) -> list[int]:
    """Return the rows of items that `digests` did not have, and put theirs into it."""
    rows = []
    for row, token in enumerate(tokens):
        digest = hashlib.blake2b(vectors[row], digest_size=16).digest()
        if token not in digests:
            digests[token] = digest
            rows.append(row)
        elif digests[token] != digest:
            raise UserError(
                f"{path}: record {numbers[row]:,} (from 0) gives item {token!r} another vector "
                "than a record before. Which one is right cannot be told: download the file again."
            )
    return rows
