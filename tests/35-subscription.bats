#!/usr/bin/env bats
# esdb-tail --name: durable subscriptions. The traps that others fell into each have a test of their own.
# shellcheck disable=SC2120,SC2089,SC2090 # optional arguments; words on purpose
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
    esdb-tail "$@" >>out 2>>errors &
    tail=$!
}

stop() {
    kill "${1:-$tail}"
    wait "${1:-$tail}" || true
}

has_lines() { [ "$(lines_of out)" -ge "$1" ]; }
numbers() { jq .data.n "${1:-out}" | paste -sd' '; }
# The types and positions of what is recorded of a subscription.
record() { esdb-read "\$sub:$1" | jq -r '"\(.event_type) \(.data.position)"'; }
checkpoint() { esdb-read "\$sub:$1" --reverse -n 1 | jq .data.position; }

@test "a holder that is killed before its checkpoint is durable does not stand in the way of the next" {
    skip_if_variant
    command -v strace >/dev/null || skip 'needs strace'
    events 3 s | esdb-append -q
    esdb-tail --name a s --once >/dev/null
    local i
    for i in 1 2 3; do
        events 1 s | esdb-append -q
        run strace -f -qq -o trace -e trace=fdatasync -e inject=fdatasync:signal=KILL:when=1 esdb-tail --name a --once
        assert_equal "$status" 137
        run esdb-tail --name a --once
        assert_success
    done
}

@test "first use creates; the next goes on where the last ended" {
    events 3 s | esdb-append -q
    run esdb-tail --name mail s --once --fields data
    assert_success
    assert_output '{"data":{"n":0}}
{"data":{"n":1}}
{"data":{"n":2}}'
    run esdb-tail --name mail --once --fields data
    assert_success
    assert_output ''
    events 2 s 3 | esdb-append -q
    run esdb-tail --name mail --once --fields data
    assert_output '{"data":{"n":3}}
{"data":{"n":4}}'
}

@test "the record says what was asked for, the same choice in the same way" {
    events 1 s | esdb-append -q
    esdb-tail --name a t s s --type B --type A --where 'k=v"' --tag x --match '{"data": {"n": {"$gt": 5}}}' \
        --select '.data.n > 1' --once
    run jq -c .data.selector <(esdb-read '$sub:a' -n 1)
    assert_output '{"streams":["s","t"],"types":["A","B"],"where":[["k","v\""]],"tags":["x"],"match":{"data":{"n":{"$gt":5}}},"select":".data.n > 1"}'
    run esdb-tail --name a s t --type A --type B --where 'k=v"' --tag x --match '{"data":{"n":{"$gt":5}}}' \
        --select '.data.n > 1' --once
    assert_success
}

@test "another selector is refused with both shown; --change replaces it" {
    events 4 s | esdb-append -q
    esdb-tail --name a s --once >/dev/null
    run_split esdb-tail --name a s --type Odd --once
    assert_message 2 'esdb-tail: a: is there with another selector; --change replaces it
esdb-tail: recorded: {"streams":["s"]}
esdb-tail: given:    {"streams":["s"],"types":["Odd"]}'
    events 4 s 4 | esdb-append -q
    run esdb-tail --name a s --type Odd --once --change --fields data
    assert_output '{"data":{"n":5}}
{"data":{"n":7}}'
    run esdb-tail --name a s --type Odd --once --change --from 2 --fields position
    assert_success
    assert_equal "${#lines[@]}" 3
}

@test "a payload, a pattern or a type where a stream was recorded: not a second subscription" {
    esdb-tail --name a s --once
    local given
    for given in "--all --select .data.n>1" "s*" "--all --type T" "--all --match {}"; do
        # shellcheck disable=SC2086 # words
        run esdb-tail --name a $given --once
        assert_failure 2
    done
    assert_equal "$(esdb-stream list --system '$sub:*' --count)" 1
}

@test "stream, type, pattern and payload subscriptions deliver what is there and what comes" {
    local i=0 selector
    { events 4 s-1; events 4 t; } | esdb-append -q
    for selector in 's-1' '--all --type Odd' 's-*' '--all --select .data.n>=2' '--all --match {"data":{"n":{"$gte":2}}}'; do
        i=$((i + 1))
        # shellcheck disable=SC2086 # words
        esdb-tail --name "k$i" $selector --fields position >"out$i" &
    done
    sleep 0.5
    { events 4 s-1 4; events 4 t 4; } | esdb-append -q
    sleep 0.5
    # shellcheck disable=SC2046 # numbers
    kill $(jobs -p)
    wait || true
    i=0
    for selector in 's-1' '--all --type Odd' 's-*' '--all --select .data.n>=2' '--all --match {"data":{"n":{"$gte":2}}}'; do
        i=$((i + 1))
        # shellcheck disable=SC2086 # words
        diff <(esdb-read $selector --fields position) "out$i"
        [ "$(lines_of "out$i")" -ge 8 ]
    done
}

@test "a selector that cannot work is refused and leaves no record" {
    run esdb-tail --name a --all --select '.data.n >' --once
    assert_failure 2
    run esdb-tail --name a '[' --regex --once
    assert_failure 2
    run esdb-tail --name a --all --match '{' --once
    assert_failure 2
    assert_equal "$(esdb-stream list --system '$sub:*' --count)" 0
}

@test "mistake: a selector without a special character neither crashes nor leaves a dead record" {
    local given i=0
    for given in plain '--regex plain' '--all --type T' '--all --select true' '--all --match {}' '--all --id x' '--all --tag t'; do
        i=$((i + 1))
        # shellcheck disable=SC2086 # words
        esdb-tail --name "n$i" $given --once
        assert_equal "$(esdb-sub info "n$i" | jq .lag)" 0
    done
    echo '{"stream_id":"plain","event_type":"T","event_id":"x","metadata":{"tags":["t"]}}' | esdb-append -q
    for ((; i > 0; i--)); do
        assert_equal "$i: $(esdb-tail --name "n$i" --once | jq -r .stream_id)" "$i: plain"
    done
}

@test "the claim names host, process and epoch; each holder has an epoch of its own" {
    local n pid
    for n in 1 2; do
        esdb-tail --name a s >/dev/null &
        pid=$!
        wait_for 5 eval "esdb-read --system '\$sub:a' -t '\$sub-claimed' --jq .data.epoch | grep -qx $n"
        assert_equal "$(esdb-read --system '$sub:a' -t '$sub-claimed' | tail -n 1 | jq -c '[.data.holder.host, .data.holder.pid, .data.epoch]')" \
            "[\"$(uname -n)\",$pid,$n]"
        kill -9 "$pid"
        wait "$pid" || true
    done
}

@test "a name without a subscription and without a selector: exit 4" {
    run_split esdb-tail --name nix --once
    assert_message 4 'esdb-tail: nix: no such subscription; to make it, name streams, or say --all'
    assert_equal "$(esdb-stream list --system '$sub:*' --count)" 0
}

@test "names" {
    run esdb-tail --name '' s --once
    assert_failure 8
    run esdb-tail --name '$x' s --once
    assert_failure 8
    run esdb-tail --name $'a\tb' s --once
    assert_failure 8
    esdb-tail --name "$(printf '%0240d' 0)" s --once
    run esdb-tail --name "$(printf '%0241d' 0)" s --once
    assert_failure 8
    esdb-tail --name 'mail/ä #1' s --once
    esdb-stream exists '$sub:mail/ä #1'
}

@test "trap: a late subscriber gets what was there before" {
    events 100 s | esdb-append -q
    esdb-tail --name late s --once >out
    assert_equal "$(numbers)" "$(seq -s ' ' 0 99)"
}

@test "trap: catching up obeys the selector" {
    { events 50 s; events 50 t; } | esdb-append -q
    esdb-tail --name odd s --type Odd --once >out
    assert_equal "$(numbers)" "$(seq -s ' ' 1 2 49)"
}

@test "trap: a filter that never matches does not hold the checkpoint" {
    events 30 s | esdb-append -q
    esdb-tail --name never --all --type Nothing --once
    [ "$(checkpoint never)" -ge 30 ]
    follow --name never
    events 20000 s 30 | esdb-append -q
    wait_for 5 eval '[ "$(checkpoint never)" -ge 10000 ]'
    stop
    [ "$(checkpoint never)" -ge 20030 ]
    [ ! -s out ]
}

@test "trap: a kill keeps the progress over events that do not match" {
    events 45000 s | esdb-append -q
    esdb-tail --name never --all --select '.data.n == -1' --once
    # Each of these would have been where to go on.
    run esdb-read --system '$sub:never' -t '$sub-checkpoint' --jq .data.position
    assert_equal "$(echo "$output" | head -n 4 | awk '$1 - last > 10000 { print "far" } { last = $1 }')" ''
    [ "${#lines[@]}" -ge 4 ]
    esdb-tail --name slow --all --select '.data.n | tostring == "x"' --once
    [ "$(esdb-read --system '$sub:slow' -t '$sub-checkpoint' --count)" -ge 4 ]
}

@test "trap: between registering and following nothing is lost" {
    local i
    (for i in {0..199}; do events 1 s "$i" | esdb-append -q; done) &
    sleep 0.2
    follow --name race s
    wait_for 20 has_lines 200
    stop
    assert_equal "$(numbers)" "$(seq -s ' ' 0 199)"
}

@test "trap: after a kill the position is not stale, and nothing is lost" {
    events 1000 s | esdb-append -q
    follow --name a s --ack-every 100
    wait_for 5 has_lines 1000
    wait_for 5 eval '[ "$(checkpoint a)" -ge 1000 ]'
    kill -9 "$tail"
    wait "$tail" || true
    events 10 s 1000 | esdb-append -q
    rm out
    esdb-tail --name a --once >out
    assert_equal "$(numbers)" "$(seq -s ' ' 1000 1009)"
}

@test "system events cause no checkpoint: two subscriptions do not keep each other going" {
    events 3 s | esdb-append -q
    follow --name a --all --ack-every 10ms
    follow --name b --all --system --ack-every 10ms
    sleep 0.5
    local before
    before=$(esdb-stat --json | jq .end_position)
    sleep 1.5
    assert_equal "$(esdb-stat --json | jq .end_position)" "$before"
    for _ in 1 2 3; do esdb-tail --name c s --once >/dev/null; done
    assert_equal "$(record c | cut -d ' ' -f 1 | paste -sd' ')" '$sub-created $sub-checkpoint'
}

@test "one holder at a time: the second is told who, or waits" {
    events 1 s | esdb-append -q
    follow --name a s
    wait_for 5 has_lines 1
    run_split esdb-tail --name a
    assert_message 6 "esdb-tail: a: process $tail on $(uname -n) holds it"
    local first=$tail
    follow --name a --wait
    sleep 0.3
    kill -9 "$first"
    events 1 s 1 | esdb-append -q
    wait_for 2 eval 'jq -e "select(.data.n == 1)" out >/dev/null'
}

@test "--from start, end, a position, a time; later it counts with --change only" {
    events 5 s | esdb-append -q
    sleep 0.01
    local now
    now=$(date +%s.%6N)
    events 5 s 5 | esdb-append -q
    assert_equal "$(esdb-tail --name a s --from start --once | lines_of)" 10
    assert_equal "$(esdb-tail --name b s --from pos:7 --once | lines_of)" 3
    assert_equal "$(esdb-tail --name c s --from "@$now" --once | lines_of)" 5
    assert_equal "$(esdb-tail --name d s --from end --once | lines_of)" 0
    assert_equal "$(esdb-tail --name e s --since "@$now" --once | lines_of)" 5
    assert_equal "$(esdb-tail --name a s --from start --once | lines_of)" 0
    assert_equal "$(esdb-tail --name a --from pos:8 --change --once | lines_of)" 2
}

@test "--once -e: 4 when there was nothing to do" {
    events 1 s | esdb-append -q
    run esdb-tail --name a s --once -e
    assert_success
    run esdb-tail --name a s --once -e
    assert_failure 4
}

@test "saving is batched by events and by time" {
    events 1000 s | esdb-append -q
    esdb-tail --name a s --once --ack-every 100 >/dev/null
    assert_equal "$(record a | grep -c checkpoint)" 10
    esdb-tail --name b s --once >/dev/null
    assert_equal "$(record b | grep -c checkpoint)" 1
    # by time: never before it is over, however long a busy machine takes to say so
    local i
    follow --name c s --from end --ack-every 1min
    wait_for 20 eval 'esdb-sub info c | jq -e .held >/dev/null'
    for i in 1 2 3 4 5; do events 1 s "$i" | esdb-append -q; done
    wait_for 20 has_lines 5
    assert_equal "$(record c | grep -c checkpoint)" 0
    stop
    follow --name d s --from end --ack-every 300ms
    wait_for 20 eval 'esdb-sub info d | jq -e .held >/dev/null'
    for i in 1 2 3 4 5; do events 1 s "$i" | esdb-append -q; done
    wait_for 20 has_lines 10
    wait_for 20 eval '[ "$(record d | grep -c checkpoint)" -ge 1 ]'
    [ "$(record d | grep -c checkpoint)" -le 5 ]
}

@test "a reader that goes away before the line is written: delivered again" {
    events 100000 s | esdb-append -q
    esdb-tail --name a s --once | head -n 10 >/dev/null
    local at
    at=$(checkpoint a)
    [ "$at" -lt 50000 ]
    esdb-tail --name a --once >out
    assert_equal "$(head -n 1 out | jq .data.n)" "$at"
    assert_equal "$(tail -n 1 out | jq .data.n)" 99999
}

@test "damage is not passed silently: it stays before it" {
    events 10 s | esdb-append -q
    events 10 s 10 | esdb-append -q
    events 10 s 20 | esdb-append -q
    local at
    at=$(grep -obUa '"n":12' store/log/0000000000000001.log | cut -d : -f 1)
    printf 'X' | dd of=store/log/0000000000000001.log bs=1 seek="$at" conv=notrunc status=none
    run esdb-tail --name a s --once
    assert_failure 5
    local first
    first=$(checkpoint a)
    [ "$first" -ge 10 ] && [ "$first" -le 12 ]
    run esdb-tail --name a s --once
    assert_failure 5
    assert_equal "$(checkpoint a)" "$first"
}
