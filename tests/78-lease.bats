#!/usr/bin/env bats
# Named tails in a cluster: one holder, whichever host it is on.
load lib/load
load lib/cluster

teardown() {
    local pid
    for pid in "${tails[@]}"; do
        kill -CONT "$pid" 2>/dev/null || true
        kill -KILL "$pid" 2>/dev/null || true
    done
    cluster_stop
}

tails=()

append() {
    printf '{"event_type":"T","event_id":"e%d"}\n' "$2" | esdb-append -S "$1" -q "${@:3}" stream
}

# tail_on NODE OUTPUT [OPTION...]: $tail is its process.
tail_on() {
    esdb-tail -S "$1" stream --from start --name work --lease 2s --ack-every 1 "${@:3}" >"$2" 2>>"$2.err" 3>&- 4>&- &
    tail=$!
    tails+=("$tail")
}

# ended PROCESS
ended() {
    ! kill -0 "$1" 2>/dev/null || grep -q '^State:.Z' "/proc/$1/status" 2>/dev/null
}

has_ids() { # FILE FIRST LAST
    local i
    for ((i = $2; i <= $3; i++)); do grep -q "\"e$i\"" "$1" || return 1; done
}

held() {
    [ "$(esdb-sub info work -S "$1" --json | jq .held)" = true ]
}

@test "a named tail may begin on a node that does not lead" {
    cluster_start a b c
    local led node
    led=$(leader)
    for node in a b c; do [ "$node" = "$led" ] || break; done
    append "$node" 1
    run -0 esdb-tail -S "$node" stream --name begun --once
    assert_equal "$(jq -r .event_id <<<"$output")" e1
    esdb-sub exists begun -S "$led"
}

@test "another host is refused, the holder named; when it ends, the other goes on where it was" {
    cluster_start a b c
    append a 1
    tail_on a on_a
    wait_for 5 has_ids on_a 1 1
    wait_for 5 held b
    run esdb-tail -S b stream --name work --lease 2s
    assert_failure 6
    assert_output --partial "process $tail on"
    esdb-sub info work -S b --json | jq -e '.lease_ms == 2000 and .lease_left_ms > 0 and (.node | length) == 16'
    run esdb-sub info work -S c
    assert_output --partial 'lease'
    run esdb-sub seek work pos:0 -S c
    assert_failure 6
    first=$tail
    tail_on b on_b --wait
    sleep 3 # longer than a lease: it is renewed
    assert [ ! -s on_b ]
    kill -0 "$first"
    append c 2
    wait_for 5 has_ids on_a 2 2
    kill -TERM "$first"
    wait "$first"
    append c 3
    wait_for 2 has_ids on_b 3 3 # at once: it was given back
    run grep -c e2 on_b
    assert_output 0
}

@test "a holder that is killed: its own host takes over at once, another one within the lease" {
    cluster_start a b c
    append a 1
    tail_on a on_a
    wait_for 5 has_ids on_a 1 1
    tail_on b on_b --wait
    kill -KILL "${tails[0]}"
    tail_on a again
    append a 2
    wait_for 2 has_ids again 2 2
    kill -KILL "$tail"
    append a 3
    wait_for 6 has_ids on_b 3 3
    esdb-sub info work -S a --json | jq -e '.held'
}

@test "a host that is cut off stops before another takes over, and nothing is lost" {
    cluster_start a b c
    append a 1
    tail_on c on_c
    wait_for 5 has_ids on_c 1 1
    cut_off=$tail
    tail_on b on_b --wait
    kill -STOP "${node_pid[c]}"
    for ((i = 2; i < 40; i++)); do
        append a "$i"
        ! ended "$cut_off" || touch was_over
        [ -e was_over ] || assert [ ! -s on_b ]
    done
    wait_for 6 ended "$cut_off"
    status=0
    wait "$cut_off" || status=$?
    assert_equal "$status" 6
    wait_for 6 has_ids on_b 2 39
    kill -CONT "${node_pid[c]}"
    run grep -c '"e2"' on_c
    assert_output 0
}

@test "a holder that was stopped for long gives nothing more when it goes on" {
    cluster_start a b c
    append a 1
    tail_on a on_a
    wait_for 5 has_ids on_a 1 1
    stopped=$tail
    kill -STOP "$stopped"
    tail_on b on_b --wait
    append a 2
    wait_for 8 has_ids on_b 2 2
    kill -CONT "$stopped"
    status=0
    wait "$stopped" || status=$?
    assert_equal "$status" 6
    run grep -c '"e2"' on_a
    assert_output 0
    append a 3
    wait_for 3 has_ids on_b 3 3
}

@test "a reader that takes nothing does not cost the lease" {
    cluster_start a b
    events 20000 stream | esdb-append -S a -q
    mkfifo pipe
    tail_on a pipe &
    exec 5<pipe
    wait_for 5 held b
    sleep 3
    run esdb-tail -S b --name work --lease 2s
    assert_failure 6
    exec 5<&-
}

@test "groups work on one host at a time, parts each where they are held" {
    cluster_start a b
    tail_on a group1 --group
    wait_for 5 held b
    tail_on a group2 --group
    wait_for 5 eval '[ "$(esdb-sub info work -S a --json | jq .members)" = 2 ]'
    run esdb-tail -S b --name work --group --lease 2s --once
    assert_failure 6
    kill -KILL "${tails[@]}"
    append a 1
    run esdb-tail -S b --name work --group --lease 2s --once --wait
    assert_success
    assert_output --partial e1
    esdb-tail -S a stream --from start --name parts --partition 1/2 --lease 2s >p1 3>&- 4>&- &
    tails+=($!)
    wait_for 5 eval '[ "$(esdb-sub info parts -S b --json | jq .parts_held)" = 1 ]'
    run esdb-tail -S b --name parts --partition 1/2 --lease 2s --once
    assert_failure 6
    run esdb-tail -S b --name parts --partition 2/2 --lease 2s --once
    assert_success
}

@test "a store that stands alone has no leases" {
    esdb-init alone >/dev/null
    append alone 1
    esdb-tail -S alone stream --from start --name work --once >/dev/null
    run esdb-read -S alone '$sub:work' --literal
    refute_output --partial lease
    run esdb-tail -S alone --name work --lease 10ms
    assert_failure 2
}
