# Every target works from a bare checkout: Python 3.11 and make are enough.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
CAN_TRAIN := $(VENV)/.can-train

.PHONY: help setup demo test cluster-test bench-quick torture fuzz lint bench docs release-check clean

help: ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

setup: $(READY) ## make .venv with everything that development needs

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

$(CAN_TRAIN): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[train]'
	@touch $@

demo: $(CAN_TRAIN) ## ask, fine-tune, compare; installs only what that needs (KOMRC_DATA=folder: on KorQuAD)
	$(BIN)/komrc demo

test: setup ## every test, offline
	$(BIN)/python -m pytest

cluster-test: setup ## several processes, agents and hosts (as root: network namespaces); ten minutes
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m cluster

torture: setup ## the long forms of the reliability tests (docs/results/reliability.md); an hour or more
	OMP_NUM_THREADS=1 $(BIN)/python tests/reliability/torture.py

fuzz: setup ## an hour of coverage-guided fuzzing; installs atheris first (Linux)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt atheris
	OMP_NUM_THREADS=1 $(BIN)/python tests/reliability/fuzz.py

lint: setup ## format, lint, types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: setup ## the benchmarks of docs/results/benchmarks.md
	$(BIN)/python -m benchmarks

bench-quick: setup ## the same, small: shows that it works
	$(BIN)/python -m benchmarks --quick

docs: setup ## the site in build/site; every link is checked
	$(BIN)/python tools/reference_pages.py build/reference
	$(BIN)/zensical build --strict --clean

release-check: ## build wheel and sdist in dist/, and run the suite against the installed wheel
	rm -rf dist build/release
	$(PYTHON) -m venv build/release
	build/release/bin/python -m pip install --quiet --constraint constraints.txt hatchling
	build/release/bin/python -m hatchling build
	build/release/bin/python -m pip wheel --quiet --no-deps --wheel-dir build/from-sdist dist/*.tar.gz
	build/release/bin/python -m pip install --quiet --constraint constraints.txt "$$(echo $(CURDIR)/dist/*.whl)[dev]"
	build/release/bin/python -m pytest

clean: ## remove what the targets made
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache
