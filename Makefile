# Everything runs inside .venv, which `make setup` makes from a package index and nothing else.
PYTHON ?= python3
PORT ?= 8000
RESIDENTS ?= 20000
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-all test-spark check format bench conformance clean

help: ## list the commands
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 12

setup: .venv/.ready ## make .venv with everything in it

.venv/.ready: pyproject.toml constraints.txt scripts/setup.sh
	@PYTHON="$(PYTHON)" sh scripts/setup.sh

demo: setup ## build the simulated region, take it in, serve it at http://127.0.0.1:8000
	@$(BIN)/kangshu --home .demo demo --residents $(RESIDENTS) --port $(PORT)

test: setup ## run the test suite
	@$(BIN)/python -m pytest -m "not slow and not spark" -n 2

test-all: setup ## run the test suite with the slow tests
	@$(BIN)/python -m pytest -m "not spark" -n 2

test-spark: setup ## compute every rule on Spark and on DuckDB and compare (installs pyspark; needs Java 17)
	@$(BIN)/python -c "import pyspark" 2>/dev/null || $(BIN)/python -m pip install -c constraints.txt -e '.[spark]'
	@$(BIN)/python -m pytest -m spark tests/spark

check: setup ## format, lint, types, import contracts, declarations, generated pages, unit tests
	@$(BIN)/ruff format --check src tests
	@$(BIN)/ruff check src tests
	@$(BIN)/pyright --pythonpath $(BIN)/python
	@$(BIN)/lint-imports
	@$(BIN)/kangshu datasets check
	@$(BIN)/kangshu datasets reference --check
	@$(BIN)/python -m pytest -m "not slow and not database and not browser and not samples and not spark" -n 2

format: setup ## format the code and mend what the linter can
	@$(BIN)/ruff format src tests
	@$(BIN)/ruff check --fix src tests

conformance: setup ## take in the sample files (KANGSHU_SAMPLES) and write docs/conformance
	@KANGSHU_WRITE_DOCS=1 $(BIN)/python -m pytest tests/conformance -s

bench: setup ## run the benchmarks
	@$(BIN)/kangshu bench

clean: ## remove what the other commands made
	@[ ! -x $(BIN)/kangshu ] || $(BIN)/kangshu --home .demo stop >/dev/null 2>&1 || true
	rm -rf .venv .demo .pytest_cache .ruff_cache build dist
