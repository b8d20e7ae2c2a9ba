"""A run of an ablation: one row trained with one seed, evaluated, its anchors counted.

    OUTPUT/runs/ROW-seedS/settings.json       what the run depends on
    OUTPUT/runs/ROW-seedS/output.log          what its processes print
    OUTPUT/runs/ROW-seedS/train/              OUTPUT_DIR of train_net.py, with model_final.pth
    OUTPUT/runs/ROW-seedS/predictions-*/      detections, in WIDER FACE's format
    OUTPUT/runs/ROW-seedS/anchors.json        positives and negatives of the second step
    OUTPUT/runs/ROW-seedS/seconds.jsonl       time of each process
    OUTPUT/runs/ROW-seedS/measures-*.npz      AP and bootstrap values, see measures.py

Each of the three steps is a process of a script of this project, which resumes if it was killed.
"""

import contextlib
import hashlib
import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from detectron2.config import CfgNode

from srn_d2.config import build_cfg

from .rows import Row

REPOSITORY = Path(__file__).resolve().parents[2]
# Seed of the training images on which anchors are counted: the same images for all runs.
ANCHOR_SEED = 0
_SECONDS_FILE = "seconds.jsonl"
_CHECKPOINT = re.compile(r"model_\d{7}\.pth")


@dataclass(frozen=True)
class Plan:
    """What all runs of an ablation share.

    Attributes:
        config_file: base config, a path or a name of the model zoo.
        opts: keys and values in turn, over the base config.
        iterations: iterations of each training; None: the config's.
        num_gpus: workers of a run, on a GPU each; on CPUs processes.
        eval_opts: keys and values in turn for the evaluation alone.
        num_anchor_images: training images on which anchors are counted; 0: none.
        start_weights: row's name -> checkpoint from which it starts; "": of all other rows. A row
            that is not there starts from the config's MODEL.WEIGHTS.
        output: folder of the ablation.
    """

    config_file: str
    opts: tuple[str, ...]
    iterations: int | None
    num_gpus: int
    eval_opts: tuple[str, ...]
    num_anchor_images: int
    start_weights: Mapping[str, str]
    output: Path


@dataclass(frozen=True)
class Step:
    """A process of a run.

    Attributes:
        name: "training", "evaluation" or "anchors".
        command: of the process.
    """

    name: str
    command: tuple[str, ...]


@dataclass(frozen=True)
class Run:
    """One row trained with one seed."""

    plan: Plan
    row: Row
    seed: int

    @property
    def name(self) -> str:
        return f"{self.row.name}-seed{self.seed}"

    @property
    def folder(self) -> Path:
        return self.plan.output / "runs" / self.name

    @property
    def weights(self) -> Path:
        """The trained weights; they are there once the training is done."""
        return self.folder / "train" / "model_final.pth"

    @property
    def log(self) -> Path:
        """What the run's processes print."""
        return self.folder / "output.log"

    @property
    def anchors(self) -> Path:
        """Counts of ``tools/count_anchors.py --json``."""
        return self.folder / "anchors.json"

    @cached_property
    def cfg(self) -> CfgNode:
        """The config of the training."""
        return build_cfg(self.plan.config_file, self.opts)

    @cached_property
    def opts(self) -> list[str]:
        """Keys and values in turn, over the base config."""
        weights = self.plan.start_weights
        start = weights.get(self.row.name, weights.get("", ""))
        return [
            *self.plan.opts,
            *self._schedule(),
            *self.row.opts,
            *(("MODEL.WEIGHTS", start) if start else ()),
            *("SEED", str(self.seed)),
        ]

    def _schedule(self) -> list[str]:
        """Keys for the number of iterations, with the steps of the learning rate in proportion."""
        if self.plan.iterations is None:
            return []
        solver = build_cfg(self.plan.config_file, list(self.plan.opts)).SOLVER
        share = self.plan.iterations / solver.MAX_ITER
        steps = tuple(round(step * share) for step in solver.STEPS if step < solver.MAX_ITER)
        return ["SOLVER.MAX_ITER", str(self.plan.iterations), "SOLVER.STEPS", str(steps)]

    @property
    def iterations(self) -> int:
        """Iterations of the training."""
        return self.cfg.SOLVER.MAX_ITER

    @property
    def dataset(self) -> str:
        """The data set of the evaluation."""
        return self.cfg.DATASETS.TEST[0]

    @property
    def predictions(self) -> Path:
        """Folder of detections; with other arguments of the evaluation it is another one."""
        text = json.dumps([self.dataset, *self.plan.eval_opts])
        digits = hashlib.sha256(text.encode()).hexdigest()[:8]
        return self.folder / f"predictions-{digits}"

    def pending_steps(self, image_ids: Sequence[str]) -> list[Step]:
        """The steps that are not done yet, in their order.

        Args:
            image_ids: images of the evaluation.
        """
        steps = []
        if not self.weights.is_file():
            steps.append(Step("training", self._training_command()))
        if not self.is_evaluated(image_ids):
            steps.append(Step("evaluation", self._evaluation_command()))
        if self.plan.num_anchor_images and not self._has_anchors():
            steps.append(Step("anchors", self._anchors_command()))
        return steps

    def num_evaluated(self, image_ids: Sequence[str]) -> int:
        """The number of images that have a prediction file, which is complete if it is there."""
        return sum((self.predictions / f"{image_id}.txt").is_file() for image_id in image_ids)

    def is_evaluated(self, image_ids: Sequence[str]) -> bool:
        """True if all images have a prediction file."""
        return self.num_evaluated(image_ids) == len(image_ids)

    def last_metrics(self) -> tuple[int, float | None]:
        """Iterations done so far, and the seconds of a recent one if known, from metrics.json."""
        if self.weights.is_file():
            return self.iterations, self._metrics().get("time")
        metrics = self._metrics()
        return int(metrics.get("iteration", -1)) + 1, metrics.get("time")

    def _metrics(self) -> dict[str, Any]:
        """The last whole line of the training's metrics.json; {} if there is none."""
        try:
            with open(self.folder / "train" / "metrics.json", "rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - 20_000))
                lines = file.read().split(b"\n")
        except FileNotFoundError:
            return {}
        for line in reversed(lines[:-1]):
            try:
                metrics = json.loads(line)
            except ValueError:  # cut off by a kill
                continue
            if "time" in metrics:
                return metrics
        return {}

    def _has_anchors(self) -> bool:
        try:
            counts = json.loads(self.anchors.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return False
        return counts["num_images"] == self.plan.num_anchor_images

    def remove_checkpoints(self) -> None:
        """Remove the checkpoints before the last one, once the training is done."""
        for path in self.weights.parent.glob("model_*.pth"):
            if _CHECKPOINT.fullmatch(path.name):
                path.unlink()

    def note_seconds(self, step: Step, seconds: float) -> None:
        """Note the time of a process, whether it reached its end or was stopped."""
        with open(self.folder / _SECONDS_FILE, "a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step.name, "seconds": round(seconds, 1)}) + "\n")

    def seconds(self) -> dict[str, float]:
        """Step's name -> seconds of its processes so far."""
        total: dict[str, float] = {}
        path = self.folder / _SECONDS_FILE
        lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        for line in lines:
            with contextlib.suppress(ValueError):  # cut off by a kill
                entry = json.loads(line)
                total[entry["step"]] = total.get(entry["step"], 0.0) + entry["seconds"]
        return total

    # --- commands of the steps --------------------------------------------------------------------

    def _training_command(self) -> tuple[str, ...]:
        workers = ["--num-gpus", str(self.plan.num_gpus)]
        if self.plan.num_gpus > 1:  # a free port for each of several runs at a time
            workers += ["--dist-url", "auto"]
        return (
            *self._script("train_net.py"),
            *workers,
            "--resume",
            *self.opts,
            # The evaluation is a step of its own.
            *("DATASETS.TEST", "()", "TEST.EVAL_PERIOD", "0", "TEST.BEST_METRIC", ""),
            *("OUTPUT_DIR", str(self.weights.parent)),
        )

    def _evaluation_command(self) -> tuple[str, ...]:
        return (
            *self._script("tools/write_submission.py"),
            *("--dataset", self.dataset, "--output", str(self.predictions)),
            *self.opts,
            *self.plan.eval_opts,
            *("MODEL.WEIGHTS", str(self.weights)),
        )

    def _anchors_command(self) -> tuple[str, ...]:
        return (
            *self._script("tools/count_anchors.py"),
            *("--num-images", str(self.plan.num_anchor_images), "--json", str(self.anchors)),
            *self.opts,
            *("MODEL.WEIGHTS", str(self.weights), "SEED", str(ANCHOR_SEED)),
        )

    def _script(self, path: str) -> list[str]:
        return [sys.executable, str(REPOSITORY / path), "--config-file", self.plan.config_file]
