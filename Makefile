# One line each; `make` alone shows them.
PYTHON ?= python3
BIN    := .venv/bin
READY  := .venv/.ready

.DEFAULT_GOAL := help
.PHONY: help demo test check bench mutants crash linear overload serve bundle bundle-test image-steps lock clean

help:    ## show what there is
	@grep -hE '^[a-z-]+: .*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 20

demo: $(READY)    ## see it run: a server, three seats, four programs, a crash, a refusal
	@$(BIN)/seatkeeper demo

test: export PYTHONDONTWRITEBYTECODE =# they start a thousand processes: ours is compiled once, too
test: $(READY) .venv/.debian    ## run the tests
	@$(BIN)/python -m pytest -n 4 --dist worksteal

check: $(READY)    ## formatting, lint, types, and who may import whom
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy packages/seatkeeper/src packages/seatkeeper-server/src
	@$(BIN)/lint-imports --no-cache

bench: $(READY) .venv/.debian    ## measure speed side by side, half an hour; writes docs/explanation/performance.md
	@$(BIN)/python -m bench

mutants: $(READY) .venv/.debian    ## break each promise on purpose and see which test notices
	@$(BIN)/python scripts/mutants.py

crash: $(READY) .venv/.debian    ## kill the server again and again under load (longer than in the tests)
	@$(BIN)/python -m pytest tests/journeys/test_crash.py --kills 300 -q --timeout 3600

serve: $(READY)    ## run a cloud server on build/data
	@$(BIN)/seatkeeper cloud --data build/data

linear: $(READY) .venv/.debian    ## a million calls against a server, and whether their history is linearizable
	@$(BIN)/python -m tests.linear

overload: $(READY) .venv/.debian    ## five times as many newcomers as can be served, and whether holders notice
	@$(BIN)/python -m tests.linear.overload

bundle: $(READY)    ## make one file that installs on a machine without a network: build/seatkeeper-….run
	@$(BIN)/python -m scripts.make_bundle

bundle-test: $(READY) .venv/.debian    ## install, upgrade and roll back such a file where there is no network
	@$(BIN)/python -m pytest tests/installing/bundle_steps.py -q --timeout 900

image-steps: $(READY) .venv/.debian    ## run the steps of deploy/Dockerfile as they stand, and the server they make
	@$(BIN)/python -m pytest tests/installing/image_steps.py -q --timeout 900

lock:    ## pin requirements.in into requirements.lock: versions and hashes, no addresses
	@$(PYTHON) -m venv build/lock && build/lock/bin/pip install -q uv
	@build/lock/bin/uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	    -q requirements.in -o requirements.lock
	@sed -i '1i # Made by `make lock` from requirements.in: versions and hashes, no download addresses.' requirements.lock

clean:   ## forget everything that was made
	rm -rf .venv build .hypothesis .mypy_cache .ruff_cache

# Python packages, exactly those of the lock; then our two distributions, editable.
$(READY): requirements.lock packages/seatkeeper/pyproject.toml packages/seatkeeper-server/pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed" if sys.version_info < (3, 11) else 0)'
	@echo "Setting up .venv (half a minute) …"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install -q --disable-pip-version-check --no-build-isolation --no-deps \
	    -e packages/seatkeeper -e packages/seatkeeper-server
	@touch $@

# What the tests and the bench need besides Python: compilers, curl, strace, wrk.
.venv/.debian: scripts/debian_packages.sh | $(READY)
	@sh scripts/debian_packages.sh
	@touch $@
