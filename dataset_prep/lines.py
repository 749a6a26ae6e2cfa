"""Raw files as lines or blocks, plain or gzip, which is told from their first bytes.

Downloads break: whatever a cut-off or damaged file does ends in a UserError that names the place
and the remedy. Files are only ever read.
"""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from recbole_ssr.errors import UserError

_GZIP = b"\x1f\x8b"
_BUFFER = 2**20
_AGAIN = "Delete the file and download it again."


def read_lines(path: str | Path) -> Iterator[tuple[int, str]]:
    """Yield (number from 1, line without its end) of a UTF-8 text; memory is that of one line.

    Raises UserError, with file and line, for a missing file, a folder, a gzip file that is cut off
    or damaged, and bytes that are no UTF-8.
    """
    with _opened(path) as file:
        for number, raw in enumerate(file, start=1):
            try:
                line = raw.decode("utf-8")
            except UnicodeDecodeError as error:
                raise UserError(
                    f"{path}, line {number}: byte {error.start + 1} of the line is "
                    f"0x{raw[error.start]:02x}, which is no UTF-8. Is it a text file, or gzip? "
                    f"Save it as UTF-8, or download it again."
                ) from error
            # Some editors start a file with a byte order mark, which is no part of its text.
            yield number, (line.removeprefix("\ufeff") if number == 1 else line).rstrip("\r\n")


def read_blocks(path: str | Path, size: int) -> Iterator[bytes]:
    """Yield the contents in blocks of `size` bytes, the last one shorter; errors as read_lines."""
    with _opened(path) as file:
        while block := file.read(size):
            yield block


def first_line(path: str | Path) -> tuple[int, str]:
    """Return number and text of the first line that is not blank.

    Raises UserError, beside those of read_lines, for a file without one and for a web page.
    """
    for number, line in read_lines(path):
        if line.strip():
            refuse_web_page(path, line)
            return number, line
    raise UserError(f"{path} is empty. {_AGAIN}")


def refuse_web_page(path: str | Path, start: str) -> None:
    """Raise UserError if a file that starts so is the error page of a server, saved as data."""
    if start.lstrip()[:5].lower() in ("<!doc", "<html", "<?xml"):
        raise UserError(f"{path} is a web page, not data; it starts with {start.strip()[:60]!r}. "
                        f"The server answered with a page, perhaps an error. {_AGAIN}")


def csv_rows(lines: Iterable[str], **dialect) -> Iterator[list[str]]:
    """Return a csv.reader of lines, whose cells may be of any length."""
    # A limit of the whole process, which only keeps broken files from filling the memory.
    csv.field_size_limit(2**31 - 1)
    return csv.reader(lines, **dialect)


def is_gzip(path: str | Path) -> bool:
    """Tell from its first bytes whether a file is gzip; errors as read_lines."""
    with _opened(path) as file:
        return isinstance(file.raw, gzip.GzipFile)


@contextmanager
def _opened(path: str | Path) -> Iterator[BinaryIO]:
    try:
        with open(path, "rb") as raw:
            start = raw.peek(2)[:2]
            # A gzip file that was cut off after its first byte is no text either.
            if start and _GZIP.startswith(start):
                with gzip.GzipFile(fileobj=raw) as unpacked:
                    yield io.BufferedReader(unpacked, _BUFFER)
            else:
                yield raw
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist. Download it, or correct its path.") from error
    except IsADirectoryError as error:
        raise UserError(f"{path} is a folder. Name a file in it.") from error
    except EOFError as error:
        raise UserError(f"{path} is cut off: its gzip data end too early, as after a download that "
                        f"broke off. {_AGAIN}") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise UserError(f"{path} is damaged: its gzip data cannot be unpacked ({error}). "
                        f"{_AGAIN}") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error}). Check its permissions and the "
                        "disk.") from error
