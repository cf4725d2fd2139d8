# make demo | test | lint | docs | bench: each installs what it needs into .venv first (Python >= 3.11).

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet

.PHONY: demo test lint docs bench clean

demo: $(VENV)/demo.stamp
	$(BIN)/tuner run experiments/quickstart.yaml

test: $(VENV)/test.stamp
	$(BIN)/python -m pytest -n 2 --dist loadfile

lint: $(VENV)/test.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(VENV)/demo.stamp
	$(BIN)/python -m docs.generate
	$(BIN)/tuner schema > docs/tuner.schema.json

bench: $(VENV)/bench.stamp
	$(BIN)/python -m benchmarks.sweep
	$(BIN)/python -m benchmarks.overhead

clean:
	rm -rf $(VENV)

$(VENV)/python.stamp:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "tuner needs Python 3.11 or newer; set PYTHON=...")'
	$(PYTHON) -m venv $(VENV)
	touch $@

$(VENV)/demo.stamp: $(VENV)/python.stamp pyproject.toml
	$(PIP) -e .
	touch $@

$(VENV)/bench.stamp: $(VENV)/python.stamp pyproject.toml
	$(PIP) -e '.[test,bench]'
	touch $@

$(VENV)/test.stamp: $(VENV)/python.stamp pyproject.toml
	$(PIP) -e '.[test]'
	touch $@
