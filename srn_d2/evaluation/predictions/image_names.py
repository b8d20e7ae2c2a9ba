"""The image that a prediction's file name or id means.

Tools write the names of images with other folders before them, without their folders, or with
another suffix. A name means an image where the parts that both have are equal from the end, or
where the last part alone leaves one image and one name.
"""

import itertools
import os
import unicodedata
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import unquote, urlparse

from srn_d2.data.annotation_files import has_image_suffix

ImageId = Hashable
Size = tuple[int, int]  # height, width in pixels


@dataclass(frozen=True)
class NameMatches:
    """What :meth:`ImageNames.match` finds.

    Attributes:
        images: name -> image id.
        unknown: names of no image.
        ambiguous: names of several images, or several names of one image.
        by_last_part: those of ``images`` whose folders are others than the image's.
    """

    images: dict[str, ImageId] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)
    ambiguous: list[str] = field(default_factory=list)
    by_last_part: list[str] = field(default_factory=list)


class ImageNames:
    """The images of a ground truth, found by their names.

    Attributes:
        names: image id -> its path below the image root, with "/" between folders.
    """

    def __init__(
        self, names: Mapping[ImageId, str], size_of: Callable[[ImageId], Size | None] | None = None
    ) -> None:
        """Index the names.

        Args:
            names: image id -> file name.
            size_of: gives (height, width) of an image in pixels, or None where that is unknown.
        """
        self.names = dict(names)
        self._size_of = size_of
        self._parts = {image_id: _parts(name) for image_id, name in self.names.items()}
        self._by_stem: dict[str, list[ImageId]] = {}
        self._by_flat_name: dict[str, list[ImageId]] = {}
        for image_id, parts in self._parts.items():
            self._by_stem.setdefault(_stem(parts[-1]), []).append(image_id)
            if len(parts) > 1:
                flat = _stem("_".join(parts))
                self._by_flat_name.setdefault(flat, []).append(image_id)

    @classmethod
    def of_ids(cls, image_ids: Iterable[str], size_of=None) -> "ImageNames":
        """Images whose ids are their names, such as WIDER FACE's "event/image"."""
        return cls({image_id: image_id for image_id in image_ids}, size_of)

    def size(self, image_id: ImageId) -> Size | None:
        """(height, width) in pixels; None where it is unknown."""
        return None if self._size_of is None else self._size_of(image_id)

    def match(self, names: Iterable[str]) -> NameMatches:
        """The image of each name; no image is given to two names."""
        found = NameMatches()
        claims: dict[ImageId, list[tuple[_Rank, str]]] = {}
        for name in dict.fromkeys(names):
            candidates = self._candidates(name)
            best = max((rank for rank, _ in candidates), default=None)
            images = [image_id for rank, image_id in candidates if rank == best]
            if best is None:
                found.unknown.append(name)
            elif len(images) > 1:
                found.ambiguous.append(name)
            else:
                claims.setdefault(images[0], []).append((best, name))
        for image_id, claimants in claims.items():
            best = max(rank for rank, _ in claimants)
            winners = [name for rank, name in claimants if rank == best]
            if len(winners) == 1:
                found.images[winners[0]] = image_id
                if not best.is_end:
                    found.by_last_part.append(winners[0])
            else:
                found.ambiguous.extend(winners)
            found.unknown.extend(name for rank, name in claimants if rank < best)
        return found

    def _candidates(self, name: str) -> list[tuple["_Rank", ImageId]]:
        """(rank, image) of the images that the name may mean."""
        parts = _parts(name)
        if not parts:
            return []
        candidates = []
        for image_id in self._by_stem.get(_stem(parts[-1]), ()):
            own = self._parts[image_id]
            pairs = zip(reversed(own[:-1]), reversed(parts[:-1]), strict=False)
            folders = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))
            is_end = folders == min(len(own), len(parts)) - 1
            candidates.append(
                (_Rank(own == parts, is_end, folders, own[-1] == parts[-1]), image_id)
            )
        if not candidates and len(parts) == 1:
            flat = self._by_flat_name.get(_stem(parts[0]), ())
            candidates = [(_Rank(False, True, 0, False), image_id) for image_id in flat]
        return candidates


class _Rank(NamedTuple):
    """How close a name is to an image's, the higher the closer."""

    is_equal: bool
    is_end: bool  # all folders that both have are equal
    folders: int  # equal folders, from the end
    is_same_file: bool  # the last part is equal, its suffix too


def _parts(name: str) -> tuple[str, ...]:
    """The folders and the file of a path or a file:// URL of any system, in Unicode's NFC."""
    text = str(name).replace("\\", "/")
    if text.lower().startswith("file://"):
        text = unquote(urlparse(text).path)
    text = unicodedata.normalize("NFC", text)
    return tuple(part for part in text.split("/") if part not in ("", "."))


def _stem(name: str) -> str:
    return os.path.splitext(name)[0] if has_image_suffix(name) else name
