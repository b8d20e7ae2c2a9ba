"""Processing of a video or a camera: faces found, drawn or hidden, and written."""

import itertools
import json
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TextIO

import av
import numpy as np

from srn_d2.atomic_file import atomic_path
from srn_d2.inference.faces import Faces

from ..printing import counted, printable
from ..progress import Progress
from .background import BackgroundConsumer, Prefetch
from .camera import TIME_BASE, CameraReader
from .errors import DamagedVideoError
from .frame import Frame
from .gap_report import describe_gaps, write_gaps
from .hidden_boxes import HiddenBoxes, PendingFrame
from .options import VideoOptions
from .output_names import check_name_lengths, lines_path
from .planes import Converter, draw_faces, hide_faces
from .problems import describe_problems
from .reader import VideoReader
from .result import VideoResult
from .writer import Origin, VideoWriter

logger = logging.getLogger(__name__)

Detect = Callable[[list[np.ndarray]], Sequence[Faces]]
# Frames decoded before they are needed, and frames that wait for the encoder.
QUEUE_FRAMES = 4


def process_video(
    detector: Detect,
    source: str | Path,
    output: Path,
    options: VideoOptions,
    show_progress: bool = True,
) -> VideoResult:
    """Find the faces of a video's frames; write them, and the video.

    Decoding and encoding run in threads beside the detector. Faces are written to ``output`` with
    ".jsonl" added: {"frame", "time", "height", "width", "faces"} a line. Boxes are in pixels of the
    upright frame; where faces are hidden, "filled" has the boxes of faces that were missed there,
    and a report of gaps is written to ``output`` with ".gaps.json" added.

    Args:
        detector: gives the faces of each image of a list of RGB arrays (H, W, 3).
        source: the file.
        output: the video to write, even if the options want none.
        options: what to write.
        show_progress: show a progress bar or, where stderr is no terminal, a line each minute.

    Raises:
        VideoError: the video cannot be read or written, or a file for it would have too long a
            name. Nothing is written then.
        DamagedVideoError: it is truncated, or frames are damaged; what it has is written.
        OSError: the output cannot be written.
    """
    check_name_lengths(source, output, options)
    reader = VideoReader(source, options.max_frames, with_sound=options.keep_sound)
    origin = Origin(
        reader.rate,
        reader.stream.time_base,
        reader.stream.codec_context.codec.canonical_name,
        reader.sound_streams if options.keep_sound else (),
        reader.start,
        reader.metadata,
        reader.stream.metadata.get("language", ""),
    )
    total = min(filter(None, (reader.num_frames, options.max_frames)), default=None)
    name = printable(Path(source).name)
    progress = Progress(total, is_shown=show_progress, unit="frame", name=name)
    try:
        with progress, Prefetch(reader, QUEUE_FRAMES) as items:
            result = _process(detector, items, origin, output, options, progress)
        if options.render is not None and reader.num_subtitles:
            tracks = counted(reader.num_subtitles, "track")
            result.notes.append(f"subtitles are left out: {tracks}")
        damage = describe_problems(reader.problems)
        jumps = reader.timeline.describe_problems(reader.start)
        result.problems = " and ".join(filter(None, (reader.missing_end, damage, jumps)))
    finally:
        reader.close()
    result.notes += reader.notes
    for note in result.notes:
        logger.info("%s: %s", printable(Path(source)), note)
    if result.problems:
        raise DamagedVideoError(f"{printable(Path(source))}: {result.problems}", result)
    return result


def process_camera(
    detector: Detect, number: int, output: Path, options: VideoOptions
) -> VideoResult:
    """Find the faces in a camera's pictures until Ctrl-C or the maximum; see ``process_video``.

    Raises:
        VideoError: there is no such camera, or it gives no picture.
        OSError: the output cannot be written.
    """
    reader = CameraReader(number)
    progress = Progress(options.max_frames, unit="frame", name=f"camera {number}")
    try:
        with progress:
            frames = itertools.islice(reader, options.max_frames)
            origin = Origin(reader.rate, TIME_BASE)
            return _process(detector, frames, origin, output, options, progress, is_camera=True)
    finally:
        reader.close()


def _process(
    detector: Detect,
    items: Iterable[Frame | av.Packet],
    origin: Origin,
    output: Path,
    options: VideoOptions,
    progress: Progress,
    is_camera: bool = False,
) -> VideoResult:
    """Process frames and sound; all files get their names at the end, the video the last."""
    result = VideoResult(output if options.render else None, lines_path(output))
    with ExitStack() as stack:
        writer = None
        if options.render is not None:
            writer = VideoWriter(
                stack.enter_context(atomic_path(output)),
                origin,
                codec=options.codec,
                copy_codec=options.copy_codec,
                crf=options.crf,
                keep_metadata=options.keep_metadata,
                name=output,
            )
        draft = stack.enter_context(atomic_path(result.lines))
        lines = stack.enter_context(open(draft, "w", encoding="utf-8"))
        pipeline = _Pipeline(options, writer, lines, result, progress)
        try:
            try:
                for batch in _batches(items, max(options.batch_size, 1)):
                    pipeline.push(batch, detector)
            except KeyboardInterrupt:  # how a camera's recording ends
                if not is_camera:
                    raise
            pipeline.finish()
        finally:
            pipeline.close()
        if writer is not None:
            result.notes += writer.notes
        lines.flush()
        if options.hides:
            result.gaps_file = write_gaps(result.gaps, output)
    if options.hides:
        for text in describe_gaps(result.gaps):
            logger.info("%s: %s", printable(output), text)
    return result


def _batches(items: Iterable[Frame | av.Packet], size: int) -> Iterator[list[Frame] | av.Packet]:
    """Lists of frames of one size, and packets of sound between them."""
    batch: list[Frame] = []
    for item in items:
        if not isinstance(item, Frame):
            yield item
            continue
        if batch and item.rgb.shape != batch[0].rgb.shape:
            yield batch
            batch = []
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


class _Pipeline:
    """From frames with their faces to the files.

    Args:
        options: what to write.
        writer: of the video; None: no video.
        lines: the file of faces.
        result: counts and gaps are added to it.
        progress: of the frames.
    """

    def __init__(
        self,
        options: VideoOptions,
        writer: VideoWriter | None,
        lines: TextIO,
        result: VideoResult,
        progress: Progress,
    ):
        self._options, self._writer, self._lines = options, writer, lines
        self._result, self._progress = result, progress
        self._converter = Converter()
        self._hidden: HiddenBoxes | None = None
        if options.hides:
            self._hidden = HiddenBoxes(options.fill_gaps, options.hide_neighbours)
        self._encoder = BackgroundConsumer(lambda task: task(), QUEUE_FRAMES)
        self._is_finished = False

    def push(self, batch: list[Frame] | av.Packet, detector: Detect) -> None:
        """Detect and write frames of one size, or write a packet of sound."""
        if isinstance(batch, av.Packet):
            if self._writer is not None:
                self._encoder.put(lambda: self._writer.write_sound(batch))
            return
        for frame, faces in zip(batch, detector([x.rgb for x in batch]), strict=True):
            faces = _in_frame(faces, frame)
            if self._options.render != "draw":
                frame.rgb = None  # memory, while the frame waits
            if self._hidden is None:
                self._write(frame, faces, None)
                continue
            size = (frame.picture.width, frame.picture.height)
            payload = (frame, faces)
            for ready in self._hidden.push(frame.index, frame.time, faces.boxes, size, payload):
                self._write_hidden(*ready)

    def finish(self) -> None:
        """Write the frames that wait, and end the video."""
        if self._hidden is not None:
            for ready in self._hidden.flush():
                self._write_hidden(*ready)
            self._result.gaps = self._hidden.tracker.gaps
        if self._writer is not None:
            self._encoder.put(self._writer.close)
        self._is_finished = True

    def close(self) -> None:
        """End the thread; unless all is finished, the video is given up."""
        try:
            self._encoder.close(cancel=not self._is_finished)
        finally:
            if self._writer is not None:
                self._writer.abort()

    def _write_hidden(self, pending: PendingFrame, boxes: np.ndarray) -> None:
        frame, faces = pending.payload
        self._write(frame, faces, boxes, pending.filled)

    def _write(
        self,
        frame: Frame,
        faces: Faces,
        boxes: np.ndarray | None,
        filled: Sequence[np.ndarray] = (),
    ) -> None:
        """Write a frame's faces, and have the frame drawn or hidden, and encoded."""
        record = {"frame": frame.index, "time": round(frame.time, 3), **faces.to_dict()}
        if filled:
            record["filled"] = [[round(x, 2) for x in box.tolist()] for box in filled]
        self._lines.write(json.dumps(record) + "\n")
        self._result.num_frames += 1
        self._result.num_faces += len(faces)
        self._progress.update()
        if self._writer is not None:
            self._encoder.put(lambda: self._encode(frame, faces, boxes))

    def _encode(self, frame: Frame, faces: Faces, boxes: np.ndarray | None) -> None:
        if boxes is None:
            draw_faces(frame.picture, faces, self._converter)
        else:
            hide_faces(frame.picture, boxes, self._options.render, self._options.margin)
        self._writer.write(frame.picture, frame.pixel_aspect)


def _in_frame(faces: Faces, frame: Frame) -> Faces:
    """Faces found in square pixels, in pixels of the frame."""
    height, width = frame.rgb.shape[:2]
    picture = frame.picture
    if (width, height) == (picture.width, picture.height):
        return faces
    scale = np.array([picture.width / width, picture.height / height] * 2, dtype=np.float32)
    return Faces(faces.boxes * scale, faces.scores, (picture.height, picture.width))
