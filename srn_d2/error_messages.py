"""Error messages for the command line."""


def message_of(error: Exception) -> str:
    """An error's message for the command line: str() of a KeyError quotes it, line breaks too."""
    return str(error.args[0] if isinstance(error, KeyError) and error.args else error)
