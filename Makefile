# make demo | make test: set-up included, on a machine with Python 3.11 and a package registry.

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

$(STAMP): setup.py constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q -c constraints.txt -e .[test]
	$(BIN)/pip install -q --no-deps --upgrade --python-version 3.10 --only-binary=:all: \
		--target $$($(BIN)/python -c "import sysconfig; print(sysconfig.get_path('purelib'))") \
		sal-detectron2==0.7.2
	touch $@

.PHONY: install test
install: $(STAMP)

test: $(STAMP)
	$(BIN)/python -m pytest
