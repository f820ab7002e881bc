#!/bin/sh
# Makes .venv with the project and its tools: with uv where it is installed, else with venv and pip.
set -eu
cd "$(dirname "$0")/.."
python="${PYTHON:-python3}"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
  echo "Kangshu needs Python 3.11 or newer; found $("$python" --version). Set PYTHON=/path/to/python3.11" >&2
  exit 3
}
if command -v uv >/dev/null 2>&1; then
  [ -x .venv/bin/python ] || uv venv --python "$python" .venv
  uv pip install --quiet --python .venv/bin/python -c constraints.txt -e '.[dev]'
else
  [ -x .venv/bin/python ] || "$python" -m venv .venv || {
    echo "No .venv could be made: install python3-venv (apt-get install python3-venv) or uv, then run make again" >&2
    exit 3
  }
  .venv/bin/python -m pip --version >/dev/null 2>&1 || .venv/bin/python -m ensurepip --upgrade
  .venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
fi
touch .venv/.ready
