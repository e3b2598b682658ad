"""The HTTP side of the pages: this machine only, reading only, and nothing from elsewhere."""

import logging
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import cast

from traceprop_engine.errors import PortUnavailableError
from traceprop_engine.serving.site import Response, Site
from traceprop_engine.store import Store

HOST = "127.0.0.1"
"""The only address that is listened on."""

_NAMES = (HOST, "localhost")
_HTTP_PORT = 80
_TIMEOUT_SECONDS = 30.0
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; img-src data:; form-action 'self'; "
        "base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_logger = logging.getLogger(__name__)


class PageServer(ThreadingHTTPServer):
    """A server of the pages of one store; each request has a thread."""

    daemon_threads = True

    def __init__(self, site: Site, port: int) -> None:
        """Listen on ``port`` of this machine.

        Raises:
            OSError: The port is taken, or may not be used.
        """
        self.site = site
        super().__init__((HOST, port), _Handler)


def bind(store: Store, port: int) -> PageServer:
    """Return a server of the pages of ``store`` that listens, to be told to serve.

    Raises:
        PortUnavailableError: The port is taken, or may not be used.
    """
    try:
        return PageServer(Site(store), port)
    except OSError as error:
        raise PortUnavailableError(HOST, port, error.strerror or str(error)) from error


class _Handler(BaseHTTPRequestHandler):
    server_version = "traceprop"
    sys_version = ""
    protocol_version = "HTTP/1.1"
    timeout = _TIMEOUT_SECONDS

    @property
    def _site(self) -> Site:
        return cast("PageServer", self.server).site

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def _refuse_method(self) -> None:
        self.close_connection = True  # what the request carries is not read
        text = f"{self.command} is not understood: these pages are only for reading."
        self._send(self._site.message(HTTPStatus.METHOD_NOT_ALLOWED, text), Allow="GET, HEAD")

    do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _refuse_method  # noqa: N815 (names of http.server)

    def _answer(self) -> None:
        refusal = self._refusal()
        if refusal is not None:
            self._send(self._site.message(HTTPStatus.FORBIDDEN, refusal))
            return
        response: Response | None = None
        try:
            response = self._site.get(self.path)
        finally:  # a defect of a page is also answered; the server then logs it
            if response is None:
                text = "This page could not be made; the terminal of `traceprop serve` says why."
                response = self._site.message(HTTPStatus.INTERNAL_SERVER_ERROR, text)
            self._send(response)

    def _refusal(self) -> str | None:
        """Say why another site may be behind the request, if one may.

        A page of another site can point its own name at this machine (DNS rebinding), which shows
        in the header Host; or fetch pages in the background, which browsers mark.
        """
        port = cast("PageServer", self.server).server_port
        allowed = {f"{name}:{port}" for name in _NAMES} | set(_NAMES if port == _HTTP_PORT else ())
        if self.headers.get("Host", "").lower() not in allowed:
            return f"These pages are served at http://{HOST}:{port}/ and under no other name."
        is_foreign = self.headers.get("Sec-Fetch-Site") == "cross-site"
        if is_foreign and self.headers.get("Sec-Fetch-Mode") != "navigate":
            return "These pages are for people who open them, not for scripts of other sites."
        return None

    def _send(self, response: Response, **headers: str) -> None:
        self.send_response(response.status)
        self.send_header("Content-Type", response.content_type)
        self.send_header("Content-Length", str(len(response.body)))
        for name, value in {**_HEADERS, **headers, **response.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(response.body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (http.server's name)
        """Log a request where a program may look for it, and not on the terminal."""
        _logger.debug(format, *args)
