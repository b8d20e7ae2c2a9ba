"""The released network and its post-processing, restated.

Plain torch, numpy and torchvision's ResNet-50, one image at a time, both subnets on every map. It
shares no code with ``srn_d2``: the tests compare the two.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F
from torchvision.models import resnet50

LEVELS = (2, 3, 4, 5, 6, 7)
STC_LEVELS, STR_LEVELS = (2, 3, 4), (5, 6, 7)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
RFE_KERNELS = ((1, 5), (5, 1), (1, 3), (3, 1))


def released_shapes():
    """Name and shape of everything in the checkpoint."""
    shapes = {k: tuple(v.shape) for k, v in resnet50().state_dict().items() if k[:3] != "fc."}
    convs = {"layer5": (1024, 2048, 3, 3), "layer6": (256, 1024, 3, 3)}
    channels = {2: 256, 3: 512, 4: 1024, 5: 2048, 6: 1024, 7: 256}
    convs.update({f"c{i}_lateral": (256, channels[i], 1, 1) for i in (2, 3, 4, 5)})
    convs.update({f"p{i}_conv": (256, 256, 3, 3) for i in LEVELS})
    convs.update({f"c{i}_conv": (256, channels[i], 1, 1) for i in LEVELS})
    for subnet in ("cls_subnet", "box_subnet"):
        convs[f"{subnet}.0"] = convs[f"{subnet}.3"] = (256, 256, 3, 3)
        for i, kernel in enumerate(RFE_KERNELS):
            convs[f"{subnet}.2.branch{i}.0"] = (64, 256, 1, 1)
            convs[f"{subnet}.2.branch{i}.2"] = (64, 64, *kernel)
            convs[f"{subnet}.2.branch{i}.4"] = (64, 64, 1, 1)
        convs[f"{subnet}.2.cated_conv.0"] = (256, 256, 1, 1)
    convs.update(cls_subnet_pred=(2, 256, 1, 1), box_subnet_pred=(8, 256, 1, 1))
    for name, shape in convs.items():
        shapes.update({f"{name}.weight": shape, f"{name}.bias": shape[:1]})
    return shapes


def random_checkpoint(seed=3):
    """Weights in the released layout under which activations stay near 1.

    With seed 3 both thresholds divide the scores of the tests' images.
    """
    generator = torch.Generator().manual_seed(seed)

    def normal(shape, std):
        return torch.randn(shape, generator=generator) * std

    weights = {}
    for name, shape in released_shapes().items():
        if name.endswith("num_batches_tracked"):
            weights[name] = torch.tensor(7)
        elif name.endswith("running_var"):
            weights[name] = 0.7 + 0.6 * torch.rand(shape, generator=generator)
        elif len(shape) == 4:  # a convolution: its gain
            gain = 0.3 if name[0] == "c" and name[1:2] in "234567" else 1.2
            weights[name] = normal(shape, gain / math.sqrt(math.prod(shape[1:])))
        elif name.endswith(".weight"):  # of BatchNorm: small where it ends a residual branch
            weights[name] = (0.5 if "bn3" in name else 1.0) + normal(shape, 0.1)
        else:
            weights[name] = normal(shape, 0.1)
    weights["cls_subnet_pred.weight"] *= 4.0
    weights["cls_subnet_pred.bias"] -= 5.5
    weights["box_subnet_pred.weight"] *= 0.4
    return weights


# --- network -------------------------------------------------------------------------------------


def feature_maps(weights, image):
    """``image``: (3, H, W) RGB in 0 .. 255. Returns the maps "c2" .. "c7" and "p2" .. "p7"."""

    def conv(name, x, stride=1):
        kernel = weights[f"{name}.weight"]
        padding = [side // 2 for side in kernel.shape[2:]]
        return F.conv2d(x, kernel, weights[f"{name}.bias"], stride, padding)

    mean, std = torch.tensor(MEAN).view(3, 1, 1), torch.tensor(STD).view(3, 1, 1)
    x = ((image / 255 - mean) / std)[None]
    net = resnet50()
    net.load_state_dict(weights, strict=False)
    net.eval()
    c = {}
    x = net.maxpool(net.relu(net.bn1(net.conv1(x))))
    c[2] = net.layer1(x)
    c[3] = net.layer2(c[2])
    c[4] = net.layer3(c[3])
    c[5] = net.layer4(c[4])
    c[6] = conv("layer5", c[5], stride=2)
    c[7] = conv("layer6", c[6], stride=2)

    top_down = {5: conv("c5_lateral", c[5])}
    for i in (4, 3, 2):
        lateral = conv(f"c{i}_lateral", c[i])
        top_down[i] = lateral + enlarge(top_down[i + 1], lateral.shape[2:])
    p = {i: conv(f"p{i}_conv", top_down[i]) for i in (2, 3, 4, 5)}
    p[6] = conv("p6_conv", top_down[5], stride=2)
    p[7] = conv("p7_conv", p[6], stride=2)
    return {f"c{i}": conv(f"c{i}_conv", c[i]) for i in LEVELS} | {f"p{i}": p[i] for i in LEVELS}


def enlarge(x, size):
    """Bilinear with aligned corners, as two matrices: corner pixels keep their values."""
    rows, columns = (interpolation(x.shape[2 + i], size[i]) for i in (0, 1))
    return rows @ x @ columns.T


def interpolation(old, new):
    """(new, old) weights: new pixel i is at i * (old - 1) / (new - 1) of the old ones."""
    matrix = torch.zeros(new, old)
    for i in range(new):
        at = i * (old - 1) / (new - 1) if new > 1 else 0.0
        low = min(int(at), old - 1)
        matrix[i, low] += 1 - (at - low)
        matrix[i, min(low + 1, old - 1)] += at - low
    return matrix


def subnet(weights, name, x):
    """A subnet and its prediction, (1, 256, H, W) -> (1, 2 or 8, H, W)."""

    def conv(layer, x):
        kernel = weights[f"{layer}.weight"]
        padding = [side // 2 for side in kernel.shape[2:]]
        return F.conv2d(x, kernel, weights[f"{layer}.bias"], padding=padding)

    x = conv(f"{name}.0", x).relu()
    branches = []
    for i in range(4):
        y = x
        for j in (0, 2, 4):
            y = conv(f"{name}.2.branch{i}.{j}", y).relu()
        branches.append(y)
    x = x + conv(f"{name}.2.cated_conv.0", torch.cat(branches, 1)).relu()
    return conv(f"{name}_pred", conv(f"{name}.3", x).relu())


def predictions(weights, maps):
    """For each level: logits and deltas of the first step, then of the second, (1, A*k, H, W)."""
    return {
        i: tuple(
            subnet(weights, name, maps[f"{step}{i}"])
            for step in "cp"
            for name in ("cls_subnet", "box_subnet")
        )
        for i in LEVELS
    }


# --- post-processing -----------------------------------------------------------------------------


def detect(
    by_level,
    *,
    first_threshold=0.01,
    second_threshold=0.05,
    few_cells=120,
    top=6000,
    iou=0.4,
    pixel=1,
    keep=750,
):
    """Detections (n, 5): x1, y1, x2, y2, score, best first, not clipped to the image."""
    candidates = []
    for i, maps in by_level.items():
        height, width = maps[0].shape[2:]
        # (1, A*k, H, W) -> (H*W*A, k), numpy
        scores1, deltas1, scores2, deltas2 = (
            m[0].view(2, -1, height, width).permute(2, 3, 0, 1).reshape(height * width * 2, -1)
            for m in maps
        )
        scores1, scores2 = (s[:, 0].sigmoid().numpy() for s in (scores1, scores2))
        boxes = anchors(2**i, height, width)
        if i in STR_LEVELS:
            boxes = decode(boxes, deltas1.numpy())
        passed = scores2 > (second_threshold if height * width >= few_cells else 0)
        if i in STC_LEVELS:
            passed &= scores1 > np.float32(first_threshold)
        chosen = np.flatnonzero(passed)
        chosen = chosen[np.argsort(-scores2[chosen], kind="stable")][:top]
        boxes = decode(boxes[chosen], deltas2.numpy()[chosen])
        candidates.append(np.column_stack([boxes, scores2[chosen]]))
    candidates = np.concatenate(candidates)
    candidates = candidates[np.argsort(-candidates[:, 4], kind="stable")]
    return candidates[nms(candidates[:, :4], iou, pixel)][:keep]


def anchors(stride, height, width):
    """(H*W*2, 4), row by row, the two anchors of a cell side by side."""
    ws = round(math.sqrt(stride * stride / 1.25))
    hs = round(1.25 * ws)
    boxes = []
    for row in range(height):
        for column in range(width):
            x, y = (0.5 * (stride - 1) + i * stride for i in (column, row))
            for scale in (2, 2.828427):
                half_w, half_h = 0.5 * (ws * scale - 1), 0.5 * (hs * scale - 1)
                boxes.append([x - half_w, y - half_h, x + half_w, y + half_h])
    return np.array(boxes)


def decode(boxes, deltas):
    x, y = (boxes[:, 0] + boxes[:, 2]) / 2, (boxes[:, 1] + boxes[:, 3]) / 2
    w, h = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    x, y = x + deltas[:, 0] * w, y + deltas[:, 1] * h
    w, h = w * np.exp(deltas[:, 2]), h * np.exp(deltas[:, 3])
    return np.column_stack([x - w / 2, y - h / 2, x + w / 2, y + h / 2])


def nms(boxes, threshold, pixel):
    """Indices that stay of ``boxes``, best first; widths are x2 - x1 + pixel, in float32."""
    boxes = boxes.astype(np.float32)
    areas = (boxes[:, 2] - boxes[:, 0] + pixel) * (boxes[:, 3] - boxes[:, 1] + pixel)
    alive = np.ones(len(boxes), dtype=bool)
    kept = []
    for i in range(len(boxes)):
        if not alive[i]:
            continue
        kept.append(i)
        w = np.minimum(boxes[i, 2], boxes[:, 2]) - np.maximum(boxes[i, 0], boxes[:, 0]) + pixel
        h = np.minimum(boxes[i, 3], boxes[:, 3]) - np.maximum(boxes[i, 1], boxes[:, 1]) + pixel
        inter = np.maximum(w, 0) * np.maximum(h, 0)
        alive &= ~(inter / (areas[i] + areas - inter) > np.float32(threshold))
    return np.array(kept, dtype=int)
