#!/usr/bin/env bats
# A node that lacks more than the others remember frame by frame fetches segments; a damaged one stops, and begins anew.
load lib/load
load lib/cluster

teardown() {
    cluster_stop
}

# big_cluster SEGMENTS NODE...: the first node begins with a store of about so many segments of 64 KiB; all run, and are voters.
# Nodes remember 64 KiB of the log.
big_cluster() {
    local first=$2
    extra=$'limits:\n  trail: 64K'"${more:-}"
    esdb-init --segment-size 64K "$first" >/dev/null
    cluster_id=$(sed -n 's/^store_id: *//p' "$first/store.yaml")
    cluster_configure "${@:2}"
    events $(($1 * 180)) before | esdb-append -S "$first" -q --batch 20
    start_node "$first" --bootstrap
    wait_for 5 test -S "$first/esdb.sock"
}

append() {
    printf '{"event_type":"T","data":{"n":%d}}\n' "$2" | esdb-append -S "$1" "${@:3}" stream
}

same_frames() {
    local n first='' now
    for n in "$@"; do
        now=$(esdb-read -S "$n" --all --system | sha256sum)
        [ "${first:=$now}" = "$now" ] || return 1
    done
}

@test "nodes with empty directories join a store of many segments: they fetch it, and hold the same" {
    big_cluster 12 a b c
    start_node b
    start_node c
    wait_for 20 voters a 3
    assert [ "$(find a/log -name '*.log' | wc -l)" -ge 5 ]
    run grep -c 'has installed what was fetched' b.log c.log
    assert_line b.log:1
    assert_line c.log:1
    for n in b c; do
        run esdb-verify -S "$n"
        assert_success
        assert [ ! -e "$n/fetch" ]
    done
    append b 1
    wait_for 5 caught_up
    kill_node a
    wait_for 5 append c 2
}

@test "compressed segments travel as what they stand for; a node compresses its own" {
    big_cluster 12 a b c
    esdb-scavenge -S a --compress -q
    assert_equal "$(od -An -tu1 -j24 -N1 a/log/0000000000000001.log | tr -d ' ')" 1
    start_node b
    start_node c
    wait_for 20 voters a 3
    assert_equal "$(grep -c 'has installed what was fetched' b.log c.log | sort | tr '\n' ' ')" 'b.log:1 c.log:1 '
    wait_for 5 caught_up
    esdb-scavenge -S c --compress -q
    assert_equal "$(od -An -tu1 -j24 -N1 c/log/0000000000000001.log | tr -d ' ')" 1
    assert_equal "$(od -An -tu1 -j24 -N1 b/log/0000000000000001.log | tr -d ' ')" 0
    append b 1
    wait_for 5 caught_up
    same_frames a b c
    for n in a b c; do
        run esdb-verify -S "$n"
        assert_success
    done
    kill_node c
    append a 2
    start_node c
    wait_for 10 caught_up
    same_frames a c
}

@test "only what is missing travels, and a fetch that breaks off goes on where it was" {
    more=$'\n  fetch_rate: 400K' big_cluster 20 a b
    start_node b
    wait_for 20 test -e b/fetch
    wait_for 10 parts_of b 3
    kill_node b
    kept=$(du -sb b/fetch | cut -f 1)
    assert [ "$kept" -ge 100000 ]
    start_node b
    wait_for 20 grep -q 'has installed what was fetched' b.log
    wait_for 5 caught_up
    # what the second run says it fetched is what was left
    left=$(grep 'has fetched' b.log | tail -n 1 | grep -o '[0-9]* KB' | cut -d ' ' -f 1)
    all=$(find a/log -name '*.log' -printf '%s\n' | awk '{ n += $1 } END { print int(n / 1024) }')
    assert [ "$left" -lt $((all - kept / 1024 + 300)) ]
    run esdb-verify -S b
    assert_success
    # a node that was away for long lacks a suffix
    kill_node b
    events 1500 later | esdb-append -S a -q --batch 20 --timeout 300ms || true
    start_node b
    wait_for 10 append a 1
    events 3000 later | esdb-append -S a -q --batch 20
    wait_for 10 caught_up
    run esdb-verify -S b
    assert_success
}

parts_of() {
    [ "$(find "$1/fetch" -name '*.part' | wc -l)" -ge "$2" ]
}

@test "bytes that are not what was written: the node stops with status 5, says where, and takes no part" {
    big_cluster 6 a b c
    start_node b
    start_node c
    wait_for 20 voters a 3
    wait_for 5 caught_up
    for place in trail old; do
        kill_node b TERM
        if [ $place = trail ]; then
            victim=$(find b/log -name '*.log' | sort | tail -n 1)
            offset=400
        else
            victim=$(find b/log -name '*.log' | sort | head -n 2 | tail -n 1)
            offset=30000
        fi
        cp "$victim" before
        chmod u+w "$victim"
        printf '\377\377\377' | dd of="$victim" bs=1 seek=$offset conv=notrunc status=none
        start_node b
        wait_for 10 ended b
        node_status=0
        wait "${node_pid[b]}" || node_status=$?
        unset 'node_pid[b]'
        assert_equal "$node_status" 5
        run tail -n 3 b.log
        assert_output --partial "log/$(basename "$victim"), offset"
        assert_output --partial 'takes no part any more'
        cp before "$victim"
        start_node b
        wait_for 5 append b 1
        wait_for 5 caught_up
    done
    run esdb-cluster members -S a
    assert_output --regexp 'b +voter'
}

ended() {
    tail -n 1 "$1.log" | grep -q 'takes no part\|esdb-raftd: [^ ]*/log/'
}

@test "--rejoin: the damaged store is kept aside, the node comes back as another one and has everything" {
    big_cluster 6 a b c
    start_node b
    start_node c
    wait_for 20 voters a 3
    append a 1
    wait_for 5 caught_up
    kill_node b TERM
    id=$(id_of b)
    victim=$(find b/log -name '*.log' | sort | head -n 1)
    chmod u+w "$victim"
    printf '\377' | dd of="$victim" bs=1 seek=40000 conv=notrunc status=none
    rm b/raft/state
    run timeout 10 esdb-raftd -c b.yaml
    assert_failure 5
    assert_output --partial 'b/raft/state: there is none'
    : >b/raft/state
    run timeout 10 esdb-raftd -c b.yaml
    assert_failure 5
    assert_output --partial 'cannot tell what it voted for'
    assert_output --partial 'esdb-raftd --rejoin'
    start_node b --rejoin
    wait_for 20 grep -q 'removing b as it was' a.log
    wait_for 20 caught_up
    wait_for 10 append b 2
    run ls -d b.damaged-*
    assert_success
    assert [ "$(id_of b)" != "$id" ]
    run esdb-verify -S b
    assert_success
    wait_for 10 health b
    kill_node a
    wait_for 5 append b 3
    wait_for 5 caught_up
}

id_of() {
    grep -o 'begins as .*, raft id [0-9a-f]*' "$1.log" | tail -n 1 | grep -o '[0-9a-f]*$'
}

health() {
    esdb-cluster status -S a | grep -q '^healthy'
}

@test "a daemon that runs keeps its store from --rejoin; another store is not touched" {
    cluster_configure a b
    start_node a --bootstrap
    wait_for 5 test -S a/esdb.sock
    free_port again
    sed "s/^listen.*/listen: 127.0.0.1:$again/" a.yaml >again.yaml
    run timeout 10 esdb-raftd -c again.yaml --rejoin
    assert_failure 6
    assert [ -S a/esdb.sock ]
    esdb-init b >/dev/null
    run timeout 10 esdb-raftd -c b.yaml --rejoin
    assert_failure 2
    assert [ -e b/store.yaml ]
}
