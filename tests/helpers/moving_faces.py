"""Simulated faces that move through a video, for the tracker: boxes with the detector's noise."""

import numpy as np

NO_BOX = np.zeros((0, 4))
SIZE = (1920, 1080)
RATE = 25


def noisy_path(rng, num_frames, side=30.0, speed=6.0, jitter=2.0):
    """(num_frames, 4) true boxes and noisy ones of a face that moves evenly, inside the picture.

    Args:
        rng: NumPy's generator.
        num_frames: number of frames.
        side: of the face, in pixels.
        speed: in pixels for each frame; the direction is random.
        jitter: standard deviation of each box coordinate, in pixels.
    """
    angle = rng.uniform(-0.5, 0.5) + np.pi * rng.integers(2)
    motion = speed * np.array([np.cos(angle), np.sin(angle)])
    steps = np.arange(num_frames) - num_frames / 2
    centres = np.array(SIZE) / 2 + steps[:, None] * motion
    true = np.concatenate([centres - side / 2, centres + side / 2], axis=1)
    return true, true + rng.normal(0, jitter, true.shape)


def crossing_paths(rng, num_frames, side=30.0, speed=6.0, jitter=2.0, distance=0.5):
    """Two (2, num_frames, 4), true and noisy: faces that pass each other in opposite directions.

    Args:
        distance: between their parallel paths, in sides.
    """
    true = []
    for sign in (-1, 1):
        middle = np.array(SIZE) / 2 + [0, sign * distance * side / 2]
        steps = np.arange(num_frames) - (num_frames - 1) / 2
        centres = middle + steps[:, None] * [sign * speed, 0]
        true.append(np.concatenate([centres - side / 2, centres + side / 2], axis=1))
    true = np.stack(true)
    return true, true + rng.normal(0, jitter, true.shape)


def boxes_of_frames(paths, found):
    """List of the boxes (n, 4) of each frame.

    Args:
        paths: (m, num_frames, 4).
        found: (m, num_frames), whether a face is found in a frame.
    """
    return [paths[is_found, i] for i, is_found in enumerate(np.asarray(found).T)]
