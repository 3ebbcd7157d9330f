#!/usr/bin/env bats
# What everything else makes of a store that was scavenged.
load lib/load

setup() {
    esdb_setup
    new_store store --segment-size 64K
    fill 0 300 a b
    esdb-read --all >before
}

# fill FROM TO STREAM…: one event after the other of each stream, each caused by the one before it
fill() {
    local from=$1 to=$2 i s
    shift 2
    for ((i = from; i < to; i++)); do
        for s in "$@"; do
            printf '{"stream_id":"%s","event_type":"Noted","event_id":"%s-%d","data":{"n":%d,"pad":"%0200d"},"metadata":{"correlation_id":"c%d","causation_id":"%s-%d"}}\n' \
                "$s" "$s" "$i" "$i" "$i" "$((i / 10))" "$s" "$((i - 1))"
        done
    done | esdb-append -q --batch 50
}

scavenge() {
    esdb-scavenge --no-require-snapshot -q "$@"
}

position_time() {
    jq -r "select(.position==$1)|.epoch_us" before | sed -E 's/(.*)(.{6})$/@\1.\2/'
}

@test "--as-of behind what was scavenged: what is left, and exit 9" {
    at=$(esdb-read --all --system -r -n 1 | jq .position)
    esdb-read --all --as-of "pos:$at" | cmp - before
    scavenge --no-compact --keep 50 a
    esdb-read --all --as-of "pos:$at" | cmp - before # it is all there yet
    scavenge
    run_split esdb-read a --as-of "pos:$at"
    assert_failure 9
    assert_equal "$stderr" 'esdb-read: --as-of: a: events of then were removed since'
    left=$(wc -l <<<"$output") # 50, and what is in the segment that is written to
    [ "$left" -ge 50 ] && [ "$left" -lt 200 ]
    run esdb-read --all --as-of "pos:$at" --count
    assert_failure 9
    run_split esdb-read a --as-of pos:99
    assert_failure 9
    assert_equal "$output" ''
    run esdb-fold a --as-of pos:99
    assert_failure 9
    esdb-read b --as-of pos:99 | cmp - <(jq -c 'select(.stream_id=="b" and .position<=99)' before)
    esdb-read a --as-of "pos:$(esdb-read --all --system -r -n 1 | jq .position)" --count
    esdb-read b --as-of "pos:$at" --count
}

@test "--as-of before a stream was deleted for ever, or an event erased: exit 9" {
    esdb-append -q --create c <<<'{"event_type":"x","event_id":"c-0","data":1}'
    at=$(esdb-read --all -r -n 1 | jq .position)
    esdb-scavenge -q --erase b-7
    run esdb-read b --as-of "pos:$at" --count
    assert_failure 9
    esdb-read a --as-of "pos:$at" --count
    esdb-read b --as-of pos:10 --count # it came later
    esdb-stream delete --hard --confirm c c
    esdb-scavenge -q
    run esdb-read c --as-of "pos:$at"
    assert_failure 9
    run esdb-read --all --as-of "pos:$at" --count
    assert_failure 9
    esdb-read a --as-of "pos:$at" --count
}

@test "a fold goes on from the snapshot that covers what went, now and as of then" {
    esdb-fold --sum .data.n a >want
    esdb-fold --save-snapshot a >state
    at=$(esdb-read --all --system -r -n 1 | jq .position)
    fill 300 310 a
    esdb-fold a >after
    esdb-scavenge -q --keep 1 a
    assert_equal "$(esdb-read a | jq .version | head -n 1)" 300
    esdb-fold a | cmp - after
    esdb-fold a --as-of "pos:$at" | cmp - state
    esdb-snapshot load a | jq -cS . | cmp - <(jq -cS . state)
    run esdb-fold --no-snapshot a --as-of "pos:$at"
    assert_failure 9
}

@test "times, and the version at a time, are answered from what is left" {
    t=$(position_time 501)
    esdb-read --all --since "$t" >want
    scavenge --before "$t" a
    esdb-read --all --since "$t" | cmp - want
    esdb-read a | cmp - <(jq -c --argjson us "$(jq 'select(.position==501)|.epoch_us' before)" \
        'select(.stream_id=="a" and .epoch_us>=$us)' before)
    assert_equal "$(esdb-stream version --at "$(position_time 599)" a)" 299
    assert_equal "$(esdb-stream version --at "$(position_time 599)" b)" 299
    assert_equal "$(esdb-stream version a)" 299
}

@test "the version at a time of which nothing is left is not known: exit 9" {
    t=$(position_time 301)
    scavenge --before-version 300 a
    esdb-append -q --create c <<<'{"event_type":"x","data":1}'
    late=$(($(esdb-read -r -n 1 c | jq .epoch_us) / 1000000 + 1))
    assert_equal "$(esdb-stream version --at "@$late" a)" 299
    run_split esdb-stream version --at "$t" a
    assert_failure 9
    assert_equal "$output" ''
    assert_equal "$stderr" 'esdb-stream: --at: a: events of then were removed since'
    assert_equal "$(esdb-stream version --at "$t" b)" "$(jq -r --argjson us "$(jq 'select(.position==301)|.epoch_us' before)" \
        'select(.stream_id=="b" and .epoch_us<=$us)|.version' before | tail -n 1)"
    assert_equal "$(esdb-stream version --at @1 a)" -1
    assert_equal "$(esdb-stream version --at "$t" c)" -1
}

@test "backup, restore to a position, verify and diff" {
    scavenge --no-compact --keep 20 a
    esdb-scavenge --no-compact -q --erase b-7
    esdb-backup -q early
    scavenge
    esdb-diff store early # what is shown is the same
    esdb-backup -q late
    esdb-backup --verify late
    esdb-backup restore late restored
    esdb-read --all >now
    esdb-read -S restored --all | cmp - now
    esdb-diff store restored
    esdb-verify -S restored >/dev/null
    at=$(jq .position now | tail -n 1)
    esdb-backup restore --to "pos:$at" late restored2
    esdb-verify -S restored2 >/dev/null
    esdb-append -S restored2 -q a <<<'{"event_type":"x","data":1}'
    esdb-verify -S restored2 >/dev/null
    run_split esdb-backup restore --to pos:60 late restored4
    [ "$status" -eq 4 ] || esdb-verify -S restored4 >/dev/null # not amid what was removed
    esdb-backup -q early # goes on from what it has
    esdb-backup --verify early
    esdb-backup restore early restored3
    esdb-read -S restored3 --all | cmp - now
}

@test "causation is traced through what is left" {
    scavenge --keep 20 a
    assert_equal "$(esdb-trace effects a-290 | jq -r .event_id)" 'a-291'
    assert_equal "$(esdb-trace cause b-5 | jq -r .event_id)" 'b-4'
    run_split esdb-trace cause a-280
    assert_message 9 'esdb-trace: a-280: its cause a-279 is not in the store'
    assert_equal "$(esdb-trace correlated c29 | wc -l)" 20
    assert_equal "$(esdb-trace correlated c20 | wc -l)" 10
    assert_equal "$(esdb-trace chain b-9 | wc -l)" 10
}

@test "a named tail goes on over what is gone" {
    esdb-tail --name mail --all --from start --once >first
    cmp first before
    fill 300 310 a b
    esdb-read --all --from 600 | grep '"Noted"' >rest
    run scavenge --keep 1 --all
    assert_failure 9
    esdb-read --all | cmp - rest
    scavenge --keep 4 --all --ignore-subscriptions
    esdb-tail --name mail --once >second
    cmp second <(tail -n 8 rest)
    assert_equal "$(esdb-sub lag mail | jq .lag)" 0
}

# no_trace STORE: an erased event, and a closed stream, are in no file of it
no_trace() {
    local word
    for word in squid leak-1 walrus; do
        run grep -rl --binary-files=text "$word" "$1"
        assert_output ''
    done
}

@test "what was erased since does not come back with an older backup, nor from before that in a newer one" {
    printf '{"stream_id":"%s","event_type":"Leaked","event_id":"%s","data":{"x":"squid"}}\n' a leak-1 walrus leak-2 |
        esdb-append -q --create
    at=$(esdb-read --all -r -n 1 | jq .position)
    esdb-backup -q old
    esdb-read --all | grep -v squid >want
    esdb-scavenge -q --no-compact --erase leak-1
    esdb-stream delete --hard --confirm walrus walrus
    esdb-backup -q between # decided, not removed everywhere
    esdb-backup restore --json --to "pos:$at" between past | jq -e '.erased==2'
    esdb-scavenge -q
    no_trace store
    esdb-backup restore -q old plain
    esdb-read -S plain --id leak-1 | grep -q squid # nobody told it
    esdb-backup restore --json --erasures store old again | jq -e '.erased==2'
    for restored in past again; do
        no_trace "$restored"
        esdb-read -S "$restored" --all | cmp - want
        esdb-verify -S "$restored" >/dev/null
        run esdb-append -S "$restored" walrus <<<'{"event_type":"x","data":1}'
        assert_failure 3
    done
    esdb-init other >/dev/null
    run esdb-backup restore --erasures other old never
    assert_failure 2
    assert_not_exist never
}
