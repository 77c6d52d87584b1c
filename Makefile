# Thin aliases: make a virtual environment, install, call `python -m lib.book <verb>`.
PYTHON ?= python3
BIN := .venv/bin
VERSION := $(shell $(PYTHON) -c "import sys; print('py%d.%d' % sys.version_info[:2])")
PINS := $(if $(wildcard constraints/$(VERSION).txt),-c constraints/$(VERSION).txt)
PIP := $(BIN)/python -m pip install -q --disable-pip-version-check $(PINS)

.PHONY: book test full bench deep lab pdf clean
book: .venv/base
	@$(BIN)/python -m lib.book build
test: .venv/dev
	@$(BIN)/python -m lib.book test
full: .venv/base
	@$(BIN)/python -m lib.book record
	@$(BIN)/python -m lib.book refresh
bench: .venv/base
	@$(BIN)/python -m lib.book bench
deep: .venv/dev
	@$(BIN)/python -m lib.book deep
pdf: .venv/dev
	@$(BIN)/python -m lib.book pdf
lab: .venv/lab
	@$(BIN)/python -m lib.book lab
clean:
	rm -rf _build

.venv/base: requirements.txt pyproject.toml $(wildcard constraints/*.txt)
	@echo "installing into .venv (a few minutes the first time)"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(PIP) -r requirements.txt
	@touch $@
.venv/dev: .venv/base
	@$(PIP) -e .[dev]
	@touch $@
.venv/lab: .venv/base
	@$(PIP) -e .[lab]
	@touch $@
