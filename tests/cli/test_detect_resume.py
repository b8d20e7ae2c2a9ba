"""``srn-d2 detect`` that goes on, its formats as they come, and failures; in this process."""

import dataclasses
import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from helpers.detect_files import files_below, save_image, save_video
from srn_d2.cli import input_processing, processing, worker_group
from srn_d2.cli.journal import Journal, Result, read_journal
from srn_d2.cli.outputs import record_writers
from srn_d2.cli.run_folder import FOLDER, OutputInUseError, RunFolder
from srn_d2.cli.sources import Source, find_sources


class StoppedError(Exception):
    """Stands for a kill."""


@pytest.fixture
def stop_after(monkeypatch):
    """Stop the next run, as by a kill, after a number of results."""

    def stop(number, error=StoppedError):
        append = Journal.append
        appended = []

        def append_or_stop(self, result):
            if len(appended) == number:
                monkeypatch.setattr(Journal, "append", append)
                raise error
            appended.append(result)
            append(self, result)

        monkeypatch.setattr(Journal, "append", append_or_stop)

    return stop


def save_images(folder, number=5):
    for index in range(number):
        save_image(folder / f"{index}.png", seed=index)
    return folder


def names_in(path):
    return [Path(json.loads(line)["file_name"]).name for line in path.read_text().splitlines()]


def test_a_stopped_run_goes_on_and_new_or_changed_inputs_are_done(detect, stop_after, tmp_path):
    folder = save_images(tmp_path / "in")
    stop_after(3)
    with pytest.raises(StoppedError):
        detect(folder, "--format", "json,jsonl")
    assert len(names_in(tmp_path / "out" / "faces.jsonl")) == 3
    save_image(folder / "1.png", size=(70, 50))
    save_image(folder / "9.png")
    (folder / "2.png").unlink()
    status, messages = detect(folder, "--format", "json,jsonl")
    assert status == 0, messages
    assert "1 of 5 inputs are done already" in messages  # 0.png
    records = json.loads((tmp_path / "out" / "faces.json").read_text())
    assert [Path(record["file_name"]).name for record in records] == [
        *("0.png", "1.png", "3.png", "4.png", "9.png")
    ]
    assert (records[1]["height"], records[1]["width"]) == (70, 50)
    assert sorted(names_in(tmp_path / "out" / "faces.jsonl")) == [
        *("0.png", "1.png", "3.png", "4.png", "9.png")
    ]


def test_ctrl_c_writes_the_list_and_the_rest_is_done_later(detect, stop_after, tmp_path):
    folder = save_images(tmp_path / "in")
    stop_after(2, KeyboardInterrupt)
    status, messages = detect(folder)
    assert status == 130
    assert "the same command goes on from here" in messages
    assert len(json.loads((tmp_path / "out" / "faces.json").read_text())) == 2
    assert detect(folder)[0] == 0
    assert len(json.loads((tmp_path / "out" / "faces.json").read_text())) == 5


def test_a_stop_leaves_no_drafts_of_terminated_processes(detect, monkeypatch, tmp_path):
    draft = tmp_path / "out" / ".long.0123456789abcdef.partial.mp4"

    def stop(job, sources):
        draft.write_bytes(b"half of a video")
        raise KeyboardInterrupt
        yield

    monkeypatch.setattr(processing, "_results", stop)
    status, messages = detect(save_images(tmp_path / "in", 2))
    assert status == 130
    assert "the same command goes on from here" in messages
    assert not draft.exists()


@pytest.mark.parametrize(
    ("options", "keys"),
    [
        (["--min-face-size", "30"], ["--min-face-size: None there, 30.0 now"]),
        (["--blur"], ["--blur: False there, True now"]),
        (["--format", "csv"], ["--format: ['json'] there, ['csv'] now"]),
        (["MODEL.SRN.NMS_THRESH_TEST", "0.4"], ["MODEL.SRN.NMS_THRESH_TEST: 0.5 there, 0.4 now"]),
    ],
)
def test_changed_options_are_refused_with_their_keys(detect, stop_after, tmp_path, options, keys):
    folder = save_images(tmp_path / "in", 2)
    stop_after(1)
    with pytest.raises(StoppedError):
        detect(folder)
    before = files_below(tmp_path / "out")
    status, messages = detect(folder, *options)
    assert status == 2
    lines = messages.splitlines()
    assert [line.strip() for line in lines if line.startswith("  ")] == keys
    assert files_below(tmp_path / "out") == before
    status, messages = detect(folder, "--restart", *options)
    assert status == 0, messages
    assert "done already" not in messages


def test_what_was_deleted_is_written_again(detect, stop_after, tmp_path):
    folder = save_images(tmp_path / "in", 3)
    save_image(folder / "3.jpg")
    pixels = np.random.default_rng(0).integers(0, 256, (48, 64, 4), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "4.jpg", format="PNG")  # written as 4.jpg.png
    save_image(folder / "5.png")
    save_video(folder / "6.mp4")
    save_video(folder / "7.mp4")
    stop_after(8)  # all, but not the end
    (folder / "8.mp4").write_bytes((folder / "7.mp4").read_bytes())
    with pytest.raises(StoppedError):
        detect(folder, "--format", "json,wider")
    deleted = ["1.png", "4.jpg.png", "6.mp4", "7.mp4.jsonl", "wider/0.txt"]
    before = files_below(tmp_path / "out")
    for name in deleted:
        (tmp_path / "out" / name).unlink()
    status, messages = detect(folder, "--format", "json,wider")
    assert status == 0, messages
    assert "4 of 9 inputs are done already" in messages
    assert set(before) <= set(files_below(tmp_path / "out"))
    assert len(json.loads((tmp_path / "out" / "faces.json").read_text())) == 6


def test_other_inputs_are_refused_too(detect, stop_after, tmp_path):
    stop_after(1)
    with pytest.raises(StoppedError):
        detect(save_images(tmp_path / "in", 2))
    status, messages = detect(save_images(tmp_path / "other", 2))
    assert status == 2
    assert "inputs: " in messages


def test_after_failures_the_same_command_tries_these_again(detect, tmp_path):
    folder = save_images(tmp_path / "in", 2)
    for name in ("a.png", "b.png"):
        (folder / name).write_text("no picture")
    (folder / "cut.png").write_bytes((folder / "0.png").read_bytes()[:2000])
    status, messages = detect(folder)
    assert status == 1
    assert "3 of 5 inputs failed: 2 not an image, 1 truncated or damaged" in messages
    save_image(folder / "a.png")
    status, messages = detect(folder)
    assert status == 1
    assert "2 of 5 inputs are done already" in messages
    assert "2 of 5 inputs failed: 1 not an image, 1 truncated or damaged" in messages
    # Other options would mean all inputs anew, which is said.
    before = files_below(tmp_path / "out")
    status, messages = detect(folder, "--blur", "--max-megapixels", "250")
    assert status == 2
    assert "run with failures" in messages
    assert "--blur: False there, True now" in messages
    assert "--max-megapixels: 100.0 there, 250.0 now" in messages
    assert "--restart" in messages
    assert files_below(tmp_path / "out") == before
    (folder / "a.png").write_text("no picture any more")
    status, messages = detect(folder, "--blur", "--restart")
    assert status == 1
    leftover = "; a.png in the output folder is of an earlier run"
    assert leftover in messages
    assert messages.count("of an earlier run") == 1
    records = json.loads((tmp_path / "out" / "faces.json").read_text())
    [error] = [x["error"] for x in records if Path(x["file_name"]).name == "a.png"]
    assert error.endswith(leftover)
    # That run has ended: one of other inputs starts anew.
    status, messages = detect(folder / "0.png", "--pixelate")
    assert status == 0, messages
    assert "was of other inputs: this one starts anew" in messages
    assert not (tmp_path / "out" / FOLDER).exists()


def test_a_run_without_failures_starts_anew(detect, tmp_path):
    folder = save_images(tmp_path / "in", 2)
    for options in ([], ["--pixelate"]):
        status, messages = detect(folder, *options)
        assert status == 0, messages
        assert "done already" not in messages


def test_no_half_lines_after_a_kill(tmp_path):
    """Whatever the last line was cut to, the results before it are read, and the rest removed."""
    source = Source(tmp_path / "a.png", Path("a.png"), Path("a"))
    results = [Result.of(source, {"file_name": "a", "faces": []}), Result.of(source, None)]
    path = tmp_path / "records.jsonl"
    for result in results:
        journal = Journal(path)
        journal.append(result)
        journal.close()
    whole = path.read_bytes()
    first = whole.index(b"\n") + 1
    for length in range(len(whole) + 1):
        path.write_bytes(whole[:length])
        Journal(path).close()
        number = (length >= first) + (length == len(whole))
        assert [(x.record, x.problem) for _, x in read_journal(path)] == [
            (x.record, x.problem) for x in results[:number]
        ]


def test_a_damaged_state_is_named(detect, stop_after, tmp_path):
    folder = save_images(tmp_path / "in", 2)
    stop_after(1)
    with pytest.raises(StoppedError):
        detect(folder)
    records = tmp_path / "out" / FOLDER / "records-0000.jsonl"
    records.write_text("{}\n" + records.read_text())
    status, messages = detect(folder)
    assert status == 2
    assert f"{records}, line 1" in messages
    assert "--restart" in messages
    assert detect(folder, "--restart")[0] == 0


def test_two_runs_at_once_are_refused(tmp_path):
    first, second = RunFolder(tmp_path), RunFolder(tmp_path)
    first.open({"a": 1})
    with pytest.raises(OutputInUseError, match=str(tmp_path)):
        second.open({"a": 1})
    first.close()
    second.open({"a": 1})
    second.close()


def test_a_worker_whose_results_are_not_there_is_named(tmp_path):
    folder = RunFolder(tmp_path)
    folder.open({})
    folder.journal().close()
    folder.check_workers(1)
    with pytest.raises(OSError, match="worker 1"):
        folder.check_workers(2)
    folder.close()


def test_a_full_disk_stops_the_run_and_keeps_what_is_done(detect, monkeypatch, tmp_path):
    folder = save_images(tmp_path / "in")
    done = []
    write_all = processing.InputProcessor.__call__

    def full_after_two(self, source):
        if len(done) == 2:
            raise processing.OutputFolderError("Nothing more can be written: no space left")
        done.append(source)
        return write_all(self, source)

    monkeypatch.setattr(processing.InputProcessor, "__call__", full_after_two)
    status, messages = detect(folder)
    assert status == 1
    assert "no space left" in messages
    assert "what is done is kept: the same command goes on" in messages
    monkeypatch.undo()
    status, messages = detect(folder)
    assert status == 0, messages
    assert "2 of 5 inputs are done already" in messages


def test_a_journal_that_cannot_be_written_has_no_half_line(tmp_path):
    """A file size limit in place of a full disk: the write fails in the middle of a line."""
    code = """
import resource, sys
from pathlib import Path
from srn_d2.cli.journal import Journal, Result, read_journal
path = Path(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
journal = Journal(path)
number = 0
try:
    while True:
        journal.append(Result("a", "a", "a", (0, 0), {"faces": []}))
        number += 1
except OSError as error:
    print(error.errno, number)
journal.close()
"""
    path = tmp_path / "records.jsonl"
    done = subprocess.run(
        [sys.executable, "-c", code, path], capture_output=True, text=True, check=True
    )
    number_of_error, number = map(int, done.stdout.split())
    assert number_of_error == errno.EFBIG
    assert number > 1
    assert len(list(read_journal(path))) == number
    assert path.read_bytes().endswith(b"\n")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere: run as another user")
def test_a_folder_that_is_not_writable(detect, tmp_path):
    (tmp_path / "out").mkdir(mode=0o500)
    status, messages = detect(save_images(tmp_path / "in", 1))
    assert status == 2
    assert "choose another --output" in messages


def test_parquet_is_readable_while_the_run_goes_on(detect, stop_after, monkeypatch, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    from srn_d2.cli import parquet_output

    monkeypatch.setattr(parquet_output, "ROWS_PER_PART", 2)
    folder = save_images(tmp_path / "in")
    path = tmp_path / "out" / "faces.parquet"
    seen = []
    write_part = parquet_output.ParquetWriter._write_part

    def write_and_read(self):
        write_part(self)
        seen.append(parquet.read_table(path).num_rows)

    monkeypatch.setattr(parquet_output.ParquetWriter, "_write_part", write_and_read)
    stop_after(5)  # all, but not the end
    save_image(folder / "9.png")
    with pytest.raises(StoppedError):
        detect(folder, "--format", "parquet,jsonl")
    assert seen == [2, 4, 5]
    (folder / "broken.png").write_text("no picture")
    assert detect(folder, "--format", "parquet,jsonl")[0] == 1
    rows = parquet.read_table(path).to_pylist()
    lines = (tmp_path / "out" / "faces.jsonl").read_text().splitlines()
    records = {record["file_name"]: record for record in map(json.loads, lines)}
    assert len(rows) == len(records) == 7
    for row in rows:
        record = records[row["file_name"]]
        assert row["error"] == record.get("error")
        assert (row["height"], row["width"]) == (record.get("height"), record.get("width"))
        assert [
            pytest.approx([face[name] for name in ("x1", "y1", "x2", "y2")])
            for face in row["faces"]
        ] == [face["bbox"] for face in record.get("faces", ())]


def test_files_of_older_runs_give_way(tmp_path):
    """As several workers write them, at the end, or a run that goes on."""
    source = Source(Path("/a.png"), Path("a.png"), Path("a"))
    for score in (0.9, 0.2, 0.2):
        face = {"bbox": [1.0, 2.0, 3.0, 5.0], "score": score}
        with record_writers(["wider"], tmp_path) as [writer]:
            writer.start([Result.of(source, {"file_name": "a", "faces": [face]})])
        assert (tmp_path / "wider" / "a.txt").read_text().split()[-1] == str(score)


def test_an_input_that_changes_while_it_is_read_is_done_again(detect, monkeypatch, tmp_path):
    folder = save_images(tmp_path / "in", 2)
    (folder / "bad.png").touch()  # whose failure keeps the state of the run
    process_picture = input_processing.process_picture

    def process_and_change(detector, source, *arguments):
        result = process_picture(detector, source, *arguments)
        if source.path.name == "0.png":
            save_image(source.path, seed=7)
        return result

    monkeypatch.setattr(input_processing, "process_picture", process_and_change)
    assert detect(folder)[0] == 1
    monkeypatch.undo()
    assert "1 of 3 inputs are done already" in detect(folder)[1]


def test_the_last_result_counts(tmp_path):
    """Of several results of an input, in the files of several workers, the last by its time."""
    save_image(tmp_path / "in" / "a.png")
    [source] = find_sources([str(tmp_path / "in")], tmp_path / "out")
    for rank, (time, problem) in enumerate([(3.0, None), (1.0, None), (2.0, "full disk")]):
        folder = RunFolder(tmp_path / "out", rank)
        folder.open({})
        journal = folder.journal()
        record = {"file_name": "a", "faces": [rank]}
        result = Result.of(source, record, problem)
        journal.append(Result(**{**vars(result), "time": time}))
        journal.close()
        folder.close()
    assert folder.done([source]) == {0}
    assert [result.record["faces"] for result in folder.results([source])] == [[0]]


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        ({"settings": {"--size": 128}}, "--size: 128 by the first worker, 96 here"),
        ({"sources": []}, "input files: 0"),
    ],
)
def test_workers_with_other_options_or_inputs_are_refused(
    monkeypatch, tmp_path, caplog, change, difference
):
    """This worker's job against that of a first one."""
    source = Source(tmp_path / "a.png", Path("a.png"), Path("a"))
    job = processing.Job(None, [source], tmp_path, ["json"], {"--size": 96})
    first = dataclasses.replace(job, **change)
    gathered = []

    def all_gather(value):
        gathered.append(value)
        return gathered

    monkeypatch.setattr(worker_group, "all_gather", all_gather)
    assert processing._difference_from_first(first) is None
    assert difference in processing._difference_from_first(job)
    gathered.clear()
    assert processing._difference_from_first(job) is None
    assert processing._difference_from_first(job) is None


def test_the_loss_of_a_worker_has_a_plain_message(monkeypatch):
    def closed(value):
        raise RuntimeError("Connection closed by peer\nmore")

    monkeypatch.setattr(worker_group, "_comm", lambda: SimpleNamespace(all_gather=closed))
    with pytest.raises(worker_group.WorkerLostError, match="Another worker has ended"):
        worker_group.all_gather(1)
