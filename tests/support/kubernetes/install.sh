#!/bin/sh
# Builds the Kubernetes API server whose tokens the tests exchange (server/: kube-apiserver with an etcd in one process),
# once: the result is kept outside the repository under a name that changes with its sources. Prints the binary's path;
# with --look it builds nothing and prints nothing where there is none.
# Needs Go 1.23 or newer; without it the tests say what they miss.
# On a fresh machine with two cores: 0.4 GB of modules in half a minute, then twelve minutes of both cores.
set -eu

cd "$(dirname "$0")/server"
sources=$(cat main.go go.mod go.sum | cksum | tr ' ' '-')
binary="${XDG_CACHE_HOME:-$HOME/.cache}/assentry/kube-apiserver-for-tests-$sources"
if [ ! -x "$binary" ]; then
    [ "${1:-}" != --look ] || exit 0
    if ! command -v go >/dev/null; then
        echo "Not built, and there is no Go to build it with: the Kubernetes API server of the tests" >&2
        exit 0
    fi
    echo "Building a Kubernetes API server for the tests (once, some minutes) …" >&2
    mkdir -p "$(dirname "$binary")"
    CGO_ENABLED=0 GOFLAGS=-mod=readonly nice go build -trimpath -ldflags="-s -w" -o "$binary.$$" . >&2
    mv "$binary.$$" "$binary"
fi
echo "$binary"
