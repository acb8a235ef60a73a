# Two commands do everything: `make run` watches this machine, `make test` proves it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
UI := server/static/index.html
UI_SOURCES := $(shell find web -type f -not -path 'web/node_modules/*' 2>/dev/null)

.PHONY: run install test lint bench ui clean

run: $(STAMP) $(UI)
	@exec $(BIN)/fleetwatch run

install: $(STAMP) $(UI)

test: install lint
	$(BIN)/python -m pytest

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: install
	$(BIN)/python -m benchmarks

ui: $(UI)

clean:
	rm -rf $(VENV) server/static web/node_modules

$(STAMP): pyproject.toml constraints.txt
	@echo "fleetwatch: making the virtual environment and installing packages (a minute on a fresh machine)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "fleetwatch needs Python 3.11 or newer, $(PYTHON) is " + sys.version.split()[0] + ": set PYTHON=/path/to/python3.11")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[server,dev]'
	@touch $@

$(UI): $(UI_SOURCES) hatch_build.py $(STAMP)
	@$(BIN)/python hatch_build.py
