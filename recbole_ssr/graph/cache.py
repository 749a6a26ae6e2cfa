"""Files keyed by the hash of everything that went into them."""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

logger = logging.getLogger("recbole_ssr")


def cache_folder(cache_dir: str | Path | None = None) -> Path:
    """Return `cache_dir`, or else the user's: $RECBOLE_SSR_CACHE, $XDG_CACHE_HOME, ~/.cache."""
    if cache_dir:
        return Path(cache_dir).expanduser()
    if os.environ.get("RECBOLE_SSR_CACHE"):
        return Path(os.environ["RECBOLE_SSR_CACHE"]).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "recbole_ssr"


def content_key(*parts) -> str:
    """Hash strings, numbers and arrays (dtype, shape and bytes) into 24 hex digits."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            digest.update(f"{part.dtype}{part.shape}".encode())
            digest.update(np.ascontiguousarray(part).tobytes())
        else:
            digest.update(repr(part).encode())
        digest.update(b"\0")
    return digest.hexdigest()[:24]


def cached_array(folder: Path, key: str, build: Callable[[], np.ndarray]) -> np.ndarray:
    """Return the array stored under `key`, building and storing it the first time.

    The result never depends on the cache: a missing, damaged or unwritable file only costs the
    time of building again.
    """
    path = Path(folder) / f"{key}.npy"
    try:
        return np.load(path)
    except FileNotFoundError:
        pass
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        logger.warning("cache file %s is unreadable (%s) and is built again", path, error)
    array = build()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
        try:
            with os.fdopen(handle, "wb") as file:
                np.save(file, array)
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise
    except OSError as error:
        logger.warning("cache folder %s is not usable (%s); going on without it", folder, error)
    return array
