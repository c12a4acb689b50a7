# make demo   install into .venv, run the embedded study, recognise a ninth person, print table and page
# make test   install, then lint, types, import contract, tests; PYTEST='tests/fusion -x' for some of them
# make slow   install, then the tests that take longest, which `make test` leaves out, PYTEST or not; .ci/run does both
# make bench  install, then every benchmark; what each prints, runs/bench/NAME.json, a table of all ratios
# make docs   install, then the site in site/: a page that links to nothing ends it
PYTHON ?= python3
BIN := .venv/bin
BENCHMARKS := $(filter-out absent atwork common glovid miniature plain_fusion ratios scale_parts signals simulated_knobs simulated_sheet simulated_world textbook,$(basename $(notdir $(wildcard benchmarks/*.py))))

.PHONY: install demo test slow checks tests bench docs

install: .venv/installed

.venv/installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: install
	$(BIN)/plait demo --out runs/demo

# what tests start would compile plait anew each time
test slow: export PYTHONDONTWRITEBYTECODE =
test: install
	$(MAKE) -j2 checks tests
	@for name in chromium chromium-browser google-chrome; do ! command -v $$name >/dev/null || exit 0; done; echo "No page was tested, for there is no Chromium: \
	apt-get install chromium (Debian), dnf install chromium (Fedora), brew install --cask chromium (macOS)"

slow: install
	$(MAKE) tests MARK=slow

checks:
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# one process more than cores, for some tests wait
tests:
	OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses $$($(BIN)/python -c 'from plait.compute.machine import cores; print(cores() + 1)') --dist worksteal --durations 20 -m '$(or $(MARK),not slow)' $(PYTEST)

bench: install
	mkdir -p runs/bench
	failed=; for name in $(BENCHMARKS); do $(BIN)/python benchmarks/$$name.py --json runs/bench/$$name.json || failed="$$failed $$name"; done; \
	$(BIN)/python benchmarks/ratios.py runs/bench && test -z "$$failed" || { echo "failed:$$failed"; exit 1; }

docs: export NO_MKDOCS_2_WARNING = 1
docs: install
	$(BIN)/python docs/pages.py runs/docs
	$(BIN)/mkdocs build --quiet --strict --config-file runs/docs/mkdocs.yml
	@echo site/index.html
