#!/usr/bin/env bats
# esdb-append: what input it takes, and what it says about bad input.
load lib/load

setup() {
    esdb_setup
    new_store
}

# refused TEXT [ARGUMENT...]: standard input is refused with TEXT, and nothing is written.
refused() {
    local text=$1
    shift
    run_split esdb-append "$@"
    assert_message 8 "esdb-append: $text
esdb-append: nothing was written"
    assert_equal "$(esdb-read --all --count)" 0
}

@test "JSON survives byte for byte, white space between tokens aside" {
    cat >in <<'JSON'
{ "event_type" : "A", "data" : { "n" : 123456789012345678901234567890, "f": 1.0, "e": 1e400, "z": -0.0E+05,
  "k" : 1, "a" : 2, "k" : 3, "s": "a \u00e9 \ud800 \/ \\ \" ä 😀", "": [ ], "o": { } } , "metadata" : [ null , true ] }
JSON
    esdb-append -q s <in
    run esdb-read s --fields data,metadata
    assert_output '{"data":{"n":123456789012345678901234567890,"f":1.0,"e":1e400,"z":-0.0E+05,"k":1,"a":2,"k":3,"s":"a \u00e9 \ud800 \/ \\ \" ä 😀","":[],"o":{}},"metadata":[null,true]}'
}

@test "any JSON value is data; null is not the same as none" {
    for value in null true false 0 -1.5e3 '"text"' '[]' '{}' '[1,[2]]'; do
        esdb-append -q s <<<"{\"event_type\":\"A\",\"data\":$value}"
    done
    esdb-append -q s <<<'{"event_type":"A"}'
    run esdb-read s --fields data
    assert_output '{"data":null}
{"data":true}
{"data":false}
{"data":0}
{"data":-1.5e3}
{"data":"text"}
{"data":[]}
{"data":{}}
{"data":[1,[2]]}
{}'
}

@test "events follow each other with or without newlines, and over several lines" {
    printf '{"event_type":"A"}{"event_type":"B"}\n\n{\n"event_type":\n"C"\n}\r\n\t{"event_type":"D"}' | esdb-append -q s
    run esdb-read s --fields event_type
    assert_output '{"event_type":"A"}
{"event_type":"B"}
{"event_type":"C"}
{"event_type":"D"}'
}

@test "names with escapes are stored as text" {
    esdb-append -q <<<'{"stream\u005fid":"a\u002db \u00e4\ud83d\ude00","event_type":"T\"\\","event_id":"\u0069d"}'
    run esdb-read --all --fields stream_id,event_type,event_id
    assert_output '{"stream_id":"a-b ä😀","event_type":"T\"\\","event_id":"id"}'
    run esdb-read 'a-b ä😀' --count
    assert_output 1
}

@test "content types are kept; application/json is the default and is not shown" {
    esdb-append -q s <<<'{"event_type":"A","data":"<a/>","data_content_type":"text/xml","metadata":{},"metadata_content_type":"application/json"}'
    run esdb-read s --fields data,metadata,data_content_type,metadata_content_type
    assert_output '{"data":"<a/>","metadata":{},"data_content_type":"text/xml"}'
}

@test "data_base64 is binary data" {
    esdb-append -q s <<<'{"event_type":"A","data_base64":"AP8\u0051"}'
    esdb-append -q s <<<'{"event_type":"A","data_base64":"","data_content_type":"image/png"}'
    run esdb-read s --fields data,data_content_type
    assert_output '{"data_base64":"AP8Q","data_content_type":"application/octet-stream"}
{"data_base64":"","data_content_type":"image/png"}'
    run od -An -tx1 <(esdb-read s --output data -n 1)
    assert_output ' 00 ff 10 0a'
}

@test "base 64 that is wrong, or comes with data, is refused" {
    refused 'line 1, byte 33: data_base64 is not base 64 (RFC 4648, with padding)' s <<<'{"event_type":"A","data_base64":"AAA"}'
    refused 'line 1, byte 42: data_base64 and data exclude each other' s <<<'{"event_type":"A","data":1,"data_base64":"AAAA"}'
    refused 'line 1, byte 33: data_base64 must be a string' s <<<'{"event_type":"A","data_base64":1}'
    refused 'line 1, byte 33: data_base64 with data_content_type application/json: give it as data' s \
        <<<'{"event_type":"A","data_base64":"AAAA","data_content_type":"application/json"}'
}

@test "-t gives a type to events that have none" {
    esdb-append -q -t Default s <<<'{"data":1}{"event_type":"Own"}'
    run esdb-read s --fields event_type
    assert_output '{"event_type":"Default"}
{"event_type":"Own"}'
}

@test "-m adds metadata; an event's own key wins" {
    esdb-append -q -m by=cron -m 'no"te=a=b' s <<<'{"event_type":"A"}{"event_type":"B","metadata":{"x":{"by":1},"b\u0079":"me"}}{"event_type":"C","metadata":{ }}'
    run esdb-read s --fields metadata
    assert_output '{"metadata":{"by":"cron","no\"te":"a=b"}}
{"metadata":{"x":{"by":1},"b\u0079":"me","no\"te":"a=b"}}
{"metadata":{"by":"cron","no\"te":"a=b"}}'
    run_split esdb-append -m a=b s <<<'{"event_type":"A","metadata":[]}'
    assert_message 8 'esdb-append: line 1, byte 30: metadata must be an object, because -m adds to it
esdb-append: nothing was written'
}

@test "--lines: each line is the text of an event" {
    printf 'one\n\n\ttwo "quoted" \\ ä\r\nlast' | esdb-append -q --lines -t Line log
    run esdb-read log --fields data,data_content_type
    assert_output '{"data":"one","data_content_type":"text/plain"}
{"data":"","data_content_type":"text/plain"}
{"data":"\ttwo \"quoted\" \\ ä\r","data_content_type":"text/plain"}
{"data":"last","data_content_type":"text/plain"}'
    run diff <(printf 'one\n\n\ttwo "quoted" \\ ä\r\nlast\n') <(esdb-read log --output data)
    assert_output ''
}

@test "--lines with --content-type" {
    printf '{"a": 1}\n 2 \n' | esdb-append -q --lines --content-type application/json -t J s
    printf 'a;b\n' | esdb-append -q --lines --content-type text/csv -t C s
    run esdb-read s --fields data,data_content_type
    assert_output '{"data":{"a":1}}
{"data":2}
{"data":"a;b","data_content_type":"text/csv"}'
    run_split esdb-append --lines --content-type application/json -t J s < <(printf '1\n{"a" 1}\n')
    assert_equal "$status" 8
    assert_equal "$stderr" "esdb-append: line 2, byte 6: invalid JSON: expected ':' after key
esdb-append: 1 event written, up to line 1: go on with line 2"
}

@test "--lines: invalid UTF-8 is refused with line and byte" {
    refused 'line 2, byte 4: invalid UTF-8' --lines --atomic -t L s < <(printf 'fine\nbad\xff\xfe\n')
    refused 'line 1, byte 2: invalid UTF-8' --lines -t L s < <(printf 'x\xc3')
}

@test "--lines and --on-error=skip: the good lines go in" {
    run_split esdb-append --lines --on-error=skip -q -t L s < <(printf 'a\n\xff\nb\n')
    assert_message 8 'esdb-append: line 2, byte 1: invalid UTF-8
esdb-append: 2 events written, 1 bad event skipped'
    run esdb-read s --output data
    assert_output 'a
b'
}

@test "--raw: all of the input is the data of one event" {
    printf 'two\nlines\n' | esdb-append -q --raw -t R s
    printf 'bin\0\xff' | esdb-append -q --raw -t R s
    printf ' { "a" : 1 }\n' | esdb-append -q --raw --content-type application/json -t R s
    printf 'png' | esdb-append -q --raw --content-type image/png -t R s
    run esdb-read s --fields data,data_content_type
    assert_output '{"data":"two\nlines\n","data_content_type":"text/plain"}
{"data_base64":"YmluAP8=","data_content_type":"application/octet-stream"}
{"data":{"a":1}}
{"data_base64":"cG5n","data_content_type":"image/png"}'
    run cmp <(printf 'bin\0\xff') <(esdb-read s --versions 1 --output data -0 | head -c 5)
    assert_success
}

@test "--raw: empty input is no event, JSON is checked" {
    run_split esdb-append --raw -t R s </dev/null
    assert_message 0 'esdb-append: no events on standard input'
    refused "line 2, byte 3: invalid JSON: expected a value" --raw --content-type application/json -t R s < <(printf '[1,\n  }')
}

# ---- bad JSON input ----

@test "invalid JSON: line and byte" {
    refused "line 1, byte 15: invalid JSON: expected ':' after key" s <<<'{"event_type" "A"}'
    refused 'line 3, byte 1: invalid JSON: an event must be a JSON object' --atomic s < <(printf '{"event_type":"A"}\n\n[]\n')
    refused 'line 2, byte 9: invalid JSON: expected a value' s < <(printf '{"event_type":"A",\n "data":}')
    refused 'line 1, byte 24: invalid JSON: unexpected end of input' s < <(printf '{"event_type":"A","data')
    refused 'line 1, byte 26: invalid JSON: leading zero in number' s <<<'{"event_type":"A","data":01}'
    refused 'line 1, byte 1: invalid JSON: byte order mark before the JSON text' s < <(printf '\xef\xbb\xbf{"event_type":"A"}')
}

@test "invalid UTF-8 in JSON: line and byte" {
    refused 'line 1, byte 28: invalid JSON: invalid UTF-8' s < <(printf '{"event_type":"A","data":"x\xff"}\n')
    refused 'line 1, byte 27: invalid JSON: invalid UTF-8' s < <(printf '{"event_type":"A","data":"\xed\xa0\x80"}\n')
}

@test "control characters in JSON strings are refused" {
    refused 'line 1, byte 28: invalid JSON: control character in string' s < <(printf '{"event_type":"A","data":"x\ty"}\n')
    refused 'line 1, byte 28: invalid JSON: NUL byte in string' s < <(printf '{"event_type":"A","data":"x\0y"}\n')
}

@test "nesting over 256 is refused, 256 is not" {
    deep() { printf '{"event_type":"A","data":'; printf '[%.0s' $(seq "$1"); printf ']%.0s' $(seq "$1"); printf '}\n'; }
    refused 'line 1, byte 282: invalid JSON: nesting deeper than 256' s < <(deep 257)
    deep 256 | esdb-append -q s
}

@test "duplicate keys of the envelope are refused" {
    run_split esdb-append s <<<'{"event_type":"A","event_type":"B"}'
    assert_equal "$status" 8
    assert_regex "$stderr" '^esdb-append: line 1, byte 19: .*event_type'
    run_split esdb-append s <<<'{"event_type":"A","data":1,"d\u0061ta":2}'
    assert_equal "$status" 8
    run esdb-read --all --count
    assert_output 0
}

@test "an unknown key is refused, unless --ignore-unknown is given" {
    refused 'line 1, byte 19: unknown key "typo" (--ignore-unknown lets it pass)' s <<<'{"event_type":"A","typo":1}'
    esdb-append -q --ignore-unknown s <<<'{"event_type":"A","typo":1}'
    run esdb-read s --fields event_type,data
    assert_output '{"event_type":"A"}'
}

@test "keys that are missing or of the wrong kind are refused" {
    refused 'line 1, byte 1: event_type is missing, and no -t TYPE was given' s <<<'{"data":1}'
    refused 'line 1, byte 1: stream_id is missing, and no STREAM was given' <<<'{"event_type":"A"}'
    refused 'line 1, byte 15: event_type must be a string' s <<<'{"event_type":null}'
    refused 'line 1, byte 14: stream_id is not the STREAM that was given' s <<<'{"stream_id":"t","event_type":"A"}'
    refused 'line 1, byte 15: event_type has the escape of half a surrogate pair' s <<<'{"event_type":"\ud800"}'
    refused 'line 1, byte 13: event_id is empty' s <<<'{"event_id":"","event_type":"A"}'
}

@test "empty and overlong names, control characters in names" {
    long() { printf 'x%.0s' $(seq "$1"); }
    refused 'line 1, byte 15: event_type is empty' s <<<'{"event_type":""}'
    refused 'line 1, byte 14: stream_id is empty' <<<'{"stream_id":"","event_type":"A"}'
    refused 'line 1, byte 15: event_type is longer than 255 bytes' s <<<"{\"event_type\":\"$(long 256)\"}"
    refused 'line 1, byte 14: stream_id is longer than 240 bytes' <<<"{\"stream_id\":\"$(long 241)\",\"event_type\":\"A\"}"
    refused 'line 1, byte 13: event_id is longer than 64 bytes' s <<<"{\"event_id\":\"$(long 65)\",\"event_type\":\"A\"}"
    refused 'line 1, byte 15: event_type holds a control character' s <<<'{"event_type":"a\u0001"}'
    refused 'line 1, byte 15: event_type holds a control character' s <<<'{"event_type":"a\u009b"}'
    refused 'line 1, byte 14: stream_id holds a control character' <<<'{"stream_id":"a\nb","event_type":"A"}'
    esdb-append -q <<<"{\"stream_id\":\"$(long 240)\",\"event_type\":\"$(long 255)\",\"event_id\":\"$(long 64)\"}"
    run_split esdb-append "$(long 241)" <<<'{"event_type":"A"}'
    assert_equal "$status" 8
}

@test "an event over 16 MiB is refused" {
    big() { printf '{"event_type":"A","data":"'; head -c "$1" /dev/zero | tr '\0' x; printf '"}'; }
    run_split esdb-append s < <(big 16777216)
    assert_equal "$status" 8
    assert_regex "$stderr" '^esdb-append: line 1, byte [0-9]+: event.* 16 MiB'
    run_split esdb-append s < <(big 40000000)
    assert_equal "$status" 8
    assert_regex "$stderr" '^esdb-append: line 1, byte 1: .*event larger than 16 MiB'
    run_split esdb-append --lines -t L s < <(head -c 17000000 /dev/zero | tr '\0' x)
    assert_message 8 'esdb-append: line 1, byte 1: line larger than 16 MiB
esdb-append: nothing was written'
    run_split esdb-append --raw -t L s < <(head -c 17000000 /dev/zero)
    assert_message 8 'esdb-append: line 1, byte 1: event larger than 16 MiB
esdb-append: nothing was written'
    run esdb-read --all --count
    assert_output 0
    big 16770000 | esdb-append -q s
    run cmp <(big 16770000 | jq -c .data) <(esdb-read s --fields data | jq -c .data)
    assert_success
}

@test "--atomic: more than a frame may hold is refused" {
    big() { for i in 1 2 3 4 5; do printf '{"event_type":"A","data":"'; head -c 15000000 /dev/zero | tr '\0' x; printf '"}\n'; done; }
    run_split esdb-append --atomic s < <(big)
    assert_equal "$output" ''
    assert_equal "$status" 8
    assert_regex "$stderr" '^esdb-append: line 5, byte 1: '
    run esdb-read --all --count
    assert_output 0
    run_split esdb-append s < <(big)
    assert_success
    run esdb-read s --count
    assert_output 5
}

@test "a bad line: what stands before it is written, what stands after it is not" {
    run_split esdb-append s < <(printf '{"event_type":"A"}\n{"event_type":"B"}\n{"event_type":}\n{"event_type":"C"}\n')
    assert_equal "$status" 8
    assert_equal "$(jq -c '[.count,.lines]' <<<"$output")" '[2,2]'
    assert_equal "$stderr" 'esdb-append: line 3, byte 15: invalid JSON: expected a value
esdb-append: 2 events written, up to line 2: go on with line 3'
    run esdb-read s --fields event_type
    assert_output '{"event_type":"A"}
{"event_type":"B"}'
}

@test "--on-error=skip: bad events are named and counted, the rest is written" {
    run_split esdb-append --on-error=skip s < <(printf '{"event_type":"A"}\n{"event_type":}{"event_type":"lost"}\n{"event_type":""}{"event_type":"B"}\n{"bad\n')
    assert_equal "$status" 8
    assert_equal "$stderr" 'esdb-append: line 2, byte 15: invalid JSON: expected a value
esdb-append: line 3, byte 15: event_type is empty
esdb-append: line 4, byte 6: invalid JSON: control character in string
esdb-append: 2 events written, 3 bad events skipped'
    assert_equal "$(jq -c '[.count,.lines]' <<<"$output")" '[2,4]'
    run esdb-read s --fields event_type
    assert_output '{"event_type":"A"}
{"event_type":"B"}'
}

@test "lines and bytes are right far into a large input" {
    { events 50000 s; printf '{"event_type":"A",   x}\n'; } >in
    run_split esdb-append -q <in
    assert_equal "$stderr" 'esdb-append: line 50001, byte 22: invalid JSON: expected a key in double quotes
esdb-append: 50000 events written, up to line 50000: go on with line 50001'
}

@test "waiting for a terminal says so" {
    run script -qec "esdb-append s </dev/tty" /dev/null <<<$'\x04'
    assert_output --partial 'esdb-append: reading events from the terminal; Ctrl-D ends them'
}
