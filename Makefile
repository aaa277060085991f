# Set-up and checks. `make report`, `make test` and `make lab` each create or refresh .venv
# from a hash-locked file and do their work; a second run starts at once.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help report test lab clean lock words

PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
SOURCE ?= data/sample
OUT ?= reports
ARGS ?=

help:
	@echo "make report   the weekly report on the sample shop, in $(OUT)/ (SOURCE=... ARGS=... for others)"
	@echo "make test     every check: style, types, tests, notebooks"
	@echo "make lab      JupyterLab on the notebooks"
	@echo "make clean    remove what the others installed and cached; reports and their ledger stay"
	@echo "make lock     resolve the locked requirements anew (needs uv)"
	@echo "make words    bring the catalogue of translations up to date"

# Environments: one .venv, one stamp per locked file.
$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "clvlib needs Python 3.11 or later; '$(PYTHON)' is $$($(PYTHON) --version 2>&1). Set PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.%.stamp: requirements/%.txt pyproject.toml | $(VENV)/bin/python
	@echo "installing requirements/$*.txt into $(VENV)"
	@$(PY) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/$*.txt
	@$(PY) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

report: $(VENV)/.report.stamp
	@$(VENV)/bin/clvlib report --source $(SOURCE) --out $(OUT) $(ARGS)

test: $(VENV)/.test.stamp
	@VENV=$(VENV) bash tests/run $(ARGS)

lab: $(VENV)/.lab.stamp
	@$(VENV)/bin/jupyter lab --notebook-dir=. notebooks/01_audience_profile.ipynb $(ARGS)

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

UV := uv pip compile --universal --python-version 3.11 --fork-strategy fewest --generate-hashes --no-header --no-annotate --quiet
lock:
	@command -v uv >/dev/null || { echo "make lock needs uv" >&2; exit 1; }
	@echo setuptools | $(UV) pyproject.toml - --extra lab --extra test -o $(VENV)/all.txt
	@for extra in report test lab; do \
	  echo setuptools | $(UV) pyproject.toml - --extra $$extra -c $(VENV)/all.txt -o requirements/$$extra.txt; done

words: $(VENV)/.test.stamp
	@$(PY) tests/catalogue.py
