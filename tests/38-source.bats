#!/usr/bin/env bats
# esdb-append --source: written once, however often, by however many and in whatever order it is tried.
load lib/load

setup() {
    esdb_setup
    new_store
}

placed() { echo '{"event_type":"Placed","data":{"n":1}}'; }

@test "a repeat writes nothing, prints the earlier receipt and exits 0" {
    run bash -c 'echo "{\"event_type\":\"A\"}{\"event_type\":\"B\"}" | esdb-append --source mail:17 x'
    assert_success
    first=$output
    refute_output --partial existed
    placed | esdb-append -q between
    run bash -c 'echo "{\"event_type\":\"A\"}{\"event_type\":\"B\"}" | esdb-append --source mail:17 x'
    assert_success
    assert_output "$(sed 's/"frame":1,//; s/}$/,"existed":true}/' <<<"$first")"
    assert_equal "$(esdb-read --all --count)" 3
}

@test "a repeat is found in other streams, with other content, by its number alone" {
    placed | esdb-append -q --source mail:17 x
    run bash -c 'echo "{\"event_type\":\"Other\",\"data\":2}" | esdb-append --source mail:17 y'
    assert_success
    assert_output --partial '"stream_id":"x","first_version":0,"last_version":0,"existed":true'
    run bash -c 'echo one line | esdb-append --source mail:17 --lines -t Line z'
    assert_output --partial '"existed":true'
    assert_equal "$(esdb-read --all --count)" 1
    # Another position and another name are other sources; 017 is the same position.
    placed | esdb-append -q --source mail:18 x
    placed | esdb-append -q --source mail:1:7 x
    placed | esdb-append -q --source mail:017 x
    assert_equal "$(esdb-read --all --count)" 3
}

@test "the receipt of a repeat has the streams of then" {
    printf '%s\n' '{"event_type":"A","stream_id":"a"}' '{"event_type":"A","stream_id":"b"}' '{"event_type":"A","stream_id":"a"}' >in
    esdb-append -q --source s:1 <in
    run bash -c 'sed s/stream_id\":\"./\&x/ in | esdb-append --source s:1'
    assert_success
    assert_output '{"first_position":0,"last_position":2,"count":3,"lines":3,"stream_count":2,"streams":[{"stream_id":"a","first_version":0,"last_version":1},{"stream_id":"b","first_version":0,"last_version":0}],"existed":true}'
}

@test "the ids are UUIDs of version 8 made from XXH3-128, and stay what they are" {
    printf '%s\n' '{"event_type":"A","event_id":"mine"}' '{"event_type":"B"}' | esdb-append -q --source mail:17 x
    run esdb-read x --jq .event_id
    assert_output '"363a9d43-c152-8cd9-932a-1dd702e1bcbf"
"f0975e09-b613-8cc2-a8c1-78e88d2c851d"'
}

@test "only some of the events are there: a conflict, and nothing is written" {
    placed | esdb-append -q --source mail:17 x
    run bash -c 'printf "%s\n" "{\"event_type\":\"A\"}" "{\"event_type\":\"B\"}" | esdb-append --source mail:17 x'
    assert_failure 3
    assert_output --partial '1 of 2 events of the frame are there already, the others are not'
    assert_equal "$(esdb-read --all --count)" 1
}

@test "an expectation that no longer holds does not matter to a repeat" {
    placed | esdb-append -q --source mail:17 -e no-stream x
    run bash -c 'echo "{\"event_type\":\"A\"}" | esdb-append --source mail:17 -e no-stream x'
    assert_success
    assert_output --partial '"existed":true'
    run bash -c 'echo "{\"event_type\":\"A\"}" | esdb-append --source mail:18 -e no-stream x'
    assert_failure 3
}

@test "events of deleted and truncated streams are there" {
    placed | esdb-append -q --source mail:1 x
    placed | esdb-append -q --source mail:2 y
    placed | esdb-append -q y
    esdb-stream delete x >/dev/null
    esdb-stream truncate y --before 1 >/dev/null
    for n in 1 2; do
        run bash -c "echo '{\"event_type\":\"A\"}' | esdb-append --source mail:$n z"
        assert_success
        assert_output --partial '"existed":true'
    done
    run esdb-read z
    assert_failure 4
}

@test "imports in between and sealed segments hide nothing, rebuilt indexes neither" {
    rm -rf store
    esdb-init --segment-size 64K small
    export ESDB_STORE=$PWD/small
    seq 100 | jq -c '{event_type: "A", data: .}' >hundred
    esdb-append -q --source mail:1 x <hundred
    seq 5000 | esdb-append -q --lines -t Line --batch 200 import
    [ "$(find small/log -name '*.log' | wc -l)" -gt 5 ]
    esdb-append -q --source mail:2 x <hundred
    seq 300 | esdb-append -q --lines -t Line import
    before=$(esdb-read --all --count)
    for n in 1 2; do
        run esdb-append --source "mail:$n" x <hundred
        assert_success
        assert_output --partial '"existed":true'
    done
    find small/log small/tables -name '*.idx' -delete -o -name '*.tbl' -delete
    rm -f small/head
    for n in 1 2; do
        run esdb-append --source "mail:$n" y <hundred
        assert_success
        assert_output --partial '"existed":true'
    done
    assert_equal "$(esdb-read --all --count)" "$before"
}

@test "settled segments are searched before the append lock is taken, not under it" {
    skip_if_variant
    command -v strace >/dev/null || skip 'needs strace'
    rm -rf store
    esdb-init --segment-size 64K small
    export ESDB_STORE=$PWD/small
    seq 5000 | esdb-append -q --lines -t Line --batch 200 import
    placed >one
    esdb-append -q --source mail:1 x <one
    # of the two: how often an index of a sealed segment was opened in all, and while the lock was held
    opened() {
        strace -qq -o trace -e trace=openat,openat2,fcntl esdb-append -q --source "$1" x <one
        awk '/OFD_SETLK/ && /F_WRLCK/ && / = 0/ { held = 1 } /OFD_SETLK/ && /F_UNLCK/ { held = 0 }
            /\.idx"/ && / = [0-9]/ { n++; under += held } END { print n + 0, under + 0 }' trace
    }
    read -r all under <<<"$(opened mail:2)"
    [ "$all" -ge 5 ]
    assert_equal "$under" 0
    # a repeat of what is settled takes no append lock at all
    seq 2000 | esdb-append -q --lines -t Line --batch 200 import
    opened mail:2 >/dev/null
    refute grep -q 'OFD_SETLK.*F_WRLCK' trace
    assert_equal "$(esdb-read x --count)" 2
}

@test "events of one frame that lie in settled segments and in the newest: all of it, or a conflict" {
    rm -rf store
    esdb-init --segment-size 64K small
    export ESDB_STORE=$PWD/small
    printf '{"event_type":"A"}\n{"event_type":"B"}\n{"event_type":"C"}\n' >three
    head -n 2 three >two
    esdb-append -q --source mail:1 x <two
    esdb-read x >stored
    seq 3000 | esdb-append -q --lines -t Line --batch 200 import
    run esdb-append --source mail:1 x <three
    assert_failure 3
    assert_output --partial '2 of 3 events'
    # the first of them in a settled segment only, the second in the newest one too
    sed -n 2p stored | jq -c 'del(.version, .stream_id)' | esdb-append -q copy
    run esdb-append --source mail:1 y <two
    assert_success
    assert_output --partial '"existed":true'
    assert_output --partial '"first_position":0'
}

@test "of 16 processes at once with the same source exactly one writes" {
    for round in 1 2 3 4 5; do
        for n in $(seq 16); do
            placed | esdb-append --source "race:$round" "s-$n" >"receipt.$round.$n" &
        done
        for job in $(jobs -p); do wait "$job"; done
        assert_equal "$(esdb-read --all --count)" "$round"
        assert_equal "$(cat receipt."$round".* | grep -c existed)" 15
        assert_equal "$(jq .first_position receipt."$round".* | sort -u)" $((round - 1))
    done
}

@test "what a source cannot be is refused" {
    for source in mail mail: :17 mail:x mail:-1 mail:99999999999999999999 "$(printf 'x%.0s' $(seq 256)):1"; do
        run esdb-append --source "$source" x </dev/null
        assert_failure 2
    done
    for option in --idempotent --on-error=skip --batch=5 --linger=5; do
        run esdb-append --source mail:1 "$option" x </dev/null
        assert_failure 2
        assert_output --partial 'go with it'
    done
    run esdb-append --source mail:1 --source mail:2 x </dev/null
    assert_failure 2
}

@test "a handler that is killed between its work and the answer has written once" {
    seq 20 | jq -c '{event_type: "Placed", stream_id: "order-\(. % 3)", data: {n: .}}' | esdb-append -q
    cat >answer <<'SH'
#!/bin/sh
jq -c '{event_type: "Mailed", data: {to: .data.n}, stream_id: "mails"}' | esdb-append -q --source "$ESDB_SOURCE" || exit
echo "$ESDB_POSITION $ESDB_ATTEMPT" >>runs
# The first attempt at every third event dies after its work is done.
[ $((ESDB_POSITION % 3)) -ne 0 ] || [ "$ESDB_ATTEMPT" -ne 1 ] || kill -9 $$
SH
    chmod +x answer
    run esdb-tail --name mailer 'order-*' --once --exec --workers 3 --backoff 10ms -- ./answer 3>&-
    assert_success
    assert_equal "$(lines_of runs)" 27
    assert_equal "$(esdb-read mails --count)" 20
    assert_equal "$(esdb-read mails --output data | jq .to | sort -n | paste -sd' ')" "$(seq 20 | paste -sd' ')"
    # Everything once more from the start.
    esdb-sub seek mailer start >/dev/null
    run esdb-tail --name mailer --once --exec --backoff 10ms -- ./answer 3>&-
    assert_success
    assert_equal "$(esdb-read mails --count)" 20
}

@test "a tail that is killed with its handlers again and again: every answer is there, exactly once" {
    seq 60 | jq -c '{event_type: "Placed", stream_id: "order-\(. % 5)", data: {n: .}}' | esdb-append -q
    cat >answer <<'SH'
#!/bin/sh
jq -c '{event_type: "Mailed", data: {to: .data.n}, stream_id: "mails"}' | esdb-append -q --source "$ESDB_SOURCE"
SH
    chmod +x answer
    for round in $(seq 12); do
        setsid esdb-tail --name mailer 'order-*' --wait --ack-every 1 --once --exec --workers 4 --backoff 10ms -- ./answer 2>/dev/null 3>&- &
        tail=$!
        sleep "0.$((RANDOM % 15 + 5))"
        kill -9 "$tail" 2>/dev/null || true
        wait "$tail" 2>/dev/null || true
    done
    run esdb-tail --name mailer 'order-*' --wait --once --exec --workers 4 --backoff 10ms -- ./answer 3>&-
    assert_success
    sleep 0.3 # orphans of killed tails may still write, if only what is there
    assert_equal "$(esdb-read mails --output data | jq .to | sort -n | paste -sd' ')" "$(seq 60 | paste -sd' ')"
}
