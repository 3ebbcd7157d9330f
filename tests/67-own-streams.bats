#!/usr/bin/env bats
# What scavenging makes of the store's own streams: checkpoints, definitions, snapshots, parked events.
load lib/load

setup() {
    esdb_setup
    new_store store --segment-size 64K
}

# roll: the segment that is written to is closed
roll() {
    local first
    first=$(find store/log -name '*.log' | sort | tail -n 1)
    while [ "$(find store/log -name '*.log' | sort | tail -n 1)" = "$first" ]; do
        printf '{"stream_id":"filler","event_type":"x","data":"%015000d"}\n' 0 0 | esdb-append -q
    done
}

# info: what is known of the subscription mail, without the end of the store
info() {
    esdb-sub info mail | jq -c 'del(.head)'
}

# own: appends events of the store's own streams from stdin
own() {
    jq -c '. + {epoch_us: (now * 1000000 | floor)}' | esdb-append -q --preserve --system --linger 10000 # frames do not depend on the pipe
}

# own_versions STREAM
own_versions() {
    esdb-read --literal --system "$1" | jq -r .version | tr '\n' ' '
}

# The second decoder reads the same events that the tools do, and finds nothing wrong, with derived files or without.
sound() {
    python3 "$REPO/tests/decoder/esdb_decode.py" store >decoded.raw || return 1
    python3 "$REPO/tests/decoder/esdb_visible.py" <decoded.raw >decoded || return 1
    esdb-read --all --system | cmp - decoded
    esdb-verify >verified
    run grep -v '^ok' verified
    assert_equal "$output" ''
    assert_equal "$(esdb-scavenge 2>/dev/null | tail -n 1)" '{"segments":0,"events":0,"bytes":0,"left":0,"compressed":0,"decompressed":0}'
    rm -rf store/log/*.idx store/log/*.live store/tables/* store/head
    esdb-read --all --system | cmp - decoded
}

@test "of a subscription's checkpoints those go that newer ones replace, and it goes on as before" {
    events 5 a | esdb-append -q
    esdb-tail --name mail a --from start --once >/dev/null
    # each claims the subscription and writes a checkpoint
    for ((i = 0; i < 130; i++)); do
        events 1 a "$i" | esdb-append -q
        esdb-tail --name mail --once >/dev/null
    done
    roll
    before=$(esdb-read --system '$sub:mail' --count)
    [ "$before" -gt 120 ]
    info >known
    newest=$(esdb-read --system '$sub:mail' -r -n 1)
    esdb-scavenge -q
    # the newest one says again what is wanted, in the segment that is written to
    restated=$(esdb-read --system '$sub:mail')
    assert_equal "$(jq '.version == .data.record and .data.saved_us == '"$(jq .epoch_us <<<"$newest")" <<<"$restated")" true
    for member in position epoch holder counts; do
        assert_equal "$(jq -c ".data.$member" <<<"$restated")" "$(jq -c ".data.$member" <<<"$newest")"
    done
    info | cmp - known
    assert_equal "$(esdb-tail --name mail --once)" ''
    events 1 a 7 | esdb-append -q
    assert_equal "$(esdb-tail --name mail --once | jq -r .version)" 135
    roll
    esdb-scavenge -q
    sound
    assert_equal "$(esdb-sub info mail | jq -c '[.lag, .delivered]')" '[0,136]'
}

# checkpoints FIRST LAST: states of the subscription mail, whose record is version 0
checkpoints() {
    seq "$1" "$2" | awk '{ printf "{\"stream_id\":\"$sub:mail\",\"event_type\":\"$sub-checkpoint\"," \
        "\"data\":{\"position\":%d,\"epoch\":1,\"record\":0,\"holder\":null,\"counts\":{\"delivered\":%d}}}\n", $1, $1 }'
}

bytes_of_log() {
    cat store/log/*.log | wc -c
}

@test "a subscription with 10,000 checkpoints shrinks to the newest one, counted in bytes" {
    esdb-tail --name mail a --from start --once
    checkpoints 1 10007 | own
    events 3 a | esdb-append -q
    info >known
    before=$(bytes_of_log)
    [ "$before" -gt 2000000 ]
    # what would go is told: all of them, for the newest is said again
    run esdb-scavenge --dry-run --json '$sub:mail'
    assert_success
    assert_equal "$(jq -c '[.stream_id,.from,.to,.count]' <<<"$output")" '["$sub:mail",0,10007,10008]'
    [ "$(jq .bytes <<<"$output")" -gt 2000000 ]
    assert_equal "$(esdb-scavenge --dry-run --json)" "$output"
    assert_equal "$(bytes_of_log)" "$before"
    run esdb-scavenge --json
    assert_equal "$(jq -c '[.events,.left]' <<<"$output")" '[10008,0]'
    [ "$(jq .bytes <<<"$output")" -gt 2000000 ]
    assert_equal "$(esdb-read --system '$sub:mail' | jq -c '[.version,.data.position,.data.record]')" '[10008,10007,10008]'
    [ "$(bytes_of_log)" -lt $((before / 20)) ]
    info | cmp - known
    sound
    # the second time there is nothing to do, and nothing is written
    before=$(cat store/log/*.log | sha256sum)
    assert_equal "$(esdb-scavenge --json '$sub:mail')" '{"segments":0,"events":0,"bytes":0,"left":0,"compressed":0,"decompressed":0}'
    assert_equal "$(esdb-scavenge --json --dry-run)" ''
    assert_equal "$(cat store/log/*.log | sha256sum)" "$before"
}

@test "checkpoints in the segment that is written to go, when they are enough of it" {
    esdb-init --segment-size 64M large >/dev/null
    export ESDB_STORE=large
    esdb-tail --name mail a --from start --once
    checkpoints 1 1000 | own
    assert_equal "$(find large/log -name '*.log' | wc -l)" 1
    assert_equal "$(esdb-scavenge --keep 1 --json '$sub:mail' | jq .events)" 1001
    assert_equal "$(esdb-read --system '$sub:mail' --count)" 1
    info >known
    checkpoints 1001 1010 | sed 's/"record":0/"record":1001/' | own # few: their turn comes later
    assert_equal "$(esdb-scavenge --json | jq .events)" 1
    assert_equal "$(esdb-read --system '$sub:mail' --count)" 11
}

@test "a tail goes on while its checkpoints are removed; of a removed subscription that it was removed is left" {
    esdb-tail --name mail a --from start >got 3>&- &
    tail=$!
    for ((i = 0; i < 20; i++)); do
        events 5 a "$i" | esdb-append -q
        checkpoints 1 1 | sed 's/mail/other/' | own
        esdb-scavenge -q --no-require-snapshot --ignore-subscriptions
        roll
    done
    wait_for 10 eval '[ "$(wc -l <got)" = 100 ]'
    kill "$tail"
    wait "$tail" || true
    esdb-read a | jq -c .event_id | cmp - <(jq -c .event_id got)
    esdb-sub remove mail
    roll
    esdb-scavenge -q
    assert_equal "$(esdb-read --system '$sub:mail' | jq -r .event_type)" '$sub-removed'
    esdb-tail --name mail a --from start --once | cmp - got
    assert_equal "$(esdb-sub info mail | jq .lag)" 0
}

@test "whoever looks at a subscription while older states go sees no error" {
    esdb-tail --name mail a --from start --once
    (for i in 1 2 3 4; do
        checkpoints 1 300 | sed "s/\"record\":0/\"record\":$(esdb-read --system '$sub:mail' -r -n 1 | jq .data.record)/" | own
        esdb-scavenge -q
    done; touch finished) 3>&- &
    while [ ! -e finished ]; do
        esdb-sub info mail >/dev/null 2>>errors || true
        esdb-scavenge --dry-run -q --keep 1 a 2>>errors || true
    done
    wait
    assert_equal "$(cat errors)" ''
    assert_equal "$(esdb-read --system '$sub:mail' --count)" 1
}

@test "patterns name the store's own streams only where something of them goes" {
    run_split esdb-scavenge --keep 2 '$sub:mail'
    assert_equal "$status" 2
    for pattern in '$meta:a' '$schema:x' '$snapshot:a'; do
        run_split esdb-scavenge --keep 1 "$pattern"
        assert_equal "$status" 2
    done
    # "*" means streams of users
    esdb-tail --name mail a --from start --once
    checkpoints 1 3 | own
    assert_equal "$(esdb-scavenge --dry-run --keep 1 --json '*')" ''
    assert_equal "$(esdb-scavenge --dry-run --json '$sub:*' | jq .count)" 4
}

@test "of parts and of definitions the newest stays, also when it is alone in its segment" {
    for i in 1 2 3; do
        printf '{"stream_id":"%s","event_type":"%s","data":{"position":%d,"epoch":1,"record":0}}\n' \
            '$subpart:1/2:m' '$sub-checkpoint' $i '$subpart:2/2:m' '$sub-checkpoint' $i '$link-def:l' '$link-defined' $i
        [ $i -ne 2 ] || printf '{"stream_id":"$other:x","event_type":"y","data":1}\n'
    done >all
    head -n 4 all | own
    roll
    sed -n '5,7p' all | own
    roll
    tail -n 3 all | own
    esdb-scavenge -q # the newest of all is in the segment that is written to
    assert_equal "$(own_versions '$subpart:1/2:m')" '2 '
    roll
    esdb-scavenge -q
    for s in '$subpart:1/2:m' '$subpart:2/2:m' '$link-def:l'; do
        assert_equal "$(own_versions "$s")" '2 '
        assert_equal "$(esdb-read --literal --system "$s" | jq .data.position)" 3
    done
    assert_equal "$(own_versions '$other:x')" '0 '
    printf '{"stream_id":"$subpart:1/2:m","event_type":"$sub-checkpoint","data":{"position":4,"epoch":1,"record":0}}\n' | own
    assert_equal "$(own_versions '$subpart:1/2:m')" '2 3 '
    esdb-scavenge -q
    assert_equal "$(own_versions '$subpart:1/2:m')" '3 '
    sound
}

@test "a checkpoint that is damaged, or says nothing, lets none go" {
    printf '{"stream_id":"$sub:m","event_type":"%s","data":%s}\n' '$sub-created' \
        '{"position":0,"epoch":0,"record":0,"selector":{},"start":0,"created_us":1}' \
        '$sub-checkpoint' '{"position":5,"epoch":1,"record":1}' odd '{"position":5,"epoch":1,"record":2}' | own
    roll
    esdb-scavenge -q
    assert_equal "$(own_versions '$sub:m')" '0 1 2 '
    sound
}

@test "parked events go by a policy for them, never the newest, and by no other policy" {
    for i in 1 2 3 4 5; do
        printf '{"stream_id":"%s","event_type":"$event-parked","data":{"position":%d,"stream_id":"a","version":%d,"event_type":"T","event_id":"i%d","epoch_us":1,"reason":"status","attempts":1}}\n' \
            '$parked:m' $i $i $i '$parked:n' $i $i $i
    done | own
    esdb-stream set --max-count 1 '*'
    roll
    esdb-scavenge -q
    assert_equal "$(own_versions '$parked:m')" '0 1 2 3 4 '
    esdb-stream set --max-count 2 '$parked:m'
    esdb-scavenge -q
    assert_equal "$(own_versions '$parked:m')" '3 4 '
    assert_equal "$(own_versions '$parked:n')" '0 1 2 3 4 '
    esdb-stream set --max-age 1d '$parked:*'
    esdb-scavenge -q
    assert_equal "$(own_versions '$parked:n')" '0 1 2 3 4 '
    sleep 1.1
    esdb-stream set --max-age 1s '$parked:*'
    esdb-scavenge -q
    assert_equal "$(own_versions '$parked:n')" '4 '
    assert_equal "$(own_versions '$parked:m')" '3 4 ' # by its own name
    sound
}

@test "snapshots go by a policy for them; the highest one stays, for it covers what was removed" {
    for i in 0 1 2 3 4; do
        events 1 a $i | esdb-append -q
        printf '{"n":%d}' $i | esdb-snapshot save --version $i a >/dev/null
    done
    roll
    esdb-stream set --max-count 2 '$snapshot:*'
    esdb-scavenge -q
    assert_equal "$(own_versions '$snapshot:a')" '3 4 '
    assert_equal "$(esdb-snapshot load a)" '{"n":4}'
    # the highest first, then one of a lower version
    events 5 b | esdb-append -q
    for i in 4 3 2 1; do printf '{"n":%d}' $i | esdb-snapshot save --version $i b >/dev/null; done
    roll
    esdb-stream set --max-count 1 '$snapshot:b'
    esdb-scavenge -q
    first=$(own_versions '$snapshot:b')
    assert_equal "${first%% *}" 0
    esdb-scavenge -q --keep 0 b
    assert_equal "$(esdb-read b --count)" 0
    assert_equal "$(esdb-snapshot load b)" '{"n":4}'
    sound
}

@test "policies are for streams of users, parked events and snapshots" {
    for p in '$sub:*' '$meta:a' '$' '$parked:' '$snapshot'; do
        run_split esdb-stream set --max-count 1 "$p"
        assert_message 2 "esdb-stream: $p: is one of the store's own streams"
    done
    esdb-stream set --max-count 3 '$snapshot:a*'
    assert_equal "$(esdb-stream set | jq -c '[.pattern,.max_count]')" '["$snapshot:a*",3]'
}
