#!/usr/bin/env bash
# wine.sh ARGUMENTS...: Windows' Python in the trixie root's Wine, on a copy of this repository.
# One at a time. Without that root, or Wine in it, it says so and does nothing.
set -euo pipefail
scripts=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
here=${PYTHONS_HOME:-$HOME/.cache/pythons}
if [ ! -e "$here/win/py313/python.exe" ]; then
    echo "skipped: no Windows Python in $here/win (tools/pythons/make.sh windows)"
    exit 0
fi
exec 9>"$here/win/lock"; flock 9
# A copy, since Wine would leave files of its own in the working tree.
rm -rf "$here/win/bgpy" && mkdir -p "$here/win/bgpy"
(cd "$scripts/../.." && tar cf - --exclude='./.*' --exclude=__pycache__ --exclude=./build .) |
    tar xf - -C "$here/win/bgpy"
cp -r "$scripts/../../.ci" "$scripts/../../.github" "$here/win/bgpy/"
exec "$scripts/enter.sh" trixie env -C /pythons/win/bgpy WINEPREFIX=/pythons/win/prefix \
    WINEDEBUG=-all WINEARCH=win64 /usr/bin/wine /pythons/win/py313/python.exe "$@"
