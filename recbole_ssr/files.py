"""Files that are written whole or not at all, and what a killed process leaves of them."""

from __future__ import annotations

import os
import re
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from recbole_ssr.errors import UserError

ABANDONED_SECONDS = 24 * 3600  # nothing takes that long to write
# Drafts of in_one_step (once named by the process), and those of checkpoints.
_DRAFT = re.compile(r"\.([0-9a-f]{32}|\d+)\..+|\..+\.tmp")


def expanded(path: str | os.PathLike) -> Path:
    """Return a path with ~ and ~user as the home folders that there are; others stay as written."""
    return Path(os.path.expanduser(path))


@contextmanager
def in_one_step(path: Path, remedy: str = "") -> Iterator[Path]:
    """Yield a path to write to; what is written there takes the place of `path` at the end.

    Whoever reads `path` meanwhile finds the older file whole, and it stays where anything fails.
    The folder is made where it is missing. The path that is yielded has the suffix of `path`, as
    writers want that add their own.

    Raises UserError, which ends with `remedy`, where folder or file cannot be written.
    """
    # In the same folder, because a file can only be moved in one step within one file system.
    temporary = path.with_name(f".{uuid.uuid4().hex}.{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        os.replace(temporary, path)
    except OSError as error:  # numpy's has no strerror where a disk is full
        end = f". {remedy}" if remedy else ""
        raise UserError(f"cannot write {path}: {error.strerror or error}{end}") from None
    finally:
        with suppress(OSError):  # a folder that cannot be written holds no temporary file either
            temporary.unlink()


def sweep(folder: Path, older_than: float = 0.0) -> None:
    """Remove the drafts in a folder that nobody is going to finish.

    `older_than` is in seconds since the last write: 0 where no other process writes there, else
    ABANDONED_SECONDS.
    """
    with suppress(OSError):
        for path in folder.iterdir():
            if _DRAFT.fullmatch(path.name) and path.is_file() \
                    and time.time() - path.stat().st_mtime >= older_than:
                path.unlink(missing_ok=True)
