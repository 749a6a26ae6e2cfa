"""Vectors kept on disk by the digest of what they encode, so that no work is done twice.

A folder belongs to one encoder. A process appends to a file of its own there, one record per batch:

    magic, n, dim, crc32 of the rest | n keys of 16 bytes | (n, dim) float32

A record counts only if it is whole, so that a process may be killed at any moment.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import struct
import uuid
import zlib
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import numpy as np

logger = logging.getLogger("recbole_ssr")

_HEADER = struct.Struct("<4sIII")
_MAGIC = b"RSV1"
_KEY_BYTES = 16
_SUFFIX = ".vectors"


def vector_key(digest: bytes) -> bytes:
    """Return the 16 bytes under which the vector of a content with this digest is kept."""
    return hashlib.blake2b(digest, digest_size=_KEY_BYTES).digest()


class VectorCache:
    """The vectors of one encoder; memory is that of the keys in `wanted`.

    Damaged records are dropped with a warning. Writing raises OSError.
    """

    def __init__(self, folder: str | Path, wanted: Collection[bytes]):
        self.folder, self.dim = Path(folder), None
        self._place: dict[bytes, tuple[int, int]] = {}
        self._shards: list[np.ndarray] = []
        self._own = None
        self.folder.mkdir(parents=True, exist_ok=True)
        wanted = wanted if isinstance(wanted, (set, dict)) else set(wanted)
        for path in sorted(self.folder.glob(f"*{_SUFFIX}")):
            self._load(path, wanted)

    def __enter__(self) -> VectorCache:
        return self

    def __exit__(self, *error) -> None:
        self._shards.clear()
        if self._own is not None:
            self._own.close()

    def __contains__(self, key: bytes) -> bool:
        return key in self._place

    def add(self, keys: Sequence[bytes], rows: np.ndarray) -> None:
        """Append the vectors `rows` (n, dim), float32, of n keys."""
        rows = np.ascontiguousarray(rows, dtype="<f4")
        body = b"".join(keys) + rows.tobytes()
        record = _HEADER.pack(_MAGIC, len(keys), rows.shape[1], zlib.crc32(body)) + body
        if self._own is None:
            self._open_own(record)
            start = 0
        else:
            start = self._own.tell()
            self._own.write(record)
            # What is flushed survives the end of this process, whatever ends it.
            self._own.flush()
        self.dim = rows.shape[1]
        self._shards[self._own_shard] = None
        self._index(keys, set(keys), self.dim, self._own_shard, start)

    def rows(self, keys: Sequence[bytes]) -> np.ndarray:
        """Return the vectors (n, dim) of n keys that are in the cache, float32."""
        out = np.empty((len(keys), self.dim), dtype=np.float32)
        for row, key in enumerate(keys):
            shard, offset = self._place[key]
            data = self._shards[shard]
            if data is None:
                data = self._shards[shard] = np.memmap(self._own, np.uint8, mode="r")
            out[row] = data[offset : offset + 4 * self.dim].view("<f4")
        return out

    def _open_own(self, record: bytes) -> None:
        name = f"{uuid.uuid4().hex}{_SUFFIX}"
        draft = self.folder / f".{name}"
        self._own = os.fdopen(os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL), "w+b")
        self._own.write(record)
        self._own.flush()
        # Others see the file only once it has a whole record.
        os.replace(draft, self.folder / name)
        self._own_shard = len(self._shards)
        self._shards.append(None)

    def _index(self, keys: Sequence[bytes], wanted: Collection[bytes], dim: int, shard: int,
               start: int) -> None:
        first = start + _HEADER.size + _KEY_BYTES * len(keys)
        for row, key in enumerate(keys):
            if key in wanted:
                self._place[key] = (shard, first + 4 * dim * row)

    def _load(self, path: Path, wanted: Collection[bytes]) -> None:
        try:
            data = np.memmap(path, np.uint8, mode="r")
        except (OSError, ValueError):
            data = np.empty(0, np.uint8)
        good, before = 0, len(self._place)
        for start, end, keys, dim in _records(data):
            if self.dim not in (None, dim):
                break
            self.dim, good = dim, end
            self._index(keys, wanted, dim, len(self._shards), start)
        if len(self._place) > before:
            self._shards.append(data)
        if good < len(data) or good == 0:
            logger.warning("cache file %s is damaged after %s bytes; what was lost is encoded "
                           "again", path, f"{good:,}")
            _cut(path, good)


def _records(data: np.ndarray) -> Iterator[tuple[int, int, list[bytes], int]]:
    """Yield (start, end, keys, dim) of the whole records in a file's bytes, up to the first bad."""
    start = 0
    while start + _HEADER.size <= len(data):
        magic, n, dim, crc = _HEADER.unpack(data[start : start + _HEADER.size].tobytes())
        first = start + _HEADER.size
        end = first + n * (_KEY_BYTES + 4 * dim)
        if magic != _MAGIC or end > len(data) or zlib.crc32(data[first:end]) != crc:
            return
        names = data[first : first + _KEY_BYTES * n].tobytes()
        yield start, end, [names[i : i + _KEY_BYTES] for i in range(0, len(names), _KEY_BYTES)], dim
        start = end


def _cut(path: Path, good: int) -> None:
    """Keep the first `good` bytes; in a new file, as another process may hold the old one open."""
    try:
        if good:
            new = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
            shutil.copyfile(path, new)
            os.truncate(new, good)
            os.replace(new, path)
        else:
            path.unlink()
    except OSError as error:
        logger.warning("%s could not be put right (%s)", path, error)
