"""Check the installation on this machine, and report remedies.

``python -m srn_d2.doctor`` exits with 1 if a required component is missing. It runs without torch
and detectron2: packages to check are imported inside functions.
"""

import contextlib
import importlib
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from srn_d2.bfloat16 import cpu_units, explain_auto, read_cpuinfo
from srn_d2.cores import usable_cores
from srn_d2.requirements import (
    installed_requirements,
    requirement_problem,
    requirements_by_extra,
)

MIN_PYTHON = (3, 11)
# Import name -> why it is needed, for the packages whose import shows whether they work.
CORE_PACKAGES = {
    "torch": "the network",
    "torchvision": "NMS",
    "cv2": "resizing, cameras",
    "detectron2": "nearly everything",
}
# Backbone weights of configs/srn_R50.yaml, and where iopath's cache keeps them.
R50_URI = "detectron2://ImageNetPretrained/torchvision/R-50.pkl"
R50_IN_CACHE = "detectron2/ImageNetPretrained/torchvision/R-50.pkl"

IS_CLONE = (Path(__file__).parents[1] / "Makefile").is_file()
if IS_CLONE:
    # make leaves an environment alone that it once finished, unless told to.
    INSTALL = "make --always-make install"
    REINSTALL = "make distclean install"
    RESTORE_WEIGHTS = "git checkout -- srn_d2/weights   (or install srn_d2 again)"
else:
    INSTALL = REINSTALL = "install srn_d2 and detectron2 again, as README.md says"
    RESTORE_WEIGHTS = "python -m pip install --force-reinstall --no-deps the wheel of srn_d2"


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Attributes:
        name: subject of the check.
        value: result of the check.
        remedy: remedy; "" if nothing is wrong.
        is_needed: whether the project does not work without it.
    """

    name: str
    value: str
    remedy: str = ""
    is_needed: bool = False


def check_python(version: Sequence[int] = sys.version_info) -> Finding:
    """Check the interpreter against the minimum version of the pinned packages."""
    text = ".".join(map(str, version[:3]))
    if tuple(version[:2]) >= MIN_PYTHON:
        return Finding("Python", f"{text} ({sys.executable})")
    oldest = ".".join(map(str, MIN_PYTHON))
    remedy = f"{INSTALL} PYTHON=/path/to/python{oldest}   (or any later one)"
    if not IS_CLONE:
        remedy = f"{INSTALL}, with Python {oldest} or any later one"
    return Finding("Python", f"{text}, older than {oldest}", remedy, is_needed=True)


def check_import(name: str, purpose: str) -> Finding:
    """Import a package; report its version or the error."""
    try:
        # detectron2 and its dependencies print warnings on import.
        with open(os.devnull, "w") as null, contextlib.redirect_stderr(null):
            module = importlib.import_module(name)
    except Exception as error:  # a broken build may raise anything
        if isinstance(error, ModuleNotFoundError) and error.name == name:
            return Finding(name, f"not installed (needed for {purpose})", INSTALL, is_needed=True)
        return Finding(name, f"broken: {_one_line(error)}", REINSTALL, is_needed=True)
    return Finding(name, getattr(module, "__version__", "installed"))


def check_requirements(requirements: Iterable[str] | None) -> Finding:
    """Check that each requirement without an extra is installed in an accepted version.

    Args:
        requirements: such as "omegaconf<2.4", None if srn_d2 itself is not installed.
    """
    name = "requirements of srn_d2"
    if requirements is None:
        return Finding(name, "srn_d2 is not installed here", INSTALL, is_needed=True)
    requirements = [text for text in requirements if "extra ==" not in text]
    problems = [problem for text in requirements if (problem := requirement_problem(text))]
    if problems:
        return Finding(name, "; ".join(problems), INSTALL, is_needed=True)
    return Finding(name, f"all {len(requirements)} installed")


def check_extras(requirements: Iterable[str]) -> Iterator[Finding]:
    """Check the requirements of each extra, such as ``h5py; extra == "eval"``.

    Requirements of an extra that it names, such as ``srn_d2[eval]``, are included.
    """
    for extra, required in requirements_by_extra(requirements).items():
        problems = {text: problem for text in required if (problem := requirement_problem(text))}
        remedy = f"python -m pip install --constraint constraints.txt --editable '.[{extra}]'"
        if not IS_CLONE:
            remedy = "python -m pip install " + " ".join(f"'{text}'" for text in problems)
        yield Finding(
            f"extra {extra}",
            "; ".join(problems.values()) or f"installed: {', '.join(required)}",
            remedy if problems else "",
        )


def check_detectron2_operators() -> Finding:
    """Check whether detectron2's compiled operators load. Nothing here needs them."""
    try:
        importlib.import_module("detectron2._C")
    except ImportError:
        return Finding("detectron2 operators", "not compiled (not needed)")
    return Finding("detectron2 operators", "compiled")


def check_cuda() -> Iterator[Finding]:
    """The GPUs that torch sees, and whether they compute in bfloat16."""
    import torch

    if not torch.cuda.is_available():
        built_for = f"torch is built for CUDA {torch.version.cuda}" if torch.version.cuda else ""
        yield Finding("CUDA", f"no GPU{', ' + built_for if built_for else ''}: runs on the CPU")
        return
    for index in range(torch.cuda.device_count()):
        device = torch.cuda.get_device_properties(index)
        text = f"{device.name}, {device.total_memory / 2**30:.0f} GiB"
        yield Finding(f"CUDA device {index}", text)
    supported = torch.cuda.is_bf16_supported(including_emulation=False)
    yield Finding("bfloat16 on CUDA", "yes" if supported else "emulated, slow")


def check_cpu() -> Iterator[Finding]:
    """Cores that this process may use, and the CPU's bfloat16 units."""
    yield Finding("CPU cores", f"{usable_cores()} usable of {os.cpu_count()}")
    cpuinfo = read_cpuinfo()
    if cpuinfo is None:
        text = "cannot be told"
    else:
        text = ", ".join(cpu_units(cpuinfo)) or "emulated, some ten times slower than float32"
    yield Finding("bfloat16 on the CPU", text)
    yield Finding("SOLVER.CPU_BFLOAT16 auto", explain_auto())


def check_datasets() -> Iterator[Finding]:
    """The registered data sets of faces; nothing is drawn, parsed or decoded."""
    from detectron2.data import DatasetCatalog, MetadataCatalog

    import srn_d2.data.datasets  # noqa: F401 -- registers them

    for name in DatasetCatalog.list():
        metadata = MetadataCatalog.get(name)
        if metadata.get("thing_classes") == ["face"] and metadata.get("image_root"):
            yield check_dataset(name, metadata.image_root, metadata.get("annotation_file"))


def check_dataset(name: str, image_root: str, annotation_file: str | None) -> Finding:
    """Count the images of a data set.

    Args:
        name: as it is registered.
        image_root: the folder of its images.
        annotation_file: None if it has none of its own.
    """
    from srn_d2.data.datasets.common import has_image_suffix

    if not os.path.isdir(image_root):
        if name.startswith("toyface_"):
            return Finding(name, "is drawn when it is first used")
        remedy = (
            "export DETECTRON2_DATASETS=/folder/of/data/sets   (datasets/README.md: its layout)"
        )
        return Finding(name, f"no folder {image_root}", remedy)
    count = sum(has_image_suffix(file) for _, _, files in os.walk(image_root) for file in files)
    text = f"{count} images in {image_root}"
    if annotation_file and not os.path.isfile(annotation_file):
        return Finding(name, f"{text}, but no {annotation_file}", "see datasets/README.md")
    return Finding(name, text)


def check_shipped_models(folder: Path | None = None) -> Iterator[Finding]:
    """The trained models that come with the package: training progress and SHA-256 of each.

    Args:
        folder: folder of the models; by default srn_d2/weights.
    """
    from srn_d2.checkpoint import shipped_models

    folder = folder or shipped_models.WEIGHTS_FOLDER
    names = shipped_models.shipped_model_names(folder)
    if not names:
        yield Finding("trained models", f"none in {folder}", RESTORE_WEIGHTS)
    for name in names:
        try:
            model = shipped_models.find_shipped_model(name, folder)
            training = model.describe_training()
        except (OSError, ValueError, KeyError) as error:  # json's and the hash's are ValueErrors
            yield Finding(f"model {name}", _one_line(error), RESTORE_WEIGHTS)
            continue
        megabytes = model.weights.stat().st_size / 1e6
        text = f"{training}, {megabytes:.1f} MB, SHA-256 as in {name}.json"
        yield Finding(f"model {name}", text)


def check_pretrained_weights(cache: Path | None = None) -> Finding:
    """Check whether the ImageNet backbone of configs/srn_R50.yaml has been downloaded.

    Args:
        cache: iopath's cache folder; by default its standard one.
    """
    if cache is None:
        cache = Path(os.getenv("FVCORE_CACHE", "~/.torch/iopath_cache")).expanduser()
    path = cache / R50_IN_CACHE
    if path.is_file():
        return Finding("ImageNet R-50 weights", f"{path} ({path.stat().st_size / 2**20:.0f} MiB)")
    code = f"from detectron2.utils.file_io import PathManager as P; P.get_local_path('{R50_URI}')"
    remedy = f'python -c "{code}"   (or put R-50.pkl there by hand)'
    return Finding("ImageNet R-50 weights", f"not at {path}", remedy)


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}"


def examine() -> list[Finding]:
    """All findings. Data sets and hardware are left out where their packages do not work."""
    findings = [check_python()]
    imports = [check_import(name, purpose) for name, purpose in CORE_PACKAGES.items()]
    requirements = installed_requirements()
    findings += [*imports, check_requirements(requirements), *check_cpu()]
    is_working = {finding.name for finding in imports if not finding.is_needed}
    if "torch" in is_working:
        findings += check_cuda()
    if is_working == set(CORE_PACKAGES):
        findings += [check_detectron2_operators(), *check_datasets(), *check_shipped_models()]
    return [*findings, check_pretrained_weights(), *check_extras(requirements or ())]


def format_report(findings: Sequence[Finding]) -> str:
    """Format the report: a line for each finding and a summary at the end.

    The remedy follows its finding, or the last of several in a row that share it.
    """
    width = max(len(finding.name) for finding in findings)
    lines = []
    next_remedies = [*(finding.remedy for finding in findings[1:]), ""]
    for finding, next_remedy in zip(findings, next_remedies, strict=True):
        mark = "!!" if finding.is_needed else "- " if finding.remedy else "ok"
        lines.append(f"{mark} {finding.name:<{width}}  {finding.value}")
        if finding.remedy and finding.remedy != next_remedy:
            lines.append(f"   {'':<{width}}  -> {finding.remedy}")
    needed = sum(finding.is_needed for finding in findings)
    verdict = f"{needed} to mend before anything works (!!)." if needed else "Ready."
    return "\n".join([*lines, verdict])


def main() -> int:
    """Print the report; returns the exit status."""
    findings = examine()
    print(format_report(findings))
    return int(any(finding.is_needed for finding in findings))


if __name__ == "__main__":
    sys.exit(main())
