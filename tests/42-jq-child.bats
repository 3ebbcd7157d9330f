#!/usr/bin/env bats
# The jq child: programs that misbehave, helpers that end or lie. tests/unit/test_jq_sandbox.c tries what native code could.
load lib/load

setup() {
    esdb_setup
    PATH=$BUILD_DIR/faults:$PATH
    export CANARY=do-not-tell
}

# select PROGRAM [INPUT [OPTION…]]: runs the program on one input.
select_one() {
    local program=$1 input=${2:-'{"a":1}'}
    shift
    [ $# -gt 0 ] && shift
    run_split jqfilter "$@" "$program" <<<"$input"
}

transform() {
    run_split jqfilter -t "$1" <<<"${2:-null}"
}

refused() { # PROGRAM MESSAGE: does not compile
    select_one "$1"
    assert_message 2 "jqfilter: jq: $2"
}

fails() { # PROGRAM PATTERN [INPUT]: fails on the input, with a message, and the helper lives
    select_one "$1" "${3:-null}"
    assert_equal "$status" 4
    assert_equal "$output" ''
    assert_regex "$stderr" "^line 1: $2\$"
}

too_slow() {
    select_one "$1" "${2:-null}" -m 200
    assert_message 2 'jqfilter: the jq program took more than 200 ms of processor time for a batch of events (--select-timeout)'
}

too_big() {
    select_one "$1" null -m 20000 -M 64
    assert_message 2 'jqfilter: the jq program needs more than 64 MiB of memory'
}

# helper_of PID: the process id of its helper, once there is one.
helper_of() {
    wait_for 5 sh -c "pgrep -x esdb-jq -P $1 >/dev/null"
    sleep 0.3 # past its start
    pgrep -x esdb-jq -P "$1"
}

# ---- escapes: files ----

@test "escape: import of a module file" {
    refused 'import "a" as a; .' 'module not found: a'
}

@test "escape: import by absolute path" {
    printf 'def f: 1;' >a.jq
    select_one "import \"$PWD/a\" as a; a::f"
    assert_equal "$status" 2
    assert_regex "$stderr" 'module not found'
}

@test "escape: import with a search path" {
    printf 'def f: 1;' >a.jq
    select_one "import \"a\" as a {search: \"$PWD\"}; a::f"
    assert_equal "$status" 2
    assert_regex "$stderr" 'module not found'
}

@test "escape: import of data" {
    echo '{"secret":1}' >d.json
    select_one "import \"d\" as \$d {search: \"$PWD\"}; \$d"
    assert_equal "$status" 2
    assert_regex "$stderr" 'module not found'
}

@test "escape: include" {
    printf 'def f: 1;' >a.jq
    select_one "include \"a\" {search: \"./\"}; f"
    assert_equal "$status" 2
    assert_regex "$stderr" 'module not found'
}

@test "escape: modulemeta" {
    printf 'module {secret: 1};' >a.jq
    fails '"a" | modulemeta' 'module not found: a'
}

@test "escape: ~/.jq of the user" {
    printf 'def canary: 1;' >.jq
    HOME=$PWD
    export HOME
    refused canary 'canary/0 is not defined, line 1: canary'
}

@test "escape: get_search_list names no folder" {
    transform get_search_list
    assert_output '[]'
}

@test "escape: input_filename" {
    transform input_filename
    assert_output 'null'
}

@test "escape: input sees no other event" {
    select_one input $'{"a":1}\n{"a":2}'
    assert_equal "$status" 4
    assert_equal "$stderr" 'line 1: No more inputs'
    run_split jqfilter -t '[., inputs]' <<<$'1\n2'
    assert_output $'[1]\n[2]'
}

@test "escape: input_line_number" {
    select_one input_line_number
    assert_regex "$status" '^[04]$'
}

# ---- escapes: environment ----

@test "escape: \$ENV is empty" {
    transform '$ENV'
    assert_output '{}'
}

@test "escape: env is empty" {
    transform 'env, env.CANARY, $ENV.CANARY, env.PATH'
    assert_output $'{}\nnull\nnull\nnull'
}

@test "escape: \$__prog_args and other hidden variables" {
    # shellcheck disable=SC2016
    refused '$__prog_args' '$__prog_args is not defined, line 1: $__prog_args'
    # shellcheck disable=SC2016
    select_one '$named'
    assert_equal "$status" 2
}

@test "escape: \$__loc__ names no file" {
    transform '$__loc__.file'
    assert_output '"<top-level>"'
}

@test "escape: localtime reads no time zone file and no \$TZ" {
    TZ=Asia/Tokyo
    export TZ
    transform '0 | localtime | mktime'
    assert_output 0
    transform '0 | strflocaltime("%H %Z")'
    assert_regex "$output" '^"00 (UTC|GMT)"$'
}

# ---- escapes: descriptors ----

@test "escape: stderr writes nothing anywhere" {
    transform '"canary" | stderr | 1'
    assert_output 1
    assert_equal "$stderr" ''
}

@test "escape: debug writes nothing anywhere" {
    transform '"canary" | debug | 1'
    assert_output 1
    assert_equal "$stderr" ''
}

@test "escape: halt does not end the work" {
    fails halt 'halt is not available here'
    run_split jqfilter 'if . == 2 then halt else true end' <<<$'1\n2\n3'
    assert_output $'1\n3'
}

@test "escape: halt_error prints nothing" {
    fails '"canary" | halt_error' 'halt is not available here'
    fails '"canary" | halt_error(0)' 'halt is not available here'
}

@test "escape: control characters of an error message do not reach the terminal" {
    fails 'error("a\u001b[2Jb\nc\u0000d")' 'a \[2Jb c.*'
}

@test "escape: an error message of a megabyte is cut, on a character" {
    select_one 'error("ä" * 1000000)' null
    assert_equal "$status" 4
    [ "${#stderr}" -lt 600 ]
    run -0 iconv -f UTF-8 -t UTF-8 <<<"$stderr"
}

@test "escape: control characters of outputs are escaped" {
    transform '"\u001b[2J\u0000\n"'
    assert_output '"\u001b[2J\u0000\n"'
}

@test "escape: @sh runs nothing" {
    transform '"$(touch canary); `touch canary`" | @sh' null
    assert_success
    assert_file_not_exist canary
}

# ---- escapes: time ----

@test "escape: a recursion without end" {
    too_slow 'def f: f; f'
}

@test "escape: a range without end" {
    too_slow 'last(range(1e18))'
}

@test "escape: repeat without end" {
    too_slow 'last(repeat(.))'
}

@test "escape: until that never comes" {
    too_slow 'until(false; .)'
}

@test "escape: foreach without end" {
    too_slow 'foreach range(1e12) as $i (0; . + 1; empty)'
}

@test "escape: outputs without end" {
    run_split jqfilter -t -m 60000 'repeat("x" * 100000)' <<<null
    assert_message 2 'jqfilter: the jq program made more than 64 MiB of a batch of events'
}

@test "escape: a regular expression that backtracks for ever" {
    select_one 'test("(x+x+)+(x+x+)+y$")' "\"$(printf 'x%.0s' {1..3000})\"" -m 200
    # Oniguruma gives up by itself after a number of steps, or the time is up.
    if [ "$status" = 4 ]; then
        [ "$stderr" = '' ] || assert_regex "$stderr" 'retry-limit'
    else
        assert_message 2 'jqfilter: the jq program took more than 200 ms of processor time for a batch of events (--select-timeout)'
    fi
}

@test "escape: a program that takes long to compile" {
    local program='.'
    for _ in {1..14}; do program="($program|$program)"; done
    run_split timeout 60 jqfilter "$program" <<<1
    assert_regex "$status" '^[02]$'
    [ "$status" = 0 ] || assert_regex "$stderr" 'to compile|memory|crashed|jq: '
}

# ---- escapes: memory ----

@test "escape: a string of a gigabyte" {
    select_one '"x" * 1e9 | length' null -m 20000 -M 64
    assert_equal "$status" 2
    assert_regex "$stderr" 'needs more than 64 MiB of memory'
}

@test "escape: an array without end" {
    too_big '[range(1e18)]'
}

@test "escape: an array with an enormous index" {
    select_one '.[1e9] = 1 | length' null -m 5000 -M 64
    assert_regex "$status" '^[24]$'
    assert_regex "$stderr" 'memory|too large|Out of bounds|took more'
}

@test "escape: an object without end" {
    too_big 'reduce range(1e18) as $i ({}; .["k\($i)"] = $i)'
}

@test "escape: a recursion that keeps everything" {
    too_big 'def f: 1 + f; f'
}

@test "escape: nesting so deep that the stack ends" {
    select_one 'reduce range(3e6) as $i (0; [.]) | tojson' null -m 20000
    assert_regex "$status" '^[024]$'
    [ "$status" = 0 ] || assert_regex "$stderr" 'crashed while running the program|memory|deep|took more'
}

@test "escape: strings concatenated to more than 2 GiB" {
    select_one 'last(limit(40; "x" | recurse(. + .))) | length' null -m 20000 -M 256
    assert_equal "$status" 2
    assert_regex "$stderr" 'needs more than 256 MiB of memory|crashed'
}

@test "escape: implode of what is no character" {
    select_one '[1114112, -1, 55296, 1e300] | implode' null
    assert_regex "$status" '^[024]$'
    [ "$status" != 2 ] || assert_regex "$stderr" 'crashed'
}

@test "escape: a date that is none" {
    select_one '1e1000 | todate' null
    assert_regex "$status" '^[024]$'
    [ "$status" != 2 ] || assert_regex "$stderr" 'crashed'
}

@test "escape: a program full of parentheses" {
    local open
    open=$(printf '(%.0s' {1..20000})
    run_split timeout 60 jqfilter "$open" <<<1
    assert_equal "$status" 2
    refute [ "$stderr" = '' ]
}

@test "escape: a path of a million steps" {
    select_one 'getpath([range(1e6) | "a"])' null
    assert_regex "$status" '^[024]$'
}

# ---- what programs see and give ----

@test "select prints the lines as they were, numbers over 2^53 too" {
    run_split jqfilter '.a > 1' <<<$'{"a":12345678901234567890123,"b":1.000}\n{"a":1}\n{"a":2e0,"a":3.10}'
    assert_success
    assert_output $'{"a":12345678901234567890123,"b":1.000}\n{"a":2e0,"a":3.10}'
}

@test "an event that fails does not hide the others" {
    run_split jqfilter '.a | length > 1' <<<$'{"a":"xx"}\n{"a":true}\n{"a":[1,2]}'
    assert_success
    assert_output $'{"a":"xx"}\n{"a":[1,2]}'
    assert_equal "$stderr" 'line 2: boolean (true) has no length'
}

@test "results equal jq's on many events, for every size of batch and number of helpers" {
    awk 'BEGIN { for (i = 0; i < 20000; i++) printf "{\"position\":%d,\"data\":{\"n\":%d,\"s\":\"%x\"}}\n", i, i % 97, i }' >events
    jq -c 'select(.data.n % 5 == 0 and (.data.s | test("[ab]")))' events >expected
    for options in '-c 1' '-c 2' '-c 2 -b 1' '-c 1 -b 3000' '-c 2 -b 1000000'; do
        # shellcheck disable=SC2086
        jqfilter $options '.data.n % 5 == 0 and (.data.s | test("[ab]"))' <events >got
        cmp expected got
        # shellcheck disable=SC2086
        jqfilter -t $options 'select(.data.n % 5 == 0 and (.data.s | test("[ab]")))' <events >got
        cmp expected got
    done
}

# ---- how helpers end ----

@test "a helper that is killed is an error, not a hang" {
    mkfifo in
    jqfilter '.' <in 2>err &
    local pid=$!
    exec 9>in
    kill -KILL "$(helper_of "$pid")"
    echo 1 >&9
    exec 9>&-
    wait "$pid" || status=$?
    assert_equal "$status" 6
    assert_equal "$(cat err)" 'jqfilter: the helper esdb-jq was killed (signal 9) while running the jq program'
}

@test "a helper that is stopped is an error, not a hang" {
    mkfifo in
    jqfilter -w 500 '.' <in 2>err &
    local pid=$!
    exec 9>in
    helper=$(helper_of "$pid")
    kill -STOP "$helper"
    echo 1 >&9
    exec 9>&-
    wait "$pid" || status=$?
    assert_equal "$status" 6
    assert_equal "$(cat err)" 'jqfilter: the helper esdb-jq gave no sign of life for 500 ms'
    run kill -0 "$helper"
    assert_failure
}

@test "kill -9 of the tool leaves no helper behind, even one that is busy" {
    jqfilter -m 600000 'last(range(1e18))' <<<1 3>&- &
    local pid=$! helper
    helper=$(helper_of "$pid")
    kill -KILL "$pid"
    gone() { ! kill -0 "$helper" 2>/dev/null; }
    wait_for 5 gone
}

@test "signals of the terminal's group do not reach the helper" {
    mkfifo in
    setsid jqfilter '.' <in >out 2>err 3>&- &
    exec 9>in
    local pid=$!
    assert_not_equal "$(ps -o pgid= -p "$(helper_of "$pid")" | tr -d ' ')" "$(ps -o pgid= -p "$pid" | tr -d ' ')"
    echo 1 >&9
    exec 9>&-
    wait "$pid"
    assert_equal "$(cat out)" 1
}

@test "the helper has no descriptors of the tool and no environment" {
    exec 8<"$BATS_TEST_FILENAME"
    mkfifo in
    jqfilter '.' <in 3>&- &
    local pid=$! helper
    exec 9>in
    helper=$(helper_of "$pid")
    if [ "$(id -u)" -eq 0 ]; then
        run ls "/proc/$helper/fd"
        assert_output 0
        assert_equal "$(tr -d '\0' <"/proc/$helper/environ")" ''
    fi
    run grep -E '^(NoNewPrivs|Seccomp):' "/proc/$helper/status"
    assert_line --regexp 'NoNewPrivs:.1'
    assert_line --regexp 'Seccomp:.2'
    exec 9>&-
    wait "$pid" || true
}

@test "lies of a helper that was taken over are not believed" {
    for how in kind ready-again count verdict failed first text text-control huge lines no-newline control; do
        mkdir -p "$how"
        ln -s "$BUILD_DIR/faults/jqliar" "$how/esdb-jq"
        ESDB_LIBEXEC=$PWD/$how run_split timeout 20 jqfilter -t . <<<1
        assert_equal "$how: $status $output $stderr" \
            "$how: 7  jqfilter: the helper esdb-jq gave an answer that it must not give: it was stopped"
    done
}

@test "an answer to a batch that the helper cannot have read is not believed" {
    mkdir early
    ln -s "$BUILD_DIR/faults/jqliar" early/esdb-jq
    head -c 3000000 /dev/zero | tr '\0' 1 >large
    echo >>large
    ESDB_LIBEXEC=$PWD/early run_split timeout 20 jqfilter -t . <large
    assert_message 7 'jqfilter: the helper esdb-jq gave an answer that it must not give: it was stopped'
}

@test "a helper that ends, falls silent or dribbles is an error, not a hang" {
    for how in half silent dribble; do
        mkdir -p "$how"
        ln -s "$BUILD_DIR/faults/jqliar" "$how/esdb-jq"
        ESDB_LIBEXEC=$PWD/$how run_split timeout 20 jqfilter -t -w 400 . <<<1
        assert_equal "$how: $status $output" "$how: 6 "
        refute [ "$stderr" = '' ]
    done
    mkdir honest
    ln -s "$BUILD_DIR/faults/jqliar" honest/esdb-jq
    ESDB_LIBEXEC=$PWD/honest run_split jqfilter -t . <<<1
    assert_success
    assert_output 1
}

@test "an answer that nobody asked for is not taken for the next one" {
    mkdir unasked
    ln -s "$BUILD_DIR/faults/jqliar" unasked/esdb-jq
    ESDB_LIBEXEC=$PWD/unasked run_split timeout 20 jqfilter -t -b 1 -c 1 . <<<$'1\n1\n1'
    refute [ "$status" = 0 ]
    refute [ "$status" = 124 ]
}

# ---- finding the helper ----

@test "a missing helper is named, with what to do" {
    mkdir -p alone/bin
    cp "$BUILD_DIR/faults/jqfilter" alone/bin/
    run_split alone/bin/jqfilter . <<<1
    if [ "$status" != 0 ]; then # esdb may be installed on this machine
        assert_equal "$status" 2
        assert_regex "$stderr" 'need the helper esdb-jq: it is not in \.\./libexec/esdb beside this program, nor in /.* \(\$ESDB_LIBEXEC can name its folder\)'
    fi
}

@test "the helper is found beside the program, in a tree that was moved" {
    mkdir -p 'moved tree/bin' 'moved tree/libexec/esdb'
    cp "$BUILD_DIR/faults/jqfilter" 'moved tree/bin/'
    cp "$BUILD_DIR/libexec/esdb/esdb-jq" 'moved tree/libexec/esdb/'
    run_split 'moved tree/bin/jqfilter' . <<<1
    assert_success
    assert_output 1
}

@test "a helper of another release is refused" {
    mkdir old
    printf '#!/bin/sh\nexit 43\n' >old/esdb-jq
    chmod +x old/esdb-jq
    ESDB_LIBEXEC=$PWD/old run_split jqfilter . <<<1
    assert_message 2 "jqfilter: $PWD/old/esdb-jq is of another release"
}

@test "a helper that cannot be loaded is an error" {
    mkdir broken
    printf '#!/bin/sh\nexit 127\n' >broken/esdb-jq
    chmod +x broken/esdb-jq
    ESDB_LIBEXEC=$PWD/broken run_split jqfilter . <<<1
    assert_message 2 "jqfilter: $PWD/broken/esdb-jq cannot be started: is libjq installed?"
}

@test "esdb-jq started by hand says that it is not for that" {
    run_split "$BUILD_DIR/libexec/esdb/esdb-jq" </dev/null
    assert_message 2 "esdb-jq: a part of esdb's tools, not to be started by hand"
}

@test "only esdb-jq links libjq" {
    skip_if_variant
    for tool in "$BUILD_DIR"/bin/esdb* "$BUILD_DIR"/libesdb.so; do
        run readelf -d "$tool"
        refute_output --partial libjq
    done
    run readelf -d "$BUILD_DIR/libexec/esdb/esdb-jq"
    assert_output --partial libjq.so.1
}
