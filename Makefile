# make demo: the main job on the built-in data. make test: everything that must hold. Both set up .venv themselves.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: help demo test test-lowest lint format results questions bench bench-quick clean

help:
	@echo "make demo    plain, FETTLE and CROSS on LightGCN, on the built-in data"
	@echo "make test    all tests"
	@echo "make test-lowest the tests with the oldest versions that pyproject.toml allows, in .venv-lowest"
	@echo "make lint    ruff and mypy"
	@echo "make results the tables of RQ1 in docs/results; CROSSREC_DATA names the folder of tiktok/ and baby/; hours"
	@echo "make questions RQ2 to RQ7 and Figure 2 on TikTok, LightGCN and FREEDOM; a day"
	@echo "make bench   speed and memory against plain references, into runs/bench; bench-quick: the same, tiny"
	@echo "make format  put the code into its format"

$(VENV)/run: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e .
	@touch $@

$(VENV)/dev: $(VENV)/run
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	@touch $@

# Pages are tested in Debian's chromium. Where it cannot be had, these tests skip and say so.
$(VENV)/browser: $(VENV)/dev
	@command -v chromium >/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null \
		&& apt-get -qq update && apt-get -qq install -y --no-install-recommends chromium >/dev/null; } \
		|| echo "no chromium and no way to install it: the tests of pages will skip"
	@touch $@

demo: $(VENV)/run
	$(BIN)/crossrec compare --data synthetic --backbones lightgcn --seeds 0 --jobs 2 --out runs/demo

test: $(VENV)/browser
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto

# Old versions meet young ones of what they need themselves, whose deprecations are not ours.
test-lowest: $(VENV)/browser
	$(PYTHON) -m venv .venv-lowest
	.venv-lowest/bin/python -m pip install --quiet uv
	.venv-lowest/bin/uv pip install --quiet --python .venv-lowest/bin/python --resolution lowest-direct -e '.[dev]'
	OMP_NUM_THREADS=1 .venv-lowest/bin/python -m pytest -n auto -W default::DeprecationWarning

lint: $(VENV)/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Goes on where it was stopped.
results: $(VENV)/run
	$(BIN)/crossrec tune --data tiktok --backbones bpr lightgcn vbpr freedom --alignments none fettle cross \
		--space docs/results/space-tiktok.json --search grid --jobs 2 --out runs/tiktok
	$(BIN)/crossrec compare --data tiktok --backbones bpr lightgcn vbpr freedom --settings runs/tiktok/settings.json \
		--seeds 0 1 2 --jobs 2 --out runs/tiktok
	$(BIN)/crossrec compare --data tiktok --backbones sgl directau ncl grcn dualgnn slmrec lattice \
		--settings docs/results/tiktok-tuned.json --seeds 0 1 2 --jobs 2 --out runs/tiktok-more
	$(BIN)/crossrec compare --data baby --backbones bpr lightgcn sgl directau ncl \
		--settings docs/results/baby.json --seeds 0 1 2 --jobs 2 --out runs/baby

# One folder and strengths recorded throughout, so that the runs they have in common are trained once.
QUESTIONS := --data tiktok --backbones lightgcn freedom --settings docs/results/tiktok.json --seeds 0 1 2 \
	--record-strengths --jobs 2 --out runs/questions

questions: $(VENV)/dev
	$(BIN)/crossrec strengths $(QUESTIONS)
	$(BIN)/crossrec directions $(QUESTIONS)
	$(BIN)/crossrec ablate $(QUESTIONS)
	$(BIN)/crossrec popularity $(QUESTIONS) --alignments cna+cla fettle cross
	$(BIN)/crossrec visualize $(QUESTIONS)
	$(BIN)/crossrec robustness $(QUESTIONS)
	$(BIN)/crossrec sensitivity $(QUESTIONS)
	$(BIN)/crossrec report runs/questions

bench: $(VENV)/dev
	$(BIN)/python -m benchmarks --out runs/bench/bench
	$(BIN)/python -m benchmarks.growth --out runs/bench/growth
	$(BIN)/python -m benchmarks.graphs

bench-quick: $(VENV)/dev
	$(BIN)/python -m benchmarks --quick --out runs/bench/quick

format: $(VENV)/dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) .venv-lowest runs
