# make quickstart   builds .venv and goes the whole way on rendered scenes: train, evaluate, export, predict, report
# make test         builds .venv with the test tools and runs all tests
PYTHON ?= python3
SEED ?= 0
RUN := runs/quickstart_seed$(SEED)
PY := .venv/bin/python

.PHONY: quickstart test lint clean

quickstart: .venv/installed
	$(PY) main.py train --flagfile=configs/quickstart.flags --run_dir=$(RUN) --seed=$(SEED)
	$(PY) main.py evaluate --run_dir=$(RUN) --baseline
	$(PY) main.py export --run_dir=$(RUN)
	$(PY) tools/make_synthetic.py --output=$(RUN)/scene --train=0 --val=0 --test=1 --height=192 --width=384
	$(PY) main.py predict --run_dir=$(RUN)/export --input=$(RUN)/scene/test/rgb/0.jpg --output=$(RUN)/predictions/scene
	$(PY) main.py report --run_dir=$(RUN)

test: .venv/installed-dev
	$(PY) -m pytest -n 2 -m "not slow"
	$(PY) -m pytest -n 2 -m slow

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
