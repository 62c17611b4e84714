# Every target sets up .venv from the lock file when it is missing or older than that.
INSTALLED := .venv/installed
BIN := .venv/bin

.PHONY: search test test-all check

search: $(INSTALLED)  ## run the quickstart study and show its front
	$(BIN)/nas run quickstart

test: $(INSTALLED)  ## the tests of every day
	$(BIN)/pytest

test-all: $(INSTALLED)  ## the long ones too
	$(BIN)/pytest -m "slow or not slow" --timeout 1200

check: $(INSTALLED)  ## format, lint, types, import contracts, tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest

$(INSTALLED): requirements.lock pyproject.toml
	python3 -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $(INSTALLED)
