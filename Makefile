# Set-up, tests and the demo, each complete from a fresh clone: `make help` lists the targets.
#
#   make demo PYTHON=/usr/bin/python3.12     another interpreter for the virtual environment
#   make test ARGS="-k matching -x"          arguments for pytest, or for compare
#   make compare ROOT=/data/widerface        another folder than $DETECTRON2_DATASETS/widerface

# The first interpreter that is new enough for the versions pinned in constraints.txt.
MIN_PYTHON := 3.11
IS_NEW_ENOUGH := import sys; sys.exit(sys.version_info < tuple(map(int, "$(MIN_PYTHON)".split("."))))
PYTHON ?= $(shell for python in python3.11 python3 python3.12 python3.13; do \
	$$python -c '$(IS_NEW_ENOUGH)' 2>/dev/null && echo $$python && break; done)

VENV := .venv
BIN := $(VENV)/bin
# .installed: all of pyproject.toml is installed, in the versions of constraints.txt. .unfinished:
# an installation began and did not reach its end.
STAMP := $(VENV)/.installed
UNFINISHED := $(VENV)/.unfinished
PIP_INSTALL := $(BIN)/python -m pip --quiet --disable-pip-version-check install
INSTALL := $(PIP_INSTALL) --constraint constraints.txt
# detectron2 as a wheel for Python 3.10, by its hash. Its Python code runs on any version; its
# compiled operators do not load elsewhere, and none is needed.
DETECTRON2 := detectron2-requirements.txt

# The documentation and its notebook: packages that only these need.
DOCS_STAMP := $(VENV)/.docs-installed

DEMO_DIR := output/demo
BENCH_DIR := output/benchmark
COMPARE_DIR := output/compare
SITE_DIR := output/site

.DEFAULT_GOAL := help
.PHONY: help install doctor test lint format docs demo bench compare clean distclean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# A pip that was killed may leave a package half installed that it later takes for complete, so an
# unfinished environment is built anew; what had been downloaded comes from pip's cache.
$(STAMP): pyproject.toml setup.py constraints.txt $(DETECTRON2)
	@if [ -z "$(PYTHON)" ]; then \
		echo "make: no Python >= $(MIN_PYTHON) found; name one: make PYTHON=/path/to/python3" >&2; exit 1; fi
	@$(PYTHON) -c '$(IS_NEW_ENOUGH)' || { \
		echo "make: PYTHON=$(PYTHON) does not run or is older than $(MIN_PYTHON)" >&2; exit 1; }
	@if [ -e $(UNFINISHED) ]; then echo "The last installation did not finish: starting over."; \
		rm -rf $(VENV); fi
	@mkdir -p $(VENV) && touch $(UNFINISHED)
	@echo "Creating $(VENV) with $$($(PYTHON) --version) ..."
	@$(PYTHON) -m venv $(VENV)
	@echo "Installing the pinned packages: 3 to 10 minutes, most of it torch (5 GB on disk with" \
		"its CUDA libraries) ..."
	@$(INSTALL) setuptools
	@$(INSTALL) --no-build-isolation --editable '.[test]'
	@$(PIP_INSTALL) --no-deps --upgrade --only-binary=:all: --python-version 3.10 \
		--target "$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" \
		--require-hashes --requirement $(DETECTRON2)
	@$(BIN)/python -m srn_d2.doctor
	@rm $(UNFINISHED) && touch $@

install: $(STAMP)  ## create .venv with everything that the other targets need

doctor: $(STAMP)  ## versions, hardware, data sets and weights found, and how to mend what is missing
	@$(BIN)/python -m srn_d2.doctor

# A process for each core, each with one thread: a test uses seldom more than one. Each takes whole
# files, those with slow tests first (tests/conftest.py).
test: $(STAMP)  ## run the tests (ARGS: for pytest; ARGS='-m "not slow"' leaves out real trainings)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --dist loadfile \
		--no-loadscope-reorder $(ARGS)

lint: $(STAMP)  ## check style, format and types, change nothing
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(STAMP)  ## format, and mend what ruff can mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(DOCS_STAMP): $(STAMP)
	@echo "Installing what the documentation needs ..."
	@$(INSTALL) --no-build-isolation --editable '.[docs]'
	@touch $@

# Fails if a page, a link or an anchor is missing, or a name that the Python API page documents.
docs: $(DOCS_STAMP)  ## build the documentation with all its links checked: see output/site/index.html
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs --quiet build --strict --site-dir $(SITE_DIR)
	@echo "The documentation is $(SITE_DIR)/index.html"

# The toy data set goes to ./datasets, wherever $DETECTRON2_DATASETS points.
demo: export DETECTRON2_DATASETS := $(CURDIR)/datasets
demo: $(STAMP)  ## find faces in photographs, train on drawn ones for some minutes: see output/demo
	@rm -rf $(DEMO_DIR)
	@echo "1 of 3: find the faces in two photographs with the weights that come with the package"
	$(BIN)/python tools/demo_photographs.py --output $(DEMO_DIR)/photographs
	@echo "2 of 3: train on drawn faces and evaluate; eta is what training has left, the rest is short"
	$(BIN)/python train_net.py --config-file configs/srn_toy.yaml OUTPUT_DIR $(DEMO_DIR)
	@echo "3 of 3: what it has reached"
	$(BIN)/python tools/demo_report.py $(DEMO_DIR)

# Sizes and repeats that two idle cores do in a quarter of an hour; tools/benchmark.py alone
# measures more of them.
BENCH := $(BIN)/python tools/benchmark.py
bench: $(STAMP)  ## measure speed and memory for a quarter of an hour: see output/benchmark/report.md
	$(BENCH) inference --repeats 3 --output $(BENCH_DIR)
	$(BENCH) growth --sides 256 512 1024 2048 --faces 1 100 1000 --image-size 512 768 --repeats 1 \
		--output $(BENCH_DIR)
	$(BENCH) training --image-size 512 512 --batch-size 1 --memory-faces 10 2000 --repeats 1 \
		--output $(BENCH_DIR)
	$(BENCH) loader --output $(BENCH_DIR)
	$(BIN)/python tools/benchmark_evaluation.py
	@echo "The report is $(BENCH_DIR)/report.md"

# On WIDER FACE's validation images, or a part of them; goes on where it was stopped.
compare: $(STAMP)  ## this detector beside others that pip installs (ROOT, ARGS): see output/compare/comparison.md
	$(BIN)/python tools/compare_detectors.py --output $(COMPARE_DIR) \
		$(if $(ROOT),--root $(ROOT)) $(ARGS)

clean:  ## remove caches and the output of demo, bench and docs
	rm -rf $(DEMO_DIR) $(BENCH_DIR) $(SITE_DIR) build dist .pytest_cache .ruff_cache \
		.mypy_cache .hypothesis
	find . -path ./$(VENV) -prune -o -name __pycache__ -type d -exec rm -rf {} +

distclean: clean  ## clean, and remove .venv and the environments of compare
	rm -rf $(VENV) $(COMPARE_DIR)/envs *.egg-info
