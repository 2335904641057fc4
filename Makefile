# Everything runs in .venv, made here from the machine's python3: no root, no Docker, no key.

PYTHON3 ?= python3
PORT ?= 8000
CONVERSATIONS ?= 1000
SECONDS ?= 600
ROUNDS ?= 50
NOTIFIER ?= redis
WORKERS ?= 3
DATABASES ?= sqlite postgres
VENV := .venv
PYTHON := $(VENV)/bin/python
# Many tests wait for a process or a server, so three workers are what two cores can do. Chromium leaves less of them.
PYTEST = $(PYTHON) -m pytest -n $(WORKERS) --dist worksteal
PIP := $(PYTHON) -m pip --disable-pip-version-check -qq
REQUIREMENTS := pyproject.toml constraints.txt
MODULES := frontend/node_modules/.package-lock.json
CLIENTS := tests/clients/node_modules/.package-lock.json
export PYTHONUNBUFFERED := 1

.PHONY: help demo demo-data test sqlite postgres fast browser frontend proxy chaos kills soak attack lint lint-frontend format openapi bench clean

help:
	@echo "make demo     serve the example site (PORT=$(PORT)), with users and transcripts to look at"
	@echo "make demo-data  add CONVERSATIONS=$(CONVERSATIONS) generated conversations to it, also to its search and statistics"
	@echo "make test     run the tests on SQLite, then on PostgreSQL; WORKERS=$(WORKERS) at once (make sqlite, make postgres: one of them)"
	@echo "make fast     run the tests that start no process and do not sleep, on SQLite"
	@echo "make browser  run the browser tests; needs Chromium, openssl, Node.js 20 and npm"
	@echo "make frontend build the browser module from its source; needs Node.js 20 and npm"
	@echo "make proxy    run the tests behind nginx and pgbouncer; needs both, curl and openssl"
	@echo "make kills    kill a worker at twelve points in the life of a tool's call (ROUNDS=$(ROUNDS))"
	@echo "make chaos    break everything at random and judge what was seen (SECONDS=$(SECONDS), NOTIFIER=$(NOTIFIER) or polling, notify)"
	@echo "make soak     have 300 clients come and go for SECONDS=$(SECONDS), and judge what was seen and what is left in the processes"
	@echo "make attack   exhaust a live instance in every known way while another user goes on working (SECONDS=20 for each; ATTACKS=turns,…)"
	@echo "make lint     check style, format, types and the layers of imports"
	@echo "make lint-frontend  the same for the browser module, and run its tests without a browser"
	@echo "make openapi  write streaming_chat/openapi.json after a change of the API"
	@echo "make bench    measure the cost of a streamed token and of a request"
	@echo "make clean    remove what these made"

demo: $(VENV)/demo.stamp
	@PORT=$(PORT) $(PYTHON) -m chatproject.demo

demo-data: $(VENV)/demo.stamp
	@$(PYTHON) -m chatproject.demo --conversations $(CONVERSATIONS)

test: $(DATABASES)

sqlite: $(VENV)/test.stamp
	env -u DATABASE_URL $(PYTEST)

postgres: $(VENV)/test.stamp
	$(PYTHON) -m tests.postgres $(PYTEST) -m "not browser and not nginx and not once and not any_database"

fast: $(VENV)/test.stamp
	env -u DATABASE_URL $(PYTEST) -m fast

browser: WORKERS = 2
browser: $(VENV)/test.stamp $(MODULES) $(CLIENTS)
	$(PYTEST) -m browser tests/browser

frontend: $(MODULES)
	npm --prefix frontend run build

proxy: $(VENV)/test.stamp
	$(PYTEST) -m nginx

chaos: $(VENV)/test.stamp
	$(PYTHON) -m tests.chaos --seconds $(SECONDS) --notifier $(NOTIFIER)

kills: $(VENV)/test.stamp
	$(PYTHON) -m tests.chaos.kills --rounds $(ROUNDS)

soak: $(VENV)/test.stamp
	$(PYTHON) -m tests.chaos --calm --seconds $(SECONDS) --users 100 --tabs 3

attack: SECONDS = 20
attack: SLACK = 1
attack: $(VENV)/test.stamp
	$(PYTHON) -m tests.attack --seconds $(SECONDS) --slack $(SLACK) --only "$(ATTACKS)"

lint: $(VENV)/lint.stamp
	$(PYTHON) -m ruff check
	$(PYTHON) -m ruff format --check
	$(PYTHON) -m mypy
	$(VENV)/bin/lint-imports

lint-frontend: $(MODULES)
	npm --prefix frontend run check
	npm --prefix frontend test

format: $(VENV)/lint.stamp
	$(PYTHON) -m ruff check --fix
	$(PYTHON) -m ruff format

openapi: $(VENV)/test.stamp
	$(PYTHON) -m docs.openapi

bench: $(VENV)/test.stamp
	$(PYTHON) -m benchmarks.run

clean:
	rm -rf $(VENV) frontend/node_modules tests/clients/node_modules build dist staticfiles .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis demo.sqlite3* demo.secret
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/pip.stamp: constraints.txt
	@command -v $(PYTHON3) >/dev/null || { echo "make: needs Python 3.11 or newer; there is no '$(PYTHON3)' on PATH." >&2; exit 1; }
	@$(PYTHON3) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "make: needs Python 3.11 or newer; '$(PYTHON3)' is $$($(PYTHON3) --version). Try: make PYTHON3=python3.13" >&2; exit 1; }
	@$(PYTHON3) -c 'import venv, ensurepip' || \
		{ echo "make: '$(PYTHON3)' cannot make virtual environments; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	@echo "Making $(VENV); the first time takes a minute or two."
	@$(PYTHON3) -m venv $(VENV)
	@$(PIP) install --upgrade --constraint constraints.txt pip
	@touch $@

$(VENV)/demo.stamp: $(VENV)/pip.stamp $(REQUIREMENTS)
	@echo "Installing what the example site needs."
	@$(PIP) install --constraint constraints.txt --build-constraint constraints.txt --editable '.[all]' --group demo
	@touch $@

$(VENV)/test.stamp: $(VENV)/demo.stamp
	@echo "Installing what the tests need."
	@$(PIP) install --constraint constraints.txt --group test
	@touch $@

$(MODULES): frontend/package-lock.json
	@command -v npm >/dev/null || { echo "make: needs Node.js 20 or newer, with npm on PATH." >&2; exit 1; }
	npm --prefix frontend ci
	@touch $@

$(CLIENTS): tests/clients/package-lock.json
	@command -v npm >/dev/null || { echo "make: needs Node.js 20 or newer, with npm on PATH." >&2; exit 1; }
	npm --prefix tests/clients ci
	@touch $@

$(VENV)/lint.stamp: $(VENV)/test.stamp
	@echo "Installing what the checks of style need."
	@$(PIP) install --constraint constraints.txt --group lint
	@touch $@
