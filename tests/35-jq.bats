#!/usr/bin/env bats
# --jq: events through a jq program on their way out.

load lib/load

shop() {
    new_store
    printf '%s\n' '{"event_type":"Placed","data":{"total":5}}' '{"event_type":"Placed","data":{"total":"many"}}' \
        '{"event_type":"Paid","data":{"total":7},"metadata":{"n":9007199254740993}}' | esdb-append -q order-1
}

@test "--jq prints what the program makes of each event, in order" {
    shop
    run_split esdb-read order-1 --jq '.version, .data.total'
    assert_equal "$status" 0
    assert_equal "$output" $'0\n5\n1\n"many"\n2\n7'
    assert_equal "$(esdb-read order-1 -r --jq .version)" $'2\n1\n0'
    assert_equal "$(esdb-read order-1 --jq 'select(.event_type == "Paid") | {type: .event_type}')" '{"type":"Paid"}'
    assert_equal "$(esdb-read order-1 --jq empty)" ''
}

@test "--jq goes with filters, -n and -0" {
    shop
    assert_equal "$(esdb-read --all -t Paid --jq .data.total)" 7
    assert_equal "$(esdb-read --all -n 1 --jq .data.total)" 5
    assert_equal "$(esdb-read --all -0 --jq .version | tr '\0' ,)" 0,1,2,
}

@test "--jq: thousands of events come through many batches, each once and in order" {
    new_store
    events 20000 s | esdb-append -q
    esdb-read s --jq .data.n >got
    seq 0 19999 >expected
    assert_files_equal got expected
}

@test "--jq: events on which the program fails are told; exit status 8" {
    shop
    run_split esdb-read order-1 --jq '.data.total + 1'
    assert_equal "$status" 8
    assert_equal "$output" $'6\n8'
    assert_regex "$stderr" '^esdb-read: --jq: the program failed on 1 events \(first at position 1: .*cannot be added\)$'
}

@test "--jq: a program that is none is exit status 2, also when there is nothing to print" {
    shop
    run_split esdb-read order-1 -t None --jq '.data |'
    assert_equal "$status" 2
    assert_regex "$stderr" '^esdb-read: jq: syntax error'
    run_split esdb-read order-1 --jq . --output table
    assert_equal "$status" 2
    run_split esdb-read order-1 --jq . --jq-timeout 0
    assert_equal "$status" 2
}

@test "--jq: a program without end is stopped" {
    shop
    run_split esdb-read order-1 --jq 'def f: f; f' --jq-timeout 200ms
    assert_equal "$status" 2
    assert_equal "$output" ''
    assert_regex "$stderr" 'more than 200 ms of processor time .*--jq-timeout'
}

@test "esdb-tail --jq prints each event as it comes" {
    shop
    esdb-tail order-1 --jq .version >got &
    tail=$!
    wait_for 10 bash -c 'test "$(wc -l <got)" = 3'
    esdb-append -q -t Placed order-1 <<<'{"data":1}'
    wait_for 10 bash -c 'test "$(wc -l <got)" = 4'
    kill "$tail"
    wait "$tail" || true
    assert_equal "$(cat got)" $'0\n1\n2\n3'
}

@test "a reader of --jq that goes away ends the tool quietly" {
    new_store
    events 20000 s | esdb-append -q
    run bash -c 'set -o pipefail; esdb-read --all --jq . 2>err | head -n 1 | wc -l; cat err'
    assert_output 1
}

@test "--explain stands behind what --jq made" {
    shop
    run esdb-read --all --jq .version --explain
    assert_success
    assert_equal "$(grep -n 'path: scan' <<<"$output")" "$(($(esdb-read --all --count) + 1)):esdb-read: path: scan"
}

@test "options of --jq that would be ignored are refused" {
    shop
    refused() {
        run_split esdb-read --all "${@:2}"
        assert_message 2 "esdb-read: $1
esdb-read: try 'esdb-read --help'"
    }
    refused '--jq-timeout needs --jq' --jq-timeout 1s
    refused '--jq is given twice' --jq . --jq .data
    for option in --output=table --fields=data --jq=. -0; do
        refused '--count prints no events: --output, --fields, --jq and -0 have no meaning' --count "$option"
        refused '--any prints no events: --output, --fields, --jq and -0 have no meaning' --any "$option"
    done
    run_split esdb-tail --all --until-end --jq-timeout 1s
    assert_failure 2
}
