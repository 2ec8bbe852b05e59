#!/usr/bin/env bash
# try.sh PYTHON [ARGUMENTS OF PYTEST...]: the tests on another Python, in an environment that is
# kept beside the roots, so that the repository's own stays as it is. In a root by enter.sh.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
here=${PYTHONS_HOME:-$HOME/.cache/pythons}
python=${1:?a Python}; shift
venv=$here/venv-$(basename "$python")
if [ ! -e "$venv/.installed" ]; then
    "$python" -m venv --clear "$venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
    touch "$venv/.installed"
fi
exec "$venv/bin/python" -m pytest -p no:cacheprovider --numprocesses 2 --dist loadfile "$@"
