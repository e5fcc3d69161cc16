#!/bin/sh
# Prints the path of a Chromium that runs, after installing one where none is found. Usage: chromium.sh BIN
# BIN: the folder of the virtual environment that holds Playwright's command.
set -eu
bin=$1

find_browser() {
    for name in "${CLICKPICK_CHROMIUM:-}" chromium chromium-browser google-chrome google-chrome-stable; do
        path=$(command -v "$name" 2>/dev/null) || continue
        # Ubuntu's chromium-browser may be a stub that only names a snap: it must answer.
        if "$path" --version >/dev/null 2>&1; then
            echo "$path"
            return 0
        fi
    done
    return 1
}

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

apt_install() {
    command -v apt-get >/dev/null && as_root true 2>/dev/null || return 1
    echo "Chromium for the browser tests: apt-get install chromium" >&2
    as_root apt-get update -qq >&2 </dev/null \
        && as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
            chromium fonts-dejavu-core >&2 </dev/null
}

playwright_install() {
    echo "Chromium for the browser tests: playwright install chromium" >&2
    "$bin/playwright" install chromium >&2 </dev/null || return 1
    path=$("$bin/python" -c 'from playwright.sync_api import sync_playwright
with sync_playwright() as playwright:
    print(playwright.chromium.executable_path)')
    "$path" --version >/dev/null && echo "$path"
}

find_browser || { apt_install && find_browser; } || playwright_install || {
    echo "no Chromium for the browser tests: none on PATH, and neither apt-get nor Playwright could install one." \
        "Install Chromium or Chrome, or set CLICKPICK_CHROMIUM to its path." >&2
    exit 1
}
