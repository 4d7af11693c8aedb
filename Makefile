# Each target sets up .venv from requirements.lock when that is missing or out of date.
# Needed beforehand: python3.11, git, make.

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
JOBS ?= 4
SNAKEMAKE_ARGS ?=
KILLS ?= 25

# The stamp's name holds the checksum of what was installed, so that a time stamp (a fresh
# clone, a change of branch) never starts an installation and a changed lock always does.
LOCKED := requirements.lock pyproject.toml
CHECKSUM := $(shell $(PYTHON) -c 'import hashlib, sys; \
	print(hashlib.sha256(b"".join(open(f, "rb").read() for f in sys.argv[1:])).hexdigest()[:16])' \
	$(LOCKED))
STAMP := $(VENV)/installed-$(CHECKSUM)

# Snakemake, DVC and matplotlib keep caches in the home; where that cannot be written, in build/.
CACHE := $${XDG_CACHE_HOME:-$${HOME:?}/.cache}
ifneq ($(shell mkdir -p "$(CACHE)" 2> /dev/null && test -w "$(CACHE)" && echo yes),yes)
export XDG_CACHE_HOME := $(CURDIR)/build/cache
export MPLCONFIGDIR := $(CURDIR)/build/cache/matplotlib
endif

.DEFAULT_GOAL := help
.PHONY: help figures test survive quick lint format bench docs lock clean venv

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' Makefile

figures: $(STAMP) ## every result of the suite in params.yaml: figures, tables, report
	$(BIN)/snakemake -j$(JOBS) $(SNAKEMAKE_ARGS)

test: $(STAMP) ## all tests
	OMP_NUM_THREADS=1 PYTHONPATH=src $(BIN)/python -m pytest -n auto --dist loadfile $(PYTEST_ARGS)

survive: $(STAMP) ## kill a training of every model family 25 times (KILLS=25)
	OMP_NUM_THREADS=1 PYTHONPATH=src T3VAE_KILLS=$(KILLS) $(BIN)/python -m pytest -rP tests/test_survive.py

quick: $(STAMP) ## the smoke suite, in build/smoke
	$(BIN)/snakemake -j$(JOBS) --directory build/smoke --config suite=smoke

lint: $(STAMP) ## formatting, lint and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile rules
	$(BIN)/snakemake --lint
	$(BIN)/mypy src/t3vae

format: $(STAMP) ## format all sources
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/snakefmt Snakefile rules

bench: $(STAMP) ## CPU seconds of the main steps; REFERENCE=<checkout> measures that beside it
	OMP_NUM_THREADS=1 PYTHONPATH=src $(BIN)/python -m benchmarks \
		$(if $(REFERENCE),--reference '$(REFERENCE)')

docs: $(STAMP) ## write what the code knows into the documentation
	PYTHONPATH=src $(BIN)/python docs/facts.py

lock: $(STAMP) ## write requirements.lock anew from pyproject.toml (needs the network)
	$(BIN)/python -m pip install --quiet --target build/uv uv
	UV_CUSTOM_COMPILE_COMMAND='make lock' build/uv/bin/uv pip compile pyproject.toml \
		--universal --extra workflow --extra images --extra dev \
		--generate-hashes --python-version 3.11 --upgrade -o requirements.lock

clean: ## remove logs, caches, smoke runs and distributions; results stay
	rm -rf build dist logs .pytest_cache .hypothesis .mypy_cache .ruff_cache
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

venv: $(STAMP) ## only the environment

$(STAMP):
	@command -v $(PYTHON) > /dev/null || \
		{ echo '$(PYTHON) was not found. Install Python 3.11, or name it: make PYTHON=...' >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	rm -f $(VENV)/installed-*
	$(BIN)/python -m pip install --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@
