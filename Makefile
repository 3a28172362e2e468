# Thin: each target makes .venv, installs what it needs, and calls one command.
PYTHON ?= python3.11
ifeq (, $(shell command -v $(PYTHON) 2>/dev/null))
PYTHON := python3
endif
BIN := .venv/bin

.PHONY: quickstart test slow faults check bench

quickstart: .venv/core
	$(BIN)/mm15 quickstart --out runs/quickstart

test: .venv/dev
	$(BIN)/python -m pytest -m "not gpu and not slow"

slow: .venv/dev
	$(BIN)/python -m pytest -m slow

faults: .venv/dev
	$(BIN)/python -m pytest -m slow tests/faults

check: .venv/dev
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/pyright

bench: .venv/dev
	$(BIN)/python benchmarks/packing.py
	$(BIN)/python benchmarks/lm_step.py
	$(BIN)/python benchmarks/whole_step.py

# torch is capped at a version with a small build; a plain `pip install torch` may fetch gigabytes of CUDA libraries.
.venv/core: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --editable '.[pdf]'
	@touch $@

.venv/dev: .venv/core
	$(BIN)/pip install --quiet --editable '.[dev]'
	@touch $@
