"""The server's answers, without a network."""

import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from srn_d2 import Faces
from srn_d2.data.image_io import read_image
from srn_d2.server.app import STATIC_FOLDER, create_app
from srn_d2.server.uploads import NAMED_FORMATS, Limits

OWN = "http://127.0.0.1:8000"
SMALL = Limits(max_bytes=200_000)


@pytest.fixture(scope="module")
def client(detector):
    return TestClient(create_app(detector, threshold=0.3, host_name="faces.lan"), OWN)


def encode(image, file_format, **options):
    buffer = BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def noise(*size, seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def of_at_least(faces, threshold):
    kept = faces.scores >= threshold
    return Faces(faces.boxes[kept], faces.scores[kept], faces.image_size).to_dict()


def test_the_answer_is_the_detector_s(client, detector, photo):
    expected = detector(photo)
    assert len(expected) >= 2
    second = float(expected.scores[1])
    for threshold in (detector.score_threshold, second, 1.0):
        url = f"/detect?threshold={threshold}"
        answer = client.post(url, content=photo.read_bytes())
        assert answer.status_code == 200
        assert answer.json() == of_at_least(expected, threshold)
    default = client.post("/detect", content=photo.read_bytes()).json()
    assert default == of_at_least(expected, 0.3)


def test_boxes_are_on_the_upright_picture(client, detector, rotated_photo):
    assert Image.open(rotated_photo).size == (600, 512)
    answer = client.post("/detect?threshold=0.05", content=rotated_photo.read_bytes()).json()
    assert (answer["width"], answer["height"]) == (512, 600)
    assert answer == detector(rotated_photo).to_dict()


FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "QOI", "TGA", "TIFF", "WEBP")


@pytest.mark.parametrize("file_format", FORMATS)
def test_formats(client, file_format):
    answer = client.post("/detect", content=encode(noise(64, 96), file_format))
    assert answer.status_code == 200
    assert (answer.json()["width"], answer.json()["height"]) == (96, 64)


def test_heic(client):
    pytest.importorskip("pillow_heif").register_heif_opener()
    content = encode(noise(64, 96), "HEIF")
    assert client.post("/detect", content=content).json()["width"] == 96
    shown = Image.open(BytesIO(client.post("/picture", content=content).content))
    assert (shown.format, shown.size) == ("JPEG", (96, 64))


@pytest.mark.parametrize(("file_format", "options"), [("GIF", {"duration": 120}), ("TIFF", {})])
def test_all_frames_have_their_faces(client, detector, photo, file_format, options):
    frames = [Image.open(photo).resize((256, 300)), noise(300, 256), Image.new("RGB", (256, 300))]
    options |= {"save_all": True, "append_images": frames[1:]}
    content = encode(frames[0], file_format, **options)
    answer = client.post("/detect?threshold=0.3", content=content).json()
    assert len(answer["frames"]) == 3
    if file_format == "GIF":
        assert [frame["time"] for frame in answer["frames"]] == [0, 0.12, 0.24]
    first = [face for face in answer["faces"] if face.pop("frame") == 0]
    [expected] = detector([Image.open(BytesIO(content))])
    assert first == of_at_least(expected, 0.3)["faces"]
    assert first


def test_frames_are_limited_together(detector):
    frames = [noise(100, 100, seed=seed) for seed in range(5)]
    content = encode(frames[0], "GIF", save_all=True, append_images=frames[1:])

    class Small:
        score_threshold, max_pixels = 0.05, 10_000

    answer = TestClient(create_app(Small()), OWN).post("/detect", content=content)
    assert (answer.status_code, answer.json()["error"]) == (413, "too many pixels")
    assert "5 frames" in answer.json()["message"]


def test_the_picture_for_browsers_that_cannot_show_it(client, rotated_photo):
    image = Image.open(rotated_photo)
    content = encode(image, "TIFF", exif=image.getexif())
    answer = client.post("/picture", content=content)
    assert answer.headers["Content-Type"] == "image/jpeg"
    shown = np.asarray(Image.open(BytesIO(answer.content))).astype(int)
    assert np.abs(shown - read_image(rotated_photo)).mean() < 3
    wide = encode(Image.new("L", (70_000, 2)), "TIFF")
    assert client.post("/picture", content=wide).headers["Content-Type"] == "image/png"
    assert client.post("/picture", content=b"no picture").status_code == 415


BAD_PICTURES = {
    "text": (b"no picture", 415, "not an image"),
    "JPEG XL": (b"\xff\x0a" + bytes(100), 415, "format not read"),
    "EPS": (encode(noise(8, 8), "EPS"), 415, "not an image"),
    "truncated": (encode(noise(64, 64), "JPEG")[:3000], 400, "truncated or damaged"),
    "damaged header": (encode(noise(64, 64), "PNG")[:20], 400, "truncated or damaged"),
    "without pixels": (b"GIF89a" + bytes(7) + b";", 415, "not an image"),
    "too large": (encode(Image.new("1", (6000, 5000)), "PNG"), 413, "too many pixels"),
    "a bomb": (encode(Image.new("1", (30000, 30000)), "PNG"), 413, "too many pixels"),
    "empty": (b"", 400, "empty"),
    "too many bytes": (bytes(200_001), 413, "too many bytes"),
}


@pytest.mark.parametrize("name", BAD_PICTURES)
def test_bad_pictures_are_refused(detector, name):
    content, status, reason = BAD_PICTURES[name]
    client = TestClient(create_app(detector, limits=SMALL), OWN)
    answer = client.post("/detect", content=content)
    assert (answer.status_code, answer.json()["error"]) == (status, reason)
    assert answer.json()["message"]


@pytest.mark.parametrize("declared", [None, "5", "-1", "many"])
def test_a_body_is_bounded_whatever_its_header_says(detector, declared):
    client = TestClient(create_app(detector, limits=SMALL), OWN)
    headers = {} if declared is None else {"Content-Length": declared}
    answer = client.post("/detect", content=iter([bytes(1000)] * 1000), headers=headers)
    assert (answer.status_code, answer.json()["error"]) == (413, "too many bytes")


def test_a_form_is_told_how_it_is_done(client, photo):
    answer = client.post("/detect", files={"file": photo.read_bytes()})
    assert answer.status_code == 415
    assert "--data-binary" in answer.json()["message"]


@pytest.mark.parametrize("threshold", ["0.04", "1.1", "nan", "high", ""])
def test_wrong_thresholds(client, photo, threshold):
    answer = client.post(f"/detect?threshold={threshold}", content=photo.read_bytes())
    assert (answer.status_code, answer.json()["error"]) == (422, "invalid parameter")
    assert "threshold" in answer.json()["message"]


@pytest.mark.parametrize(
    ("host", "is_own"),
    [
        ("127.0.0.1:8000", True),
        ("localhost:8000", True),
        ("LocalHost", True),
        ("[::1]:8000", True),
        ("192.168.1.7:8000", True),
        ("faces.lan:8000", True),
        ("evil.example", False),
        ("evil.example:8000", False),
        ("127.0.0.1.evil.example", False),
        ("localhost.evil.example:8000", False),
        ("user@127.0.0.1@evil.example", False),
        ("[::1", False),
        ("", False),
    ],
)
def test_hosts(client, photo, host, is_own):
    """A name that leads here although it is not ours is how DNS rebinding begins."""
    for method, path in (("GET", "/"), ("GET", "/settings"), ("POST", "/detect")):
        answer = client.request(method, path, headers={"Host": host}, content=b"no picture")
        assert (answer.status_code == 403) == (not is_own), path
        assert is_own or answer.json()["error"] == "wrong host"


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://127.0.0.1:8000", 415),
        ("https://127.0.0.1:8000", 415),  # behind a proxy
        ("http://127.0.0.1:3000", 403),
        ("http://localhost:8000", 403),
        ("https://evil.example", 403),
        ("http://[", 403),
        ("null", 403),
        ("", 403),
    ],
)
def test_origins(client, origin, status):
    answer = client.post("/detect", content=b"no picture", headers={"Origin": origin})
    assert answer.status_code == status
    assert client.get("/", headers={"Origin": origin}).status_code == 200


@pytest.fixture(scope="module")
def proxied(detector):
    return TestClient(create_app(detector, allowed_names=["Faces.example.org"]), OWN)


@pytest.mark.parametrize(
    ("host", "origin", "status"),
    [
        ("faces.example.org", "https://faces.example.org", 415),
        ("127.0.0.1:8000", "https://faces.example.org", 415),  # the proxy hides the name
        ("faces.example.org:8443", "https://faces.example.org:8443", 415),
        ("127.0.0.1:8000", "https://other.example.org", 403),
        ("127.0.0.1:8000", "https://faces.example.org.evil.example", 403),
        ("evil.example", "https://faces.example.org", 403),
        ("faces.example.org", "null", 403),
    ],
)
def test_names_of_proxies(proxied, client, host, origin, status):
    headers = {"Host": host, "Origin": origin}
    assert proxied.post("/detect", content=b"no picture", headers=headers).status_code == status
    assert client.post("/detect", content=b"no picture", headers=headers).status_code == 403


def test_a_refusal_names_the_option(client):
    refused = [
        client.get("/", headers={"Host": "faces.example.org:8443"}),
        client.post("/detect", headers={"Origin": "https://faces.example.org"}),
    ]
    for answer in refused:
        assert answer.status_code == 403
        assert "--allow-name faces.example.org" in answer.json()["message"]


@pytest.mark.parametrize("path", ["/", "/app.js", "/absent", "/../app.py", "/settings"])
def test_every_answer_has_the_security_headers(client, path):
    answer = client.get(path)
    policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'")
    assert "unsafe" not in policy
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.status_code == (404 if path in ("/absent", "/../app.py") else 200)
    assert answer.status_code == 200 or answer.json()["error"] == "not found"


def test_the_page_is_complete(client):
    """Its files are here; the API documentation, whose scripts are elsewhere, is not."""
    for file in STATIC_FOLDER.iterdir():
        assert client.get(f"/{file.name}").content == file.read_bytes()
        outside = file.read_text().replace("http://www.w3.org/2000/svg", "")
        assert "//" not in outside.replace("// ", ""), file
    assert client.get("/").content == (STATIC_FOLDER / "index.html").read_bytes()
    assert {client.get(path).status_code for path in ("/docs", "/redoc", "/openapi.json")} == {404}


def test_settings_and_health(client, detector):
    assert client.get("/settings").json() == {
        "threshold": 0.3,
        "lowest_threshold": 0.05,
        "max_bytes": 32_000_000,
        "max_pixels": 25_000_000,
        "formats": list(NAMED_FORMATS),
    }
    assert client.get("/healthz").json()["status"] == "ok"


class GatedDetector:
    """A detector that waits until a gate is opened, and counts."""

    def __init__(self, detector):
        self.detector = detector
        self.score_threshold, self.max_pixels = detector.score_threshold, detector.max_pixels
        self.gate, self.has_begun = threading.Event(), threading.Event()
        self.num_running = self.max_running = self.num_calls = 0

    def __call__(self, image):
        self.num_calls += 1
        self.num_running += 1
        self.max_running = max(self.max_running, self.num_running)
        self.has_begun.set()
        assert self.gate.wait(60)
        self.num_running -= 1
        return self.detector(image)


def test_one_picture_at_a_time_the_others_wait_or_are_turned_away(detector):
    gated = GatedDetector(detector)
    pictures = [encode(noise(64, 64, seed=seed), "PNG") for seed in range(3)]
    app = create_app(gated, limits=Limits(max_jobs=2))
    with TestClient(app, OWN) as client, ThreadPoolExecutor() as pool:
        jobs = [pool.submit(client.post, "/detect", content=pictures[0])]
        assert gated.has_begun.wait(60)
        jobs.append(pool.submit(client.post, "/detect", content=pictures[1]))
        while client.get("/healthz").json()["jobs"] < 2:  # answered while a picture is in work
            pass
        turned_away = client.post("/detect", content=pictures[2])
        assert (turned_away.status_code, turned_away.json()["error"]) == (503, "busy")
        assert int(turned_away.headers["Retry-After"]) > 0
        gated.gate.set()
        assert [job.result().status_code for job in jobs] == [200, 200]
        assert client.post("/detect", content=pictures[2]).status_code == 200
        assert client.get("/healthz").json()["jobs"] == 0
    assert (gated.max_running, gated.num_calls) == (1, 3)


def test_a_failure_of_the_detector_says_nothing_of_it(detector):
    class Broken:
        score_threshold, max_pixels = 0.05, 100

        def __call__(self, image):
            raise RuntimeError("a secret")

    client = TestClient(create_app(Broken()), OWN, raise_server_exceptions=False)
    answer = client.post("/detect", content=encode(noise(8, 8), "PNG"))
    assert (answer.status_code, answer.json()["error"]) == (500, "failed")
    assert "secret" not in answer.text
    assert client.get("/healthz").json()["jobs"] == 0


written = None  # by an audit hook, which cannot be taken away again


def note_files_written(event, arguments):
    if event == "open" and written is not None:
        path, mode, flags = arguments
        if set(mode or "") & set("wax+") or (flags or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            written.append(path)


def test_no_picture_is_written_or_logged(client, tmp_path, caplog, monkeypatch):
    sys.addaudithook(note_files_written)
    monkeypatch.setattr(sys.modules[__name__], "written", [])
    (tmp_path / "seen").write_text("the hook works")
    with caplog.at_level("INFO"):
        content = encode(noise(620, 620), "BMP")  # larger than what is spooled to disk elsewhere
        assert client.post("/detect", content=content).status_code == 200
        assert client.post("/detect", content=content[:-1000]).status_code == 400
    assert list(map(str, written)) == [str(tmp_path / "seen")]
    assert not [record for record in caplog.records if not record.name.startswith("httpx")]
