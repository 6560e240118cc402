# On a new machine with Python 3.11 and make: `make dev` and `make test`.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
# Number of test processes; most tests wait for brokers and processes, so there are more than cores. The tests of a file
# run in one process, and files in the order of tests/conftest.py.
WORKERS ?= 3
NEWEST_PYTHON ?= python3.13
NEWEST_VENV   ?= .venv-newest
# Passed to the command of a target: make dev ARGS="--seconds 15 --plain"
ARGS   ?=

# Two stages, for running and for tests, so that `make dev` does not install test tools.
RUN_READY := $(VENV)/.run-ready
READY := $(VENV)/.ready
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

# The compiled step, of the sources as they are now: without a C compiler there is none, and Python does its work.
STEP := bridge/pipeline/compiled
COMPILED := $(STEP)/_lines.abi3.so

.PHONY: help dev compiled test test-newest test-kafka-versions test-engines soak bench lint types format docs wheel wheel-check lock clean

help:           ## List the targets
	@grep -hE '^[a-z-]+: .*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*##/\1\t/' | expand -t 14

$(RUN_READY): requirements-dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "aries-bridge needs Python 3.11 or newer; $(PYTHON) is older. Try: make PYTHON=python3.11 ..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(PIP) --require-hashes -r requirements-dev.lock
	$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

$(READY): requirements-test.lock $(RUN_READY)
	$(PIP) --require-hashes -r requirements-test.lock
	@touch $@

$(COMPILED): $(wildcard $(STEP)/*.[ch]) $(STEP)/build.py | $(RUN_READY)
	@$(BIN)/python $(STEP)/build.py

compiled: $(COMPILED) ## Build the compiled step in place, if there is a C compiler

dev: $(RUN_READY) $(COMPILED) ## Run simulator, bridge and embedded broker, and show what is published
	@$(BIN)/aries-bridge dev $(ARGS)

test: $(READY) $(COMPILED) ## Run all tests (ARGS go to pytest)
	@$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

# Delivery, order, topics and replaced producers; all of them run on the newest version in `make test`.
KAFKA_TESTS := tests/support/test_brokers.py tests/kafka tests/check/test_kafka.py tests/cli/test_topics.py tests/cli/test_group.py \
  tests/verify/test_rebuilds.py $(addprefix tests/faults/kafka/test_,brokers_fail.py producers_die.py topics_change.py \
  records_refused.py subscriptions_change.py)
test-kafka-versions: $(READY) ## Run the tests of delivery and topics on each supported version of Kafka (ARGS go to pytest)
	@for version in $$($(BIN)/python -m tests.support.kafka_distribution); do echo "Apache Kafka $$version"; \
	  TESTS_REQUIRE_KAFKA=1 TESTS_KAFKA_VERSION=$$version $(BIN)/python -m pytest -m kafka $(ARGS) $(KAFKA_TESTS) || exit 1; done

# A virtual environment of its own, beside the one for development. Here the bridges of tests do without the compiled step.
test-newest: ## Run the tests that need neither Java nor Go nor a browser with NEWEST_PYTHON (python3.13)
	@TESTS_ENCODER=python $(MAKE) --no-print-directory test PYTHON="$(NEWEST_PYTHON)" VENV=$(NEWEST_VENV) \
	  ARGS='-m "not kafka and not tools" --ignore tests/test_image.py --ignore tests/helm $(ARGS)'

test-engines: $(READY) ## Run the examples for Flink and Spark, a download of 700 MB (ARGS go to pytest)
	@$(BIN)/python -m pytest $(ARGS) tests/examples/engines/run.py

soak: $(READY) $(COMPILED) ## Inject random faults into Kafka, simulator and bridge, and check the result (ARGS="--minutes 10 --seed 7")
	@$(BIN)/python -m tests.programs.soak $(ARGS)

bench: $(READY) $(COMPILED) ## Compare the bridge with a simple implementation (ARGS="--full")
	@$(BIN)/python -m tests.programs.bench $(ARGS)

lint: $(READY)  ## Check style, import layers, and the schemas against those of every release
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports --no-logo --no-cache
	@$(BIN)/python -m tests.programs.evolution

types: $(READY) ## Check types
	@$(BIN)/mypy

format: $(READY) ## Fix style automatically
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

docs: $(READY)  ## Regenerate the references and the generated parts of the READMEs
	@$(BIN)/python -m tests.programs.docs.settings_table --write
	@$(BIN)/python -m tests.programs.docs.http_paths --write
	@$(BIN)/python -m tests.programs.docs.chart_values --write
	@$(BIN)/python -m tests.programs.docs.session_states --write
	@$(BIN)/python -m tests.programs.docs.fingerprints --write
	@$(BIN)/python -m tests.programs.docs.reference --write
	@$(BIN)/python -m tests.programs.docs.asyncapi --write

wheel: $(READY) ## Build the wheel into dist/
	@rm -rf dist && $(BIN)/python -m hatchling build -t wheel

wheel-check: wheel ## Install the wheel into an empty environment and run it
	@rm -rf .cache/wheel && $(PYTHON) -m venv .cache/wheel
	@.cache/wheel/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@.cache/wheel/bin/python -m pip install --quiet --disable-pip-version-check --no-deps dist/*.whl
	@cd .cache && wheel/bin/aries-bridge --version && wheel/bin/aries-bridge settings >/dev/null && wheel/bin/aries-bridge schemas list

LOCK := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --custom-compile-command 'make lock'
lock:           ## Resolve dependencies again (needs uv), for running, development and tests
	$(LOCK) -o requirements.lock pyproject.toml
	$(LOCK) --extra msk-iam -c requirements.lock -o requirements-msk-iam.lock pyproject.toml
	$(LOCK) --extra dev --group build -c requirements.lock -o requirements-dev.lock pyproject.toml
	$(LOCK) --extra dev --extra msk-iam --group test -c requirements-dev.lock -c requirements-msk-iam.lock -o requirements-test.lock pyproject.toml

clean:          ## Remove the virtual environment, builds and caches
	rm -rf $(VENV) $(NEWEST_VENV) $(COMPILED) dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
