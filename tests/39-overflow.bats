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

# ---- in a group ----

# spread FIRST LAST: events in 40 streams, more than a pipe holds; data is the number.
spread() {
    local fill
    fill=$(printf '%0900d' 0)
    seq "$1" "$2" | awk -v f="$fill" '{ printf "{\"stream_id\":\"s-%d\",\"event_type\":\"T\",\"data\":[%d,\"%s\"]}\n", $1 % 40, $1, f }' |
        esdb-append -q
}
of_group() { esdb-sub info g | jq "$1"; }
group_is() { test "$(of_group "$1")" "-$2" "$3"; }
dropped_of_parts() { esdb-read --system '$subpart:*:g' -t '$sub-dropped' --jq '.data.dropped[]'; }

# slow_member ARGUMENT...: as slow, of the group g.
slow_member() {
    esdb-tail --name g --group --all --max-queue 5 --ack-every 100ms "$@" >pipe 2>errors 3>&- &
    tail=$!
    exec 5<pipe
    wait_for 5 esdb-sub exists g
    wait_for 5 group_is .parts_held eq 64
}

@test "a group: what is dropped is told, counted and recorded, of each part" {
    local how
    for how in oldest newest; do
        slow_member --overflow "drop-$how" --warn-at 4
        spread 1 3000
        wait_for 5 group_is .dropped gt 0
        cat <&5 >out 3>&- &
        local reader=$!
        wait_for 10 group_is .lag eq 0
        wait_for 10 group_is '.delivered + .dropped' eq 3000
        kill "$tail"
        wait "$tail"
        wait "$reader"
        assert_equal "$(of_group .delivered)" "$(lines_of out)"
        [ "$(lines_of out)" -lt 2500 ]
        assert_equal "$({ dropped_of_parts; jq .position out; } | sort -n | uniq -d | wc -l)" 0
        assert_equal "$({ dropped_of_parts; jq .position out; } | sort -n | uniq | wc -l)" 3000
        [ "$(of_group .warned)" -ge 1 ]
        grep -q 'dropped: more than 5 waited' errors
        jq -r '"\(.stream_id) \(.version)"' out | awk '($1 in last) && $2 <= last[$1] { exit 1 } { last[$1] = $2 }'
        [ "$how" = newest ] || assert_equal "$(jq '.data[0]' out | sort -n | tail -n 1)" 3000
        esdb-sub remove g
        exec 5<&-
        rm -rf store
        new_store
    done
}

@test "a group: error ends one with status 9, and another goes on with what it had not delivered" {
    slow_member --overflow error
    spread 1 3000
    local status=0
    wait "$tail" || status=$?
    assert_equal "$status" 9
    cat <&5 >out
    [ "$(lines_of out)" -lt 2000 ]
    esdb-tail --name g --group --once >>out
    assert_equal "$(jq '.data[0]' out | sort -n -u | wc -l)" 3000
    assert_equal "$(lines_of out)" 3000
    assert_equal "$(of_group .dropped)" 0
}

@test "a group: while others come and go, everything is delivered or recorded as dropped" {
    local n pids=()
    for n in 1 2 3; do
        esdb-tail --name g --group --all --max-queue 3 --overflow drop-oldest --ack-every 50ms --exec -- \
            sh -c 'echo "$ESDB_POSITION"; sleep 0.01' >"out.$n" 2>>errors 3>&- &
        pids+=($!)
        wait_for 5 esdb-sub exists g
        spread $((n * 1000 - 999)) $((n * 1000 - 400))
        sleep 0.7
        spread $((n * 1000 - 399)) $((n * 1000))
    done
    kill "${pids[0]}"
    wait "${pids[0]}"
    wait_for 15 group_is .lag eq 0
    kill "${pids[@]:1}"
    wait "${pids[@]:1}"
    [ "$(of_group .dropped)" -gt 0 ]
    assert_equal "$({ dropped_of_parts; cat out.*; } | sort -n | uniq | wc -l)" 3000
    assert_equal "$(of_group .delivered)" "$(cat out.* | wc -l)"
    assert_equal "$(of_group .dropped)" "$(dropped_of_parts | wc -l)"
}

@test "a group: what was there when a part was taken is never dropped" {
    spread 1 2000
    slow_member --overflow drop-oldest
    cat <&5 >out 3>&- &
    wait_for 10 group_is .lag eq 0
    kill "$tail"
    wait "$tail"
    assert_equal "$(of_group .dropped) $(of_group .delivered)" '0 2000'
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
