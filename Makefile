# `make setup` installs all that is needed; every other target calls it first. `make help` lists the targets.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
DEMO ?=
PYTEST ?=
FAULTS ?=
BOARD ?=
PORT ?=
FIRMWARE ?=
PART ?=
STEPS ?=
# What boards have and CPython has not. The package of stubs also holds a socket, a time, a hashlib: mypy is not to see those.
STUBS := machine.pyi network.pyi vfs.pyi micropython.pyi cryptolib.pyi _mpy_shed
HUM_FIRMWARE := $(BIN)/python -m firmware

# $(call wants,NAME,an example): end in one line unless NAME was given.
define wants
	@test -n "$($(1))" || { echo "make $@: give $(1)=..., for example: make $@ $(2)" >&2; exit 2; }
endef

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: setup
setup: .venv/ready mosquitto ## Make .venv with everything pinned, and get Mosquitto

.venv/ready: requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Hum needs Python 3.11 or later; try: make PYTHON=python3.12 setup" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv || { rm -rf .venv; host_sim/install_package.sh python3-venv && $(PYTHON) -m venv .venv; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@mkdir -p .venv/typings && cd .venv/typings && ln -sfn $(addprefix ../lib/python*/site-packages/,$(STUBS)) .
	@touch .venv/ready

.PHONY: mosquitto
mosquitto:
	@PATH="$$PATH:/usr/sbin:/usr/local/sbin:/opt/homebrew/sbin" command -v mosquitto >/dev/null || host_sim/install_package.sh mosquitto || \
		echo "Mosquitto could not be had: 'make demo' will use an embedded broker, 'make test' needs the real one" >&2

.PHONY: demo
demo: setup ## Run a broker, a coordinator and 12 MicroPython boards; print sums and draw a picture
	@$(BIN)/hum-sim demo $(DEMO)

.PHONY: test
# Two cores: in the first part some tests wait, and a third process computes meanwhile. In the second the files that take longest have
# few tests, and pytest-xdist would begin with them last. To rewrite the tests' asserts takes long: the second part finds it done.
ALONE := -n 2 --dist loadfile --no-loadscope-reorder
test: export PYTHONDONTWRITEBYTECODE =
test: setup ## Run the tests: CPython, and the shared suite again on MicroPython; some 8 minutes
	@if test -n "$(PYTEST)"; then $(BIN)/python -m pytest $(PYTEST); else \
		$(BIN)/python -m pytest -n 3 -m "not alone and not proof" && \
		$(BIN)/python -m pytest $(ALONE) -m "alone and not proof"; fi

.PHONY: proof
proof: export PYTHONDONTWRITEBYTECODE =
proof: setup .venv/proof promtool ## Run the tests that take long, fleets and all that has many rounds; 30 minutes at most
	@$(BIN)/python -m pytest $(ALONE) -m proof

# A browser, and what drives it: nothing else needs them.
.venv/proof: requirements-proof.txt .venv/ready
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-proof.txt
	@command -v chromium >/dev/null || host_sim/install_package.sh chromium
	@touch .venv/proof

.PHONY: promtool
promtool:
	@command -v promtool >/dev/null || host_sim/install_package.sh prometheus

.PHONY: soak
soak: setup $(if $(filter gateway,$(PART)),.venv/proof) ## Run what takes hours, and go on where it ended: PART=years|overlay|power-cut|updates|meters|queries|fuzz|gateway, STEPS=n
	$(call wants,PART,PART=years STEPS=1)
	@$(BIN)/python -m host_sim.soak $(PART) $(if $(STEPS),--steps $(STEPS))

.PHONY: faults
faults: setup ## Show which of the faults that were shown by script are still there: FAULTS="NAME ... --json"
	@$(BIN)/python -m tests.faults $(FAULTS)

.PHONY: lint
lint: setup ## Check style, types and that imports point one way
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy agent broker firmware host_sim
	$(BIN)/lint-imports

.PHONY: bench
bench: setup ## Measure; every figure beside a named baseline of the same run
	@$(BIN)/python -m host_sim.bench

.PHONY: firmware
firmware: setup ## Compile and sign the application: BOARD=pico-w, FIRMWARE=--romfs for an image to run in place
	$(call wants,BOARD,BOARD=pico-w)
	@$(HUM_FIRMWARE) build --board $(BOARD) $(FIRMWARE)

.PHONY: provision
provision: setup ## Make a board's key pair on it and enrol it: BOARD= PORT= FIRMWARE="--device NAME ..."
	$(call wants,BOARD,BOARD=pico-w PORT=/dev/ttyACM0)
	$(call wants,PORT,BOARD=pico-w PORT=/dev/ttyACM0)
	@$(HUM_FIRMWARE) provision --board $(BOARD) --port $(PORT) $(FIRMWARE)

.PHONY: flash
flash: setup ## Put the built application on a board: BOARD= PORT=
	$(call wants,BOARD,BOARD=pico-w PORT=/dev/ttyACM0)
	$(call wants,PORT,BOARD=pico-w PORT=/dev/ttyACM0)
	@$(HUM_FIRMWARE) flash --board $(BOARD) --port $(PORT) $(FIRMWARE)

.PHONY: monitor
monitor: setup ## Show a board's console, with real names in tracebacks: PORT=, BOARD= if several were built
	$(call wants,PORT,PORT=/dev/ttyACM0)
	@$(HUM_FIRMWARE) monitor --port $(PORT) $(if $(BOARD),--board $(BOARD)) $(FIRMWARE)

.PHONY: erase
erase: setup ## Remove Hum from a board, its key pair too (asks): BOARD= PORT=
	$(call wants,BOARD,BOARD=pico-w PORT=/dev/ttyACM0)
	$(call wants,PORT,BOARD=pico-w PORT=/dev/ttyACM0)
	@$(HUM_FIRMWARE) erase --board $(BOARD) --port $(PORT) $(FIRMWARE)

.PHONY: add-on
add-on: ## Make the folder of the Home Assistant add-on: out/hum-add-on
	rm -rf out/hum-add-on && mkdir -p out/hum-add-on/source
	cp broker/deploy/home_assistant/* out/hum-add-on/
	cp -rL agent broker firmware host_sim pyproject.toml requirements.txt README.md LICENSE out/hum-add-on/source/
	find out/hum-add-on -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: clean
clean: ## Remove what the targets above made
	rm -rf .venv out build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
