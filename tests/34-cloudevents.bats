#!/usr/bin/env bats
# CloudEvents 1.0 (JSON, structured mode): --output cloudevents, and as input of esdb-append. Export and import.
load lib/load

setup() {
    esdb_setup
    new_store store --store-id 11111111-2222-4333-8444-555555555555
    esdb-init copy
}

# varied: events of every form.
varied() {
    cat <<'EVENTS'
{"stream_id":"order-1","event_type":"Placed","event_id":"a","epoch_us":1700000000000001,"data":{"total":12.50},"metadata":{"correlation_id":"c","causation_id":"x","actor_id":"me","source":"/shop/7","n":-5,"vip":true,"dataschema":"urn:s:1"}}
{"stream_id":"order-1","event_type":"Paid","event_id":"b","epoch_us":1700000000000002,"data":null,"metadata":{"actor_id":"me","tags":["a"],"source":"not a uri"}}
{"stream_id":"Köln/50% \"x\"","event_type":"T é","event_id":"c","epoch_us":1700000000000002,"data":"text","data_content_type":"text/plain"}
{"stream_id":"scan","event_type":"Page","event_id":"d","epoch_us":1700000000000003,"data_base64":"AP8=","data_content_type":"image/png","metadata":{"a":1,"a":2}}
{"stream_id":"scan","event_type":"Empty","event_id":"e","epoch_us":1700000000000004}
{"stream_id":"scan","event_type":"Meta","event_id":"f","epoch_us":1700000000000005,"data":"\ud800","metadata":[1,"\udc00\n\"",{"x":"é"}],"metadata_content_type":"x/y","data_content_type":"application/foo+json"}
{"stream_id":"scan","event_type":"Odd","event_id":"g","epoch_us":1700000000000006,"metadata":{"correlationid":"1","Upper":"2","esdbx":"3","type":"4","big":12345678901,"f":1.5,"null":null,"s":"a\u0001","source":"esdb:mine","e":""}}
{"stream_id":"scan","event_type":"None","event_id":"h","epoch_us":1700000000000007,"metadata":{}}
{"stream_id":"scan","event_type":"Esc","event_id":"i","epoch_us":1700000000000008,"metadata":{"z":"\/\"\\","y":"ü","x":"\u00fc","data":{"b":[]}}}
EVENTS
}

# same STORE: it holds what $ESDB_STORE holds, byte for byte.
same() {
    diff <(esdb-read --all --system) <(esdb-read -S "$1" --all --system)
}

@test "a CloudEvent has the required attributes, and esdb's own" {
    esdb-append -q --preserve <<'EVENT'
{"stream_id":"order 1","event_type":"Placed","event_id":"a","epoch_us":1700000000000001,"data":{"total":12},"metadata":{"correlation_id":"c","n":1}}
EVENT
    run esdb-read --all --output cloudevents
    assert_output '{"specversion":"1.0","id":"a","source":"esdb:11111111-2222-4333-8444-555555555555/order%201","type":"Placed","subject":"order 1","time":"2023-11-14T22:13:20.000001Z","esdbversion":"0","esdbposition":"0","correlationid":"c","n":1,"datacontenttype":"application/json","data":{"total":12}}'
}

@test "every line is a valid CloudEvent" {
    varied | grep -v ud800 | esdb-append -q --preserve # jq takes no halves of surrogate pairs
    esdb-read --all --output cloudevents >out
    assert_equal "$(lines_of out)" 8
    # Names of attributes, their values' types, and the strings that may not be empty, by the specification.
    run jq -c 'select(
        (.specversion == "1.0" and (.id | length) > 0 and (.type | length) > 0 and
         (.source | test("^[-A-Za-z0-9._~:/?#\\[\\]@!$&()*+,;=%\u0027]+$")) and
         (.time | test("^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}\\.[0-9]{6}Z$")) and
         ([keys[] | select(. != "data_base64" and (test("^[a-z0-9]{1,20}$") | not))] == []) and
         ([to_entries[] | select(.key != "data") | .value |
           select(type == "object" or type == "array" or type == "null" or
                  (type == "number" and (. != floor or . > 2147483647 or . < -2147483648)))] == [])) | not)' out
    assert_output ''
    assert_equal "$(jq -r 'select(.id == "a") | .source, .actorid, .dataschema' out | paste -sd' ')" '/shop/7 me urn:s:1'
    assert_equal "$(jq -c 'select(.id == "b") | .esdbmetadata | fromjson' out)" '{"actor_id":"me","tags":["a"],"source":"not a uri"}'
    assert_equal "$(jq -c 'select(.id == "b") | .actorid' out)" '"me"'
    assert_equal "$(jq -c 'select(.id == "d") | [.data_base64, .datacontenttype, has("data")]' out)" '["AP8=","image/png",false]'
    assert_equal "$(jq -c 'select(.id == "e") | [has("data"), has("datacontenttype")]' out)" '[false,false]'
}

@test "CloudEvents go round: the copy is the same, byte for byte" {
    varied | esdb-append -q --preserve
    esdb-read --all --output cloudevents | esdb-append -q -S copy --preserve
    run same copy
    assert_output ''
    assert_success
    # Again: same ids, same content.
    run_split bash -c 'esdb-read --all --output cloudevents | esdb-append -S copy --idempotent'
    assert_equal "$status" 0
    assert_equal "$(jq -c '.existed' <<<"$output")" true
}

@test "random metadata goes round" {
    seed=${SEED:-$RANDOM}
    echo "SEED=$seed"
    awk -v seed="$seed" 'BEGIN {
        srand(seed)
        n = split("a b source type data correlation_id correlationid actor_id esdbmetadata x_y Z dataschema subject id", keys, " ")
        m = split("\"s\"|\"\"|1|-2147483648|2147483648|0.5|true|false|null|[]|{\"k\":1}|\"esdb:q\"|\"/p?q#r\"|\"a b\"|\"\\u0041\"|\"\\ud800\"|\"\\\\\\\"\"|\"\303\274\"|1e2|-0", values, "|")
        for (i = 0; i < 2000; i++) {
            printf "{\"stream_id\":\"s%d\",\"event_type\":\"T\",\"event_id\":\"%d\",\"metadata\":{", i % 7, i
            count = int(rand() * 5)
            for (k = 0; k < count; k++)
                printf "%s\"%s\":%s", k ? "," : "", keys[1 + int(rand() * n)], values[1 + int(rand() * m)]
            print "}}"
        }
    }' | esdb-append -q
    esdb-read --all --output cloudevents >out
    esdb-append -q -S copy --preserve <out
    run same copy
    assert_output ''
    assert_equal "$(jq -c 'select(.source | test("^[!-~]+$") | not)' out)" ''
}

@test "a foreign CloudEvent: subject is the stream, extensions are metadata" {
    esdb-append -q <<'EVENT'
{ "specversion" : "1.0", "type" : "com.example.someevent", "source" : "/mycontext", "subject": "cart-7",
  "id" : "A234-1234-1234", "time" : "2018-04-05T17:31:00Z", "comexampleextension1" : "value",
  "comexampleothervalue" : 5, "unsetextension": null, "correlationid": "c1", "dataschema": "http://x/y",
  "datacontenttype" : "text/xml", "data" : "<much wow=\"xml\"/>" }
EVENT
    run esdb-read --all --fields stream_id,event_id,event_type,data,metadata,data_content_type
    assert_output '{"stream_id":"cart-7","event_id":"A234-1234-1234","event_type":"com.example.someevent","data":"<much wow=\"xml\"/>","metadata":{"source":"/mycontext","comexampleextension1":"value","comexampleothervalue":5,"correlation_id":"c1","dataschema":"http://x/y"},"data_content_type":"text/xml"}'
    assert_equal "$(esdb-read --all --output cloudevents | jq -c '[.source, .subject, .comexampleothervalue, .dataschema]')" '["/mycontext","cart-7",5,"http://x/y"]'
}

@test "with a STREAM, a foreign subject is kept in the metadata" {
    esdb-append -q carts <<<'{"specversion":"1.0","id":"1","source":"s","type":"t","subject":"cart-7"}'
    esdb-append -q carts <<<'{"specversion":"1.0","id":"2","source":"s","type":"t"}'
    assert_equal "$(esdb-read carts --fields metadata | paste -sd' ')" '{"metadata":{"source":"s","subject":"cart-7"}} {"metadata":{"source":"s"}}'
    run_split bash -c "esdb-read carts --output cloudevents | esdb-append -S copy other"
    assert_message 8 'esdb-append: line 1, byte 1: CloudEvent: subject is not the STREAM that was given
esdb-append: nothing was written'
}

@test "time is kept with --preserve only; zones are understood" {
    esdb-append -q --preserve a <<<'{"specversion":"1.0","id":"1","source":"s","type":"t","time":"2018-04-05T19:31:00.25+02:00"}'
    assert_equal "$(esdb-read a | jq .epoch_us)" 1522949460250000
    esdb-append -q b <<<'{"specversion":"1.0","id":"1","source":"s","type":"t","time":"2018-04-05T19:31:00Z"}'
    [ "$(esdb-read b | jq .epoch_us)" -gt 1600000000000000 ]
}

@test "-m adds to a CloudEvent's metadata; the event's own wins" {
    esdb-append -q -m a=1 -m b=2 s <<<'{"specversion":"1.0","id":"1","source":"s","type":"t","b":"own"}'
    assert_equal "$(esdb-read s | jq -c .metadata)" '{"source":"s","b":"own","a":"1"}'
}

@test "JSON in base 64 is data; what an extension adds to esdbmetadata is kept" {
    esdb-append -q s <<<'{"specversion":"1.0","id":"1","source":"esdb:x/s","type":"t","datacontenttype":"application/json","data_base64":"eyAiYSI6IDEgfQ==","traceparent":"00-1","esdbmetadata":"{\"x_y\":[ ],\"traceid\":\"q\"}","traceid":"other"}'
    assert_equal "$(esdb-read s --fields data,metadata)" '{"data":{"a":1},"metadata":{"x_y":[],"traceid":"q","traceparent":"00-1"}}'
}

@test "CloudEvents and esdb's own events may stand in one input" {
    esdb-append -q s <<<'{"event_type":"A"}{"specversion":"1.0","id":"1","source":"s","type":"B"} {"event_type":"C"}'
    assert_equal "$(esdb-read s | jq -r .event_type | paste -sd' ')" 'A B C'
}

# bad TEXT MEMBERS: a CloudEvent with these members is refused.
bad() {
    printf '{"event_type":"before"}\n{%s}\n' "$2" >in
    run_split esdb-append s <in
    assert_equal "$status" 8
    assert_equal "$(head -n 1 <<<"$stderr")" "esdb-append: line 2, byte 1: CloudEvent: $1"
}

@test "what is no CloudEvent is refused: line and attribute" {
    ok='"specversion":"1.0","id":"1","source":"s","type":"t"'
    bad 'specversion must be "1.0"' '"specversion":"0.3","id":"1","source":"s","type":"t"'
    bad 'specversion must be a string that is not empty' '"specversion":1.0,"id":"1","source":"s","type":"t"'
    bad 'id is missing' '"specversion":"1.0","source":"s","type":"t"'
    bad 'source is missing' '"specversion":"1.0","id":"1","type":"t"'
    bad 'type is missing' '"specversion":"1.0","id":"1","source":"s"'
    bad 'type is missing' '"specversion":"1.0","id":"1","source":"s","type":null'
    bad 'type must be a string that is not empty' '"specversion":"1.0","id":"1","source":"s","type":""'
    bad 'id must be a string that is not empty' '"specversion":"1.0","id":7,"source":"s","type":"t"'
    bad 'id stands there twice' "$ok"',"id":"2"'
    bad 'x stands there twice' "$ok"',"x":"1","x":"2"'
    bad 'x must be a string, an integer of 32 bits, true or false' "$ok"',"x":{"a":1}'
    bad 'x must be a string, an integer of 32 bits, true or false' "$ok"',"x":2147483648'
    bad 'x must be a string, an integer of 32 bits, true or false' "$ok"',"x":1.5'
    bad '"Trace" is no name of an attribute: lower-case letters and digits' "$ok"',"Trace":"1"'
    bad '"a_b" is no name of an attribute: lower-case letters and digits' "$ok"',"a_b":"1"'
    bad 'data_base64 and data exclude each other' "$ok"',"data":1,"data_base64":"AA=="'
    bad 'data_base64 is not base 64 (RFC 4648, with padding)' "$ok"',"data_base64":"A"'
    bad 'data_base64 is not JSON, as datacontenttype says' "$ok"',"datacontenttype":"application/json","data_base64":"AA=="'
    for time in 2018-04-05 2018-04-05T17:31:00 '2018-04-05 17:31:00Z' now -2h 2018-04-05T17:31Z 1522949460250000; do
        bad 'time must be like 2025-11-23T15:04:05.123456Z (RFC 3339)' "$ok"',"time":"'"$time"'"'
    done
    bad 'time: byte 6: there is no month 13' "$ok"',"time":"2018-13-05T17:31:00Z"'
    bad 'esdbmetadata is not JSON: byte 2: unexpected end of input' "$ok"',"esdbmetadata":"{"'
    bad 'esdbmetadata is no object, so there is no place for other attributes' "$ok"',"esdbmetadata":"[]"'
    bad 'id is longer than 64 bytes' '"specversion":"1.0","id":"'"$(printf %065d 0)"'","source":"s","type":"t"'
    esdb-append -q --ignore-unknown t <<<"{$ok"',"Trace":"1","x":[],"y":"2"}'
    assert_equal "$(esdb-read t | jq -c .metadata)" '{"source":"s","y":"2"}'
    run_split esdb-append <<<"{$ok}"
    assert_message 8 'esdb-append: line 1, byte 1: CloudEvent: subject is missing, and no STREAM was given
esdb-append: nothing was written'
}

@test "--fields does not go with CloudEvents" {
    run_split esdb-read --all --output cloudevents --fields data
    assert_message 2 "esdb-read: --fields goes with --output json or table
esdb-read: try 'esdb-read --help'"
}

# ---- export and import ----

@test "esdb-read --all | esdb-append --preserve copies a store: ids, versions, times, types" {
    varied | esdb-append -q --preserve
    { events 300 a; events 300 b; } | esdb-append -q --batch 7
    esdb-read --all --output json | esdb-append -q -S copy --preserve
    run same copy
    assert_output ''
    run esdb-verify -S copy
    assert_success
}

@test "system streams are copied with --system" {
    events 3 a | esdb-append -q
    printf '%s\n' '{"stream_id":"$sub:x","event_type":"$made","event_id":"q"}' | esdb-append -q --preserve --system
    events 3 b | esdb-append -q
    assert_equal "$(esdb-read --all --count)" 6
    assert_equal "$(esdb-read --all --system --count)" 7
    esdb-read --all --system | esdb-append -q -S copy --preserve --system
    run same copy
    assert_output ''
    esdb-init plain
    run_split bash -c 'esdb-read --all --system | esdb-append -q -S plain --preserve'
    assert_equal "$status" 8
    assert_equal "$(esdb-read -S plain --all --system --count)" 3
    run_split esdb-append --system </dev/null
    assert_equal "$status" 2
    assert_equal "$(head -n 1 <<<"$stderr")" 'esdb-append: --system goes with --preserve'
}
