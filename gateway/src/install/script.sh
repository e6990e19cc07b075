#!/bin/sh
# Installs the program of a CrowdCloud platform on this machine, and lends the machine to it:
#   curl -fsSL @ORIGIN@/install.sh | sh -s -- --token ccl1_...
# What stands after `--` is for `crowdcloud lend`; without it, the program is installed and nothing is lent.
# Root installs into /usr/local/bin, others into ~/.local/bin; CROWDCLOUD_INSTALL_DIR names another folder.
set -eu

origin='@ORIGIN@'
system='@SYSTEM@'
digest='@DIGEST@'

fail() {
    echo "error: $1" >&2
    echo "help: $2" >&2
    exit 1
}

fetch() {
    if command -v curl > /dev/null 2>&1; then
        curl -fsSL -o "$2" "$1"
    elif command -v wget > /dev/null 2>&1; then
        wget -q -O "$2" "$1"
    else
        fail "neither curl nor wget is here" "install one of them, and run the line again"
    fi
}

is_whole() {
    echo "$digest  $1" | sha256sum -c - > /dev/null 2>&1
}

# All is in a function: half a script does nothing.
main() {
    here="$(uname -s) $(uname -m)"
    [ "$here" = "$system" ] || fail "this machine is $here, and the platform has the program for $system" \
        "build crowdcloud from its sources on this machine, and run: crowdcloud lend --token ..."
    command -v sha256sum > /dev/null 2>&1 || fail "sha256sum is not here" "install coreutils, and run the line again"
    if [ "$(id -u)" = 0 ]; then folder=/usr/local/bin; else folder="${HOME:-/nonexistent}/.local/bin"; fi
    folder="${CROWDCLOUD_INSTALL_DIR:-$folder}"
    program="$folder/crowdcloud"
    if [ -x "$program" ] && is_whole "$program"; then
        echo "$program is there already" >&2
    else
        mkdir -p "$folder"
        partial="$(mktemp "$folder/.crowdcloud.XXXXXX")"
        trap 'rm -f "$partial"' EXIT
        fetch "$origin/install/crowdcloud" "$partial" || fail "$origin cannot be read" "try again in a moment"
        is_whole "$partial" || fail "what came is not the platform's program: its digest differs" \
            "try again; where it stays so, somebody on the way changes what you download"
        chmod 755 "$partial"
        "$partial" --version > /dev/null 2>&1 || fail "the program does not run on this machine" \
            "it needs a glibc as new as the platform's: build crowdcloud from its sources here"
        mv -f "$partial" "$program"
        trap - EXIT
        echo "installed $program" >&2
    fi
    if [ $# = 0 ]; then
        echo "lend this machine with: $program lend --token ccl1_..." >&2
        exit 0
    fi
    # Standard input is this script: what is asked is answered at the terminal.
    if (: < /dev/tty) 2> /dev/null; then
        exec "$program" lend "$@" < /dev/tty
    fi
    exec "$program" lend "$@" < /dev/null
}

main "$@"
