# `make demo` runs the main job, `make test` the tests; both set up first. `make test-integrations` tests the losses
# inside nnU-Net, MONAI and Lightning, which it installs apart.
PYTHON ?= python3
SPINELOSS := .venv/bin/spineloss
DEMO := build/demo

.PHONY: setup demo test test-integrations docs example fuzz

setup: .venv/.ready

# Python compiles what is imported when it is first imported: compiling all that is installed takes a minute.
PIP := .venv/bin/pip install --quiet --disable-pip-version-check --no-compile --constraint constraints.txt

.venv/.ready: pyproject.toml constraints.txt $(wildcard src/spineloss/kernels/c/*.[ch])
	$(PYTHON) -m venv .venv
	$(PIP) torch
	$(PIP) --editable '.[study,trackers,test,docs]'
	touch $@

# DATA=folder runs the same study on your own volumes.
demo: setup
ifdef DATA
	$(SPINELOSS) data check "$(DATA)"
	$(SPINELOSS) study run demo --data "$(DATA)" --output $(DEMO)/study-own
	$(SPINELOSS) study report $(DEMO)/study-own
else
	$(SPINELOSS) data phantom $(DEMO)/phantom
	$(SPINELOSS) data check $(DEMO)/phantom
	$(SPINELOSS) study run demo --data $(DEMO)/phantom --output $(DEMO)/study
	$(SPINELOSS) study report $(DEMO)/study
endif

test: setup
	.venv/bin/ruff check .
	.venv/bin/mypy
	.venv/bin/pytest --numprocesses=logical --maxprocesses=4 --dist=loadfile --no-loadscope-reorder --durations=10

# The losses inside nnU-Net, MONAI and Lightning, in an environment of their own.
test-integrations:
	PYTHON=$(PYTHON) tests/integrations/run.sh

# The site, in build/site: open build/site/index.html.
docs: setup
	.venv/bin/sphinx-build --quiet --fail-on-warning --keep-going docs build/site

# Mutated volumes, studies, texts, caches and kernel calls: a result or one sentence. MINUTES=120 for a night,
# INPUTS=1700 for so many of each of the six subjects.
MINUTES ?= 2
fuzz: setup
	.venv/bin/python tests/fuzz/campaign.py $(if $(INPUTS),--inputs $(INPUTS),--minutes $(MINUTES))

# The finished page that the documentation shows, and its picture. The page names no folder of the machine that made it.
EXAMPLE := build/example/lumbar-phantom
example: setup
	$(SPINELOSS) data phantom build/example/phantom --cases 20
	$(SPINELOSS) study run studies/example.yaml --output $(EXAMPLE)
	sed 's#^data: .*#data: ../phantom#' $(EXAMPLE)/study.yaml > $(EXAMPLE)/study.new && mv $(EXAMPLE)/study.new $(EXAMPLE)/study.yaml
	$(SPINELOSS) study report $(EXAMPLE) --output docs/example/report.html
	.venv/bin/python docs/generators/screenshot.py docs/example/report.html docs/pictures
