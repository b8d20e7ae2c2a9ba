"""The AP of PASCAL VOC and of the toolbox, restated detection by detection."""

import numpy as np

from srn_d2.evaluation.voc_ap.ap import ApImage


def image(faces, boxes, scores, ignored=None):
    return ApImage(
        np.array(faces, float).reshape(-1, 4),
        np.zeros(len(faces), bool) if ignored is None else np.array(ignored, bool),
        np.array(boxes, float).reshape(-1, 4),
        np.array(scores, float),
    )


def plain_overlap(a, b, pixel):
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    intersection = (width + pixel) * (height + pixel)
    areas = [(c[2] - c[0] + pixel) * (c[3] - c[1] + pixel) for c in (a, b)]
    return intersection / (sum(areas) - intersection)


def plain_matches(images, pixel):
    """(outcome, image, box, face) by falling score; outcome True, False or None for ignored."""
    ranked = [(-s, i, d) for i, im in enumerate(images) for d, s in enumerate(im.scores)]
    taken, matches = set(), []
    for _, i, d in sorted(ranked):
        best, best_face = 0.0, None
        for f, face in enumerate(images[i].faces):
            overlap = plain_overlap(images[i].boxes[d], face, pixel)
            if overlap >= best:
                best, best_face = overlap, f
        if best > 0.5:
            if images[i].ignored[best_face]:
                matches.append((None, i, d, best_face))
                continue
            matches.append(((i, best_face) not in taken, i, d, best_face))
            taken.add((i, best_face))
        else:
            matches.append((False, i, d, None))
    return matches


def plain_ap(images, pixel=0.0):
    outcomes = [outcome for outcome, *_ in plain_matches(images, pixel) if outcome is not None]
    num_faces = sum((~im.ignored).sum() for im in images)
    recalls = [sum(outcomes[:k]) / num_faces for k in range(1, len(outcomes) + 1)]
    precisions = [sum(outcomes[:k]) / k for k in range(1, len(outcomes) + 1)]
    area, before = 0.0, 0.0
    for k, recall in enumerate(recalls):
        area += (recall - before) * max(precisions[k:])
        before = recall
    return area


def plain_toolbox_ap(images):
    images = [
        ApImage(
            im.faces,
            im.ignored | np.array([min(f[2] - f[0], f[3] - f[1]) < 30 for f in im.faces], bool),
            *(
                np.array(
                    [v for v, b in zip(values, im.boxes, strict=True) if max(b[2:] - b[:2]) > 21]
                )
                for values in (im.boxes, im.scores)
            ),
        )
        for im in images
    ]
    for _ in range(4):
        found = [m for m in plain_matches(images, 1.0) if m[0]]
        pairs = [(images[i].boxes[d], images[i].faces[f]) for _, i, d, f in found]
        shift, scale = [], []
        for axis in (0, 1):
            d = [(b[axis], b[axis + 2], f[axis], f[axis + 2]) for b, f in pairs]
            shift.append(
                np.mean([((f1 + f2) / 2 - (b1 + b2) / 2) / (b2 - b1) for b1, b2, f1, f2 in d])
            )
            scale.append(np.mean([(f2 - f1) / (b2 - b1) for b1, b2, f1, f2 in d]))
        for i, im in enumerate(images):
            moved = []
            for box in im.boxes:
                half = [(box[a + 2] - box[a]) / 2 for a in (0, 1)]
                center = [(box[a + 2] + box[a]) / 2 + shift[a] * 2 * half[a] for a in (0, 1)]
                low = [center[a] - half[a] * scale[a] for a in (0, 1)]
                moved.append([*low, *(center[a] + half[a] * scale[a] for a in (0, 1))])
            images[i] = im._replace(boxes=np.array(moved).reshape(-1, 4))
    return plain_ap(images, 1.0)
