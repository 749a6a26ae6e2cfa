"""A digest in the comment of a zip archive, where the readers of such files pass over it.

Rot in a file of weights shows nowhere: torch ignores the checksums of its own archives, so that
flipped bits would become other weights without a word.
"""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path
from typing import BinaryIO

_BEGIN, _MARK = b"PK\x03\x04", b"sha256:"
_COMMENT_BYTES = len(_MARK) + 2 * hashlib.sha256().digest_size
_LENGTH_BYTES = 2  # of the comment's length, with which an archive without a comment ends
_HEAD = _COMMENT_BYTES.to_bytes(_LENGTH_BYTES, "little") + _MARK  # of the digest in a sealed file
_BLOCK = 1 << 20


class SealedFile:
    """What torch.save may write an archive to; :meth:`seal` ends it with its digest."""

    def __init__(self, file: BinaryIO):
        self._file, self._digest = file, hashlib.sha256()

    def write(self, data: bytes) -> int:
        """Write to the file and take note."""
        self._digest.update(data)
        return self._file.write(data)

    def flush(self) -> None:
        """Flush the file."""
        self._file.flush()

    def seal(self) -> None:
        """Add the digest of everything that has been written."""
        _append(self._file, self._digest.hexdigest().encode())


def seal(path: Path) -> None:
    """Add its digest to an archive that has no comment."""
    with open(path, "r+b") as file:
        _append(file, _digest(file, file.seek(0, 2)))


def is_archive(file: BinaryIO) -> bool:
    """Tell whether a file begins as a zip archive does, whatever follows."""
    file.seek(0)
    return file.read(len(_BEGIN)) == _BEGIN


def damage(file: BinaryIO) -> str | None:
    """Return in what an archive differs from what was written, None where it does not.

    Files of older versions have no digest, but a checksum for each of their parts.
    """
    size = file.seek(0, 2)
    file.seek(max(size - _COMMENT_BYTES - _LENGTH_BYTES, 0))
    end = file.read()
    if end.startswith(_HEAD):
        digest = _digest(file, size - _COMMENT_BYTES)
        return None if digest == end[len(_HEAD):] else "its content is not what its digest says"
    try:
        with zipfile.ZipFile(file) as archive:
            if archive.comment:
                return "its digest is broken"
            part = archive.testzip()
    # A damaged directory of parts fails anywhere in the reader.
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return part and f"the checksum of its part {part} is wrong"


def _append(file: BinaryIO, digest: bytes) -> None:
    file.seek(-_LENGTH_BYTES, 2)
    file.write(_HEAD + digest)


def _digest(file: BinaryIO, length: int) -> bytes:
    """Return the digest in hex of an archive of `length` bytes, as it is without a comment."""
    digest, left = hashlib.sha256(), length - _LENGTH_BYTES
    file.seek(0)
    while left > 0 and (block := file.read(min(_BLOCK, left))):
        digest.update(block)
        left -= len(block)
    digest.update(bytes(_LENGTH_BYTES))
    return digest.hexdigest().encode()
