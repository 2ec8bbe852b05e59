#!/usr/bin/env bash
# enter.sh SUITE COMMAND...: run it in that root, in namespaces of its own for mounts and processes,
# so that no mount and no process outlives it. The network is the machine's: loopback is shared.
# This repository is /bgpy in there, the working directory; $PYTHONS_HOME is /pythons. The machine's
# Pythons of pyenv are where they are outside, so that the tests of mixed pairs find them.
set -euo pipefail
repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
here=${PYTHONS_HOME:-$HOME/.cache/pythons}; mkdir -p "$here"
root=$here/${1:?the root}; shift
pyenv=${PYENV_ROOT:-$HOME/.pyenv}
[ -e "$root/.made" ] || [ -d "$root/etc" ] || { echo "$root isn't made: tools/pythons/make.sh" >&2; exit 1; }
# The inner bash stays: as process 1 it reaps the servers that outlive their parents.
exec unshare --mount --propagation private --pid --fork --kill-child -- bash -c '
  set -e
  here=$1 root=$2 repository=$3 pyenv=$4; shift 4
  mount -t proc proc "$root/proc"
  mount --rbind /sys "$root/sys"
  mount --rbind /dev "$root/dev"
  mkdir -p "$root/pythons" "$root/bgpy"
  mount --bind "$here" "$root/pythons"
  mount --bind "$repository" "$root/bgpy"
  if [ -d "$pyenv" ]; then
    mkdir -p "$root$pyenv"
    mount --bind -o ro "$pyenv" "$root$pyenv"
  fi
  set +e
  chroot "$root" /usr/bin/env -i -C /bgpy HOME=/root PYTHONS_HOME=/pythons PYENV_ROOT="$pyenv" TERM=dumb LANG=C.UTF-8 \
      PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@"
  exit $?
' enter "$here" "$root" "$repository" "$pyenv" "$@"
