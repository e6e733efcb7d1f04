#!/bin/sh
# Records what the installed postmap(1) and postalias(1) do with the cases of each folder here, into NAME/expected.
# A case is a command line, perhaps with a file as its standard input. The files that the commands make stay there for
# the cases that follow.
set -eu
cd "$(dirname "$0")"
for dir in */; do
    name=${dir%/}
    work=$(mktemp -d)
    cp "$name"/* "$work"
    rm -f "$work/expected"
    touch -d '1 hour ago' "$work"/*
    while IFS= read -r line; do
        input=/dev/null
        case $line in *' < '*) input=${line##* < } ;; esac
        args=${line%% < *}
        status=0
        # shellcheck disable=SC2086
        (cd "$work" && set -f && MAIL_CONFIG=. $args <"$input" >"$work.out" 2>"$work.err") || status=$?
        printf '$ %s\n' "$line"
        sed 's/^/| /' "$work.out"
        # libdb's own words are not ours.
        grep -v '^BDB' "$work.err" | sed 's/^/! /'
        printf '= %s\n' "$status"
    done <"$name/cases" >"$name/expected"
    rm -rf "$work" "$work.out" "$work.err"
done
