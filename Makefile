# make preview     the recorded figures and score card, in two minutes: every recorded notebook is run, nothing is trained;
#                  they go to build/preview/PRESET
# make figures [PRESET=smoke|laptop|desktop|paper]   run the paper's notebooks, 00 to 07, in order; figures and score card
#                  go to build/PRESET/figures
# make figures-all [PRESET=...]   our own notebooks, 08 to 12, too: at laptop where PRESET is desktop
# make publish [PRESET=...]   check that run, then copy it to figures/PRESET and data/recorded/PRESET, which are committed
# make lint        ruff, and the rules of language over README, notebooks and docs
# make test        lint, mypy, the tests with doctests, and every notebook at the smallest preset
# make test-portable   the tests on other processors' code paths (x86-64): AVX2 alone, and no compiled passes
# make test-browser   every notebook in JupyterLab, and the playground, in a headless Chromium; screenshots in build/browser
# make lab         JupyterLab on the notebook to start with: for this machine alone, with a token of its own
# make notebooks   the .ipynb anew from the .py, executed: the paper's at desktop, our own at laptop
# make book        the site with all pages, notebooks and the playground; offline, build/book/index.html
# make report      the replication report, every number and figure from the record: build/report/report.pdf
# make playground  a page with the recorded decoders and a live annealer, for any browser: build/playground/index.html
# make bench       the measurements in benchmarks/, written to benchmarks/RESULTS.md
# make clean       remove build/ and, after asking (or with YES=1), every artifact of the store
# make .venv       the environment alone: exactly requirements.lock, and this package from its folder
#
# Each target first builds .venv where it is missing, was interrupted, or is older than the lock.

PYTHON ?= python3
PRESET ?= $(or $(EVAE_PRESET),desktop)
PY := .venv/bin/python
EVAE := .venv/bin/evae
READY := .venv/.ready
# Tests never touch the reader's own store or figures.
TEST := build/test

.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: .venv preview figures figures-all publish test test-portable test-browser lint types lab notebooks book playground report bench clean

.venv: $(READY)

# What the lock pins is installed by its hashes; first, where pip has it at hand, torch without CUDA. The last line adds
# this package, and what is pinned nowhere because it differs from machine to machine: the CUDA libraries that torch
# itself names by exact versions.
# The stamp is written last and removed first, so an environment that was interrupted never counts as ready.
$(READY): requirements.lock requirements-cpu.lock pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) is not found; say which one: make PYTHON=/path/to/python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed, $(PYTHON) is " + sys.version.split()[0] + "; say which one: make PYTHON=/path/to/python3.12")'
	@echo "building .venv from requirements.lock (a few minutes, mostly download)"
	@rm -f $@
	$(PYTHON) -m venv --clear .venv
	@$(PY) -m pip --disable-pip-version-check install --quiet --require-hashes --no-deps --no-index \
		--requirement requirements-cpu.lock 2>/dev/null || true
	$(PY) -m pip --disable-pip-version-check install --quiet --require-hashes --no-deps --requirement requirements.lock
	$(PY) -m pip --disable-pip-version-check install --quiet --no-build-isolation --editable ".[companion,deepspin,test,book]"
	@touch $@

# Without a preset that was asked for: the record of the largest lattice that holds a notebook.
preview: $(READY)
	$(EVAE) preview $(if $(filter command environment,$(origin PRESET)),--preset $(PRESET))

figures: $(READY)
	$(EVAE) figures --preset $(PRESET)

figures-all: $(READY)
	$(EVAE) figures --all --preset $(PRESET)

publish: $(READY)
	$(EVAE) publish --preset $(PRESET)

test: lint types
	rm -rf $(TEST)
	OMP_NUM_THREADS=1 $(PY) -m pytest --doctest-modules -n 2 --dist worksteal tests evae_core evae_companion
	EVAE_PRESET=smoke EVAE_PROGRESS=lines EVAE_STORE="$(CURDIR)/$(TEST)/store" EVAE_FIGURES="$(CURDIR)/$(TEST)/figures" \
		EVAE_REQUESTS="$(CURDIR)/$(TEST)/requests" OMP_NUM_THREADS=1 $(PY) -m pytest -n 2 --dist loadfile \
		--nbval-lax --nbval-current-env --nbval-cell-timeout=600 notebooks
	EVAE_TEST_RUN="$(CURDIR)/$(TEST)" $(PY) -m pytest tests/notebooks/test_preview.py

# Numba, torch, oneDNN and our C++ each choose their instructions by the processor. CXX=false: no compiler works.
AVX2 := NUMBA_CPU_NAME=haswell ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 \
	CXX='sh -c "exec c++ \"$$@\" -march=haswell" c++'
UNCOMPILED := $(patsubst %,tests/%.py,core/test_annealing companion/test_sweeps core/test_fused core/test_step \
	companion/test_cli notebooks/test_notebooks companion/test_publish)
test-portable: $(READY)
	$(AVX2) OMP_NUM_THREADS=1 $(PY) -m pytest --doctest-modules -n 2 --dist worksteal tests evae_core evae_companion
	CXX=false OMP_NUM_THREADS=1 $(PY) -m pytest -n 2 $(UNCOMPILED)

# Playwright and its browser are large, few need them, and the browser comes from Playwright's own address: not in the lock.
# EVAE_CHROMIUM names a Chromium that is there already, and nothing is loaded down.
test-browser: $(READY)
	$(PY) -m pip --disable-pip-version-check install --quiet --no-build-isolation --editable ".[companion,deepspin,test,browser]"
	@[ -n "$$EVAE_CHROMIUM" ] || $(PY) -m playwright install --only-shell chromium
	EVAE_BROWSER=1 OMP_NUM_THREADS=1 $(PY) -m pytest -rP -n 2 --dist worksteal tests/notebooks/test_browser.py tests/repository/test_playground.py \
		tests/repository/test_frames.py

# Code by ruff; prose by the rules of test_language.py and, where it is installed (extra "prose"), by proselint.
lint: $(READY)
	$(PY) -m ruff check
	$(PY) -m pytest -q -rN tests/repository/test_language.py

types: $(READY)
	$(PY) -m mypy

# JupyterLab refuses root unless it is told so; in a container there is often no other user.
lab: $(READY)
	$(PY) -m jupyter lab --ServerApp.ip=127.0.0.1 --ServerApp.allow_remote_access=False \
		$(if $(filter 0,$(shell id -u)),--allow-root) \
		--ServerApp.root_dir="$(CURDIR)/notebooks" --LabApp.default_url=/lab/tree/00_start_here.ipynb

notebooks: $(READY)
	$(EVAE) notebooks

# Anew each time: a page that is not read again does not repeat its warnings.
book: playground
	rm -rf build/book build/doctrees build/jupyter_execute
	$(PY) -m sphinx -q -W --keep-going -c docs -d build/doctrees . build/book
	@echo "the site: build/book/index.html"

# Typst is one wheel with fonts in it, which few need: not in the lock.
report: $(READY)
	$(PY) -m pip --disable-pip-version-check install --quiet --no-build-isolation --editable ".[companion,deepspin,report]"
	$(PY) docs/report/report.py

playground: $(READY)
	$(PY) docs/playground/build.py

bench: $(READY)
	$(PY) benchmarks/report.py

clean: $(READY)
	rm -rf build .pytest_cache .ruff_cache .mypy_cache .hypothesis
	$(EVAE) clean $(if $(YES),--yes)
