#!/usr/bin/env bats
# esdb-stream: delete, undelete, truncate, version --at, partition. What is gone is gone from every way of reading, and
# versions go on.
load lib/load

setup() {
    esdb_setup
    new_store
    events 5 a | esdb-append -q
    events 3 ab | esdb-append -q
}

names() {
    esdb-stream list "$@" | jq -r .stream_id | tr '\n' ' '
}

# The versions that reading prints: versions ARGUMENT…
versions() {
    esdb-read "$@" | jq -r .version | tr '\n' ' '
}

# more N STREAM [OPTION…]: appends N events.
more() {
    local n=$1 stream=$2
    shift 2
    events "$n" "$stream" 100 | esdb-append -q "$@"
}

# epoch_us of the newest event of all, system streams included
now_us() {
    esdb-read --all --system -r -n 1 | jq .epoch_us
}

@test "a deleted stream is gone from reads, lists, patterns, --all, info, version and exists" {
    run_split esdb-stream delete a
    assert_success
    assert_equal "$output$stderr" ''
    run_split esdb-read a
    assert_message 4 'esdb-read: a: no such stream: it was deleted'
    assert_equal "$(versions 'a*')" '0 1 2 '
    assert_equal "$(versions -r 'a*')" '2 1 0 '
    assert_equal "$(esdb-read --all --count)" 3
    assert_equal "$(esdb-read --all -r | jq -r .stream_id | sort -u)" ab
    assert_equal "$(names)" 'ab '
    assert_equal "$(names 'a*')" 'ab '
    assert_equal "$(esdb-stream list --count)" 1
    run_split esdb-stream info a
    assert_message 4 'esdb-stream: a: no such stream: it was deleted'
    run_split esdb-stream version a
    assert_message 4 'esdb-stream: a: no such stream: it was deleted'
    run esdb-stream exists a
    assert_failure 4
    run_split esdb-read --literal a ab
    assert_equal "$status" 4
    run esdb-verify
    assert_success
}

@test "after a deletion no-stream and the last version match, exists does not, and versions go on" {
    esdb-stream delete a
    run_split more 1 a -e exists
    assert_equal "$status" 3
    assert_regex "$stderr" 'a: expected an existing stream, found a deleted stream of version 4$'
    run_split more 1 a -e 3
    assert_equal "$status" 3
    more 1 a -e no-stream
    assert_equal "$(versions a)" '5 '
    run_split more 1 a -e no-stream
    assert_equal "$status" 3
    esdb-stream delete a
    more 2 a -e 5
    more 1 a -e exists
    assert_equal "$(versions a)" '6 7 8 '
    assert_equal "$(versions -r a)" '8 7 6 '
    assert_equal "$(versions --versions 0..7 a)" '6 7 '
    assert_equal "$(versions 'a')" '6 7 8 '
    assert_equal "$(esdb-stream info a | jq -c '[.count,.first_version,.last_version,.first_position]')" '[3,6,8,11]'
    assert_equal "$(esdb-stream list a | jq -c '[.count,.first_version,.last_version]')" '[3,6,8]'
    esdb-stream delete a
    more 1 a
    assert_equal "$(versions a)" '9 '
}

@test "delete --expect deletes at that version only" {
    run_split esdb-stream delete --expect 3 a
    assert_message 3 'esdb-stream: a: expected version 3, found 4'
    run_split esdb-stream delete -e no-stream a
    assert_message 3 'esdb-stream: a: expected no stream, found version 4'
    assert_equal "$(versions a)" '0 1 2 3 4 '
    esdb-stream delete -e exists a
    more 1 a
    esdb-stream delete --expect 5 a
    run esdb-stream exists a
    assert_failure 4
}

@test "deleting what is not there is status 4, also the second time" {
    run_split esdb-stream delete none
    assert_message 4 'esdb-stream: none: no such stream'
    esdb-stream delete a
    run_split esdb-stream delete a
    assert_message 4 'esdb-stream: a: no such stream: it was deleted'
    run_split esdb-stream truncate --before 1 a
    assert_message 4 'esdb-stream: a: no such stream: it was deleted'
    run_split esdb-stream truncate --before 0 none
    assert_message 4 'esdb-stream: none: no such stream'
    assert_equal "$(esdb-read '$meta:a' | lines_of)" 1
}

@test "undelete brings everything back, also when new events came since, and after several deletions" {
    esdb-stream delete a
    esdb-stream undelete a
    assert_equal "$(versions a)" '0 1 2 3 4 '
    esdb-stream delete a
    more 1 a
    esdb-stream delete a
    more 1 a
    esdb-stream undelete a
    assert_equal "$(versions a)" '0 1 2 3 4 5 6 '
    assert_equal "$(esdb-stream info a | jq .count)" 7
    run_split esdb-stream undelete a
    assert_message 4 'esdb-stream: a: nothing of it is deleted'
    run_split esdb-stream undelete none
    assert_message 4 'esdb-stream: none: no such stream'
}

@test "delete --hard closes the name for ever" {
    run_split esdb-stream delete --hard a
    assert_equal "$status" 2
    assert_regex "$stderr" '^esdb-stream: --hard is for ever: it needs --confirm=a'
    run_split esdb-stream delete --hard --confirm=ab a
    assert_equal "$status" 2
    assert_equal "$(versions a)" '0 1 2 3 4 '
    esdb-stream delete --hard --confirm=a a
    assert_equal "$(names)" 'ab '
    for expected in any no-stream exists 4; do
        run_split more 1 a -e "$expected"
        assert_equal "$status" 3
        assert_regex "$stderr" 'esdb-append: a: was closed for ever'
    done
    { events 1 b; events 1 a; } >both
    run_split esdb-append --atomic <both
    assert_equal "$status" 3
    run esdb-stream exists b
    assert_failure 4
    run_split esdb-stream undelete a
    assert_message 3 'esdb-stream: a: was closed for ever; nothing brings it back'
    run_split esdb-stream delete --hard --confirm=a a
    assert_message 4 'esdb-stream: a: no such stream: it was closed for ever'
    run_split esdb-stream info a
    assert_message 4 'esdb-stream: a: no such stream: it was closed for ever'
}

@test "a deleted stream can be closed" {
    esdb-stream delete a
    esdb-stream delete --hard --confirm a a
    run_split more 1 a
    assert_equal "$status" 3
    run_split esdb-stream delete --hard --confirm none none
    assert_message 4 'esdb-stream: none: no such stream'
}

@test "truncate hides what is older; the stream goes on existing" {
    esdb-stream truncate --before 2 a
    assert_equal "$(versions a)" '2 3 4 '
    assert_equal "$(versions -r a)" '4 3 2 '
    assert_equal "$(versions '*')" '2 3 4 0 1 2 '
    assert_equal "$(esdb-read -a -r | jq -r .version | tr '\n' ' ')" '2 1 0 4 3 2 '
    assert_equal "$(esdb-stream info a | jq -c '[.count,.first_version,.last_version,.first_position]')" '[3,2,4,2]'
    assert_equal "$(esdb-stream list a | jq -c '[.count,.first_version,.last_version]')" '[3,2,4]'
    esdb-stream truncate --before 1 a
    assert_equal "$(versions a)" '2 3 4 '
    run_split esdb-stream undelete a
    assert_message 4 'esdb-stream: a: nothing of it is deleted'
    assert_equal "$(esdb-read '$meta:a' | lines_of)" 1
}

@test "truncate up to the end leaves an empty stream that exists" {
    run_split esdb-stream truncate --before 6 a
    assert_message 3 'esdb-stream: a: cannot be truncated before version 6: its last is 4'
    esdb-stream truncate --before 5 a
    run_split esdb-read a
    assert_message 0 ''
    assert_equal "$(esdb-stream list a)" '{"stream_id":"a","count":0,"first_version":5,"last_version":4}'
    run esdb-stream version a
    assert_output 4
    run esdb-stream exists a
    assert_success
    run_split more 1 a -e no-stream
    assert_equal "$status" 3
    more 1 a -e exists
    assert_equal "$(versions a)" '5 '
}

@test "truncations and deletions go together: undelete leaves what was truncated hidden" {
    esdb-stream truncate --before 2 a
    esdb-stream delete a
    more 1 a
    esdb-stream undelete a
    assert_equal "$(versions a)" '2 3 4 5 '
    esdb-stream truncate --before 4 a
    assert_equal "$(versions a)" '4 5 '
}

@test "ids in hidden events are found by --idempotent" {
    printf '%s\n' '{"event_id":"one","event_type":"T"}' '{"event_id":"two","event_type":"T"}' >twice
    esdb-append i <twice >first
    esdb-stream delete i
    run esdb-append --idempotent i <twice
    assert_success
    assert_equal "$(jq -c '[.first_version,.last_version,.first_position]' <<<"$output")" \
        "$(jq -c '[.first_version,.last_version,.first_position]' first)"
    run esdb-stream exists i
    assert_failure 4
}

@test "version --at tells the version of then, -1 when there was none" {
    start=$(now_us)
    sleep 0.01
    more 2 a
    later=$(now_us)
    sleep 0.01
    esdb-stream delete a
    deleted=$(now_us)
    sleep 0.01
    more 1 a
    run esdb-stream version a --at 0
    assert_success
    assert_output -1
    assert_equal "$(esdb-stream version a --at "$start")" 4
    assert_equal "$(esdb-stream version a --at $((later - 1)))" 4
    assert_equal "$(esdb-stream version a --at "$later")" 6
    assert_equal "$(esdb-stream version a --at $((deleted - 1)))" 6
    assert_equal "$(esdb-stream version a --at "$deleted")" -1
    assert_equal "$(esdb-stream version a --at $((deleted + 500000000)))" 7
    assert_equal "$(esdb-stream version --at @4000000000 a)" 7
    assert_equal "$(esdb-stream version --at @0.5 a)" -1
    assert_equal "$(esdb-stream version none --at "$later")" -1
}

@test "the reference's mistake: version --at after old events were removed is not -1, and time is still searched" {
    start=$(now_us)
    sleep 0.01
    more 5 a
    esdb-stream truncate --before 8 a
    assert_equal "$(esdb-stream version a --at "$start")" 4
    assert_equal "$(esdb-stream version a --at @4000000000)" 9
    esdb-stream truncate --before 10 a
    assert_equal "$(esdb-stream version a --at "$start")" 4
    assert_equal "$(esdb-stream version a --at @4000000000)" 9
}

@test "partition tells the part of a stream: all of them in 1 .. N, evenly" {
    run esdb-stream partition orders-1 1
    assert_output 1
    for i in $(seq 1 60); do esdb-stream partition "s-$i" 3; done | sort | uniq -c >counts
    assert_equal "$(lines_of counts)" 3
    awk '$1 < 8 || $2 < 1 || $2 > 3 { exit 1 }' counts
    # XXH3-64 of the name modulo N, plus 1: by the other implementation
    want=$(PYTHONPATH=$REPO/tests/decoder python3 -B -c 'import esdb_decode as d; print(d.checksum(b"orders-1") % 1000 + 1)')
    assert_equal "$(esdb-stream partition orders-1 1000)" "$want"
    for n in 0 -1 x 4294967296; do
        run_split esdb-stream partition -- orders-1 "$n"
        assert_equal "$status" 2
    done
}

@test "life is found in sealed segments, after a reboot, and by those who may only read" {
    new_store many --segment-size 64K
    for _ in 1 2 3 4; do
        seq 1 800 | awk '{printf "{\"stream_id\":\"s-%03d\",\"event_type\":\"T\",\"data\":{\"n\":%d}}\n", $1 % 200, $1}' |
            esdb-append -q --batch 50
        [ -e cut ] || { esdb-stream delete s-007; esdb-stream truncate --before 2 s-008; }
        touch cut
    done
    esdb-stream delete s-009
    [ "$(find "$ESDB_STORE/log" -name '*.log' | wc -l)" -gt 3 ]
    look() {
        esdb-stream list 's-00[789]' 's-007' 's-008' 's-009'
        esdb-stream info s-007 s-008 || true
        esdb-read s-007
        esdb-read 's-00?' | jq -c '[.stream_id,.version]'
        esdb-read -r 's-00?' --count
        esdb-read -a | wc -l
    }
    look >want
    assert_equal "$(jq -c 'select(.stream_id == "s-007") | .first_version' want 2>/dev/null | sort -u | head -n 1)" 4
    assert_equal "$(tail -n 1 want)" 3178
    rm "$ESDB_STORE/head"
    look | diff - want
    rm -rf "$ESDB_STORE/head" "$ESDB_STORE"/tables "$ESDB_STORE"/log/*.idx "$ESDB_STORE"/log/*.live
    look | diff - want
    run_split more 1 s-009 -e exists
    assert_equal "$status" 3
    rm "$ESDB_STORE/head"
    run_split more 1 s-009 -e exists
    assert_equal "$status" 3
    more 1 later # of a copy, the last frame proves that those before it were durable, and is not shown itself
    open=$(mktemp -d)
    cp -r "$ESDB_STORE" "$open/copy"
    chmod -R a-w,a+rX "$open"
    assert_equal "$(as_nobody esdb-read -S "$open/copy" -a | lines_of)" 3178
    assert_equal "$(as_nobody esdb-stream -S "$open/copy" list --count)" 199
    rm -rf "$open"
}

@test "an append that is the first to look, after a reboot, finds what was deleted in sealed segments" {
    new_store sealed --segment-size 64K
    events 5 gone | esdb-append -q
    esdb-stream delete gone
    events 2000 filler | esdb-append -q --batch 100
    [ "$(find sealed/log -name '*.log' | wc -l)" -gt 2 ]
    rm sealed/head
    more 1 other
    assert_equal "$(esdb-read --all --count)" 2001
    rm sealed/head
    run_split more 1 gone -e exists
    assert_equal "$status" 3
    rm sealed/head
    more 1 gone -e no-stream
    assert_equal "$(versions gone)" '5 '
}

@test "concurrent appenders and deletions: whatever was appended before the deletion is hidden, the rest is not" {
    for _ in 1 2 3 4; do
        (for i in $(seq 1 60); do events 1 busy | esdb-append -q; done) &
    done
    for _ in 1 2 3 4 5 6; do
        wait_for 5 esdb-stream exists busy
        esdb-stream delete busy
        sleep 0.02
    done
    wait
    gone=$(esdb-read '$meta:busy' -r -n 1 --output data | jq .deleted_before)
    at=$(esdb-read '$meta:busy' -r -n 1 | jq .position)
    before=$(esdb-read -a --system | jq -s "map(select(.position < $at and .stream_id == \"busy\")) | length")
    assert_equal "$before" 0
    assert_equal "$(esdb-read busy 2>/dev/null | jq -s "map(select(.version < $gone)) | length")" 0
    esdb-stream undelete busy
    assert_equal "$(esdb-read busy | jq -s 'map(.version) == [range(240)]')" true
    run esdb-verify
    assert_success
}

@test "names up to the limit can be deleted, and longer ones are refused" {
    long=$(printf 'x%.0s' $(seq 1 240))
    more 1 "$long"
    esdb-stream delete "$long"
    run esdb-stream exists "$long"
    assert_failure 4
    run_split esdb-stream delete "${long}y"
    assert_equal "$status" 8
    run_split esdb-stream delete '$meta:a'
    assert_message 2 "esdb-stream: \$meta:a: is one of the store's own streams"
    run_split esdb-append -t T --lines '$meta:a' <<<x
    assert_equal "$status" 8
}

@test "usage mistakes are named" {
    for args in 'delete' 'undelete' 'truncate --before 1' 'partition a' 'delete a b' 'truncate a' 'undelete --hard a' \
        'delete --before 1 a' 'list --expect 1' 'info --at 0 a' 'delete --confirm a a' 'truncate --before -1 a' \
        'version --at noonish a' 'delete --expect x a' 'partition a 3 4'; do
        # shellcheck disable=SC2086 # words
        run_split esdb-stream $args
        assert_equal "$args: $status" "$args: 2"
        assert_equal "$output" ''
    done
    run_split esdb-stream undelete --hard a
    assert_regex "$stderr" '^esdb-stream: --hard belongs to delete, not to undelete'
    assert_equal "$(versions a)" '0 1 2 3 4 '
}

@test "what is shown is what the second reader shows, on a random store" {
    seed=${SEED:-$RANDOM}
    echo "SEED=$seed"
    new_store random --segment-size 64K
    awk -v seed="$seed" 'BEGIN {
        srand(seed)
        for (i = 0; i < 120; i++) {
            s = "s-" int(rand() * 8); r = rand()
            if (r < 0.4)
                printf "events %d %s | esdb-append -q\n", 1 + rand() * 60, s
            else if (r < 0.6)
                printf "esdb-stream delete %s\n", s
            else if (r < 0.8)
                printf "esdb-stream truncate %s --before %d\n", s, rand() * rand() * 200
            else if (r < 0.97)
                printf "esdb-stream undelete %s\n", s
            else
                printf "esdb-stream delete --hard --confirm %s %s\n", s, s
        }
    }' >script
    while IFS= read -r line; do eval "$line" 2>/dev/null || true; done <script
    python3 -B "$REPO/tests/decoder/esdb_decode.py" "$ESDB_STORE" >all
    python3 -B "$REPO/tests/decoder/esdb_visible.py" <all >want
    [ "$(lines_of want)" -lt "$(lines_of all)" ]
    esdb-read --all --system | diff -q - want
    # as it was, at some positions: what was hidden later is there
    end=$(lines_of all)
    for at in $((end / 7)) $((end / 3)) $((end / 2)) $((end - 2)); do
        python3 -B "$REPO/tests/decoder/esdb_visible.py" $((at + 1)) <all >past
        esdb-read --all --system --as-of "pos:$at" | diff -q - past
        esdb-read -r --system '*' --as-of "pos:$at" | tac | diff -q - past
        { esdb-read s-1 --as-of "pos:$at" 2>/dev/null || true; } | diff -q - <(grep -F '"stream_id":"s-1",' past)
    done
    esdb-read --all --system -r | tac | diff -q - want
    esdb-read --system '*' | diff -q - want
    for s in s-0 s-1 s-2 s-3 s-4 s-5 s-6 s-7; do
        { esdb-read "$s" 2>/dev/null || true; } | diff -q - <(grep -F "\"stream_id\":\"$s\"," want)
        { esdb-read -r "$s" 2>/dev/null || true; } | tac | diff -q - <(grep -F "\"stream_id\":\"$s\"," want)
    done
    esdb-stream list 's-*' | jq -r 'select(.count > 0) | "\(.stream_id) \(.count) \(.first_version)"' >listed
    jq -r .stream_id want | grep '^s-' | sort | uniq -c | awk '{print $2, $1}' >counted
    cut -d ' ' -f 1,2 listed | diff - counted
    while read -r name count first; do
        assert_equal "$(esdb-stream info "$name" | jq -c '[.count,.first_version,.first_position]')" \
            "[$count,$first,$(grep -F "\"stream_id\":\"$name\"," want | head -n 1 | jq .position)]"
    done <listed
}

@test "a deletion that is killed is done or not done" {
    for i in $(seq 1 40); do
        timeout -s KILL "0.00$((i % 5))$((RANDOM % 10))" esdb-stream delete a 2>/dev/null || true
        if esdb-stream exists a; then
            assert_equal "$(versions a)" '0 1 2 3 4 '
        else
            assert_equal "$(esdb-read --all --count)" 3
            esdb-stream undelete a
        fi
    done
    run esdb-verify
    assert_success
}
