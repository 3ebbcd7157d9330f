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
    assert_regex "$stderr" '^esdb-read: --jq: the program failed on 1 event \(first at position 1: .*cannot be added\)$'
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
    refused '--jq-timeout needs --jq or --jq-file' --jq-timeout 1s
    refused '--jq is given twice' --jq . --jq .data
    for option in --output=table --fields=data --jq=. -0; do
        refused '--count prints no events: --output, --fields, --jq and -0 have no meaning' --count "$option"
        refused '--any prints no events: --output, --fields, --jq and -0 have no meaning' --any "$option"
    done
    run_split esdb-tail --all --until-end --jq-timeout 1s
    assert_failure 2
}

@test "--jq-file and --select-file: programs from files, with comments, as long as no argument can be" {
    shop
    printf '#!/usr/bin/env -S jq -f\n# totals\n.data.total\n' >totals.jq
    assert_equal "$(esdb-read order-1 --jq-file totals.jq)" $'5\n"many"\n7'
    printf '.event_type == "Paid"\n' >paid.jq
    assert_equal "$(esdb-read order-1 --select-file paid.jq --jq .version)" 2
    assert_equal "$(esdb-tail order-1 --until-end --select-file paid.jq --jq-file totals.jq)" 7
    assert_equal "$(esdb-read order-1 --select-file <(echo '.data.total + 2 == 7') --jq .version 2>/dev/null)" 0
    { printf '.event_type == "'; head -c 200000 /dev/zero | tr '\0' x; printf '" or .version == 1'; } >long.jq
    assert_equal "$(esdb-read order-1 --select-file long.jq --jq .version)" 1
}

@test "--jq-file and --select-file: what cannot be taken is told" {
    shop
    refused_file() {
        run_split esdb-read order-1 "${@:2}"
        assert_equal "$status" 2
        assert_equal "${stderr%%$'\n'*}" "esdb-read: $1"
    }
    echo . >program
    : >empty
    printf '.a\0' >nul
    head -c 1048577 /dev/zero | tr '\0' ' ' >large
    refused_file '--jq-file: none: No such file or directory' --jq-file none
    refused_file '--select-file: .: Is a directory' --select-file .
    refused_file '--select-file: empty: is empty' --select-file empty
    refused_file '--select-file: nul: has a NUL, as no program has' --select-file nul
    refused_file '--select-file: large: is larger than 1024 KiB' --select-file large
    refused_file '--jq and --jq-file exclude each other' --jq . --jq-file program
    refused_file '--jq and --jq-file exclude each other' --jq-file program --jq .
    refused_file '--jq-file is given twice' --jq-file program --jq-file program
    refused_file '--select and --select-file exclude each other' --select . --select-file program
    refused_file '--select and --select-file exclude each other' --select-file program --select .
    refused_file '--select-file is given twice' --select-file program --select-file program
}

@test "half a surrogate pair makes an event unreadable for jq 1.6: it counts as failed, exit status 8" {
    new_store
    printf '%s\n' '{"event_type":"T","data":{"s":"\ud800","n":1}}' '{"event_type":"T","data":{"n":1}}' | esdb-append -q s
    assert_equal "$(esdb-read s --select '.data.n == 1' --fields position)" $'{"position":0}\n{"position":1}'
    case $(jq --version) in jq-1.6*) ;; *) return 0 ;; esac
    run_split esdb-read s --select '.data.n + 0 == 1' --fields position
    assert_equal "$status:$output" '8:{"position":1}'
    assert_regex "$stderr" 'failed on 1 event \(first at position 0: '
    run_split esdb-read s --jq .data.n
    assert_equal "$status:$output" '8:1'
    assert_regex "$stderr" 'failed on 1 event \(first at position 0: '
}
