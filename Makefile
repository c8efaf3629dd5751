# Set-up, checks and tests. Needs Python 3.11 or later with venv, a C++ compiler and make.
# `make demo` and `make test` make whatever they need; nothing is installed by hand.

PYTHON ?= python3

VENV := .venv
ORACLE := .venv-oracle
GPTQ := .venv-gptq
CLIENTS := .venv-clients
OPENAI2 := .venv-openai2
READY := $(VENV)/.ready
ORACLE_READY := $(ORACLE)/.ready
GPTQ_READY := $(GPTQ)/.ready
CLIENTS_READY := $(CLIENTS)/.ready
NODE := tests/clients/node
NODE_READY := $(NODE)/node_modules/.ready
OPENAI2_READY := $(OPENAI2)/.ready
FROZEN := .venv-frozen
FROZEN_READY := $(FROZEN)/.ready
DESKTOP := .venv-desktop
DESKTOP_READY := $(DESKTOP)/.ready
# what a desktop app is tested on, if it is there (make screen)
SCREEN := $(shell command -v Xvfb >/dev/null && pkg-config --exists gobject-introspection-1.0 cairo && echo yes)
MTEB := .venv-mteb
MTEB_READY := $(MTEB)/.ready
BIN := $(VENV)/bin

# GCC 12 drops the stores into the AMX tile configuration, and llama.cpp then
# crashes in its first quantized product; see docs/install.md.
export CMAKE_ARGS ?= -DCMAKE_CXX_FLAGS=-fno-dse

# One group's tests: its environment, and what pytest is told. With AGAIN=yes, as in .ci/run, those of the
# group that fail run once more, alone, as with CPython's --rerun; if the group hangs, all of it does.
AGAIN ?=
define pytest
$(if $(AGAIN),timeout 45m) $(1)/bin/python -m pytest $(2) $(3) \
  $(if $(AGAIN),|| $(1)/bin/python -m pytest $(2) --last-failed)
endef

.PHONY: demo test test-core test-oracle test-gptq test-clients test-page test-frozen test-desktop browser screen check docs pull clean

demo: pull
	@mkdir -p build
	$(BIN)/gritlite embed examples/sentences.txt --model default -o build/sentences.npy --force
	$(BIN)/python examples/nearest.py examples/sentences.txt build/sentences.npy
	$(BIN)/gritlite chat --model default --temperature 0 --prompt "In one sentence: why do leaves look green?" </dev/null

test: test-core test-oracle test-gptq test-clients test-page test-frozen test-desktop

test-core: pull
	$(call pytest,$(VENV),tests --ignore=tests/oracle --ignore=tests/gptq --ignore=tests/clients \
	  --ignore=tests/frozen --ignore=tests/desktop,--numprocesses auto)

# torch and llama.cpp each bring a pool of OpenMP threads; while one waits by spinning, the
# other has no processor
test-oracle test-gptq test-clients: export OMP_WAIT_POLICY = passive

test-oracle: pull $(ORACLE_READY)
	$(call pytest,$(ORACLE),tests/oracle)

test-gptq: $(GPTQ_READY)
	$(call pytest,$(GPTQ),tests/gptq)

test-clients: pull $(CLIENTS_READY) $(OPENAI2_READY) $(NODE_READY) $(MTEB_READY)
	$(call pytest,$(CLIENTS),tests/clients --ignore=tests/clients/openai2 \
	  --ignore=tests/clients/page --ignore=tests/clients/mteb)
	$(call pytest,$(OPENAI2),tests/clients/openai2)
	$(call pytest,$(MTEB),tests/clients/mteb)

# the server's page, in a browser that pip cannot install
test-page: $(CLIENTS_READY)
	@if command -v chromium && command -v chromedriver; \
	then $(call pytest,$(CLIENTS),tests/clients/page); \
	else echo "NOT RUN: tests of the server's page need Chromium: run  make browser  as root"; fi

# an app with gritlite inside, in a root folder without Python
test-frozen: pull $(FROZEN_READY)
	$(call pytest,$(VENV),tests/frozen)

# examples of desktop apps, on a screen that nobody sees; pip builds PyGObject from system libraries
test-desktop: pull $(if $(SCREEN),$(DESKTOP_READY))
	@if [ -n "$(SCREEN)" ]; \
	then $(call pytest,$(DESKTOP),tests/desktop); \
	else echo "NOT RUN: tests of desktop apps need Xvfb and libraries: run  make screen  as root"; fi

browser:
	apt-get update --quiet=2
	DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends --quiet=2 \
	  chromium chromium-driver fonts-noto-core

# Xvfb, what Qt, Tk and WebKitGTK need, and what pip builds PyGObject with
screen:
	apt-get update --quiet=2
	DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends --quiet=2 \
	  xvfb fonts-noto-core libegl1 libgl1 libxkbcommon-x11-0 libxcb-cursor0 libxcb-icccm4 \
	  libxcb-image0 libxcb-keysyms1 libxcb-randr0 libxcb-render-util0 libxcb-shape0 \
	  python3-tk gir1.2-webkit2-4.1 libgirepository1.0-dev libcairo2-dev pkg-config

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python scripts/cli_docs.py --check

docs: $(READY)
	$(BIN)/python scripts/cli_docs.py

pull: $(READY)
	$(BIN)/gritlite pull base
	$(BIN)/gritlite pull default

clean:
	rm -rf $(VENV) $(ORACLE) $(GPTQ) $(CLIENTS) $(OPENAI2) $(MTEB) $(FROZEN) $(DESKTOP) \
	  $(NODE)/node_modules build dist

# pip keeps the wheel of llama-cpp-python that it builds (a few minutes), so that the
# second environment, or a second clone, takes it from there.
$(READY): pyproject.toml requirements/dev.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --requirement requirements/dev.txt
	$(BIN)/python -m pip install --quiet --editable ".[hub,parquet,rag,serve]"
	touch $@

$(ORACLE_READY): pyproject.toml requirements/dev.txt requirements/oracle.txt $(READY)
	$(PYTHON) -m venv $(ORACLE)
	$(ORACLE)/bin/python -m pip install --quiet torch==2.13.0
	$(ORACLE)/bin/python -m pip install --quiet --requirement requirements/oracle.txt
	$(ORACLE)/bin/python -m pip install --quiet --editable ".[hub,parquet]"
	touch $@

$(FROZEN_READY): pyproject.toml requirements/dev.txt requirements/frozen.txt $(READY)
	$(PYTHON) -m venv $(FROZEN)
	$(FROZEN)/bin/python -m pip install --quiet --requirement requirements/frozen.txt
	$(FROZEN)/bin/python -m pip install --quiet --constraint requirements/dev.txt --editable ".[rag,serve]"
	touch $@

# an environment that lies over others: what it has not is taken from there
define over
$(PYTHON) -m venv $(1)
for lower in $(2); do \
  echo "import site; site.addsitedir('$$(echo $(CURDIR)/$$lower/lib/python*/site-packages)')"; \
done > $$(echo $(1)/lib/python*/site-packages)/lower.pth
endef

$(DESKTOP_READY): requirements/desktop.txt $(READY)
	$(call over,$(DESKTOP),$(VENV))
	$(DESKTOP)/bin/python -m pip install --quiet --no-deps --requirement requirements/desktop.txt
	touch $@

# GPTQModel asks for a numpy of its own
$(GPTQ_READY): requirements/gptq.txt $(ORACLE_READY)
	$(call over,$(GPTQ),$(ORACLE))
	$(GPTQ)/bin/python -m pip install --quiet --no-deps --requirement requirements/gptq.txt
	touch $@

$(CLIENTS_READY): pyproject.toml requirements/dev.txt requirements/clients.txt $(READY)
	$(PYTHON) -m venv $(CLIENTS)
	$(CLIENTS)/bin/python -m pip install --quiet --requirement requirements/clients.txt
	$(CLIENTS)/bin/python -m pip install --quiet --editable ".[hub,rag,serve,langchain,llama-index,chromadb]"
	touch $@

# node and npm come from the environment, as a wheel
$(NODE_READY): $(NODE)/package.json $(NODE)/package-lock.json $(CLIENTS_READY)
	PATH=$(CURDIR)/$(CLIENTS)/bin:$$PATH $(CLIENTS)/bin/npm ci --prefix $(NODE) --silent
	touch $@

# LlamaIndex's client of chats asks for openai 2, others for openai 3
$(OPENAI2_READY): requirements/openai2.txt $(CLIENTS_READY)
	$(call over,$(OPENAI2),$(CLIENTS))
	$(OPENAI2)/bin/python -m pip install --quiet --no-deps --requirement requirements/openai2.txt
	touch $@

# mteb needs torch, and its encoder for OpenAI's interface that client
$(MTEB_READY): $(ORACLE_READY) $(CLIENTS_READY)
	$(call over,$(MTEB),$(ORACLE) $(CLIENTS))
	touch $@
