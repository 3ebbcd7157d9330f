#!/usr/bin/env bats
# esdb-tail --name with a slow reader: --max-queue, --overflow, --warn-at.
load lib/load

setup() {
    esdb_setup
    new_store
    mkfifo pipe
    esdb-tail --name a s --once
}

teardown() {
    exec 5<&- 6>&-
    for pid in $(jobs -p); do kill "$pid" 2>/dev/null || true; done
}

# slow ARGUMENT...: a tail in $tail whose reader takes nothing; what it prints can be read from descriptor 5.
slow() {
    esdb-tail --name a --max-queue 5 --ack-every 100ms "$@" >pipe 2>errors 3>&- &
    tail=$!
    exec 5<pipe
    wait_for 5 is_held
}
lines_are() { [ "$(lines_of "$1")" -ge "$2" ]; }
is_held() { esdb-sub info a | jq -e .held >/dev/null; }

info() { esdb-sub info a | jq "$1"; }
is() { test "$(info "$1")" "-$2" "$3"; }
numbers() { jq .data.n "$@"; }

# flood N: events of 1000 bytes, more than a pipe holds.
flood() {
    local fill
    fill=$(printf '%0900d' 0)
    events "${1:-3000}" s "${2:-0}" | jq -c --arg f "$fill" '.data.f = $f' | esdb-append -q
}

# The rest of what the tail prints, once nothing is under way, into the file `out`.
take_all() {
    cat <&5 >out 3>&- &
    local reader=$!
    wait_for 10 is '.lag' eq 0
    wait_for 10 is '.delivered + .dropped' eq "$1"
    kill "$tail"
    wait "$tail"
    wait "$reader"
}

dropped_positions() { esdb-read --system "\$sub:a" -t '$sub-dropped' --jq '.data.dropped[]'; }

@test "block: nothing is lost, memory does not grow, and writers do not wait" {
    slow --overflow block --warn-at 100
    flood 5000
    sleep 0.3
    local kb
    kb=$(awk '/VmRSS/ { print $2 }' "/proc/$tail/status")
    flood 5000 5000
    sleep 0.3
    [ "$(awk '/VmRSS/ { print $2 }' "/proc/$tail/status")" -lt $((kb + 16384)) ] # segments are mapped
    take_all 10000
    assert_equal "$(lines_of out)" 10000
    assert_equal "$(info .dropped)" 0
    run cat errors
    assert_line --partial 'warning: 100 events wait'
    [ "$(info .warned)" -ge 1 ]
}

@test "drop-oldest: the newest stay; what is dropped is told, counted and recorded" {
    slow --overflow drop-oldest
    flood
    wait_for 5 is .dropped gt 0
    take_all 3000
    assert_equal "$(numbers out | tail -n 5 | tr '\n' ' ')" "2995 2996 2997 2998 2999 "
    numbers out | sort -n -c
    assert_equal "$(info .dropped)" $((3000 - $(lines_of out)))
    assert_equal "$(dropped_positions | sort -n -u | wc -l)" "$(info .dropped)"
    # What was delivered, and what was dropped, is everything, and nothing is both.
    assert_equal "$({ dropped_positions; jq .position out; } | sort -n | uniq | wc -l)" 3000
    run cat errors
    assert_line --regexp '^esdb-tail: a: [0-9]+ events between positions [0-9]+ and [0-9]+ dropped: more than 5 waited$'
}

@test "drop-newest: the oldest stay" {
    slow --overflow drop-newest
    flood
    wait_for 5 is .dropped gt 0
    take_all 3000
    assert_equal "$(numbers out | head -n 5 | tr '\n' ' ')" "0 1 2 3 4 "
    [ "$(numbers out | tail -n 1)" -lt 2995 ]
    assert_equal "$({ dropped_positions; jq .position out; } | sort -n | uniq | wc -l)" 3000
}

@test "error: ends with status 9, and the next run begins with what was not delivered" {
    slow --overflow error
    flood
    local status=0
    wait "$tail" || status=$?
    assert_equal "$status" 9
    cat <&5 >out
    grep -q 'more than 5 events wait' errors
    [ "$(lines_of out)" -lt 2000 ]
    esdb-tail --name a --once >>out
    assert_equal "$(numbers out | sort -n -u | wc -l)" 3000
    assert_equal "$(lines_of out)" 3000
    assert_equal "$(info .dropped)" 0
}

@test "what was there at the begin is never dropped" {
    flood
    slow --overflow drop-oldest
    take_all 3000
    assert_equal "$(lines_of out)" 3000
    assert_equal "$(info .dropped)" 0
}

@test "a slow command: --exec" {
    esdb-tail --name a --max-queue 5 --ack-every 50ms --overflow drop-oldest --warn-at 3 --exec -- \
        sh -c 'sleep 0.2; echo "$ESDB_POSITION"' >out 2>errors 3>&- &
    tail=$!
    wait_for 5 is_held
    events 100 s | esdb-append -q
    wait_for 15 is .lag eq 0
    kill "$tail"
    wait "$tail"
    [ "$(lines_of out)" -le 12 ]
    assert_equal "$(info '.delivered + .dropped')" 100
    assert_equal "$(info .delivered)" "$(lines_of out)"
    assert_equal "$({ dropped_positions; cat out; } | sort -n | uniq | wc -l)" 100
    grep -q 'warning: ' errors
}

@test "one that does not acknowledge: --ack stdin" {
    mkfifo answers
    esdb-tail --name a --ack stdin --max-queue 5 --ack-every 50ms --overflow drop-newest <answers >out 2>errors 3>&- &
    tail=$!
    exec 6>answers
    wait_for 5 is_held
    events 5 s | esdb-append -q
    wait_for 5 lines_are out 5
    events 95 s 5 | esdb-append -q
    wait_for 5 is .dropped eq 90
    assert_equal "$(lines_of out)" 5
    jq .position out >&6
    wait_for 5 lines_are out 10
    tail -n 5 out | jq .position >&6
    wait_for 5 is '.delivered + .dropped' eq 100
    kill "$tail"
    wait "$tail"
}

@test "wrong use" {
    local bad
    for bad in '--overflow nix' '--max-queue 0' '--warn-at 0' '--max-queue 2000000'; do
        # shellcheck disable=SC2086 # words
        run esdb-tail --name a --once $bad
        assert_equal "$bad: $status" "$bad: 2"
    done
    run esdb-tail s --overflow drop-oldest
    assert_failure 2
    assert_output --partial '--overflow goes with --name'
}
