"""Requirements of the installed package and their check. Needs no package."""

import importlib.metadata
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence


def installed_requirements() -> list[str] | None:
    """The requirements that the installed srn_d2 declares; None if it is not installed."""
    try:
        return importlib.metadata.requires("srn_d2") or []
    except importlib.metadata.PackageNotFoundError:
        return None


def requirements_by_extra(requirements: Iterable[str]) -> dict[str, list[str]]:
    """Map each extra to its requirements, including those of extras it names (``srn_d2[eval]``).

    Args:
        requirements: such as "numpy" and 'h5py; extra == "eval"'.
    """
    by_extra: dict[str, list[str]] = {}
    for text in requirements:
        requirement, _, marker = text.partition(";")
        if match := re.search(r"extra == ['\"]([\w.-]+)['\"]", marker):
            by_extra.setdefault(match.group(1), []).append(requirement.strip())
    return {extra: list(_required_by(extra, by_extra)) for extra in by_extra}


def _required_by(extra: str, by_extra: Mapping[str, Sequence[str]]) -> Iterator[str]:
    for text in by_extra.get(extra, ()):
        if match := re.match(r"srn[-_.]d2\[([^]]*)\]", text):
            for other in match.group(1).split(","):
                yield from _required_by(other.strip(), by_extra)
        else:
            yield text


def requirement_problem(requirement: str) -> str:
    """Problem with the installed version of ``requirement``; "" if there is none.

    Args:
        requirement: such as "omegaconf<2.4", without a marker.
    """
    match = re.match(r"[\w.-]+", requirement)
    name = match.group() if match else requirement
    try:
        installed = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return f"{name} is not installed"
    try:
        from packaging.requirements import Requirement
    except ImportError:  # reported as missing itself
        return ""
    if Requirement(requirement).specifier.contains(installed, prereleases=True):
        return ""
    return f"{name} is {installed}, wanted {requirement}"
