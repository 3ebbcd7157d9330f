#!/usr/bin/env bats
# esdb-snapshot: states kept beside streams.
load lib/load

setup() {
    esdb_setup
    new_store
    events 10 orders-1 | esdb-append -q
}

# save VERSION [STATE [OPTION…]]
save() {
    local version=$1 state=${2:-"{\"v\":$1}"}
    [ $# -gt 1 ] && shift
    shift
    printf '%s' "$state" | esdb-snapshot save -q --version "$version" "$@" orders-1
}

versions() {
    esdb-snapshot list "$@" orders-1 | jq -r .version | tr '\n' ' '
}

@test "save and load: the highest version, one of them, the latest up to one" {
    save 2
    save 7
    save 4
    run esdb-snapshot load orders-1
    assert_output '{"v":7}'
    run esdb-snapshot load --at 4 orders-1
    assert_output '{"v":4}'
    run esdb-snapshot load --upto 6 orders-1
    assert_output '{"v":4}'
    run esdb-snapshot load --upto 100 orders-1
    assert_output '{"v":7}'
    run_split esdb-snapshot load --upto 1 orders-1
    assert_message 4 'esdb-snapshot: orders-1: no snapshot up to version 1'
    run_split esdb-snapshot load --at 5 orders-1
    assert_message 4 'esdb-snapshot: orders-1: no snapshot of version 5'
}

@test "save prints a receipt, -q none" {
    run bash -c 'echo "[1, 2]" | esdb-snapshot save --version 9 orders-1'
    assert_success
    assert_equal "$(jq -c 'del(.epoch_us)' <<<"$output")" '{"stream_id":"orders-1","version":9,"position":10,"size":5}'
    run save 9
    assert_output ''
}

@test "a version that the stream has not reached: status 3, exact message, nothing saved" {
    run_split save 10
    assert_message 3 'esdb-snapshot: orders-1: no snapshot of version 10 can be saved: the stream is at version 9'
    run esdb-read --all --system --count
    assert_output 10
    save 9
}

@test "a stream that is not there: status 4, exact message, for save, load, list" {
    run_split esdb-snapshot save --version 0 nothing <<<1
    assert_message 4 'esdb-snapshot: nothing: no such stream'
    run_split esdb-snapshot load nothing
    assert_message 4 'esdb-snapshot: nothing: no such stream'
    for action in list delete 'prune --keep 1'; do
        # shellcheck disable=SC2086 # words
        run_split esdb-snapshot $action nothing
        assert_message 4 'esdb-snapshot: nothing: no such stream'
    done
    run_split esdb-snapshot load orders-1
    assert_message 4 'esdb-snapshot: orders-1: no snapshot'
    run esdb-snapshot list orders-1
    assert_success
    assert_output ''
    run_split esdb-snapshot save --version 0 '$meta:orders-1' <<<1
    assert_message 2 'esdb-snapshot: $meta:orders-1: is one of the store'\''s own streams'
}

@test "unknown options, missing and foreign ones, are usage errors" {
    run_split esdb-snapshot save --version 0 --nonsense orders-1
    assert_message 2 "esdb-snapshot: unknown option --nonsense
esdb-snapshot: try 'esdb-snapshot --help'"
    run_split esdb-snapshot save orders-1
    assert_equal "$status" 2
    assert_equal "${stderr%%$'\n'*}" 'esdb-snapshot: save: the state after which version? --version N says it'
    run_split esdb-snapshot prune orders-1
    assert_equal "${stderr%%$'\n'*}" 'esdb-snapshot: prune: how many are to stay? --keep N says it'
    run_split esdb-snapshot prune --keep 0 orders-1
    assert_equal "$status" 2
    run_split esdb-snapshot list --at 3 orders-1
    assert_equal "${stderr%%$'\n'*}" 'esdb-snapshot: --at belongs to load and exists and delete, not to list'
    run_split esdb-snapshot load --at 3 --upto 4 orders-1
    assert_equal "$status" 2
    run_split esdb-snapshot delete --as-of now orders-1
    assert_equal "$status" 2
    run_split esdb-snapshot save --version 0 -m a=1 -m a=2 orders-1 <<<1
    assert_equal "$status" 2
    run_split esdb-snapshot
    assert_equal "$status" 2
    # As with an unquoted empty variable: nothing was saved, and that must not look like success.
    for words in 'save orders-1 --version' 'save --version' '--version --version' 'load orders-1 --version'; do
        # shellcheck disable=SC2086 # words
        run_split esdb-snapshot $words <<<1
        assert_equal "$status" 2
        assert_equal "$output" ''
    done
    run esdb-snapshot --version
    assert_success
    assert_output --regexp '^esdb-snapshot [0-9.]+$'
}

@test "list is newest first, also when an older version was saved later (reference: oldest first)" {
    save 3
    save 8
    save 5
    assert_equal "$(versions)" '8 5 3 '
    # The clean-up that the documentation shows keeps the newest.
    esdb-snapshot list orders-1 | tail -n +2 | jq .version |
        while read -r version; do esdb-snapshot delete -q --at "$version" orders-1; done
    assert_equal "$(versions)" '8 '
}

@test "list tells version, time, size, form and metadata" {
    save 3 '{"a": [1, 2]}' -m by=me -m 'why=a "quoted" one'
    run esdb-snapshot list orders-1
    assert_equal "$(jq -c 'del(.epoch_us)' <<<"$output")" \
        '{"version":3,"position":10,"size":11,"stored_size":11,"form":"json","metadata":{"by":"me","why":"a \"quoted\" one"}}'
    run esdb-snapshot load --json orders-1
    assert_equal "$(jq -c '[.stream_id, .version, .state, .metadata.by]' <<<"$output")" '["orders-1",3,{"a":[1,2]},"me"]'
}

@test "saving again at a version replaces" {
    save 3 '"old"'
    save 3 '"new"'
    run esdb-snapshot load orders-1
    assert_output '"new"'
    assert_equal "$(versions)" '3 '
}

@test "numbers and keys of JSON stay as they are" {
    local state='{"n":12345678901234567890.10,"z":1,"a":1,"z":2,"s":"\ud800"}'
    save 3 "$state"
    run esdb-snapshot load orders-1
    assert_output "$state"
}

@test "any bytes: as they were, compressed when that helps" {
    head -c 100000 /dev/urandom >random
    yes 'all work and no play' | head -c 1000000 >dull
    esdb-snapshot save -q --version 1 orders-1 <random
    esdb-snapshot save -q --version 2 orders-1 <dull
    esdb-snapshot load --at 1 orders-1 | cmp - random
    esdb-snapshot load --at 2 orders-1 | cmp - dull
    esdb-snapshot load --at 2 --json orders-1 | jq -r .state_base64 | base64 -d | cmp - dull
    run esdb-snapshot list orders-1
    assert_equal "$(jq -c '[.form, .size, .stored_size < 2000]' <<<"$output")" '["bytes",1000000,true]
["bytes",100000,false]'
    esdb-verify >/dev/null
}

@test "JSON kept as bytes with --raw; what begins like JSON and is none is refused" {
    save 1 '{ "a" : 1 }' --raw
    run esdb-snapshot load orders-1
    assert_output '{ "a" : 1 }'
    run_split save 2 '{"a":1'
    assert_message 8 'esdb-snapshot: line 1, byte 7: unexpected end of input (--raw saves the state as bytes)'
    run_split save 2 '  '
    assert_message 8 'esdb-snapshot: there is no state on standard input: nothing was saved (--raw saves an empty one)'
    printf '' | esdb-snapshot save -q --raw --version 2 orders-1
    run esdb-snapshot load orders-1
    assert_success
    assert_output ''
}

@test "a state of 100 MB is refused with the limit named; so is one that does not fit into an event" {
    run_split bash -c 'head -c 100000000 /dev/zero | esdb-snapshot save --version 1 orders-1'
    assert_message 8 'esdb-snapshot: the state is larger than 64 MiB: nothing was saved'
    run_split bash -c 'head -c 20000000 /dev/urandom | esdb-snapshot save --version 1 orders-1'
    assert_equal "$status" 8
    assert_equal "$output" ''
    [[ $stderr =~ ^'esdb-snapshot: orders-1: the state has 20000000 bytes, '[0-9]+' compressed: an event has at most 16 MiB'$ ]]
    run esdb-snapshot exists orders-1
    assert_failure 4
    # 60 MB that compress fit.
    head -c 60000000 /dev/zero | esdb-snapshot save -q --version 1 orders-1
    esdb-snapshot load orders-1 | cmp - <(head -c 60000000 /dev/zero)
}

@test "exists answers by its status" {
    run esdb-snapshot exists orders-1
    assert_failure 4
    assert_output ''
    save 5
    esdb-snapshot exists orders-1
    esdb-snapshot exists --at 5 orders-1
    esdb-snapshot exists --upto 6 orders-1
    run esdb-snapshot exists --at 4 orders-1
    assert_failure 4
    run esdb-snapshot exists --upto 4 orders-1
    assert_failure 4
}

@test "delete: one, all; what is not there is status 4" {
    for v in 1 2 3; do save $v; done
    run esdb-snapshot delete --at 3 orders-1
    assert_output '{"stream_id":"orders-1","deleted":1}'
    assert_equal "$(versions)" '2 1 '
    run esdb-snapshot load orders-1
    assert_output '{"v":2}'
    run esdb-snapshot delete orders-1
    assert_output '{"stream_id":"orders-1","deleted":2}'
    run_split esdb-snapshot delete orders-1
    assert_message 4 'esdb-snapshot: orders-1: no snapshot'
    run_split esdb-snapshot delete --at 3 orders-1
    assert_message 4 'esdb-snapshot: orders-1: no snapshot of version 3'
    save 3 '"again"'
    run esdb-snapshot load orders-1
    assert_output '"again"'
}

@test "prune keeps the newest by version, whenever they were saved" {
    for v in 6 2 9 4; do save $v; done
    run esdb-snapshot prune --keep 2 orders-1
    assert_output '{"stream_id":"orders-1","deleted":2}'
    assert_equal "$(versions)" '9 6 '
    run esdb-snapshot prune --keep 2 orders-1
    assert_output '{"stream_id":"orders-1","deleted":0}'
}

@test "--as-of: the snapshots that were there then" {
    save 2
    esdb-snapshot delete -q orders-1
    save 3
    assert_equal "$(versions --as-of pos:9)" ''
    assert_equal "$(versions --as-of pos:10)" '2 '
    assert_equal "$(versions --as-of pos:11)" ''
    assert_equal "$(versions --as-of pos:12)" '3 '
    run esdb-snapshot load --as-of pos:10 orders-1
    assert_output '{"v":2}'
    run_split esdb-snapshot load --as-of 2001-01-01 orders-1
    assert_message 4 'esdb-snapshot: orders-1: no snapshot at that time'
    run esdb-snapshot load --as-of now orders-1
    assert_output '{"v":3}'
}

@test "snapshots go with their stream and come back with it" {
    save 5
    esdb-stream delete orders-1
    run_split esdb-snapshot load orders-1
    assert_message 4 'esdb-snapshot: orders-1: no such stream'
    run_split save 5
    assert_message 4 'esdb-snapshot: orders-1: no such stream: it was deleted'
    esdb-stream undelete orders-1
    run esdb-snapshot load orders-1
    assert_output '{"v":5}'
}

@test "what was saved while a stream was deleted in part goes when it is undeleted" {
    save 5 '"all"'
    esdb-stream delete orders-1
    events 2 orders-1 | esdb-append -q
    save 11 '"from 10 on"'
    run esdb-snapshot load orders-1
    assert_output '"from 10 on"'
    assert_equal "$(versions)" '11 '
    esdb-stream undelete orders-1
    run esdb-snapshot load orders-1
    assert_output '"all"'
    assert_equal "$(versions)" '5 '
    run esdb-snapshot exists --at 11 orders-1
    assert_failure 4
    save 11 '"everything"'
    run esdb-snapshot load orders-1
    assert_output '"everything"'
    assert_equal "$(versions)" '11 5 '
}

@test "a foreign event among the snapshots is passed over" {
    save 5
    echo '{"event_type":"$snapshot-saved","stream_id":"$snapshot:orders-1","data":{"v":99},"metadata":{"version":99}}' |
        esdb-append -q --preserve --system
    run esdb-snapshot load orders-1
    assert_output '{"v":5}'
    save 6
    run esdb-snapshot load orders-1
    assert_output '{"v":6}'
    assert_equal "$(versions)" '6 5 '
}

# forged DATA SIZE: a snapshot of version 5 in zstd that is said to be JSON of so many bytes.
forged() {
    printf '{"event_type":"$snapshot-saved","stream_id":"$snapshot:orders-1","data_base64":"%s","metadata":%s}\n' \
        "$(base64 -w 0 <"$1")" '{"latest":5,"version":5,"size":'"$2"',"state":"json","compression":"zstd"}' |
        esdb-append -q --preserve --system
}

@test "a snapshot that is not what it says it is: status 5, by name; the events are still folded without it" {
    printf '{"n":"%300s' x | zstd -q -o no-json --stream-size=306
    printf '{"n": "%300s"}' x | zstd -q -o spaced --stream-size=309
    printf '{"n":"%300s"}' x | zstd -q -o good --stream-size=308
    head -c 12 good >short
    echo nothing >other
    for file in 'no-json 306' 'spaced 309' 'good 307' 'good 309' 'good 9000000000' 'short 308' 'other 308'; do
        # shellcheck disable=SC2086 # words
        forged $file
        for command in 'esdb-snapshot load' esdb-fold 'esdb-fold --per-stream' 'esdb-fold --reduce .'; do
            run_split $command orders-1
            assert_message 5 "${command%% *}: orders-1: the snapshot of version 5 is not what it says it is"
        done
        run esdb-fold --no-snapshot orders-1
        assert_output '{"n":9}'
        esdb-snapshot delete -q --at 5 orders-1
    done
    forged good 308
    run esdb-snapshot load orders-1
    assert_output "$(printf '{"n":"%300s"}' x)"
}

@test "sixteen save at once: each is there" {
    local pids=()
    events 10 orders-1 | esdb-append -q
    for i in $(seq 16); do
        save "$i" 3>&- &
        pids+=($!)
    done
    for pid in "${pids[@]}"; do wait "$pid"; done
    assert_equal "$(versions)" "$(seq 16 -1 1 | tr '\n' ' ')"
}

@test "killed at every system call of a save: the old snapshot or the new one, and the next save works" {
    skip_if_variant
    command -v strace >/dev/null || skip 'needs strace'
    local n loaded old=0 runs=0 news=0
    head -c 3000 /dev/zero | tr '\0' x >filler
    esdb-snapshot save -q --version 1 orders-1 <<<'"0"'
    for n in $(seq 1 400); do
        printf '"%s %s"' "$n" "$(cat filler)" >state
        status=0
        { strace -qq -o /dev/null -e trace=all -e "inject=all:signal=KILL:when=$n" \
            esdb-snapshot save -q --version 1 orders-1 <state || status=$?; } 2>/dev/null
        loaded=$(esdb-snapshot load orders-1 | cut -c 2- | cut -d ' ' -f 1 | tr -d '"')
        # One that a killed process had written and not confirmed may come into sight later, never go out of it.
        [ "$loaded" -ge "$old" ] && [ "$loaded" -le "$n" ] || fail "kill $n: found $loaded, not one of $old to $n"
        [ "$status" -ne 0 ] || [ "$loaded" = "$n" ] || fail "run $n was done, and its snapshot is not there"
        [ "$loaded" = "$old" ] || news=$((news + 1))
        old=$loaded
        runs=$n
        [ "$status" -ne 0 ] || break
    done
    [ "$runs" -gt 20 ] && [ "$status" -eq 0 ] && [ "$news" -gt 1 ]
    esdb-verify >/dev/null
}

@test "esdb-append and esdb-read decompress segments; they have no compressor in them" {
    skip_if_variant
    for tool in esdb-append esdb-read; do
        run bash -c "nm '$BUILD_DIR/bin/$tool' | grep -ciE 'ZSTD_(create|free)CCtx|ZSTD_compress'"
        assert_output 0
    done
}
