# The two commands of the README, and those a maintainer needs. Each makes .venv by itself.
PYTHON ?= python3
VENV := .venv
OLDEST := .venv-oldest
BIN := $(VENV)/bin
DEMO := --base_model builtin:digits-resnet --dataset builtin:digits_5to9 --max_rows 100 --overwrite
SHORT := --num_epochs 5 --batch_size 16 --lr 3e-3

.PHONY: demo test test-all test-oldest test-device check docs bench bench-faults bench-siege fuzz clean

# Digits 5 to 9 with a backbone that has only ever seen 0 to 4, in three ways under the same folds.
demo: $(VENV)/.installed
	$(BIN)/python recipes/image_classification.py $(DEMO) --trainable head --output_dir runs/frozen-backbone
	@echo
	$(BIN)/python recipes/image_classification.py $(DEMO) --trainable last:2 $(SHORT) --output_dir runs/last-blocks
	@echo
	$(BIN)/python recipes/image_classification.py $(DEMO) --from_scratch $(SHORT) --output_dir runs/from-scratch
	@echo
	$(BIN)/hf-transfer compare runs/frozen-backbone runs/last-blocks runs/from-scratch

# A process for each core, with one thread each: small models gain nothing from more.
test: $(VENV)/.installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile

# The slow tests too, and properties on examples that were never drawn before.
test-all: $(VENV)/.installed-dev
	$(BIN)/python -m pytest --hypothesis-profile random -m "not network and not gpu and not device"

# Recipes on a pretend GPU: kernels of the processor behind the walls of a device. Needs g++ and ninja.
test-device: $(VENV)/.installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile -m device

# The same with the oldest versions that pyproject.toml allows.
test-oldest: $(OLDEST)/.installed
	OMP_NUM_THREADS=1 $(OLDEST)/bin/python -m pytest -n auto --dist loadfile

check: $(VENV)/.installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

# The documentation, as pages in site/ that open without a network.
docs: $(VENV)/.installed-docs
	$(BIN)/python docs/generate.py
	$(BIN)/mkdocs build --strict
	@echo "Open site/index.html; with its search: $(PYTHON) -m http.server --directory site"

# Kills runs at random and at named points, and goes on with them: about half an hour.
bench-faults: $(VENV)/.installed-dev
	$(BIN)/python benchmarks/faults.py

# Disturbs small runs at random: kills, full disks, files that are damaged, a bad Hub. Two hours.
bench-siege: $(VENV)/.installed-dev
	$(BIN)/python benchmarks/siege.py

bench: $(VENV)/.installed-dev
	$(BIN)/python benchmarks/against_trainer.py

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable ".[all]"
	touch $@

$(VENV)/.installed-dev: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable ".[dev]"
	touch $@ $(VENV)/.installed

$(VENV)/.installed-docs: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable ".[docs]"
	touch $@

$(OLDEST)/.installed: pyproject.toml requirements-oldest.txt
	$(PYTHON) -m venv $(OLDEST)
	$(OLDEST)/bin/python -m pip install --quiet --constraint requirements-oldest.txt --editable ".[all]" \
	  hatchling hypothesis pytest pytest-xdist
	touch $@

# Ten minutes of damaged files; what ends in anything but our own errors is kept in runs/fuzz.
fuzz: $(VENV)/.installed-dev
	$(BIN)/python tests/support/fuzz_readers.py --seconds 600

clean:
	rm -rf $(VENV) $(OLDEST) runs site build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
