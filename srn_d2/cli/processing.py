"""A run of ``srn-d2 detect``: from its inputs to pictures, videos and files of faces."""

import hashlib
import json
import logging
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tqdm.contrib.logging import logging_redirect_tqdm

from srn_d2.error_messages import message_of
from srn_d2.run_settings import describe_differences

from . import worker_group
from .input_processing import InputProcessor, Process, log_written
from .journal import Result
from .leftovers import with_leftovers_named
from .output_errors import OutputFolderError
from .outputs import JsonWriter, RecordWriter, check_writable, record_writers, written_paths
from .pipeline import ProcessPipeline, ProcessStartError, run_in_threads
from .progress import Progress, Reporter, Summary
from .run_folder import OutputInUseError, RunFolder
from .shared_detector import SharedDetector
from .sources import Source
from .video.errors import VideoError
from .video.options import VideoOptions

logger = logging.getLogger(__name__)

# Errors of a wrong config, incompatible or unreadable weights, or a missing input.
SETUP_ERRORS = (OSError, ValueError, KeyError, RuntimeError, ImportError)
# Errors that end a run which has begun; what is done is kept.
STOPPING_ERRORS = (
    *(VideoError, OSError, OutputFolderError, ProcessStartError, worker_group.WorkerLostError),
)
GO_ON = "the same command goes on from here"


@dataclass(frozen=True)
class Job:
    """One run of the command.

    Attributes:
        detector: finds the faces, for all inputs in work.
        sources: input files; empty with a camera.
        output: output folder.
        formats: of ``outputs.FORMATS``.
        settings: JSON values that the results depend on.
        camera: number of the camera.
        video: what is written of videos, and, by its ``render`` and ``margin``, of pictures.
        num_inputs: number of pictures that are in work at the same time in this process.
        start_worker: makes the ``Process`` of a worker process, see ``ProcessPipeline``.
        num_processes: number of worker processes; 1: threads of this process.
        restart: start anew even if there is a run that could go on.
    """

    detector: SharedDetector
    sources: Sequence[Source]
    output: Path
    formats: Sequence[str]
    settings: Mapping[str, Any] = field(default_factory=dict)
    camera: int | None = None
    video: VideoOptions = field(default_factory=VideoOptions)
    num_inputs: int = 1
    start_worker: Callable[[], Process] | None = None
    num_processes: int = 1
    restart: bool = False


def run_job(prepare: Callable[[], Job]) -> int:
    """Prepare and run a job, or this worker's share of it; errors are logged.

    Returns:
        the exit status: 0, 1 if some input failed (the others are processed) or nothing more can be
        written, 2 if the job could not be prepared, 130 after Ctrl-C; but 0 after Ctrl-C ends a
        camera's recording.
    """
    job, problem = None, None
    try:
        job = prepare()
        check_writable(job.output)
    except SETUP_ERRORS as error:
        problem = message_of(error)
    except KeyboardInterrupt:
        return _left(130)
    try:
        if _is_problem_of_any(problem) or job is None:
            return 2
        with logging_redirect_tqdm(), stopped_by_sigterm():
            if job.camera is None:
                return process_files(job)
            _process_camera(job, job.camera)
    except KeyboardInterrupt:
        if job is not None and job.camera is None and worker_group.get_world_size() == 1:
            logger.info("Stopped: %s", GO_ON)
        return _left(130)
    except STOPPING_ERRORS as error:
        logger.error("%s", error)
        if job is not None and job.camera is None and worker_group.get_world_size() == 1:
            logger.error("Stopped, what is done is kept: %s", GO_ON)
        return _left(1)
    finally:
        if job is not None:
            job.detector.close()
    return 0


def _is_problem_of_any(problem: str | None) -> bool:
    """Whether any worker has a problem; each that there is is logged once on each machine."""
    problems = dict.fromkeys(filter(None, worker_group.all_gather(problem)))
    if worker_group.get_local_rank() == 0:
        for text in problems:
            logger.error("%s", text)
    return bool(problems)


def _left(status: int) -> int:
    """The status of a worker that stops; if there are others, its process ends, and they with it.

    Raises:
        SystemExit: there are other workers, which would wait for this one.
    """
    if worker_group.get_world_size() > 1:
        raise SystemExit(status)
    return status


def process_files(job: Job) -> int:
    """Process this worker's share of the files; the first worker merges the faces of all.

    Returns:
        the exit status.
    """
    folder = RunFolder(job.output, worker_group.get_rank())
    try:
        done = _open_together(folder, job)
        if done is None:
            return 2
        pending = [i for i in range(len(job.sources)) if i not in done]
        share = pending[worker_group.get_rank() :: worker_group.get_world_size()]
        if done and worker_group.is_main_process():
            logger.info("%d of %d inputs are done already", len(done), len(job.sources))
        summary = _process_share(job, folder, done, [job.sources[i] for i in share])
        summary = Summary.of_all(worker_group.all_gather(summary))
        if worker_group.is_main_process():
            _merge(job, folder, summary)
        worker_group.synchronize()
        return int(summary.num_failed > 0)
    except BaseException:
        if worker_group.get_world_size() == 1:
            folder.clean()
        raise
    finally:
        folder.close()


def _open_together(folder: RunFolder, job: Job) -> set[int] | None:
    """Open the run by the first worker; the indices of the sources that are done.

    Returns:
        None if the run cannot be opened: the error is logged.
    """
    if _is_problem_of_any(_difference_from_first(job)):
        return None
    problem = None
    if worker_group.is_main_process():
        try:
            folder.open(job.settings, job.restart)
        except (ValueError, OutputInUseError, OSError) as error:
            problem = message_of(error)
    if _is_problem_of_any(problem):
        return None
    done: set[int] = set()
    try:
        done = folder.done(job.sources)
    except (ValueError, OSError) as error:
        problem = message_of(error)
    # Nobody writes before all have read.
    return None if _is_problem_of_any(problem) else done


def _difference_from_first(job: Job) -> str | None:
    """What differs from the first worker's job, if anything does."""
    paths = [str(source.path) for source in job.sources]
    inputs = hashlib.sha256(json.dumps(paths).encode()).hexdigest()
    own = {**job.settings, "input files": f"{len(paths)}, SHA-256 of their names {inputs[:8]}"}
    first = worker_group.all_gather(own)[0]
    if own == first:
        return None
    lines = "\n".join(describe_differences(first, own, "by the first worker", "here"))
    return f"All workers need the same options and see the same inputs; these differ:\n{lines}"


def _process_share(
    job: Job, folder: RunFolder, done: set[int], sources: Sequence[Source]
) -> Summary:
    """Process some sources and append their results to this worker's journal.

    Without other workers the files of faces are written meanwhile. Whatever happens, faces.json
    has what is done then.

    Args:
        done: indices of the job's sources that are done already.
    """
    is_alone = worker_group.get_world_size() == 1
    summary, reporter = Summary(), Reporter()
    if worker_group.is_main_process():
        for result in folder.results(job.sources, done):
            summary.add(result)
    progress = Progress(len(sources) + len(done), len(done), worker_group.get_local_rank() == 0)
    journal = folder.journal()
    with record_writers(job.formats if is_alone else (), job.output) as writers:
        try:
            for writer in writers:
                writer.start(folder.results(job.sources, done))
            for result in _results(job, sources):
                journal.append(result)
                for writer in writers:
                    writer.write(result)
                summary.add(result)
                reporter.report(result)
                progress.update()
        finally:
            progress.close()
            journal.close()
            _write_lists(writers, folder, job.sources)
    return summary


def _write_lists(
    writers: Sequence[RecordWriter], folder: RunFolder, sources: Sequence[Source]
) -> None:
    for writer in writers:
        if isinstance(writer, JsonWriter):
            writer.write_all(folder.results(sources))


def _merge(job: Job, folder: RunFolder, summary: Summary) -> None:
    """Write the faces of all workers, if there are others; end the run and log its summary.

    Raises:
        OSError: the files of another worker are not there.
    """
    if worker_group.get_world_size() > 1:
        folder.check_workers(worker_group.get_world_size())
        with record_writers(job.formats, job.output) as writers:
            for writer in writers:
                writer.start(folder.results(job.sources))
            _write_lists(writers, folder, job.sources)
    paths = ", ".join(map(str, written_paths(job.formats, job.output)))
    summary.log(paths)
    folder.end(summary.num_failed > 0)


def _results(job: Job, sources: Sequence[Source]) -> Iterator[Result]:
    """The results of the sources, as they come."""
    results = _process(job, sources) if sources else iter(())
    if job.video.render is None:
        return results
    return with_leftovers_named(results, job.sources, job.output)


def _process(job: Job, sources: Sequence[Source]) -> Iterator[Result]:
    if job.start_worker is not None:
        yield from ProcessPipeline(job.start_worker, job.num_processes).run(sources)
        return
    process = InputProcessor(job.detector, job.output, job.video)
    pictures = (source for source in sources if not source.is_video)
    yield from run_in_threads(process, pictures, job.num_inputs)
    # One after the other, in this thread, which Ctrl-C stops.
    yield from (process(source) for source in sources if source.is_video)


def _process_camera(job: Job, number: int) -> None:
    from .video.process import process_camera  # imports PyAV

    output = job.output / f"camera_{number}.mp4"
    log_written(process_camera(job.detector, number, output, job.video))


@contextmanager
def stopped_by_sigterm() -> Iterator[None]:
    """Context in which SIGTERM stops the main thread as Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
