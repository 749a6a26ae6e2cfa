"""A local web page: `recbole-ssr browse`. Nothing but the standard library, nothing but reading.

It listens on this machine alone, and answers only who calls it by a name of this machine, so that
no page of another site can read it.
"""

from __future__ import annotations

import json
import mimetypes
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from urllib.parse import parse_qs, urlsplit

from recbole_ssr.errors import UserError
from recbole_ssr.serve.browse import Browser

HOST = "127.0.0.1"
_POLICY = "default-src 'self'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"


class BrowseServer(ThreadingHTTPServer):
    """Serves the page of one run on 127.0.0.1. Raises UserError where the port is taken."""

    daemon_threads = True

    def __init__(self, browser: Browser, port: int):
        self.browser = browser
        try:
            super().__init__((HOST, port), _Handler)
        except OSError as error:
            raise UserError(f"cannot listen on port {port}: {error.strerror}. Choose another with "
                            "--port=NUMBER, or 0 for any that is free") from None

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.server_port}/"


class _Handler(BaseHTTPRequestHandler):
    server: BrowseServer

    def do_GET(self) -> None:
        port = self.server.server_port
        if self.headers.get("Host") not in (f"{HOST}:{port}", f"localhost:{port}"):
            self._send(403, b"this page is for this machine alone", "text/plain")
            return
        parts = urlsplit(self.path)
        asked = {key: values[0] for key, values in parse_qs(parts.query).items()}
        try:
            self._answer(parts.path, asked)
        except UserError as error:
            self._json({"error": str(error)}, 400)
        except KeyError as error:
            self._json({"error": f"{error.args[0]} is missing"}, 400)

    def _answer(self, path: str, asked: dict[str, str]) -> None:
        browser = self.server.browser
        if path == "/":
            page = (files("recbole_ssr.serve") / "page.html").read_bytes()
            self._send(200, page, "text/html; charset=utf-8")
        elif path == "/api/about":
            self._json(browser.about())
        elif path == "/api/users":
            self._json(browser.users(asked.get("start", "")))
        elif path == "/api/user":
            self._json(browser.user(asked["user"], _factors(asked, "bands"),
                                    _factors(asked, "modalities")))
        elif path == "/api/why":
            self._json(browser.why(asked["user"], asked["item"]))
        elif path == "/picture" and (file := browser.picture(asked["item"])) is not None:
            self._send(200, file.read_bytes(), mimetypes.guess_type(file.name)[0] or "image/*")
        else:
            self._send(404, b"nothing here", "text/plain")

    def _json(self, value: object, status: int = 200) -> None:
        self._send(status, json.dumps(value).encode(), "application/json")

    def _send(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Security-Policy", _POLICY)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments) -> None:
        """Say nothing: the terminal shows the address, and no line per picture."""


def _factors(asked: dict[str, str], key: str) -> list[float]:
    try:
        return [float(x) for x in asked.get(key, "").split(",") if x]
    except ValueError:
        raise UserError(f"{key} are {asked[key]!r}; give numbers, separated by commas") from None
