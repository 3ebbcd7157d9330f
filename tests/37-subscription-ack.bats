#!/usr/bin/env bats
# esdb-tail --name: who says what was processed: a co-process on standard input, or a command. Parked events.
load lib/load

setup() {
    esdb_setup
    new_store
}

teardown() {
    for pid in $(jobs -p); do kill "$pid" 2>/dev/null || true; done
}

checkpoint() { esdb-read "\$sub:$1" --reverse -n 1 | jq .data.position; }
numbers() { jq .data.n "$1" | paste -sd' '; }
lines_are() { [ "$(lines_of "$1")" -ge "$2" ]; }

# coprocess ARGUMENT...: esdb-tail --name a --ack stdin in the background; its answers are written to descriptor 6.
coprocess() {
    rm -f answers
    mkfifo answers
    esdb-tail --name a --ack stdin --ack-every 1 "$@" <answers >>out 2>>errors 6<&- &
    tail=$!
    exec 6>answers
}

@test "--ack stdin: what is not acknowledged comes again" {
    events 5 s | esdb-append -q
    coprocess s
    wait_for 5 lines_are out 5
    printf '0\nack 1\n' >&6
    wait_for 5 eval '[ "$(checkpoint a)" = 2 ]'
    printf '3\n' >&6
    sleep 0.2
    assert_equal "$(checkpoint a)" 2
    kill -9 "$tail"
    wait "$tail" || true
    rm out
    coprocess
    wait_for 5 lines_are out 3
    assert_equal "$(numbers out)" '2 3 4'
    jq -r .event_id out >&6
    wait_for 5 eval '[ "$(checkpoint a)" -ge 5 ]'
    exec 6>&-
    wait "$tail"
}

@test "--ack stdin: input that ends with events open is status 9; --once waits for the last answer" {
    events 3 s | esdb-append -q
    run bash -c 'printf "0\n" | esdb-tail --name a s --ack stdin 2>&1 >/dev/null'
    assert_failure 9
    assert_output 'esdb-tail: a: standard input ended, 2 events are not acknowledged' ||
        assert_output --partial 'is no event that waits'
    coprocess --once
    local line position
    while read -r line; do
        position=$(jq .position <<<"$line")
        echo "$position" >&6
    done < <(tail -n +1 -f out --pid "$tail")
    wait "$tail"
    [ "$(checkpoint a)" -ge 3 ]
}

@test "--ack stdin: at most --max-queue wait" {
    events 100 s | esdb-append -q
    coprocess s --max-queue 7
    wait_for 5 lines_are out 7
    sleep 0.2
    assert_equal "$(lines_of out)" 7
    printf '0\n1\n' >&6
    wait_for 5 lines_are out 9
    sleep 0.2
    assert_equal "$(lines_of out)" 9
}

@test "nack parks; the event is shown, delivered again, or dropped" {
    events 4 s | esdb-append -q
    coprocess s
    wait_for 5 lines_are out 4
    printf '0\nnack 1 no such customer\nnack 2\n3\n' >&6
    wait_for 5 eval '[ "$(checkpoint a)" -ge 4 ]'
    run jq -c '[.position, .stream_id, .version, .reason, .retry, .attempts]' <(esdb-sub parked list a)
    assert_output '[1,"s",1,"no such customer",false,1]
[2,"s",2,"nack",false,1]'
    run jq -c .event.data <(esdb-sub parked show a 1)
    assert_output '{"n":1}'
    assert_equal "$(esdb-sub info a | jq -c '[.parked, .parked_ever, .delivered]')" '[2,2,2]'
    esdb-sub parked drop a 2
    esdb-sub parked retry a 1
    wait_for 5 lines_are out 5
    assert_equal "$(tail -n 1 out | jq .position)" 1
    printf '1\n' >&6
    wait_for 5 eval '[ "$(esdb-sub parked list a | wc -l)" = 0 ]'
    run esdb-sub parked retry a 1
    assert_failure 4
    exec 6>&-
    run wait "$tail"
}

@test "parked events are delivered again by the next holder too" {
    events 3 s | esdb-append -q
    coprocess s --once
    wait_for 5 lines_are out 3
    printf '0\nnack 1\n2\n' >&6
    local status=0
    wait "$tail" || status=$?
    assert_equal "$status" 123
    esdb-sub parked retry a --every
    run jq .data.n <(esdb-tail --name a --once)
    assert_output 1
    assert_equal "$(esdb-sub parked list a | lines_of)" 0
}

@test "--pull: as many as are asked for" {
    events 10 s | esdb-append -q
    mkfifo demands
    esdb-tail --name a s --pull <demands >out &
    local tail=$!
    exec 6>demands
    sleep 0.3
    assert_equal "$(lines_of out)" 0
    echo 'demand 3' >&6
    wait_for 5 lines_are out 3
    sleep 0.2
    assert_equal "$(lines_of out)" 3
    echo 'demand 2' >&6
    wait_for 5 lines_are out 5
    exec 6>&-
    wait "$tail"
    assert_equal "$(checkpoint a)" 5
}

@test "nonsense on standard input is told" {
    events 1 s | esdb-append -q
    run bash -c 'printf "99\nnack\nhello world\n%05000d\n" 0 | esdb-tail --name a s --ack stdin 2>&1 >/dev/null'
    assert_failure 9
    assert_output --partial "'hello world' is no event that waits for an answer"
    assert_output --partial 'a line of more than 4096 bytes is passed over'
}

@test "--exec: status 0 settles; what fails is parked, and the rest goes on" {
    events 5 s | esdb-append -q
    # shellcheck disable=SC2016 # for the child
    run --separate-stderr esdb-tail --name a s --once --retries 1 --backoff 10ms --exec -- \
        sh -c 'test "$ESDB_POSITION" != 2 || { echo broken >&2; exit 3; }'
    assert_failure 123
    assert_equal "$(esdb-sub info a | jq -c '[.lag, .delivered, .retried, .parked]')" '[0,4,1,1]'
    run jq -c '[.position, .attempts, .exit_status, .stderr]' <(esdb-sub parked list a)
    assert_output '[2,2,3,"broken\n"]'
    esdb-sub parked retry a 2
    esdb-tail --name a --once --exec -- sh -c 'cat >>again'
    assert_equal "$(numbers again)" 2
    assert_equal "$(esdb-sub info a | jq .parked)" 0
}

@test "--exec: the subscription and the source, in the environment and as placeholders" {
    events 2 s | esdb-append -q
    # shellcheck disable=SC2016 # for the child
    esdb-tail --name a s --once --exec -- sh -c 'echo "$1 $2 $ESDB_SUBSCRIPTION $ESDB_SOURCE" >>out' - '{subscription}' '{source}'
    assert_equal "$(cat out)" 'a a:0 a a:0
a a:1 a a:1'
    esdb-sub seek a start
    # shellcheck disable=SC2016
    esdb-tail --name a --once --exec --batch 9 -- \
        sh -c 'echo "$1 $ESDB_SUBSCRIPTION ${ESDB_SOURCE-none} $ESDB_COUNT $ESDB_FIRST_POSITION $ESDB_LAST_POSITION" >batch' - '{subscription}'
    assert_equal "$(cat batch)" 'a a none 2 0 1'
    run esdb-tail --name a --once --exec --batch 9 -- echo '{source}'
    assert_failure 2
}

@test "--park: what waits behind an event that failed, in this life and the next" {
    { events 2 a; events 2 b; } | esdb-append -q
    local failing='test "$ESDB_POSITION" != 0 && echo "$ESDB_POSITION" >>out'
    # event: only it; stream: the later ones of its stream too; stop: nothing more is done
    run esdb-tail --name event --all --once --retries 0 --exec -- sh -c "$failing"
    assert_failure 123
    assert_equal "$(paste -sd' ' out)" '1 2 3'
    rm out
    run esdb-tail --name stream --all --once --retries 0 --park stream --exec -- sh -c "$failing"
    assert_failure 123
    assert_equal "$(paste -sd' ' out)" '2 3'
    events 1 a 2 | esdb-append -q
    run esdb-tail --name stream --once --park stream --exec -- sh -c "$failing"
    assert_failure 123
    assert_equal "$(paste -sd' ' out)" '2 3'
    local late
    late=$(esdb-read a | tail -n 1 | jq .position)
    assert_equal "$(esdb-sub parked list stream | jq -r .position | paste -sd' ')" "0 1 $late"
    rm out
    run esdb-tail --name stop --all --once --retries 0 --park stop --exec -- sh -c "$failing"
    assert_failure 123
    [ ! -e out ]
    assert_equal "$(esdb-sub parked list stop | jq -r .position)" 0
    esdb-tail --name stop --once --exec -- sh -c "$failing"
    assert_equal "$(paste -sd' ' out)" "1 2 3 $late"
}

@test "mistake: the order over workers is not random; a loop with a window settles what it says" {
    seq 400 | awk '{ printf "{\"stream_id\":\"s-%d\",\"event_type\":\"T\"}\n", $1 % 7 }' | esdb-append -q
    # shellcheck disable=SC2016 # for the child
    esdb-tail --name a --all --once --exec --workers 4 -- sh -c 'echo "$ESDB_STREAM_ID $ESDB_VERSION" >>order'
    assert_equal "$(lines_of order)" 400
    awk '$2 != next_of[$1] + 0 { print; exit 1 } { next_of[$1] = $2 + 1 }' order
    run esdb-tail --name b --all --once --retries 0 --exec-loop --window 64 -- \
        jq --unbuffered -r 'if .position % 100 == 50 then "fail no" else "ok" end'
    assert_failure 123
    assert_equal "$(esdb-sub parked list b | jq -r .position | paste -sd' ')" '50 150 250 350'
    assert_equal "$(esdb-sub info b | jq -c '[.lag, .delivered, .parked]')" '[0,396,4]'
}

@test "--exec: killed anywhere, every event comes at least once and in order" {
    events 200 s | esdb-append -q
    local kills=0
    esdb-tail --name a s --from end --once
    esdb-sub seek a start
    until [ "$(esdb-sub info a | jq .lag)" = 0 ]; do
        esdb-tail --name a --once --ack-every 5 --exec-loop -- \
            bash -c 'while read -r line; do line=${line#*\"position\":}; echo "${line%%,*}" >>seen; echo ok; done' 2>/dev/null &
        local tail=$!
        sleep "0.$((RANDOM % 2))$((RANDOM % 10))"
        kill -9 "$tail" 2>/dev/null || true
        wait "$tail" 2>/dev/null || true
        kills=$((kills + 1))
        [ "$kills" -lt 300 ]
    done
    sleep 0.3
    assert_equal "$(sort -n seen | uniq | lines_of)" 200
}
