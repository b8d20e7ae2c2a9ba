"""The network's larger parts by torch.compile, for inference with weights that do not change."""

import logging
from collections.abc import Callable
from typing import Any

import torch
from detectron2.modeling.backbone import ResNet
from torch import Tensor

from .srn import SRN

logger = logging.getLogger(__name__)

SMALL_IMAGE = 384 * 384
"""Images of fewer pixels, of a whole batch, see the network as it is."""

SMALL_MAP = 40 * 40
"""Maps of fewer cells, of a whole batch, see the head as it is.

On a CPU torch takes other convolutions for inputs of up to 20,480 values, which then would need
compilations of their own, for little time saved. From 64 channels on (a quarter of them in RFE's
branches) no larger map has so few.
"""

MAX_COMPILATIONS = 8
"""Of each part. One serves all images of any size, another one all batches of any size; if a size
still needs a new one after so many, it sees the part as it is."""

BLOCK = 32
"""Images whose sides are multiples of it are compiled as blocks of that many pixels a side: all
maps' sides are then multiples of the number of blocks, and no rounded quotients."""

Part = Callable[[Tensor], Any]


def compile_network(model: SRN, **settings: Any) -> None:
    """Compile, in place and at its first use, what all images take much time in.

    That is the bottom-up network if it is a ResNet and, on large maps, both subnets of the head.
    What depends on the survivors of the first step and what is short stays as it is: the sparse
    second step, the pyramid and post-processing. So do networks of timm, in whose padding torch
    would follow the sizes symbolically for minutes. Names in the state dict stay, too.

    The weights become constants of the compiled code, with batch normalisation as part of the
    convolutions; it takes their memory once more. So they have to be loaded before, and the model
    must not be trained afterwards.

    Where compiling fails, on a CPU for want of a C++ compiler above all, a warning says so once
    and the model works as before.

    Args:
        model: a detector whose weights are loaded.
        settings: of ``torch.compile`` instead of the default backend's.
    """
    compiler = _Compiler(settings or {"options": {"freezing": True}})
    bottom_up, head = model.backbone.bottom_up, model.head
    if isinstance(bottom_up, ResNet):
        bottom_up.forward = compiler.image_part(bottom_up.forward)
    head.scores = compiler.map_part(head.scores)
    head.deltas = compiler.map_part(head.deltas)


class _Compiler:
    """Makes compiled parts, which are in use until compiling one of them fails.

    Args:
        settings: of ``torch.compile``.
    """

    def __init__(self, settings: dict[str, Any]):
        # Only who compiles has to wait for these.
        from torch._dynamo.exc import FailOnRecompileLimitHit, TorchDynamoException
        from torch._inductor.exc import CppCompileError, InvalidCxxCompiler

        self._settings = settings
        self._works = True
        self._limit_hit = FailOnRecompileLimitHit
        # An error of the compiled code itself, such as a lack of memory, is none of these.
        self._failures = (TorchDynamoException, CppCompileError, InvalidCxxCompiler)

    def image_part(self, part: Part) -> Part:
        """A part that reads images (N, 3, H, W)."""

        def on_blocks(blocks: Tensor) -> Any:
            return part(blocks.flatten(4, 5).flatten(2, 3))

        compiled = self._compile(on_blocks)

        def run(images: Tensor) -> Any:
            height, width = images.shape[2:]
            if _cells(images) < SMALL_IMAGE or height % BLOCK or width % BLOCK:
                return part(images)
            blocks = images.unflatten(3, (-1, BLOCK)).unflatten(2, (-1, BLOCK))
            return self._run(compiled, blocks, lambda: part(images))

        return run

    def map_part(self, part: Part) -> Part:
        """A part that reads maps (N, C, H, W)."""
        compiled = self._compile(part)

        def run(x: Tensor) -> Any:
            if _cells(x) < SMALL_MAP:
                return part(x)
            return self._run(compiled, x, lambda: part(x))

        return run

    def _compile(self, part: Part) -> Part:
        return torch.compile(
            part,
            dynamic=True,
            fullgraph=True,
            recompile_limit=MAX_COMPILATIONS,
            isolate_recompiles=True,
            **self._settings,
        )

    def _run(self, compiled: Part, x: Tensor, as_it_is: Callable[[], Any]) -> Any:
        if not self._works:
            return as_it_is()
        try:
            return compiled(x)
        except self._limit_hit:
            return as_it_is()
        except self._failures as error:
            self._works = False
            reason = " ".join(str(error).split("\n\n")[0].split())
            logger.warning("The network is not compiled (TEST.COMPILE): %s", reason)
        return as_it_is()


def _cells(x: Tensor) -> int:
    return x.shape[0] * x.shape[2] * x.shape[3]
