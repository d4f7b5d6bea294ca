# Satellite: two commands are enough, `make demo` and `make up`. `make help` lists the rest.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help install demo up down status logs test report check check-types check-style check-page page \
	page-if-possible faults kafka bench evaluate secrets k8s-check clean

VENV := .venv
BIN := $(VENV)/bin
UV_VERSION := 0.13.9
# What was last installed; made anew when a file it depends on changes.
RUNTIME := $(VENV)/.installed-runtime
DEV := $(VENV)/.installed-dev
# What pytest wrote of the last run, for docs/TEST_RESULTS.md.
RESULTS := test-results
# Tests that need no whole system: two files at a time, each process with databases of its own. And the others.
SMALL := tests/unit tests/integration
WHOLE := tests/cluster tests/browser tests/faults
# What Satellite is measured against: environments of their own, as it needs other versions of what we use.
PEERS := .venv-peers/.installed .venv-mlserver/.installed

# The web page is built where there is Node; elsewhere a plain page takes its place. CI must have it.
PAGE := satellite/page/index.html
PAGE_SOURCES := $(shell find frontend -name node_modules -prune -o -type f ! -name '*.test.*' -print)
NODE_MODULES := frontend/node_modules/.installed
HAS_NODE := node -e 'const [a, b] = process.versions.node.split("."); process.exit(+a > 20 || +a == 20 && +b >= 19 ? 0 : 1)' 2>/dev/null
NO_NODE = { echo "Left out, as Node 20.19 or newer is needed: $@."; [ -z "$$CI" ]; }

help: ## this list
	@sed -n 's/^\([a-z0-9-]*\):[^#]*## /\1\t/p' $(MAKEFILE_LIST) | while IFS="$$(printf '\t')" read -r name text; do \
		printf '  make %-9s %s\n' "$$name" "$$text"; done

install: $(RUNTIME) ## create .venv with everything locked; the other targets do it when needed

demo: $(RUNTIME) page-if-possible ## start if needed, forecast a public time series, stop what was started
	@$(BIN)/satellite demo

up: $(RUNTIME) page-if-possible ## start the whole system and leave it running
	@$(BIN)/satellite up

down: ## stop it
	@if [ -x $(BIN)/satellite ]; then $(BIN)/satellite down; else echo "Not installed, so not running."; fi

status: $(RUNTIME) ## show every part
	@$(BIN)/satellite status

logs: $(RUNTIME) ## follow all logs; Ctrl-C ends it
	@$(BIN)/satellite logs --follow

test: $(DEV) page-if-possible ## all tests; ARGS="tests/unit -k jobs": those
	@sh tests/install_debian.sh
	@rm -rf $(RESULTS)
ifdef ARGS
	@$(BIN)/python -m pytest --junitxml=$(RESULTS)/tests.xml $(ARGS)
else
	@$(BIN)/python -m pytest --junitxml=$(RESULTS)/small.xml --numprocesses=2 --dist=loadfile $(SMALL); small=$$?; \
		$(BIN)/python -m pytest --junitxml=$(RESULTS)/whole.xml $(WHOLE) && exit $$small
endif

report: ## run all tests, and write docs/TEST_RESULTS.md
	@$(MAKE) --no-print-directory test || true
	@$(BIN)/python -m tests.report $(RESULTS)/*.xml

# Two at a time; what each says comes in one piece, where make can do that.
check: ## linters and type checkers, and the web page's own tests
	@$(MAKE) --no-print-directory -j2 $(if $(filter output-sync,$(.FEATURES)),-O) check-types check-page check-style

check-types: $(DEV)
	$(BIN)/basedpyright

check-style: $(DEV)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports

page: ## build the web page into satellite/page, if something has changed
	@if $(HAS_NODE); then $(MAKE) -s --no-print-directory $(PAGE); else $(NO_NODE); fi

page-if-possible:
	@$(MAKE) --no-print-directory page || { echo "warning: the web page was not built; a plain one is served."; [ -z "$$CI" ]; }

check-page:
	@if $(HAS_NODE); then $(MAKE) -s --no-print-directory $(NODE_MODULES) && cd frontend && npm run --silent check; else $(NO_NODE); fi

faults: $(DEV) ## kill, stop and restart every part under load, and check that no job is lost
	@$(BIN)/python -m tests.faults

kafka: $(DEV) ## start a Kafka on loopback for development; Ctrl-C ends it (needs Java and Maven)
	@$(BIN)/python -m tests.broker

bench: $(DEV) $(PEERS) ## compare Satellite with its peers, in about ten minutes
	@$(BIN)/python -m benchmarks

evaluate: $(RUNTIME) ## print the scores of all models; M4=FOLDER and NAB=FOLDER compute those that need them
	@$(BIN)/python -m models.training.scores $(if $(M4),--m4 '$(M4)') $(if $(NAB),--nab '$(NAB)')

secrets: ## make the passwords and tokens that compose.yaml reads; those that exist stay
	@sh configs/image/secrets.sh

k8s-check: $(DEV) ## apply every overlay of k8s/ to the API server of KUBECONFIG, which must have KubeRay
	@$(BIN)/python -m tests.k8s.check

clean: ## remove what can be made again; data stays (SATELLITE_HOME)
	@if [ -x $(BIN)/satellite ]; then $(BIN)/satellite down; fi
	rm -rf $(VENV) $(dir $(PEERS)) $(dir $(NODE_MODULES)) $(dir $(PAGE)) bench-results $(RESULTS) dist .pytest_cache .ruff_cache .hypothesis .import_linter_cache

$(BIN)/uv:
	@[ "$(OS)" != Windows_NT ] || { echo "error: Windows is not supported: use WSL 2."; exit 2; }
	@python=; for name in python3 python3.14 python3.13 python3.12 python3.11 python; do \
		if "$$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then python=$$name; break; fi; \
	done; \
	if [ -z "$$python" ]; then echo "error: Python 3.11 or newer is needed: install it (apt install python3, brew install python)."; exit 2; fi; \
	if ! "$$python" -c 'import ensurepip, venv' 2>/dev/null; then \
		echo "error: $$python lacks venv: apt install $$("$$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')"; exit 2; fi; \
	echo "Creating $(VENV) with $$($$python --version) ..."; \
	"$$python" -m venv $(VENV) && $(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

# Bytecode is compiled once here, or else by every one of Ray's processes at every start.
$(RUNTIME): uv.lock pyproject.toml | $(BIN)/uv
	@echo "Installing what uv.lock says ..."
	@$(BIN)/uv sync --frozen --inexact --no-dev --extra server --compile-bytecode
	@touch $@

$(DEV): uv.lock pyproject.toml | $(BIN)/uv
	@echo "Installing what uv.lock says, with the tools for development ..."
	@$(BIN)/uv sync --frozen --inexact --extra server --compile-bytecode
	@touch $@ $(RUNTIME)

$(NODE_MODULES): frontend/package.json frontend/package-lock.json
	@echo "Installing what frontend/package-lock.json says ..."
	@cd frontend && npm ci --silent --no-progress && touch node_modules/.installed

$(PAGE): $(NODE_MODULES) $(PAGE_SOURCES)
	@echo "Building the web page ..."
	@cd frontend && npm run --silent build
	@touch $@

# Where a peer cannot be installed, the comparison says so in its row and goes on.
.venv-%/.installed: benchmarks/environments/%/uv.lock benchmarks/environments/%/pyproject.toml | $(BIN)/uv
	@echo "Installing what Satellite is compared with ($*) ..."
	@UV_PROJECT_ENVIRONMENT=$(CURDIR)/.venv-$* $(BIN)/uv sync --project benchmarks/environments/$* --frozen \
		--quiet --compile-bytecode && touch $@ || echo "warning: not installed, and left out: $*"
