"""Scenes of the toy data set: clutter, people, things in front of them, light, blur and noise."""

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter

from .toy_drawing import (
    CLOTHES,
    FACE_HALF_HEIGHT,
    HAIR,
    SKIN,
    Canvas,
    Head,
    HeadPainter,
    Look,
    ellipse,
    pick,
    rectangle,
    shade,
)
from .wider_face import WiderFace

# Height of a face in pixels, smallest and largest.
MIN_FACE, MAX_FACE = 8, 300
# A face of which less than this share is visible is marked invalid.
MIN_VISIBLE_SHARE = 0.4


@dataclass(frozen=True)
class SceneKind:
    """Appearance of the scenes of one event."""

    event: str
    num_faces: tuple[int, int]  # least and most tried; crowding may leave fewer
    face_size: tuple[int, int]  # heights in pixels, drawn log-uniformly
    num_distractors: tuple[int, int]


SCENE_KINDS = (
    SceneKind("0--Portrait", (1, 2), (110, MAX_FACE), (0, 3)),
    SceneKind("1--Group", (3, 9), (36, 100), (1, 5)),
    SceneKind("2--Crowd", (16, 44), (14, 54), (0, 4)),
    SceneKind("3--Street", (0, 5), (20, 110), (4, 10)),
)

_WALLS = [
    (176, 196, 214), (214, 204, 184), (120, 130, 140), (156, 176, 150), (200, 170, 150),
    (88, 98, 120), (228, 226, 220), (70, 74, 78),
]  # fmt: skip


def draw_scene(kind: SceneKind, rng: np.random.Generator) -> tuple[np.ndarray, list[WiderFace]]:
    """One picture, (H, W, 3) uint8 RGB with sides of 320 to 448 px, and its faces."""
    width, height = (int(side) for side in rng.integers(320, 449, size=2))
    canvas = Canvas(width, height, pick(rng, _WALLS, jitter=25))
    _draw_clutter(canvas, rng)
    heads = _place_heads(kind, width, height, rng)
    for _ in range(rng.integers(kind.num_distractors[0], kind.num_distractors[1] + 1)):
        _draw_distractor(canvas, rng)
    looks = []
    for index, head in enumerate(heads, start=1):
        looks.append(HeadPainter(canvas, head, index, rng).paint())
        if rng.random() < 0.12:
            _draw_occluder(canvas, head, rng)
    image, owner = canvas.finish()
    image, blur_radius, is_extreme_light = _photograph(image, rng)
    faces = [
        _to_face(
            head, look, int((owner == i).sum()), (width, height), blur_radius, is_extreme_light
        )
        for i, (head, look) in enumerate(zip(heads, looks, strict=True), start=1)
    ]
    return image, [face for face in faces if face is not None]


def _place_heads(kind: SceneKind, width: int, height: int, rng: np.random.Generator) -> list[Head]:
    """Heads that hide little of each other, those farther away (smaller) first."""
    heads: list[Head] = []
    wanted = int(rng.integers(kind.num_faces[0], kind.num_faces[1] + 1))
    low, high = np.log(kind.face_size)
    for _ in range(12 * wanted):
        if len(heads) == wanted:
            break
        nearness = rng.random()
        size = float(np.exp(low + (high - low) * nearness))
        if rng.random() < 0.03:  # someone far away, in any scene
            size, nearness = float(rng.uniform(MIN_FACE + 1, 14)), 0.0
        size = min(size, 0.8 * min(width, height))
        margin = size * (0.3 if rng.random() < 0.1 else 0.62)  # a few are cut by the border
        cx = rng.uniform(margin, width - margin)
        # Larger (nearer) heads are placed lower, as in a view from above.
        depth = (0.2 + 0.6 * nearness) * height + rng.uniform(-0.2, 0.2) * height
        cy = float(np.clip(depth, margin, max(margin, height - margin)))
        head = Head(cx, cy, size, _draw_tilt(rng), rng.uniform(-1, 1), rng.uniform(0, 0.3))
        if all(_are_compatible(head, other) for other in heads):
            heads.append(head)
    return sorted(heads, key=lambda head: head.size)


def _draw_tilt(rng: np.random.Generator) -> float:
    """Mostly upright, at times inclined by up to 50 degrees."""
    return float(rng.uniform(-50, 50) if rng.random() < 0.15 else rng.uniform(-15, 15))


def _are_compatible(a: Head, b: Head) -> bool:
    """True if neither head hides more than a quarter of the other's, body included."""
    far, near = (a, b) if a.size < b.size else (b, a)
    reach = near.size / (2 * FACE_HALF_HEIGHT)
    half = far.size / 2
    overlap_x = min(far.cx + half, near.cx + 1.9 * reach) - max(
        far.cx - half, near.cx - 1.9 * reach
    )
    # Hair and cap above, the body down to the picture's end below.
    overlap_y = far.cy + half - max(far.cy - half, near.cy - 1.5 * reach)
    return max(overlap_x, 0) * max(overlap_y, 0) < 0.25 * far.size**2


def _to_face(
    head: Head,
    look: Look,
    visible_pixels: int,
    image_size: tuple[int, int],
    blur_radius: float,
    is_extreme_light: bool,
) -> WiderFace | None:
    """The annotation: the tight box of the whole face inside the image; None if all is hidden."""
    if visible_pixels == 0:
        return None
    outline = head.outline
    x0, y0 = np.clip(np.round(outline.min(axis=0)), 0, image_size).astype(int)
    x1, y1 = np.clip(np.round(outline.max(axis=0)), 0, image_size).astype(int)
    # The outline is nearly an ellipse: pi/4 of the box around its upright self.
    area = np.pi / 4 * head.size**2 / FACE_HALF_HEIGHT * (1 - head.jaw / 6)
    visible = visible_pixels / area
    relative_blur = blur_radius / head.size
    return WiderFace(
        *(int(v) for v in (x0, y0, x1 - x0, y1 - y0)),
        blur=int(np.searchsorted([0.02, 0.06], relative_blur)),
        expression=int(look.mouth_is_open),
        illumination=int(is_extreme_light),
        invalid=int(visible < MIN_VISIBLE_SHARE),
        occlusion=2 if visible < 0.65 else int(visible < 0.9 or look.is_covered),
        pose=int(abs(head.tilt) > 25 or abs(head.yaw) > 0.7),
    )


def _draw_clutter(canvas: Canvas, rng: np.random.Generator) -> None:
    """A floor, then windows, stripes, leaves and loose shapes."""
    w, h = canvas.width, canvas.height
    canvas.polygon(rectangle(0, rng.uniform(0.5, 0.8) * h, w, h), pick(rng, _WALLS, 30))
    for _ in range(rng.integers(2, 5)):
        x, y = rng.uniform(0, w), rng.uniform(0, h)
        cell, color = rng.uniform(8, 40), pick(rng, _WALLS + CLOTHES, 30)
        kind = rng.choice(["windows", "stripes", "leaves", "shapes"])
        for i in range(rng.integers(10, 40)):
            col, row = divmod(i, 5)
            if kind == "windows":
                x0, y0 = x + 1.5 * cell * col, y + 1.8 * cell * row
                points = rectangle(x0, y0, x0 + cell, y0 + 1.3 * cell)
            elif kind == "stripes":
                points = rectangle(x + cell * i, 0, x + cell * (i + 0.4), h)
            elif kind == "leaves":
                cx, cy = x + rng.uniform(-80, 80), y + rng.uniform(-80, 80)
                points = ellipse(cx, cy, rng.uniform(2, 14), rng.uniform(2, 10))
                color = pick(rng, [(60, 110, 50), (90, 140, 60), (40, 80, 50)], 20)
            else:
                corners = rng.uniform(-1.5, 1.5, (rng.integers(3, 6), 2))
                points = corners * cell + np.array([rng.uniform(0, w), rng.uniform(0, h)])
                color = pick(rng, CLOTHES + _WALLS, 40)
            canvas.polygon(points, color)


def _draw_distractor(canvas: Canvas, rng: np.random.Generator) -> None:
    """Something that shares one trait with a face: shape, colour, hair, or two dots."""
    cx, cy = rng.uniform(0, canvas.width), rng.uniform(0, canvas.height)
    r = float(np.exp(rng.uniform(np.log(10), np.log(50))))
    kind = rng.choice(["ball", "back of a head", "clock", "socket", "hand"])
    if kind == "ball":
        color = pick(rng, SKIN + CLOTHES)
        canvas.polygon(ellipse(cx, cy, r, r), color)
        canvas.polygon(ellipse(cx - 0.3 * r, cy - 0.35 * r, 0.3 * r, 0.2 * r), shade(color, 1.3))
    elif kind == "back of a head":
        canvas.polygon(
            rectangle(cx - 2 * r, cy + 1.6 * r, cx + 2 * r, cy + 5 * r), pick(rng, CLOTHES)
        )
        canvas.polygon(rectangle(cx - 0.5 * r, cy, cx + 0.5 * r, cy + 1.8 * r), pick(rng, SKIN))
        canvas.polygon(ellipse(cx, cy, r, FACE_HALF_HEIGHT * r), pick(rng, HAIR))
    elif kind == "clock":
        canvas.polygon(ellipse(cx, cy, r, r), (40, 40, 44))
        canvas.polygon(ellipse(cx, cy, 0.9 * r, 0.9 * r), (236, 232, 222))
        for x, y in ellipse(cx, cy, 0.75 * r, 0.75 * r)[::4]:
            canvas.polygon(ellipse(x, y, 0.07 * r, 0.07 * r), (30, 30, 30))
        canvas.polygon(rectangle(cx, cy - 0.04 * r, cx + 0.6 * r, cy + 0.04 * r), (30, 30, 30))
    elif kind == "socket":
        canvas.polygon(rectangle(cx - r, cy - r, cx + r, cy + r), pick(rng, _WALLS))
        for side in (-1, 1):
            canvas.polygon(ellipse(cx + side * 0.4 * r, cy, 0.15 * r, 0.15 * r), (30, 28, 28))
    else:
        color = pick(rng, SKIN)
        canvas.polygon(ellipse(cx, cy, 0.8 * r, r), color)
        for i in range(4):
            x = cx + (i - 1.5) * 0.42 * r
            canvas.polygon(
                ellipse(x, cy - 1.2 * r, 0.18 * r, 0.8 * r), shade(color, 0.9 + 0.05 * i)
            )


def _draw_occluder(canvas: Canvas, head: Head, rng: np.random.Generator) -> None:
    """A pole, a board or a ball over a part of the face."""
    size, color = head.size, pick(rng, CLOTHES + _WALLS)
    side = rng.choice([-1, 1])
    kind = rng.choice(["pole", "board", "ball"])
    if kind == "pole":
        x = head.cx + side * rng.uniform(0, 0.3) * size
        half = rng.uniform(0.03, 0.09) * size
        canvas.polygon(rectangle(x - half, 0, x + half, canvas.height), color)
    elif kind == "board":
        top = head.cy + rng.uniform(-0.3, 0.3) * size
        canvas.polygon(rectangle(head.cx - size, top, head.cx + size, top + size), color)
    else:
        r = rng.uniform(0.15, 0.3) * size
        canvas.polygon(ellipse(head.cx + side * 0.4 * size, head.cy + 0.2 * size, r, r), color)


def _photograph(image: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, float, bool]:
    """Light, lens and sensor.

    Returns:
        the image, uint8; the blur's radius in pixels; whether the light is extreme.
    """
    h, w = image.shape[:2]
    is_extreme = bool(rng.random() < 0.12)
    gain = (
        rng.choice([rng.uniform(0.3, 0.45), rng.uniform(1.5, 1.8)])
        if is_extreme
        else rng.uniform(0.75, 1.2)
    )
    slope_x, slope_y = rng.uniform(-0.25, 0.25, size=2)
    light = gain * (
        1 + slope_x * np.linspace(-1, 1, w)[None, :] + slope_y * np.linspace(-1, 1, h)[:, None]
    )
    cast = rng.uniform(0.9, 1.1, size=3)
    lit = np.clip(image * light[..., None] * cast, 0, 255).astype(np.uint8)
    radius = float(rng.uniform(0.5, 1.6)) if rng.random() < 0.25 else 0.0
    if radius:
        lit = np.asarray(Image.fromarray(lit).filter(ImageFilter.GaussianBlur(radius)))
    amplitude = int(rng.integers(1, 9))
    noise = rng.integers(-amplitude, amplitude + 1, size=lit.shape)
    return np.clip(lit + noise, 0, 255).astype(np.uint8), radius, is_extreme
