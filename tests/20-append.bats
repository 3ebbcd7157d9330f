#!/usr/bin/env bats
# esdb-append: versions, frames, receipts, and the mistakes of the reference system that concern appending.
load lib/load

setup() {
    esdb_setup
    new_store
}

# one TYPE...: an event line for each type.
one() { for type in "$@"; do printf '{"event_type":"%s"}\n' "$type"; done; }

@test "an event goes in and comes out, with a receipt" {
    run_split esdb-append orders-1 <<<'{"event_type":"Placed","data":{"total":12.50},"metadata":{"by":"me"}}'
    assert_success
    assert_equal "$stderr" ''
    assert_output '{"frame":1,"first_position":0,"last_position":0,"count":1,"lines":1,"stream_id":"orders-1","first_version":0,"last_version":0}'
    run esdb-read orders-1 --fields position,stream_id,version,event_type,data,metadata
    assert_output '{"position":0,"stream_id":"orders-1","version":0,"event_type":"Placed","data":{"total":12.50},"metadata":{"by":"me"}}'
}

@test "ids are UUIDv7 and times are now, when they are not given" {
    before=$(($(date +%s%N) / 1000))
    one A A | esdb-append -q s
    after=$(($(date +%s%N) / 1000))
    run esdb-read s --fields event_id
    assert_line --index 0 --regexp '^\{"event_id":"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"\}$'
    refute_line --index 1 "${lines[0]}"
    for t in $(esdb-read s | jq .epoch_us); do
        [ "$t" -ge "$before" ] && [ "$t" -le "$after" ]
    done
}

@test "several streams in one frame: the receipt lists them" {
    run_split esdb-append <<<'{"stream_id":"a","event_type":"A"}{"stream_id":"b","event_type":"B"}{"stream_id":"a","event_type":"A"}'
    assert_success
    assert_output '{"frame":1,"first_position":0,"last_position":2,"count":3,"lines":1,"stream_count":2,"streams":[{"stream_id":"a","first_version":0,"last_version":1},{"stream_id":"b","first_version":0,"last_version":0}]}'
}

@test "the receipt of more than 100 streams counts them only" {
    for i in {1..101}; do printf '{"stream_id":"s-%d","event_type":"A"}\n' "$i"; done >in
    run_split esdb-append <in
    assert_output '{"frame":1,"first_position":0,"last_position":100,"count":101,"lines":101,"stream_count":101}'
    run_split esdb-append < <(head -100 in)
    assert_equal "$(jq '.streams | length' <<<"$output")" 100
}

@test "-q prints no receipt" {
    run_split esdb-append -q s < <(one A)
    assert_message 0 ''
}

@test "frames end after --batch events" {
    run_split esdb-append --batch 2 s < <(one A A A A A)
    assert_success
    assert_equal "$(jq -c '[.frame, .count, .lines, .first_version, .last_version]' <<<"$output")" '[1,2,2,0,1]
[2,2,4,2,3]
[3,1,5,4,4]'
}

@test "frames end after a mebibyte" {
    events 20000 s >in
    esdb-append <in >receipts
    [ "$(lines_of receipts)" -gt 4 ]
    assert_equal "$(jq -s 'map(.count) | add' receipts)" 20000
    assert_equal "$(tail -1 receipts | jq .lines)" 20000
    run esdb-read s --count
    assert_output 20000
}

@test "a large import: every receipt in order, every line once" {
    events 300000 s >in
    esdb-append --batch 1000 <in >receipts
    assert_equal "$(lines_of receipts)" 300
    assert_equal "$(jq -s 'map(.first_version) == [range(300) * 1000]' receipts)" true
    run diff <(esdb-read s --fields stream_id,event_type,data) in
    assert_output ''
}

@test "a failed import goes on behind the lines of the last receipt" {
    { events 5000 s; echo '{"oops"}'; events 100 s 5000; } >in
    run_split esdb-append --batch 1000 <in
    assert_equal "$status" 8
    assert_equal "$stderr" "esdb-append: line 5001, byte 8: invalid JSON: expected ':' after key
esdb-append: 5000 events written, up to line 5000: go on with line 5001"
    done_lines=$(tail -1 <<<"$output" | jq .lines)
    tail -n "+$((done_lines + 2))" in | esdb-append -q
    run diff <(esdb-read s --fields stream_id,event_type,data) <(grep -v oops in)
    assert_output ''
}

@test "a slow pipe: events are durable within the linger time" {
    mkfifo pipe
    esdb-append s <pipe >receipts &
    pid=$!
    exec 7>pipe
    one A >&7
    wait_for 5 test -s receipts
    run esdb-read s --count
    assert_output 1
    one B C >&7
    wait_for 5 eval '[ $(lines_of receipts) -eq 2 ]'
    exec 7>&-
    wait "$pid"
    run esdb-read s --count
    assert_output 3
}

@test "a slow pipe after a fast one: events are durable within the linger time" {
    mkfifo pipe
    esdb-append <pipe >receipts &
    pid=$!
    exec 7>pipe
    events 100000 s >&7
    one X | sed 's/{/{"stream_id":"s",/' >&7
    wait_for 10 eval 'tail -1 receipts | jq -e ".lines == 100001" >/dev/null'
    one Y | sed 's/{/{"stream_id":"s",/' >&7
    wait_for 5 eval 'tail -1 receipts | jq -e ".lines == 100002" >/dev/null'
    exec 7>&-
    wait "$pid"
}

@test "an event that comes in pieces is one event" {
    (printf '{"event_'; sleep 0.1; printf 'type":"A"'; sleep 0.1; printf '}{"event_type":'; sleep 0.1; printf '"B"}') |
        esdb-append --linger 20 s >receipts
    run esdb-read s --fields event_type
    assert_output '{"event_type":"A"}
{"event_type":"B"}'
}

# ---- expected versions ----

@test "--expect: any, no-stream, exists, a number" {
    run_split esdb-append -e exists s < <(one A)
    assert_message 3 'esdb-append: s: expected an existing stream, found no stream'
    run_split esdb-append -e 0 s < <(one A)
    assert_message 3 'esdb-append: s: expected version 0, found no stream'
    one A | esdb-append -q -e no-stream s
    run_split esdb-append -e no-stream s < <(one A)
    assert_message 3 'esdb-append: s: expected no stream, found version 0'
    run_split esdb-append -e -1 s < <(one A)
    assert_message 3 'esdb-append: s: expected no stream, found version 0'
    one A | esdb-append -q -e 0 s
    one A | esdb-append -q -e exists s
    one A | esdb-append -q -e any s
    one A | esdb-append -q -e -2 s
    run_split esdb-append --expect 5 s < <(one A)
    assert_message 3 'esdb-append: s: expected version 5, found 4'
    run esdb-read s --count
    assert_output 5
}

@test "reference mistake: another negative expectation is compared literally (it is a usage error)" {
    for bad in -3 -4 -99 1x '' 9223372036854775808 none; do
        run_split esdb-append -e "$bad" s < <(one A)
        assert_message 2 "esdb-append: -e: '$bad' is none of any (-2), no-stream (-1), exists, a version
esdb-append: try 'esdb-append --help'"
    done
    run_split esdb-append -e s=-3 s < <(one A)
    assert_message 2 "esdb-append: -e: '-3' is none of any (-2), no-stream (-1), exists, a version
esdb-append: try 'esdb-append --help'"
    run esdb-read --all --count
    assert_output 0
}

@test "reference mistake: of 20 parallel appends that expect no stream all succeed (one does)" {
    for i in {1..20}; do
        (
            status=0
            one "T$i" | esdb-append -q -e no-stream s 2>/dev/null || status=$?
            echo $status >>statuses
        ) &
    done
    wait
    assert_equal "$(grep -c '^0$' statuses)" 1
    assert_equal "$(grep -c '^3$' statuses)" 19
    run esdb-read s --count
    assert_output 1
}

@test "reference mistake: a batch is written event by event (a bad second one leaves nothing with --atomic)" {
    run_split esdb-append --atomic s <<<'{"event_type":"A"}{"event_type":""}'
    assert_message 8 'esdb-append: line 1, byte 33: event_type is empty
esdb-append: nothing was written'
    run esdb-read --all --count
    assert_output 0
}

@test "an expectation chains from frame to frame" {
    one A | esdb-append -q s
    run_split esdb-append -e 0 --batch 1 s < <(one A A A)
    assert_success
    assert_equal "$(jq .last_version <<<"$output")" '1
2
3'
    # Somebody else comes between two frames.
    mkfifo pipe
    esdb-append -e 3 s <pipe >receipts 2>errors &
    pid=$!
    exec 7>pipe
    one A >&7
    wait_for 5 test -s receipts
    one Other | esdb-append -q s
    one A >&7
    exec 7>&-
    status=0
    wait "$pid" || status=$?
    assert_equal "$status" 3
    run cat errors
    assert_line --index 0 'esdb-append: s: expected version 4, found 5'
    run esdb-read s --count
    assert_output 6
}

@test "-e without a stream holds for the only stream of the input" {
    events 3 s | esdb-append -q -e no-stream
    events 1 s | esdb-append -q -e 2
    run_split esdb-append -e 3 < <(events 2 s; events 1 t)
    assert_message 2 'esdb-append: line 3: a second stream, t: which one does --expect mean? (-e STREAM=VERSION says it)
esdb-append: nothing was written'
    run esdb-read --all --count
    assert_output 4
}

@test "--atomic with an expectation for each stream: all or nothing" {
    { events 1 a; events 1 b; } >in
    run_split esdb-append --atomic -e a=no-stream -e b=0 <in
    assert_message 3 'esdb-append: b: expected version 0, found no stream'
    run esdb-read --all --count
    assert_output 0
    esdb-append -q --atomic -e a=no-stream -e b=-1 <in
    esdb-append -q --atomic -e a=0 -e b=0 <in
    run_split esdb-append --atomic -e a=1 -e b=0 <in
    assert_message 3 'esdb-append: b: expected version 0, found 1'
    run esdb-read --all --count
    assert_output 4
    # A stream without an event in the input can be guarded too.
    run_split esdb-append -e c=exists < <(events 1 a)
    assert_message 3 'esdb-append: c: expected an existing stream, found no stream'
    # A name with '='.
    events 1 'x=y' | esdb-append -q -e 'x=y=no-stream'
}

@test "the same expectation twice is a usage error" {
    run_split esdb-append -e a=1 -e a=2 </dev/null
    assert_equal "$status" 2
    run_split esdb-append -e 1 -e 2 a </dev/null
    assert_equal "$status" 2
}

@test "empty input writes nothing, checks the expectation, and says so" {
    run_split esdb-append s </dev/null
    assert_message 0 'esdb-append: no events on standard input'
    run_split esdb-append -e no-stream s < <(printf ' \n\n')
    assert_message 0 'esdb-append: no events on standard input'
    run_split esdb-append -e 0 s </dev/null
    assert_message 3 'esdb-append: s: expected version 0, found no stream'
    run_split esdb-append -e s=exists </dev/null
    assert_message 3 'esdb-append: s: expected an existing stream, found no stream'
    run_split esdb-append -e exists </dev/null
    assert_message 2 'esdb-append: no events on standard input: which stream does --expect mean?'
    run esdb-read --all --count
    assert_output 0
}

# ---- idempotent appends ----

@test "--idempotent: the same events again give the old receipt and write nothing" {
    printf '{"event_type":"A","event_id":"1"}{"event_type":"B","event_id":"2"}' >in
    first=$(esdb-append --idempotent s <in)
    run_split esdb-append --idempotent s <in
    assert_success
    assert_equal "$(jq -c 'del(.existed)' <<<"$output")" "$(jq -c 'del(.frame)' <<<"$first")"
    assert_equal "$(jq .existed <<<"$output")" true
    # ids are looked up before versions are checked
    run_split esdb-append --idempotent -e no-stream s <in
    assert_success
    run esdb-read s --count
    assert_output 2
}

@test "--idempotent: the same id with other content, or only some ids, is a conflict" {
    printf '{"event_type":"A","event_id":"1"}' | esdb-append -q s
    run_split esdb-append --idempotent s <<<'{"event_type":"B","event_id":"1"}'
    assert_equal "$status" 3
    run_split esdb-append --idempotent s <<<'{"event_type":"A","event_id":"1"}{"event_type":"A","event_id":"2"}'
    assert_equal "$status" 3
    run esdb-read s --count
    assert_output 1
}

@test "an import is repeated with --idempotent: only what is missing is written" {
    for i in {1..30}; do printf '{"event_type":"A","event_id":"id-%d"}\n' "$i"; done >in
    head -20 in | esdb-append -q --batch 10 s
    esdb-append --idempotent --batch 10 -e no-stream s <in >receipts || true
    assert_equal "$(jq -s -c 'map(.existed)' receipts)" '[true,true,null]'
    run esdb-read s --count
    assert_output 30
}

# ---- read into append ----

@test "what esdb-read prints, esdb-append accepts" {
    { events 10 a; events 10 b; } | esdb-append -q
    esdb-init copy
    esdb-read --all | esdb-append -q -S copy
    run diff <(esdb-read --all | jq -c 'del(.epoch_us)') <(esdb-read -S copy --all | jq -c 'del(.epoch_us)')
    assert_output ''
}

@test "--preserve keeps ids and times" {
    events 10 a | esdb-append -q
    printf 'x\xff' | esdb-append -q --raw -t R a
    echo line | esdb-append -q --lines -t L a
    esdb-init copy
    esdb-read --all | esdb-append -q -S copy --preserve
    run diff <(esdb-read --all) <(esdb-read -S copy --all)
    assert_output ''
}

@test "--preserve: a time before the newest event's is a conflict" {
    one A | esdb-append -q s
    run_split esdb-append --preserve s <<<'{"event_type":"A","epoch_us":5}'
    assert_equal "$status" 3
    assert_equal "$output" ''
    run_split esdb-append --preserve s <<<'{"event_type":"A","epoch_us":"5"}'
    assert_message 8 'esdb-append: line 1, byte 30: epoch_us must be a positive integer
esdb-append: nothing was written'
    # Without it, the time is that of the append.
    one A | sed 's/}/,"epoch_us":"ignored","version":-5,"position":null}/' | esdb-append -q s
    run esdb-read s --count
    assert_output 2
}

# ---- the store ----

@test "a mistyped store path: exit 2, and nothing is created" {
    run_split esdb-append -S "$PWD/stoer" s < <(one A)
    assert_equal "$status" 2
    assert_equal "$stderr" "esdb-append: $PWD/stoer: there is no such store (esdb-init makes one)"
    assert_not_exist stoer
}

@test "--create makes the store when there is none" {
    one A | esdb-append -q -S new --create s
    one A | esdb-append -q -S new --create s
    run esdb-read -S new s --count
    assert_output 2
    mkdir full && touch full/file
    run_split esdb-append -S full --create s < <(one A)
    assert_equal "$status" 2
    run ls -A full
    assert_output file
}

@test "system streams are not written by users" {
    run_split esdb-append '$sub:x' < <(one A)
    assert_equal "$status" 8
    run_split esdb-append <<<'{"stream_id":"$sub:x","event_type":"A"}'
    assert_equal "$status" 8
}

@test "options that contradict each other are usage errors" {
    for bad in '--atomic --on-error=skip' '--atomic --batch 5' '--lines --raw' '--raw' '--lines -t X' '--raw -t X' \
        '--content-type a/b' '--batch 0' '--batch 1048577' '--linger x' '--on-error=maybe' 'a b' '-m novalue' \
        '-m =x' '-m a=1 -m a=2' '--lines -t X --preserve s'; do
        # shellcheck disable=SC2086
        run_split esdb-append $bad < <(one A)
        assert_equal "$bad: $status" "$bad: 2"
        assert_equal "$output" ''
    done
    run esdb-read --all --count
    assert_output 0
}

@test "SIGPIPE and EPIPE end quietly" {
    events 20000 s >in
    run bash -c 'esdb-append --batch 1 <in | head -1 | jq .frame; echo ${PIPESTATUS[0]}'
    assert_line --index 0 1
    assert_line --index 1 141
    assert_equal "${#lines[@]}" 2
}

@test "a poisoned store refuses appends" {
    one A | esdb-append -q s
    rm store/head # which remembers that there is none
    echo 'syncing the log: Input/output error' >store/poison
    run_split esdb-append s < <(one A)
    assert_equal "$status" 1
    assert_equal "$output" ''
    assert_regex "$stderr" '^esdb-append: .*: poisoned by an I/O error: .*; appends are refused until esdb-verify --repair$'
}

@test "a wildcard in the name of a new stream is warned of" {
    run_split esdb-append -q 'order-*' <<<'{"event_type":"A"}'
    assert_message 0 'esdb-append: warning: order-* is taken as the name of a new stream, not as a pattern'
    run_split esdb-append -q 'order-*' <<<'{"event_type":"A"}'
    assert_message 0 ''
    assert_equal "$(esdb-read 'order-\*' --count)" 2
}
