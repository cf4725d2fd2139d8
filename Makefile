# make demo | test | wheel-test | lint | docs | site | bench: each installs what it needs into .venv first (Python >= 3.11).
# Versions are those of requirements.lock, which were tested together; test-latest takes the newest of everything.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LATEST := .venv-latest
PIP_FLAGS := --disable-pip-version-check install --quiet
# Without isolation the build uses the locked setuptools, too.
LOCKED := $(BIN)/python -m pip $(PIP_FLAGS) --constraint requirements.lock --no-build-isolation

.PHONY: demo test test-latest wheel-test lint docs site bench lock clean

demo: $(VENV)/demo.stamp
	$(BIN)/tuner run experiments/quickstart.yaml

test: $(VENV)/test.stamp
	$(BIN)/python -m pytest -n 3 --dist loadfile

# What `pip install convtuner` brings, built and tried in an environment of its own.
wheel-test: $(VENV)/test.stamp
	$(BIN)/python -m pytest tests/wheel.py

# Nothing is kept of an earlier time: "newest" means today's.
test-latest:
	rm -rf $(LATEST)
	$(PYTHON) -m venv $(LATEST)
	$(LATEST)/bin/python -m pip $(PIP_FLAGS) --upgrade --upgrade-strategy eager pip
	$(LATEST)/bin/python -m pip $(PIP_FLAGS) --upgrade --upgrade-strategy eager -e '.[test]'
	$(LATEST)/bin/python -m pytest -n 3 --dist loadfile

lint: $(VENV)/test.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(VENV)/demo.stamp
	$(BIN)/python -m docs.generate
	$(BIN)/tuner schema > docs/tuner.schema.json

# The manual in site/. A link or an anchor that leads nowhere is an error.
site: $(VENV)/site.stamp
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

bench: $(VENV)/bench.stamp
	$(BIN)/python -m benchmarks.sweep
	$(BIN)/python -m benchmarks.overhead

# One version of each package for all supported Pythons; every extra is in it.
lock: $(VENV)/python.stamp
	$(BIN)/python -m pip $(PIP_FLAGS) uv
	$(BIN)/uv pip compile pyproject.toml --universal --fork-strategy fewest --python-version 3.11 \
		--all-extras --upgrade --no-emit-index-url --no-annotate --quiet \
		--custom-compile-command 'make lock' --output-file requirements.lock

clean:
	rm -rf $(VENV) $(LATEST)

$(VENV)/python.stamp:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "tuner needs Python 3.11 or newer; set PYTHON=...")'
	$(PYTHON) -m venv $(VENV)
	touch $@

$(VENV)/build.stamp: $(VENV)/python.stamp requirements.lock
	$(LOCKED) setuptools
	touch $@

$(VENV)/demo.stamp: $(VENV)/build.stamp pyproject.toml
	$(LOCKED) -e .
	touch $@

$(VENV)/site.stamp: $(VENV)/build.stamp pyproject.toml
	$(LOCKED) -e '.[docs]'
	touch $@

$(VENV)/bench.stamp: $(VENV)/build.stamp pyproject.toml
	$(LOCKED) -e '.[test,bench]'
	touch $@

$(VENV)/test.stamp: $(VENV)/build.stamp pyproject.toml
	$(LOCKED) -e '.[test]'
	touch $@
