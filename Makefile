# Two commands are all there is to know: `make demo` and `make test`. The others are what those are made of, or for every day: `make quick`.
# Needs python3 >= 3.11, make and git. `make test` as root on Debian also installs the programs by others that it talks to.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO_ARGS ?=
TEST_ARGS ?=
# Tests run in so many processes at once: one for each core and one more, since the suite mostly waits (docs/developing.md).
WORKERS ?= $(shell echo $$(($$(nproc 2>/dev/null || echo 1) + 1)))
PARALLEL := -n $(WORKERS) --dist loadscope --no-loadscope-reorder
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: demo test quick calendar install dev peers lint types docs messages fuzz bench crash lock clean

demo: install
	$(BIN)/mssgw demo $(DEMO_ARGS)

test: dev peers lint types
	@$(MAKE) -s $(VENV)/.card
	$(BIN)/python -m pytest -q $(PARALLEL) $(TEST_ARGS)

# The loop of every day: under a minute.
quick: lint types
	$(BIN)/python -m pytest -q $(PARALLEL) tests/unit tests/rails $(TEST_ARGS)

# The suite on other days: 400 days from now, and on a leap day of the past. Needs the package faketime.
calendar: dev peers
	@$(MAKE) -s $(VENV)/.card
	tests/calendar $(BIN)/python -m pytest -q $(PARALLEL) $(TEST_ARGS)

install: $(VENV)/.installed
dev: $(VENV)/.dev

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "mssgw needs Python 3.11 or newer; say which with make PYTHON=…"; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { [ "$$(id -u)" = 0 ] && apt-get install -y -q python3-venv; } || { echo "python3 can't make virtual environments; install the package python3-venv"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: requirements.lock requirements-build.lock pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install -q --require-hashes -r requirements.lock -r requirements-build.lock
	$(BIN)/python -m pip install -q --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.dev: requirements-dev.lock $(VENV)/.installed
	$(BIN)/python -m pip install -q --require-hashes -r requirements-dev.lock
	@touch $@

# The smart card's Python side has to be compiled; without its tools the tests of the cards are skipped.
$(VENV)/.card: requirements-card.lock $(VENV)/.dev
	@if command -v swig >/dev/null && [ -e /usr/include/PCSC/winscard.h ]; then \
		$(BIN)/python -m pip install -q --require-hashes -r requirements-card.lock && touch $@; fi

# Programs by others that the tests talk to. Without one, its tests are skipped and counted, or fail with MSSGW_REQUIRE_PEERS=1.
peers:
	@tests/peers/install

lint: dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check -q .
	$(BIN)/lint-imports --no-cache

types: dev
	$(BIN)/mypy

# Everything in docs/ and config/ that is made from the code, and the catalogues of sentences.
docs: dev messages
	$(BIN)/python -m mssgw.core.config.reference > config/mssgw.toml
	$(BIN)/python -m mssgw.conformity > docs/conformity.md
	$(BIN)/python -m tests.rails.house docs/architecture.md
	$(BIN)/python -m tools.dmp_api > docs/dmp-api.md

# New keys into the catalogues (LANGUAGE/LC_MESSAGES/*.po), and those compiled.
messages: dev
	$(BIN)/python -m tools.messages

fuzz: dev
	MSSGW_FUZZ=long $(BIN)/python -m pytest -q tests -k fuzz

crash: dev
	MSSGW_CRASH=long $(BIN)/python -m pytest -q tests/crash

bench: install
	$(BIN)/python -m bench

# Locks hold hashes and no index address. Needs uv. What runs, what builds it, what tests it, and the card's part, which has to be compiled.
COMPILE = uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header
lock:
	$(COMPILE) --extra postgres --extra hsm --extra print pyproject.toml -o requirements.lock
	$(COMPILE) --group build -c requirements.lock -o requirements-build.lock
	$(COMPILE) -c requirements.lock -c requirements-build.lock --extra postgres --extra hsm --extra print --group build --group dev pyproject.toml -o requirements-dev.lock
	echo 'pyscard>=2.3' | $(COMPILE) - -o requirements-card.lock

clean:
	rm -rf $(VENV) .demo .pytest_cache .mypy_cache .ruff_cache .hypothesis
