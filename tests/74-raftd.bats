#!/usr/bin/env bats
# esdb-raftd before it runs: keys, configuration.
load lib/load
load lib/cluster

@test "keygen: a file that only its owner reads, the public key on stdout, never over another" {
    run esdb-raftd --keygen node.key
    assert_success
    assert_output --regexp '^[A-Za-z0-9+/]{43}=$'
    assert_equal "$(stat -c %a node.key)" 600
    cp node.key before
    run esdb-raftd --keygen node.key
    assert_failure 2
    assert_output --partial 'never overwritten'
    cmp node.key before
    run esdb-raftd --keygen no/such/directory
    assert_failure 1
}

@test "check-config: prints the public key, or names file, line, column and field" {
    cluster_configure a b
    run esdb-raftd -c a.yaml --check-config
    assert_success
    assert_output "$(cat a.pub)"
    sed 's/^listen.*/listen: nowhere/' a.yaml >bad.yaml
    run esdb-raftd -c bad.yaml --check-config
    assert_failure 2
    assert_output --partial 'bad.yaml:5:9: listen: must be HOST:PORT'
    sed 's/^listen/lisen/' a.yaml >bad.yaml
    run esdb-raftd -c bad.yaml --check-config
    assert_failure 2
    assert_output --partial 'bad.yaml:5:1: lisen: there is no such field'
    sed 's/a\.key/b.key/' a.yaml >bad.yaml
    run esdb-raftd -c bad.yaml --check-config
    assert_failure 2
    assert_output --partial 'is not the key whose public half'
    sed 's/^listen/metrics: db.example:7412\nlisten/' a.yaml >bad.yaml
    run esdb-raftd -c bad.yaml --check-config
    assert_failure 2
    assert_output --partial 'metrics: the host must be localhost'
    sed 's/a\.key/none.key/' a.yaml >bad.yaml
    run esdb-raftd -c bad.yaml --check-config
    assert_failure 2
    assert_output --partial 'none.key: there is no such key'
    run esdb-raftd -c . --check-config
    assert_failure 2
    chmod 644 a.key
    run esdb-raftd -c a.yaml --check-config
    assert_failure 7
    assert_output --partial 'chmod 600'
}

@test "options that do not go together" {
    run esdb-raftd
    assert_failure 2
    assert_output --partial '--config is needed'
    run esdb-raftd --keygen x -c y
    assert_failure 2
    run esdb-raftd -c y --check-config --bootstrap
    assert_failure 2
    run esdb-raftd -c y --log xml
    assert_failure 2
    run esdb-raftd -c y operand
    assert_failure 2
}

@test "a store that stands alone is not taken without --bootstrap, nor another store with it" {
    cluster_configure a b
    esdb-init a >/dev/null
    run esdb-raftd -c a.yaml
    assert_failure 2
    assert_output --partial 'stands alone'
    run esdb-raftd -c a.yaml --bootstrap
    assert_failure 2
    assert_output --partial 'another store'
    echo '{"event_type":"T"}' | esdb-append -S a -q s
}

@test "strangers get nothing but a closed connection, and are logged once" {
    cluster_configure a b
    start_node a --bootstrap --log json
    wait_for 5 test -S a/esdb.sock
    for ((i = 0; i < 20; i++)); do
        printf 'GET / HTTP/1.0\r\n\r\n' | timeout 5 bash -c 'exec 3<>"/dev/tcp/127.0.0.1/$1"; cat >&3; cat <&3' - "${node_port[a]}" >>answer 2>/dev/null || true
    done
    assert_equal "$(wc -c <answer)" 0
    assert_equal "$(grep -c 'refused a connection' a.log)" 1
    jq -e -s 'map(select(.message | test("does not speak esdb"))) | length == 1' a.log
    kill_node a TERM
    assert_equal "$node_status" 0
}

@test "a second daemon for the same store is refused" {
    cluster_configure a b
    start_node a --bootstrap
    wait_for 5 test -S a/esdb.sock
    free_port again
    sed "s/^listen.*/listen: 127.0.0.1:$again/" a.yaml >again.yaml
    run timeout 10 esdb-raftd -c again.yaml
    assert_failure 6
    kill_node a TERM
    assert_equal "$node_status" 0
}

@test "no secret in arguments, environment or log" {
    cluster_configure a b
    start_node a --bootstrap
    wait_for 5 test -S a/esdb.sock
    secret=$(tail -n 1 a.key)
    run grep -l -F -e "$secret" "/proc/${node_pid[a]}/cmdline" "/proc/${node_pid[a]}/environ" a.log
    assert_failure
    kill_node a TERM
}

teardown() {
    cluster_stop
}
