# make demo   builds its environment and runs the main job on real input
# make test   builds its environment and passes format, lint, types, imports and tests
# make soak   the full-size counts: kills, fuzzed files, races, flipped bits
# make bench  what is claimed of speed and memory

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CURATE := $(BIN)/curate
PIP := $(BIN)/pip --disable-pip-version-check --quiet install -c .ci/constraints.txt

.PHONY: demo test soak bench format schemas clean
.DELETE_ON_ERROR:

# Debian leaves venv's pip to a package of its own; virtualenv from PyPI brings one along.
$(BIN)/python:
	@$(PYTHON) -m venv $(VENV) 2>/dev/null || { rm -rf $(VENV); \
	  $(PYTHON) -m pip install --quiet --user --break-system-packages virtualenv && $(PYTHON) -m virtualenv -q $(VENV); }

$(VENV)/.base: pyproject.toml .ci/constraints.txt | $(BIN)/python
	@echo "installing assay into $(VENV) (once, a minute or two)"
	@$(PIP) -e '.[nlp]'
	@touch $@

$(VENV)/.test: $(VENV)/.base
	@echo "installing what the tests need (once)"
	@$(PIP) -e '.[nlp,review,train,test]'
	@$(BIN)/synth install-teacher --yes
	@command -v chromium >/dev/null || .ci/chromium
	@touch $@

STDLIB := $(shell $(PYTHON) -c 'import json, os; print(os.path.dirname(json.__file__).rpartition("/")[0])')

demo: $(VENV)/.base
	@rm -rf demo && mkdir demo
	@echo; echo "── 1. collect rows from the Python standard library on this machine"
	$(CURATE) collect code $(STDLIB) --out demo/stdlib --source python-stdlib --licence PSF-2.0 --training allowed --personal-data none
	@echo; echo "── 2. check and import a bilingual customer-support set, flaws and all"
	-$(CURATE) check curate/demo/support_zh.jsonl curate/demo/support_en.jsonl curate/demo/support_export.csv
	$(CURATE) import curate/demo/support_zh.jsonl curate/demo/support_en.jsonl curate/demo/support_export.csv --out demo/support --source qinghe-support --kind collect --licence Apache-2.0 --evidence curate/demo/README.md
	$(CURATE) collect chats curate/demo/chats.jsonl --out demo/chats --source qinghe-chats --licence Apache-2.0 --set min_score=3
	@echo; echo "── 3. profile"
	$(CURATE) profile demo/support demo/chats --report demo/support.html
	$(CURATE) profile demo/stdlib --report demo/stdlib.html
	@echo; echo "── 4. clean with the shipped recipe"
	$(CURATE) run clean --input demo/support --input demo/chats --input demo/stdlib --out demo/clean --report demo/report.html \
	  --set stages.near_duplicates.ngram=3 --set stages.near_duplicates.threshold=0.7
	@echo; echo "── 5. what was dropped, and why"
	$(CURATE) show demo/clean --dropped truncated --limit 3
	$(CURATE) show demo/clean --dropped copy --limit 2
	$(CURATE) show demo/clean --dropped near_duplicate --limit 2
	$(CURATE) why demo/clean support_zh.jsonl:40
	$(CURATE) diff demo/support demo/clean --limit 0
	$(CURATE) verify demo/clean
	$(CURATE) split demo/clean --out demo/final
	@echo; echo "── 6. export for a trainer"
	$(CURATE) export demo/final --format messages --out demo/train
	@echo; echo "open these in a browser:"; ls -1 $(CURDIR)/demo/*.html

test: $(VENV)/.test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	@command -v chromium >/dev/null || echo "no chromium here: the tests that open reports in a browser are left out"
	$(BIN)/pytest -n 2 --dist loadfile -m "not soak and not network and not gpu $$(command -v chromium >/dev/null || echo and not browser)"

soak: $(VENV)/.test
	$(BIN)/pytest -m soak

bench: $(VENV)/.test
	$(BIN)/python tests/bench/import_and_run.py
	$(BIN)/python tests/bench/near_defaults.py
	$(BIN)/python tests/bench/near_duplicates.py
	$(BIN)/python tests/bench/near_promises.py --million
	$(BIN)/python tests/bench/repeated_passages.py
	$(BIN)/python tests/bench/personal_data.py
	$(BIN)/python tests/bench/languages.py
	$(BIN)/python -m tests.bench.readability
	$(BIN)/python tests/bench/signals.py
	$(BIN)/python -m tests.bench.profiling
	$(BIN)/python -m tests.bench.synthesis
	$(BIN)/python -m tests.bench.train_plan
	$(BIN)/python -m tests.bench.review_server

format: $(VENV)/.test
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

schemas: $(VENV)/.base
	$(BIN)/python -m schemas.published && $(BIN)/python -m curate.published

clean:
	rm -rf $(VENV) demo build *.egg-info
