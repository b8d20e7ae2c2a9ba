"""The page in a real browser: Chromium, driven through playwright."""

import base64
import json
import shutil
from io import BytesIO
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image

from srn_d2.data.image_io import EXIF_ORIENTATION, read_image
from srn_d2.server.app import create_app

playwright = pytest.importorskip(
    "playwright.sync_api", reason="playwright is not installed: pip install playwright"
)
expect = playwright.expect

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
OPTIONS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    "--disable-dev-shm-usage",
]
SECONDS = 60  # for a picture's faces, on a busy machine

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on the PATH: install it")

# A drop as the browser reports it: the files' names, and their content in base64.
DROP = """files => {
  const transfer = new DataTransfer();
  for (const [name, content] of files) {
    const bytes = Uint8Array.from(atob(content), character => character.charCodeAt(0));
    transfer.items.add(new File([bytes], name));
  }
  for (const type of ["dragover", "drop"]) {
    const options = {dataTransfer: transfer, bubbles: true, cancelable: true};
    document.querySelector("main").dispatchEvent(new DragEvent(type, options));
  }
}"""
PASTE = DROP.replace('["dragover", "drop"]', '["paste"]').replace(
    "DragEvent(type, options)", "ClipboardEvent(type, {clipboardData: transfer, bubbles: true})"
)


@pytest.fixture(scope="module")
def url(detector, running):
    with running(create_app(detector, threshold=0.3)) as address:
        yield address


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser, url):
    """The page; at the end there was no error in it, and no request to another host."""
    page = browser.new_page(viewport={"width": 1200, "height": 800})
    page.set_default_timeout(1000 * SECONDS)
    expect.set_options(timeout=1000 * SECONDS)
    problems, requests = [], []
    page.on("console", lambda message: problems.append(message.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(url)
    yield page
    page.close()
    # What the network answers the browser reports itself.
    assert [text for text in problems if "status of 415" not in text] == []
    assert {urlsplit(address.removeprefix("blob:")).netloc for address in requests} == {
        urlsplit(url).netloc
    }


def drop(page, *files, script=DROP):
    """Drop (name, content) pairs."""
    page.evaluate(script, [(name, base64.b64encode(content).decode()) for name, content in files])


def boxes_shown(page):
    """XYXY of the boxes that can be seen, as fractions of the picture."""
    frame = page.locator("#picture").bounding_box()
    boxes = [box.bounding_box() for box in page.locator("#boxes .face:visible").all()]
    corners = [(b["x"], b["y"], b["x"] + b["width"], b["y"] + b["height"]) for b in boxes]
    origin = np.array([frame["x"], frame["y"]] * 2)
    return (np.reshape(corners, (-1, 4)) - origin) / ([frame["width"], frame["height"]] * 2)


def difference(shown, pixels):
    """The mean difference of a picture on the screen from the pixels (H, W, 3) of another."""
    resized = Image.fromarray(pixels).resize(shown.size)
    return np.abs(np.asarray(shown, float) - np.asarray(resized, float)).mean()


def save_json(page):
    with page.expect_download() as download:
        page.get_by_role("button", name="Download JSON").click()
    with open(download.value.path(), encoding="utf-8") as file:
        return download.value.suggested_filename, json.load(file)


def move_slider(page, value):
    page.get_by_label("Lowest score").fill(str(value))


def test_choose_move_the_threshold_and_download(page, detector, photo):
    expected = detector(photo).to_dict()
    assert len(expected["faces"]) >= 2
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Choose pictures").click()
    requests = []
    page.on("request", lambda request: requests.append(request.method))
    chooser.value.set_files(photo)
    expect(page.locator("#boxes .face")).to_have_count(len(expected["faces"]))
    scores = [face["score"] for face in expected["faces"]]
    for threshold in (0.3, 0.05, 0.99, round(scores[1], 2) - 0.01):
        move_slider(page, threshold)
        faces = [face for face in expected["faces"] if face["score"] >= threshold]
        boxes = np.reshape([face["bbox"] for face in faces], (-1, 4)) / ([512, 600] * 2)
        np.testing.assert_allclose(boxes_shown(page), boxes, atol=0.003)
        assert page.locator("#list li:visible").count() == len(faces)
        number = "1 face" if len(faces) == 1 else f"{len(faces)} faces"
        assert page.locator("#count").inner_text() == number
        name, record = save_json(page)
        assert name == "grace_hopper.faces.json"
        assert record == {"file_name": photo.name, **expected, "faces": faces}
    assert requests.count("POST") == 1


def test_a_rotated_picture_is_shown_upright_with_its_boxes(page, detector, rotated_photo):
    expected = detector(rotated_photo)
    drop(page, (rotated_photo.name, rotated_photo.read_bytes()))
    expect(page.locator("#boxes .face")).to_have_count(len(expected))
    move_slider(page, 0.05)
    np.testing.assert_allclose(boxes_shown(page), expected.boxes / ([512, 600] * 2), atol=0.003)
    move_slider(page, 1)  # nothing covers the picture
    shown = Image.open(BytesIO(page.locator("#picture").screenshot())).convert("RGB")
    upright = read_image(rotated_photo)
    assert difference(shown, upright) < 8 < difference(shown, upright[::-1, ::-1])


@pytest.mark.parametrize("orientation", [3, 6])
def test_boxes_are_on_a_webp_picture_as_it_is_shown(page, detector, photo, tmp_path, orientation):
    """Browsers need not turn it, so the page shows what the server sees."""
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = orientation
    path = tmp_path / "turned.webp"
    stored = Image.open(photo).resize((256, 300))
    stored.save(path, exif=exif, lossless=True)
    page.locator("#files").set_input_files(path)
    expect(page.locator("#download")).to_be_enabled()
    move_slider(page, 1)
    shown = Image.open(BytesIO(page.locator("#picture").screenshot())).convert("RGB")
    seen = read_image(path)
    assert difference(shown, seen) < 8
    expected = detector(seen)
    assert len(expected)
    move_slider(page, 0.05)
    fractions = expected.boxes / (list(seen.shape[1::-1]) * 2)
    np.testing.assert_allclose(boxes_shown(page), fractions, atol=0.003)


@pytest.mark.parametrize("name", ["hopper.tif", "hopper.jp2", "hopper.gif"])
def test_what_browsers_do_not_show_comes_from_the_server(page, detector, photo, tmp_path, name):
    """Formats that they do not know, and animations, whose first frame is shown."""
    first, path = Image.open(photo).resize((256, 300)), tmp_path / name
    options = {}
    if name == "hopper.gif":
        options = {"save_all": True, "append_images": [Image.new("RGB", first.size)]}
    first.save(path, **options)
    page.locator("#files").set_input_files(path)
    expect(page.locator("#name")).to_have_text(name)
    expect(page.locator("#busy")).to_be_hidden()
    expect(page.locator("#download")).to_be_enabled()
    expected = detector(path)
    assert len(expected)
    move_slider(page, 0.05)
    fractions = expected.boxes / ([256, 300] * 2)
    np.testing.assert_allclose(boxes_shown(page), fractions, atol=0.003)
    _, record = save_json(page)
    assert ("first of 2 frames" in page.locator("#size").inner_text()) == bool(options)
    assert ("frames" in record) == bool(options)
    move_slider(page, 1)
    shown = Image.open(BytesIO(page.locator("#picture").screenshot())).convert("RGB")
    assert difference(shown, read_image(path)) < 8


def test_what_is_no_picture_is_refused_and_the_rest_is_shown(page, photo):
    drop(page, ("notes.txt", b"no picture"))
    expect(page.get_by_role("alert")).to_contain_text("notes.txt: the picture cannot be decoded")
    expect(page.locator("#viewer")).to_be_hidden()
    drop(page, ("notes.txt", b"no picture"), ("hopper.jpg", photo.read_bytes()))
    expect(page.locator("#name")).to_have_text("hopper.jpg")
    expect(page.locator("#busy")).to_be_hidden()
    expect(page.get_by_role("alert")).to_contain_text("notes.txt: the picture cannot be decoded")
    drop(page)
    expect(page.get_by_role("alert")).to_have_text("There is no file in that")


def test_too_large_a_file_is_not_even_sent(page):
    posts = []
    page.on("request", lambda request: posts.append(request.method))
    page.evaluate(
        """() => {
          const transfer = new DataTransfer();
          transfer.items.add(new File([new Uint8Array(32_000_001)], "film.jpg"));
          const options = {clipboardData: transfer, bubbles: true};
          document.body.dispatchEvent(new ClipboardEvent("paste", options));
        }"""
    )
    expect(page.get_by_role("alert")).to_have_text(
        "film.jpg: the file is larger than the limit of 32 MB"
    )
    assert "POST" not in posts


def test_several_pictures_and_the_keyboard(page, photo):
    small = BytesIO()
    Image.new("RGB", (96, 64)).save(small, "PNG")
    drop(page, ("a.png", small.getvalue()), ("b.jpg", photo.read_bytes()), script=PASTE)
    expect(page.locator("#strip button:not(.pending)")).to_have_count(2)
    expect(page.locator("#name")).to_have_text("a.png")
    expect(page.locator("#count")).to_have_text("0 faces")
    page.locator("#strip button").nth(1).focus()
    page.keyboard.press("Enter")
    expect(page.locator("#name")).to_have_text("b.jpg")

    slider = page.get_by_label("Lowest score")
    slider.focus()
    page.keyboard.press("Home")
    assert slider.input_value() == "0.05"
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    assert page.locator(".face.marked").count() == 1
    assert page.evaluate("document.activeElement.getAttribute('aria-activedescendant')") == "face-1"

    slider.fill("0.3")  # without the weaker boxes that lie over the best one
    page.locator("#boxes .face").first.hover()
    assert page.locator("#list li.marked").get_attribute("id") == "face-0"

    page.get_by_role("button", name="Remove all").click()
    expect(page.get_by_role("button", name="Choose pictures")).to_be_focused()
    expect(page.locator("#viewer")).to_be_hidden()
    assert page.locator("#strip button").count() == 0
