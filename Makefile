# Set-up, checks and tests. Needs Python 3.11 or later with venv, a C++ compiler and make.
# `make demo` and `make test` make whatever they need; nothing is installed by hand.

PYTHON ?= python3

VENV := .venv
ORACLE := .venv-oracle
GPTQ := .venv-gptq
READY := $(VENV)/.ready
ORACLE_READY := $(ORACLE)/.ready
GPTQ_READY := $(GPTQ)/.ready
BIN := $(VENV)/bin

# GCC 12 drops the stores into the AMX tile configuration, and llama.cpp then
# crashes in its first quantized product; see docs/install.md.
export CMAKE_ARGS ?= -DCMAKE_CXX_FLAGS=-fno-dse

.PHONY: demo test test-core test-oracle test-gptq check docs pull clean

demo: pull
	@mkdir -p build
	$(BIN)/gritlite embed examples/sentences.txt --model default -o build/sentences.npy --force
	$(BIN)/python examples/nearest.py examples/sentences.txt build/sentences.npy
	$(BIN)/gritlite chat --model default --temperature 0 --prompt "In one sentence: why do leaves look green?" </dev/null

test: test-core test-oracle test-gptq

test-core: pull
	$(BIN)/python -m pytest tests --ignore=tests/oracle --ignore=tests/gptq --numprocesses auto

# torch and llama.cpp each bring a pool of OpenMP threads; while one waits by spinning, the
# other has no processor
test-oracle: pull $(ORACLE_READY)
	OMP_WAIT_POLICY=passive $(ORACLE)/bin/python -m pytest tests/oracle

test-gptq: $(GPTQ_READY)
	OMP_WAIT_POLICY=passive $(GPTQ)/bin/python -m pytest tests/gptq

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
	rm -rf $(VENV) $(ORACLE) $(GPTQ) build dist

# pip keeps the wheel of llama-cpp-python that it builds (a few minutes), so that the
# second environment, or a second clone, takes it from there.
$(READY): pyproject.toml requirements/dev.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --requirement requirements/dev.txt
	$(BIN)/python -m pip install --quiet --editable ".[hub,parquet,rag]"
	touch $@

$(ORACLE_READY): pyproject.toml requirements/dev.txt requirements/oracle.txt $(READY)
	$(PYTHON) -m venv $(ORACLE)
	$(ORACLE)/bin/python -m pip install --quiet torch==2.13.0
	$(ORACLE)/bin/python -m pip install --quiet --requirement requirements/oracle.txt
	$(ORACLE)/bin/python -m pip install --quiet --editable ".[hub,parquet]"
	touch $@

# GPTQModel asks for a numpy of its own, so its environment lies over the other: what it has not
# is taken from there
$(GPTQ_READY): requirements/gptq.txt $(ORACLE_READY)
	$(PYTHON) -m venv $(GPTQ)
	echo "import site; site.addsitedir('$$(echo $(CURDIR)/$(ORACLE)/lib/python*/site-packages)')" \
	  > $$(echo $(GPTQ)/lib/python*/site-packages)/oracle.pth
	$(GPTQ)/bin/python -m pip install --quiet --no-deps --requirement requirements/gptq.txt
	touch $@
