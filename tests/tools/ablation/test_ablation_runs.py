"""Steps, settings and progress of a run, from the files in its folder."""

import json

import pytest
import torch

from ablation.progress import Progress
from ablation.settings import hash_weights, prepare

IMAGE_IDS = ["event/1", "event/2"]


def write(path, text=""):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def steps(run):
    return [step.name for step in run.pending_steps(IMAGE_IDS)]


def test_steps_are_pending_until_their_files_are_there(make_run):
    run = make_run(num_anchor_images=4)
    assert steps(run) == ["training", "evaluation", "anchors"]
    write(run.weights)
    write(run.predictions / "event" / "1.txt")
    assert steps(run) == ["evaluation", "anchors"]
    write(run.predictions / "event" / "2.txt")
    write(run.anchors, '{"num_images": 3}')  # of another --anchor-images
    assert steps(run) == ["anchors"]
    write(run.anchors, '{"num_images": 4}')
    assert steps(run) == []


def test_another_evaluation_has_its_own_predictions(make_run):
    other = make_run(eval_opts=("INPUT.MIN_SIZE_TEST", "640"))
    assert other.weights == make_run().weights
    assert other.predictions != make_run().predictions


def test_runs_of_a_seed_differ_in_the_keys_of_their_rows_only(make_run):
    def flat(run):
        return {tuple(path): value for path, value in leaves(run.cfg)}

    def leaves(node, path=()):
        for name, value in node.items():
            if isinstance(value, dict):
                yield from leaves(value, (*path, name))
            else:
                yield (*path, name), value

    first, second = flat(make_run("retinanet", 3)), flat(make_run("srn", 3))
    assert {path[-1] for path in first if first[path] != second[path]} == {
        "STC_LEVELS",
        "STR_LEVELS",
        "RFE",
    }
    assert first["SEED",] == 3


def test_steps_of_the_learning_rate_follow_the_iterations(make_run):
    solver = make_run(config_file="srn_R50.yaml", iterations=5000).cfg.SOLVER
    assert solver.MAX_ITER == 5000
    assert (round(40250 * 5000 / 52325), round(48300 * 5000 / 52325)) == solver.STEPS


def test_several_workers_choose_a_free_port(make_run):
    command = make_run(num_gpus=2).pending_steps(IMAGE_IDS)[0].command
    assert command[command.index("--dist-url") + 1] == "auto"
    assert "--resume" in command


def test_a_run_is_resumed_with_its_own_settings_only(make_run, tmp_path):
    start = write(tmp_path / "start.pth", "weights")
    digests = hash_weights([str(start)])
    weights = {"": str(start)}
    prepare(make_run("stc", start_weights=weights), digests)
    prepare(make_run("stc", start_weights=weights, opts=("MODEL.DEVICE", "cuda")), digests)
    with pytest.raises(ValueError, match=r"SOLVER.MAX_ITER: 3000 there, 20 now") as error:
        prepare(make_run("stc", start_weights=weights, iterations=20), digests)
    assert "stc-seed0 was begun with other settings" in str(error.value)
    write(start, "other weights")
    with pytest.raises(ValueError, match="start_weights: "):
        prepare(make_run("stc", start_weights=weights), hash_weights([str(start)]))


def test_a_key_that_was_added_since_has_its_default(make_run):
    prepare(make_run(), {})
    path = make_run().folder / "settings.json"
    settings = json.loads(path.read_text())
    del settings["MODEL.SRN.BBOX_REG_LOSS_WEIGHT"]
    path.write_text(json.dumps(settings))
    prepare(make_run(), {})
    with pytest.raises(ValueError, match=r"MODEL.SRN.BBOX_REG_LOSS_WEIGHT: not set there, 2.0 now"):
        prepare(make_run(opts=("MODEL.SRN.BBOX_REG_LOSS_WEIGHT", "2.0")), {})


def test_settings_that_are_no_json_are_named(make_run):
    write(make_run().folder / "settings.json", "{")
    with pytest.raises(ValueError, match=r"settings.json is no settings file"):
        prepare(make_run(), {})


def test_a_missing_start_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere.pth is no file"):
        hash_weights([str(tmp_path / "nowhere.pth")])


def test_iterations_are_those_of_the_last_whole_line(make_run):
    run = make_run(iterations=100)
    assert run.last_metrics() == (0, None)
    lines = ['{"iteration": 19, "time": 0.5}', '{"iteration": 39, "time": 0.25}', '{"iterat']
    write(run.weights.parent / "metrics.json", "\n".join(lines))
    assert run.last_metrics() == (40, 0.25)
    write(run.weights)
    assert run.last_metrics() == (100, 0.25)


def test_checkpoints_before_the_last_go_once_it_is_there(make_run):
    run = make_run()
    old = write(run.weights.parent / "model_0000009.pth")
    kept = write(run.weights.parent / "model_best.pth")
    write(run.weights)
    run.remove_checkpoints()
    assert not old.exists()
    assert kept.exists()
    assert run.weights.exists()


def test_progress_and_time_left(make_run):
    runs = [make_run("retinanet", iterations=100), make_run("stc", iterations=100)]
    write(runs[0].weights)
    for image_id in IMAGE_IDS:
        write(runs[0].predictions / f"{image_id}.txt")
    write(runs[1].weights.parent / "metrics.json", '{"iteration": 39, "time": 3}\n')
    text = Progress(runs, IMAGE_IDS, num_jobs=1).text({"stc-seed0": "training"})
    assert text == (
        "1 of 2 runs done; stc-seed0 training 40 of 100; about 3 min left without the evaluations"
    )


def test_share_of_weights_that_the_start_lacks(make_run):
    from ablation.conditions import conditions, untrained_share
    from srn_d2.engine import SRNTrainer

    small = ("MODEL.DEVICE", "cpu", "MODEL.FPN.OUT_CHANNELS", "16")
    baseline = make_run(opts=small)
    path = baseline.folder.parent / "start.pth"
    path.parent.mkdir(parents=True)
    model = SRNTrainer.build_model(baseline.cfg)
    torch.save({"model": model.state_dict(), "iteration": 99}, path)
    runs = [
        make_run(name, opts=small, start_weights={"": str(path)}) for name in ("retinanet", "stc")
    ]
    content = torch.load(path, weights_only=True)
    shares = [untrained_share(run, content) for run in runs]
    assert shares[0] == 0
    new = sum(x.numel() for x in SRNTrainer.build_model(runs[1].cfg).parameters())
    old = sum(x.numel() for x in model.parameters())
    assert shares[1] == pytest.approx((new - old) / new)
    text = conditions(runs, [run.row for run in runs])["start"]
    assert text.startswith("start.pth (all rows, trained 100 iterations); weights that it lacks")
    assert f"stc {100 * shares[1]:.1f} %" in text
