# One target a habit. PYTHON, TORCH and TORCH_INDEX may be set on the command line:
#   make install TORCH_INDEX=https://download.pytorch.org/whl/cpu    torch without CUDA, a much smaller download
#   make install TORCH_INDEX=https://download.pytorch.org/whl/cu130  torch for one version of CUDA
PYTHON ?= python3
TORCH ?= torch==2.13.0
TORCH_INDEX ?=
BIN := .venv/bin
SOURCES := src tests bench scripts
DOCS_PAGES := python3.11-doc sqlite3-doc debian-handbook git-doc

.PHONY: install test test-peers check format docs docs-pages demo constraints

install: $(BIN)/python
	$(BIN)/pip install $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) $(TORCH)
	$(BIN)/pip install -c constraints.txt -e '.[dev,peers]'

$(BIN)/python:
	$(PYTHON) -m venv .venv

test:
	$(BIN)/pytest -m "not peer"

test-peers:
	$(BIN)/pytest -m peer

check:
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/pyright
	$(BIN)/pytest -m "not peer"

format:
	$(BIN)/ruff format $(SOURCES)
	$(BIN)/ruff check --fix $(SOURCES)

docs:
	$(BIN)/python -m ropewalk.cli.reference > docs/cli.md.draft
	mv docs/cli.md.draft docs/cli.md
	$(BIN)/python bench/harness.py > docs/benchmarks.md.draft
	mv docs/benchmarks.md.draft docs/benchmarks.md

# The pages of recipes/docs.toml: manuals in HTML, as Debian 12 ships them.
docs-pages:
	$(if $(filter 0,$(shell id -u)),,sudo) apt-get install --yes --no-install-recommends $(DOCS_PAGES)

demo: install docs-pages
	$(BIN)/ropewalk run recipes/docs.toml

bench-%:
	$(BIN)/python bench/$*.py --out bench/results/$*.json

constraints:
	( sed -n '1,2p' constraints.txt; \
	  $(BIN)/pip freeze --exclude-editable | grep -v '^#' | sed 's/+[a-z0-9.]*$$//' ) > constraints.txt.draft
	mv constraints.txt.draft constraints.txt
