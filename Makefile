# `make help` lists the main targets. Each target installs what it needs.
PYTHON ?= python3
PORT ?= 8787
ARCH ?= arm64
ENV ?= dev
EVENT ?= events/chat.json
AUTH ?= dev
USER ?= local
BIN := .venv/bin
SAM := .venv-sam/bin/sam
export SAM_CLI_TELEMETRY := 0

# The contract tests also run on DynamoDB Local if Java and Maven are installed. Otherwise they say what is missing.
DYNAMODB_LOCAL := $(if $(shell command -v java 2>/dev/null),$(if $(shell command -v mvn 2>/dev/null),.dynamodb-local/installed))

# The same for the tests of the JavaScript clients: they need npm.
CLIENTS := $(if $(shell command -v npm 2>/dev/null),tests/clients/node_modules/.installed)
NODE_BIN := tests/clients/node_modules/.bin

# A software bill of materials (CycloneDX) for each layer, from the layer's lock file.
SBOM := .aws-sam/sbom

.DEFAULT_GOAL := help
.PHONY: help run token test test-long test-clients lint bench build validate invoke deploy deploy-web models model-arns clean requirements web docs images

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

run: .venv/local ## run the local stack; PORT=8787 AUTH=dev|jwt|iam BRIDGE=172.17.0.1
	@$(BIN)/python -m local_stack --port $(PORT) --auth $(AUTH) $(if $(BRIDGE),--bridge $(BRIDGE))

token: .venv/local ## print a token for a local stack with AUTH=jwt; USER=local
	@$(BIN)/python -m local_stack.token --port $(PORT) "$(USER)"

test: .venv/dev .venv-sam/installed $(DYNAMODB_LOCAL) $(CLIENTS) ## run all tests that take minutes
	@$(BIN)/python -m pytest -m "not long and not clients" -n 3 --dist loadgroup

test-long: .venv/dev .venv-sam/installed ## run long tests; run end-to-end tests with CPU time in proportion to memory
	@$(BIN)/python -m pytest -m long
	@RATION_CPU=1 $(BIN)/python -m pytest -m "not long and not clients" tests/e2e

# Not in `make help`: tests with browsers, SDKs, builds of the SAM CLI, and Docker.
test-clients: .venv/dev .venv-sam/installed $(CLIENTS)
	@$(BIN)/python -m pytest -m "clients and not long" -rs -n 2 --dist loadgroup

lint: .venv/dev .venv-sam/installed $(CLIENTS) ## check with ruff, mypy, import-linter, tsc and cfn-lint, and for stale reference pages
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy
	@PYTHONPATH=layers/converse_stream:layers/streaming_runtime:. $(BIN)/lint-imports --no-logo --no-cache
	@$(REFERENCE) --check
	@$(if $(CLIENTS),$(NODE_BIN)/tsc --project web/client,echo "npm is not installed: the types of the browser client are not checked")
	@$(SAM) validate --lint

bench: .venv/dev ## run the benchmarks
	@for each in bench/*.py; do echo "$$each"; PYTHONPATH=.:layers/converse_stream:layers/streaming_runtime $(BIN)/python $$each || exit 1; done

build: .venv/dev .venv-sam/installed $(SBOM)/converse_stream.json $(SBOM)/streaming_runtime.json ## build for AWS, into .aws-sam; ARCH=arm64|x86_64
	@$(SAM) build --parameter-overrides Architecture=$(ARCH)

validate: .venv-sam/installed ## check template.yaml with SAM and cfn-lint
	@$(SAM) validate --lint

invoke: .venv/dev .venv-sam/installed ## send an event to the built functions under AWS's Lambda emulator; EVENT=events/chat.json
	@$(BIN)/python -m local_stack.emulator $(EVENT)

# Parameters of the command line replace all those of samconfig.toml. So we pass those of samconfig.toml too, first: the
# last value of a parameter is used.
define OVERRIDES
import shlex, sys
from samcli.lib.config.samconfig import SamConfig
given = SamConfig(".").get_all(["deploy"], "parameters", "$(ENV)").get("parameter_overrides", [])
every = [*([given] if isinstance(given, str) else given), *sys.argv[1:]]
print(shlex.join(["--parameter-overrides", *every] if every else []))
endef
export OVERRIDES

deploy: .venv/dev .venv-sam/installed ## deploy to your AWS account; ENV=dev|prod ARCH=arm64|x86_64
	@given=$$(.venv-sam/bin/python -c "$$OVERRIDES" $(if $(filter-out file,$(origin ARCH)),Architecture=$(ARCH)) $(PARAMETERS)) && \
	eval "set -- $$given" && $(SAM) build --config-env $(ENV) "$$@" && $(SAM) deploy --config-env $(ENV) "$$@"

# For a stack with a web host (docs/web-host.md): upload the page to its bucket with the AWS CLI.
OUTPUT = aws cloudformation describe-stacks --stack-name converse-stream-$(ENV) --output text \
  --query 'Stacks[0].Outputs[?OutputKey==`$(1)`].OutputValue'
deploy-web:
	@[ -n "$$($(call OUTPUT,Distribution))" ] || { echo "The stack converse-stream-$(ENV) has no web host: deploy it with WebHost=enabled"; exit 1; }
	rm -rf .aws-sam/web && mkdir -p .aws-sam/web && cp -r web/demo .aws-sam/web/page
	echo '{"functionUrl": "/", "apiUrl": "/"}' >.aws-sam/web/page/config.json
	@# Browsers revalidate each time. CloudFront caches everything until the invalidation.
	aws s3 sync .aws-sam/web "s3://$$($(call OUTPUT,WebBucket))" --delete --cache-control "max-age=0, s-maxage=31536000"
	aws cloudfront create-invalidation --distribution-id "$$($(call OUTPUT,Distribution))" --paths "/*"

MODELS = PYTHONPATH=layers/converse_stream $(BIN)/python -m tools.models
models: .venv/local ## compare the model catalog with Bedrock, with your AWS credentials; REGION=us-east-1
	@$(MODELS) compare $(if $(REGION),--region $(REGION))

model-arns: .venv/local .venv-sam/installed ## print the exact ModelArns of a deployment; ENV=dev|prod REGION=us-east-1 ACCOUNT=123456789012
	@given=$$(.venv-sam/bin/python -c "$$OVERRIDES" $(PARAMETERS)) && eval "set -- $$given" && { [ $$# -eq 0 ] || shift; } && \
	$(MODELS) arns $(if $(REGION),--region $(REGION)) $(if $(ACCOUNT),--account $(ACCOUNT)) -- "$$@"

clean: ## remove everything that was built and installed
	rm -rf .venv .venv-sam .dynamodb-local .aws-sam .node tests/clients/node_modules web/client/node_modules .mypy_cache .ruff_cache .pytest_cache .hypothesis

# Not in `make help`: update the lock files after a change in pyproject.toml.
COMPILE = $(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes pyproject.toml
requirements: .venv/dev
	$(COMPILE) --group dev -o requirements/dev.txt
	$(COMPILE) --group sam -o requirements/sam.txt
	for group in local converse-stream streaming-runtime bench-peers; do \
	  $(COMPILE) --group $$group -c requirements/dev.txt -o requirements/$$(echo $$group | tr - _).txt; done

# Not in `make help`: generate docs/reference from the code and template.yaml. `make lint` checks that it is up to date.
REFERENCE = PYTHONPATH=layers/converse_stream:layers/streaming_runtime:functions/stream $(BIN)/python -m tools.reference
docs: .venv/dev
	@$(REFERENCE)

# Not in `make help`: generate the client's types, and the bundles of the client and of the Markdown libraries for the
# demo page.
web: .venv/dev tests/clients/node_modules/.installed
	PYTHONPATH=layers/converse_stream $(BIN)/python web/protocol.py >web/client/protocol.d.ts
	$(NODE_BIN)/esbuild web/client/converse-stream.js --bundle --format=esm --charset=utf8 --log-level=warning \
	  --banner:js="// Generated by 'make web' from web/client." --outfile=web/demo/vendor/converse-stream.js
	cd tests/clients && echo 'export { Marked } from "marked"; export { default as DOMPurify } from "dompurify"' | \
	  node_modules/.bin/esbuild --bundle --format=esm --minify --charset=utf8 --legal-comments=inline \
	  --log-level=warning --banner:js="// Generated by 'make web' from marked and dompurify." \
	  --outfile=../../web/demo/vendor/markdown.js

# Not in `make help`: generate the animated picture of README.md from the demo page. Needs Chromium.
images: .venv/dev
	@PYTHONPATH=. $(BIN)/python docs/images/streaming.py

.venv/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed")'
	$(PYTHON) -m venv .venv || { rm -rf .venv; exit 1; } # otherwise an incomplete environment would remain

.venv/local: requirements/local.txt | .venv/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

.venv/dev: requirements/dev.txt | .venv/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@ .venv/local

$(SBOM)/%.json: requirements/%.txt | .venv/dev
	@mkdir -p $(@D)
	@$(BIN)/cyclonedx-py requirements $< --output-reproducible -o $@

.venv-sam/installed: requirements/sam.txt
	$(PYTHON) -m venv .venv-sam || { rm -rf .venv-sam; exit 1; }
	@# --no-deps: the lock file is complete, and pip reports a missing hash for a dependency with extras.
	.venv-sam/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r $<
	@touch $@

.dynamodb-local/installed: tests/contract/dynamodb_local/pom.xml
	rm -rf $(@D)
	mvn --quiet --batch-mode --strict-checksums --file $< dependency:copy-dependencies
	@touch $@

# The browser client uses its dependency from the node_modules of the tests.
tests/clients/node_modules/.installed: tests/clients/package-lock.json
	@node -e 'process.exit(+(process.versions.node.split(".")[0] < 20))' || \
	  { echo "The tests of the JavaScript clients need Node.js 20 or later; without npm they are skipped"; exit 1; }
	npm ci --prefix tests/clients --no-audit --no-fund --loglevel=error
	ln -sfn ../../tests/clients/node_modules web/client/node_modules
	@touch $@
