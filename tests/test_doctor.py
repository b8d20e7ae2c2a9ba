"""The doctor: each check alone, and the whole report from installations that lack something."""

import hashlib
import json
import os
import subprocess
import sys

import pytest

from srn_d2 import bfloat16, doctor
from srn_d2.doctor import Finding


def run_doctor(repo_root, *flags, **environment):
    """Run the doctor in a process of its own."""
    return subprocess.run(
        [sys.executable, *flags, "-m", "srn_d2.doctor"],
        cwd=repo_root,
        env=os.environ | environment,
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("version", [(3, 11, 0), (3, 13, 2), (4, 0, 0)])
def test_a_new_python_is_accepted(version):
    assert not doctor.check_python(version).is_needed


@pytest.mark.parametrize("version", [(3, 10, 13), (2, 7, 18)])
def test_an_old_python_is_needed_to_change(version):
    finding = doctor.check_python(version)
    assert finding.is_needed
    assert ".".join(map(str, version)) in finding.value
    assert "PYTHON=" in finding.remedy


def test_an_absent_and_a_broken_package_are_told_apart(tmp_path, monkeypatch):
    (tmp_path / "broken_package.py").write_text("raise RuntimeError('no operator\\n  nms')")
    (tmp_path / "needs_absent.py").write_text("import absent_package")
    (tmp_path / "working_package.py").write_text("__version__ = '1.2'")
    monkeypatch.syspath_prepend(tmp_path)
    absent = doctor.check_import("absent_package", "pictures")
    broken = doctor.check_import("broken_package", "pictures")
    incomplete = doctor.check_import("needs_absent", "pictures")
    assert absent.is_needed
    assert "not installed (needed for pictures)" in absent.value
    assert broken.is_needed
    assert broken.value == "broken: RuntimeError: no operator nms"
    assert incomplete.is_needed
    assert "absent_package" in incomplete.value
    assert broken.remedy == incomplete.remedy != absent.remedy
    assert doctor.check_import("working_package", "") == Finding("working_package", "1.2")


def test_requirements_are_checked_by_name_and_version():
    fine = doctor.check_requirements(["numpy>=1.0", "pytest", 'absent-package; extra == "eval"'])
    assert not fine.is_needed
    assert "all 2 installed" in fine.value
    wrong = doctor.check_requirements(["numpy<1.0", "absent-package>=3", "pytest"])
    assert wrong.is_needed
    assert "absent-package is not installed" in wrong.value
    assert "wanted numpy<1.0" in wrong.value
    assert "pytest" not in wrong.value


def test_each_extra_is_checked():
    requirements = ["numpy", 'pytest; extra == "a"', 'ruff>=99; extra == "b"']
    requirements += [
        "absent-package; extra == 'b'",
        'pytest>=1; python_version > "3" and extra == "b"',
    ]
    complete, incomplete = doctor.check_extras(requirements)
    assert complete == Finding("extra a", "installed: pytest")
    assert incomplete.name == "extra b"
    assert "absent-package is not installed" in incomplete.value
    assert "wanted ruff>=99" in incomplete.value
    assert "pytest" not in incomplete.value
    assert "'.[b]'" in incomplete.remedy
    assert not incomplete.is_needed


def test_an_extra_is_checked_with_the_extras_that_it_names():
    requirements = ['absent-package; extra == "a"', 'pytest; extra == "b"']
    requirements += ['srn_d2[a,b]; extra == "all"', 'ruff; extra == "all"']
    *_, combined = doctor.check_extras(requirements)
    assert combined.name == "extra all"
    assert combined.value == "absent-package is not installed"


def test_remedies_of_an_installed_wheel_need_no_clone(monkeypatch):
    monkeypatch.setattr(doctor, "IS_CLONE", False)
    [finding] = doctor.check_extras(['absent-package>=2; extra == "a"', 'pytest; extra == "a"'])
    assert finding.remedy == "python -m pip install 'absent-package>=2'"
    assert "PYTHON=" not in doctor.check_python((3, 10)).remedy


def test_a_package_that_is_not_installed_itself_is_reported():
    assert doctor.check_requirements(None).is_needed


@pytest.mark.parametrize(
    ("cpuinfo", "unit", "choice"),
    [
        ("flags\t\t: fpu avx512_bf16 sse\n", "AVX512_BF16", "bfloat16, since"),
        ("flags\t\t: fpu avx2\n", "emulated", "float32, since"),
        (None, "cannot be told", "float32, since"),
    ],
)
def test_precision_on_the_cpu_is_told(monkeypatch, cpuinfo, unit, choice):
    for module in (doctor, bfloat16):
        monkeypatch.setattr(module, "read_cpuinfo", lambda: cpuinfo)
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    values = {finding.name: finding.value for finding in doctor.check_cpu()}
    assert unit in values["bfloat16 on the CPU"]
    assert values["SOLVER.CPU_BFLOAT16 auto"].startswith(choice)


def test_a_data_set_is_counted_without_its_other_files(tmp_path):
    for name in ("0--Parade/a.jpg", "0--Parade/b.PNG", "1--Ball/c.jpeg", "1--Ball/notes.txt"):
        path = tmp_path / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    images = str(tmp_path / "images")
    assert doctor.check_dataset("mine", images, None).value.startswith("3 images")
    lost = doctor.check_dataset("mine", images, str(tmp_path / "lost.txt"))
    assert "lost.txt" in lost.value
    assert lost.remedy
    assert not lost.is_needed


def test_an_absent_data_set_names_its_folder_unless_it_draws_itself(tmp_path):
    folder = str(tmp_path / "absent")
    absent = doctor.check_dataset("widerface_val", folder, None)
    assert folder in absent.value
    assert "DETECTRON2_DATASETS" in absent.remedy
    assert not absent.is_needed
    assert not doctor.check_dataset("toyface_val", folder, None).remedy


@pytest.fixture
def shipped_model(tmp_path):
    """A folder with the three files of a model, as far as the doctor looks at them."""
    index = {"file": "tiny.pth", "sha256": hashlib.sha256(b"weights").hexdigest()}
    index |= {"config": "tiny.yaml", "source": {"iteration": 999}}
    (tmp_path / "tiny.json").write_text(json.dumps(index))
    (tmp_path / "tiny.pth").write_bytes(b"weights")
    (tmp_path / "tiny.yaml").write_text("SOLVER: {MAX_ITER: 20000}")
    return tmp_path


def test_shipped_models_are_listed(shipped_model):
    [model] = doctor.check_shipped_models(shipped_model)
    assert model.name == "model tiny"
    assert model.value == "iteration 1,000 of 20,000, 0.0 MB, SHA-256 as in tiny.json"
    assert not model.remedy


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("tiny.pth", b"weight5", "damaged"),
        ("tiny.pth", None, "missing"),
        ("tiny.json", b"{", "JSON"),
        ("tiny.json", b"{}", "file"),
        ("tiny.yaml", None, "missing"),
        ("tiny.yaml", b"SOLVER: {}", "MAX_ITER"),
    ],
)
def test_damaged_models_are_named(shipped_model, file, content, message):
    if content is None:
        (shipped_model / file).unlink()
    else:
        (shipped_model / file).write_bytes(content)
    [model] = doctor.check_shipped_models(shipped_model)
    assert model.name == "model tiny"
    assert message in model.value
    assert "srn_d2/weights" in model.remedy
    assert not model.is_needed


def test_a_package_without_models_is_reported(tmp_path):
    [finding] = doctor.check_shipped_models(tmp_path)
    assert str(tmp_path) in finding.value
    assert finding.remedy


def test_pretrained_weights_are_looked_for_where_detectron2_puts_them(tmp_path, monkeypatch):
    from srn_d2.checkpoint import pretrained_cache_path

    monkeypatch.setenv("FVCORE_CACHE", str(tmp_path))
    path = pretrained_cache_path(doctor.R50_URI)
    absent = doctor.check_pretrained_weights()
    assert str(path) in absent.value
    assert doctor.R50_URI in absent.remedy
    path.parent.mkdir(parents=True)
    path.write_bytes(b"weights")
    assert not doctor.check_pretrained_weights().remedy


def test_the_report_marks_problems_and_says_a_shared_remedy_once():
    findings = [
        Finding("a", "fine"),
        Finding("b", "gone", "mend it", is_needed=True),
        Finding("c", "gone", "mend it", is_needed=True),
        Finding("d", "old", "renew it"),
    ]
    report = doctor.format_report(findings)
    assert report.count("mend it") == 1
    assert report.index("!! c") < report.index("mend it") < report.index("-  d")
    assert report.splitlines()[-1].startswith("2 to mend")
    assert doctor.format_report(findings[:1]).splitlines()[-1] == "Ready."


def test_a_complete_installation_is_ready(repo_root, tmp_path):
    import detectron2
    import torch

    done = run_doctor(repo_root, DETECTRON2_DATASETS=str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    assert torch.__version__ in done.stdout
    assert detectron2.__version__ in done.stdout
    assert str(tmp_path / "widerface" / "WIDER_val" / "images") in done.stdout
    assert "toyface_train" in done.stdout
    assert "model lite" in done.stdout
    assert "extra test" in done.stdout
    assert not list(tmp_path.iterdir()), "the doctor only looks"


def test_it_runs_without_any_package(repo_root):
    done = run_doctor(repo_root, "-S", PYTHONPATH="")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "!! torch" in done.stdout
    assert "!! detectron2" in done.stdout
    assert "make --always-make install" in done.stdout


def test_it_runs_where_torchvision_does_not_fit_torch(repo_root, tmp_path):
    package = tmp_path / "torchvision"
    package.mkdir()
    message = "operator torchvision::nms does not exist"
    (package / "__init__.py").write_text(f"raise RuntimeError({message!r})")
    done = run_doctor(repo_root, PYTHONPATH=str(tmp_path))
    assert done.returncode == 1, done.stdout + done.stderr
    assert message in done.stdout
    assert "1 to mend" in done.stdout
