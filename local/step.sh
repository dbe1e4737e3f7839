#!/bin/sh
# step.sh NAME COMMAND...: runs a command that is not worth reading, and shows its name and how long it takes.
# Its output is shown only if it fails.

name=$1
shift
log=$(mktemp)
begun=$(date +%s)
ticker=

finish() {
    [ -z "$ticker" ] || kill "$ticker" 2>/dev/null
    rm -f "$log"
}
trap finish EXIT
trap 'exit 130' INT TERM

show() { # MARK
    printf '%s %-18s %5d s' "$1" "$name" "$(($(date +%s) - begun))"
}

if [ -t 1 ]; then
    (while :; do printf '\r%s' "$(show ' ')"; sleep 1; done) &
    ticker=$!
fi
"$@" </dev/null >"$log" 2>&1
code=$?
[ -z "$ticker" ] || { kill "$ticker"; wait "$ticker" 2>/dev/null; ticker=; printf '\r'; }

if [ $code -eq 0 ]; then
    printf '%s\n' "$(show '✓')"
else
    printf '%s\n' "$(show '✗')"
    cat "$log" >&2
fi
exit $code
