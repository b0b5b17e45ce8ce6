# make help lists the targets. Each sets up .venv where it is needed.
PYTHON ?= python3
GPU_PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

SECONDS ?= 270
SEED ?= 0

DATA ?= tiktok
BACKBONES ?= lightgcn freedom

.PHONY: help demo gpu-check test test-cluster test-lowest test-newest test-package mutate docs notebooks lock lint format results questions bench bench-quick torture clean

help:
	@echo "make demo         train LightGCN alone, with FETTLE and with CROSS on built-in data"
	@echo "make test         run all tests"
	@echo "make test-cluster run the tests that start a Ray cluster of two nodes (minutes)"
	@echo "make test-lowest  run all tests with the oldest versions that pyproject.toml allows, in .venv-lowest"
	@echo "make test-newest  the same with the newest versions, in .venv-newest"
	@echo "make test-package build wheel and sdist into dist, install and use both in fresh environments"
	@echo "make docs         build the documentation site into build/site"
	@echo "make notebooks    run the notebooks of examples/notebooks"
	@echo "make lock         write requirements.lock: all packages of a deployment with hashes"
	@echo "make mutate       plant small faults, 60 of each package, and list those that no test sees (an hour)"
	@echo "make lint         run ruff and mypy"
	@echo "make format       format the code"
	@echo "make bench        measure speed and memory against plain references, into runs/bench"
	@echo "make bench-quick  the same on tiny sizes"
	@echo "make gpu-check    check numbers, speed and waits on a GPU with the torch of GPU_PYTHON=$(GPU_PYTHON), six minutes"
	@echo "make torture      attack it: kills, full disks, damaged files, races, little memory, hostile requests"
	@echo "                  (SECONDS=$(SECONDS) of attacks, SEED=$(SEED))"
	@echo "make results      make the tables of RQ1 in docs/results (hours)"
	@echo "make questions    answer RQ2 to RQ7 and Figure 2, DATA=$(DATA) BACKBONES='$(BACKBONES)' (a day)"
	@echo "make clean        delete .venv, .venv-lowest and runs"
	@echo "results and questions need CROSSREC_DATA: the folder that holds tiktok/ and baby/"

$(VENV)/run: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e .
	@touch $@

$(VENV)/dev: $(VENV)/run
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	@touch $@

# The tests of pages use Debian's chromium. Without it they skip with a message.
$(VENV)/browser: $(VENV)/dev
	@command -v chromium >/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null \
		&& apt-get -qq update && apt-get -qq install -y --no-install-recommends chromium >/dev/null; } \
		|| echo "chromium is missing and cannot be installed: the tests of pages will skip"
	@touch $@

demo: $(VENV)/run
	$(BIN)/python examples/demo.py

test: $(VENV)/browser
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto

test-cluster: $(VENV)/dev
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[cluster]'
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 0 -m cluster tests/cluster

# Old packages use newer versions of their own dependencies, so their deprecation warnings are not errors here.
test-lowest: $(VENV)/browser
	$(PYTHON) -m venv .venv-lowest
	.venv-lowest/bin/python -m pip install --quiet uv
	.venv-lowest/bin/uv pip install --quiet --python .venv-lowest/bin/python --resolution lowest-direct -e '.[dev]'
	OMP_NUM_THREADS=1 .venv-lowest/bin/python -m pytest -n auto -W default::DeprecationWarning

test-newest:
	$(PYTHON) -m venv .venv-newest
	.venv-newest/bin/python -m pip install --quiet --upgrade -e '.[dev]'
	OMP_NUM_THREADS=1 .venv-newest/bin/python -m pytest -n auto -W default::DeprecationWarning

test-package: $(VENV)/dev
	$(BIN)/python tests/packaging/check_install.py dist

docs: $(VENV)/run
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[docs]'
	rm -rf build/site
	$(BIN)/python -m sphinx -W --keep-going -q -c docs -d build/doctrees . build/site

notebooks: $(VENV)/run
	$(BIN)/python tests/notebooks_runner.py

lock: $(VENV)/run
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --quiet --generate-hashes --universal --python-version 3.11 --no-header --no-emit-index-url \
		--constraint constraints.txt --extra serve --output-file requirements.lock pyproject.toml

# make mutate SAMPLE=200: more faults of each package; SEED=1: others. Results of earlier runs stay in mutants/.
mutate: $(VENV)/dev
	$(BIN)/python -m pip install --quiet mutmut==3.8.1
	OMP_NUM_THREADS=1 nice $(BIN)/python tests/mutation/score.py --sample $(or $(SAMPLE),60) --seed $(SEED)

lint: $(VENV)/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Continues after a stop.
results: $(VENV)/run
	$(BIN)/crossrec tune --data tiktok --backbones bpr lightgcn vbpr freedom --alignments none fettle cross \
		--space docs/results/space-tiktok.json --search grid --jobs 2 --out runs/tiktok
	$(BIN)/crossrec compare --data tiktok --backbones bpr lightgcn vbpr freedom --settings runs/tiktok/settings.json \
		--published paper --seeds 0 1 2 --jobs 2 --out runs/tiktok
	$(BIN)/crossrec compare --data tiktok --backbones sgl directau ncl grcn dualgnn slmrec lattice \
		--settings docs/results/tiktok-tuned.json --published paper --seeds 0 1 2 --jobs 2 --out runs/tiktok-more
	$(BIN)/crossrec compare --data tiktok --backbones lightgcn bpr directau freedom vbpr sgl ncl mgcn pgl gume \
		--alignments none prime --settings docs/results/tiktok.json --seeds 0 1 2 --jobs 2 --out runs/tiktok-prime
	$(BIN)/crossrec compare --data baby --backbones bpr lightgcn freedom vbpr --alignments none fettle cross prime \
		--baselines popularity itemknn ease content --published paper \
		--settings docs/results/baby.json --seeds 0 1 2 --jobs 2 --out runs/baby
	$(BIN)/crossrec compare --data sports --backbones bpr lightgcn freedom --alignments none prime \
		--published paper --settings docs/results/baby.json --seeds 0 --jobs 2 --out runs/sports

# make questions DATA=baby BACKBONES=freedom: the paper's own figures. One folder a data set, and --record-strengths for
# all, so that runs which several questions share are trained once.
QUESTIONS := --data $(DATA) --backbones $(BACKBONES) --settings docs/results/$(DATA).json --seeds 0 1 2 \
	--record-strengths --jobs 2 --out runs/questions-$(DATA)

questions: $(VENV)/dev
	$(BIN)/crossrec strengths $(QUESTIONS)
	$(BIN)/crossrec directions $(QUESTIONS)
	$(BIN)/crossrec ablate $(QUESTIONS)
	$(BIN)/crossrec popularity $(QUESTIONS) --alignments cna+cla fettle cross
	$(BIN)/crossrec visualize $(QUESTIONS)
	$(BIN)/crossrec robustness $(QUESTIONS)
	$(BIN)/crossrec sensitivity $(QUESTIONS)
	$(BIN)/crossrec report runs/questions-$(DATA)

bench: $(VENV)/dev
	$(BIN)/python -m benchmarks --out runs/bench/bench
	$(BIN)/python -m benchmarks.growth --out runs/bench/growth
	$(BIN)/python -m benchmarks.graphs

bench-quick: $(VENV)/dev
	$(BIN)/python -m benchmarks --quick --out runs/bench/quick

# Needs no network and no .venv: a rented machine has a python with a torch for its GPU. It says which packages are missing.
gpu-check:
	PYTHONPATH=$(CURDIR)/src $(GPU_PYTHON) -m benchmarks.gpu_check --out runs/gpu-check

torture: $(VENV)/dev
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 POLARS_MAX_THREADS=1 \
		$(BIN)/python -m benchmarks.torture --seconds $(SECONDS) --seed $(SEED)

format: $(VENV)/dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) .venv-lowest .venv-newest build dist runs
