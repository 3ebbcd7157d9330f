#!/usr/bin/env bats
# esdb-verify: finds every damage, tells it apart from what is harmless, rebuilds what is derived.
load lib/load

# sums: what the store's files hold.
sums() {
    find "$ESDB_STORE" -type f -exec sha256sum {} + | sort
}

# A store with several sealed segments.
sealed_store() {
    new_store store --segment-size 64K
    seq 1 2000 | awk '{printf "{\"stream_id\":\"s-%d\",\"event_type\":\"T\",\"data\":{\"n\":%d}}\n", $1 % 20, $1}' |
        esdb-append -q --batch 25
}

@test "a whole store is ok: one summary line, status 0, nothing written" {
    new_store
    events 5 a | esdb-append -q --batch 2
    before=$(sums)
    run_split esdb-verify store
    assert_success
    assert_equal "$stderr" ''
    assert_regex "$output" '^ok: 5 events of 1 stream in 3 frames and 1 segment, [0-9]+ bytes$'
    assert_equal "$(sums)" "$before"
    run esdb-verify --quiet
    assert_success
    assert_output ''
}

@test "an empty store is ok" {
    new_store
    run esdb-verify
    assert_success
    assert_output --partial 'ok: 0 events'
}

@test "sealed segments are verified whole, --json sums up in one object" {
    sealed_store
    run esdb-verify --json
    assert_success
    assert_equal "$(jq -c '[.events, .streams, .frames, .damaged, .torn, .derived, .ok]' <<<"${lines[-1]}")" \
        '[2000,20,80,0,0,0,true]'
    assert_equal "$(jq .segments <<<"${lines[-1]}")" "$(find store/log -name '*.log' | wc -l)"
}

@test "a damaged byte of an event is named with file and offset, and is status 5" {
    new_store
    events 3 a | esdb-append -q --batch 1
    flip store/log/0000000000000001.log 330
    run_split esdb-verify store
    assert_equal "$status" 5
    assert_equal "${lines[0]}" 'damage: log/0000000000000001.log: 240: position 0: event checksum is wrong'
    assert_regex "${lines[-1]}" '^damaged: .*; 1 damaged'
    run esdb-verify --json
    assert_failure 5
    assert_equal "$(jq -c '[.finding, .file, .offset, .text]' <<<"${lines[0]}")" \
        '["damage","log/0000000000000001.log",240,"position 0: event checksum is wrong"]'
    assert_equal "$(jq .ok <<<"${lines[-1]}")" false
}

@test "a damaged byte in any sealed segment, first and last one included, is found" {
    sealed_store
    count=0
    for file in store/log/*.log; do
        size=$(esdb-dump --json "$file" | jq -s 'map(select(.what == "frame")) | last | .offset + .length')
        for offset in 40 $((size / 2)) $((size - 20)); do
            flip "$file" "$offset"
            run esdb-verify store
            [ "$status" -eq 5 ] || fail "$file: $offset: status $status: $output"
            assert_output --partial "damage: log/$(basename "$file"): "
            flip "$file" "$offset"
            count=$((count + 1))
        done
    done
    [ "$count" -ge 9 ]
    run esdb-verify store
    assert_success
}

@test "an append that never ended is torn: told, and status 0" {
    new_store
    events 2 a | esdb-append -q --batch 1
    end=$(esdb-dump --json store/log/0000000000000001.log | jq -s 'map(select(.what == "frame")) | last | .offset + .length')
    printf 'ESF1\160\0\001\0half a frame' | dd of=store/log/0000000000000001.log bs=1 seek="$end" conv=notrunc status=none
    run esdb-verify store
    assert_success
    assert_line --regexp "^torn: log/0000000000000001.log: $end: "
    assert_line --regexp '^ok: 2 events .*; 1 torn$'
    echo '{"event_type":"T"}' | esdb-append -q a
    run esdb-verify store
    assert_success
    refute_output --partial torn
    assert_output --partial 'ok: 3 events'
}

@test "the last frame, when head proves that it was durable, is damage and not torn" {
    new_store
    events 2 a | esdb-append -q --batch 1
    end=$(esdb-dump --json store/log/0000000000000001.log | jq -s 'map(select(.what == "frame")) | last | .offset')
    flip store/log/0000000000000001.log $((end + 20))
    run esdb-verify store
    assert_failure 5
    assert_line --regexp "^damage: log/0000000000000001.log: $end: "
}

@test "a truncated sealed segment is damage" {
    sealed_store
    file=$(find store/log -name '*.log' | sort | head -n 1)
    chmod u+w "$file"
    truncate -s 30000 "$file"
    run esdb-verify store
    assert_failure 5
    assert_output --partial "damage: log/$(basename "$file"): "
}

@test "a missing segment is damage" {
    sealed_store
    rm -f "$(find store/log -name '*.log' | sort | sed -n 2p)"
    run esdb-verify store
    [ "$status" -eq 5 ]
}

@test "a damaged index of a sealed segment is derived: status 0, and --rebuild makes it anew" {
    sealed_store
    index=$(find store/log -name '*.idx' | sort | head -n 1)
    flip "$index" 5000
    run esdb-verify store
    assert_success
    assert_output --partial "derived: log/$(basename "$index"): "
    assert_line --regexp '^ok: .*; [0-9]+ derived to rebuild$'
    run esdb-verify --rebuild store
    assert_success
    refute_output --partial derived
    assert_line --regexp '^ok: 2000 events of 20 streams'
}

@test "--rebuild makes everything derived anew, and answers stay the same" {
    sealed_store
    before=$(esdb-stream list; esdb-read s-7)
    rm -rf store/head store/tables store/log/*.idx
    run esdb-verify --rebuild store
    assert_success
    assert_output --partial 'ok: 2000 events of 20 streams'
    assert_equal "$(esdb-stream list; esdb-read s-7)" "$before"
    for file in $(find store/log -name '*.log' | sort | head -n -1); do
        assert_file_exist "${file%.log}.idx"
    done
}

@test "--repair of a whole store changes nothing that matters" {
    new_store
    events 3 a | esdb-append -q
    before=$(esdb-read a)
    run esdb-verify --repair store
    assert_success
    assert_equal "$(esdb-read a)" "$before"
    echo '{"event_type":"T"}' | esdb-append -q a
    assert_equal "$(esdb-stream version a)" 3
}

@test "a poisoned store refuses appends until --repair, and is read meanwhile" {
    command -v strace >/dev/null || skip 'needs strace'
    new_store
    events 3 a | esdb-append -q
    strace -f -o trace -e trace=fdatasync -e inject=fdatasync:error=EIO:when=1 \
        sh -c 'echo "{\"event_type\":\"Lost\"}" | esdb-append a' >out 2>err && fail 'the append was acknowledged'
    assert_equal "$(cat out)" ''
    grep -q INJECTED trace || skip 'strace could not inject'
    run esdb-stat store
    assert_line --regexp '^poisoned'
    run bash -c 'echo "{\"event_type\":\"T\"}" | esdb-append a'
    assert_failure 1
    assert_output --partial 'esdb-verify --repair'
    [ "$(esdb-read --count a)" -ge 3 ]
    run esdb-verify --repair store
    assert_success
    run bash -c 'echo "{\"event_type\":\"T\"}" | esdb-append -q a'
    assert_success
    run esdb-stat store
    refute_output --partial poisoned
    run esdb-verify store
    assert_success
}

@test "--repair refuses when something durable is damaged, and changes nothing" {
    new_store
    events 3 a | esdb-append -q --batch 1
    flip store/log/0000000000000001.log 330
    before=$(sha256sum store/log/*.log)
    run esdb-verify --repair store
    assert_failure 5
    assert_equal "$(sha256sum store/log/*.log)" "$before"
}

@test "a user who may only read can verify, and nothing is written" {
    sealed_store
    chmod -R go+rX "$BATS_TEST_TMPDIR"
    as_nobody test -r store/store.yaml || skip 'the folder is closed to others'
    before=$(sums)
    run as_nobody "$(command -v esdb-verify)" store
    assert_success
    assert_output --partial 'ok: 2000 events'
    assert_equal "$(sums)" "$before"
}

@test "what is not a store is status 2" {
    run_split esdb-verify none
    assert_equal "$status" 2
    assert_equal "$output" ''
    run_split esdb-verify --repair none
    assert_equal "$status" 2
    run_split esdb-verify a b
    assert_equal "$status" 2
}
