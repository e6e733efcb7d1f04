#!/bin/sh
# Records what the installed postconf(1) says about each configuration here, into NAME/expected.
# Values that depend on the machine or on Postfix's version do not belong into these files.
# Extra command lines stand in NAME/cases, one a line, blanks separate arguments.
set -eu
cd "$(dirname "$0")"
COMMON='-n
-nx
-nf
-nfx
-nh
-nH
-n -C builtin
-C user
-C service
-M
-Mf
-Mx
-Mfx
-F
-Ff
-Fx
-FH
-P
-Px
-Pf
-Ph
-PH'
for dir in */; do
    name=${dir%/}
    touch -d '1 hour ago' "$name/main.cf" "$name/master.cf"
    : >"$name/expected"
    { echo "$COMMON"; [ -f "$name/cases" ] && cat "$name/cases"; :; } | (cd "$name" && while IFS= read -r args; do
        status=0
        # shellcheck disable=SC2086
        set -f; postconf -c . $args >/tmp/record.out.$$ 2>/tmp/record.err.$$ || status=$?
        echo "\$ postconf $args" >>expected
        sed 's/^/| /' /tmp/record.out.$$ >>expected
        sort /tmp/record.err.$$ | sed 's/^/! /' >>expected
        echo "= $status" >>expected
    done)
    rm -f /tmp/record.out.$$ /tmp/record.err.$$
done
