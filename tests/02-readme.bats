#!/usr/bin/env bats
# shellcheck disable=SC2013,SC2016 # words of README.md, and its backquotes
# README.md says what is so: its commands are run and their output compared, its tables and names checked.
load lib/load

# A block of commands to be run stands behind the line "<!-- tested -->"; a block of text directly behind it is what it
# prints, stdout and stderr, where … stands for anything within a line. Written as NN.sh and NN.out, in order.
split_blocks() {
    awk '
        /^<!-- tested -->$/ { armed = 1; next }
        /^```/ && inside { close(file); was = inside; inside = ""; next }
        /^```sh$/ && armed { file = sprintf("%02d.sh", ++n); inside = "sh"; printf "" >file; armed = 0; next }
        /^```text$/ && was == "sh" { file = sprintf("%02d.out", n); inside = "out"; was = ""; next }
        /^```/ { file = "/dev/null"; inside = "other"; was = ""; next }
        inside { print >file; next }
        { was = "" }
    ' "$REPO/README.md"
}

# matches EXPECTED ACTUAL: two files, line by line.
# shellcheck disable=SC2034 # actual is used in eval
matches() {
    local expected actual pattern rest
    [ "$(lines_of "$1")" -eq "$(lines_of "$2")" ] || return 1
    while IFS= read -r expected <&3 && IFS= read -r actual <&4; do
        pattern='' rest=$expected
        while [[ $rest == *…* ]]; do
            pattern+=$(printf %q "${rest%%…*}")'*'
            rest=${rest#*…}
        done
        pattern+=$(printf %q "$rest")
        eval "case \$actual in $pattern) ;; *) return 1 ;; esac"
    done 3<"$1" 4<"$2"
}

@test "the tour of README.md runs and prints what it shows" {
    mkdir blocks work
    (cd blocks && split_blocks)
    [ "$(find blocks -name '*.sh' | wc -l)" -ge 10 ]
    # All blocks in one shell, as somebody at a keyboard would give them; it stops at the first that fails.
    cat >session <<'SESSION'
set -m
set -o pipefail
cd work
for block in ../blocks/*.sh; do
    . "$block" >"${block%.sh}.actual" 2>&1 3>&- 4>&-
    echo "$? ${block##*/}"
done >../statuses
# What runs for ever, tail -F, is a job with a process group of its own.
for pid in $(jobs -p); do kill -- "-$pid"; done
SESSION
    setsid timeout 60 bash session </dev/null >/dev/null 2>&1 3>&- || fail "the session did not end"
    for block in blocks/*.sh; do
        run grep " ${block##*/}" statuses
        [ "${output%% *}" = 0 ] || [ "${output%% *}" = 141 ] ||
            fail "$(printf 'status %s of:\n' "$output"; cat "$block" "${block%.sh}.actual")"
        [ -e "${block%.sh}.out" ] || : >"${block%.sh}.out"
        matches "${block%.sh}.out" "${block%.sh}.actual" ||
            fail "$(cat "$block"; diff "${block%.sh}.out" "${block%.sh}.actual")"
    done
}

@test "a comparison fails when a line differs" {
    printf '%s\n' '{"a":…,"b":1}' 'x*' >expected
    printf '%s\n' '{"a":7,"b":1}' 'x*' >actual
    matches expected actual
    printf '%s\n' '{"a":7,"b":2}' 'x*' >actual
    run matches expected actual
    assert_failure
    printf '%s\n' '{"a":7,"b":1}' 'xy' >actual
    run matches expected actual
    assert_failure
}

@test "the first two blocks are the commands for a new machine" {
    run awk '/^```/ { if (inside) { inside = 0; if (++n == 2) exit } else inside = 1; next } inside' "$REPO/README.md"
    assert_output 'sudo apt-get update && sudo apt-get install -y git make
git clone "$URL" esdb && cd esdb
make demo
make check'
}

@test "README.md names every tool, and no other" {
    sed -n '/^## Tools/,/^## /s/^| `\(esdb[a-z-]*\)` |.*/\1/p' "$REPO/README.md" | sort >named
    (cd "$BUILD_DIR/bin" && ls -1) | sort >built
    run diff named built
    assert_output ''
}

@test "README.md has the exit statuses of esdb(7)" {
    sed -n '/^| status/,/^$/s/^| \([0-9]*\) |.*/\1/p' "$REPO/README.md" >readme
    sed -n '/^\.Sh EXIT STATUS/,/^\.El/s/^\.It \([0-9]*\)$/\1/p' "$REPO/man/esdb.7" >page
    [ -s readme ]
    run diff readme page
    assert_output ''
}

@test "README.md has the limits of limits.h" {
    limit() {
        printf '#include "format/limits.h"\nlong x = FMT_%s;\n' "$1" | gcc -I"$REPO" -E -P - |
            sed -n 's/^long x = \(.*\);/\1/p' | tr -d u
    }
    run sed -n '/^## Limits/,/^## /p' "$REPO/README.md"
    assert_output --partial "| an event | $(($(limit EVENT_SIZE_MAX) >> 20)) MiB |"
    assert_output --partial "$(($(limit FRAME_SIZE_MAX) >> 20)) MiB, 1,048,576 events"
    assert_equal $(($(limit FRAME_EVENTS_MAX))) 1048576
    assert_output --partial "| nesting of JSON | $(limit JSON_DEPTH_MAX) |"
    assert_output --partial "| $(limit STREAM_ID_MAX), $(limit EVENT_TYPE_MAX), $(limit EVENT_ID_MAX) bytes"
    assert_output --partial "$(($(limit SEGMENT_SIZE_DEFAULT) >> 20)) MiB unless"
    assert_output --partial "$(($(limit SEGMENT_SIZE_MIN) >> 10)) KiB to $(($(limit SEGMENT_SIZE_MAX) >> 30)) GiB"
}

@test "files, options and make targets that README.md names are there" {
    for file in $(grep -o '](\([^)]*\))' "$REPO/README.md" | tr -d '()]' | grep -v '^http'); do
        assert_exists "$REPO/$file"
    done
    for tool in "$BUILD_DIR"/bin/*; do "$tool" --help; done >help
    for option in $(grep -v 'apt-get\|pkg-config' "$REPO/README.md" | grep -o -e '--[a-z][a-z-]*' | sort -u); do
        grep -q -e "$option" help || fail "no tool has $option"
    done
    for target in $(grep -o '`make [a-z-]*`' "$REPO/README.md" | cut -d' ' -f2 | tr -d '`' | sort -u); do
        grep -q -E "^([a-z -]* )?$target( [a-z -]*)?:" "$REPO/Makefile" || fail "make has no target $target"
    done
}

@test "the packages of README.md are those of scripts/deps" {
    sed -n '/^## Requirements/,/^## /p' "$REPO/README.md" >requirements
    for package in $(awk '$1 ~ /^[a-z]+$/ && $2 ~ /^[a-z]+:[a-z]/ { print $3 }' "$REPO/scripts/deps" | sort -u); do
        grep -q -w -e "$package" requirements || fail "$package is missing"
    done
}

@test "the C program of README.md compiles and prints the data of a stream" {
    skip_if_variant
    sed -n '/^```c$/,/^```$/p' "$REPO/README.md" | grep -v '^```' >program.c
    gcc -std=c11 -Wall -Wextra -Werror -I"$REPO/libcore" program.c -o program "$BUILD_DIR/libesdb.a" \
        -l:libyaml.a -l:libzstd.a -pthread
    esdb-init shop
    printf '%s\n' '{"event_type":"A","data":{"n":1}}' '{"event_type":"A","data":[2]}' | esdb-append -q -S ./shop s
    run ./program shop s
    assert_success
    assert_output '{"n":1}
[2]'
    run ./program nowhere s
    assert_failure 2
    assert_output --partial 'nowhere: '
}
