# lib.bash: what the rows share. Sourced; the row's name is that of its script.
#
# From the environment: BUILD (build), BOUNDED=1 (the part that continuous integration runs), SCALE (100: per cent of
# the usual size of a bounded run), ONLY (a regular expression: the parts of a row to run). A row ends with `finish`, which prints one line: the name and its counts.
# shellcheck shell=bash disable=SC2034 # the rows use the variables
set -u
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
repo=$(cd "$here/../.." && pwd)
case ${BUILD:=build} in
/*) build=$BUILD ;;
*) build=$repo/$BUILD ;;
esac
bin=$build/bin
faults=$build/faults
bounded=${BOUNDED:+1}
scale=${SCALE:-100}
row=$(basename "$0")
unset ESDB_STORE
export LC_ALL=C.UTF-8 TZ=UTC

# Memory, not a disk: what is killed here are processes, and thousands of stores are made.
shm=/dev/shm
[ -w "$shm" ] || shm=${TMPDIR:-/tmp}
work=$(mktemp -d "$shm/esdb-faults.XXXXXX") || exit 1
cleanup() {
    chmod -R u+rwX "$work" 2>/dev/null
    rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

bad=0
counts=''

# wanted PART: shall this part of the row run?
wanted() {
    [ -z "${ONLY:-}" ] || [[ $1 =~ $ONLY ]]
}

# count N WHAT: adds to the line that the row prints.
count() {
    counts="$counts${counts:+, }$1 $2"
}

# complain TEXT...: a bad outcome.
complain() {
    bad=$((bad + 1))
    [ "$bad" -gt "${SHOW:-5}" ] || echo "  $row: $*" >&2
}

finish() {
    [ -n "$counts" ] || complain "nothing was tried"
    printf '%-14s %s: %d bad\n' "$row" "$counts" "$bad"
    [ "$bad" -eq 0 ]
    exit
}

# some N: N in a full run, SCALE per cent of the second number in a bounded one.
some() {
    if [ -n "$bounded" ]; then
        local n=$(($2 * scale / 100))
        echo $((n > 0 ? n : 1))
    else
        echo "$1"
    fi
}

# groups FIRST N SIZE [FILL [STREAM]]: N groups of SIZE events as check.h wants them, for --batch SIZE.
groups() {
    awk -v first="$1" -v n="$2" -v size="$3" -v fill="${4:-20}" -v stream="${5:-s}" 'BEGIN {
        f = sprintf("%" fill "s", ""); gsub(/ /, "x", f)
        for (g = first; g < first + n; g++)
            for (i = 0; i < size; i++)
                printf "{\"stream_id\":\"%s-%d\",\"event_type\":\"T\",\"data\":{\"g\":\"%s%d\",\"i\":%d,\"of\":%d,\"f\":\"%s\"}}\n",
                    stream, g % 3, stream, g, i, size, f
    }'
}

# used STORE: bytes used in the active segment.
used() {
    local log
    log=$(printf '%s\n' "$1"/log/*.log | tail -n 1)
    "$bin/esdb-stat" --json "$1" >/dev/null # the store opens
    od -An -v -tx8 -w8 "$log" | awk '$1 != "0000000000000000" { n = NR } END { print n * 8 }'
}

# template NAME [FRAMES]: a store with 64 KiB segments in $work/NAME.
template() {
    "$bin/esdb-init" --segment-size 64K "$work/$1" >/dev/null || exit 1
    [ "${2:-0}" -eq 0 ] || groups 1 "$2" 3 | "$bin/esdb-append" -S "$work/$1" --batch 3 -q || exit 1
}

# fill STORE BYTES: appends single events until the active segment is filled up to BYTES.
fill() {
    local g=100000 now
    while now=$(used "$1") && [ "$now" -lt "$2" ]; do
        groups "$g" $((($2 - now) / 1000 + 1)) 1 700 f | "$bin/esdb-append" -S "$1" --batch 1 -q || exit 1
        g=$((g + 1000))
    done
}

# faultpoints ARGUMENT...: runs the program, adds its counts, complains.
total_faults=0
faultpoints() {
    local out n b
    wanted "${label:-}" || return 0
    out=$("$faults/faultpoints" "$@" 2>"$work/complaints")
    read -r n _ b _ <<<"$out"
    head -n 5 "$work/complaints" >&2
    if [ -z "$out" ] || [ "${n:-0}" -eq 0 ]; then
        complain "no fault could be injected: $*"
    else
        total_faults=$((total_faults + n))
        [ "$b" -eq 0 ] || bad=$((bad + b))
        [ -z "${VERBOSE:-}" ] || echo "  $row: ${label:-}: $out" >&2
    fi
}

# needs_dynamic: $dynamic becomes a build with the dynamic C library, for shims. Built when it is not there, by one row
# at a time.
needs_dynamic() {
    dynamic=$repo/build-dyn
    [ -n "${COVERAGE_RUNS:-}" ] && { dynamic=$build; return; } # which is linked so
    flock "$here/lib.bash" make -s -C "$repo" STATIC=0 all helpers >"$work/make" 2>&1 && return
    echo "  $row: the dynamic build fails: $(tail -n 1 "$work/make")" >&2
    bad=1
    finish
}
