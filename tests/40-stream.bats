#!/usr/bin/env bats
# esdb-stream: list, info, version, exists.
load lib/load

setup() {
    esdb_setup
    new_store
    events 3 orders-1 | esdb-append -q
    events 1 orders-2 | esdb-append -q
    events 2 'a*b' | esdb-append -q
}

names() {
    jq -r .stream_id <<<"$output" | tr '\n' ' '
}

@test "list prints streams in byte order with counts and versions, as JSON lines in a pipe" {
    run esdb-stream list
    assert_success
    assert_line --index 0 '{"stream_id":"a*b","count":2,"first_version":0,"last_version":1}'
    assert_line --index 1 '{"stream_id":"orders-1","count":3,"first_version":0,"last_version":2}'
    assert_line --index 2 '{"stream_id":"orders-2","count":1,"first_version":0,"last_version":0}'
    assert_equal "${#lines[@]}" 3
}

@test "list takes patterns; a stream that several match is printed once, in order" {
    run esdb-stream list 'orders-*' '*-2' 'a*'
    assert_success
    assert_equal "$(names)" 'a*b orders-1 orders-2 '
    run esdb-stream list 'orders-?'
    assert_equal "$(names)" 'orders-1 orders-2 '
}

@test "--literal and \\ take wildcards for themselves" {
    events 1 'axb' | esdb-append -q
    run esdb-stream list 'a*b'
    assert_equal "$(names)" 'a*b axb '
    run esdb-stream list --literal 'a*b'
    assert_equal "$(names)" 'a*b '
    run esdb-stream list 'a\*b'
    assert_equal "$(names)" 'a*b '
}

@test "list of nothing is empty; --exit-status makes it status 4" {
    run esdb-stream list 'none-*'
    assert_success
    assert_output ''
    run esdb-stream list --exit-status 'none-*'
    assert_failure 4
    run esdb-stream list --exit-status 'orders-*'
    assert_success
}

@test "--count prints the number of streams" {
    run esdb-stream list --count
    assert_output 3
    run esdb-stream list --count 'orders-*' '*-1'
    assert_output 2
    run esdb-stream list --count 'none-*'
    assert_output 0
}

@test "list of an empty store is empty" {
    new_store empty
    run_split esdb-stream list
    assert_success
    assert_output ''
    assert_equal "$stderr" ''
}

@test "list finds streams in sealed segments and counts over all of them" {
    new_store many --segment-size 64K
    for _ in 1 2 3 4; do
        seq 1 800 | awk '{printf "{\"stream_id\":\"s-%03d\",\"event_type\":\"T\",\"data\":{\"n\":%d}}\n", $1 % 200, $1}' |
            esdb-append -q --batch 50
    done
    [ "$(find "$ESDB_STORE/log" -name '*.log' | wc -l)" -gt 3 ]
    run esdb-stream list
    assert_success
    assert_equal "${#lines[@]}" 200
    assert_line --index 7 '{"stream_id":"s-007","count":16,"first_version":0,"last_version":15}'
    assert_equal "$output" "$(LC_ALL=C sort <<<"$output")"
}

@test "info gives versions, positions and times" {
    run esdb-stream info orders-1
    assert_success
    assert_equal "$(jq -c '[.stream_id, .count, .first_version, .last_version, .first_position, .last_position]' <<<"$output")" \
        '["orders-1",3,0,2,0,2]'
    newest=$(esdb-read orders-1 -r -n 1 | jq .epoch_us)
    assert_equal "$(jq .last_epoch_us <<<"$output")" "$newest"
    assert_equal "$(jq '.first_epoch_us <= .last_epoch_us' <<<"$output")" true
}

@test "info goes on after a missing stream, and ends with status 4" {
    run_split esdb-stream info none orders-2
    assert_equal "$status" 4
    assert_equal "$(jq -r .stream_id <<<"$output")" orders-2
    assert_regex "$stderr" "none"
}

@test "version prints the newest version; a missing stream is status 4" {
    run esdb-stream version orders-1
    assert_success
    assert_output 2
    run_split esdb-stream version none
    assert_equal "$status" 4
    assert_equal "$output" ''
    assert_regex "$stderr" "^esdb-stream: .*none"
}

@test "exists answers with its status and prints nothing" {
    run esdb-stream exists orders-1
    assert_success
    assert_output ''
    run esdb-stream exists none
    assert_failure 4
    assert_output ''
    run esdb-stream exists orders-1 none orders-2
    assert_failure 4
    run esdb-stream exists orders-1 orders-2 'a*b'
    assert_success
}

@test "a stream of info, version and exists is a name, never a pattern" {
    run esdb-stream exists 'orders-*'
    assert_failure 4
    run esdb-stream version 'a*b'
    assert_output 1
}

@test "a terminal gets a table, and --json lines all the same" {
    run script -qec 'esdb-stream list' /dev/null
    assert_success
    assert_output --regexp 'events +first +last +stream'
    assert_output --regexp ' 3 +0 +2 +orders-1'
    run script -qec 'esdb-stream list --json' /dev/null
    assert_line --index 0 --regexp '^\{"stream_id":"a\*b"'
    run script -qec 'esdb-stream info orders-1' /dev/null
    assert_output --regexp 'versions +0\.\.2'
}

@test "the first line comes at once" {
    mkfifo pipe
    seq 1 20000 | awk '{printf "{\"stream_id\":\"z-%d\",\"event_type\":\"T\"}\n", $1}' | esdb-append -q
    esdb-stream list >pipe &
    reader=$!
    run timeout 5 head -n 1 pipe
    assert_output --partial 'a*b'
    wait "$reader" || true
}

@test "usage mistakes are named" {
    run_split esdb-stream
    assert_equal "$status" 2
    assert_regex "$stderr" '^esdb-stream: which action'
    run_split esdb-stream lst
    assert_equal "$status" 2
    assert_regex "$stderr" "^esdb-stream: 'lst' is no action"
    run_split esdb-stream info
    assert_equal "$status" 2
    run_split esdb-stream version a b
    assert_equal "$status" 2
    run_split esdb-stream exists --json a
    assert_equal "$status" 2
    run_split esdb-stream info --system a
    assert_equal "$status" 2
    run_split esdb-stream -S none list
    assert_equal "$status" 2
    assert_equal "$output" ''
}
