"""Names of files in messages."""

from srn_d2.error_messages import printable

__all__ = ["counted", "printable", "without_path"]


def counted(number: int, noun: str) -> str:
    """A number of things: ``1 face``, ``2 faces``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def without_path(text: str, path: str) -> str:
    """An error's text without the path that it begins with, for a line that begins with it."""
    for name in (path, printable(path)):
        if text.startswith(f"{name}: ") or text.startswith(f"{name}, "):
            return text[len(name) + 2 :]
        for subject in (name, f"The video {name}"):
            if text.startswith(f"{subject} "):
                return f"it{text[len(subject) :]}"
    return text
