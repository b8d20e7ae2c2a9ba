"""The server on a real socket."""

import http.client
import json
import socket
import time
from io import BytesIO
from urllib.parse import urlsplit

import pytest
from PIL import Image

from srn_d2 import Faces
from srn_d2.server.app import create_app
from srn_d2.server.run import bind, is_reachable_from_elsewhere, url_of
from srn_d2.server.uploads import Limits


class RecordingDetector:
    """Finds a pixel; remembers what it was shown."""

    score_threshold, max_pixels = 0.05, 10_000

    def __init__(self):
        self.sizes = []
        self.seconds = 0

    def __call__(self, image):
        height, width = image.shape[:2]
        self.sizes.append((width, height))
        time.sleep(self.seconds)
        return Faces([[0, 0, 1, 1]], [0.5], (height, width))


def png(width):
    buffer = BytesIO()
    Image.new("L", (width, 1)).save(buffer, "PNG")
    return buffer.getvalue()


def send(url, head, body=b""):
    """A connection on which a request was sent that need not be correct."""
    address = urlsplit(url)
    connection = socket.create_connection((address.hostname, address.port), timeout=60)
    lines = ["POST /detect HTTP/1.1", f"Host: {address.netloc}", *head]
    connection.sendall("\r\n".join([*lines, "", ""]).encode() + body)
    return connection


def answer_of(connection):
    answer = http.client.HTTPResponse(connection)
    answer.begin()
    return answer.status, json.loads(answer.read())


def jobs(url):
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=60)
    connection.request("GET", "/healthz")
    return json.loads(connection.getresponse().read())["jobs"]


def test_a_picture_that_does_not_arrive_gives_its_place_up(running):
    app = create_app(RecordingDetector(), limits=Limits(upload_seconds=0.3))
    with running(app) as url, send(url, ["Content-Length: 1000"], b"some") as connection:
        status, answer = answer_of(connection)
        assert (status, answer["error"]) == (408, "too slow")
        assert jobs(url) == 0


def test_a_client_that_goes_away_gives_its_place_up(running):
    detector = RecordingDetector()
    with running(create_app(detector)) as url:
        with send(url, ["Content-Length: 1000"], b"some"):
            while jobs(url) < 1:
                pass
        while jobs(url) > 0:
            pass
    assert detector.sizes == []


def test_a_picture_whose_client_has_gone_is_not_looked_at(running):
    detector = RecordingDetector()
    detector.seconds = 0.5
    with running(create_app(detector)) as url:
        pictures = [png(width) for width in (1, 2, 3)]
        connections = [send(url, [f"Content-Length: {len(body)}"], body) for body in pictures[:1]]
        while not detector.sizes:
            pass
        for body in pictures[1:]:
            connections.append(send(url, [f"Content-Length: {len(body)}"], body))
            while jobs(url) < len(connections):
                pass
        connections[1].close()
        assert answer_of(connections[0])[0] == 200
        assert answer_of(connections[2])[1]["width"] == 3
    assert detector.sizes == [(1, 1), (3, 1)]


def test_the_end_while_a_picture_is_in_work(running, monkeypatch, caplog):
    monkeypatch.setattr("srn_d2.server.run.SHUTDOWN_SECONDS", 0.2)
    detector = RecordingDetector()
    detector.seconds = 1
    with running(create_app(detector)) as url:
        connection = send(url, [f"Content-Length: {len(png(1))}"], png(1))
        while not detector.sizes:
            pass
    with connection:
        status, answer = answer_of(connection)
    assert (status, answer["error"]) == (503, "ending")
    assert not [record for record in caplog.records if record.exc_info]


def test_chunks_are_bounded(running):
    with running(create_app(RecordingDetector(), limits=Limits(max_bytes=1000))) as url:
        chunk = b"200\r\n" + bytes(0x200) + b"\r\n"
        with send(url, ["Transfer-Encoding: chunked"], 3 * chunk) as connection:
            status, answer = answer_of(connection)
        assert (status, answer["error"]) == (413, "too many bytes")


@pytest.mark.parametrize(
    ("host", "url", "is_reachable"),
    [
        ("127.0.0.1", "http://127.0.0.1:{}/", False),
        ("::1", "http://[::1]:{}/", False),
        ("0.0.0.0", "http://localhost:{}/", True),
    ],
)
def test_addresses(host, url, is_reachable):
    if host == "::1" and not socket.has_ipv6:
        pytest.skip("this machine has no IPv6: enable it")
    with bind(host, 0) as listening:
        assert url_of(listening) == url.format(listening.getsockname()[1])
        assert is_reachable_from_elsewhere(listening) == is_reachable


def test_a_port_that_is_taken():
    with bind("127.0.0.1", 0) as listening:
        port = listening.getsockname()[1]
        with pytest.raises(OSError, match=rf"127\.0\.0\.1, port {port}: .*in use"):
            bind("127.0.0.1", port)
    with pytest.raises(OSError, match=r"absent\.invalid"):
        bind("absent.invalid", 0)
