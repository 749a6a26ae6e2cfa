"""A web server on this machine that breaks connections when told to."""

from __future__ import annotations

import hashlib
import re
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple


class Request(NamedTuple):
    """One request as it came, and the status of its answer."""

    name: str
    range: str | None
    if_range: str | None
    status: int


@dataclass
class Server:
    """What the server does; every field may change while it runs.

    `drop_after`: bytes of a body after which the next `drops` connections break. `status`: of every
    answer, or of the first ones if a list. `etag`: answers name the version of a file. `most`:
    bytes of an answer to a range. `ignore_if_range`: continue any version.
    """

    folder: Path
    port: int
    drop_after: int | None = None
    drops: int = 1
    ignore_range: bool = False
    ignore_if_range: bool = False
    most: int | None = None
    status: int | Sequence[int] | None = None
    content_type: str | None = None
    etag: bool = True
    chunked: bool = False
    requests: list[Request] = field(default_factory=list)

    def url(self, name: str) -> str:
        """Return the address of a file of the folder."""
        return f"http://127.0.0.1:{self.port}/{name}"

    def next_status(self) -> int | None:
        """Return the status to answer with; None to answer properly."""
        if not isinstance(self.status, list):
            return self.status
        return self.status.pop(0) if self.status else None


@contextmanager
def serve(folder: str | Path, **settings) -> Iterator[Server]:
    """Serve the files of `folder`; `settings` are the fields of Server."""
    web = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    web.state = Server(Path(folder), web.server_address[1], **settings)
    thread = threading.Thread(target=web.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield web.state
    finally:
        web.shutdown()
        thread.join()
        web.server_close()


def free_port() -> int:
    """Return a port on which nothing listens."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        state, name = self.server.state, self.path.lstrip("/")
        asked, if_range = self.headers.get("Range"), self.headers.get("If-Range")
        file = state.folder / name
        status = state.next_status() or (200 if file.is_file() else 404)
        body = file.read_bytes() if file.is_file() else b"nothing here"
        tag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
        headers = {"Content-Type": state.content_type or "application/octet-stream"}
        if state.etag and status == 200:
            headers["ETag"] = tag
        same = state.ignore_if_range or if_range in (None, tag)
        if status == 200 and asked and not state.ignore_range and same:
            start, total = int(re.fullmatch(r"bytes=(\d+)-", asked)[1]), len(body)
            status = 206 if start < total else 416
            body = body[start:][:state.most]
            headers["Content-Range"] = f"bytes {start}-{start + len(body) - 1}/{total}"
        state.requests.append(Request(name, asked, if_range, status))
        self._answer(state, status, headers, body)

    def _answer(self, state: Server, status: int, headers: dict[str, str], body: bytes) -> None:
        self.close_connection = True
        self.send_response(status)
        length = {"Transfer-Encoding": "chunked"} if state.chunked else {
            "Content-Length": str(len(body))}
        for key, value in {**headers, **length, "Connection": "close"}.items():
            self.send_header(key, value)
        self.end_headers()
        breaks = state.drop_after is not None and state.drops > 0 and status < 300
        state.drops -= breaks
        sent = body[: state.drop_after] if breaks else body
        if state.chunked:
            # The length of the whole body, so that a broken one is cut within its chunk.
            self.wfile.write(f"{len(body):x}\r\n".encode() + sent)
            self.wfile.write(b"" if breaks else b"\r\n0\r\n\r\n")
        else:
            self.wfile.write(sent)
