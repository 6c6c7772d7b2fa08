#!/bin/sh
# Installs SimpleSAMLphp with the PHP that runs it, from the system's packages, where it is missing and this user may.
# Prints the folder that it lies in; nothing, when it cannot be had: the tests that need it then say so.
set -eu

site=/usr/share/simplesamlphp
has_provider() { [ -e "$site/www/module.php" ] && php -m 2>/dev/null | grep -qx dom && php -m | grep -qx mbstring; }

if ! has_provider && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "Installing SimpleSAMLphp for the tests (once) …" >&2
    export DEBIAN_FRONTEND=noninteractive
    { apt-get update -qq && apt-get install -y -qq --no-install-recommends simplesamlphp php-cli php-xml php-mbstring; } >&2 ||
        echo "Not installed: simplesamlphp, the SAML provider of the tests" >&2
fi
if has_provider; then echo "$site"; fi
