#!/bin/sh
# The whole test-suite on each Python that is supported, as far as this machine has it, in environments under .venvs/.
# What is missing was not tested: that is the last thing said.
cd "$(dirname "$0")/.." || exit 1

find_python() {
    for candidate in "python$1" "${PYENV_ROOT:-$HOME/.pyenv}/versions/$1".*/bin/python; do
        found=$("$candidate" -c 'import sys; print(sys.executable, "%d.%d" % sys.version_info[:2])' 2>/dev/null) || continue
        [ "${found##* }" = "$1" ] && echo "${found% *}" && return
    done
    return 1
}

passed="" failed="" missing=""
for version in 3.11 3.12 3.13; do
    if python=$(find_python "$version"); then
        echo "=== Python $version: $python"
        if make --no-print-directory test PYTHON="$python" VENV=".venvs/$version"; then
            passed="$passed $version"
        else
            failed="$failed $version"
        fi
    else
        missing="$missing $version"
    fi
done

echo "=== passed on:${passed:- none}"
[ -z "$failed" ] || echo "=== FAILED on:$failed"
[ -z "$missing" ] || echo "=== NOT TESTED, not on this machine:$missing"
[ -z "$failed" ] && [ -n "$passed" ]
