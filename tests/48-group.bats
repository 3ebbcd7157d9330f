#!/usr/bin/env bats
# esdb-tail --name that is followed by several processes: --group, --partition K/N.
load lib/load

setup() {
    esdb_setup
    new_store
}

teardown() {
    for pid in $(jobs -p); do kill -9 "$pid" 2>/dev/null || true; done
}

# put FIRST LAST: an event each, in 40 streams; data is the number.
put() {
    seq "$1" "$2" | awk '{ printf "{\"stream_id\":\"s-%d\",\"event_type\":\"T\",\"data\":%d}\n", $1 % 40, $1 }' | esdb-append -q
}

# member N [ARGUMENT...]: a process of the group, writing to out.N.
declare -A pid
member() {
    local n=$1
    shift
    esdb-tail --name g --group --ack-every 50ms "$@" >>"out.$n" 2>>"errors.$n" 3>&- &
    pid[$n]=$!
    wait_for 5 esdb-sub exists g
}
info() { esdb-sub info g | jq "$1"; }
is() { test "$(info "$1")" "-$2" "$3"; }
shared_by() { is .members eq "$1" && is .parts_held eq 64; }
settle() { wait_for 10 shared_by "$1" && sleep 1.2; }
done_all() { wait_for 15 is .lag eq 0; }

# Every number of 1 .. $1 is in the outputs; per stream ascending within each output.
complete() {
    assert_equal "$(cat out.* | jq .data | sort -n -u | wc -l)" "$1"
    local f
    for f in out.*; do
        assert_equal "$f: $(jq -r '"\(.stream_id) \(.version)"' "$f" | awk '($1 in last) && $2 <= last[$1] { print } { last[$1] = $2 }')" "$f: "
    done
}

@test "two share the work; one that comes gets its share, one that goes leaves it" {
    put 1 400
    member 1 --all
    wait_for 10 lines_are out.1 400
    member 2
    settle 2
    put 401 800
    done_all
    assert_equal "$(($(lines_of out.1) + $(lines_of out.2)))" 800
    [ "$(lines_of out.2)" -ge 100 ]
    member 3
    settle 3
    put 801 1200
    done_all
    [ "$(lines_of out.3)" -ge 50 ]
    kill "${pid[1]}"
    wait "${pid[1]}"
    settle 2
    put 1201 1600
    done_all
    complete 1600
    assert_equal "$(cat out.* | wc -l)" 1600 # none twice: nobody died
    assert_equal "$(cat errors.*)" ''
}

lines_are() { [ "$(lines_of "$1")" -ge "$2" ]; }

@test "one that is killed leaves its parts to the others, and nothing is lost" {
    member 1 --all
    member 2
    settle 2
    put 1 400
    kill -9 "${pid[2]}"
    put 401 800
    settle 1
    done_all
    [ "$(cat out.* | jq .data | sort -n -u | wc -l)" -eq 800 ]
    assert_equal "$(info .parts_held)" 64
}

@test "while they come and go, no stream is delivered by two at once, and each in order" {
    cat >handle <<'END'
#!/bin/sh
mkdir "lock.$ESDB_STREAM_ID" || echo "two at once: $ESDB_STREAM_ID" >>overlap
echo "$ESDB_STREAM_ID $ESDB_VERSION" >>order
rmdir "lock.$ESDB_STREAM_ID"
END
    chmod +x handle
    put 1 300
    member 1 --all --exec --workers 2 -- ./handle
    sleep 0.7
    member 2 --exec --workers 2 -- ./handle
    put 301 500
    sleep 0.8
    kill "${pid[1]}"
    member 3 --exec --workers 2 -- ./handle
    sleep 0.8
    kill "${pid[2]}"
    done_all
    kill "${pid[3]}"
    wait
    [ ! -e overlap ]
    assert_equal "$(sort -u order | wc -l)" 500
    assert_equal "$(awk '$2 < last[$1] { print } { last[$1] = $2 }' order)" ''
    assert_equal "$(wc -l <order)" 500
}

@test "seek needs them to end, or --force, and then they begin there" {
    put 1 100
    member 1 --all
    wait_for 10 lines_are out.1 100
    run esdb-sub seek g start
    assert_failure 6
    assert_output --partial 'holds part'
    esdb-sub seek --force g start
    wait_for 10 lines_are out.1 200
    kill "${pid[1]}"
    wait "${pid[1]}"
    assert_equal "$(info .lag)" 0
    esdb-sub seek g pos:50
    assert_equal "$(info '[.checkpoint, .lag]' | jq -c .)" '[50,50]'
    esdb-tail --name g --once >out.2
    assert_equal "$(jq .data out.2 | sort -n | head -n 1)" 51
    assert_equal "$(lines_of out.2)" 50
}

@test "ack, remove and --change are for all parts" {
    put 1 100
    esdb-tail --name g --group 's-*' --once --from end
    esdb-sub seek g start
    esdb-sub ack g 79
    assert_equal "$(esdb-tail --name g --once | lines_of)" 20
    run esdb-sub ack g 10
    assert_failure 3
    esdb-tail --name g --once --change s-1 s-2 --from start >out
    assert_equal "$(jq -r .stream_id out | sort -u | tr '\n' ' ')" 's-1 s-2 '
    esdb-sub remove g
    run esdb-sub exists g
    assert_failure 4
    # What the parts of the old one knew is forgotten.
    esdb-tail --name g --group 's-*' --once >out
    assert_equal "$(lines_of out)" 100
}

@test "a removed one ends them; a parked event is given again by whoever has its part" {
    put 1 100
    member 1 --all --exec --retries 0 -- sh -c '[ "$ESDB_POSITION" != 7 ] || [ -e mended ]'
    member 2 --exec --retries 0 -- sh -c '[ "$ESDB_POSITION" != 7 ] || [ -e mended ]'
    done_all
    wait_for 5 is .parked eq 1
    : >mended
    esdb-sub parked retry g 7
    wait_for 10 is .parked eq 0
    settle 2
    esdb-sub remove --force g
    local status=0
    wait "${pid[1]}" || status=$?
    assert_equal "$status" 4
    status=0
    wait "${pid[2]}" || status=$?
    assert_equal "$status" 4
}

@test "--partition: each part with its own checkpoint; another number is refused with the way out" {
    put 1 400
    local k
    for k in 1 2 3; do
        esdb-tail --name p --all --partition "$k/3" --once >"out.$k"
    done
    assert_equal "$(cat out.* | jq .data | sort -n -u | wc -l)" 400
    assert_equal "$(cat out.* | wc -l)" 400
    assert_equal "$(jq -r .stream_id out.2 | head -n 1 | xargs -I{} esdb-stream partition {} 3)" 2
    put 401 500
    esdb-tail --name p --partition 2/3 --once >out.2b
    [ "$(lines_of out.2b)" -gt 0 ]
    assert_equal "$(esdb-sub info p | jq '.lag > 0 and .parts == 3')" true
    run_split esdb-tail --name p --partition 1/4 --once
    assert_equal "$status" 2
    [[ $stderr == *'is divided into 3 parts, which are followed with --partition 1/3 to 3/3'* ]]
    [[ $stderr == *"run 'esdb-sub remove p', and begin with --from pos:"* ]]
    local from=${stderr##*--from }
    for bad in '' '--group' '--partition 1/2'; do
        # shellcheck disable=SC2086 # words
        run esdb-tail --name p $bad --once
        assert_failure 2
    done
    esdb-sub remove p
    esdb-tail --name p --all --partition 1/2 --once --from "$from" >out.4
    esdb-tail --name p --partition 2/2 --once >out.5
    assert_equal "$(cat out.* | jq .data | sort -n -u | wc -l)" 500
}

@test "--partition: one holder of each part" {
    put 1 10
    esdb-tail --name p --all --partition 1/2 >out.1 3>&- &
    wait_for 5 eval 'esdb-sub info p | jq -e .held >/dev/null'
    run esdb-tail --name p --partition 1/2 --once
    assert_failure 6
    esdb-tail --name p --partition 2/2 --once
}

# once N SECONDS: a member with --once whose command takes so long for each event.
once() {
    esdb-tail --name g --group --all --once --ack-every 50ms --exec -- sh -c "echo \$ESDB_POSITION >>out.$1; sleep $2" \
        2>>"errors.$1" 3>&- &
    pid[$1]=$!
}

@test "--once: whoever comes later helps, and all end when everything is done" {
    put 1 120
    once 1 0.05
    wait_for 20 lines_are out.1 3
    once 2 0.05
    wait_for 20 lines_are out.2 3
    once 3 0.05
    wait "${pid[1]}"
    wait "${pid[2]}"
    wait "${pid[3]}"
    assert_equal "$(sort -n out.* | wc -l) $(sort -nu out.* | wc -l)" '120 120'
    [ "$(lines_of out.2)" -ge 10 ]
    [ "$(lines_of out.3)" -ge 1 ]
    assert_equal "$(info .lag)" 0
    assert_equal "$(cat errors.*)" ''
}

@test "--once: the work of one that is killed is done before the other ends" {
    put 1 60
    once 1 0.1
    wait_for 20 lines_are out.1 2
    once 2 0.01
    wait_for 20 lines_are out.2 10
    kill -9 "${pid[1]}"
    wait "${pid[2]}"
    assert_equal "$(info .lag)" 0
    assert_equal "$(sort -nu out.* | wc -l)" 60
}

@test "--once: ends although more comes, and although another one stays" {
    put 1 40
    member 1 --all
    wait_for 30 lines_are out.1 40
    (while sleep 0.02; do put 1 3; done) 3>&- &
    local writer=$!
    once 2 0
    wait_for 30 eval '! kill -0 "${pid[2]}" 2>/dev/null'
    wait "${pid[2]}"
    kill "$writer"
    # nothing to do, and said so
    wait_for 30 is .lag eq 0
    run esdb-tail --name g --group --once -e
    assert_failure 4
}

@test "--once prints and takes acknowledgements in a group too" {
    put 1 40
    esdb-tail --name g --group --all --once >out.1 3>&- &
    local first=$!
    esdb-tail --name h --group --all --once >/dev/null
    wait "$first"
    assert_equal "$(lines_of out.1)" 40
    put 41 50
    mkfifo acks
    esdb-tail --name g --group --once --ack stdin <acks >out.2 3>&- &
    first=$!
    exec 4>acks
    wait_for 20 lines_are out.2 10
    jq .position out.2 >&4
    wait "$first"
    exec 4>&-
    assert_equal "$(info .lag)" 0
}

@test "a group of nobody, wrong use" {
    run esdb-tail --name g --group --once
    assert_failure 4
    local bad
    for bad in '--group --partition 1/2' '--partition 1/65'; do
        # shellcheck disable=SC2086 # words
        run esdb-tail --name g --all $bad --once
        assert_equal "$bad: $status" "$bad: 2"
    done
    esdb-tail --name whole --all --once
    run esdb-tail --name whole --group --once
    assert_failure 2
    assert_output --partial 'is not divided'
    run esdb-tail s --group
    assert_failure 2
}
