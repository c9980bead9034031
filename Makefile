# make quickstart   builds .venv and goes the whole way on rendered scenes: train, evaluate, export, predict, report
# make test         builds .venv with the test tools and runs the fast tests (those in a browser where there is Chromium)
# make test-all     the same, then the slow tests too
PYTHON ?= python3
SEED ?= 0
RUN := runs/quickstart_seed$(SEED)
PY := .venv/bin/python
# Two processes; one that is done takes tests from the end of the other's.
PYTEST := $(PY) -m pytest -n 2 --dist=worksteal --durations=30 --durations-min=20

.PHONY: quickstart test test-all browser lint clean

quickstart: .venv/installed
	$(PY) main.py train --flagfile=configs/quickstart.flags --run_dir=$(RUN) --seed=$(SEED)
	$(PY) main.py evaluate --run_dir=$(RUN) --baseline
	$(PY) main.py export --run_dir=$(RUN)
	$(PY) tools/make_synthetic.py --output=$(RUN)/scene --train=0 --val=0 --test=1 --height=192 --width=384
	$(PY) main.py predict --run_dir=$(RUN)/export --input=$(RUN)/scene/test/rgb/0.jpg --output=$(RUN)/predictions/scene
	$(PY) main.py report --run_dir=$(RUN)

test: .venv/installed-dev browser
	$(PYTEST) -m "not slow"

test-all: test
	$(PYTEST) -m slow

# Tests of the pages in a browser skip themselves where there is none; one is installed where that is allowed.
browser:
	@command -v chromedriver >/dev/null || ! command -v apt-get >/dev/null || [ "$$(id -u)" -ne 0 ] || { \
		export DEBIAN_FRONTEND=noninteractive; \
		timeout 120 apt-get -qq update; \
		timeout 600 apt-get -qq install -y --no-install-recommends chromium chromium-driver; \
	} >/dev/null 2>&1 || true

lint: .venv/installed-dev
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .

clean:
	rm -rf .venv

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/installed: requirements.txt | .venv/bin/python
	$(PY) -m pip install --quiet --disable-pip-version-check -r requirements.txt
	touch $@

.venv/installed-dev: requirements-dev.txt requirements.txt | .venv/bin/python
	$(PY) -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	touch $@ .venv/installed
