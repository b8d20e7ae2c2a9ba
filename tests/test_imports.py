"""Imports between packages go downwards only, and finding faces loads nothing of training."""

import ast
import subprocess
import sys

import pytest

BASE = {"atomic_file", "bfloat16", "cores", "config_files", "error_messages"}
BASE |= {"detection_settings", "heavy_imports", "model_files", "renamed_configs", "run_settings"}
# Package or module of srn_d2 -> what of srn_d2 it may import, inside functions too.
ALLOWED = {
    "atomic_file": set(),
    "bfloat16": set(),
    "config_files": {"renamed_configs"},
    "cores": set(),
    "detection_settings": {"bfloat16"},
    "error_messages": set(),
    "heavy_imports": set(),
    "model_files": set(),
    "renamed_configs": set(),
    "requirements": set(),
    "run_settings": {"atomic_file"},
    "data": BASE,
    "checkpoint": BASE,
    "modeling": BASE,
    # Importing the keys registers the components and data sets that they name.
    "config": {*BASE, "checkpoint", "data", "modeling"},
    "model_zoo": {*BASE, "checkpoint", "config"},
    "evaluation": {*BASE, "data", "modeling"},
    "doctor": {*BASE, "data", "checkpoint", "requirements"},
    "engine": {*BASE, "checkpoint", "config", "data", "evaluation"},
    "inference": {*BASE, "checkpoint", "config", "data", "modeling"},
    "train": {*BASE, "checkpoint", "engine", "inference"},
    "export": {*BASE, "data", "inference", "modeling"},
    "server": {*BASE, "data", "inference"},
    "cli": {*BASE, "config", "data", "doctor", "evaluation", "export", "inference", "server"},
}


def package_of(module):
    """The part of srn_d2 that a module belongs to; "" for srn_d2 itself and for other packages."""
    parts = module.split(".")
    return parts[1] if parts[0] == "srn_d2" and len(parts) > 1 else ""


def imported_modules(path, module):
    """Absolute names of what a file imports anywhere; ``from a import b`` counts as a.b."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: package.count(".") + 2 - node.level] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield from (f"{base}.{alias.name}" for alias in node.names)


@pytest.fixture(scope="module")
def imports(repo_root):
    """(package, what of srn_d2 it imports, file) of all files of srn_d2."""
    found = []
    for path in sorted((repo_root / "srn_d2").rglob("*.py")):
        parts = path.relative_to(repo_root).with_suffix("").parts
        module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        for name in imported_modules(path, module):
            found.append((package_of(module), package_of(name), str(path.relative_to(repo_root))))
    return [(ours, theirs, file) for ours, theirs, file in found if ours and theirs]


def test_imports_go_downwards(imports):
    assert {ours for ours, _, _ in imports} <= ALLOWED.keys()
    pairs = {(ours, theirs) for ours, theirs, _ in imports}
    assert {("inference", "modeling"), ("cli", "inference"), ("engine", "evaluation")} <= pairs
    # Attributes of srn_d2 itself, such as __version__, are no packages.
    wrong = [
        f"{file}: {theirs}"
        for ours, theirs, file in imports
        if theirs != ours and theirs in ALLOWED and theirs not in ALLOWED[ours]
    ]
    assert wrong == []


# In this order, each loads what the next one may have: one process tells of all.
NOT_NEEDED = [
    ("import srn_d2.cli", ("torch", "detectron2", "cv2")),
    (
        "from srn_d2 import model_zoo; model_zoo.get_config_file('srn_R50.yaml')",
        ("torch", "detectron2", "srn_d2.modeling"),
    ),
    ("import srn_d2.export.onnx_predictor", ("torch", "detectron2", "srn_d2.modeling")),
    (
        "from srn_d2 import FaceDetector; FaceDetector(device='cpu')",
        ("torch", "torchvision", "detectron2", "fvcore", "timm", "srn_d2.modeling"),
    ),
    (
        "FaceDetector(runtime='torch')",
        ("srn_d2.engine", "srn_d2.evaluation", "detectron2.engine", "detectron2.evaluation"),
    ),
]


def test_what_is_not_needed_is_not_loaded():
    code = "import sys\n" + "".join(
        f"{statement}\nprint([x for x in {absent!r} if x in sys.modules])\n"
        for statement, absent in NOT_NEEDED
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = dict(zip((x for x, _ in NOT_NEEDED), done.stdout.splitlines(), strict=True))
    assert loaded == {statement: "[]" for statement, _ in NOT_NEEDED}


def test_scripts_import_srn_d2_before_what_warns(repo_root):
    """srn_d2 hides the deprecation warnings that importing detectron2 gives."""
    paths = [repo_root / "train_net.py", *(repo_root / "tools").glob("*.py")]
    assert len(paths) > 10
    for path in paths:
        packages = [name.split(".")[0] for name in imported_modules(path, path.stem)]
        if {"detectron2", "fvcore"} & set(packages):
            first = min(packages.index(x) for x in ("detectron2", "fvcore") if x in packages)
            assert "srn_d2" in packages[:first], path.name
