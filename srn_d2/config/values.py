"""Types of config values: what is converted, and what is refused by which message."""

import ast
import re
from typing import Any

EXPECTED = {
    bool: "True or False",
    int: "a whole number",
    float: "a number",
    str: "a text",
    tuple: "a tuple",
    list: "a list",
}


class ConfigValueError(ValueError):
    """A key has a value of a wrong type; the message names the key and what it takes."""


def decode(value: Any) -> Any:
    """The value of a Python literal in a text; any other text, and what is no text, as it is."""
    if not isinstance(value, str):
        return value
    try:
        return ast.literal_eval(value)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return value


def convert(key: str, given: Any, default: Any) -> Any:
    """Convert a value from a file or a command line to the type of the key's default.

    Whole numbers are numbers, 1e4 is a whole number, lists are tuples, and any text or number is a
    text.

    Args:
        key: full name, for the message.
        given: the value; a text may hold any Python literal.
        default: value that it replaces; None: any type.

    Raises:
        ConfigValueError: the types differ.
    """
    value, wanted = decode(given), type(default)
    if wanted is str:  # a folder may be called 2026, or None
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        value = given if isinstance(given, str) and not isinstance(value, str) else value
        value = str(value) if is_number else value
    elif wanted is float and type(value) is int:
        value = float(value)
    elif wanted is int and type(value) is float and value.is_integer():
        value = int(value)
    elif wanted in (tuple, list) and isinstance(value, (tuple, list)):
        value = wanted(value)
        _check_elements(key, value, default)
    if default is not None and type(value) is not wanted:
        raise ConfigValueError(f"{key} is {given!r}: it must be {_expected(given, default)}")
    return value


def _check_elements(key: str, value: tuple | list, default: tuple | list) -> None:
    """Raise a ConfigValueError for an element that is no number, or no text, as the default's."""
    for wanted, name in (((int, float), "numbers"), ((str,), "texts")):
        if not default or not all(type(element) in wanted for element in default):
            continue
        wrong = [element for element in value if type(element) not in wanted]
        if wrong:
            raise ConfigValueError(
                f"{key} is {value!r}: {wrong[0]!r} is wrong in it, it holds {name}, such as "
                f"{default!r}"
            )


def _expected(given: Any, default: Any) -> str:
    expected = EXPECTED.get(type(default), f"of type {type(default).__name__}")
    if isinstance(default, (tuple, list)) and isinstance(given, str):
        names = [name for name in re.split(r"[\s,()\[\]'\"]+", given) if name]
        literal = repr(type(default)(names))
        return f'{expected}, on a command line within quotes: "{literal}"'
    return f"{expected}, such as {default!r}"
