#!/usr/bin/env bats
# Three nodes on loopback: one log, whoever is asked and whoever dies.
load lib/load
load lib/cluster

teardown() {
    cluster_stop
}

append() {
    printf '{"event_type":"T","data":{"n":%d}}\n' "$2" | esdb-append -S "$1" "${@:3}" stream
}

@test "an append on any node is on all of them" {
    cluster_start a b c
    run append b 1
    assert_success
    assert_output --partial '"first_version":0'
    run append a 2
    assert_output --partial '"first_version":1'
    run append c 3
    assert_output --partial '"first_version":2'
    wait_for 5 caught_up
    for n in a b c; do
        run esdb-read -S "$n" stream --fields data.n --output tsv
        run esdb-verify -S "$n"
        assert_success
    done
    run esdb-read -S b --all
    assert_equal "$(lines_of <<<"$output")" 3
}

@test "the statuses are those of a store that stands alone" {
    cluster_start a b c
    run append b 1 -e no-stream
    assert_success
    run append c 2 -e 5
    assert_failure 3
    assert_output --partial 'stream: expected version 5, found 0'
    run append c 2 -e 0
    assert_success
    echo '{"event_type":"T","event_id":"one"}' >event
    run esdb-append -S a --idempotent other <event
    assert_success
    run esdb-append -S b --idempotent other <event
    assert_success
    assert_output --partial '"existed":true'
    printf '{"event_type":"T","stream_id":"s1"}\n{"event_type":"T","stream_id":"s2"}\n' >both
    run esdb-append -S c --atomic -e s1=no-stream -e s2=no-stream <both
    assert_success
    assert_output --partial '"stream_count":2'
    run esdb-append -S a --atomic -e s1=0 -e s2=no-stream <both
    assert_failure 3
}

@test "the leader dies: appends go on, and what it had is there when it comes back" {
    cluster_start a b c
    append a 1
    kill_node a
    run append b 2
    assert_success
    run append c 3
    assert_success
    start_node a
    wait_for 5 caught_up
    run esdb-read -S a stream
    assert_equal "$(lines_of <<<"$output")" 3
    run append a 4
    assert_success
}

@test "a minority writes nothing and says why, with status 6" {
    cluster_start a b c
    append a 1
    kill_node b
    kill_node c
    sleep 0.5 # a leader that nobody follows steps down
    run append a 2 --timeout 1s
    assert_failure
    [ "$status" -eq 6 ] || [ "$status" -eq 10 ]
    run append a 3 --timeout 500ms
    assert_failure 6
    assert_output --partial 'no leader'
    assert_output --partial 'nothing was written'
    start_node b
    wait_for 5 append a 4
    wait_for 5 caught_up
    run esdb-read -S b stream
    refute_output --partial '"n":3'
}

@test "no daemon: status 6" {
    cluster_start a b c
    kill_node b TERM
    run append b 1 --timeout 200ms
    assert_failure 6
    assert_output --partial 'esdb-raftd does not run here'
    run esdb-read -S b --all
    assert_success
}

@test "a node whose disk was lost comes back as another one, and fetches everything" {
    cluster_start a b c
    events 1000 before | esdb-append -S a -q
    kill_node b
    rm -rf b
    start_node b
    wait_for 10 caught_up
    run append b 1
    assert_success
    run grep -c 'removing b as it was' a.log
    assert_output 1
    kill_node c
    run append b 2
    assert_success
    wait_for 5 caught_up
    run esdb-read -S b before
    assert_equal "$(lines_of <<<"$output")" 1000
}

@test "a store that stood alone keeps its events" {
    cluster_configure a b c
    esdb-init a >/dev/null
    events 500 old | esdb-append -S a -q
    sed -i "s/^store_id:.*/store_id: $(esdb-stat -S a --json | jq -r .store_id)/" ./*.yaml
    start_node a --bootstrap
    start_node b
    start_node c
    wait_for 10 voters a 3
    run append c 1
    assert_success
    wait_for 5 caught_up
    run esdb-read -S b old
    assert_equal "$(lines_of <<<"$output")" 500
    kill_node b TERM
    run esdb-raftd -c b.yaml --bootstrap
    assert_failure 2
    assert_output --partial 'bootstrapped before'
}

@test "who opened the store before it became replicated writes nothing into it any more" {
    cluster_configure a
    esdb-init --store-id "$cluster_id" a >/dev/null
    mkfifo in
    esdb-append -S a s --batch 1 <in >receipts 2>said 3>&- &
    local writer=$! status=0
    exec 9>in
    echo '{"event_type":"T"}' >&9
    wait_for 5 test -s receipts
    start_node a --bootstrap
    wait_for 5 sh -c 'esdb-cluster status -S a 2>/dev/null | grep -q ^healthy'
    kill_node a TERM
    echo '{"event_type":"T"}' >&9
    exec 9>&-
    wait "$writer" || status=$?
    assert_equal "$status" 6
    run cat said
    assert_output --partial 'esdb-append: a: has become replicated since this process opened it'
    assert_equal "$(lines_of <receipts)" 1
    assert_equal "$(esdb-read -S a s --count)" 1
    start_node a
    append a 2
    assert_equal "$(esdb-read -S a --all --count)" 2
}

@test "segments are closed alike, and get their indexes on every node" {
    cluster_configure a b c
    esdb-init --segment-size 64K a >/dev/null
    sed -i "s/^store_id:.*/store_id: $(esdb-stat -S a --json | jq -r .store_id)/" ./*.yaml
    start_node a --bootstrap
    start_node b
    start_node c
    wait_for 10 voters a 3
    for k in 1 2 3; do
        events 2000 "s$k" | esdb-append -S c --batch 100 -q
    done
    wait_for 5 caught_up
    for n in a b c; do
        wait_for 5 sealed "$n"
        run esdb-verify -S "$n"
        assert_success
        assert_output --partial '6000 events of 3 streams'
        run esdb-read -S "$n" s2 --reverse --limit 1
        assert_output --partial '"version":1999'
    done
}

# All segments but the last have an index.
sealed() {
    local logs=("$1"/log/*.log) indexes=("$1"/log/*.idx)
    [ "${#logs[@]}" -ge 2 ] && [ "${#indexes[@]}" -eq $((${#logs[@]} - 1)) ]
}

@test "a leader that is asked to end hands over: no append waits for an election" {
    cluster_start a b c
    append a 1
    kill_node a TERM
    assert_equal "$node_status" 0
    wait_for 1 grep -q 'leads in term' b.log c.log # it has been chosen already, and syncs its first frame
    run append b 2
    assert_success
    refute [ -e a/esdb.sock ]
}

@test "appends while leaders are killed: each acknowledged event once, in order" {
    cluster_start a b c
    (
        for ((i = 0; i < 150; i++)); do
            printf '{"event_type":"T","event_id":"e%d"}\n' "$i" | esdb-append -S c --timeout 10s -q stream || exit 1
        done
    ) 3>&- 4>&- &
    local writer=$! killed=0 victim
    for ((k = 0; k < 3; k++)); do
        sleep 0.4
        victim=$(leader) && [ "$victim" != c ] || continue
        kill_node "$victim"
        killed=$((killed + 1))
        start_node "$victim"
    done
    wait "$writer"
    [ "$killed" -ge 1 ]
    wait_for 10 caught_up
    esdb-read -S a stream | jq -r .event_id >found
    for ((i = 0; i < 150; i++)); do echo "e$i"; done | diff - found
}

@test "esdb-cluster: status, members, wait, transfer, watch" {
    cluster_start a b c
    run esdb-cluster wait --healthy -S a --timeout 10s
    assert_success
    run esdb-cluster status -S a --json
    assert_success
    jq -e '.role == "leader" and .leader == "a" and .healthy and (.members | length) == 3' <<<"$output"
    jq -e '[.members[] | select(.self | not) | .connected and .lag == 0] == [true, true]' <<<"$output"
    run esdb-cluster status -S b
    assert_output --partial 'node b: follower, leader a'
    run esdb-cluster members -S b
    assert_equal "$(grep -c ' voter ' <<<"$output")" 3
    timeout 20 esdb-cluster watch -S c >watched 3>&- 4>&- &
    wait_for 5 grep -q 'leader a' watched
    run esdb-cluster transfer b -S c
    assert_failure 6
    assert_output --partial 'c does not lead; ask a'
    run esdb-cluster transfer nobody -S a
    assert_failure 2
    run esdb-cluster transfer b -S a
    assert_success
    wait_for 5 grep -q 'leader b' watched
    kill %% 2>/dev/null || true
    kill_node c
    run esdb-cluster wait --healthy -S b --timeout 300ms
    assert_failure 6
    assert_output --partial 'a node cannot be reached'
    run esdb-cluster status -S c --timeout 100ms
    assert_failure 6
    esdb-init alone >/dev/null
    run esdb-cluster status -S alone
    assert_failure 2
    assert_output --partial 'is not a replicated store'
}

@test "a node that was removed says so, also one that led" {
    cluster_start a b c
    run esdb-cluster transfer a -S a
    assert_success
    assert_line 'a leads already'
    run esdb-cluster remove a --wait --timeout 2s -S a
    assert_failure 6
    assert_output --partial 'ask another node'
    wait_for 5 sh -c 'esdb-cluster status -S b | grep -q ^healthy'
    run esdb-cluster status -S a
    assert_line 'not healthy: this node was removed (esdb-cluster add on another one takes it back)'
    run append a 1 --timeout 100ms
    assert_failure 6
    assert_output --partial 'this node, a, was removed'
    append c 2
    run esdb-cluster add a --wait -S b
    assert_success
    append a 3
}

@test "a store that is a copy of another node's is refused, and not every moment" {
    cluster_start a b c
    kill_node b
    kill_node c TERM
    rm -rf b && cp -a c b && rm -f b/esdb.sock
    start_node c
    start_node b
    wait_for 5 grep -q 'has the raft id of another node' a.log c.log
    sleep 2
    run grep -h -c 'lost the connection' b.log
    [ "$output" -le 16 ] # two peers, 50 ms to 1 s between attempts
    append c 1
}
