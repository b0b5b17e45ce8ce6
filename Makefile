# make demo: the main job on the built-in data. make test: everything that must hold. Both set up .venv themselves.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: help demo test lint format docs-results clean

help:
	@echo "make demo    plain, FETTLE and CROSS on LightGCN, on the built-in data"
	@echo "make test    all tests"
	@echo "make lint    ruff and mypy"
	@echo "make format  put the code into its format"

$(VENV)/run: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e .
	@touch $@

$(VENV)/dev: $(VENV)/run
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	@touch $@

demo: $(VENV)/run
	$(BIN)/crossrec compare --data synthetic --backbones lightgcn --seeds 0 --out runs/demo

test: $(VENV)/dev
	$(BIN)/python -m pytest

lint: $(VENV)/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) runs
