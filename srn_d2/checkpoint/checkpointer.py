"""Checkpointer with atomic writes and explicit errors for missing or incompatible weights."""

import os
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import torch
from detectron2.checkpoint import DetectionCheckpointer
from fvcore.common.checkpoint import _IncompatibleKeys
from iopath.common.file_io import get_cache_dir

from srn_d2.atomic_file import atomic_path

from .efficientnet_lite import convert_efficientnet_lite, is_efficientnet_lite, without_classifier
from .foreign_checkpoints import explain_unreadable, select_weights, strip_prefix
from .released_weights import convert_released_weights, is_released_checkpoint, released_state_dict
from .unmatched_keys import COUNTER, log_unmatched_keys

AVERAGE = "average"  # in a checkpoint: the state of torch.optim.swa_utils.AveragedModel

DETECTRON2_SCHEME = "detectron2"
DETECTRON2_URL = "https://dl.fbaipublicfiles.com/detectron2/"  # detectron2/utils/file_io.py

BOTTOM_UP = "backbone.bottom_up."  # key prefix of the pyramid's bottom-up network
TIMM_NET = BOTTOM_UP + "net."  # key prefix of a timm network, before timm's own names


class IncompatibleWeightsError(ValueError):
    """A file's weights are not those of the model."""


class UnreadableWeightsError(ValueError):
    """A file that is no checkpoint, is damaged, or holds more than plain data."""


def pretrained_cache_path(weights: str) -> Path:
    """Path in detectron2's cache of the file behind ``weights``.

    Args:
        weights: a URL, of the web or of detectron2's own scheme (``detectron2://...``).
    """
    return Path(get_cache_dir()) / urlparse(_web_url(weights)).path.lstrip("/")


class SRNCheckpointer(DetectionCheckpointer):
    """Detectron2's checkpointer, with some differences.

    Files are written atomically, so that a killed run never leaves a partial checkpoint. Weights
    that cannot be downloaded raise a FileNotFoundError that says which file to put where; a file
    that is no checkpoint an :class:`UnreadableWeightsError`, and so does one with objects besides
    plain data: the message names them and the lines that leave them out.

    With ``strict`` weights that do not fit the model raise an :class:`IncompatibleWeightsError`
    that lists all unmatched keys; otherwise they are logged, unless no weight is the model's at
    all. With ``allow_missing`` the file may still lack weights, which then keep their values.

    Weights may be the file itself or an entry of it, such as "state_dict"; entries of averaged
    weights are preferred, and a prefix of all names, such as "module.", is dropped.

    The authors' released checkpoint is recognised by its keys and loads under this project's
    names. So is an EfficientNet-Lite classifier: the layers before its classifier load into the
    bottom-up network, all of which they must match even without ``strict``. From a file with
    averaged weights (SOLVER.EMA_DECAY) the model loads those, unless the average itself is
    restored as well, as on resuming training.
    """

    def __init__(
        self,
        model,
        save_dir: str = "",
        *,
        strict: bool = False,
        allow_missing: bool = False,
        **kwargs: Any,
    ):
        super().__init__(model, save_dir, **kwargs)
        self.strict = strict
        self.allow_missing = allow_missing

    def save(self, name: str, *, tag: bool = True, **extra: Any) -> None:
        """Write ``<save_dir>/<name>.pth`` with model, optimizer and trainer state.

        Args:
            name: file name without ending.
            tag: whether ``--resume`` is to continue from this file.
            extra: further entries of the file.
        """
        if not self.save_dir or not self.save_to_disk:
            return
        data = {"model": self.model.state_dict(), **extra}
        data.update({key: obj.state_dict() for key, obj in self.checkpointables.items()})
        path = Path(self.save_dir) / f"{name}.pth"
        self.logger.info("Saving checkpoint to %s", path)
        with atomic_path(path) as partial:
            torch.save(data, partial)
        if tag:
            self.tag_last_checkpoint(path.name)

    def tag_last_checkpoint(self, last_filename_basename: str) -> None:
        with atomic_path(Path(self.save_dir) / "last_checkpoint") as partial:
            partial.write_text(last_filename_basename, encoding="utf-8")

    def get_checkpoint_file(self) -> str:
        """Path of the checkpoint that ``--resume`` continues from.

        Raises:
            FileNotFoundError: last_checkpoint names a file that is not there.
        """
        path = super().get_checkpoint_file()
        if not os.path.isfile(path):
            raise FileNotFoundError(
                f"{Path(self.save_dir) / 'last_checkpoint'} names {Path(path).name}, which is not "
                "there: write the name of another checkpoint into it, or remove it to begin anew"
            )
        return path

    def load(self, path: str, checkpointables: list[str] | None = None) -> dict[str, Any]:
        """As detectron2's: ``checkpointables`` are restored with the model; None: all of them."""
        restored = self.checkpointables if checkpointables is None else checkpointables
        if path:
            self._require(path)
        self._restores_average = AVERAGE in restored
        return super().load(path, checkpointables)

    def _require(self, weights: str) -> None:
        """Fetch ``weights``; raise a FileNotFoundError if it is not available."""
        try:
            local = self.path_manager.get_local_path(weights.split("?")[0])
        except FileNotFoundError:  # of a packaged model, with its own message
            raise
        except OSError as error:  # no network, or no such file on the server
            raise FileNotFoundError(
                f"Cannot download MODEL.WEIGHTS {weights}: {error}. Download "
                f"{_web_url(weights)} elsewhere and put it at {pretrained_cache_path(weights)}, or "
                "set MODEL.WEIGHTS to the path of the file ('' starts from random weights)."
            ) from error
        if not os.path.isfile(local):
            raise FileNotFoundError(
                f"MODEL.WEIGHTS {weights} is no file: name a checkpoint ('': random weights)"
            )

    def _load_file(self, filename: str) -> dict[str, Any]:
        try:
            loaded = super()._load_file(filename)
        except (OSError, MemoryError, UnreadableWeightsError):
            raise
        except Exception as error:  # damaged bytes raise nearly anything; torch's advice is long
            if explanation := explain_unreadable(filename):
                raise UnreadableWeightsError(f"{filename} is not loaded: {explanation}") from error
            reason = str(error).split("\n")[0].split(". ")[0] or type(error).__name__
            raise UnreadableWeightsError(
                f"{filename} is no checkpoint, or damaged: {reason}"
            ) from error
        self._file = filename
        if AVERAGE in loaded and not self._restores_average:
            self.logger.info("%s has averaged weights: they are used", filename)
            return {**loaded, "model": _averaged_weights(loaded.pop(AVERAGE))}
        if is_released_checkpoint(loaded["model"]):
            self.logger.info("%s has the released checkpoint's layout: renamed", filename)
            return {"model": convert_released_weights(released_state_dict(loaded["model"]))}
        if is_efficientnet_lite(loaded["model"]):
            weights, dropped = without_classifier(convert_efficientnet_lite(loaded["model"]))
            self.logger.info(
                "%s has EfficientNet-Lite's layout: its %d weights before the classifier load into "
                "%s*, all else is initialised at random; dropped: %s",
                *(filename, len(weights), BOTTOM_UP, ", ".join(dropped)),
            )
            weights = {TIMM_NET + key: value for key, value in weights.items()}
            return {"model": weights, "required_prefix": BOTTOM_UP}
        return loaded

    def _torch_load(self, f: str) -> dict[str, Any]:
        """The file's entries, the weights under "model", whatever other code called them."""
        loaded = torch.load(f, map_location="cpu", weights_only=True)  # executes nothing in it
        if isinstance(loaded, dict) and AVERAGE in loaded:
            return loaded
        try:
            weights, note = select_weights(loaded, f)
        except ValueError as error:
            raise UnreadableWeightsError(str(error)) from error
        if note:
            self.logger.info("%s: %s", f, note)
        is_entry = isinstance(loaded.get("model"), dict)
        return {**(loaded if is_entry else {}), "model": weights}

    def _log_incompatible_keys(self, incompatible: _IncompatibleKeys) -> None:
        log_unmatched_keys(self.logger, incompatible, self.model.state_dict(), BOTTOM_UP)

    def _load_model(self, checkpoint: dict[str, Any]) -> _IncompatibleKeys:
        names = self.model.state_dict()
        if not checkpoint.get("matching_heuristics"):
            checkpoint["model"] = strip_prefix(checkpoint["model"], names)
        in_file = list(checkpoint["model"])
        # Prefix of the keys that must match; "": all, None: none.
        required = checkpoint.pop("required_prefix", None)
        required = "" if self.strict else required
        incompatible = super()._load_model(checkpoint)
        wanted = {name for name in names if not name.endswith(COUNTER)}
        if wanted <= set(incompatible.missing_keys) and not incompatible.incorrect_shapes:
            raise IncompatibleWeightsError(
                f"{self._file} has none of the model's weights: its {len(in_file)} are called "
                f"{', '.join(in_file[:3])} ..., the model's {', '.join(list(names)[:3])} ...; "
                "is it of the same network as the config?"
            )
        resized = {key for key, *_ in incompatible.incorrect_shapes}  # also among the missing
        missing = [key for key in incompatible.missing_keys if key not in resized]
        problems = [
            *(
                f"{key}: in the model, not in the file"
                for key in missing
                if key.startswith(required or "") and not self.allow_missing
            ),
            *(f"{key}: in the file, not in the model" for key in incompatible.unexpected_keys),
            *(
                f"{key}: {tuple(in_file)} in the file, {tuple(in_model)} in the model"
                for key, in_file, in_model in incompatible.incorrect_shapes
            ),
        ]
        if required is not None and problems:
            raise IncompatibleWeightsError(
                f"The weights of {self._file} do not fit the model of the config, "
                f"{len(problems)} keys are unmatched:\n  " + "\n  ".join(problems)
            )
        return incompatible


def _web_url(weights: str) -> str:
    parsed = urlparse(weights)
    if parsed.scheme == DETECTRON2_SCHEME:
        return DETECTRON2_URL + parsed.netloc + parsed.path
    return weights


def _averaged_weights(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The averaged model's own state, out of an AveragedModel's."""
    prefix = "module."
    return {key[len(prefix) :]: value for key, value in state.items() if key.startswith(prefix)}
