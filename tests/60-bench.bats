#!/usr/bin/env bats
# esdb-bench: loads that end, say what they did, and leave nothing behind.
load lib/load

setup() {
    esdb_setup
    export TMPDIR=$PWD/tmp
    mkdir tmp
}

bench() {
    run timeout 60 esdb-bench "$@"
}

value() {
    jq -r "$1" <<<"${lines[-1]}"
}

@test "append: all events are appended by all writers, and the temporary store is removed" {
    bench append --writers 4 --events 203 --size 100 --streams 7 --json
    assert_success
    assert_equal "$(value '[.action, .writers, .events, .size, .batch, .streams, .operations] | @csv')" \
        '"append",4,203,100,1,7,203'
    assert_equal "$(value '.p50 > 0 and .p50 <= .p90 and .p90 <= .p99 and .p99 <= ."p99.9" and ."p99.9" <= .max')" true
    assert_equal "$(value '.rate > 0 and .seconds > 0')" true
    assert_equal "$(ls -A tmp)" ''
}

@test "append --batch: operations are appends" {
    bench append --events 100 --batch 30 --json
    assert_success
    assert_equal "$(value '[.events, .operations] | @csv')" 100,4
}

@test "append -S: the events are in the store, which stays" {
    new_store shop
    bench append -S shop --events 50 --streams 5 --writers 2 --size 64 --json
    assert_success
    assert_equal "$(esdb-read --all --count)" 50
    assert_equal "$(esdb-stream list --count 'bench-*')" 5
    assert_equal "$(esdb-read --all -n 1 | jq '.data | length')" 62
    run esdb-verify
    assert_success
}

@test "\$ESDB_STORE is left alone" {
    new_store shop
    bench append --events 5
    assert_success
    assert_equal "$(esdb-read --all --count)" 0
}

@test "read: scans and streams" {
    bench read --events 500 --readers 2 --json
    assert_success
    assert_equal "$(value '[.kind, .readers, .events, .operations] | @csv')" '"scan",2,1000,2'
    bench read --kind stream --events 500 --streams 500 --reads 50 --json
    assert_success
    assert_equal "$(value '[.kind, .operations, .events > 0] | @csv')" '"stream",50,true'
}

@test "tail: every event reaches every follower" {
    bench tail --events 40 --followers 3 --writers 2 --interval 0 --json
    assert_success
    assert_equal "$(value '[.action, .events, .followers, .operations] | @csv')" '"tail",40,3,120'
}

@test "floor: bare writes with sync, alone and under a lock" {
    bench floor --events 50 --json
    assert_success
    assert_equal "$(value '[.kind, .events] | @csv')" '"write-sync",50'
    bench floor --kind lock-write-sync --writers 3 --events 50 --size 300 --json
    assert_success
    assert_equal "$(value '[.kind, .writers, .size, .events] | @csv')" '"lock-write-sync",3,300,50'
    assert_equal "$(ls -A tmp)" ''
}

@test "a table without --json" {
    bench append --events 20
    assert_success
    assert_line --index 0 'append: 1 writer, 20 events of 250 bytes, 1 an append, 100 streams'
    assert_output --regexp 'events/s in '
    assert_output --regexp 'p50 +p90 +p99 +p99\.9 +max'
}

@test "--dir says where; a place that is not there is an error" {
    mkdir there
    bench append --events 5 --dir there
    assert_success
    assert_equal "$(ls -A there)" ''
    bench append --events 5 --dir nowhere
    assert_failure 1
    assert_output --partial 'nowhere'
}

@test "a signal ends it, and the temporary store is removed" {
    esdb-bench append --events 100000000 --writers 2 &
    pid=$!
    wait_for 5 bash -c 'ls tmp/*/store/log/*.log >/dev/null 2>&1'
    kill -TERM "$pid"
    status=0
    wait "$pid" || status=$?
    assert_equal "$status" 143
    assert_equal "$(ls -A tmp)" ''
}

@test "a full disk is an error that is told once for each process, and nothing stays" {
    [ "$(id -u)" -eq 0 ] || skip 'needs root'
    mkdir small
    mount -t tmpfs -o size=600k none small 2>/dev/null || skip 'cannot mount'
    bench append --dir small --events 5000 --size 1000
    umount_status=$status text=$output left=$(ls -A small)
    umount small
    assert_equal "$umount_status" 1
    assert_equal "$left" ''
    assert_regex "$text" 'No space left'
}

@test "options that mean nothing for an action are usage mistakes" {
    bench
    assert_failure 2
    bench run
    assert_failure 2
    bench read --batch 5
    assert_failure 2
    assert_output --partial '--batch has no meaning for read'
    bench append --kind scan
    assert_failure 2
    bench append --writers 0
    assert_failure 2
    bench floor --kind scan
    assert_failure 2
    assert_output --partial "'scan' is neither write-sync nor lock-write-sync"
}
