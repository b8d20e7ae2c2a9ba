"""The web application of ``srn-d2 serve``: a page that finds faces, and its HTTP interface.

Pictures come as the body of ``POST /detect``, stay in memory, and are neither stored nor logged.

Importing it raises an ImportError that names the extra where fastapi or uvicorn is not installed.
"""

try:
    import fastapi  # noqa: F401
    import uvicorn  # noqa: F401
except ImportError as error:
    raise ImportError(
        f"The server needs {error.name or error}: pip install 'srn_d2[serve]'"
    ) from error
