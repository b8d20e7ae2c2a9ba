"""Video files for tests, made through PyAV, whole and cut, and a detector of red squares."""

import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from srn_d2.inference.faces import Faces

# OpenCV's names of codecs, which these tests have always had -> FFmpeg's encoders.
ENCODERS = {
    "mp4v": ("mpeg4", "yuv420p"),
    "XVID": ("mpeg4", "yuv420p"),
    "MJPG": ("mjpeg", "yuvj420p"),
    "VP80": ("libvpx", "yuv420p"),
    "FLV1": ("flv", "yuv420p"),
    "WMV2": ("wmv2", "yuv420p"),
    "mpg1": ("mpeg1video", "yuv420p"),
    "mpg2": ("mpeg2video", "yuv420p"),
    "avc1": ("libx264", "yuv420p"),
}
RED = (230, 20, 20)


def write_container(path: Path, codec: str = "mp4v", num_frames: int = 60) -> Path:
    """Frames of 64 x 96 pixels, 25 a second, in the container that the suffix names."""
    noise = np.random.default_rng(0).integers(0, 9, (64, 96, 3), dtype=np.uint8)
    frames = [noise + np.uint8(4 * index % 256) for index in range(num_frames)]
    encoder, pix_fmt = ENCODERS[codec]
    return write_video(path, frames, encoder, pix_fmt)


def write_video(
    path,
    frames,
    encoder="ffv1",
    pix_fmt="yuv420p",
    stamps=None,
    rate=25,
    time_base=None,
    sound=None,
    options=None,
    metadata=None,
    faststart=False,
    **context,
):
    """Write RGB frames.

    Args:
        path: its suffix names the container.
        frames: uint8 (H, W, 3); of several sizes with rawvideo-like encoders only.
        encoder, pix_fmt, options: FFmpeg's.
        stamps: time stamps; None: one after another.
        time_base: unit of the stamps; None: a frame.
        sound: codec of a sine of the same duration; None: silent.
        metadata: of the container.
        faststart: MP4 with its index in front, as web servers have it.
        context: attributes of the codec context, such as colours.
    """
    time_base = time_base or Fraction(1, rate)
    height, width = frames[0].shape[:2]
    muxer = {"movflags": "+faststart"} if faststart else {}
    with av.open(str(path), "w", options=muxer) as container:
        container.metadata.update(metadata or {})
        stream = container.add_stream(encoder, rate=rate, options=options or {})
        stream.width, stream.height, stream.pix_fmt = width, height, pix_fmt
        stream.codec_context.time_base = time_base
        for name, value in context.items():
            setattr(stream.codec_context, name, value)
        track = container.add_stream(sound, rate=44100) if sound else None
        if track is not None:
            track.codec_context.layout = "mono"
        stamps = list(range(len(frames)) if stamps is None else stamps)
        for stamp, frame in zip(stamps, frames, strict=True):
            picture = av.VideoFrame.from_ndarray(frame).reformat(
                format=pix_fmt,
                dst_colorspace=stream.codec_context.colorspace,
                dst_color_range=stream.codec_context.color_range or 1,
            )
            picture.pts, picture.time_base = stamp, time_base
            picture.colorspace = stream.codec_context.colorspace
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
        if track is not None:
            seconds = float((stamps[-1] + 1) * time_base)
            for packet in sine_packets(track, seconds):
                container.mux(packet)
    return path


def sine_packets(track, seconds):
    """Encoded packets of a sine of 440 Hz."""
    context = track.codec_context
    size = context.frame_size or 1024
    times = np.arange(int(seconds * context.rate)) / context.rate
    samples = (np.sin(2 * np.pi * 440 * times) * 8000).astype(np.int16)
    resampler = av.AudioResampler(context.format, context.layout, context.rate, size)
    for start in range(0, len(samples), size):
        part = samples[None, start : start + size]
        frame = av.AudioFrame.from_ndarray(part, format="s16", layout="mono")
        frame.rate, frame.pts = context.rate, start
        frame.time_base = Fraction(1, context.rate)
        for resampled in resampler.resample(frame):
            yield from track.encode(resampled)
    yield from track.encode(None)


def moving_square(num_frames=10, size=(240, 320), side=48, step=6, missing=()):
    """Grey frames with a red square that moves to the right; some frames are without."""
    frames = []
    noise = np.random.default_rng(0).integers(90, 130, (*size, 1), dtype=np.uint8)
    for index in range(num_frames):
        frame = np.repeat(noise, 3, axis=2)
        if index not in missing:
            left = 20 + step * index
            frame[40 : 40 + side, left : left + side] = RED
        frames.append(frame)
    return frames


def find_red(images):
    """A detector: the bounding box of the red pixels of each image."""
    found = []
    for image in images:
        pixels = image.astype(int)
        is_red = (pixels[..., 0] > 150) & (pixels[..., 1] < 110) & (pixels[..., 2] < 110)
        rows, columns = np.nonzero(is_red.any(axis=1))[0], np.nonzero(is_red.any(axis=0))[0]
        boxes = np.zeros((0, 4))
        if len(rows):
            boxes = [[columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]]
        found.append(Faces(boxes, np.full(len(boxes), 0.9), image.shape[:2]))
    return found


def cut(path: Path, part: float) -> Path:
    """Leave the first part of a file."""
    content = path.read_bytes()
    path.write_bytes(content[: int(part * len(content))])
    return path


def read_frames(path):
    """(times, RGB images) of a video, and its first stream of video, as PyAV alone reads it."""
    with av.open(str(path)) as container:
        pictures = list(container.decode(video=0))
        times = [float(picture.pts * picture.time_base) for picture in pictures]
        images = [picture.to_ndarray(format="rgb24") for picture in pictures]
    return times, images


def turn(path, matrix):
    """Give an MP4 file a display matrix: rows (a, b), (c, d) of its first two columns."""
    a, b, c, d = (int(value * (1 << 16)) for value in matrix)
    content = bytearray(path.read_bytes())
    start = content.index(b"tkhd") + 44  # after the name, 40 bytes of other fields
    content[start : start + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(content)
    return path


def write_sizes(path, sizes, frames_each=2):
    """A stream whose frames change their size (height, width): Motion JPEG."""
    return write_pictures(path, [x for size in sizes for x in moving_square(frames_each, size)])


def write_pictures(path, images):
    """A stream of RGB images of any sizes: Motion JPEG."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=25)
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt = "yuvj420p"
        for stamp, image in enumerate(images):
            encoder = av.CodecContext.create("mjpeg", "w")
            encoder.height, encoder.width = image.shape[:2]
            encoder.pix_fmt, encoder.time_base = "yuvj420p", Fraction(1, 25)
            picture = av.VideoFrame.from_ndarray(image).reformat(format="yuvj420p")
            picture.pts, picture.time_base = stamp, encoder.time_base
            for packet in [*encoder.encode(picture), *encoder.encode(None)]:
                packet.stream = stream
                container.mux(packet)
    return path
