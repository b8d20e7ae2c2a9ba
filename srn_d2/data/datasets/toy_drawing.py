"""Drawn people for the toy data set, from filled polygons on a supersampled canvas.

Coordinates of a scene are image pixels. Coordinates of a head (u, v) have their origin in the
middle of the face, u to the right and v down; the face is 2 wide and 2.5 high, the height to
width ratio of SRN's anchors.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

Color = tuple[int, ...]  # RGB or RGBA, 0 .. 255

FACE_HALF_HEIGHT = 1.25
# Side of the square of drawn pixels that becomes one pixel of the image.
SUPERSAMPLING = 3

SKIN = [
    (255, 224, 196), (241, 194, 160), (224, 172, 128), (198, 134, 92),
    (161, 102, 66), (124, 76, 50), (92, 56, 38), (66, 42, 31),
]  # fmt: skip
HAIR = [
    (24, 20, 18), (48, 32, 22), (92, 58, 32), (150, 96, 44),
    (206, 164, 88), (150, 52, 28), (150, 150, 152), (222, 220, 216),
]  # fmt: skip
CLOTHES = [
    (178, 34, 42), (30, 62, 120), (236, 236, 230), (38, 40, 46), (60, 120, 72),
    (220, 150, 40), (116, 64, 130), (96, 150, 186), (150, 120, 90), (224, 110, 140),
]  # fmt: skip
EYES = [(60, 40, 24), (70, 100, 60), (70, 110, 150), (40, 34, 30)]

_ANGLES = np.linspace(0, 2 * np.pi, 48, endpoint=False)
_CIRCLE = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], axis=1)  # (48, 2)


def ellipse(cx: float, cy: float, rx: float, ry: float) -> np.ndarray:
    """Outline of an ellipse, (48, 2), from its right end over its lower end."""
    return _CIRCLE * (rx, ry) + (cx, cy)


def rectangle(x0: float, y0: float, x1: float, y1: float) -> np.ndarray:
    """Outline of a rectangle, (4, 2)."""
    return np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], dtype=float)


def pick(rng: np.random.Generator, palette: Sequence[Color], jitter: int = 10) -> Color:
    """A colour of the palette, each channel changed by up to ``jitter``."""
    base = palette[rng.integers(len(palette))]
    changes = rng.integers(-jitter, jitter + 1, size=len(base)).tolist()
    return tuple(min(255, max(0, c + change)) for c, change in zip(base, changes, strict=True))


def shade(color: Color, factor: float) -> Color:
    """The colour made darker (factor < 1) or lighter (> 1)."""
    return tuple(min(255, int(c * factor)) for c in color[:3])


class Canvas:
    """An image that is being drawn, with a map of which face is on top at each pixel."""

    def __init__(self, width: int, height: int, color: Color) -> None:
        self.width, self.height = width, height
        size = (width * SUPERSAMPLING, height * SUPERSAMPLING)
        self._image = Image.new("RGB", size, color)
        self._draw = ImageDraw.Draw(self._image, "RGBA")
        self._owner = Image.new("I", (width, height), 0)
        self._owner_draw = ImageDraw.Draw(self._owner)

    def polygon(self, points: np.ndarray, color: Color, owner: int | None = 0) -> None:
        """Fill the polygon ``points``, (n, 2) in image pixels.

        Args:
            owner: the face, counted from 1, that these pixels belong to from now on; 0: no face;
                None: unchanged, for features on a face.
        """
        self._draw.polygon((points * SUPERSAMPLING - 0.5).ravel().tolist(), fill=color)
        if owner is not None:
            self._owner_draw.polygon((points - 0.5).ravel().tolist(), fill=owner)

    def finish(self) -> tuple[np.ndarray, np.ndarray]:
        """The image, (H, W, 3) uint8 RGB, and the owner of each pixel, (H, W) int32."""
        return np.asarray(self._image.reduce(SUPERSAMPLING)), np.asarray(self._owner)


@dataclass(frozen=True)
class Head:
    """Position, size and orientation of a person's head."""

    cx: float  # middle of the face, pixels
    cy: float
    size: float  # height of the upright face, pixels
    tilt: float  # clockwise, degrees
    yaw: float  # -1 (looks to the left of the image) .. 1
    jaw: float  # 0 round .. 0.3 pointed chin

    @property
    def outline(self) -> np.ndarray:
        """Outline of the face, (48, 2) in image pixels."""
        return self.to_image(self.local_outline())

    def local_outline(self) -> np.ndarray:
        """Outline of the face, (48, 2), in head coordinates."""
        outline = ellipse(0, 0, 1, FACE_HALF_HEIGHT)
        below = np.maximum(outline[:, 1], 0) / FACE_HALF_HEIGHT
        outline[:, 0] *= 1 - self.jaw * below * below
        return outline

    def to_image(self, points: np.ndarray) -> np.ndarray:
        """Head coordinates, (n, 2), to image pixels."""
        scale = self.size / (2 * FACE_HALF_HEIGHT)
        cos, sin = math.cos(math.radians(self.tilt)), math.sin(math.radians(self.tilt))
        u, v = points[:, 0] * scale, points[:, 1] * scale
        return np.stack([self.cx + u * cos - v * sin, self.cy + u * sin + v * cos], axis=1)


@dataclass(frozen=True)
class Look:
    """Attributes of a drawn head that WIDER FACE annotates."""

    mouth_is_open: bool
    is_covered: bool  # by sunglasses or a mask


class HeadPainter:
    """Painter of one person; all choices come from ``rng``."""

    def __init__(
        self, canvas: Canvas, head: Head, face_index: int, rng: np.random.Generator
    ) -> None:
        self._canvas, self._head, self._index, self._rng = canvas, head, face_index, rng
        self._skin = pick(rng, SKIN)
        self._hair = pick(rng, HAIR)

    def paint(self) -> Look:
        """Draw body, head, face and what it wears."""
        rng = self._rng
        hair_style = rng.choice(["bald", "short", "long", "cap"], p=[0.08, 0.47, 0.33, 0.12])
        self._body()
        if hair_style == "long":
            self._behind(ellipse(0, 0.15, 1.32, 1.62), self._hair)
        self._ears()
        self._canvas.polygon(self._head.outline, self._skin, owner=self._index)
        self._side_light()
        self._eyes()
        self._nose()
        if rng.random() < 0.2:
            self._beard()
        mouth_is_open = self._mouth()
        if hair_style == "cap":
            self._cap()
        elif hair_style != "bald":
            self._hair_cap()
        return Look(mouth_is_open, is_covered=self._wear())

    def _on_face(self, points: np.ndarray, color: Color) -> None:
        self._canvas.polygon(self._head.to_image(points), color, owner=None)

    def _behind(self, points: np.ndarray, color: Color) -> None:
        self._canvas.polygon(self._head.to_image(points), color)

    def _feature_u(self, u: float) -> float:
        """Horizontal position of a feature at ``u`` of a frontal face when the head is turned."""
        return u * (1 - 0.25 * abs(self._head.yaw)) + 0.4 * self._head.yaw

    def _body(self) -> None:
        """Neck and shoulders, upright whatever the head's tilt."""
        upright = Head(self._head.cx, self._head.cy, self._head.size, 0, 0, 0)
        shirt = pick(self._rng, CLOTHES, jitter=20)
        half = self._rng.uniform(1.7, 2.3)
        neck = upright.to_image(rectangle(-0.5, 0.6, 0.5, 1.9))
        shoulders = [(-0.6, 1.55), (0.6, 1.55), (half, 2.1), (half + 0.15, 6), (-half - 0.15, 6),
                     (-half, 2.1)]  # fmt: skip
        self._canvas.polygon(upright.to_image(np.array(shoulders)), shirt)
        self._canvas.polygon(neck, shade(self._skin, 0.82))

    def _ears(self) -> None:
        for side in (-1, 1):
            if side * self._head.yaw < 0.5:  # the other ear is behind the turned head
                self._behind(ellipse(side * 1.0, 0.0, 0.16, 0.3), shade(self._skin, 0.9))

    def _side_light(self) -> None:
        """One side of the face lies in shadow, in two soft steps."""
        side = self._rng.choice([-1, 1])
        strength = int(self._rng.uniform(10, 70))
        outline = self._head.local_outline()
        for depth in (0.15, 0.5):
            part = outline.copy()
            inner = part[:, 0] * side < depth
            part[inner, 0] = side * depth
            self._on_face(part, (0, 0, 0, strength))

    def _eyes(self) -> None:
        rng = self._rng
        iris, open_height = pick(rng, EYES), rng.uniform(0.10, 0.19)
        brow_v, gaze = rng.uniform(-0.62, -0.5), rng.uniform(-0.06, 0.06)
        for side in (-1, 1):
            u, v = self._feature_u(side * 0.42), -0.2
            width = 0.23 * (1 - 0.5 * max(0.0, side * self._head.yaw))
            self._on_face(ellipse(u, v, width + 0.06, open_height + 0.07), shade(self._skin, 0.72))
            self._on_face(ellipse(u, v, width, open_height), (245, 243, 238))
            self._on_face(ellipse(u + gaze, v, 0.12, min(0.13, open_height)), iris)
            self._on_face(ellipse(u + gaze, v, 0.06, 0.07), (12, 10, 10))
            brow = rectangle(u - width - 0.06, brow_v, u + width + 0.06, brow_v + 0.11)
            self._on_face(brow, shade(self._hair, 0.75))

    def _nose(self) -> None:
        u = self._feature_u(0.0)
        tip = u + 0.16 * self._head.yaw
        nose = np.array([(u, -0.15), (tip + 0.19, 0.38), (tip - 0.19, 0.38)])
        self._on_face(nose, shade(self._skin, 0.8))
        self._on_face(ellipse(tip, 0.34, 0.15, 0.09), shade(self._skin, 0.93))

    def _beard(self) -> None:
        outline = self._head.local_outline()
        beard = outline[outline[:, 1] > 0.3]  # from the right over the chin to the left
        moustache = np.array([(-0.5, 0.45), (0.0, 0.42), (0.5, 0.45)])
        self._on_face(np.concatenate([beard, moustache]), (*shade(self._hair, 0.9), 215))

    def _mouth(self) -> bool:
        rng = self._rng
        u, v, half = self._feature_u(0.0), 0.66, rng.uniform(0.28, 0.44)
        lips = (int(rng.uniform(130, 200)), 62, 66)
        kind = rng.choice(["closed", "smile", "open"], p=[0.45, 0.4, 0.15])
        if kind == "closed":
            self._on_face(ellipse(u, v, half, 0.09), lips)
            self._on_face(rectangle(u - half, v - 0.02, u + half, v + 0.02), shade(lips, 0.5))
        elif kind == "smile":
            lower = ellipse(u, v - 0.1, half, 0.27)[:25]  # the half below
            self._on_face(lower, lips)
            self._on_face(ellipse(u, v - 0.1, half * 0.8, 0.15)[:25], (244, 240, 232))
        else:
            self._on_face(ellipse(u, v + 0.05, half * 0.8, 0.3), lips)
            self._on_face(ellipse(u, v + 0.05, half * 0.62, 0.22), (60, 16, 20))
        return kind == "open"

    def _hair_cap(self) -> None:
        """Hair over the top of the face, down to a hairline."""
        hairline = self._rng.uniform(-0.9, -0.62)
        parting = self._rng.uniform(-0.6, 0.6)
        top = ellipse(0, -0.05, 1.1, FACE_HALF_HEIGHT * 1.1)
        top = top[top[:, 1] < -0.15]  # from the left over the crown to the right
        line = np.array([(0.82, hairline + 0.25), (parting, hairline), (-0.82, hairline + 0.25)])
        self._on_face(np.concatenate([top, line]), self._hair)

    def _cap(self) -> None:
        color = pick(self._rng, CLOTHES)
        top = ellipse(0, -0.1, 1.12, FACE_HALF_HEIGHT * 1.1)
        self._on_face(top[top[:, 1] < -0.68], color)
        shift = 0.3 * self._head.yaw
        self._on_face(ellipse(shift, -0.7, 1.2, 0.13), shade(color, 0.7))

    def _wear(self) -> bool:
        """Draw spectacles, sunglasses or a mask on some; return True if they occlude the face."""
        kind = self._rng.choice(["none", "glasses", "sun", "mask"], p=[0.74, 0.12, 0.08, 0.06])
        if kind in ("glasses", "sun"):
            frame = (22, 22, 26) if kind == "sun" else (22, 22, 26, 110)
            for side in (-1, 1):
                self._on_face(ellipse(self._feature_u(side * 0.42), -0.18, 0.36, 0.28), frame)
                if kind == "glasses":
                    lens = ellipse(self._feature_u(side * 0.42), -0.18, 0.3, 0.22)
                    self._on_face(lens, (220, 232, 240, 70))
            self._on_face(rectangle(-0.98, -0.26, 0.98, -0.2), (22, 22, 26))
        elif kind == "mask":
            outline = self._head.local_outline()
            top = np.array([(-0.85, 0.22), (self._feature_u(0), 0.05), (0.85, 0.22)])
            mask = np.concatenate([outline[outline[:, 1] > 0.3], top])
            self._on_face(mask, pick(self._rng, [(150, 190, 215), (235, 236, 238)]))
        return kind in ("sun", "mask")
