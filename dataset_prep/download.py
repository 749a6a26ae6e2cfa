"""Fetching a raw file over a connection that may break, so that what has its name is whole.

A file grows as ``<name>.part``; ``<name>.part.json`` says of which version of which address it is
a part. Only a complete file is given its name.
"""

from __future__ import annotations

import http.client
import json
import logging
import os
import socket
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from tqdm import tqdm

import recbole_ssr
from recbole_ssr.errors import UserError

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None

logger = logging.getLogger("recbole_ssr")

_BLOCK = 2**16
_PAUSE = 1.0  # seconds before the second attempt, doubled for each that follows
_BUSY = (408, 429)  # like 5xx, answers that another attempt may change


@dataclass(frozen=True)
class _File:
    """What is wanted, where it comes from and where it goes."""

    url: str
    path: Path
    what: str
    timeout: float

    @property
    def part(self) -> Path:
        return self.path.with_name(f"{self.path.name}.part")

    @property
    def about(self) -> Path:
        return self.path.with_name(f"{self.path.name}.part.json")

    @property
    def size(self) -> int:
        """Bytes that have arrived."""
        return self.part.stat().st_size if self.part.exists() else 0

    def error(self, reason: str) -> UserError:
        kept = ""
        if self.size:
            kept = f"{self.size:,} bytes are kept in {self.part}"
            kept += ("; the same command goes on from there. " if self.version().get("validator")
                     else ", but the server cannot continue them: the next try starts anew. ")
        return UserError(f"{self.what} could not be fetched from {self.url}: {reason}. {kept}"
                         f"Download it by hand from {self.url} and put it at {self.path}")

    def version(self) -> dict:
        """Return what is known of the version of the part; empty if it cannot be continued."""
        try:
            known = json.loads(self.about.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return known if isinstance(known, dict) and known.get("url") == self.url else {}

    def start_anew(self, response) -> None:
        """Empty the part, and note which version of the file fills it next."""
        self.part.write_bytes(b"")
        length = response.headers.get("Content-Length", "")
        known = {"url": self.url, "validator": _validator(response),
                 "bytes": int(length) if length.isdigit() else None}
        self.about.write_text(json.dumps(known), encoding="utf-8")

    def discard(self) -> None:
        self.part.unlink(missing_ok=True)
        self.about.unlink(missing_ok=True)


def _validator(response) -> str | None:
    """Return what tells the version of a file; a weak ETag does not promise equal bytes."""
    etag = response.headers.get("ETag", "")
    strong = etag if etag and not etag.startswith("W/") else None
    return strong or response.headers.get("Last-Modified")


class _Broken(Exception):
    """The attempt failed for a reason that may pass; the text says which."""


def fetch(
    url: str, path: str | Path, what: str, show_progress: bool = True,
    attempts: int = 4, timeout: float = 30,
) -> Path:
    """Return `path`, fetched from `url` unless it exists.

    A broken connection is taken up again where it broke, if the server can tell that the file is
    still the same one; so is a part that an earlier, interrupted call left.

    Args:
        url: an http or https address.
        path: the place of the file. Its folder is made.
        what: names the file in messages, as in "the ratings of amazon-baby".
        show_progress: draw a bar.
        attempts: how many may fail in a row; one that brings something new counts as the first.
        timeout: seconds to wait for the server at any time.

    Raises:
        UserError: the file is not to be had, with the reason, the address and the place.
    """
    file = _File(url, Path(path), what, timeout)
    if file.path.is_file():
        return file.path
    if urlsplit(url).scheme not in ("http", "https"):
        raise file.error("the address does not start with http:// or https://")
    made = [folder for folder in file.path.parents if not folder.exists()]
    try:
        file.path.parent.mkdir(parents=True, exist_ok=True)
        with _only_here(file):
            if not file.path.is_file():  # else another process has just finished it
                _persist(file, attempts, show_progress)
                os.replace(file.part, file.path)
                file.about.unlink(missing_ok=True)
    except UserError:
        raise
    except OSError as error:
        reason = error.strerror or str(error)
        raise file.error(f"{file.path.parent} cannot be written ({reason})") from error
    finally:
        for folder in made:  # innermost first; none that holds something is removed
            with suppress(OSError):
                folder.rmdir()
    return file.path


@contextmanager
def _only_here(file: _File) -> Iterator[None]:
    """Keep other processes from writing the same part; leave no empty one behind."""
    busy = file.error(f"another process is fetching it into {file.part}. Wait until it is done")
    with open(file.part, "ab") as handle:
        if fcntl is None:
            handle.close()  # Windows moves no open file
        else:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise busy from None
            except OSError as error:
                logger.debug("%s cannot be locked (%s)", file.part, error)
            if not file.path.is_file() and not _is_at(handle, file.part):
                raise busy
        try:
            yield
        finally:
            if not file.size:
                file.discard()


def _is_at(handle, path: Path) -> bool:
    """Tell whether an open file still has the name under which it was opened."""
    return path.exists() and os.path.samestat(os.fstat(handle.fileno()), path.stat())


def _persist(file: _File, attempts: int, show_progress: bool) -> None:
    """Fetch until the part is complete, or until `attempts` failed in a row."""
    failures, furthest = 0, file.size
    # Drawn only once bytes arrive: a bar without any would stand beside the error message.
    with tqdm(desc=file.path.name, unit="B", unit_scale=True, unit_divisor=1024, delay=1e-9,
              disable=not show_progress) as bar:
        while True:
            try:
                return _attempt(file, bar)
            except _Broken as broken:
                failures = 1 if file.size > furthest else failures + 1
                furthest = max(furthest, file.size)
                if failures >= attempts:
                    raise file.error(f"{broken}, {failures} times in a row") from broken
                pause = _PAUSE * 2 ** (failures - 1)
                logger.warning("%s: %s after %s bytes; trying again in %g s", file.path.name,
                               broken, f"{file.size:,}", pause)
                time.sleep(pause)


def _attempt(file: _File, bar: tqdm) -> None:
    """Complete the part by one request. Raises _Broken if another may help, else UserError."""
    known, have = file.version(), file.size
    if have and have == known.get("bytes"):
        return
    asks_for_rest = bool(have and known.get("validator"))
    headers = {"User-Agent": f"recbole_ssr/{recbole_ssr.__version__}"}
    if asks_for_rest:
        headers |= {"Range": f"bytes={have}-", "If-Range": known["validator"]}
    response = _open(file, headers)
    if response is None:
        file.part.write_bytes(b"")
        raise _Broken("the server cannot continue the part")
    with response:
        if response.headers.get_content_type() == "text/html" and not _is_page(file.path):
            raise file.error("the server sent a web page, which is not the data")
        continues = response.status == 206
        if continues and not _is_the_rest(response, have, known):
            file.part.write_bytes(b"")
            raise _Broken("the server sent another part than the one asked for")
        if not continues:
            if response.status != 200:
                raise file.error(f"the server sent no file (HTTP {response.status})")
            file.start_anew(response)
            have = 0
        length = response.headers.get("Content-Length", "")
        wanted = have + int(length) if length.isdigit() else None
        # An answer may hold less than all of the rest.
        whole = _total(response) or known.get("bytes") if continues else wanted
        wanted = max(wanted or 0, whole or 0) or wanted
        bar.total, bar.n = wanted, have
        bar.refresh()
        _append(response, file, bar)
    if wanted is not None and file.size != wanted:
        raise _Broken(f"the connection broke at {file.size:,} of {wanted:,} bytes")
    if not file.size:
        raise file.error("the server sent an empty file")


def _is_the_rest(response, have: int, known: dict) -> bool:
    """Tell whether a part begins where the one at hand ends, and is of the same version."""
    total, size = _total(response), known.get("bytes")
    return (response.headers.get("Content-Range", "").startswith(f"bytes {have}-")
            and _validator(response) in (None, known["validator"])
            and (total is None or size is None or total == size))


def _total(response) -> int | None:
    """Return the size of the file of which an answer is a part, where it says so."""
    total = response.headers.get("Content-Range", "").rpartition("/")[2]
    return int(total) if total.isdigit() else None


def _append(response, file: _File, bar: tqdm) -> None:
    with open(file.part, "ab") as out:
        while True:
            try:
                block = response.read(_BLOCK)
            except http.client.IncompleteRead as error:
                out.write(error.partial)
                raise _Broken("the connection broke") from error
            except (OSError, http.client.HTTPException) as error:
                raise _Broken(_reason(error, file)) from error
            if not block:
                return
            out.write(block)
            bar.update(len(block))


def _open(file: _File, headers: dict[str, str]):
    """Return the answer; None where the server refuses the range asked for."""
    try:
        request = urllib.request.Request(file.url, headers=headers)
        return _web().open(request, timeout=file.timeout)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416 and "Range" in headers:
            return None
        if error.code >= 500 or error.code in _BUSY:
            raise _Broken(_reason(error, file)) from error
        raise file.error(_reason(error, file)) from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        cause = getattr(error, "reason", error)
        passing = (TimeoutError, ConnectionResetError, ConnectionAbortedError,
                   http.client.RemoteDisconnected)
        if isinstance(cause, passing):
            raise _Broken(_reason(cause, file)) from error
        raise file.error(_reason(cause, file)) from error


def _web() -> urllib.request.OpenerDirector:
    """An opener for http and https only, wherever an answer redirects to."""
    opener = urllib.request.OpenerDirector()
    for handler in ("ProxyHandler", "UnknownHandler", "HTTPHandler", "HTTPSHandler",
                    "HTTPRedirectHandler", "HTTPDefaultErrorHandler", "HTTPErrorProcessor"):
        opener.add_handler(getattr(urllib.request, handler)())
    return opener


def _reason(error: object, file: _File) -> str:
    """Say in plain words what went wrong."""
    host = urlsplit(file.url).hostname
    if isinstance(error, urllib.error.HTTPError):
        meaning = {404: "has no such file", 410: "no longer has the file", 401: "refuses access",
                   403: "refuses access"}
        default = "fails" if error.code >= 500 else f"answers {error.reason!r}"
        return f"the server {meaning.get(error.code, default)} (HTTP {error.code})"
    if isinstance(error, socket.gaierror):
        return f"the host {host!r} cannot be found (is this machine online?)"
    if isinstance(error, ConnectionRefusedError):
        return f"{host} refuses the connection"
    if isinstance(error, TimeoutError):
        return f"{host} did not answer within {file.timeout:g} s"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate of {host} cannot be verified ({error.verify_message})"
    if isinstance(error, (ConnectionError, http.client.RemoteDisconnected)):
        return "the connection broke"
    return str(error) or type(error).__name__


def _is_page(path: Path) -> bool:
    return path.suffix.lower() in (".html", ".htm")
