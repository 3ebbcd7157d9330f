#!/usr/bin/env bats
# A cluster in operation: full disks, reads that must not be stale, changes of the membership, metrics.
load lib/load
load lib/cluster

teardown() {
    cluster_stop
    ! mountpoint -q "$PWD/disk" || umount -l disk
}

append() {
    printf '{"event_type":"T","data":{"n":%d}}\n' "$2" | esdb-append -S "$1" "${@:3}" stream
}

# The store of node $1 is on a disk of its own, which is small.
small_disk() {
    mkdir disk
    mount -t tmpfs -o size=6m none disk 2>/dev/null || skip 'cannot mount'
    mkdir disk/store
    ln -s disk/store "$1"
}

fill_disk() {
    head -c 64M /dev/zero >disk/filler 2>/dev/null || true
}

@test "a follower whose disk is full goes on without taking more, and recovers when there is space" {
    cluster_configure a b c
    small_disk b
    start_node a --bootstrap
    start_node b
    start_node c
    wait_for 10 voters a 3
    fill_disk
    for k in 1 2 3; do
        events 2000 "s$k" | esdb-append -S a --batch 200 -q
    done
    wait_for 5 grep -q 'its disk is full' b.log
    kill -0 "${node_pid[b]}"
    run append b 1
    assert_success
    rm disk/filler
    wait_for 10 caught_up
    run grep -c 'there is space again' b.log
    assert_output 1
    run esdb-verify -S b
    assert_success
}

@test "a leader whose disk is full refuses, keeps its lead and goes on when there is space" {
    cluster_configure a b c
    small_disk a
    start_node a --bootstrap
    start_node b
    start_node c
    wait_for 10 voters a 3
    fill_disk
    events 20000 big >big
    run esdb-append -S b --batch 200 -q <big
    assert_failure 1
    assert_output --partial 'this frame was not written: No space left on device'
    kill -0 "${node_pid[a]}"
    run esdb-cluster status -S a --json
    jq -e '.role == "leader"' <<<"$output"
    rm disk/filler
    run append c 1
    assert_success
    wait_for 10 caught_up
}

@test "an I/O error stops a node, with status 1" {
    cluster_start a b c
    chmod 0 b/raft/state
    [ "$(id -u)" -ne 0 ] || rm b/raft/state
    kill_node a
    wait_for 5 gone b
    status=0
    wait "${node_pid[b]}" || status=$?
    unset 'node_pid[b]'
    assert_equal "$status" 1
}

gone() {
    ! kill -0 "${node_pid[$1]}" 2>/dev/null
}
