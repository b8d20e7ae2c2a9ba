"""JSON read piece by piece: a file of any size in little memory, with the line of an error.

The standard library's decoder reads each item, so that the result is ``json.load``'s.
"""

import json
import re
from collections.abc import Iterator
from typing import Any, TextIO

from srn_d2.data.annotation_files import AnnotationFormatError

_BLANKS = re.compile(r"[ \t\r\n]*")
# Characters behind a number that may belong to it, and do not decode without what follows.
_CUT_NUMBER = 2
# Characters that are read at a time.
CHUNK = 1 << 20


class JsonStream:
    """The values of a JSON text, from front to back."""

    def __init__(self, file: TextIO, source: str, chunk: int = CHUNK) -> None:
        """
        Args:
            file: opened for reading.
            source: the file's name, for messages.
            chunk: characters that are read at a time, at least 1.
        """
        self._file, self._source, self._chunk = file, source, chunk
        self._text, self._at = "", 0
        self._lines_before = 0  # line ends before the text that is held
        self._decode = json.JSONDecoder().raw_decode

    def peek(self) -> str:
        """The first character of what comes next; "" at the end of the file."""
        while True:
            self._at = _BLANKS.match(self._text, self._at).end()  # type: ignore[union-attr]
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._fill():
                return ""

    def value(self) -> Any:
        """The next value.

        Raises:
            AnnotationFormatError: there is none, or it is damaged.
        """
        self.peek()
        while True:
            try:
                value, end = self._decode(self._text, self._at)
            except (ValueError, RecursionError) as error:  # it may also just be cut
                if self._fill():
                    continue
                raise self._error(getattr(error, "msg", str(error)), error) from error
            # A number near the end of the text may go on: "1" in "1", "1.", "1e" and "1e+".
            if end + _CUT_NUMBER < len(self._text) or not self._fill():
                self._at = end
                return value

    def items(self) -> Iterator[Any]:
        """The items of the list that comes next."""
        self._take("[")
        if self.peek() == "]":
            self._at += 1
            return
        while True:
            yield self.value()
            if self._take(",]") == "]":
                return

    def keys(self) -> Iterator[str]:
        """The keys of the object that comes next; after each, its value must be read."""
        self._take("{")
        if self.peek() == "}":
            self._at += 1
            return
        while True:
            if self.peek() != '"':
                raise self._error("expected a key in double quotes")
            key = self.value()
            self._take(":")
            yield key
            if self._take(",}") == "}":
                return

    def _take(self, characters: str) -> str:
        found = self.peek()
        if not found or found not in characters:
            raise self._error(f"expected {' or '.join(map(repr, characters))}")
        self._at += 1
        return found

    def _fill(self) -> bool:
        """Forget what has been read, and read on; False at the end of the file."""
        # A value longer than a chunk: twice as much each time, for it is decoded anew.
        chunk = self._file.read(max(self._chunk, len(self._text) - self._at))
        if not chunk:
            return False
        self._lines_before += self._text.count("\n", 0, self._at)
        self._text, self._at = self._text[self._at :] + chunk, 0
        return True

    def _error(self, problem: str, error: Exception | None = None) -> AnnotationFormatError:
        at = getattr(error, "pos", self._at)
        line = self._lines_before + self._text.count("\n", 0, at) + 1
        return AnnotationFormatError(self._source, f"line {line}", f"damaged JSON: {problem}")
