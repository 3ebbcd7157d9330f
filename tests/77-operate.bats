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

@test "--consistent and --wait-for: what was acknowledged anywhere is seen, or status 6 says why not" {
    cluster_start a b c
    for ((i = 0; i < 30; i++)); do
        append a "$i" -q
        assert_equal "$(esdb-read -S b --consistent --count stream)" $((i + 1))
        assert_equal "$(esdb-stream version -S c --consistent stream)" "$i"
    done
    assert_equal "$(esdb-read -S a --consistent --count stream)" 30
    position=$(append a 30 | jq .first_position)
    run esdb-read -S c --wait-for "pos:$position" --from "$position" --count --all
    assert_success
    assert_output 1
    run esdb-read -S c --wait-for "pos:$((position + 1))" --timeout 100ms --all
    assert_failure 6
    assert_output --partial "position $((position + 1)) is not here yet: the next one is $((position + 1))"
    kill -STOP "${node_pid[a]}"
    run esdb-read -S b --consistent --count --all --timeout 5s
    assert_success
    kill_node c
    run esdb-read -S b --consistent --count --all --timeout 500ms
    assert_failure 6
    assert_output --partial 'was not confirmed in time by a majority'
    esdb-read -S b --count --all
    kill -CONT "${node_pid[a]}"
    run esdb-read -S a --consistent --count --all
    assert_success
    kill_node b
    run esdb-read -S a --consistent --all --timeout 500ms
    assert_failure 6
    run esdb-read -S b --consistent --all --timeout 100ms
    assert_failure 6
    assert_output --partial 'esdb-raftd does not run here'
    refute_output --partial 'nothing was written'
}

@test "a store that stands alone is consistent; wrong usage" {
    esdb-init alone >/dev/null
    run esdb-read -S alone --consistent --count --all
    assert_success
    run esdb-read -S alone --wait-for 5 --all
    assert_failure 2
    run esdb-read -S alone --timeout 5s --all
    assert_failure 2
    (sleep 0.3 && append alone 1 -q) 3>&- 4>&- &
    run esdb-read -S alone --wait-for pos:0 --all --count
    assert_success
    assert_output 1
}

@test "esdb-cluster remove and add: whoever leads does it, also when it is itself that goes" {
    cluster_start a b c
    append a 1 -q
    run esdb-cluster remove nobody -S a
    assert_failure 2
    assert_output --partial 'nobody: no such node in the configuration'
    run esdb-cluster remove c --wait -S b
    assert_success
    run esdb-cluster members -S a
    refute_output --partial 'c  '
    run esdb-cluster wait --healthy -S a
    assert_success
    kill_node c
    append b 2 -q
    run esdb-cluster remove a --wait --timeout 10s -S b
    assert_success
    run append b 3
    assert_success
    kill_node b
    start_node b # it knows still who was removed
    wait_for 5 append b 4 -q
    run esdb-cluster members -S b
    assert_equal "$(lines_of <<<"$output")" 1
    start_node c
    run esdb-cluster add c --wait --timeout 10s -S b
    assert_success
    run esdb-cluster add a --wait --timeout 10s -S b
    assert_success
    wait_for 10 caught_up
    kill_node b
    run append c 5 --timeout 10s
    assert_success
    run esdb-cluster add
    assert_failure 2
}

@test "a daemon that dies before it answers is asked again: each event is written once" {
    cluster_start a b c
    (
        for ((i = 0; i < 120; i++)); do
            append b "$i" --timeout 10s -q || exit 1
        done
    ) 3>&- 4>&- &
    local writer=$!
    for ((k = 0; k < 4; k++)); do
        sleep 0.15
        kill_node b
        start_node b
    done
    wait "$writer"
    wait_for 10 caught_up
    esdb-read -S a stream | jq .data.n | diff - <(seq 0 119)
}

@test "an append that nobody answers in time: status 10, and the receipt says so" {
    cluster_start a b c
    append a 1 -q
    kill -STOP "${node_pid[b]}" "${node_pid[c]}"
    run append a 2 --timeout 150ms
    kill -CONT "${node_pid[b]}" "${node_pid[c]}"
    assert_failure 10
    assert_line '{"outcome":"unknown"}'
}

@test "metrics, for Prometheus, on loopback only" {
    local port
    free_port port
    cluster_configure a
    sed -i "1i metrics: 127.0.0.1:$port" a.yaml
    start_node a --bootstrap
    wait_for 5 append a 1 -q
    run append a 2 -e 7
    exec {http}<>"/dev/tcp/127.0.0.1/$port"
    printf 'GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n' >&"$http"
    run cat <&"$http"
    exec {http}>&-
    assert_line --index 0 --partial '200 OK'
    assert_line 'esdb_raft_role{node="a",role="leader"} 1'
    assert_line 'esdb_raft_voter{peer="a"} 1'
    assert_line 'esdb_appends_total 1'
    assert_line 'esdb_refusals_total 1'
    exec {http}<>"/dev/tcp/127.0.0.1/$port"
    printf 'GET /other HTTP/1.1\r\n\r\n' >&"$http"
    run cat <&"$http"
    exec {http}>&-
    assert_line --index 0 --partial '404'
    kill_node a TERM
    assert_equal "$node_status" 0
    sed -i 's/^metrics: .*/metrics: b.example:80/' a.yaml
    run esdb-raftd -c a.yaml
    assert_failure 2
    assert_output --partial 'metrics: the host must be localhost'
}

@test "the service manager is told: ready, what it is, stopping" {
    cluster_configure a
    rm -f manager
    command -v python3 >/dev/null || skip 'needs python3'
    python3 -u -c '
import socket
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind("manager")
while True:
    print(s.recv(4096).decode())' >told 3>&- 4>&- &
    local manager=$!
    wait_for 5 test -S manager
    export NOTIFY_SOCKET=$PWD/manager WATCHDOG_USEC=300000
    start_node a --bootstrap
    unset NOTIFY_SOCKET WATCHDOG_USEC
    wait_for 5 grep -q 'STATUS=leads in term' told
    wait_for 5 grep -q 'WATCHDOG=1' told
    kill_node a TERM
    wait_for 5 grep -q 'STOPPING=1' told
    kill "$manager"
    grep -q 'READY=1' told
}

@test "leaders are killed under load: writes go on within the bar" {
    [ -z "${SANITIZE:-}${COVERAGE:-}" ] || skip 'plain builds only'
    run env BUILD="$BUILD_DIR" BOUNDED=1 "$REPO/tests/faults/failover" 4
    echo "# $output" >&3
    assert_success
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
