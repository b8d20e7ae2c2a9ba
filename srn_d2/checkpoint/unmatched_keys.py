"""Log of the weights that a file and a model do not share, one line for each kind."""

import logging
from collections.abc import Iterable, Sequence

from fvcore.common.checkpoint import _IncompatibleKeys

_MAX_NAMED = 8
COUNTER = "num_batches_tracked"  # of a BatchNorm, which starts at 0 as well; never "missing"


def log_unmatched_keys(
    logger: logging.Logger, unmatched: _IncompatibleKeys, names: Iterable[str], pretrained: str
) -> None:
    """Log what was not loaded.

    Weights outside the pretrained part are expected to be missing in a file: a note. A part of the
    pretrained ones, or other shapes, is a warning.

    Args:
        unmatched: missing, unexpected and of another shape.
        names: all of the model's weights.
        pretrained: prefix of the part that files of pretrained weights have.
    """
    names = [name for name in names if not name.endswith(COUNTER)]
    resized = {key for key, *_ in unmatched.incorrect_shapes}
    missing = [k for k in unmatched.missing_keys if not k.endswith(COUNTER) and k not in resized]
    if unmatched.incorrect_shapes:
        shapes = [
            f"{key} {tuple(in_file)} in the file, {tuple(in_model)} in the model"
            for key, in_file, in_model in unmatched.incorrect_shapes
        ]
        logger.warning(
            "%d weights have another shape in the file and keep their initial values: %s",
            *(len(shapes), _listed(shapes)),
        )
    if missing:
        inside = [key for key in missing if key.startswith(pretrained)]
        is_partial = inside and len(inside) < sum(name.startswith(pretrained) for name in names)
        logger.log(
            logging.WARNING if is_partial else logging.INFO,
            "%d of the model's %d weights are not in the file and keep their initial values: %s",
            *(len(missing), len(names), _listed(common_parts(missing, names))),
        )
    if unmatched.unexpected_keys:
        logger.info(
            "%d weights of the file are not in the model and are left out: %s",
            *(len(unmatched.unexpected_keys), _listed(unmatched.unexpected_keys)),
        )


def common_parts(missing: Sequence[str], names: Sequence[str]) -> list[str]:
    """The modules of which all weights are missing, as "head.*", and single weights.

    Args:
        missing: some of ``names``.
        names: all weights of a model.
    """
    present = set(names) - set(missing)
    kept = {name[:end] for name in present for end in _ends(name)}  # modules that have a weight
    parts = (next((n[:end] for end in _ends(n) if n[:end] not in kept), n) for n in missing)
    whole = set(names)
    return list(dict.fromkeys(part if part in whole else f"{part}.*" for part in parts))


def _ends(name: str) -> list[int]:
    return [index for index, letter in enumerate(name) if letter == "."]


def _listed(parts: Sequence[str]) -> str:
    more = f" and {len(parts) - _MAX_NAMED} more" if len(parts) > _MAX_NAMED else ""
    return ", ".join(parts[:_MAX_NAMED]) + more
