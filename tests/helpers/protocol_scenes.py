"""Made-up images for the protocol fixture: faces, detections, and which faces count.

All numbers come from a fixed seed by way of ``random.Random.random`` alone, whose values Python
keeps from version to version. Nothing here is taken from WIDER FACE, and nothing imports the
package under test.
"""

import random
from dataclasses import dataclass, field

WIDTH, HEIGHT = 1024, 768
LOWEST_SCORE, HIGHEST_SCORE = -0.25, 1.5
SETTINGS = ("easy", "medium", "hard")
# The height in pixels from which a face counts; a few of those leave the list at random.
MIN_HEIGHTS = {"easy": 50, "medium": 28, "hard": 9}

Face = tuple[int, int, int, int]  # x, y, w, h
Detection = tuple[float, float, float, float, float]  # x, y, w, h, score


@dataclass
class Scene:
    """One image.

    Attributes:
        image_id: "event/image".
        faces: in the order of the ground truth.
        counted: setting -> 1-based indices of the faces that count.
        detections: in the order of the file.
        layout: how the file is written, see ``prediction_text`` of make_protocol_fixture.py.
    """

    image_id: str
    faces: list[Face] = field(default_factory=list)
    counted: dict[str, list[int]] = field(default_factory=dict)
    detections: list[Detection] = field(default_factory=list)
    layout: str = "plain"


class Draw:
    """Random choices of a seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed).random

    def chance(self, probability: float) -> bool:
        return self._random() < probability

    def integer(self, low: int, high: int) -> int:
        """One of low .. high, both included."""
        return low + int(self._random() * (high - low + 1))

    def quarter(self, low: float, high: float) -> float:
        """A multiple of a quarter of a pixel, so that half pixels are frequent."""
        return self.integer(int(low * 4), int(high * 4)) / 4

    def score(self, quality: int) -> float:
        """One of a grid whose normalised values are the protocol's thresholds, t / 1000.

        In float32 about half of them fall below the threshold. A grid of some hundred values
        makes equal scores frequent. ``quality`` is 0 .. 1000, about which the values scatter.
        """
        step = min(990, max(10, quality + self.integer(-160, 160)))
        if self.chance(0.5):
            step = step // 20 * 20
        return round(LOWEST_SCORE + step * (HIGHEST_SCORE - LOWEST_SCORE) / 1000, 5)


def make_scenes(seed: int = 20240229) -> list[Scene]:
    """All images, those of an event one after the other."""
    draw = Draw(seed)
    scenes = _exact_scenes()
    scenes += [_random_scene(draw, f"1--Regatta/{n}_Regatta", (1, 6), (24, 160)) for n in range(24)]
    scenes += [_random_scene(draw, f"2--Market/{n}_Market", (8, 20), (6, 70)) for n in range(24)]
    scenes += [_random_scene(draw, f"3--Choir/{n}_Choir", (45, 80), (3, 24)) for n in range(8)]
    scenes += [_empty_scene(draw, f"4--Harbour/{n}_Harbour") for n in range(6)]
    for scene in scenes:
        scene.layout = _LAYOUTS.get(scene.image_id, "plain")
    # The range of scores is that of the whole data set, images without any face included.
    scenes[-2].detections += [(50, 50, 20, 20, HIGHEST_SCORE), (80, 50, 20, 20, LOWEST_SCORE)]
    return scenes


# Files that are not as they should be; see make_protocol_fixture.prediction_text.
_LAYOUTS = {
    "1--Regatta/3_Regatta": "missing",
    "1--Regatta/7_Regatta": "empty",
    "2--Market/5_Market": "cut off",
    "2--Market/9_Market": "blank line",
    "2--Market/13_Market": "unread lines",
    "3--Choir/2_Choir": "more columns",
}


def _random_scene(
    draw: Draw, image_id: str, num_faces: tuple[int, int], sizes: tuple[int, int]
) -> Scene:
    scene = Scene(image_id, counted={setting: [] for setting in SETTINGS})
    for index in range(1, draw.integer(*num_faces) + 1):
        width = draw.integer(*sizes)
        height = width * draw.integer(9, 14) // 10
        # A crowd stands close together, so that boxes of neighbours overlap.
        x = draw.integer(-3, WIDTH // (4 if num_faces[1] > 40 else 1))
        y = draw.integer(-3, HEIGHT // (6 if num_faces[1] > 40 else 1))
        if draw.chance(0.012):
            width, height = ((-2, height), (0, height), (width, 0))[draw.integer(0, 2)]
        scene.faces.append((x, y, width, height))
        for setting, minimum in MIN_HEIGHTS.items():
            if height >= minimum and not draw.chance(0.06):
                scene.counted[setting].append(index)
        for _ in range(draw.integer(0, 4) and 1 + draw.chance(0.3)):
            scene.detections.append(_detection_of(draw, scene.faces[-1]))
    for _ in range(draw.integer(1, max(2, len(scene.faces) // 2))):
        box = draw.quarter(-9, WIDTH), draw.quarter(-9, HEIGHT)
        scene.detections.append((*box, draw.quarter(-1, 90), draw.quarter(-1, 90), draw.score(300)))
    if draw.chance(0.4):  # the same lines again
        scene.detections += scene.detections[: draw.integer(1, 3)]
    scene.detections.sort(key=lambda detection: (detection[2] * 7) % 5)  # not by score
    return scene


def _detection_of(draw: Draw, face: Face) -> Detection:
    """A detection near a face, often at the edge of a match."""
    x, y, width, height = face
    if width % 2 == 1 and draw.chance(0.15):  # IoU of exactly one half
        return (x, y, (width + 1) // 2 - 1, height, draw.score(600))
    spread = max(1.0, abs(width) * (0.08 if draw.chance(0.6) else 0.22))
    moved = [value + draw.quarter(-spread, spread) for value in face]
    if draw.chance(0.2):
        moved = [value + 0.5 for value in face]
    return (*moved, draw.score(700))


def _empty_scene(draw: Draw, image_id: str) -> Scene:
    """An image without faces, with some detections."""
    scene = Scene(image_id, counted={setting: [] for setting in SETTINGS})
    for _ in range(draw.integer(0, 5)):
        box = draw.quarter(0, WIDTH), draw.quarter(0, HEIGHT), draw.quarter(5, 60)
        scene.detections.append((*box, draw.quarter(5, 60), draw.score(400)))
    return scene


def _exact_scenes() -> list[Scene]:
    """Images that each hold one rule at its edge; all faces count, but where it says otherwise."""
    pair = [(0, 0, 9, 15), (0, 0, 9, 9)]  # the detection (0, 0, 9, 9) matches both
    cases: dict[str, tuple[list[Face], list[Detection]]] = {
        "halves": (
            [(0, 0, 9, 9), (40, 0, 10, 0), (80, 0, 9, 0), (120, -4, 9, 9)],
            [
                (0, 0, 4, 9, 0.85),  # 50 / 100
                (40, 0, 4, 0, 0.85),  # 5 / 11
                (80, 0, 4, 0, 0.8),  # 5 / 10
                (120, -4, 9, 4, 0.8),  # 50 / 100
            ],
        ),
        "half_pixels": (
            [(0, 0, 9, 0), (40, 0, 7, 0), (-1, 40, 2, 0), (0, 80, 9, 0), (40, 80, 9, 0)],
            [
                (4.5, 0, 4.5, 0, 0.75),  # the corner becomes 5: no match
                (44.4, 0, 3.5, 0, 0.75),  # 4 / (12.5 -> 13 - 4)
                (-0.5, 40, 0.5, 0, 0.7),  # the corner becomes -1: a match
                (0.5, 80, 4.5, 0, 0.7),  # the second corner is 5, not 6
                (44.6, 80, 4.4, 0, 0.7),  # the sum of the areas is rounded: 5 / (15.4 -> 15 - 5)
            ],
        ),
        "two_matches": (pair, [(0, 0, 9, 9, 0.65), (0, 0, 9, 15, 0.6)]),
        "first_does_not_count": (pair, [(0, 0, 9, 9, 0.66), (0, 0, 9, 9, 0.61)]),
        "tiny": ([(10, 10, 3, 4), (10, 10, 3, 3)], [(10.4, 10.4, 2.2, 2.2, 0.55)]),
        "ties": (
            [(100, 100, 30, 30), (200, 100, 30, 30)],
            [(100, 100, 30, 30, 0.5), (300, 100, 30, 30, 0.5), (200, 100, 30, 30, 0.5)] * 3
            + [(200, 101, 30, 30, 0.625)],
        ),
        "degenerate": (
            [(5, 5, 0, 9), (60, 5, -2, 9), (90, 5, 9, 0), (120, 5, 20, 20)],
            [(5, 5, 0, 9, 0.9), (60, 5, -2, 9, 0.88), (90, 5, 9, 0, 0.86), (60, 5, 0, 0, 0.84)],
        ),
        "apart": ([(0, 0, 9, 9), (40, 0, 9, 9)], [(24, 24, 9, 9, 0.9), (50, 0, 9, 9, 0.9)]),
        "beyond_int32": (
            [(0, 0, 100000, 100000), (10, 10, 9, 9)],
            [(0, 0, 100000, 300000, 0.95), (-1e12, -1e12, 2e12, 2e12, 0.9), (5e9, 5e9, 9, 9, 0.9)],
        ),
        "no_detections": ([(10, 10, 60, 60), (90, 10, 9, 9)], []),
        "none_counts": ([(10, 10, 60, 60)], [(10, 10, 60, 60, 1.25), (300, 10, 60, 60, 1.2)]),
        "negative_scores": ([(10, 10, 60, 60)], [(10, 10, 60, 60, -0.125), (9, 9, 9, 9, -0.0)]),
    }
    scenes = []
    for name, (faces, detections) in cases.items():
        indices = list(range(1, len(faces) + 1))
        if name == "first_does_not_count":
            indices = [2]
        elif name == "none_counts":
            indices = []
        counted = {setting: list(indices) for setting in SETTINGS}
        scenes.append(Scene(f"0--Edge_Cases/0_{name}", faces, counted, detections))
    return scenes
