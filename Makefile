# Everything runs in .venv, made from requirements.lock by the first target that needs it.
# The system's own Python before another, when modules can be compiled for it: distributions build theirs optimized, which
# version managers seldom do.
PYTHON ?= $(shell /usr/bin/python3 -c 'import ensurepip, os, sys, sysconfig as s; sys.exit(sys.version_info < (3, 11) \
	or not os.path.exists(s.get_path("include") + "/Python.h"))' 2>/dev/null && echo /usr/bin/python3 || echo python3)
BIN := .venv/bin
export UV_PYTHON_DOWNLOADS = never
# Where this is set, each of the many processes that tests start would compile all that it imports.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test kubernetes bench lint proto setup compiled system lock clean

demo: setup ## start everything on this machine and say what to try; ONCE=1 runs the story unattended
	@$(BIN)/assentry demo $(if $(ONCE),--once)

test: setup system lint compiled ## the whole check: lint, types, contracts, and every test; the data plane's own, not compiled, first
	ASSENTRY_INTERPRETED=1 $(BIN)/python -m pytest -q -n 2 --dist loadfile tests/data_plane
	$(BIN)/python -m pytest -q -n 2 --dist loadfile

kubernetes: setup system ## the tests that need a Kubernetes API server, which this builds: twelve minutes on two cores, once
	@sh tests/support/kubernetes/install.sh >/dev/null
	$(BIN)/python -m pytest -q tests/control_plane/workloads/test_kubernetes.py

bench: setup system compiled ## pgbench through Assentry beside PgBouncer and a direct connection; thousands of sessions; decisions
	$(BIN)/python -m tests.benchmarks.bench
	$(BIN)/python -m tests.benchmarks.sessions
	$(BIN)/python -m tests.benchmarks.decisions

lint: setup
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .
	$(BIN)/mypy
	$(BIN)/lint-imports
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python proto/generate.py --check

proto: setup
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python proto/generate.py

setup: .venv/installed

.venv/installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Assentry needs Python 3.11 or newer; name one with make PYTHON=…")'
	@echo "Preparing .venv with $(PYTHON) …"
	@$(PYTHON) -m venv --clear .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps -e .
	@touch $@

compiled: .venv/compiled ## the path of every statement, compiled to C where there is a compiler

.venv/compiled: .venv/installed deploy/compile.py $(shell $(PYTHON) deploy/compile.py --list)
	@$(BIN)/python deploy/compile.py
	@touch $@

system: ## the servers and clients that the tests drive, from the system's packages when this user may install them
	@sh tests/support/install.sh

lock: setup ## pin the newest versions that pyproject.toml allows
	$(BIN)/uv pip compile --quiet pyproject.toml --all-extras --group dev --generate-hashes --no-emit-index-url \
		--no-emit-find-links --no-annotate --universal --python-version 3.11 --upgrade -o requirements.lock

clean:
	$(PYTHON) deploy/compile.py --clean
	rm -rf .venv .demo .mypy_cache .ruff_cache
