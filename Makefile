# `make` sets up .venv and runs the demo; `make test` runs the tests. Everything else is plain
# snakemake inside .venv.

PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check \
	--constraint envs/constraints.txt

.PHONY: demo status test lm-eval test-slow test-slurm lint benchmark clean

demo: .venv/installed
	$(BIN)/snakemake --cores all --resources gpu=1

status: .venv/installed
	@$(BIN)/python -m rope_spectra.status

test: .venv/installed-dev
	$(BIN)/python -m pytest -n 2 --dist loadfile

test-slow: .venv/installed-dev lm-eval
	$(BIN)/python -m pytest -m slow --ignore tests/workflow/test_slurm.py

# On a real Slurm of one node; as root it installs what it needs from apt, otherwise it skips.
test-slurm: .venv/installed-dev envs/requirements-slurm.txt
	$(PIP) --requirement envs/requirements-slurm.txt
	[ "$$(id -u)" != 0 ] || tests/slurm/start.sh install
	$(BIN)/python -m pytest -m slow tests/workflow/test_slurm.py

lint: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile workflow/Snakefile workflow/rules
	$(BIN)/hadolint envs/Dockerfile
	$(BIN)/mypy
	$(BIN)/codespell
	$(BIN)/snakemake --lint

# Training on this machine's CPU, as rows for the table of docs/performance.md.
benchmark: .venv/installed
	$(BIN)/python benchmarks/training.py --job-steps 0

.venv/installed: envs/requirements.txt envs/constraints.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and \
		"rope-spectra needs Python 3.11 or newer; call: make PYTHON=python3.12")'
	$(PYTHON) -m venv .venv
	$(PIP) --requirement envs/requirements.txt
	$(PIP) --no-deps --editable .
	touch $@

.venv/installed-dev: .venv/installed envs/requirements-dev.txt
	$(PIP) --requirement envs/requirements-dev.txt
	touch $@

# lm-evaluation-harness, beside torch and transformers of .venv; of the two, its own packages win.
lm-eval: .lm-eval/installed

.lm-eval/installed: .venv/installed-dev envs/requirements-lm-eval.txt
	$(PYTHON) -m venv .lm-eval
	echo "$$(realpath .venv/lib/python3*/site-packages)" > \
		"$$(echo .lm-eval/lib/python3*/site-packages)/venv.pth"
	.lm-eval/bin/python -m pip install --quiet --disable-pip-version-check \
		--requirement envs/requirements-lm-eval.txt
	touch $@

clean:
	rm -rf .venv .lm-eval
