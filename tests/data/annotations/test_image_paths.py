"""Names of images as exporters write them, and those that stay ambiguous."""

import unicodedata

import pytest

from srn_d2.data.annotations.image_paths import resolve_names


def below(folder, paths):
    return [path.removeprefix(f"{folder}/") for path in paths]


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("sub\\b.png", "sub/b.png"),
        (r"C:\Users\me\photos\sub\b.png", "sub/b.png"),
        (".\\sub\\b.png", "sub/b.png"),
        ("sub/c%20d.jpg", "sub/c d.jpg"),
        ("sub/%C3%A4.jpg", "sub/ä.jpg"),
        ("file:///home/me/photos/sub/c%20d.jpg", "sub/c d.jpg"),
        ("file://sub/b.png", "sub/b.png"),
        ("https://host.example/photos/a.jpg?X-Token=1%2F2", "a.jpg"),
        ("s3://bucket/photos/a.jpg", "a.jpg"),
        ("/mnt/disk/photos/sub/b.png", "sub/b.png"),
        ("train/images/a.jpg", "a.jpg"),
        ("b.png", "sub/b.png"),
        ("SUB/B.PNG", "sub/b.png"),
        ("../photos/a.jpg", "a.jpg"),
        (" a.jpg ", "a.jpg"),
        (unicodedata.normalize("NFD", "sub/ä.jpg"), "sub/ä.jpg"),
        ("sub/\udce4.jpg", "sub/ä.jpg"),  # cp1252
        ("images/0a1b2c3d-b.png", "sub/b.png"),  # Label Studio
        ("/data/upload/1/0a1b2c3d-c%20d.jpg", "sub/c d.jpg"),
        ("/data/local-files/?d=photos/sub/b.png", "sub/b.png"),
        ("a", "a.jpg"),
    ],
)
def test_read_as_it_is_meant(pictures, name, file):
    paths, note = resolve_names(pictures, [name])
    assert below(pictures, paths) == [file]
    assert "1 " in note
    assert repr(file) in note


def test_as_they_are(pictures):
    names = ["a.jpg", "sub/c d.jpg", "./sub/../a.jpg"]
    paths, note = resolve_names(pictures, names)
    assert paths == [f"{pictures}/{name}" for name in names]
    assert note == ""


def test_an_absolute_path_that_is_there(pictures):
    name = str(pictures / "a.jpg")
    assert resolve_names(pictures / "sub", [name]) == ([name], "")


def test_a_name_with_per_cent_signs_is_left_alone(tmp_path):
    for name in ("100%25.jpg", "100%.jpg"):
        (tmp_path / name).touch()
    assert below(tmp_path, resolve_names(tmp_path, ["100%25.jpg"])[0]) == ["100%25.jpg"]
    assert below(tmp_path, resolve_names(tmp_path, ["x/100%25.jpg"])[0]) == ["100%25.jpg"]


@pytest.mark.parametrize("name", ["c.jpg", "x/c.jpg", "C.JPG"])
def test_two_files_that_fit(tmp_path, name):
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "c.jpg").touch()
    with pytest.raises(FileNotFoundError, match=r"it could be .*one/c\.jpg or two/c\.jpg|two") as e:
        resolve_names(tmp_path, [name])
    assert "image_root" in str(e.value)
    assert "DETECTRON2" not in str(e.value)
    # The longest common end decides.
    assert below(tmp_path, resolve_names(tmp_path, ["x/two/c.jpg"])[0]) == ["two/c.jpg"]


@pytest.mark.parametrize("names", [["x/a.jpg", "y/a.jpg"], ["a.jpg", "y/a.jpg"]])
def test_two_names_for_one_file(pictures, names):
    with pytest.raises(FileNotFoundError, match="as another name, it could be"):
        resolve_names(pictures, names)


def test_missing_images_are_counted_and_named(pictures):
    with pytest.raises(FileNotFoundError, match=r"7 of 8 images are missing below image_root") as e:
        resolve_names(pictures, ["a.jpg", *(f"no{i}.jpg" for i in range(7))])
    assert "no0.jpg" in str(e.value)
    assert "a.jpg" not in str(e.value)
    for name in ("", "..", "/", "\0.jpg", "file://", "sub"):
        with pytest.raises(FileNotFoundError, match="1 of 1 images"):
            resolve_names(pictures, [name])
    with pytest.raises(FileNotFoundError, match="image_root, is not there"):
        resolve_names(pictures / "nowhere", ["a.jpg"])
