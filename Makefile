PYTHON ?= python3
BIN := .venv/bin

.PHONY: install lint type test test-postgres test-all bench bench-catalog fuzz demo face run

.venv/.installed: pyproject.toml
	$(PYTHON) -m venv .venv && $(BIN)/pip install --quiet --disable-pip-version-check -e '.[dev]' && touch $@

install: .venv/.installed

lint: install
	$(BIN)/ruff check . && $(BIN)/ruff format --check .

type: install
	$(BIN)/mypy

test: install
	$(BIN)/pytest

test-postgres: install
	$(BIN)/pytest -m databases

test-all: install
	$(BIN)/pytest -m ''

bench: install
	$(BIN)/python -m tests.bench

bench-catalog: install
	$(BIN)/python -m tests.bench.catalog

fuzz: install
	$(BIN)/python -m tests.attacks.fuzz $(OPTIONS)

demo: install
	$(BIN)/python -m examples.demo $(if $(DIRECTORY),--directory $(DIRECTORY))

face: install
	examples/face.sh

run: install
	$(BIN)/siprecd serve
