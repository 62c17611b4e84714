# Every target first sets up .venv from the lock file, unless it is newer than that file.
INSTALLED := .venv/installed
BIN := .venv/bin
# One worker for each logical core, up to eight: each of them imports torch and holds about 1 GB.
PYTEST := $(BIN)/pytest --numprocesses logical --maxprocesses 8 --dist worksteal
# Otherwise onnxruntime reports usage to its makers, through a database in the user's cache and uploads.
export ORT_DISABLE_TELEMETRY := 1
# The sources of this package contain those of llama.cpp, which require CMake and a C++ compiler.
LLAMA := .llama.cpp
LLAMA_PACKAGE := llama_cpp_python-0.3.36

.PHONY: search test test-all check

search: $(INSTALLED)  ## run the quickstart study and show its front
	$(BIN)/nas run quickstart

test: $(INSTALLED)  ## run the tests
	$(PYTEST)

test-all: $(INSTALLED) $(LLAMA)/bin/llama-bench  ## run the slow tests and those against llama.cpp, too
	$(PYTEST) -m "slow or not slow" --timeout 1200

check: $(INSTALLED)  ## check format, style, words, types and import contracts, then run the tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/codespell --dictionary=docs/glossary.txt,-
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(PYTEST)

$(INSTALLED): requirements.lock pyproject.toml
	python3 -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $(INSTALLED)

$(LLAMA)/bin/llama-bench: $(wildcard tests/search_space/llama_cpp/llama_*.c) | $(LLAMA)/source
	cmake -S $| -B $(LLAMA) -DCMAKE_BUILD_TYPE=Release -DBUILD_SHARED_LIBS=OFF -DLLAMA_CURL=OFF \
	    -DCMAKE_PROJECT_llama.cpp_INCLUDE=$(CURDIR)/tests/search_space/llama_cpp/programs.cmake
	cmake --build $(LLAMA) --target llama-bench llama-logits llama-tokens \
	    --parallel $$(getconf _NPROCESSORS_ONLN)
	touch $@

$(LLAMA)/source: | $(INSTALLED)
	mkdir -p $(LLAMA)/unpacked
	$(BIN)/pip download --quiet --no-deps --no-binary :all: --dest $(LLAMA) \
	    $(subst _,-,$(subst -,==,$(LLAMA_PACKAGE)))
	tar -xzf $(LLAMA)/$(LLAMA_PACKAGE).tar.gz -C $(LLAMA)/unpacked
	mv $(LLAMA)/unpacked/$(LLAMA_PACKAGE)/vendor/llama.cpp $@
