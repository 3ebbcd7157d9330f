#!/usr/bin/env bats
# Filters that esdb-read and esdb-tail share, and esdb-read's answers: --first, --any, --count, --explain.
load lib/load

setup() {
    esdb_setup
    new_store
}

# shop: positions 0..7, with metadata and tags.
shop() {
    esdb-append -q <<'EVENTS'
{"stream_id":"order-1","event_type":"OrderPlaced","event_id":"e0","data":{"total":500},"metadata":{"shop":"north","n":7,"tags":["new","web"]}}
{"stream_id":"order-2","event_type":"OrderPlaced","event_id":"e1","data":{"total":1500},"metadata":{"shop":"south","n":8,"tags":["web"]}}
{"stream_id":"order-1","event_type":"OrderPaid","event_id":"e2","data":{"total":500},"metadata":{"shop":"north","vip":true}}
{"stream_id":"customer-1","event_type":"Moved","event_id":"e3","data":{"city":"K\u00f6ln"},"metadata":{"shop":"north","gone":null}}
{"stream_id":"order-2","event_type":"OrderPaid","event_id":"e4","data":{"total":1500}}
{"stream_id":"order-10","event_type":"OrderPlaced","event_id":"e5","data":{"total":2000},"metadata":{"shop":"no=rth","tags":["new"]}}
{"stream_id":"customer-2","event_type":"Moved","event_id":"e6","data":{"city":"Bonn"},"metadata":{"tags":"new"}}
{"stream_id":"order-1","event_type":"OrderSent","event_id":"e7","data":"none","metadata":["shop","north"]}
EVENTS
}

positions() { esdb-read "$@" | jq .position | paste -sd' '; }

@test "streams: several names and patterns at once, * and ? anywhere" {
    shop
    assert_equal "$(positions customer-1 'order-1*' order-1)" '0 2 3 5 7'
    assert_equal "$(positions '*-1')" '0 2 3 7'
    assert_equal "$(positions 'o?der-?' customer-2)" '0 1 2 4 6 7'
}

@test "--regex: POSIX extended, found anywhere in the name" {
    shop
    assert_equal "$(positions --regex '^order-[12]$')" '0 1 2 4 7'
    assert_equal "$(positions --regex 'r-1$' '^c.*2')" '0 2 3 6 7'
    assert_equal "$(positions --regex 'order-1')" '0 2 5 7'
    assert_equal "$(positions --regex '^nothing$')" ''
    run_split esdb-read --regex '('
    assert_equal "$status" 2
    assert_regex "$stderr" '\('
}

@test "--regex sees characters, not bytes" {
    for s in xäz xyz 日本 ; do esdb-append -q "$s" <<<'{"event_type":"A"}'; done
    assert_equal "$(positions --regex '^x.z$')" '0 1'
    assert_equal "$(positions --regex '^x[äö]z$')" '0'
    assert_equal "$(positions --regex '^.{2}$')" '2'
    assert_equal "$(LC_ALL=C positions --regex '^[^a-z]+$')" '2'
}

@test "reference mistake: ? matches a byte instead of a character" {
    esdb-append -q s <<<'{"event_type":"Tö","event_id":"e0"}{"event_type":"Töö"}{"event_type":"T日"}{"event_type":"T😀"}{"event_type":"T"}'
    assert_equal "$(positions --all -t 'T?')" '0 2 3'
    assert_equal "$(positions --all -t 'T??')" '1'
    esdb-append -q 'kötä' <<<'{"event_type":"A"}'
    assert_equal "$(positions 'k?t?')" '5'
    assert_equal "$(esdb-stream list 'k?t?' --count)" 1
    assert_equal "$(esdb-stream list 'k???t*' --count)" 0
}

@test "reference mistake: a pattern matches across a trailing newline" {
    esdb-append -q a <<<'{"event_type":"T","event_id":"i","metadata":{"k":"v\n","tags":["t\n"]},"data":{"s":"v\n"}}'
    for newline in a '?' '*a'; do
        run_split esdb-read "$newline"$'\n'
        assert_equal "$output" ''
        run_split esdb-stream list "$newline"$'\n'
        assert_equal "$output" ''
    done
    assert_equal "$(positions --regex $'^a\n$')$(positions a -t $'T\n')$(positions a -t $'?\n')$(positions --id $'i\n')" ''
    assert_equal "$(positions a --where k=v)$(positions a --tag t)" ''
    assert_equal "$(positions a --match '{"data":{"s":"v"}}')$(positions a --select '.data.s == "v"')" ''
    assert_equal "$(positions a --where k=$'v\n' --tag $'t\n' --match '{"data":{"s":"v\n"}}')" '0'
    for field in stream_id event_type event_id; do
        run_split esdb-append -q <<<"$(jq -c --arg f "$field" '{stream_id:"s",event_type:"T"} | .[$f] = "a\n"' <<<null)"
        assert_equal "$status" 8
    done
}

@test "reference mistake: read_all returns only the first batch, types come in no defined order" {
    new_store big --segment-size 64K
    for i in 1 2 3; do
        awk -v i=$i 'BEGIN { for (n = 0; n < 5000; n++)
            printf "{\"stream_id\":\"s-%d\",\"event_type\":\"T%d\",\"data\":%d}\n", n % 7, (n * i) % 3, n }' | esdb-append -q
        events 3 "single-$i" | esdb-append -q --batch 1
    done
    for store in big bare; do
        [ $store = big ] || { mkdir -p bare/log && cp big/store.yaml bare && cp big/log/*.log bare/log; }
        export ESDB_STORE=$PWD/$store
        positions --all | tr ' ' '\n' | cmp - <(seq 0 15008)
        positions '*' | tr ' ' '\n' | cmp - <(seq 0 15008)
        positions --all -r | tr ' ' '\n' | cmp - <(seq 15008 -1 0)
        positions --all -t T2 -t T0 -t T1 -t Even -t Odd | tr ' ' '\n' | cmp - <(seq 0 15008)
        esdb-read --all -t T2 -t T0 | cmp - <(esdb-read --all | grep -E '"event_type":"T[02]"')
        esdb-read -r --all -t T0 -t T2 | tac | cmp - <(esdb-read --all | grep -E '"event_type":"T[02]"')
        esdb-read --all -t 'T*' -t Odd | cmp - <(esdb-read --all | grep -v '"Even"')
    done
}

@test "--type: several, with wildcards" {
    shop
    assert_equal "$(positions --all -t OrderPaid)" '2 4'
    assert_equal "$(positions --all -t OrderPaid --type 'M*')" '2 3 4 6'
    assert_equal "$(positions --all -t 'Order????')" '2 4 7'
}

@test "--where: strings, numbers, true, null; all of several" {
    shop
    assert_equal "$(positions --all --where shop=north)" '0 2 3'
    assert_equal "$(positions --all --where n=7)" '0'
    assert_equal "$(positions --all --where vip=true)" '2'
    assert_equal "$(positions --all --where gone=null)" '3'
    assert_equal "$(positions --all --where shop=no=rth)" '5'
    assert_equal "$(positions --all --where shop=north --where n=7)" '0'
    assert_equal "$(positions --all --where shop=north --where n=8)" ''
    assert_equal "$(positions --all --where absent=null)" ''
}

@test "--tag: any of them, --all-tags: all of them" {
    shop
    assert_equal "$(positions --all --tag new)" '0 5'
    assert_equal "$(positions --all --tag new --tag web)" '0 1 5'
    assert_equal "$(positions --all --tag new --tag web --all-tags)" '0'
    assert_equal "$(positions --all --tag ne)" ''
}

@test "--id: in the whole store, in a stream, several" {
    shop
    assert_equal "$(positions --id e3)" '3'
    assert_equal "$(positions --id e5 --id e1 --id nowhere)" '1 5'
    assert_equal "$(positions order-1 --id e1 --id e2)" '2'
    assert_equal "$(positions --id nowhere)" ''
    run esdb-read --id nowhere --exit-status
    assert_failure 4
}

@test "-v inverts the filters, not the streams and ranges" {
    shop
    assert_equal "$(positions --all -v -t 'Order*')" '3 6'
    assert_equal "$(positions order-1 -v -t OrderPaid)" '0 7'
    assert_equal "$(positions --all -v -t OrderPlaced --where shop=north)" '1 2 3 4 5 6 7'
    assert_equal "$(positions --all -v --id e0 --from 6)" '6 7'
}

@test "filters of different kinds must all pass" {
    shop
    assert_equal "$(positions 'order-*' -t OrderPlaced --where shop=north)" '0'
    assert_equal "$(positions 'order-*' -t OrderPlaced --tag new --from 1)" '5'
}

@test "--match and --select look into the data" {
    shop
    assert_equal "$(positions --all --match '{"data":{"total":{"$gt":1000}}}')" '1 4 5'
    assert_equal "$(positions --all --select '.data.city == "Köln"')" '3'
    assert_equal "$(positions --all -t OrderPlaced --select '.event_id != "e1"')" '0 5'
    assert_equal "$(positions --all -v -t Moved --match '{"data":{"total":500}}')" '0 1 2 3 4 5 6 7'
}

@test "-r and -n work with every filter" {
    shop
    assert_equal "$(positions --all -r -n 2 -t OrderPlaced)" '5 1'
    assert_equal "$(positions --all -r -n 1 --where shop=north)" '3'
    assert_equal "$(positions --all -r -n 1 --tag new)" '5'
    assert_equal "$(positions -r --id e1 --id e3)" '3 1'
    assert_equal "$(positions --all -r -n 2 --select '.data | type == "object"')" '6 5'
}

@test "--partition: every stream in exactly one part, whole" {
    for i in $(seq 60); do events 2 "s-$i"; done | esdb-append -q
    for k in 1 2 3; do esdb-read --all --partition $k/3 >part-$k; done
    assert_equal "$(cat part-? | jq .position | sort -n | paste -sd' ')" "$(seq -s ' ' 0 119)"
    assert_equal "$(for k in 1 2 3; do jq -r .stream_id part-$k | sort -u; done | sort | uniq -d)" ''
    for k in 1 2 3; do [ "$(lines_of part-$k)" -gt 10 ]; done
    assert_equal "$(esdb-read --all --partition 1/1 --count)" 120
}

@test "esdb-tail takes the same filters" {
    shop
    assert_equal "$(esdb-tail --all --until-end --where shop=north | jq .position | paste -sd' ')" '0 2 3'
    assert_equal "$(esdb-tail --all --until-end -n 1 -t OrderPlaced | jq .position | paste -sd' ')" '5'
    assert_equal "$(esdb-tail --until-end --id e3 | jq .position)" '3'
    assert_equal "$(esdb-tail --until-end --regex '^c' | jq .position | paste -sd' ')" '3 6'
}

@test "--first is the first event in the order of reading" {
    shop
    assert_equal "$(positions --all --first)" '0'
    assert_equal "$(positions order-2 -r --first)" '4'
    assert_equal "$(esdb-read --all --first --count)" '1'
}

@test "--any: the status only" {
    shop
    run_split esdb-read order-1 --any
    assert_message 0 ''
    run_split esdb-read order-1 --any --from 8
    assert_message 4 ''
    run_split esdb-read order-3 --any
    assert_message 4 ''
    run_split esdb-read --all --any -t 'Order*'
    assert_message 0 ''
}

@test "--count and --exit-status go with filters" {
    shop
    assert_equal "$(esdb-read --all --count -t 'Order*')" 6
    run_split esdb-read --all --count --exit-status -t None
    assert_equal "$status $output" '4 0'
    run_split esdb-read --all --exit-status -t OrderPaid
    assert_equal "$status" 0
}

@test "--explain tells on stderr how the events were found" {
    shop
    run_split esdb-read --all --explain=json --where shop=north --fields position
    assert_equal "$status" 0
    assert_equal "$output" $'{"position":0}\n{"position":2}\n{"position":3}'
    assert_equal "$(jq -c 'keys_unsorted' <<<"$stderr")" '["path","key","select","segments","segments_read","segments_skipped","events_read","events","asked_jq","failed","milliseconds"]'
    assert_equal "$(jq -c '[.events, .segments, (.milliseconds < 10000)]' <<<"$stderr")" '[3,1,true]'
    run_split esdb-read --all --explain --count
    assert_equal "$output" 8
    assert_regex "$stderr" '^esdb-read: path: [a-z]+'
    assert_regex "$stderr" 'esdb-read: segments: [0-9]+ read, [0-9]+ skipped'
    assert_regex "$stderr" 'esdb-read: events: [0-9]+ looked at, 8 matched, [0-9.]+ ms'
}

@test "an expression that fails on events is told, and is exit status 8" {
    shop
    run_split esdb-read --all --fields position --select '.data.total > 1000'
    assert_equal "$status" 8
    assert_equal "$output" $'{"position":1}\n{"position":4}\n{"position":5}'
    assert_regex "$stderr" '^esdb-read: --select: the expression failed on 1 event \(first at position 7: .*\)$'
}

@test "jq is not asked where the first operands of an expression decide" {
    shop
    explain() {
        esdb-read --all --explain=json --fields position --select "$1" 2>&1 >got | jq -c '[.select, .asked_jq]'
    }
    assert_equal "$(explain '.position < 2 and (.event_type | ascii_downcase | startswith("order"))')" '["jq",2]'
    assert_equal "$(<got)" $'{"position":0}\n{"position":1}'
    assert_equal "$(explain '.position < 6 or .position + 1 == 8')" '["jq",2]'
    assert_equal "$(lines_of got)" 7
    assert_equal "$(explain '.position < 2 and (.event_type | ascii_downcase | startswith("order")) | not')" '["jq",8]'
    # The rest is checked although no event comes to it.
    run_split esdb-read --all --select '.position > 100 and (.event_type | ascii_downcas)'
    assert_equal "$status" 2
    assert_regex "$stderr" 'ascii_downcas/0 is not defined'
    # What fails on the left fails; what would fail on the right is not looked at.
    run_split esdb-read --all --count --select '.position > 100 and error'
    assert_equal "$status $output" '0 0'
    run_split esdb-read --all --count --select '.event_type.x and error'
    assert_equal "$status $output" '8 0'
    assert_regex "$stderr" 'failed on 8 events'
}

@test "an expression that is none is a usage error" {
    run_split esdb-read --all --select '.data.total >'
    assert_equal "$status" 2
    assert_equal "$output" ''
    run_split esdb-read --all --match '{"data":'
    assert_equal "$status" 2
    assert_equal "$output" ''
}

# usage TEXT ARGUMENT…: esdb-read refuses the arguments with TEXT.
usage() {
    local text=$1
    shift
    run_split esdb-read "$@"
    assert_message 2 "esdb-read: $text
esdb-read: try 'esdb-read --help'"
}

@test "contradictions and empty values are usage errors" {
    usage 'which streams? Name them, or say --all'
    usage 'which streams? Name them, or say --all' --select true
    usage 'which streams? Name them, or say --all' -v --id x
    usage '--all and a stream'\''s name exclude each other' --all s
    usage '--regex and --literal exclude each other' --regex --literal s
    usage '--regex needs a STREAM: the expression' --regex --all
    usage '--all-tags needs --tag' --all --all-tags
    usage '--select-timeout needs --select or --select-file' --all --select-timeout 2s
    usage '--select-timeout: must be longer than 0' --all --select true --select-timeout 0
    usage '-v needs a filter: --type, --where, --tag, --id, --match or --select' --all -v
    usage '--first and -n exclude each other' --all --first -n 2
    usage '--any goes without --count, --first and -n' --all --any --count
    usage '--select is given twice' --all --select true --select false
    usage '--match is given twice' --all --match 1 --match 2
    usage "--where: 'shop' must be KEY=VALUE" --all --where shop
    usage "--where: '=x' must be KEY=VALUE" --all --where =x
    usage '--select: the expression is empty' --all --select ''
    usage '--id: the event id is empty' --id ''
    usage '-t: the event type is empty' --all -t ''
    usage '--tag: the tag is empty' --all --tag ''
    usage "--explain: 'xml' is none of text, json" --all --explain=xml
    for wrong in 0/3 4/3 1 1/ /3 a/b 1/0 -1/2 1/4294967296 11111111111111111111/3; do
        usage "--partition: '$wrong' must be K/N with K of 1 .. N" --all --partition "$wrong"
    done
}

@test "a stream is not read from its beginning when positions or times say where to look" {
    new_store long
    events 20000 s | esdb-append -q
    run_split esdb-read s --from 19990 --explain=json --jq .version
    assert_equal "$output" "$(seq 19990 19999)"
    assert_equal "$(jq .events_read <<<"$stderr")" 10
    run_split esdb-read s --to 5 -r --explain=json --count
    assert_equal "$output" 6
    assert_equal "$(jq .events_read <<<"$stderr")" 6
    run_split esdb-read s --as-of pos:99 -n 3 -r --explain=json --jq .version
    assert_equal "$output" $'99\n98\n97'
    assert_equal "$(jq .events_read <<<"$stderr")" 3
}
