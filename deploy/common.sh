# Shared by deploy/demo and tests/run (sourced, bash): system packages where missing, a Python that works, locked environments.
# Every function tells on stderr what it does; none of them ends the caller.

PATH=$PATH:/usr/sbin:/sbin # pcscd lives there, and a plain user's PATH often lacks it

say() { printf '%s\n' "$*" >&2; }

# have_package NAME: is what the Debian package brings there, however it came?
have_package() {
  case $1 in
    python3-venv) find_python >/dev/null ;;
    python3-dev) local python && python=$(find_python) && has_headers "$python" ;;
    gcc) command -v cc >/dev/null || command -v gcc >/dev/null ;;
    pkg-config | pcscd | ngspice | npm) command -v "$1" >/dev/null ;;
    nodejs) command -v node >/dev/null ;;
    libpcsclite-dev) pkg-config --exists libpcsclite 2>/dev/null ;;
    libsystemd-dev) pkg-config --exists libsystemd 2>/dev/null ;;
    vsmartcard-vpcd) compgen -G '/usr/lib/pcsc/drivers/serial/libifdvpcd.so*' >/dev/null ;;
    *) [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ] ;;
  esac
}

has_headers() { "$1" -c 'import os, sys, sysconfig; sys.exit(not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")))'; }

# How to become root without asking a question that nobody sits there to answer; fails when there is no way.
as_root() {
  if [ "$(id -u)" = 0 ]; then
    "$@"
  elif command -v sudo >/dev/null && { sudo -n true 2>/dev/null || [ -t 0 ]; }; then
    sudo "$@"
  else
    return 1
  fi
}

# need_packages NAME...: installs through apt what is missing. Without root or apt it names what is missing; returns 1 then.
need_packages() {
  local name missing=()
  for name in "$@"; do have_package "$name" || missing+=("$name"); done
  [ ${#missing[@]} = 0 ] && return 0
  if command -v apt-get >/dev/null && as_root true; then
    say "installing through apt: ${missing[*]}"
    quietly as_root apt-get update -qq
    # One by one when the set fails: a name that this release does not have must not keep out the others.
    apt_install "${missing[@]}" || for name in "${missing[@]}"; do apt_install "$name" || true; done
  fi
  local left=()
  for name in "${missing[@]}"; do have_package "$name" || left+=("$name"); done
  [ ${#left[@]} = 0 ] && return 0
  say "missing: ${left[*]} — install with: sudo apt-get install ${left[*]}"
  return 1
}

apt_install() {
  # The lock: a fresh machine is often busy with its own first upgrade.
  quietly as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq -o DPkg::Lock::Timeout=300 --no-install-recommends "$@"
}

# quietly COMMAND...: what it says is told only if it fails.
quietly() {
  local said
  said=$("$@" 2>&1) || { say "$said"; return 1; }
}

# works_as PROGRAM MINOR MINOR: a CPython 3 between these minor versions that can make virtual environments
works_as() {
  "$1" -c "import sys, ensurepip, venv; sys.exit(not (3, $2) <= sys.version_info[:2] <= (3, $3))" 2>/dev/null
}

# find_python: prints the Python to use (3.11 first: it is the floor that is promised). Stubs of version managers that only complain do not count.
find_python() {
  local name
  for name in python3.11 python3 /usr/bin/python3 python3.12 python3.13; do
    command -v "$name" >/dev/null && works_as "$name" 11 13 && command -v "$name" && return 0
  done
  return 1
}

# make_venv DIRECTORY PYTHON: a virtual environment with a pip of its own; an unusable one (moved tree, other Python gone) is made anew.
make_venv() {
  case $("$1/bin/pip" --version 2>/dev/null) in *" from $PWD/$1/"*) return 0 ;; esac
  say "making $1 with $2"
  rm -rf "$1" && "$2" -m venv "$1"
}

# install_locked VENV LOCKFILE: exactly these versions with these hashes; nothing to do when it was done before.
install_locked() {
  local stamp="$1/.installed-$(basename "$2" .txt)" sum
  sum=$(sha256sum "$2" | cut -d' ' -f1)
  [ "$(cat "$stamp" 2>/dev/null)" = "$sum" ] && return 0
  say "installing $2 into $1"
  "$1/bin/python" -m pip install -qq --disable-pip-version-check --require-hashes -r "$2" >&2 && echo "$sum" >"$stamp"
}

# install_tree VENV: this tree itself, editable, with its commands; from the root of the tree, after one of its lock files.
install_tree() {
  local stamp="$1/.installed-tree" sum
  sum=$(sha256sum pyproject.toml | cut -d' ' -f1)-$PWD
  [ "$(cat "$stamp" 2>/dev/null)" = "$sum" ] && return 0
  say "installing the tree into $1"
  "$1/bin/python" -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation --editable . >&2 && echo "$sum" >"$stamp"
}
