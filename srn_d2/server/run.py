"""Running the application until Ctrl-C."""

import ipaddress
import socket
import threading
import webbrowser

import uvicorn
from fastapi import FastAPI

SHUTDOWN_SECONDS = 5
"""Seconds that the server waits for open requests at shutdown; the picture being processed is
always finished."""


def bind(host: str, port: int) -> socket.socket:
    """Create a listening socket.

    Args:
        host: an address of this machine, or a name of one.
        port: TCP port; 0: any free one.

    Raises:
        OSError: there is no such address, or the port is taken; names both.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family)
    except OSError as error:
        reason = error.strerror or error
        raise OSError(f"Cannot listen at {host}, port {port}: {reason}") from error


def url_of(listening: socket.socket) -> str:
    """The URL of a server's page, for a browser on this machine."""
    host, port = listening.getsockname()[:2]
    address = ipaddress.ip_address(host)
    if address.is_unspecified:
        host = "localhost"
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


def is_reachable_from_elsewhere(listening: socket.socket) -> bool:
    """Return whether other machines can connect."""
    return not ipaddress.ip_address(listening.getsockname()[0]).is_loopback


def run(app: FastAPI, listening: socket.socket, open_browser: bool = False) -> None:
    """Answer requests until Ctrl-C or SIGTERM, which are raised again at the end.

    Args:
        app: the application.
        listening: from ``bind``.
        open_browser: show the page.
    """
    if open_browser:  # a thread: text browsers return only when they are closed
        url = url_of(listening)
        threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()
    make_server(app).run(sockets=[listening])


def make_server(app: FastAPI) -> uvicorn.Server:
    """A server that logs errors only, no requests."""
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        ws="none",
        server_header=False,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
    )
    return uvicorn.Server(config)
