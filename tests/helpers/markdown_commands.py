"""The code blocks and commands of Markdown pages."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

FENCE = re.compile(r"^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
NOT_RUN = re.compile(r"<!-- not run: (?P<reason>.+?) -->\n\Z")
INLINE = re.compile(r"`([^`]+)`")
ASSIGNMENT = re.compile(r"(?P<name>[A-Za-z_]\w*)=(?P<value>.*)", re.DOTALL)


class Block(NamedTuple):
    """A block of code.

    Attributes:
        line: of the page where its text begins, from 1.
        language: as the fence names it.
        reason: why it is not run, from the comment before it; None: it is.
    """

    line: int
    language: str
    text: str
    reason: str | None


def code_blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    blocks = []
    for fence in FENCE.finditer(text):
        marker = NOT_RUN.search(text[: fence.start()])
        reason = marker["reason"] if marker else None
        line = text.count("\n", 0, fence.start()) + 2
        blocks.append(Block(line, fence["language"], fence["text"], reason))
    return blocks


def inline_code(page: Path) -> list[str]:
    """What stands between backticks in a page's prose, each on one line."""
    prose = FENCE.sub("", page.read_text(encoding="utf-8"))
    return [" ".join(code.split()) for code in INLINE.findall(prose)]


def shell_commands(script: str) -> Iterator[list[str]]:
    """The words of each command, one after the other, with the script's own variables filled in.

    It knows what the pages use: ``\\`` at the end of a line, quotes, comments, ``&&``, ``export``
    and variables with values of several words.
    """
    variables: dict[str, str] = {}
    pending = ""
    for line in script.splitlines():
        pending += line + "\n"
        if pending.endswith("\\\n"):
            pending = pending[:-2]
            continue
        try:
            words = shlex.split(pending, comments=True)
        except ValueError:  # a quotation that goes on
            continue
        pending = ""
        if len(words) == 1 and (assignment := ASSIGNMENT.fullmatch(words[0])):
            variables[assignment["name"]] = assignment["value"]
            continue
        words = [part for word in words for part in _fill_in(word, variables)]
        yield from _split_at_and(words)


def _fill_in(word: str, variables: dict[str, str]) -> list[str]:
    """Several words where the word is a variable, as a shell makes of one without quotes."""
    return shlex.split(variables[word[1:]]) if word[1:] in variables and word[0] == "$" else [word]


def _split_at_and(words: list[str]) -> Iterator[list[str]]:
    command: list[str] = []
    for word in [*words, "&&"]:
        if word != "&&":
            command.append(word)
        elif command:
            yield command
            command = []
