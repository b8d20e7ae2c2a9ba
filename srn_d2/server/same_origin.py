"""Protection of a local server against requests from other web sites.

Every page that the user opens can send requests to 127.0.0.1. Two checks reject them:

- The Host header must be an address or a name of this machine. A site whose name resolves to
  127.0.0.1 after it was loaded (DNS rebinding) sends its own name. It cannot send an address, as
  addresses are not resolved.
- The Origin header, which browsers send with every POST, must name the same host and port.
  Programs such as curl send none.

A reverse proxy shows the page under another name, which must be allowed. Whether or not the proxy
passes the Host header on, the Origin header has that name.
"""

import ipaddress
from collections.abc import Iterable
from urllib.parse import urlsplit

from fastapi import FastAPI
from fastapi.responses import JSONResponse
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import Message, Receive, Scope, Send

SAFE_METHODS = ("GET", "HEAD")

CONTENT_SECURITY_POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "img-src 'self' blob:",  # blob: the picture chosen by the user
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
    ]
)
HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


class SameOriginMiddleware:
    """Refuses requests of other sites (403), and sets the security headers of every answer.

    Args:
        app: application that handles the accepted requests.
        host_names: the machine's names, without port. Addresses are always accepted.
        allowed_names: names of reverse proxies, without port; pages of these are accepted at any
            port.
    """

    def __init__(self, app: FastAPI, host_names: Iterable[str], allowed_names: Iterable[str] = ()):
        self.app = app
        self.allowed_names = {name.lower() for name in allowed_names}
        self.host_names = {name.lower() for name in host_names} | self.allowed_names

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        answer = self._refusal(scope["method"], Headers(scope=scope)) or self.app
        await answer(scope, receive, send_with_headers)

    def _refusal(self, method: str, headers: Headers) -> JSONResponse | None:
        host = headers.get("host", "").lower()
        if not self._is_own(host):
            message = f"this server is not {host or 'without a name'}: open it by its address"
            name = _host_name(f"//{host}")
            if name:
                message += f", or start it with --allow-name {name} if your proxy has this name"
            return JSONResponse({"error": "wrong host", "message": message}, 403)
        origin = headers.get("origin")
        if method not in SAFE_METHODS and origin is not None and not self._accepts(origin, host):
            message = f"requests from pages of {origin} are refused"
            name = _host_name(origin)
            if name:
                message += f"; --allow-name {name} accepts them, if your proxy has this name"
            return JSONResponse({"error": "wrong origin", "message": message}, 403)
        return None

    def _is_own(self, host: str) -> bool:
        """Return whether a Host header names this machine."""
        try:
            name = _host_name(f"//{host}")
            return name in self.host_names or bool(ipaddress.ip_address(name))
        except ValueError:  # not an address
            return False

    def _accepts(self, origin: str, host: str) -> bool:
        """Return whether an Origin header is that of a page of this server or its proxy."""
        return _is_same(origin, host) or _host_name(origin) in self.allowed_names


def _host_name(url: str) -> str:
    """The host name in a URL, in lower case; empty if there is none."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _is_same(origin: str, host: str) -> bool:
    """Compare an Origin header with the host and port of a Host header; "null" never equals it."""
    try:
        return urlsplit(origin).netloc.lower() == host
    except ValueError:
        return False
