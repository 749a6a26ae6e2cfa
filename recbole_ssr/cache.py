"""Files keyed by the hash of everything that went into them."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from recbole_ssr.errors import UserError
from recbole_ssr.files import ABANDONED_SECONDS, expanded, in_one_step, sweep

logger = logging.getLogger("recbole_ssr")

_DIGEST_BYTES = hashlib.sha256().digest_size
_BLOCK = 1 << 20


def cache_folder(cache_dir: str | Path | None = None) -> Path:
    """Return `cache_dir`, or else the user's: $RECBOLE_SSR_CACHE, $XDG_CACHE_HOME, ~/.cache."""
    if cache_dir:
        return expanded(cache_dir)
    if os.environ.get("RECBOLE_SSR_CACHE"):
        return expanded(os.environ["RECBOLE_SSR_CACHE"])
    return expanded(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "recbole_ssr"


class InBlocks(NamedTuple):
    """An array that is given some rows at a time; its key is that of the whole."""

    dtype: str
    shape: tuple[int, ...]
    blocks: Iterable[np.ndarray]


def content_key(*parts) -> str:
    """Hash strings, numbers and arrays (dtype, shape and bytes) into 24 hex digits."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, (np.ndarray, InBlocks)):
            digest.update(f"{part.dtype}{part.shape}".encode())
            for block in [part] if isinstance(part, np.ndarray) else part.blocks:
                digest.update(np.ascontiguousarray(block).reshape(-1).view(np.uint8).data)
        else:
            digest.update(repr(part).encode())
        digest.update(b"\0")
    return digest.hexdigest()[:24]


def cached_array(folder: Path, key: str, build: Callable[[], np.ndarray]) -> np.ndarray:
    """Return the array stored under `key`, building and storing it the first time.

    The result never depends on the cache: a missing, damaged, foreign or unwritable file only costs
    the time of building again. A file is the array followed by a digest of key and array, which
    numpy passes over.
    """
    path = Path(folder) / f"{key}.npy"
    try:
        with open(path, "rb") as file:
            length = file.seek(0, 2) - _DIGEST_BYTES
            file.seek(max(length, 0))
            if file.read() != _digest(key, file, length):
                raise ValueError("its digest is missing or that of another content")
            file.seek(0)
            return np.load(file)
    except FileNotFoundError:
        pass
    except (OSError, ValueError, EOFError) as error:
        logger.warning("cache file %s is unreadable (%s) and is built again", path, error)
    array = build()
    try:
        _store(path, key, array)
        sweep(path.parent, older_than=ABANDONED_SECONDS)
    except UserError as error:
        logger.warning("%s; going on without it", error)
    return array


def _store(path: Path, key: str, array: np.ndarray) -> None:
    with in_one_step(path) as draft, open(draft, "w+b") as file:
        np.save(file, array)
        file.write(_digest(key, file, file.tell()))


def _digest(key: str, file: BinaryIO, length: int) -> bytes:
    """Hash a key and the first bytes of a file, which is then read to there."""
    digest = hashlib.sha256(key.encode())
    file.seek(0)
    while length > 0 and (block := file.read(min(_BLOCK, length))):
        digest.update(block)
        length -= len(block)
    return digest.digest()
