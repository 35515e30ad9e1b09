# Everything is installed into $(VENV), and nothing outside this folder is changed.
#
#     make verify                     prove, refute or sample what is stated of KL
#     make test                       the tests that take seconds
#     make gpu                        compile the kernels for an H100 (Linux)
#     make ci                         all that must pass before a change lands
#     make verify PYTHON=python3.12   with an interpreter of your choice

VENV := .venv
PY := $(VENV)/bin/python
PYTEST := $(PY) -m pytest -n auto --maxprocesses 8 --dist loadgroup

.PHONY: verify test slow exhaustive gpu oldest core lint format ci clean FORCE

verify: $(VENV)/installed
	$(VENV)/bin/jaxdiv verify

test: $(VENV)/installed-test
	$(PYTEST) -m "not slow"

slow: $(VENV)/installed-test
	$(PYTEST) -m "slow and not exhaustive"

# All parameters of the slow sweeps: over an hour on two cores.
exhaustive: $(VENV)/installed-test
	$(PYTEST) -m slow

# Kernels compiled for an H100, which needs none but XLA's compiler for NVIDIA GPUs, of 4.4 GB.
gpu: $(VENV)/installed-gpu
	$(PYTEST) -m h100

# The core of the suite on the oldest versions that pyproject.toml allows, in .venv-oldest.
oldest:
	python=$$(PYTHON= scripts/find-python 3.11 3.11) && \
	    $(MAKE) VENV=.venv-oldest PYTHON="$$python" PINS="jax==0.10.2 jaxlib==0.10.2" core
core: $(VENV)/installed-test
	$(PYTEST) -m "core and not slow"

lint: $(VENV)/installed-test
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m pyright --pythonpath $(PY)

format: $(VENV)/installed-test
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

ci:
	bash .ci/run

clean:
	rm -rf .venv .venv-oldest .pytest_cache .ruff_cache .hypothesis

# What follows writes its target last, so that an interrupted installation is not taken for one.

# Holds the path of the interpreter behind the environment. Left as it is, and with it everything
# that was installed, unless PYTHON names another interpreter or the environment doesn't run.
$(VENV)/interpreter: FORCE
	@made=; if [ -s $@ ] && $(PY) -c "" 2>/dev/null; then made=$$(cat $@); fi; \
	if [ -n "$$made" ] && [ -z "$$PYTHON" ]; then exit 0; fi; \
	python=$$(scripts/find-python) || exit 1; \
	if [ "$$python" = "$$made" ]; then exit 0; fi; \
	echo "Making $(VENV) with $$python"; \
	rm -f $@ && rm -rf $(VENV) && "$$python" -m venv $(VENV) && echo "$$python" >$@

$(VENV)/installed: $(VENV)/interpreter pyproject.toml
	@echo "Installing jaxdiv into $(VENV): a few minutes the first time"
	$(PY) -m pip install --quiet --editable . $(PINS)
	@touch $@

$(VENV)/installed-test: $(VENV)/interpreter pyproject.toml
	@echo "Installing jaxdiv and what tests it into $(VENV): a few minutes the first time"
	$(PY) -m pip install --quiet --editable ".[test]" $(PINS)
	@touch $@

$(VENV)/installed-gpu: $(VENV)/installed-test
	@echo "Installing XLA's compiler for NVIDIA GPUs into $(VENV): a few minutes"
	$(PY) -m pip install --quiet --no-cache-dir --editable ".[test,cuda13]" $(PINS)
	@touch $@
