"""Sizes that annotations give against those of the files."""

import pytest

from helpers.small_pictures import SIZE, write_picture
from srn_d2.data.annotation_files import AnnotationFormatError
from srn_d2.data.annotations import read_faces
from srn_d2.data.annotations.image_sizes import read_header_sizes
from srn_d2.data.image_io import read_image


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """upright.*, and for each EXIF orientation turned_N.*, all SIZE in the file."""
    folder = tmp_path_factory.mktemp("sizes")
    for suffix in ("jpg", "png", "webp", "tif"):
        write_picture(folder / f"upright.{suffix}")
        for orientation in (3, 6, 8):
            write_picture(folder / f"turned_{orientation}.{suffix}", orientation=orientation)
    return folder


def coco(name, size):
    image = {"id": 1, "file_name": name, "width": size[0], "height": size[1]}
    annotation = {"image_id": 1, "category_id": 1, "bbox": [1, 2, 30, 40]}
    categories = [{"id": 1, "name": "face"}]
    return {"images": [image], "annotations": [annotation], "categories": categories}


def test_headers_say_what_reading_gives(folder):
    paths = sorted(map(str, folder.iterdir()))
    assert len(paths) == 16
    sizes = read_header_sizes(paths).sizes
    assert sizes.tolist() == [list(read_image(path).shape[1::-1]) for path in paths]


@pytest.mark.parametrize(
    ("name", "size", "kind"),
    [
        ("upright.jpg", SIZE, None),
        ("upright.jpg", SIZE[::-1], "width and height exchanged"),
        ("upright.jpg", (SIZE[0] * 2, SIZE[1] * 2), "the same picture in another size"),
        ("upright.jpg", (SIZE[0] // 4 + 1, SIZE[1] // 4), "another picture|the same picture"),
        ("upright.jpg", (SIZE[0], SIZE[0]), "another picture"),
        ("upright.jpg", (str(SIZE[0]), float(SIZE[1])), None),
        ("upright.jpg", (None, None), None),
        ("upright.jpg", (0, 0), None),
        ("upright.jpg", ("?", SIZE[1]), None),
        ("turned_6.jpg", SIZE, "the size before the file's EXIF orientation turns it"),
        ("turned_6.jpg", SIZE[::-1], None),
        ("turned_8.webp", SIZE, "the size before the file's EXIF orientation turns it"),
        ("turned_3.jpg", SIZE, None),
        ("turned_6.jpg", (SIZE[1] * 2, SIZE[0] * 2), "the same picture in another size"),
    ],
)
def test_compared(write, folder, name, size, kind):
    path = write("f.json", coco(name, size))
    if kind is None:
        table = read_faces(path, folder)
        assert table.notes == []
    else:
        with pytest.raises(AnnotationFormatError, match=rf"of 1 of 1 images.*1 ({kind})"):
            read_faces(path, folder)
        table = read_faces(path, folder, allow_size_mismatch=True)
        assert "another size than the file has" in table.summary()
    assert table.boxes.tolist() == [[1, 2, 30, 40]]
    image = table.to_dicts()[0]
    assert (image["width"], image["height"]) == tuple(read_image(folder / name).shape[1::-1])


def test_files_that_cannot_be_read_are_counted(write, tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"no picture")
    table = read_faces(write("f.json", coco("a.jpg", SIZE)), tmp_path)
    assert "1 images cannot be read, 'a.jpg' first" in table.summary()
    assert table.sizes.tolist() == [[0, 0]]
    assert table.best_sizes().tolist() == [list(SIZE)]
