#!/bin/sh
# Fetches the OpenID provider that the tests sign in at (package.json, all of it pinned by package-lock.json), once: it is
# kept outside the repository under a name that changes with what is pinned. Prints the folder that has node_modules.
# Needs Node.js 20 or newer with npm; without them the tests say what they miss.
set -eu

cd "$(dirname "$0")"
pinned=$(cat package.json package-lock.json | cksum | tr ' ' '-')
folder="${XDG_CACHE_HOME:-$HOME/.cache}/assentry/oidc-provider-for-tests-$pinned"
if [ ! -d "$folder/node_modules" ]; then
    if ! command -v npm >/dev/null; then
        echo "Not fetched, and there is no npm to fetch it with: the OpenID provider of the tests" >&2
        exit 0
    fi
    echo "Fetching the OpenID provider for the tests (once) …" >&2
    made="$folder.$$"
    mkdir -p "$made"
    cp package.json package-lock.json "$made"
    (cd "$made" && npm ci --silent --no-audit --no-fund --ignore-scripts >&2)
    mv "$made" "$folder" 2>/dev/null || rm -rf "$made" # another one was quicker
fi
echo "$folder"
