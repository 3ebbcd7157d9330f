#!/usr/bin/env bash
# demo.sh: esdb at work on real input. `make demo` builds the tools and calls it.
#
# The input is this machine's package log, one stream a package; where there is none, the history of this repository,
# one stream a top-level directory; where there is none either (a tarball), the list of files in this source tree.
# Needs nothing beyond what every Debian machine has. Ends non-zero when a step does not do what is said about it.
# From the environment: BUILD (build), DEMO_DIR (a new or empty directory, kept at the end), DEMO_LOG
# (/var/log/dpkg.log), DEMO_LINES (how many of the newest lines of the log are taken, 100000).
set -euo pipefail

top=$(cd "$(dirname "$0")/.." && pwd)
case ${BUILD:=build} in
/*) bin=$BUILD/bin ;;
*) bin=$top/$BUILD/bin ;;
esac
if [ ! -x "$bin/esdb-append" ]; then
    echo "demo: there are no tools in $bin: run make first" >&2
    exit 1
fi
export PATH="$bin:$PATH" LC_ALL=C.UTF-8
unset ESDB_STORE
log=${DEMO_LOG:-/var/log/dpkg.log}

# ---- the directory, and its end --------------------------------------------------------------------------------------

dir='' tail_pid='' step=''

finish() {
    local status=$?
    trap - EXIT
    if [ -n "$tail_pid" ]; then
        kill "$tail_pid" 2>/dev/null || true
    fi
    cd /
    if [ -z "${DEMO_DIR:-}" ] && [ -n "$dir" ]; then
        rm -rf "$dir"
    fi
    if [ "$status" -ne 0 ] && [ -n "$step" ]; then
        printf '\ndemo: failed at: %s (status %s)\n' "$step" "$status" >&2
    fi
    exit "$status"
}
trap finish EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

if [ -n "${DEMO_DIR:-}" ]; then
    mkdir -p "$DEMO_DIR"
    dir=$(cd "$DEMO_DIR" && pwd)
    if [ -n "$(ls -A "$dir")" ]; then
        echo "demo: $dir is not empty" >&2
        exit 1
    fi
    DEMO_DIR=$dir
else
    dir=$(mktemp -d "${TMPDIR:-/tmp}/esdb-demo.XXXXXX")
fi
cd "$dir"

# ---- what is printed -------------------------------------------------------------------------------------------------

bold='' blue='' plain=''
if [ -t 1 ] && [ -z "${NO_COLOR:-}" ] && [ "${TERM:-dumb}" != dumb ]; then
    bold=$'\e[1m' blue=$'\e[34m' plain=$'\e[0m'
fi

title() {
    step=$1
    printf '\n%s%s%s\n' "$bold" "$1" "$plain"
}

say() {
    printf '%s\n' "$@"
}

show() {
    printf '%s$ %s%s\n' "$blue" "$1" "$plain"
}

# run COMMAND [STATUS]: shows a command line, runs it, and demands the exit status STATUS (0).
run() {
    local wanted=${2:-0} status=0
    show "$1"
    (eval "$1") || status=$?
    # head goes away when it has enough, and SIGPIPE ends what stands before it.
    case $status:$1 in 141:*'| head'*) status=0 ;; esac
    if [ "$status" -ne "$wanted" ]; then
        echo "demo: this command ended with status $status, not $wanted" >&2
        exit 1
    fi
}

now_ms() {
    echo $(($(date +%s%N) / 1000000))
}

# wait_for_lines FILE N: waits until it has N lines, at most ten seconds.
wait_for_lines() {
    local tries=0
    until [ "$(wc -l <"$1")" -ge "$2" ]; do
        tries=$((tries + 1))
        if [ "$tries" -gt 500 ]; then
            echo "demo: $1 did not get its line $2 within ten seconds" >&2
            exit 1
        fi
        sleep 0.02
    done
}

# ---- the input: lines of text, and events.awk, which makes an event of each -------------------------------------------

# Text that is to stand in JSON: quotes, backslashes and control characters escaped, bytes that are not UTF-8 left out.
common_awk='
function quoted(s,    i, c, r) {
    if (s !~ /[\\"\001-\037\177]/)
        return "\"" s "\""
    for (i = 1; i <= length(s); i++) {
        c = substr(s, i, 1)
        r = r (c == "\\" || c == "\"" ? "\\" c : c in code ? sprintf("\\u%04x", code[c]) : c)
    }
    return "\"" r "\""
}
function name(s) { gsub(/[\001-\040\177]/, "-", s); return substr(s, 1, 100) }
function member(key, value) { return value == "" ? "" : quoted(key) ":" quoted(value) "," }
function event(stream, type, members) {
    sub(/,$/, "", members)
    printf "{\"stream_id\":%s,\"event_type\":%s,\"data\":{%s}}\n", quoted(name(stream)), quoted(type), members
}
BEGIN {
    for (i = 1; i < 32; i++) code[sprintf("%c", i)] = i
    code[sprintf("%c", 127)] = 127
}'

only_utf8() {
    iconv -c -f UTF-8 -t UTF-8 || true
}

from_package_log() {
    local n
    {
        for n in 12 11 10 9 8 7 6 5 4 3 2 1; do
            if [ -r "$log.$n.gz" ]; then gzip -dc "$log.$n.gz" 2>/dev/null || true; fi
            if [ -r "$log.$n" ]; then cat "$log.$n"; fi
        done
        if [ -r "$log" ]; then cat "$log"; fi
    } | only_utf8 | grep -E '^[0-9-]+ [0-9:]+ [a-z]+ [a-z]' | tail -n "${DEMO_LINES:-100000}" >input.txt || true
    [ -s input.txt ] || return 1
    what="the package log of this machine, $log"
    streams='one stream a package, pkg-NAME' sample=2p pattern='pkg-*' type=PackageInstalled live=Held
    cat >events.awk <<'AWK'
# Lines of dpkg.log: DATE TIME ACTION PACKAGE:ARCH OLD NEW, or DATE TIME status STATE PACKAGE:ARCH VERSION.
BEGIN {
    types["install"] = "PackageInstalled"; types["upgrade"] = "PackageUpgraded"; types["remove"] = "PackageRemoved"
    types["purge"] = "PackagePurged"; types["configure"] = "PackageConfigured"; types["trigproc"] = "TriggersRun"
    types["disappear"] = "PackageDisappeared"
}
function package(text) { return "pkg-" substr(text, 1, index(text ":", ":") - 1) }
function arch(text) { return index(text, ":") ? substr(text, index(text, ":") + 1) : "" }
function version(text) { return text == "<none>" ? "" : text }
{ time = member("time", $1 "T" $2) }
$3 == "status" {
    event(package($5), "StatusChanged", member("status", $4) member("version", version($6)) \
        member("arch", arch($5)) time)
    next
}
$3 in types {
    gone = $3 == "remove" || $3 == "purge"
    same = gone || $3 == "configure" || $3 == "trigproc"
    event(package($4), types[$3], member("version", version(same ? $5 : $6)) member("from", version(same ? "" : $5)) \
        member("arch", arch($4)) time)
    next
}
{
    text = $0
    sub(/^[^ ]+ [^ ]+ [^ ]+ /, "", text)
    event("dpkg", $3 == "startup" ? "RunStarted" : "Other", member("what", text) time)
}
AWK
}

from_git() {
    local place
    command -v git >/dev/null && place=$(git -C "$top" rev-parse --show-toplevel 2>/dev/null) || return 1
    [ "$(cd "$place" && pwd -P)" = "$(cd "$top" && pwd -P)" ] || return 1
    git -C "$top" log --reverse --no-renames --name-status --date=iso-strict \
        --format='commit %h%x09%ad%x09%an' 2>/dev/null | only_utf8 | grep . >input.txt || return 1
    what='the history of this repository, as git log prints it'
    streams='one stream a top-level directory, dir-NAME' pattern='dir-*' type=FileAdded live=Reviewed sample=1,2p
    cat >events.awk <<'AWK'
# Lines of git log --name-status: "commit HASH<tab>DATE<tab>AUTHOR", then "A|M|D<tab>PATH" for each file of the commit.
BEGIN { FS = "\t"; types["A"] = "FileAdded"; types["M"] = "FileModified"; types["D"] = "FileDeleted" }
$1 ~ /^commit / {
    commit = member("commit", substr($1, 8)) member("author", $3) member("time", $2)
    event("commits", "Committed", commit)
    next
}
{
    path = $2
    slash = index(path, "/")
    type = $1 in types ? types[$1] : "FileChanged"
    event(slash ? "dir-" substr(path, 1, slash - 1) : "dir-.", type, member("path", path) commit)
}
AWK
}

from_files() {
    (cd "$top" && find . \( -name .git -o -name 'build*' \) -prune -o -type f ! -name $'*\n*' \
        -printf '%TY-%Tm-%TdT%TH:%TM:%.2TS\t%s\t%P\n') | only_utf8 | sort >input.txt
    [ -s input.txt ] || return 1
    what='the list of the files in this source tree, as find prints it'
    streams='one stream a top-level directory, dir-NAME' pattern='dir-*' type=FileSeen live=Reviewed sample=2p
    cat >events.awk <<'AWK'
# Lines of find: TIME<tab>BYTES<tab>PATH.
BEGIN { FS = "\t" }
{
    path = $0
    sub(/^[^\t]*\t[^\t]*\t/, "", path)
    slash = index(path, "/")
    event(slash ? "dir-" substr(path, 1, slash - 1) : "dir-.", "FileSeen", \
        member("path", path) "\"bytes\":" $2 + 0 "," member("time", $1))
}
AWK
}

from_package_log || from_git || from_files || {
    echo 'demo: found nothing to read: no package log, no git history, no files' >&2
    exit 1
}
{
    printf '%s\n' "$common_awk"
    cat events.awk
} >whole.awk && mv whole.awk events.awk
lines=$(wc -l <input.txt)

# ---- the demo --------------------------------------------------------------------------------------------------------

printf '%sesdb: an event store made of Unix tools%s\n' "$bold" "$plain"
say "Input: $what." \
    "It has $lines lines. The working directory is $dir;" \
    'input.txt holds the lines.'

title '1. What a line of input becomes: an event'
say "events.awk ($(wc -l <events.awk) lines of awk) makes JSON of each line."
run "sed -n $sample input.txt"
run "sed -n $sample input.txt | awk -f events.awk | fold -w 78"

title '2. A store is a directory; events go in by a pipe'
run 'esdb-init store'
export ESDB_STORE=$dir/store
# shellcheck disable=SC2016 # shown as it would be typed
show 'export ESDB_STORE=$PWD/store'
begin=$(now_ms)
run 'awk -f events.awk input.txt | esdb-append --quiet'
took=$(($(now_ms) - begin))
[ "$took" -gt 0 ] || took=1
run 'esdb-read --all --count'
[ "$(esdb-read --all --count)" -eq "$lines" ]
say "$lines lines became $lines events on the disk in $took ms, awk included:" \
    "$((lines * 1000 / took)) events a second. (make bench measures esdb alone.)"

title '3. What is in the store'
run 'esdb-stat'
say '' "There is $streams:"
run 'esdb-stream list --count'
run "esdb-stream list '$pattern' | head -n 5"

# The stream to look at: the first of five to ten events, else the longest.
stream=$(esdb-stream list "$pattern" | sed 's/^{"stream_id":"\([A-Za-z0-9.+_-]*\)","count":\([0-9]*\),.*/\2 \1/' |
    awk '$2 == "" || found { next } $1 >= 5 && $1 <= 10 { found = 1 } found || $1 > n { n = $1; s = $2 } END { print s }')
[ -n "$stream" ]

title '4. Events come out by a pipe, or as a table'
run "esdb-read $stream -n 1 | fold -w 78"
say '' 'One stream, from its beginning; at most ten events. Versions count from 0:'
run "esdb-read $stream -n 10 --output table --fields version,event_type,data"
say '' 'How many events of one type are there, in all streams?'
run "esdb-read --all -t $type --count"
say '' 'The newest three events of the store, newest first:'
run 'esdb-read --all --reverse -n 3 --fields position,stream_id,event_type'

title '5. Following: esdb-tail prints what is there, then what comes'
run_tail="esdb-tail $stream -n 1 --fields version,event_type"
show "$run_tail &"
: >tail.out
$run_tail >>tail.out &
tail_pid=$!
wait_for_lines tail.out 1
sed 's/^/tail>  /' tail.out
version=$(esdb-stream version "$stream")
run "echo '{\"data\":\"live\"}' | esdb-append -t $live $stream | fold -w 78"
wait_for_lines tail.out 2
say 'That was the receipt: the event is on the disk. The follower has seen it:'
sed -n '2,$s/^/tail>  /p' tail.out
[ "$(sed -n 2p tail.out)" = "{\"version\":$((version + 1)),\"event_type\":\"$live\"}" ]
kill "$tail_pid"
wait "$tail_pid"
tail_pid=''

title '6. Expected versions: of two who decide at once, one wins'
version=$(esdb-stream version "$stream")
run "esdb-stream version $stream"
say "Two programs have read version $version and append what follows from it:"
run "echo '{\"data\":\"first\"}' | esdb-append -q -t $live -e $version $stream"
run "echo '{\"data\":\"second\"}' | esdb-append -q -t $live -e $version $stream" 3
say 'The second one ended with status 3: nothing was written, look again.'

title '7. Verifying: every byte of the store is read and checked'
run 'esdb-verify'

title '8. A copy by a pipe is the same store'
run 'esdb-read --all | esdb-append -q -S ./copy --create --preserve'
run 'esdb-read --all >events.jsonl'
run 'esdb-read --all -S ./copy | cmp - events.jsonl && echo same'

step='the end'
say ''
if [ -n "${DEMO_DIR:-}" ]; then
    say 'The store and the files are kept. To go on:' \
        "  export PATH=\"$bin:\$PATH\" ESDB_STORE=\"$dir/store\""
else
    say 'All that was made is removed again; DEMO_DIR=some/where make demo keeps it.'
fi
say 'Next: make check runs all tests; README.md is a tour of the tools.'
