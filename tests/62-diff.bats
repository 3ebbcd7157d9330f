#!/usr/bin/env bats
# esdb-diff: the same events or not, where first, and how many.
load lib/load

numbered() {
    seq "$1" "$2" | awk '{printf "{\"stream_id\":\"s-%d\",\"event_id\":\"e-%d\",\"event_type\":\"T\",\"data\":{\"n\":%d}}\n", $1 % 20, $1, $1}'
}

filled() {
    new_store a --segment-size 64K
    numbered 1 2000 | esdb-append -q --batch 7
}

@test "a store is the same as itself, as a copy, and as its events in another store" {
    filled
    run_split esdb-diff a a
    assert_success
    assert_equal "$output" 'same: 2000 events are equal'
    assert_equal "$stderr" ''
    cp -a a b
    run esdb-diff --json a b
    assert_success
    assert_equal "$(jq -c '[.same, .equal, .same_segments]' <<<"$output")" '[true,2000,3]'
    esdb-read --all --system | esdb-append -q -S c --create --preserve --system --batch 100
    run esdb-diff --json a c
    assert_success
    assert_equal "$(jq -c '[.same, .equal, .same_segments]' <<<"$output")" '[true,2000,0]'
}

@test "events that one has alone are counted, and the first is named" {
    filled
    cp -a a b
    numbered 2001 2010 | esdb-append -q -S b
    run esdb-diff a b
    assert_failure 9
    assert_output 'different: 2000 events are equal, 0 differ, 0 are in A only, 10 in B only; first at position 2000: missing in A'
    run esdb-diff --json b a
    assert_failure 9
    assert_equal "$(jq -c '[.same, .only_a, .only_b, .first_position, .what]' <<<"$output")" '[false,10,0,2000,"missing in B"]'
}

@test "each field counts" {
    event='{"stream_id":"s","event_id":"i","event_type":"T","epoch_us":1700000000000000,"data":{"a":1},"metadata":{"b":1}}'
    new_store a
    esdb-append -q --preserve -S a <<<"$event"
    other() { # FIELD JQ
        rm -rf b
        jq -c "$2" <<<"$event" | esdb-append -q --create --preserve -S b
        run esdb-diff a b
        assert_failure 9
        assert_output --partial "1 differ, 0 are in A only, 0 in B only; first at position 0: $1"
    }
    other stream_id '.stream_id = "t"'
    other event_id '.event_id = "j"'
    other event_type '.event_type = "U"'
    other epoch_us '.epoch_us += 1'
    other data '.data.a = 2'
    other data 'del(.data)'
    other metadata '.metadata.b = 2'
    other metadata 'del(.metadata)'
    other data_content_type '.data_content_type = "application/x+json"'
}

@test "forks differ from where they parted, segments before are skipped" {
    filled
    esdb-backup restore -q --to pos:1500 a b
    numbered 5001 5499 | esdb-append -q -S b
    run esdb-diff --json a b
    assert_failure 9
    assert_equal "$(jq -c '[.equal, .different, .only_a, .only_b, .first_position, .same_segments]' <<<"$output")" \
        '[1501,499,0,0,1501,2]'
}

@test "-q is silent; wrong use is told" {
    filled
    esdb-init b
    run esdb-diff -q a b
    assert_failure 9
    assert_output ''
    run_split esdb-diff a
    assert_equal "$status" 2
    run_split esdb-diff a none
    assert_equal "$status" 2
    assert_regex "$stderr" 'none: there is no such store'
}

@test "damage is told, not compared away" {
    filled
    cp -a a b
    flip b/log/0000000000000001.log 5000
    run_split esdb-diff a b
    assert_equal "$status" 5
    assert_regex "$stderr" 'b/log/0000000000000001.log, offset [0-9]+'
}
