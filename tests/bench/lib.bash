# lib.bash: what run and peers share. Sourced after `usage` is defined; `begin "$@"` reads the command line.
#
# A row is measured in rounds, its floor interleaved with it; `judge` prints medians, the ratio and its spread.
# From the environment: BUILD (build), BENCH_DIR (where the stores are made, see usage).
# shellcheck shell=bash disable=SC2034 # the scripts use the variables
set -u
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
repo=$(cd "$here/../.." && pwd)
case ${BUILD:=build} in
/*) build=$BUILD ;;
*) build=$repo/$BUILD ;;
esac
bin=$build/bin
tools=$build/bench
program=tests/bench/$(basename "$0")
# The locale is that of the machine's programs: no sorting or number format of a user's own.
export LC_ALL=C
unset ESDB_STORE

met=0 missed=0
quick='' json='' work='' names=()
declare -A bars=()

die() {
    printf '%s: %s\n' "$program" "$*" >&2
    exit 2
}

note() {
    printf '%s: %s\n' "$program" "$*" >&2
}

# ---- the place, and its end ----

cleanup() {
    trap '' INT TERM HUP
    if declare -F stop_servers >/dev/null; then stop_servers; fi
    # A process that was just stopped may still be writing a last file.
    [ -z "$work" ] || rm -rf "$work" || { sleep 1; rm -rf "$work"; }
    rm -rf "$cache"/making."$$"
    rmdir "$cache" 2>/dev/null
    return 0
}

is_memory() {
    case $(stat -f -c %T "$1" 2>/dev/null) in tmpfs | ramfs) ;; *) false ;; esac
}

choose_place() {
    place=${BENCH_DIR:-${TMPDIR:-/var/tmp}}
    if [ -z "${BENCH_DIR:-}" ] && is_memory "$place"; then place=/var/tmp; fi
    [ -d "$place" ] || die "$place: no such directory"
    is_memory "$place" && die "$place is in memory, not on a disk: set BENCH_DIR"
    place=$(cd "$place" && pwd)
    cache=$place/esdb-bench-cache
}

# need_space MIB
need_space() {
    local free
    free=$(df -Pm "$place" | awk 'NR == 2 { print $4 }')
    [ "$free" -ge "$1" ] || die "$place has $free MiB free, needed are $1"
}

header() {
    local cpu load fs
    cpu=$(sed -n 's/^model name[^:]*: *//p' /proc/cpuinfo | head -n 1)
    load=$(cut -d ' ' -f 1 /proc/loadavg)
    fs=$(stat -f -c %T "$place")
    if [ -n "$json" ]; then
        printf '{"date":"%s","cpu":"%s","cores":%s,"kernel":"%s","file_system":"%s","load":%s,"quick":%s,"rounds":%s}\n' \
            "$(date -u +%FT%TZ)" "${cpu//\"/}" "$(nproc)" "$(uname -r)" "$fs" "$load" "${quick:-false}" "$rounds"
        return
    fi
    printf '# %s, %s cores of %s, Linux %s, %s, load %s, %s rounds%s\n' "$(date -u +%FT%TZ)" "$(nproc)" "$cpu" \
        "$(uname -r)" "$fs" "$load" "$rounds" "${quick:+, quick: small sizes}"
    printf '%-26s %16s %16s %8s %15s %8s  %s\n' name measured floor ratio spread bar result
}

# begin ARGUMENT...: options, the place, the work directory. Sets quick, json, rounds, names.
begin() {
    choose_place
    while [ $# -gt 0 ]; do
        case $1 in
        --quick) quick=true ;;
        --json) json=true ;;
        --clean)
            rm -rf "$cache"
            exit 0
            ;;
        --bar)
            [[ ${2:-} == *=* ]] || die '--bar needs ROW=NUMBER'
            bars[${2%%=*}]=${2#*=}
            shift
            ;;
        -h | --help)
            usage
            exit 0
            ;;
        -*) usage >&2; exit 2 ;;
        *) names+=("$1") ;;
        esac
        shift
    done
    rounds=${quick:+3}
    rounds=${rounds:-5}
    for tool in "$bin/esdb-append" "$tools/timing" "$tools/gen_events"; do
        [ -x "$tool" ] || die "$tool is missing: run make all helpers"
    done
    trap cleanup EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    mkdir -p "$cache" && work=$(mktemp -d "$place/esdb-bench.XXXXXX") || exit 1
    # The server of a peer may run as a user of its own.
    chmod 755 "$work"
}

finish() {
    if [ -n "$json" ]; then
        printf '{"met":%d,"missed":%d}\n' "$met" "$missed"
    else
        printf '%d met, %d missed\n' "$met" "$missed"
    fi
    [ "$missed" -eq 0 ]
    exit
}

# run_groups GROUP...: the groups that were asked for, all when none was; a group is a function group_NAME.
run_groups() {
    local group name known
    for name in ${names[@]+"${names[@]}"}; do
        known=''
        for group in "$@"; do [ "$group" != "$name" ] || known=yes; done
        [ -n "$known" ] || die "'$name' is none of: $*"
    done
    header
    for group in "$@"; do
        if [ ${#names[@]} -gt 0 ] && [[ " ${names[*]} " != *" $group "* ]]; then continue; fi
        "group_${group//-/_}"
    done
}

# ---- rows ----

# judge ROW UNIT min|max BAR MEASURED [FLOOR]: a row from the figures of the rounds, separated by spaces. The bar is on
# the ratio measured : floor, where there is a floor, else on what was measured; min: not below it, max: not above.
# A round that gave no figure is a miss.
judge() {
    local row=$1 unit=$2 kind=$3 bar=${bars[$1]:-$4} line
    line=$(awk -v row="$row" -v unit="$unit" -v kind="$kind" -v bar="$bar" -v json="$json" -v measured="$5" \
        -v floors="${6:-}" -v floored="${6+1}" -v expected="${samples:-$rounds}" '
        function sort(a, n,    i, j, x) {
            for (i = 2; i <= n; i++) { x = a[i]; for (j = i; j > 1 && a[j - 1] > x; j--) a[j] = a[j - 1]; a[j] = x }
        }
        function median(a, n) { sort(a, n); return n % 2 ? a[(n + 1) / 2] : (a[n / 2] + a[n / 2 + 1]) / 2 }
        function number(x) { return sprintf(x >= 100 ? "%.0f" : x >= 10 ? "%.1f" : x >= 0.1 ? "%.2f" : "%.3f", x) }
        BEGIN {
            n = split(measured, m, " "); k = floored ? split(floors, f, " ") : n
            bad = n != expected || k != n
            for (i = 1; i <= n; i++) if (m[i] + 0 <= 0 || (floored && f[i] + 0 <= 0)) bad = 1
            if (bad) {
                result = "error"
                if (json) printf "{\"name\":\"%s\",\"error\":\"%d of %d figures\",\"met\":false}\n", row, n, expected
                else printf "%-26s %d of %d figures  error\n", row, n, expected
                exit 1
            }
            for (i = 1; i <= n; i++) { m[i] += 0; f[i] += 0; r[i] = floored ? m[i] / f[i] : m[i] }
            mid = median(m, n); low = floored ? median(f, n) : 0; ratio = median(r, n)
            ok = kind == "min" ? ratio >= bar + 0 : ratio <= bar + 0
            if (json) {
                printf "{\"name\":\"%s\",\"unit\":\"%s\",\"measured\":%.6g,\"floor\":%s,\"ratio\":%s,\"spread\":[%.6g,%.6g],", \
                    row, unit, mid, floored ? sprintf("%.6g", low) : "null", floored ? sprintf("%.6g", ratio) : "null", r[1], r[n]
                printf "\"bar\":%s,\"kind\":\"%s\",\"met\":%s}\n", bar, kind, ok ? "true" : "false"
            } else
                printf "%-26s %16s %16s %8s %15s %8s  %s\n", row, number(mid) " " unit, floored ? number(low) " " unit : "-", \
                    floored ? number(ratio) : "-", number(r[1]) " - " number(r[n]), (kind == "min" ? ">= " : "<= ") bar, \
                    ok ? "pass" : "miss"
            exit !ok
        }') && met=$((met + 1)) || missed=$((missed + 1))
    printf '%s\n' "$line"
}

# ---- figures ----

# field NAME: a number out of a JSON object on stdin.
field() {
    sed -n 's/.*"'"$1"'":\([0-9.]*\).*/\1/p' | head -n 1
}

# column N: of the lines on stdin, as one line.
column() {
    awk -v n="$1" '{ printf "%s ", $n }'
}

# per_second COUNT SECONDS
per_second() {
    awk -v count="$1" -v seconds="$2" 'BEGIN { if (seconds > 0) printf "%.1f", count / seconds }'
}

# seconds ARGUMENT... of timing run: how long a command took; nothing when it failed.
seconds() {
    "$tools/timing" run "$@" | column 1
}

# Lets the disk finish what earlier rounds left, and tells nobody how long that took.
settle() {
    sync -f "$work"
}

# ---- stores ----

# The events as JSON lines, made once: sets events_file. events N [OPTION...]
events() {
    local n=$1
    shift
    events_file=$work/events-$n.json
    [ -e "$events_file" ] || "$tools/gen_events" "$@" "$n" >"$events_file"
}

# new_store DIRECTORY [EVENTS [OPTION...]]: a new store, with so many events.
new_store() {
    local store=$1 n=${2:-0}
    rm -rf "$store"
    "$bin/esdb-init" "$store" >/dev/null || return 1
    [ "$n" -eq 0 ] && return
    shift 2
    "$tools/gen_events" "$@" "$n" | "$bin/esdb-append" -q -S "$store"
}

# The text of one event as a line, made once: sets line.
one_line() {
    line=$work/line.json
    "$tools/gen_events" 1 >"$line"
}
