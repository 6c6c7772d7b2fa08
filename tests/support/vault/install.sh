#!/bin/sh
# Builds the Vault that the tests drive (server/: Vault's own modules, the engines that are needed, no UI), once: the
# result is kept outside the repository under a name that changes with its sources. Prints the path of the binary.
# Needs Go 1.21 or newer, which fetches the version that Vault asks for; without it the tests say what they miss.
# On a fresh machine with two cores: 0.7 GB of modules in about a minute, then eight minutes of one core's time.
set -eu

cd "$(dirname "$0")/server"
sources=$(cat main.go go.mod go.sum | cksum | tr ' ' '-')
binary="${XDG_CACHE_HOME:-$HOME/.cache}/assentry/vault-for-tests-$sources"
if [ ! -x "$binary" ]; then
    if ! command -v go >/dev/null; then
        echo "Not built, and there is no Go to build it with: the Vault of the tests" >&2
        exit 0
    fi
    echo "Building Vault for the tests (once, some minutes) …" >&2
    mkdir -p "$(dirname "$binary")"
    CGO_ENABLED=0 GOFLAGS=-mod=readonly nice go build -trimpath -ldflags="-s -w" -o "$binary.$$" . >&2
    mv "$binary.$$" "$binary"
fi
echo "$binary"
