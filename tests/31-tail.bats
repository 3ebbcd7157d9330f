#!/usr/bin/env bats
# esdb-tail: history and live events, each once; how it begins and ends.
load lib/load

setup() {
    esdb_setup
    new_store
}

teardown() {
    for pid in $(jobs -p); do kill "$pid" 2>/dev/null || true; done
}

# follow ARGUMENT...: esdb-tail in the background, into the file `out`; $tail is its process.
follow() {
    esdb-tail "$@" >out 2>errors &
    tail=$!
}

has_lines() { [ "$(lines_of out)" -ge "$1" ]; }

numbers() { jq .data.n out | paste -sd' '; }

@test "the last ten, then live" {
    events 15 s | esdb-append -q
    follow s
    wait_for 5 has_lines 10
    assert_equal "$(numbers)" '5 6 7 8 9 10 11 12 13 14'
    events 2 s 15 | esdb-append -q
    wait_for 5 has_lines 12
    assert_equal "$(numbers)" '5 6 7 8 9 10 11 12 13 14 15 16'
}

@test "the last ten that match" {
    { events 30 s; events 30 t; } | esdb-append -q
    run esdb-tail s --type Even -n 3 --until-end --fields data
    assert_output '{"data":{"n":24}}
{"data":{"n":26}}
{"data":{"n":28}}'
    run esdb-tail --all -n 2 --until-end --fields stream_id,version
    assert_output '{"stream_id":"t","version":28}
{"stream_id":"t","version":29}'
}

@test "what is to be reported is, also when none of the last events matches" {
    events 15 s | esdb-append -q
    run_split esdb-tail --all --until-end --select '.data.n.x == 1'
    assert_equal "$status" 8
    assert_regex "$stderr" '^esdb-tail: --select: the expression failed on [0-9]+ events'
    segment=$(find "$ESDB_STORE/log" -name '*.log')
    chmod u+w "$segment"
    printf '\377' | dd of="$segment" bs=1 seek=300 conv=notrunc status=none
    run_split esdb-tail --all --until-end --where k=v
    assert_equal "$status" 5
    assert_regex "$stderr" "^esdb-tail: $segment, offset [0-9]+: "
}

@test "an expression that fails comes before a stream that is missing, as in esdb-read" {
    events 5 s | esdb-append -q
    for tool in "esdb-tail --until-end" esdb-read; do
        # shellcheck disable=SC2086 # a tool and its option
        run_split $tool s missing --select '.data.n.x == 1'
        assert_equal "$status" 8
        assert_regex "$stderr" 'missing: no such stream'
        assert_regex "$stderr" "--select: the expression failed on 5 events"
        # shellcheck disable=SC2086
        run_split $tool s missing --jq '.data.n.x'
        assert_equal "$status" 8
        # shellcheck disable=SC2086
        run_split $tool s missing --jq .position
        assert_equal "$status" 4
    done
}

@test "-n 0: only what comes" {
    events 5 s | esdb-append -q
    follow --all -n 0
    sleep 0.3
    events 1 s 5 | esdb-append -q
    wait_for 5 has_lines 1
    assert_equal "$(numbers)" '5'
}

@test "--from start, end, POSITION" {
    events 5 s | esdb-append -q
    run esdb-tail s --from start --until-end --fields position
    assert_equal "${#lines[@]}" 5
    run esdb-tail s --from 3 --until-end --fields position
    assert_output '{"position":3}
{"position":4}'
    run esdb-tail s --from pos:4 --until-end --fields position
    assert_output '{"position":4}'
    run_split esdb-tail s --from end --until-end
    assert_message 0 ''
    run_split esdb-tail s --from 100 --until-end
    assert_message 0 ''
    follow s --from end
    sleep 0.3
    events 1 s 5 | esdb-append -q
    wait_for 5 has_lines 1
    assert_equal "$(numbers)" '5'
}

@test "--from a position that is not there yet waits for it" {
    events 2 s | esdb-append -q
    follow s --from 4
    sleep 0.2
    events 4 s 2 | esdb-append -q
    wait_for 5 has_lines 2
    assert_equal "$(numbers)" '4 5'
}

@test "--until-end stops where the store ended at the start" {
    run_split esdb-tail --all --until-end
    assert_message 0 ''
    events 3 s | esdb-append -q
    run esdb-tail --all --until-end --from start
    assert_equal "${#lines[@]}" 3
    run_split esdb-tail nope --until-end
    assert_message 4 'esdb-tail: nope: no such stream'
}

@test "a stream that does not exist yet is waited for" {
    follow later
    wait_for 5 test -s errors
    events 1 other | esdb-append -q
    events 1 later 7 | esdb-append -q
    wait_for 5 has_lines 1
    assert_equal "$(numbers)" '7'
    assert_equal "$(cat errors)" 'esdb-tail: later: no such stream yet, waiting for it'
}

@test "no gap and no repeat between history and live" {
    events 2000 s | esdb-append -q
    (for i in {2000..2199}; do events 1 s "$i" | esdb-append -q; done) &
    writer=$!
    for i in 1 2 3 4; do esdb-tail --all --from start >"out.$i" & done
    wait "$writer"
    for i in 1 2 3 4; do
        wait_for 10 eval "[ \$(lines_of out.$i) -ge 2200 ]"
        assert_equal "$(jq -s 'map(.position) == [range(2200)]' "out.$i")" true
    done
}

@test "live events of several writers come in order of positions" {
    follow --all -n 0
    sleep 0.2
    for w in 1 2 3 4; do (for i in {1..50}; do events 1 "w$w" "$i" | esdb-append -q; done) & done
    wait_for 30 has_lines 200
    assert_equal "$(jq -s 'map(.position) == [range(200)]' out)" true
}

@test "--heartbeat marks that all is printed" {
    events 3 s | esdb-append -q
    run esdb-tail s --from start --until-end --heartbeat
    assert_equal "${#lines[@]}" 4
    assert_line --index 3 --regexp '^\{"heartbeat":true,"position":3,"epoch_us":[0-9]{16}\}$'
    follow s -n 1 --heartbeat=1
    wait_for 10 has_lines 4
    assert_equal "$(jq -c .heartbeat out | head -4 | paste -sd' ')" 'null true true true'
    for bad in 0 x 100000; do
        run_split esdb-tail s --heartbeat=$bad
        assert_message 2 "esdb-tail: --heartbeat: '$bad' is no number of seconds (1 .. 86400)
esdb-tail: try 'esdb-tail --help'"
    done
    run_split esdb-tail s --heartbeat --output data
    assert_equal "$status" 2
}

@test "a signal ends it at once, status 0" {
    for signal in TERM INT; do
        # A background job of a shell ignores SIGINT: env gives it back.
        env --default-signal=INT esdb-tail --all >out 2>errors &
        tail=$!
        sleep 0.2
        begin=$(date +%s%N)
        kill -$signal "$tail"
        wait "$tail"
        [ $((($(date +%s%N) - begin) / 1000000)) -lt 500 ]
        assert_equal "$(cat out errors)" ''
    done
}

@test "a signal ends it also while nobody reads its output" {
    events 20000 s | esdb-append -q
    mkfifo pipe
    # shellcheck disable=SC2217 # it holds the pipe open and reads nothing
    sleep 100 <pipe &
    esdb-tail --all --from start >pipe &
    tail=$!
    sleep 0.3
    kill -TERM "$tail"
    wait_for 5 eval "! kill -0 $tail 2>/dev/null"
}

@test "a reader that goes away ends it at once, also while it is idle" {
    events 1 s | esdb-append -q
    begin=$(date +%s%N)
    run bash -c 'esdb-tail --all | head -1 >/dev/null; echo ${PIPESTATUS[0]}'
    assert_output 141
    run bash -c 'esdb-tail --all -n 0 | sleep 0.2; echo ${PIPESTATUS[0]}'
    assert_output 141
    [ $((($(date +%s%N) - begin) / 1000000)) -lt 2000 ]
}

@test "events are printed without delay, not when a buffer is full" {
    follow --all
    sleep 0.2
    begin=$(date +%s%N)
    events 1 s | esdb-append -q
    wait_for 5 has_lines 1
    [ $((($(date +%s%N) - begin) / 1000000)) -lt 500 ]
}

@test "wrong options are usage errors" {
    for bad in '--from x' '--from -1' '--from end -n 3' '-n x' '--heartbeat=x' '--from pos:'; do
        # shellcheck disable=SC2086
        run_split esdb-tail $bad --all
        assert_equal "$bad: $status" "$bad: 2"
        assert_equal "$output" ''
    done
    run_split esdb-tail
    assert_message 2 "esdb-tail: which streams? Name them, or say --all
esdb-tail: try 'esdb-tail --help'"
}

@test "--cursor-file: goes on where the last run ended, and moves while it follows" {
    events 5 s | esdb-append -q
    assert_equal "$(esdb-tail s -n 2 --until-end --cursor-file c | jq .data.n | paste -sd' ')" '3 4'
    assert_equal "$(esdb-tail s --until-end --cursor-file c | lines_of)" 0
    events 3 s 5 | esdb-append -q
    assert_equal "$(esdb-tail s -n 1 --until-end --cursor-file c | jq .data.n | paste -sd' ')" '5 6 7'
    follow s --cursor-file c
    events 2 s 8 | esdb-append -q
    wait_for 5 grep -q ' 10$' c
    kill -9 "$tail"
    assert_equal "$(numbers)" '8 9'
    assert_equal "$(esdb-tail s --until-end --cursor-file c | lines_of)" 0
    new_store other
    run esdb-tail s --cursor-file c
    assert_failure 2
    assert_output 'esdb-tail: c: is the cursor of another store'
    echo nonsense >c
    run esdb-tail s --cursor-file c
    assert_failure 2
    run esdb-tail s --cursor-file missing/c --until-end --from start
    assert_failure
}
