# How `sam build` makes a layer, for either architecture and without Docker: wheels are fetched, nothing is compiled
# to machine code. SAM runs one target for each layer in a copy of the layer's folder, and what the target leaves in
# ARTIFACTS_DIR becomes /opt. The template picks the architecture by the folder whose Makefile includes this file,
# so its parameter alone decides.
ROOT := $(abspath $(dir $(lastword $(MAKEFILE_LIST)))/../..)
UV ?= $(ROOT)/.venv/bin/uv
# The template's Python. Another one only serves to try the layers where that is not installed.
TARGET ?= 3.13
# pyenv's shims run the version that the variable names; elsewhere it changes nothing.
TARGET_PYTHON ?= $(shell PYENV_VERSION=$(TARGET) python$(TARGET) -c 'import sys; print(sys.executable)' 2>/dev/null)

OPT = $(ARTIFACTS_DIR)
PACKAGES = $(OPT)/python

# The service models that we call, of more than four hundred, and what botocore reads for any of them.
BOTOCORE_DATA := appconfigdata bedrock-agent-runtime bedrock-runtime dynamodb sts \
  _retry.json endpoints.json partitions.json sdk-default-configuration.json

# Of cffi, cryptography needs the machine code beside it.
COMPILERS := cffi pycparser

.PHONY: build-StreamingRuntimeLayer build-ChatLayer
build-StreamingRuntimeLayer: LOCK := streaming_runtime.txt
# Not /opt/python: the function or another layer may have packages of the same names, and they come first there.
build-StreamingRuntimeLayer: PACKAGES = $(OPT)/streaming-runtime
build-ChatLayer: LOCK := converse_stream.txt

# --system-certs: trust what pip trusts here, a company's own proxy included.
build-StreamingRuntimeLayer build-ChatLayer:
	@$(UV) pip install --quiet --system-certs --target "$(PACKAGES)" \
	  --python-version $(TARGET) --python-platform $(PLATFORM) \
	  --only-binary :all: --no-deps --require-hashes -r "$(ROOT)/requirements/$(LOCK)"
	@$(add-our-own)
	@$(drop-the-unused)
	@$(compile)

# A package goes beside the third-party ones, any other file to /opt itself.
define add-our-own
for name in *; do \
  case $$name in README.md) continue ;; esac; \
  if [ -e "$$name/__init__.py" ]; then cp -R "$$name" "$(PACKAGES)/"; else cp -R "$$name" "$(OPT)/"; fi; \
done
endef

define drop-the-unused
rm -rf "$(PACKAGES)/bin" "$(PACKAGES)/.lock" "$(PACKAGES)"/*.dist-info $(COMPILERS:%="$(PACKAGES)/%"); \
find "$(PACKAGES)" -type d \( -name __pycache__ -o -name tests \) -prune -exec rm -rf {} +; \
find "$(PACKAGES)" -type f \( -name '*.pyi' -o -name py.typed -o -name 'examples-1.json*' \
  -o -path '*/swagger_ui/*.js' -o -path '*/swagger_ui/*.css' \) -delete; \
if [ -d "$(PACKAGES)/botocore" ]; then \
  find "$(PACKAGES)/botocore/data" -mindepth 1 -maxdepth 1 $(BOTOCORE_DATA:%=! -name %) -exec rm -rf {} +; \
  rm -rf "$(PACKAGES)/boto3/data"; \
fi
endef

# /opt is read-only: without these files Lambda compiles every module again at each cold start. unchecked-hash,
# because packing changes the modification times that the usual kind is checked against.
define compile
if [ -n "$(TARGET_PYTHON)" ]; then \
  "$(TARGET_PYTHON)" -m compileall -qq --invalidation-mode unchecked-hash -s "$(OPT)" -p /opt "$(OPT)"; \
else \
  echo "No python$(TARGET) here to compile $(@:build-%=%): it has sources only, and its cold starts take longer."; \
fi
endef
