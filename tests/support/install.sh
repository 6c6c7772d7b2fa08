#!/bin/sh
# Installs what the tests drive and the machine lacks: a PostgreSQL server with psql and pgbench, PgBouncer, Chromium,
# Node.js with npm, OpenSSH, kubectl, Java with PostgreSQL's JDBC driver; a Vault, built from its
# modules (vault/install.sh); an OpenID provider, fetched with npm (oidc/install.sh); SimpleSAMLphp with PHP
# (saml/install.sh). A Kubernetes API server takes too long to build for this: `make kubernetes`.
# Without the right to install, the tests that need a missing thing say so in their report.
set -eu

sh "$(dirname "$0")/vault/install.sh" >/dev/null
! command -v npm >/dev/null || sh "$(dirname "$0")/oidc/install.sh" >/dev/null # else when its tests begin
sh "$(dirname "$0")/saml/install.sh" >/dev/null

missing=""
want() { # want PACKAGES TEST…: the packages unless the test succeeds
    packages=$1
    shift
    "$@" >/dev/null 2>&1 || missing="$missing $packages"
}
has_server() { ls /usr/lib/postgresql/*/bin/initdb || command -v initdb; }

want "postgresql postgresql-client" has_server
want postgresql-client command -v psql
want pgbouncer command -v pgbouncer
want "chromium fonts-dejavu-core" command -v chromium
want "nodejs npm" command -v npm
want openssh-server test -x /usr/sbin/sshd
want openssh-client command -v ssh-keygen
want kubernetes-client command -v kubectl
want default-jdk-headless command -v javac
want libpostgresql-jdbc-java test -e /usr/share/java/postgresql.jar

[ -n "$missing" ] || exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "Not installed, and this user may not install them:$missing" >&2
    exit 0
fi
echo "Installing:$missing"
export DEBIAN_FRONTEND=noninteractive
# shellcheck disable=SC2086
{ apt-get update -qq && apt-get install -y -qq --no-install-recommends $missing; } >/dev/null
