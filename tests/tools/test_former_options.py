"""Former names of the tools' options: they work for one release and are not in --help."""

import pytest

CONFIG = ["--config-file", "c.yaml"]


@pytest.mark.parametrize(
    ("tool", "former", "present"),
    [
        ("benchmark", ["inference", "--limit", "3"], ["inference", "--num-images", "3"]),
        ("benchmark", ["training", "--batch=3"], ["training", "--batch-size", "3"]),
        ("benchmark", ["growth", "--size", "8", "9"], ["growth", "--image-size", "8", "9"]),
        ("benchmark", ["loader", "--dataset"], ["loader", "--use-dataset"]),
        ("benchmark", ["loader", "--opts", "SEED", "3"], ["loader", "SEED", "3"]),
        ("compare_detectors", ["--rounds", "2"], ["--repeats", "2"]),
        ("count_anchors", ["--num", "3"], ["--num-images", "3"]),
        ("count_anchors", ["--opts", "SEED", "3"], ["SEED", "3"]),
        ("model_card", ["run", "--into", "a.md"], ["run", "--output", "a.md"]),
        ("overfit", ["--target", "50"], ["--min-ap50", "50"]),
        ("package_weights", ["a.pth", "--name", "tiny"], ["a.pth", "--model", "tiny"]),
        (
            "package_weights",
            ["a.pth", "b.pth", "--model", "tiny", "--opts", "SEED", "3"],
            ["a.pth", "b.pth", "--model", "tiny", "SEED", "3"],
        ),
        ("visualize_data", ["--num=3"], ["--num-images=3"]),
        ("visualize_data", ["--anchors", "--opts", "SEED", "3"], ["--anchors", "SEED", "3"]),
    ],
)
def test_former_and_present_names_mean_the_same(load_tool, capsys, tool, former, present):
    module = load_tool(tool)
    config = [] if tool in ("compare_detectors", "model_card") else CONFIG
    first = former[:1] if tool == "benchmark" else []  # the subcommand
    parsed = [
        module.parse_args([*first, *config, *options[len(first) :]])
        for options in (former, present)
    ]
    assert parsed[0] == parsed[1]
    [name] = [option.partition("=")[0] for option in former if option not in present][:1]
    assert (f"note: {name} is now" in capsys.readouterr().err) == (name != "--opts")
    with pytest.raises(SystemExit):
        module.parse_args([*first, "--help"])
    assert f"{name} " not in capsys.readouterr().out
