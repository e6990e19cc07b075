#!/bin/sh
# Puts a tool of Debian's packages, and all that it needs, into one archive of files: no Docker, and nothing is
# installed. Packages are kept in the cache of the user.
#
# package.sh ARCHIVE PACKAGE...
set -eu
archive=$1
shift
# Made before, by this very script.
if [ "$archive" -nt "$0" ]; then exit 0; fi

packages=${XDG_CACHE_HOME:-$HOME/.cache}/crowdcloud/packages
mkdir -p "$packages" "$(dirname "$archive")"
archive=$(realpath "$archive")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# As if nothing were installed, so that all that it needs is named.
needed() {
    apt-get -qq -o Dir::State::status=/dev/null -o APT::Install-Recommends=false --simulate install "$@" |
        sed -n 's/^Inst \([^ ]*\) .*(\([^ ]*\) .*/\1=\2/p'
}
list=$(needed "$@") || true
if [ -z "$list" ]; then
    # A fresh machine has no lists yet.
    apt-get -qq update
    list=$(needed "$@")
fi
mkdir "$work/root"
for package in $list; do
    file="$packages/${package%%=*}_$(echo "${package#*=}" | sed 's/:/%3a/')"
    if ! ls "$file"_*.deb >/dev/null 2>&1; then
        (cd "$packages" && apt-get -qq -o APT::Sandbox::User=root download "$package")
    fi
    dpkg-deb -x "$file"_*.deb "$work/root"
done
# The same packages make the same bytes.
tar -C "$work/root" --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner \
    --exclude=./usr/share/man --exclude=./usr/share/locale --exclude=./usr/share/doc-base -cf "$work/archive" .
mv "$work/archive" "$archive"
