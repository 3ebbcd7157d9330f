#!/usr/bin/env bats
# esdb-fold: state of events.
load lib/load

setup() {
    esdb_setup
    new_store
}

# put STREAM DATA…: an event for each.
put() {
    local stream=$1
    shift
    printf '{"event_type":"T","data":%s}\n' "$@" | esdb-append -q "$stream"
}

@test "tagged values: sums, replacements, plain values, missing ones" {
    put a '{"n":{"$sum":1},"name":"x"}' '{"n":{"$sum":2.5},"name":{"$overwrite":"y"}}' '{"other":null}' '{"n":{"$sum":-1}}'
    run esdb-fold a
    assert_output '{"n":2.5,"name":"y","other":null}'
    run esdb-fold --no-finalize a
    assert_output '{"n":{"$sum":2.5},"name":{"$overwrite":"y"},"other":null}'
    run esdb-fold --right a
    assert_output '{"n":2.5,"other":null,"name":"x"}'
    run esdb-fold --init '{"n":10,"z":1}' a
    assert_output '{"n":12.5,"z":1,"name":"y","other":null}'
}

@test "reference mistake: a sum with a non-number wiped the total; it is an error that names the event" {
    put a '{"n":{"$sum":5}}' '{"n":{"$sum":"many"}}' '{"n":{"$sum":2},"m":1}'
    run_split esdb-fold a
    assert_message 8 'esdb-fold: a: version 1 (position 1): n: $sum of a string: it must be a number'
    run_split esdb-fold --skip-invalid a
    assert_equal "$status" 8
    assert_equal "$output" '{"n":7,"m":1}'
    assert_equal "$stderr" 'esdb-fold: 1 event was left out (first: a: version 1 (position 1): n: $sum of a string: it must be a number)'
    # The total is not one either after something else has taken its place: the event is left out whole.
    put a '{"n":"text"}' '{"n":{"$sum":1},"m":2}'
    run_split esdb-fold a --no-snapshot
    assert_equal "$status" 8
    run_split esdb-fold --skip-invalid a
    assert_equal "$output" '{"n":"text","m":1}'
    assert_equal "$stderr" 'esdb-fold: 2 events were left out (first: a: version 1 (position 1): n: $sum of a string: it must be a number)'
}

@test "reference mistake: nested objects were replaced whole without a word; the page says so, and --deep does not" {
    put a '{"o":{"x":1,"deep":{"k":1}}}' '{"o":{"y":2,"deep":{"l":2}}}'
    run esdb-fold a
    assert_output '{"o":{"y":2,"deep":{"l":2}}}'
    run esdb-fold --deep a
    assert_output '{"o":{"x":1,"deep":{"k":1,"l":2},"y":2}}'
    run bash -c "man -l '$REPO/man/esdb-fold.1' 2>/dev/null || mandoc '$REPO/man/esdb-fold.1'"
    assert_output --partial 'as a whole'
    put b '{"o":{"x":{"$sum":1}}}'
    run_split esdb-fold b
    assert_message 8 'esdb-fold: b: version 0 (position 2): o: a tag inside a value, which is replaced whole (--deep goes into objects)'
    run esdb-fold --deep b
    assert_output '{"o":{"x":1}}'
}

@test "reference mistake: an event without data folded its envelope; it changes nothing" {
    printf '%s\n' '{"event_type":"Bare"}' '{"event_type":"Null","data":null}' '{"event_type":"T","data":{"n":1}}' |
        esdb-append -q a
    run esdb-fold a
    assert_output '{"n":1}'
    run esdb-fold --upto 1 a
    assert_output '{}'
    put b 5
    run_split esdb-fold b
    assert_message 8 'esdb-fold: b: version 0 (position 3): the data is no object'
    printf '\1\377' | esdb-append -q --raw -t B c
    run_split esdb-fold c
    assert_message 8 'esdb-fold: c: version 0 (position 4): the data is binary'
}

@test "reference mistake: a snapshot silently overrode --init; both are a usage error" {
    put a '{"n":{"$sum":5}}'
    run esdb-fold --init '{"n":100}' a
    assert_output '{"n":105}'
    esdb-fold --save-snapshot a >/dev/null
    run_split esdb-fold --init '{"n":100}' a
    assert_message 2 'esdb-fold: --init and a snapshot exclude each other: --no-snapshot passes it over
esdb-fold: a: has a snapshot of version 0, and a state to begin with was given, too'
    run esdb-fold --init '{"n":100}' --no-snapshot a
    assert_output '{"n":105}'
    run_split esdb-fold --init '{}' --save-snapshot a
    assert_equal "$status" 2
}

@test "numbers are never rounded: 64 bits, beyond, decimals, too many digits" {
    put a '{"n":{"$sum":9223372036854775807},"d":{"$sum":0.1},"k":12345678901234567890.00}' \
        '{"n":{"$sum":9223372036854775807},"d":{"$sum":0.2}}'
    run esdb-fold a
    assert_output '{"n":18446744073709551614,"d":0.3,"k":12345678901234567890.00}'
    put b '{"n":{"$sum":99999999999999999999999999999999999999}}' '{"n":{"$sum":1}}'
    run_split esdb-fold b
    assert_message 8 'esdb-fold: b: version 1 (position 3): n: the sum has more than 38 digits'
    run esdb-fold --sum '.data.n."$sum"' a
    assert_output 18446744073709551614
}

@test "several streams make one state, in order of positions; --per-stream one each" {
    put b '{"n":{"$sum":1},"last":"b0"}'
    put a '{"n":{"$sum":2},"last":"a0"}'
    put b '{"n":{"$sum":4},"last":"b1"}'
    run esdb-fold a b
    assert_output '{"n":7,"last":"b1"}'
    run esdb-fold --all
    assert_output '{"n":7,"last":"b1"}'
    run esdb-fold --per-stream '*'
    assert_output '{"stream_id":"a","version":0,"events":1,"state":{"n":2,"last":"a0"}}
{"stream_id":"b","version":1,"events":2,"state":{"n":5,"last":"b1"}}'
    run esdb-fold --per-stream b
    assert_output '{"stream_id":"b","version":1,"events":2,"state":{"n":5,"last":"b1"}}'
}

@test "parts and --merge give what one fold gives; --finalize-only takes the tags away" {
    put a '{"n":{"$sum":1},"x":{"$overwrite":1}}' '{"n":{"$sum":2},"x":{"$sum":1}}' '{"n":{"$sum":3},"y":null}'
    for v in 0 1 2; do esdb-read a --versions "$v" --output data; done >parts
    run bash -c "esdb-fold --merge <parts"
    assert_output "$(esdb-fold a)"
    run bash -c "{ head -n 1 parts; tail -n +2 parts | esdb-fold --merge --no-finalize; } | esdb-fold --merge"
    assert_output "$(esdb-fold a)"
    run bash -c "esdb-fold --finalize-only <parts"
    assert_output '{"n":1,"x":1}
{"n":2,"x":1}
{"n":3,"y":null}'
    run bash -c "esdb-fold --merge --init '{\"n\":10}' <parts"
    assert_output '{"n":16,"x":2,"y":null}'
    run esdb-fold --merge </dev/null
    assert_output '{}'
    run_split esdb-fold --merge <<<$'{"n":"x"}\n\n{"n":{"$sum":1}}'
    assert_message 8 'esdb-fold: line 3: n: $sum cannot be added to "x"'
    run_split esdb-fold --merge <<<'{"n":'
    assert_equal "$status" 8
    run_split esdb-fold --merge a
    assert_equal "$status" 2
    run_split esdb-fold --finalize-only --reduce . <<<'{}'
    assert_equal "$status" 2
}

@test "--upto and --as-of" {
    put a '{"n":{"$sum":1}}' '{"n":{"$sum":2}}'
    put b '{}'
    put a '{"n":{"$sum":4}}'
    run esdb-fold --upto 1 a
    assert_output '{"n":3}'
    run esdb-fold --as-of pos:2 a
    assert_output '{"n":3}'
    run esdb-fold --as-of now a
    assert_output '{"n":7}'
    run_split esdb-fold --as-of 2001-01-01 a
    assert_message 4 'esdb-fold: a: no such stream'
}

@test "--save-snapshot: the next fold begins there; =N waits for N events" {
    put a '{"n":{"$sum":1}}' '{"n":{"$sum":2}}'
    run esdb-fold --save-snapshot=3 a
    assert_output '{"n":3}'
    run esdb-snapshot exists a
    assert_failure 4
    put a '{"n":{"$sum":4}}'
    esdb-fold --save-snapshot=3 a >/dev/null
    put a '{"n":{"$sum":8}}'
    run esdb-fold --per-stream a
    assert_output '{"stream_id":"a","version":3,"events":1,"snapshot_version":2,"state":{"n":15}}'
    run esdb-fold --per-stream --no-finalize --upto 2 a
    assert_output '{"stream_id":"a","version":2,"events":0,"snapshot_version":2,"state":{"n":{"$sum":7}}}'
    run esdb-fold --per-stream --upto 1 a
    assert_output '{"stream_id":"a","version":1,"events":2,"state":{"n":3}}'
    esdb-fold --save-snapshot=1 a >/dev/null
    esdb-fold --save-snapshot=1 a >/dev/null
    assert_equal "$(esdb-snapshot list a | lines_of)" 2
    run_split esdb-fold --save-snapshot=0 a
    assert_equal "$status" 2
    run_split esdb-fold --save-snapshot --right a
    assert_equal "$status" 2
    put b '{}'
    for selection in 'a b' '-t T a' 'a*' '--all' '--since 2001-01-01 a'; do
        # shellcheck disable=SC2086 # words
        run_split esdb-fold --save-snapshot $selection
        assert_message 2 "esdb-fold: a snapshot can be saved of each stream's events from the first on: of one stream, or for each stream of a pattern, without filters"
    done
}

@test "--per-stream saves and begins with a snapshot for each" {
    for s in a b c; do put $s '{"n":{"$sum":1}}'; done
    esdb-fold --per-stream --save-snapshot 'a*' >/dev/null
    esdb-fold --per-stream --save-snapshot 'b*' >/dev/null
    for s in a b c; do put $s '{"n":{"$sum":1}}'; done
    run esdb-fold --per-stream --all
    assert_output '{"stream_id":"a","version":1,"events":1,"snapshot_version":0,"state":{"n":2}}
{"stream_id":"b","version":1,"events":1,"snapshot_version":0,"state":{"n":2}}
{"stream_id":"c","version":1,"events":2,"state":{"n":2}}'
    run esdb-fold --per-stream --all --no-snapshot
    assert_output --partial '{"stream_id":"a","version":1,"events":2,"state":{"n":2}}'
}

@test "--per-stream over 100,000 streams: one pass, and memory for the states alone" {
    skip_if_variant
    seq 300000 | awk '{printf "{\"stream_id\":\"s-%d\",\"event_type\":\"T\",\"data\":{\"n\":{\"$sum\":1},\"pad\":\"%0200d\"}}\n", $1 % 100000, $1}' |
        esdb-append -q
    # The events have more than 60 MB; private memory (of which the mapped log takes none) may have 64 MiB.
    (ulimit -d 65536 && esdb-fold --per-stream 's-*' >states)
    assert_equal "$(lines_of states)" 100000
    assert_equal "$(grep -c '"version":2,"events":3,"state":{"n":3,' states)" 100000
    run bash -c "strace -c -e trace=openat esdb-fold --per-stream 's-*' 2>&1 >/dev/null | awk '/openat/ { print \$4 }'"
    [ "$output" -lt 100 ]
}

@test "filters, --right, --since take all events, without snapshots" {
    put a '{"n":{"$sum":1}}' '{"n":{"$sum":2}}'
    esdb-fold --save-snapshot a >/dev/null
    echo '{"event_type":"Other","data":{"n":{"$sum":100}}}' | esdb-append -q a
    run esdb-fold -t T a
    assert_output '{"n":3}'
    run esdb-fold --right a
    assert_output '{"n":103}'
    run esdb-fold --since 2001-01-01 a
    assert_output '{"n":103}'
    run esdb-fold --select '.version > 0' --per-stream a
    assert_output '{"stream_id":"a","version":2,"events":2,"state":{"n":102}}'
}

@test "a snapshot from elsewhere is begun with; one that does not fit is an error" {
    put a '{"n":{"$sum":1}}' '{"n":{"$sum":2}}'
    esdb-snapshot save -q --version 0 a <<<'{"n":1000}'
    run esdb-fold a
    assert_output '{"n":1002}'
    esdb-snapshot save -q --version 1 a <<<'[1]'
    run_split esdb-fold a
    assert_message 8 'esdb-fold: a: the snapshot of version 1 cannot be folded on: the data is no object'
    esdb-snapshot save -q --version 1 --raw a <<<'x'
    run_split esdb-fold a
    assert_message 8 'esdb-fold: a: the snapshot of version 1 cannot be folded on: it is not JSON'
    run esdb-fold --no-snapshot a
    assert_output '{"n":3}'
}

@test "a state outlives the truncation of its stream" {
    put a '{"n":{"$sum":1}}' '{"n":{"$sum":2}}' '{"n":{"$sum":4}}'
    esdb-fold --save-snapshot a >/dev/null
    esdb-stream truncate --before 3 a
    run esdb-fold --per-stream a
    assert_output '{"stream_id":"a","version":2,"events":0,"snapshot_version":2,"state":{"n":7}}'
    run esdb-fold --per-stream --no-snapshot a
    assert_output '{"stream_id":"a","version":2,"events":0,"state":{}}'
}

@test "a state that was saved while the stream was deleted in part is not gone on from once it is undeleted" {
    put a '{"n":{"$sum":1}}' '{"n":{"$sum":2}}' '{"n":{"$sum":4}}'
    esdb-fold --save-snapshot --upto 1 a >/dev/null
    esdb-stream delete a
    put a '{"n":{"$sum":8}}' '{"n":{"$sum":16}}'
    run esdb-fold --save-snapshot a
    assert_output '{"n":24}'
    run esdb-fold --per-stream a
    assert_output '{"stream_id":"a","version":4,"events":0,"snapshot_version":4,"state":{"n":24}}'
    esdb-stream undelete a
    run esdb-fold --per-stream a
    assert_output '{"stream_id":"a","version":4,"events":3,"snapshot_version":1,"state":{"n":31}}'
    # What it was then can be folded, and not be saved: it would be wrong now.
    run esdb-fold --as-of pos:7 a
    assert_output '{"n":24}'
    run_split esdb-fold --no-snapshot --as-of pos:7 --save-snapshot a
    assert_equal "$status" 3
    assert_equal "$stderr" 'esdb-fold: a: the stream was deleted or undeleted meanwhile'
}

@test "one huge event among small ones costs what it costs once" {
    { seq 200000 | jq -sc '{event_type: "T", data: (map({key: "k\(.)", value: 1}) | from_entries)}'
        seq 50000 | sed 's/.*/{"event_type":"T","data":{"n":{"$sum":1}}}/'; } | esdb-append -q a
    # 50,000 times a table of 2 MiB to be cleared would take ten seconds and more.
    (ulimit -t 5 && esdb-fold a >state)
    run jq -c '[.n, length]' state
    assert_output '[50000,200001]'
}

@test "a stream that is not there: status 4, no state; others are folded" {
    put a '{"n":1}'
    run_split esdb-fold nothing
    assert_message 4 'esdb-fold: nothing: no such stream'
    run_split esdb-fold --per-stream a nothing
    assert_equal "$status" 4
    assert_equal "$output" '{"stream_id":"a","version":0,"events":1,"state":{"n":1}}'
    run esdb-fold 'no*'
    assert_success
    assert_output '{}'
    run esdb-fold --exit-status 'no*'
    assert_failure 4
    run esdb-fold --per-stream 'no*'
    assert_output ''
}

@test "--reduce: a program of your own, with . or \$state, and \$event" {
    put a '{"n":1}' '{"n":2}' '{"n":3}'
    run esdb-fold --reduce '.sum += $event.data.n | .versions += [$event.version]' a
    assert_output '{"sum":6,"versions":[0,1,2]}'
    run esdb-fold --reduce 'def add(x): $state + x; add($event.data.n) # a comment' --init 10 a
    assert_output 16
    run esdb-fold --reduce '[$event.data.n] + .' --right a
    assert_output '[1,2,3]'
    run esdb-fold --reduce '. + 1' --upto 0 a
    assert_output 1
    put b '{"n":7}'
    run esdb-fold --per-stream --reduce '. + $event.data.n' '*'
    assert_output '{"stream_id":"a","version":2,"events":3,"state":6}
{"stream_id":"b","version":0,"events":1,"state":7}'
}

@test "--reduce: mistakes are named, with the event" {
    put a '{"n":1}' '{"n":"x"}' '{"n":3}'
    run_split esdb-fold --reduce '. +' a
    assert_equal "$status" 2
    [[ $stderr == 'esdb-fold: jq: syntax error'*'line 1: . +' ]]
    run_split esdb-fold --reduce '. + $event.data.n' a
    assert_equal "$status" 8
    [[ $stderr == 'esdb-fold: a: version 1 (position 1): the program failed: number (1) and string ("x") cannot be added' ]]
    run_split esdb-fold --skip-invalid --reduce '. + $event.data.n' a
    assert_equal "$status" 8
    assert_equal "$output" 4
    run_split esdb-fold --reduce ' ' a
    assert_message 2 'esdb-fold: the program is empty'
    run_split esdb-fold --reduce '1)|(2' a
    assert_equal "$status" 2
    [[ $stderr == 'esdb-fold: jq: syntax error'*'line 1: 1)|(2' ]]
    run esdb-fold --reduce '")" # )' a
    assert_output '")"'
    run_split esdb-fold --reduce 'empty' a
    assert_message 8 'esdb-fold: a: version 0 (position 0): the program failed: the program must give one state, not 0'
    run_split esdb-fold --reduce '1, 2' a
    assert_message 8 'esdb-fold: a: version 0 (position 0): the program failed: the program must give one state, not 2'
    run_split esdb-fold --reduce 'last(range(1e9))' --jq-timeout 50ms a
    assert_equal "$status" 2
    assert_equal "$output" ''
}

@test "--reduce: what jq would round is refused, never rounded silently" {
    put a '{"n":9007199254740993}'
    run_split esdb-fold --reduce '$event.data.n' a
    assert_message 8 'esdb-fold: a: version 0 (position 0): jq would round the number 9007199254740993'
    put b '{"n":9007199254740991}' '{"n":2}'
    run_split esdb-fold --reduce '. + $event.data.n' b
    assert_message 8 'esdb-fold: b: version 1 (position 2): the state would hold the number 9007199254740992: from 2^53 on jq rounds'
    put c '{"n":0.1,"m":123456789.12345678}' '{"n":0.30000000000000004}'
    run esdb-fold --reduce '. + $event.data.n' c
    assert_success
    run_split esdb-fold --reduce '.' --init 12345678901234567891 c
    assert_equal "$status" 2
}

@test "--reduce: a state deeper than jq reads is refused, the same with and without a snapshot" {
    events 300 a | esdb-append -q
    local program want
    for program in '[.]' '{a: .}'; do
        case $program in '[.]') want=254 ;; *) want=127 ;; esac
        run esdb-fold --reduce "$program" --upto $((want - 1)) a
        assert_success
        run_split esdb-fold --reduce "$program" a
        assert_message 8 "esdb-fold: a: version $want (position $want): the state would be nested deeper than 254 arrays or 127 objects"
        esdb-fold --reduce "$program" --upto $((want - 1)) --save-snapshot a >/dev/null
        run_split esdb-fold --reduce "$program" a
        assert_message 8 "esdb-fold: a: version $want (position $want): the state would be nested deeper than 254 arrays or 127 objects"
    done
}

@test "--reduce goes on from the snapshots of the same program" {
    put a '{"n":1}' '{"n":2}'
    esdb-fold --reduce '. + $event.data.n' --save-snapshot a
    put a '{"n":4}'
    run esdb-fold --per-stream --reduce '. + $event.data.n' a
    assert_output '{"stream_id":"a","version":2,"events":1,"snapshot_version":1,"state":7}'
    run esdb-fold --per-stream --reduce '. + 1' a
    assert_output '{"stream_id":"a","version":2,"events":3,"state":3}'
}

@test "--reduce: many events, states in several batches, with and without \$state" {
    events 30000 a | esdb-append -q
    run esdb-fold --reduce '.n += 1 | .last = $event.data.n' a
    assert_output '{"n":30000,"last":29999}'
    run esdb-fold --reduce '{n: ($state.n + 1), sum: (.sum + $event.data.n)}' a
    assert_output '{"n":30000,"sum":449985000}'
    seq 20000 | awk '{printf "{\"stream_id\":\"s-%d\",\"event_type\":\"T\",\"data\":{\"n\":%d}}\n", $1 % 700, $1}' | esdb-append -q
    esdb-fold --per-stream --reduce '. + $event.data.n' 's-*' >reduced
    esdb-fold --per-stream --sum .data.n 's-*' >summed
    cmp reduced summed
    assert_equal "$(lines_of reduced)" 700
}

@test "--sum: numbers at a path, exactly" {
    put a '{"t":0.1,"l":[{"p":1},{"p":2}]}' '{"t":0.2,"l":[]}' '{"t":null}' '{}'
    echo '{"event_type":"Bare"}' | esdb-append -q a
    run esdb-fold --sum .data.t a
    assert_output 0.3
    run esdb-fold --sum '.data.l[1].p' a
    assert_output 2
    run esdb-fold --sum '.data["t"]' a
    assert_output 0.3
    run esdb-fold --sum .version a
    assert_output 10
    run_split esdb-fold --sum .data.l a
    assert_message 8 'esdb-fold: a: version 0 (position 0): .data.l is no number'
    run_split esdb-fold --skip-invalid --sum .data.l a
    assert_equal "$status" 8
    assert_equal "$output" 0
    run_split esdb-fold --sum data.t a
    assert_message 2 "esdb-fold: the path 'data.t': byte 1: it begins with '.' and a field of the event, as .data.total"
    run_split esdb-fold --sum .nothing a
    assert_equal "$status" 2
    run_split esdb-fold --sum '.data.' a
    assert_equal "$status" 2
}

@test "--count: natively and by jq" {
    events 100 a | esdb-append -q
    run esdb-fold --count '.data.n >= 90' a
    assert_output 10
    run esdb-fold --count '.data.n % 7 == 0' a
    assert_output 15
    run esdb-fold --per-stream --count '.data.n > 1000' a
    assert_output '{"stream_id":"a","version":99,"events":100,"state":0}'
    run_split esdb-fold --count '.data.n | error("no")' a
    assert_message 8 'esdb-fold: a: version 0 (position 0): the expression failed: no'
    run_split esdb-fold --count '.data.n >' a
    assert_equal "$status" 2
}

@test "--stats" {
    printf '%s\n' '{"event_type":"A","data":{"x":1,"y":2}}' '{"event_type":"B"}' '{"event_type":"A","data":{"x":1}}' | esdb-append -q a
    run esdb-fold --stats a
    assert_equal "$(jq -c 'del(.first_epoch_us, .last_epoch_us)' <<<"$output")" \
        '{"events":3,"with_data":2,"binary":0,"data_size":20,"first_position":0,"last_position":2,"unique_types":2,"types":{"A":2,"B":1},"unique_fields":2,"fields":{"x":2,"y":1}}'
    run esdb-fold --stats 'no*'
    assert_output '{"events":0,"with_data":0,"binary":0,"data_size":0,"unique_types":0,"types":{},"unique_fields":0,"fields":{}}'
}

@test "options that contradict each other are usage errors" {
    put a '{}'
    for options in '--sum .data.n --stats' '--sum .data.n --deep' '--stats --init {}' '--reduce . --no-finalize' \
        '--jq-timeout 1s' '--merge --finalize-only' '--count true --right' '--init {'; do
        # shellcheck disable=SC2086 # words
        run_split esdb-fold $options a
        assert_equal "$status $options" "2 $options"
        assert_equal "$output" ''
    done
    run_split esdb-fold
    assert_equal "$status" 2
}

@test "damage in the stream: no state, status 5" {
    events 50 a | esdb-append -q --batch 1
    flip "$(echo "$ESDB_STORE"/log/*.log)" 6000
    run_split esdb-fold --stats a
    assert_equal "$status" 5
    assert_equal "$output" ''
}

# The recipe of esdb(7); that of README.md is run by 02-readme.bats.
@test "sixteen race to decide on a folded state: never below nothing, each decision counts" {
    put item '{"left":{"$sum":40}}'
    sed -n '/^#!\/bin\/sh/,/^\.Ed/p' "$REPO/man/esdb.7" | sed '/^\.Ed/d; s/=100/=7/; s/|| status=/2>\/dev\/null &/' >reserve
    chmod +x reserve
    grep -q 'esdb-fold --per-stream --save-snapshot=7' reserve
    local pids=() refused=0
    for i in $(seq 16); do
        ./reserve item 3 3>&- &
        pids+=($!)
    done
    for pid in "${pids[@]}"; do
        wait "$pid" || { assert_equal "$?" 9; refused=$((refused + 1)); }
    done
    assert_equal "$refused" 3
    assert_equal "$(esdb-fold item)" '{"left":1}'
    assert_equal "$(esdb-read item -t Reserved --count)" 13
    assert_equal "$(esdb-fold item)" "$(esdb-fold --no-snapshot item)"
    esdb-snapshot exists item
}
