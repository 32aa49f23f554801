# Verbs for people; `make help` lists them. Each sets up what it needs.
PYTHON ?= python3
PORT ?= 8787
ARCH ?= arm64
ENV ?= dev
EVENT ?= events/chat.json
BIN := .venv/bin
SAM := .venv-sam/bin/sam
export SAM_CLI_TELEMETRY := 0

# The contract tests run on DynamoDB Local too where it can be had; elsewhere they say what is missing.
DYNAMODB_LOCAL := $(if $(shell command -v java 2>/dev/null),$(if $(shell command -v mvn 2>/dev/null),.dynamodb-local/installed))

.DEFAULT_GOAL := help
.PHONY: help run test test-long lint bench build validate invoke deploy clean requirements

help: ## list the verbs
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

run: .venv/local ## the whole system on this machine; PORT=8787
	@$(BIN)/python -m local_stack --port $(PORT)

test: .venv/dev .venv-sam/installed $(DYNAMODB_LOCAL) ## every test that ends in minutes
	@$(BIN)/python -m pytest -m "not long" -n 4 --dist loadgroup

test-long: .venv/dev ## soaks, long walks and big fuzzes
	@$(BIN)/python -m pytest -m long

lint: .venv/dev .venv-sam/installed ## ruff, mypy, cfn-lint
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy
	@$(SAM) validate --lint

bench: .venv/dev ## every claim about speed, beside what it is compared with
	@for each in bench/*.py; do echo "$$each"; PYTHONPATH=. $(BIN)/python $$each || exit 1; done

build: .venv/dev .venv-sam/installed ## what goes to AWS, into .aws-sam; ARCH=arm64|x86_64
	@$(SAM) build --parameter-overrides Architecture=$(ARCH)

validate: .venv-sam/installed ## template.yaml, by SAM and cfn-lint
	@$(SAM) validate --lint

invoke: .venv/dev .venv-sam/installed ## one event through AWS's Lambda emulator; EVENT=events/chat.json
	@$(BIN)/python -m local_stack.emulator $(EVENT)

deploy: .venv/dev .venv-sam/installed ## to your AWS account; ENV=dev|prod
	@$(SAM) build --config-env $(ENV) && $(SAM) deploy --config-env $(ENV)

clean: ## remove what was built and installed
	rm -rf .venv .venv-sam .dynamodb-local .aws-sam .mypy_cache .ruff_cache .pytest_cache .hypothesis

# Not a verb for newcomers: rewrites the lock files after a change in pyproject.toml.
COMPILE = $(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes pyproject.toml
requirements: .venv/dev
	$(COMPILE) --group dev -o requirements/dev.txt
	$(COMPILE) --group sam -o requirements/sam.txt
	for group in local chat streaming-runtime; do \
	  $(COMPILE) --group $$group -c requirements/dev.txt -o requirements/$$(echo $$group | tr - _).txt; done

.venv/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed")'
	$(PYTHON) -m venv .venv || { rm -rf .venv; exit 1; } # half an environment would count as made

.venv/local: requirements/local.txt | .venv/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

.venv/dev: requirements/dev.txt | .venv/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@ .venv/local

.venv-sam/installed: requirements/sam.txt
	$(PYTHON) -m venv .venv-sam || { rm -rf .venv-sam; exit 1; }
	@# --no-deps: the lock file is complete, and pip takes a dependency with extras for one without a hash.
	.venv-sam/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r $<
	@touch $@

.dynamodb-local/installed: tests/contract/dynamodb_local/pom.xml
	rm -rf $(@D)
	mvn --quiet --batch-mode --strict-checksums --file $< dependency:copy-dependencies
	@touch $@
