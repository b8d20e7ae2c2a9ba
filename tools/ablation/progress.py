"""Progress of the runs, and an estimate of the time that is left."""

import statistics
import time
from collections.abc import Mapping, Sequence

from .runs import Run


class Progress:
    """Iterations and evaluated images of all runs, from the files that the runs write.

    Args:
        runs: all runs of the ablation.
        image_ids: images of the evaluation.
        num_jobs: runs at a time.
    """

    def __init__(self, runs: Sequence[Run], image_ids: Sequence[str], num_jobs: int):
        self._runs = runs
        self._image_ids = image_ids
        self._num_jobs = num_jobs
        self._finished: set[str] = set()
        self._last: tuple[float, int] | None = None
        # Seconds of jobs that evaluated, and the images that they did.
        self._evaluation = [0.0, 0]

    def text(self, active: Mapping[str, str]) -> str:
        """One line: runs that are done, what is at work, time left.

        Args:
            active: name of a run -> the step that it is at.
        """
        done, parts, seconds = 0, [], []
        iterations_left = images_left = num_evaluated = 0
        for run in self._runs:
            if run.name in self._finished:
                done += 1
                num_evaluated += len(self._image_ids)
                continue
            if not run.pending_steps(self._image_ids):
                self._finished.add(run.name)
            iterations, second = run.last_metrics()
            evaluated = run.num_evaluated(self._image_ids)
            num_evaluated += evaluated
            iterations_left += run.iterations - iterations
            images_left += len(self._image_ids) - evaluated
            done += run.name in self._finished
            if second is not None:
                seconds.append(second)
            if step := active.get(run.name):
                at = {
                    "training": f" {iterations} of {run.iterations}",
                    "evaluation": f" {evaluated} of {len(self._image_ids)}",
                }
                parts.append(f"{run.name} {step}{at.get(step, '')}")
        self._time_evaluation(num_evaluated, list(active.values()).count("evaluation"))
        left = self._left(iterations_left, images_left, seconds)
        return "; ".join(
            [f"{done} of {len(self._runs)} runs done", *parts, *([left] if left else [])]
        )

    def _time_evaluation(self, num_evaluated: int, num_jobs: int) -> None:
        now = time.monotonic()
        if self._last is not None and num_jobs:
            before, number = self._last
            self._evaluation[0] += num_jobs * (now - before)
            self._evaluation[1] += num_evaluated - number
        self._last = (now, num_evaluated)

    def _left(self, iterations: int, images: int, seconds: Sequence[float]) -> str:
        if (iterations and not seconds) or (not iterations and images and not self._evaluation[1]):
            return ""  # nothing is known yet
        total = iterations * statistics.median(seconds) if iterations else 0.0
        spent, number = self._evaluation
        total += images * spent / number if number else 0.0
        note = " without the evaluations" if images and not number else ""
        return f"about {_duration(total / self._num_jobs)} left{note}"


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes} min" if minutes else f"{seconds:.0f} s"
