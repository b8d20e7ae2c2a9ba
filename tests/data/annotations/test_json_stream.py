"""JSON read piece by piece is what json.load reads, whatever the pieces."""

import io
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from srn_d2.data.annotation_files import AnnotationFormatError
from srn_d2.data.annotations.json_stream import JsonStream

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=12,
)
chunks = st.integers(1, 40)


def read_whole(stream):
    """The whole object or list, each of its parts by the stream."""
    if stream.peek() == "{":
        return {key: read_list_or_value(stream) for key in stream.keys()}  # noqa: SIM118
    return read_list_or_value(stream)


def read_list_or_value(stream):
    return list(stream.items()) if stream.peek() == "[" else stream.value()


@given(values, chunks, st.sampled_from([None, 2]), st.booleans())
def test_same_as_json_load(value, chunk, indent, ascii_only):
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
    stream = JsonStream(io.StringIO(text), "a.json", chunk)
    assert read_whole(stream) == value
    assert stream.peek() == ""


@settings(max_examples=30)
@given(
    st.dictionaries(st.text(max_size=3), st.lists(values, max_size=3), min_size=1),
    chunks,
    st.data(),
)
def test_a_cut_file_is_an_error(value, chunk, data):
    text = json.dumps(value)
    cut = text[: data.draw(st.integers(0, len(text) - 1))]
    with pytest.raises(AnnotationFormatError, match="line 1: damaged JSON"):
        read_whole(JsonStream(io.StringIO(cut), "a.json", chunk))


@pytest.mark.parametrize("chunk", [1, 7, 1000])
@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('{"a": [1,\n2,\n?]}', 3),
        ('{\n\n"a" 1}', 3),
        ('{"a": [1\n2]}', 2),
        ("{\n1: 2}", 2),
        ('{"a": 1,\n\n}', 3),
        ('{"a":\n"b', 2),
        ("[" * 100_000, 1),
        ("[1" + "0" * 5000 + "]", 1),
    ],
)
def test_the_error_names_the_line(text, line, chunk):
    if len(text) > 100 and chunk == 1:
        return
    with pytest.raises(AnnotationFormatError, match=rf"a\.json, line {line}: "):
        read_whole(JsonStream(io.StringIO(text), "a.json", chunk))
