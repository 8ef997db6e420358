# One word per task. `make demo` and `make test` make the environment that they need and then do their work.
# Needed on the machine: Python 3.11, pip, make.

PYTHON ?= python3
VENV := .venv
TORCH_VENV := .venv-torch
BIN := $(CURDIR)/$(VENV)/bin
TORCH_BIN := $(CURDIR)/$(TORCH_VENV)/bin

# Of `make demo`. FILES is split by the shell, quotes and globs included: FILES="a.wav 'b c.mp3' folder/*.flac"
FILES ?=
RECIPE ?= transcribe
KEEP ?=
# name=value pairs beyond what the recipe sets, and role=PATH of further inputs of the one file; split at blanks.
SET ?=
INPUTS ?=
# Of `make test`: more arguments for pytest. Of `make guards`: more for it, such as --only recovery.
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help demo up test test-parts test-platforms test-torch explore guards check constraints clean purge
.DELETE_ON_ERROR:

help:
	@echo "make demo        the main job on FILES (or on a text that is spoken first); RECIPE=transcribe KEEP=1"
	@echo "make up          the platform, until Ctrl-C"
	@echo "make test        all tests that need no torch"
	@echo "make test-torch  the tests of the engines that need torch, in an environment of their own"
	@echo "make explore     tests of properties on examples that nobody has tried yet"
	@echo "make guards      take out each guard of tests/guards, and see that its test notices; ARGS='--only recovery' or '--since COMMIT'"
	@echo "make check       ruff, mypy, import-linter"
	@echo "make constraints write constraints.txt anew from the newest versions that fit together"
	@echo "make clean       remove environments, caches and demo-output; the platform's data stays"
	@echo "make purge       delete the platform's data: database, results, keys. Asks first"

define require_python
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) is not there. Install Python 3.11, or: make $@ PYTHON=python3.11"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || { \
	  echo "$(PYTHON) is $$($(PYTHON) --version 2>&1), and audiomill runs on Python 3.11. Try: make $@ PYTHON=python3.11"; exit 1; }
endef

# Stamps: an environment is made again only when the pins or the project's needs change.
$(VENV)/.installed: constraints.txt pyproject.toml
	$(require_python)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@rm -f $(VENV)/.installed-dev
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

# setuptools: coqui's and demucs' dependencies build with it, and 82 took away what they use.
$(TORCH_VENV)/.installed: constraints.txt pyproject.toml
	$(require_python)
	test -x $(TORCH_BIN)/python || $(PYTHON) -m venv $(TORCH_VENV)
	$(TORCH_BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[torch,aws,k8s,billing,dev]'
	$(TORCH_BIN)/pip check
	@touch $@

demo: $(VENV)/.installed
	$(BIN)/audiomill demo --recipe $(RECIPE) $(if $(filter-out 0 no,$(KEEP)),--keep) \
	  $(foreach one,$(SET),--set $(one)) $(foreach one,$(INPUTS),--input $(one)) $(FILES)

up: $(VENV)/.installed
	$(BIN)/audiomill up

# Tests with a platform of their own wait more than they compute: beside the rest, one after another, told at the end.
test: $(VENV)/.installed-dev
	@$(MAKE) --no-print-directory -j2 -k test-parts test-platforms; ended=$$?; cat test-platforms.log; exit $$ended

test-parts: $(VENV)/.installed-dev
	$(BIN)/pytest -m "not torch and not e2e" -n auto --dist loadfile $(ARGS)

test-platforms: $(VENV)/.installed-dev
	$(BIN)/pytest -m "e2e and not torch" $(ARGS) > test-platforms.log 2>&1

test-torch: $(TORCH_VENV)/.installed
	$(TORCH_BIN)/pytest -m torch $(ARGS)

# What it finds becomes an @example of its test.
explore: $(VENV)/.installed-dev
	$(BIN)/pytest --hypothesis-profile explore $$(grep -rl --include='test_*.py' '^from hypothesis' tests) $(ARGS)

# Slow, and not part of `make test`.
guards: $(VENV)/.installed-dev
	$(BIN)/python -m tests.guards $(ARGS)

check: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# A new environment each time: what is installed already would hold versions back.
constraints:
	$(require_python)
	rm -rf .venv-constraints
	$(PYTHON) -m venv .venv-constraints
	.venv-constraints/bin/pip install --quiet --disable-pip-version-check \
	  'torch==2.13.0' 'torchcodec==0.12.0' -e '.[torch,aws,k8s,billing,dev]'
	.venv-constraints/bin/pip check
	{ sed -n '/^#/p' constraints.txt; .venv-constraints/bin/pip freeze --exclude-editable; } > constraints.txt.new
	mv constraints.txt.new constraints.txt
	rm -rf .venv-constraints

# Of a platform (its database, results and keys) nothing: that is `make purge`. One that runs keeps its programs too.
clean:
	@if grep -qsz "^$(BIN)/" /proc/[0-9]*/cmdline; then \
	  echo "A platform runs from $(VENV): it stays. Stop the platform first."; else rm -rf $(VENV); fi
	rm -rf $(TORCH_VENV) .venv-constraints demo-output build dist test-platforms.log
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .schemathesis .import_linter_cache
	find . -name __pycache__ -type d -prune -not -path './.audiomill/*' -exec rm -rf {} +

# Asks first, and refuses while a platform runs.
purge: $(VENV)/.installed
	$(BIN)/audiomill purge
