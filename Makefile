# make demo   install into .venv, run the embedded study, print its table and the path of its page
# make test   install, then lint, types, import contract, tests
# make bench  install, then every benchmark
PYTHON ?= python3
BIN := .venv/bin

.PHONY: install demo test bench

install: .venv/installed

.venv/installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: install
	$(BIN)/plait demo --out runs/demo

test: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest

bench: install
	for file in benchmarks/*.py; do $(BIN)/python $$file || exit 1; done
