#!/usr/bin/env bats
# esdb-tail --exec: events given to commands, what they answer, and how all of it ends.
load lib/load

setup() {
    esdb_setup
    new_store
}

teardown() {
    for pid in $(jobs -p); do kill "$pid" 2>/dev/null || true; done
}

# deliver ARGUMENT...: esdb-tail over everything that there is, without the descriptors of bats.
deliver() { esdb-tail --all --from start --until-end "$@" 3>&-; }

# follow ARGUMENT...: esdb-tail in the background; $tail is its process.
follow() {
    esdb-tail --all --from start "$@" >out 2>errors 3>&- &
    tail=$!
}

has_lines() { [ -e "$1" ] && [ "$(lines_of "$1")" -ge "$2" ]; }

# A zombie, which nobody fetches where process 1 is no init, has ended too.
has_ended() { ! grep -q '^State:.[^Z]' "/proc/$1/status" 2>/dev/null; }

# handler NAME: makes an executable of stdin.
handler() {
    cat >"$1"
    chmod +x "$1"
}

# A loop in Python; BODY sets `answer` for `event`, `n` is its data.n, `seen` the number of the event in this life.
loop_handler() {
    { cat <<'PYTHON'
#!/usr/bin/env python3
import json, os, signal, sys, time
out = open("handled", "ab", buffering=0)
for seen, line in enumerate(sys.stdin.buffer):
    event = json.loads(line)
    n = event["data"]["n"]
    answer = "ok"
PYTHON
        sed 's/^/    /'
        cat <<'PYTHON'
    out.write(b"%d %s %d %s\n" % (event["position"], event["stream_id"].encode(), event["version"], answer.encode()))
    sys.stdout.write(answer + "\n")
    sys.stdout.flush()
PYTHON
    } | handler "$1"
}

# in_order FILE: each stream's versions came for the first time in order, from 0 on; prints how many events there were.
in_order() {
    awk '{ if (!(($2, $3) in seen)) { seen[$2, $3] = 1; count++; if ($3 != next_[$2] + 0) { print "stream " $2 " version " $3; exit 1 } next_[$2]++ } }
        END { print count + 0 }' "$1"
}

# ---- a command an event ----

@test "an event on stdin, its fields in the environment, placeholders in the arguments" {
    echo '{"stream_id":"a b$(id)`id`\"'\''\\","event_type":"T{x}","event_id":"i-1","data":{"n":1}}' | esdb-append -q
    handler show <<'SH'
#!/bin/bash
printf '%s|' "$@"
echo
env | grep ^ESDB_ | grep -v ^ESDB_STORE | sort
cat
SH
    ESDB_SUBSCRIPTION=old ESDB_SOURCE=old run_split deliver --exec -- ./show '{stream_id}' 'x{event_type}{{y}' '{{stream_id}' '{print $1}' '{}' \
        '{event_id}:{version}:{position}:{attempt}:{epoch_us}' ''
    assert_equal "$status" 0
    epoch=$(esdb-read --all | jq .epoch_us)
    stream='a b$(id)`id`"'\''\'
    assert_equal "$output" "$stream|xT{x}{y}|{stream_id}|{print \$1}|{}|i-1:0:0:1:$epoch||
ESDB_ATTEMPT=1
ESDB_EPOCH_US=$epoch
ESDB_EVENT_ID=i-1
ESDB_EVENT_TYPE=T{x}
ESDB_POSITION=0
ESDB_STREAM_ID=$stream
ESDB_VERSION=0
$(esdb-read --all)"
}

@test "placeholders that nobody knows, or that the mode has not, are refused at once" {
    events 1 s | esdb-append -q
    run_split deliver --exec -- echo '{streamid}'
    assert_message 2 'esdb-tail: {streamid}: unknown placeholder {streamid}; a literal { is written {{'
    run_split deliver --exec --batch 2 -- echo '{position}'
    assert_message 2 'esdb-tail: {position}: {position} is for one event; not with --batch and --exec-loop'
    run_split deliver --exec-loop -- cat '{position}'
    assert_equal "$status" 2
    run_split deliver --exec -- echo 'x{source}'
    assert_message 2 'esdb-tail: x{source}: {source} needs --name'
}

@test "events are given in order of positions, each once" {
    { events 30 s; events 30 t; } | esdb-append -q
    deliver --exec -- sh -c 'echo $ESDB_POSITION' >positions
    assert_equal "$(cat positions)" "$(seq 0 59)"
}

@test "streams are before the --, the command behind it" {
    { events 2 s; events 2 t; } | esdb-append -q
    run_split esdb-tail --exec t --from start --until-end -- echo "{stream_id}" --all -S --
    assert_equal "$output" 't --all -S --
t --all -S --'
    run_split esdb-tail --until-end --all --exec
    assert_message 2 "esdb-tail: --exec and --exec-loop need a command behind --
esdb-tail: try 'esdb-tail --help'"
    run_split esdb-tail --until-end --exec -- true
    assert_equal "$status" 2
    for bad in '--batch 2' '--exec-loop --batch 2' '--exec --window 2' '--exec --workers 0' '--exec --workers 129' \
        '--exec --order x' '--exec --park x' '--exec --timeout 0' '--exec --heartbeat' '--exec --output data' \
        '--exec --batch 0' '--exec-loop --window 65537' '--retries 1'; do
        run_split deliver $bad -- true
        assert_equal "$bad $status" "$bad 2"
        assert_equal "$output" ''
    done
}

@test "without --exec, what stands behind -- are streams" {
    { events 1 s; events 1 t; } | esdb-append -q
    run esdb-tail --until-end s -n 5 -- t
    assert_equal "${#lines[@]}" 2
    run_split esdb-tail --until-end --output -- t
    assert_equal "$status" 2
    assert_regex "$stderr" "'--'"
}

@test "new events are given as they come, and SIGTERM ends it, status 0" {
    events 2 s | esdb-append -q
    follow --exec -- sh -c 'echo $ESDB_POSITION'
    wait_for 5 has_lines out 2
    events 3 s 2 | esdb-append -q
    wait_for 5 has_lines out 5
    kill "$tail"
    status=0
    wait "$tail" || status=$?
    assert_equal "$status" 0
    assert_equal "$(cat out errors)" "$(seq 0 4)"
}

@test "a command that reads nothing, or not all" {
    esdb-append -q < <(head -c 3000000 /dev/zero | tr '\0' x | jq -Rc '{stream_id:"s",event_type:"T",data:.}'; events 2 s)
    run_split deliver --exec -- true
    assert_message 0 ''
    run_split deliver --exec -- head -c 5
    assert_equal "$output" '{"pos{"pos{"pos'
    assert_equal "$status" 0
}

@test "an event of 10 MiB, and binary data" {
    head -c 10000000 /dev/urandom | base64 -w0 | jq -Rc '{stream_id:"s",event_type:"T",data_base64:.}' | esdb-append -q
    printf '\0\1\377' | esdb-append -q --raw s --type B
    esdb-read --all >expected
    deliver --exec -- cat >got
    cmp expected got
    deliver --exec --batch 5 -- cat >got
    cmp expected got
    handler keep <<'SH'
#!/usr/bin/env python3
import sys
out = open("got", "wb")
for line in sys.stdin.buffer:
    out.write(line); out.flush()
    print("ok", flush=True)
SH
    deliver --exec-loop --window 4 -- ./keep
    cmp expected got
}

@test "much output: stdout is ours, stderr is passed on whole" {
    events 2 s | esdb-append -q
    deliver --exec -- sh -c 'head -c 3000000 /dev/zero | tr "\0" o; head -c 3000000 /dev/zero | tr "\0" e >&2' >out 2>errors
    assert_equal "$(wc -c <out) $(tr -d o <out | wc -c)" '6000000 0'
    assert_equal "$(wc -c <errors) $(tr -d e <errors | wc -c)" '6000000 0'
}

@test "lines on stderr of several workers are not mixed" {
    for i in 1 2 3 4; do events 20 "s$i"; done | esdb-append -q
    deliver --exec --workers 4 -- sh -c 'for i in 1 2 3; do printf "a $ESDB_STREAM_ID " >&2; printf "b $ESDB_STREAM_ID\n" >&2; done' 2>errors
    assert_equal "$(lines_of errors)" 240
    assert_equal "$(grep -cvE '^a (s.) b \1$' errors)" 0
}

@test "a child has no descriptors, no blocked signals, and nothing ignored of ours; a group of its own" {
    events 1 s | esdb-append -q
    handler look <<'SH'
#!/usr/bin/env python3
import os, re, sys
status = open("/proc/self/status").read()
mask = lambda name: int(re.search(name + r":\s*(\w+)", status)[1], 16)
files = [f for f in os.listdir("/proc/self/fd") if os.path.exists("/proc/self/fd/" + f) or int(f) < 3]
# glibc ignores its own signals 32 and 33 in whatever posix_spawn() starts; Python ignores SIGPIPE and SIGXFSZ
open("seen", "a").write("%s blocked %x ignored %x group %s\n" % (sorted(map(int, files)), mask("SigBlk"),
    mask("SigIgn") & ~0x181001000, os.getpgid(0) == os.getpid()))
for line in sys.stdin: print("ok", flush=True)
SH
    ./look </dev/null 3>&- # what bats has open
    files=$(sed 's/ blocked.*//' seen)
    rm seen
    for mode in '--exec' '--exec --batch 2' '--exec --workers 3' '--exec-loop' '--exec-loop --workers 2'; do
        deliver $mode -- ./look >/dev/null
        assert_equal "$mode $(cat seen)" "$mode $files blocked 0 ignored 0 group True"
        rm seen
    done
    deliver --exec -- env --list-signal-handling true 2>ignored
    assert_equal "$(grep -cE 'PIPE|XFSZ|CHLD|TERM|INT' ignored)" 0
}

# ---- failures ----

@test "a failure is given again after a backoff that doubles, then it failed for good: 123" {
    events 3 s | esdb-append -q
    handler bad <<'SH'
#!/bin/bash
echo "$ESDB_POSITION $ESDB_ATTEMPT $(date +%s%3N)" >>tried
[ "$ESDB_POSITION" != 1 ] || { echo 'no good' >&2; exit 3; }
SH
    run_split deliver --exec --retries 3 --backoff 100ms -- ./bad
    assert_equal "$status" 123
    assert_equal "$stderr" 'no good
no good
no good
no good
esdb-tail: position 1 (s, version 1) failed after 4 attempts: exit status 3'
    assert_equal "$(cut -d' ' -f1,2 tried | paste -sd,)" '0 1,1 1,1 2,1 3,1 4,2 1'
    # 100, 200, 400 ms
    awk '$1 == 1 { t[$2] = $3 } END { if (t[2] - t[1] < 100 || t[3] - t[2] < 200 || t[4] - t[3] < 400 || t[4] - t[1] > 5000) exit 1 }' tried
}

@test "--backoff-max bounds the backoff; --retries 0 gives each event once" {
    events 1 s | esdb-append -q
    begin=$SECONDS
    run_split deliver --exec --retries 8 --backoff 10ms --backoff-max 20ms -- false
    assert_equal "$status" 123
    [ $((SECONDS - begin)) -lt 5 ]
    assert_regex "$stderr" 'failed after 9 attempts: exit status 1$'
    run_split deliver --exec --retries 0 -- false
    assert_equal "$stderr" 'esdb-tail: position 0 (s, version 0) failed after 1 attempt: exit status 1'
}

@test "a command that a signal kills has failed" {
    events 1 s | esdb-append -q
    run_split deliver --exec --retries 0 -- sh -c 'kill -SEGV $$'
    assert_equal "$status" 123
    assert_regex "$stderr" 'failed after 1 attempt: killed by signal 11 \(Segmentation fault\)$'
}

@test "status 255 stops everything: 124" {
    events 3 s | esdb-append -q
    run_split deliver --exec -- sh -c 'echo $ESDB_POSITION; exit 255'
    assert_equal "$status" 124
    assert_equal "$output" 0
    assert_equal "$stderr" 'esdb-tail: sh: exit status 255: stopping'
}

@test "a command that is not there: 127; that cannot be run: 126; at once, and no event is taken" {
    events 3 s | esdb-append -q
    run -127 --separate-stderr deliver --exec -- no-such-command
    assert_message 127 'esdb-tail: no-such-command: No such file or directory'
    run -127 --separate-stderr deliver --exec -- ./no/such
    assert_message 127 'esdb-tail: ./no/such: No such file or directory'
    run_split deliver --exec -- /
    assert_message 126 'esdb-tail: /: Permission denied'
    echo text >plain
    run_split deliver --exec -- ./plain
    assert_message 126 'esdb-tail: ./plain: Permission denied'
    chmod +x plain
    run_split deliver --exec -- ./plain
    assert_message 126 'esdb-tail: ./plain: Exec format error'
    run_split deliver --exec-loop -- ./plain
    assert_message 126 'esdb-tail: ./plain: Exec format error'
    printf '#!/no/such/interpreter\n' >plain
    run -127 --separate-stderr deliver --exec --workers 2 -- ./plain
    assert_message 127 'esdb-tail: ./plain: No such file or directory'
}

@test "a command that goes away while it is at work: 127, no storm of retries" {
    events 3 s | esdb-append -q
    handler once <<'SH'
#!/bin/sh
rm ./once
SH
    run -127 --separate-stderr deliver --exec -- ./once
    assert_message 127 'esdb-tail: ./once: No such file or directory'
}

@test "--timeout ends what hangs, also what ignores SIGTERM and what it started" {
    events 1 s | esdb-append -q
    run_split deliver --exec --retries 0 --timeout 200ms -- sleep 60
    assert_equal "$status" 123
    assert_regex "$stderr" 'failed after 1 attempt: timed out after 200 ms$'
    handler stubborn <<'SH'
#!/bin/bash
trap '' TERM
sleep 60 >/dev/null &
echo $! >started
while :; do sleep 0.1; done
SH
    begin=$SECONDS
    run_split deliver --exec --retries 0 --timeout 200ms -- ./stubborn
    assert_equal "$status" 123
    [ $((SECONDS - begin)) -lt 15 ]
    wait_for 2 has_ended "$(cat started)"
    # the command itself obeys
    run_split deliver --exec --retries 0 --timeout 200ms -- bash -c '(trap "" TERM; exec sleep 60 >/dev/null) & echo $! >started; sleep 60'
    assert_equal "$status" 123
    wait_for 2 has_ended "$(cat started)"
}

@test "a child that its own child outlives does not hold anything up" {
    events 2 s | esdb-append -q
    begin=$SECONDS
    run_split deliver --exec -- sh -c 'sleep 20 >/dev/null & echo $! >>left; echo $ESDB_POSITION'
    assert_equal "$output" '0
1'
    [ $((SECONDS - begin)) -lt 10 ]
    xargs kill <left
}

@test "a reader of the output that goes away ends it, and is no reason to retry" {
    events 100 s | esdb-append -q
    begin=$SECONDS
    run_split bash -c 'esdb-tail --all --from start --until-end --exec --backoff 10s -- cat 3>&- | head -n 1; echo "${PIPESTATUS[0]}"'
    assert_equal "${lines[1]}" 1
    assert_equal "$stderr" 'esdb-tail: standard output: Broken pipe'
    [ $((SECONDS - begin)) -lt 8 ]
}

@test "too few descriptors: a failure that may pass, not the end" {
    events 2 s | esdb-append -q
    run_split bash -c 'exec 3>&-; ulimit -n "$1"; shift; exec esdb-tail --all --from start --until-end "$@"' - \
        $(($(bash -c 'exec 3>&-; ls /proc/self/fd' | sort -n | tail -n 1) + 5)) \
        --exec --retries 1 --backoff 10ms -- true
    [ "$status" -eq 0 ] || [ "$status" -eq 123 ] || [ "$status" -eq 1 ]
    [ "$status" -ne 123 ] || assert_regex "$stderr" 'failed after 2 attempts: cannot start true: Too many open files'
}

# ---- park ----

@test "--park: later events of the stream go on, are held back, or everything stops" {
    { events 3 s; events 2 t; events 1 s 3; } | esdb-append -q
    handler bad <<'SH'
#!/bin/bash
echo "$ESDB_POSITION" >>tried
[ "$ESDB_POSITION" != 1 ]
SH
    run_split deliver --exec --retries 0 -- ./bad
    assert_equal "$status $(paste -sd' ' tried)" '123 0 1 2 3 4 5'
    rm tried
    run_split deliver --exec --retries 0 --park stream -- ./bad
    assert_equal "$status $(paste -sd' ' tried)" '123 0 1 3 4'
    assert_equal "$stderr" 'esdb-tail: position 1 (s, version 1) failed after 1 attempt: exit status 1
esdb-tail: position 2 (s, version 2) failed after 0 attempts: stream parked
esdb-tail: position 5 (s, version 3) failed after 0 attempts: stream parked'
    rm tried
    run_split deliver --exec --retries 0 --park stop -- ./bad
    assert_equal "$status $(paste -sd' ' tried)" '123 0 1'
    assert_equal "$stderr" 'esdb-tail: position 1 (s, version 1) failed after 1 attempt: exit status 1'
}

# ---- batches ----

@test "--batch: lines on stdin, one status for all" {
    events 10 s | esdb-append -q
    run_split deliver --exec --batch 4 -- sh -c 'echo "$ESDB_COUNT $ESDB_FIRST_POSITION $ESDB_LAST_POSITION $ESDB_ATTEMPT ${ESDB_POSITION-none}" $(jq .position)'
    assert_equal "$output" '4 0 3 1 none 0 1 2 3
4 4 7 1 none 4 5 6 7
2 8 9 1 none 8 9'
    deliver --exec --batch 100 -- cat >got
    esdb-read --all | cmp - got
}

@test "--batch: one that fails is given again as it was, then event by event" {
    events 7 s | esdb-append -q
    handler bad <<'SH'
#!/bin/bash
positions=$(jq -s -c 'map(.position)')
echo "$positions $ESDB_ATTEMPT" >>tried
[[ $positions != *2* ]]
SH
    run_split deliver --exec --batch 4 --retries 1 --backoff 10ms -- ./bad
    assert_equal "$status" 123
    assert_equal "$stderr" 'esdb-tail: position 2 (s, version 2) failed after 3 attempts: exit status 1'
    assert_equal "$(cat tried)" '[0,1,2,3] 1
[0,1,2,3] 2
[0] 3
[1] 3
[2] 3
[3] 3
[4,5,6] 1'
}

@test "--batch with workers keeps the order of each stream" {
    for i in {0..19}; do for s in a b c d e; do events 1 $s "$i"; done; done | esdb-append -q
    handler work <<'SH'
#!/bin/bash
jq -r '"\(.position) \(.stream_id) \(.version) ok"' | while read -r line; do echo "$line" >>handled; done
[ $((RANDOM % 4)) -gt 0 ]
SH
    run_split deliver --exec --batch 3 --workers 4 --retries 50 --backoff 5ms --backoff-max 5ms -- ./work
    assert_equal "$status $(in_order handled)" '0 100'
}

# ---- workers ----

@test "--workers: several at once, each stream in order, and none at the same time" {
    for i in {0..9}; do for s in a b c d e f; do events 1 $s "$i"; done; done | esdb-append -q
    handler work <<'SH'
#!/bin/bash
mkdir "busy.$ESDB_STREAM_ID" || { echo "twice: $ESDB_STREAM_ID" >>wrong; exit 0; }
sleep 0.0$((RANDOM % 4 + 1))
echo "$ESDB_POSITION $ESDB_STREAM_ID $ESDB_VERSION ok" >>handled
ls -d busy.* 2>/dev/null | wc -l >>together
rmdir "busy.$ESDB_STREAM_ID"
SH
    run_split deliver --exec --workers 4 -- ./work
    assert_message 0 ''
    assert_equal "$(in_order handled)" 60
    [ ! -e wrong ]
    [ "$(sort -n together | tail -n 1)" -ge 2 ]
}

@test "--workers: one stream goes to one worker at a time; --order=none to all" {
    events 8 s | esdb-append -q
    handler work <<'SH'
#!/bin/bash
: >"busy.$ESDB_POSITION"
sleep 0.1
ls busy.* 2>/dev/null | wc -l >>together
rm "busy.$ESDB_POSITION"
SH
    deliver --exec --workers 4 -- ./work
    assert_equal "$(sort -u together)" 1
    deliver --exec --workers 4 --order none -- ./work
    [ "$(sort -n together | tail -n 1)" -ge 2 ]
}

@test "--workers: a failing stream holds up itself only" {
    { events 3 s; events 20 t; } | esdb-append -q
    handler work <<'SH'
#!/bin/bash
[ "$ESDB_STREAM_ID $ESDB_ATTEMPT" != 's 1' ] || exit 1
echo "$ESDB_STREAM_ID" >>handled
SH
    deliver --exec --workers 2 --backoff 1s -- ./work
    assert_equal "$(uniq -c handled | awk '{ print $1, $2 }' | paste -sd,)" '20 t,3 s'
}

@test "--workers: while one is busy, a new event of another stream begins at once" {
    events 1 slow | esdb-append -q
    follow --exec --workers 2 -- sh -c 'echo "$ESDB_STREAM_ID" >>handled; [ "$ESDB_STREAM_ID" != slow ] || sleep 5'
    wait_for 5 has_lines handled 1
    sleep 0.3
    begin=$(date +%s%3N)
    events 1 quick | esdb-append -q
    wait_for 3 has_lines handled 2
    [ $(($(date +%s%3N) - begin)) -lt 900 ]
}

# ---- a loop ----

@test "--exec-loop: an answer an event, in one life" {
    events 100 s | esdb-append -q
    for window in 1 7 256; do
        rm -f handled
        loop_handler work <<<'answer = "ok"'
        run_split deliver --exec-loop --window $window -- ./work
        assert_message 0 ''
        assert_equal "$(cut -d' ' -f1 handled)" "$(seq 0 99)"
    done
}

@test "--exec-loop: the reason behind fail is told; the event is given again" {
    events 4 s | esdb-append -q
    loop_handler work <<'PY'
if n == 1: answer = "fail no such customer"
if n == 3: answer = "fail"
PY
    run_split deliver --exec-loop --retries 1 --backoff 10ms -- ./work
    assert_equal "$status" 123
    assert_equal "$stderr" 'esdb-tail: position 1 (s, version 1) failed after 2 attempts: no such customer
esdb-tail: position 3 (s, version 3) failed after 2 attempts: fail'
    assert_equal "$(cut -d' ' -f1 handled | paste -sd' ')" '0 1 1 2 3 3'
}

@test "--exec-loop with a window: behind a failure the stream's events are given again, in order" {
    for i in {0..9}; do events 1 s "$i"; events 1 t "$i"; done | esdb-append -q
    loop_handler work <<'PY'
if event["stream_id"] == "s" and n == 2 and not os.path.exists("tried"):
    open("tried", "w")
    answer = "fail"
PY
    run_split deliver --exec-loop --window 8 --backoff 200ms -- ./work
    assert_message 0 ''
    # after the failure: s 2, 3, 4 ... in order to the end
    assert_equal "$(awk 'f && $2 == "s" { print $3 } /fail/ { f = 1 }' handled | tail -n 8 | paste -sd' ')" '2 3 4 5 6 7 8 9'
    assert_equal "$(awk '$2 == "t" { print $3 }' handled | paste -sd' ')" '0 1 2 3 4 5 6 7 8 9'
}

@test "--exec-loop: a child that dies is replaced, and what it had not answered is given again" {
    events 20 s | esdb-append -q
    loop_handler work <<'PY'
if n == 7 and not os.path.exists("died"):
    open("died", "w")
    os.kill(os.getpid(), signal.SIGKILL)
PY
    run_split deliver --exec-loop --window 4 --backoff 20ms -- ./work
    assert_message 0 ''
    assert_equal "$(cut -d' ' -f1 handled)" "$(seq 0 19)"
}

@test "--exec-loop: an event that kills its child fails for good, the others do not" {
    events 10 s | esdb-append -q
    loop_handler work <<'PY'
if n == 4:
    sys.stderr.write("about to die\n"); sys.stderr.flush()
    os._exit(9)
PY
    run_split deliver --exec-loop --window 8 --retries 2 --backoff 10ms -- ./work
    assert_equal "$status" 123
    assert_equal "$stderr" 'about to die
about to die
about to die
esdb-tail: position 4 (s, version 4) failed after 3 attempts: exit status 9'
    assert_equal "$(cut -d' ' -f1 handled | paste -sd' ')" '0 1 2 3 5 6 7 8 9'
}

@test "--exec-loop: a child that ends well after its share is replaced and nothing has failed" {
    events 20 s | esdb-append -q
    loop_handler work <<<'if seen == 3: sys.exit(0)'
    for window in 1 16; do
        rm -f handled
        run_split deliver --exec-loop --window $window --retries 0 -- ./work
        assert_message 0 ''
        assert_equal "$(cut -d' ' -f1 handled)" "$(seq 0 19)"
    done
}

@test "--exec-loop: a child that ends without an answer is a failure, not a storm" {
    events 2 s | esdb-append -q
    run_split deliver --exec-loop --retries 1 --backoff 20ms -- true
    assert_equal "$status" 123
    assert_equal "$stderr" 'esdb-tail: position 0 (s, version 0) failed after 2 attempts: exit status 0
esdb-tail: position 1 (s, version 1) failed after 2 attempts: exit status 0'
}

@test "--exec-loop: wrong answers" {
    events 2 s | esdb-append -q
    handler work <<'SH'
#!/bin/bash
while read -r line; do echo 'yes, sir'; done
SH
    run_split deliver --exec-loop --retries 0 -- ./work
    assert_equal "$status" 123
    assert_regex "$stderr" "failed after 1 attempt: answered neither ok nor fail: 'yes, sir'"
    handler work <<'SH'
#!/bin/bash
while read -r line; do echo 'ok'; echo 'ok'; done
SH
    run_split deliver --exec-loop --retries 0 -- ./work
    assert_regex "$stderr" "answered without an event: 'ok'|answered before the event was read: 'ok'"
    # for ever, and no newline: neither memory nor time
    run_split deliver --exec-loop --retries 0 -- yes
    assert_equal "$status" 123
    run_split deliver --exec-loop --retries 0 -- cat /dev/zero
    assert_equal "$status" 123
    # an answer to what it cannot have read
    head -c 3000000 /dev/zero | tr '\0' x | jq -Rc '{stream_id:"big",event_type:"T",data:.}' | esdb-append -q
    run_split esdb-tail big -n 1 --until-end --exec-loop --retries 0 -- sh -c 'echo ok; cat >/dev/null'
    assert_equal "$status" 123
    assert_regex "$stderr" "failed after 1 attempt: answered before the event was read: 'ok'"
    # what looks like ok is none
    for word in OK okay 'ok ' failed ''; do
        run_split deliver --exec-loop --retries 0 -- sh -c 'while read -r line; do echo "$0"; done' "$word"
        assert_equal "$word $status" "$word 123"
    done
}

@test "--exec-loop: a child that reads nothing, or hangs, is ended by --timeout" {
    events 300 s | esdb-append -q
    begin=$SECONDS
    run_split esdb-tail s -n 2 --until-end --exec-loop --window 300 --retries 0 --timeout 200ms -- sleep 60
    assert_equal "$status" 123
    assert_regex "$stderr" 'timed out after 200 ms'
    [ $((SECONDS - begin)) -lt 10 ]
    # its pipe is full when it hangs
    head -c 3000000 /dev/zero | tr '\0' x | jq -Rc '{stream_id:"big",event_type:"T",data:.}' | esdb-append -q
    run_split esdb-tail big -n 1 --until-end --exec-loop --retries 0 --timeout 200ms -- sleep 60
    assert_equal "$status" 123
}

@test "--exec-loop: a child that closes its input or its output does not hang us" {
    events 500 s | esdb-append -q
    handler work <<'SH'
#!/bin/bash
read -r line; echo ok; exec <&-; exec sleep 30
SH
    begin=$SECONDS
    run_split deliver --exec-loop --window 400 --retries 0 --park stop -- ./work
    assert_equal "$status" 123
    assert_regex "$stderr" 'position 1 .*: closed its input or output'
    handler work <<'SH'
#!/bin/bash
read -r line; echo ok; exec >&-; exec sleep 30
SH
    run_split deliver --exec-loop --window 4 --retries 0 --park stop -- ./work
    assert_equal "$status" 123
    assert_regex "$stderr" 'position 1 .*: closed its input or output'
    [ $((SECONDS - begin)) -lt 20 ]
}

@test "--exec-loop: workers that die at random lose nothing and keep the order of each stream" {
    python3 -c 'import random
random.seed(1)
for i in range(3000): print("{\"stream_id\":\"s%d\",\"event_type\":\"T\",\"data\":{\"n\":%d}}" % (random.randrange(20), i))' | esdb-append -q
    loop_handler work <<'PY'
if os.urandom(1)[0] < 2: os.kill(os.getpid(), signal.SIGKILL)
if os.urandom(1)[0] < 2:
    out.write(b"%d %s %d died\n" % (event["position"], event["stream_id"].encode(), event["version"]))
    os._exit(1)
PY
    for options in '--window 1' '--window 16' '--window 16 --workers 3' '--window 2 --workers 5'; do
        rm -f handled
        run_split deliver --exec-loop $options --retries 100 --backoff 1ms --backoff-max 5ms -- ./work
        assert_equal "$status" 0
        assert_equal "$options $(in_order handled)" "$options 3000"
        assert_equal "$(awk '/ok$/ { print $1 }' handled | sort -nu | wc -l)" 3000
    done
}

# ---- the end ----

@test "SIGTERM: no new event, the child has time to finish" {
    events 5 s | esdb-append -q
    follow --exec -- sh -c 'echo "begin $ESDB_POSITION" >>log; sleep 1; echo "end $ESDB_POSITION" >>log'
    wait_for 5 has_lines log 1
    kill "$tail"
    wait "$tail"
    assert_equal "$(cat log)" 'begin 0
end 0'
}

@test "SIGTERM: --stop-timeout, then SIGTERM, then SIGKILL for the child" {
    events 5 s | esdb-append -q
    follow --exec --stop-timeout 200ms -- sh -c 'trap "echo term >>log; exit 0" TERM; echo begin >>log; while :; do sleep 0.05; done'
    wait_for 5 has_lines log 1
    kill "$tail"
    wait "$tail"
    assert_equal "$(cat log)" 'begin
term'
    rm log
    follow --exec --stop-timeout 100ms -- sh -c 'trap "" TERM; echo begin >>log; while :; do sleep 0.05; done'
    wait_for 5 has_lines log 1
    begin=$SECONDS
    kill "$tail"
    wait "$tail"
    [ $((SECONDS - begin)) -lt 8 ]
    assert_equal "$(cat out errors)" ''
}

@test "SIGTERM: a loop finishes what it has, then its input ends" {
    events 50 s | esdb-append -q
    { loop_handler work <<'PY'
time.sleep(0.1)
PY
    }
    echo 'open("ended", "w")' >>work
    follow --exec-loop --window 4 -- ./work
    wait_for 10 has_lines handled 3
    kill "$tail"
    wait "$tail"
    [ -e ended ]
    [ "$(lines_of handled)" -lt 20 ]
    assert_equal "$(cut -d' ' -f1 handled | head -n 5 | paste -sd' ')" "$(seq 0 4 | head -n "$(lines_of handled)" | paste -sd' ')"
}

@test "SIGTERM during a backoff ends it at once" {
    events 5 s | esdb-append -q
    follow --exec --backoff 60s -- sh -c 'echo x >>log; false'
    wait_for 5 has_lines log 1
    sleep 0.2
    begin=$SECONDS
    kill "$tail"
    wait "$tail"
    [ $((SECONDS - begin)) -lt 3 ]
}

@test "a loop child that does not end with its input gets SIGTERM" {
    events 1 s | esdb-append -q
    handler work <<'SH'
#!/bin/bash
trap 'echo term >>log; exit' TERM
read -r line; echo ok
while :; do sleep 0.05; done
SH
    begin=$SECONDS
    deliver --exec-loop --stop-timeout 200ms -- ./work
    assert_equal "$(cat log)" term
    [ $((SECONDS - begin)) -lt 8 ]
}

@test "what a loop writes to stderr while it is idle is seen, and one that dies then is replaced" {
    events 1 s | esdb-append -q
    handler work <<'SH'
#!/bin/bash
read -r line; echo ok; sleep 0.5; echo later >&2; kill -KILL $$
SH
    follow --exec-loop -- ./work
    wait_for 5 grep -q later errors
    events 1 s 1 | esdb-append -q
    wait_for 5 has_lines errors 2
    assert_equal "$(cat errors)" 'later
later'
}

@test "an idle follower with a loop uses no processor time" {
    events 1 s | esdb-append -q
    loop_handler work <<<'answer = "ok"'
    follow --exec-loop --window 4 --workers 1 -- ./work
    wait_for 5 has_lines handled 1
    sleep 0.3
    before=$(awk '{ print $14 + $15 }' "/proc/$tail/stat")
    sleep 2
    after=$(awk '{ print $14 + $15 }' "/proc/$tail/stat")
    [ $((after - before)) -le 2 ]
}

@test "damage is told and passed, the rest is given: 5" {
    events 3 s | esdb-append -q
    events 3 t | esdb-append -q
    events 3 u | esdb-append -q
    offset=$(grep -abo '"n":1' store/log/*.log | sed -n 2p | cut -d: -f1)
    printf 'X' | dd of="$(echo store/log/*.log)" bs=1 seek="$offset" conv=notrunc status=none
    run_split deliver --exec -- sh -c 'echo $ESDB_POSITION'
    assert_equal "$status" 5
    assert_equal "$(paste -sd' ' <<<"$output")" "$(esdb-read --all 2>/dev/null | jq .position | paste -sd' ')"
    assert_equal "$(grep -c 4 <<<"$output") $(tail -n 1 <<<"$output")" '0 8'
}
