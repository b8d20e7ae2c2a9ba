"""A folder of small real pictures, and annotation files beside it."""

import json

import pytest

from helpers.small_pictures import write_picture

NAMES = ("a.jpg", "sub/b.png", "sub/c d.jpg", "sub/ä.jpg")


@pytest.fixture(scope="session")
def pictures(tmp_path_factory):
    """The pictures NAMES, upright, of one size."""
    folder = tmp_path_factory.mktemp("pictures")
    for name in NAMES:
        write_picture(folder / name)
    return folder


@pytest.fixture
def write(tmp_path):
    """Write an annotation file, of text or bytes or an object as JSON; returns its path."""

    def write_file(name, content):
        path = tmp_path / name
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            text = content if isinstance(content, str) else json.dumps(content)
            path.write_text(text, encoding="utf-8")
        return path

    return write_file
