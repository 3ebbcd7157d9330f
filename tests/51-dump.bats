#!/usr/bin/env bats
# esdb-dump: explains segments and what is made from them, also damaged, and writes nothing.
load lib/load

log=store/log/0000000000000001.log

setup() {
    esdb_setup
    new_store
    printf '%s\n' '{"event_type":"Placed","event_id":"e1","data":{"n":1},"metadata":{"by":"me"}}' \
        '{"event_type":"Scan","event_id":"e2","data_base64":"AP8=","data_content_type":"image/png"}' |
        esdb-append -q orders-1
    # One process each, so that each frame proves the ones before it to be durable.
    for n in 0 1 2; do events 1 'a b' $n | esdb-append -q; done
}

# records WHAT FILTER: of the last run, as JSON.
records() {
    jq -c "select(.what == \"$1\") | $2" <<<"$output"
}

# The offset of frame N.
frame_at() {
    esdb-dump --json $log | jq "select(.what == \"frame\" and .index == $1) | .offset"
}

@test "a line for each frame: offset, length, kind, index, term, position, count, flags, checksum" {
    run esdb-dump $log
    assert_success
    assert_line --index 0 "==> $log (segment, $(stat -c %s $log) bytes) <=="
    assert_line --index 2 --regexp '^ +0 +128  segment version=1 first_index=1 first_position=0 .* checksum=ok$'
    assert_line --index 3 --regexp '^ +128 +[0-9]+  frame   kind=events index=1 term=1 position=0 count=2 flags=- checksum=ok '
    assert_line --index 5 --regexp '  frame   kind=events index=3 term=1 position=3 count=1 '
    assert_line --regexp '  zeros   text=allocated ahead, not yet used$'
    assert_line --index -1 --regexp '  end     frames=4 events=5 next_index=5 next_position=5 state=open$'
}

@test "the records of a segment cover every byte of it, in order" {
    run esdb-dump --json $log
    assert_success
    assert_equal "$(jq -s '[.[] | select(.what == "segment" or .what == "frame" or .what == "zeros")] |
        reduce .[] as $r (0; if $r.offset == . then . + $r.length else -1e9 end)' <<<"$output")" "$(stat -c %s $log)"
}

@test "--events adds a line for each event; --json has its data" {
    run esdb-dump -v $log
    assert_success
    assert_line --regexp '  event   position=0 stream_id=orders-1 version=0 event_type=Placed event_id=e1 .* checksum=ok$'
    assert_line --regexp '  event   position=2 stream_id="a b" version=0 event_type=Even '
    run esdb-dump -v --json $log
    assert_equal "$(records event '[.position, .stream_id, .version, .data, .metadata, .data_base64, .state]' | head -n 2)" \
        '[0,"orders-1",0,{"n":1},{"by":"me"},null,"ok"]
[1,"orders-1",1,null,null,"AP8=","ok"]'
    assert_equal "$(jq -s 'all(has("file") and has("offset") and has("length") and has("what"))' <<<"$output")" true
}

@test "--bytes explains a range field by field" {
    run esdb-dump --bytes 0..239 $log
    assert_success
    assert_line --regexp '^00000000  45 53 44 42 4c 4f 47 0a  magic +ESDBLOG +a segment of esdb$'
    assert_line --regexp '^00000020  01 00 00 00 00 00 00 00  first_index +1 '
    assert_line --regexp '^00000080  45 53 46 31              magic +ESF1 +a frame$'
    assert_line --regexp '^000000d8  ([0-9a-f]{2} ){8} checksum +[0-9a-f]{16} +ok, of bytes 0 to 87$'
    refute_output --partial 'stream_id'
    run esdb-dump --bytes 240.. $log
    assert_line --regexp '\|orders-1\|'
    assert_line --regexp '  metadata +\|\{"by":"m\|'
}

@test "--bytes leaves out what does not touch the range, in hexadecimal too" {
    run esdb-dump --bytes 0x88..0x8b $log
    assert_success
    assert_equal "$(grep -c '^0000' <<<"$output")" 1
    assert_line --regexp '^00000088  .* frame_len '
}

@test "the fields of a whole segment are every byte of it" {
    run esdb-dump --bytes .. --json $log
    assert_success
    assert_equal "$(jq -s '[.[] | select(.what == "field")] | sort_by(.offset) |
        reduce .[] as $r (0; if $r.offset == . then . + $r.length else -1e9 end)' <<<"$output")" "$(stat -c %s $log)"
    # and their bytes are those of the file, as far as they are not zeros that are only counted
    jq -r 'select(.what == "field" and has("bytes")) | .bytes' <<<"$output" | tr -d '\n' >fields
    head -c $(($(wc -c <fields) / 2)) $log | od -An -v -tx1 | tr -d ' \n' >file
    cut -c 1-2000 fields >fields.begin
    cut -c 1-2000 file >file.begin
    assert_equal "$(cat fields.begin)" "$(cat file.begin)"
}

@test "a store: all segments; with --all also head, indexes and tables" {
    new_store many --segment-size 64K
    events 2000 s | esdb-append -q --batch 50
    run esdb-dump --json
    assert_success
    assert_equal "$(records file .kind | sort | uniq -c | awk '{print $1, $2}')" \
        "$(find many/log -name '*.log' | wc -l) \"segment\""
    assert_equal "$(jq -s 'map(select(.what == "end").events) | add' <<<"$output")" 2000
    run esdb-dump --json --all -v
    assert_success
    assert_equal "$(records damage .text)" ''
    assert_equal "$(records file .kind | grep -c -e head -e table -e live)" \
        "$((1 + $(find many/log many/tables -name '*.idx' -o -name '*.live' -o -path '*tables/*' -type f | wc -l)))"
    assert_equal "$(records key .key | head -n 1)" '"s"'
}

@test "a store may be an operand, and a file may be named as verify names it" {
    unset ESDB_STORE
    run esdb-dump store
    assert_success
    assert_line --index 0 --partial 'log/0000000000000001.log'
    run esdb-dump -S store log/0000000000000001.log
    assert_success
}

@test "--bytes explains head and tables too, every byte of them" {
    new_store many --segment-size 64K
    events 2000 s | esdb-append -q --batch 50
    for file in many/head many/log/*.idx many/log/*.live many/tables/*; do
        [ -e "$file" ] || continue
        run esdb-dump --bytes .. --json "$file"
        assert_success
        assert_equal "$file $(jq -s '[.[] | select(.what == "field")] | sort_by(.offset) |
            reduce .[] as $r (0; if $r.offset <= . then ([., $r.offset + $r.length] | max) else -1e12 end)' <<<"$output")" \
            "$file $(stat -c %s "$file")"
    done
}

@test "the head's round, a segment's last_term and what an index says of damage are shown" {
    new_store many --segment-size 64K
    events 1000 s | esdb-append -q --batch 50
    run esdb-dump many/head
    assert_success
    assert_output --regexp ' round=[1-9][0-9]*'
    first=(many/log/*.log)
    run esdb-dump --json "${first[1]}"
    assert_equal "$(jq -r 'select(.last_term).last_term' <<<"$output")" 1
    flip "${first[0]}" 1000
    rm -f many/log/*.idx many/tables/*
    run esdb-verify --rebuild -S many
    run esdb-dump --events --json "${first[0]%.log}.idx"
    assert_success
    assert_equal "$(jq -r 'select(.section == "damage" and .what == "entry") | [.offset, .first_event, .events] | @csv' \
        <<<"$output")" '912,6,1'
}

@test "damage is told in place, and the walk goes on behind it" {
    bad=$(frame_at 2)
    next=$(frame_at 3)
    flip $log $((bad + 16))
    run esdb-dump --json $log
    assert_failure 5
    assert_equal "$(records damage '[.offset, .length, .index, .lost_frames, .lost_events, .text]')" \
        "[$bad,$((next - bad)),2,1,1,\"frame header checksum is wrong\"]"
    assert_equal "$(records frame .index | tr '\n' ' ')" '1 3 4 '
    run esdb-dump $log
    assert_failure 5
    assert_line --regexp "^ +$bad +$((next - bad))  damage  index=2 lost_frames=1 lost_events=1 text=frame header checksum is wrong$"
    run esdb-dump --bytes "$bad..$((bad + 111))" $log
    assert_failure 5
    assert_line --regexp ' checksum .* WRONG: [0-9a-f]{16} is right$'
}

@test "damage inside an event is found by its checksum, and the other events are shown" {
    at=$(esdb-dump -v --json $log | jq -s 'map(select(.what == "event")) | .[1].offset')
    flip $log $((at + 70))
    run esdb-dump -v --json $log
    assert_failure 5
    assert_equal "$(records damage '[.offset, .text]')" "[$at,\"event checksum is wrong\"]"
    assert_equal "$(records event .state | tr '\n' ' ')" '"ok" "wrong" "ok" "ok" "ok" '
}

@test "every flipped byte of headers and frames is damage, or torn in the last frame when nothing proves it" {
    end=$(esdb-dump --json $log | jq 'select(.what == "zeros") | .offset')
    last=$(frame_at 4)
    mkdir alone
    for ((at = 0; at < end; at += 7)); do
        cp $log alone/0000000000000001.log
        flip alone/0000000000000001.log $at
        run esdb-dump alone/0000000000000001.log
        case $at:$status in
        *:5) ;;
        *:0) [ "$at" -ge "$last" ] || fail "byte $at: not found"
            assert_output --partial '  torn ' ;;
        *) fail "byte $at: status $status: $output" ;;
        esac
    done
}

@test "with a head that proves it, a bad last frame is damage" {
    flip $log $(($(frame_at 4) + 20))
    run esdb-dump $log
    assert_failure 5
    assert_output --partial '  damage '
    mkdir alone
    cp $log alone/
    run esdb-dump alone/0000000000000001.log
    assert_success
    assert_line --regexp ' torn +index=4 text=frame header checksum is wrong'
}

@test "a log that was cut below what head proves is damage" {
    bad=$(frame_at 4)
    size=$(stat -c %s $log)
    truncate -s "$bad" $log
    truncate -s "$size" $log
    run esdb-dump $log
    assert_failure 5
    assert_output --partial 'the log ends at frame 3, but head proves that frame 4 was durable'
}

@test "a segment whose header is damaged is explained all the same" {
    flip $log 50
    run esdb-dump --json $log
    assert_failure 5
    assert_equal "$(records frame .index | tr '\n' ' ')" '1 2 3 4 '
}

@test "truncated, empty and foreign files are told" {
    head -c 100 $log >short.log
    run esdb-dump short.log
    assert_failure 5
    assert_output --partial 'segment header is cut short'
    head -c 500 $log >cut.log
    run esdb-dump cut.log
    assert_success
    assert_output --partial 'frame header is cut short'
    : >empty.log
    run esdb-dump empty.log
    assert_failure 5
    assert_output --partial 'the file is empty'
    echo hello >text
    run_split esdb-dump text
    assert_equal "$status" 2
    assert_regex "$stderr" 'not a file of a store'
    run_split esdb-dump none
    assert_equal "$status" 4
    assert_equal "$stderr" 'esdb-dump: none: No such file or directory'
}

@test "golden stores: torn, damaged, of a newer format and whole are told apart" {
    count=0
    for folder in "$REPO"/tests/golden/*/store; do
        name=$(basename "$(dirname "$folder")")
        case $name in
        torn-* | duplicate | stale | newer-frame) wanted=0 what=torn ;;
        proven-* | sealed-* | segment-header | truncated | shortened | missing-segment | foreign-segment | after-roll | synced-field)
            wanted=5 what=damage ;;
        newer-segment*) wanted=2 what=newer ;;
        first | segments | streams | rolled | hole | extended | directory) wanted=0 what=end ;;
        *) continue ;;
        esac
        run esdb-dump "$folder"
        [ "$status" -eq "$wanted" ] || fail "$name: status $status: $output"
        assert_output --regexp "  $what +"
        [ "$what" = damage ] || refute_output --partial '  damage '
        [ "$what" = end ] && refute_output --partial '  torn '
        count=$((count + 1))
    done
    [ "$count" -gt 0 ] || skip 'there are no golden stores'
}

@test "random bytes in any file end in a message, never in a crash" {
    new_store many --segment-size 64K
    events 500 s | esdb-append -q --batch 50
    mkdir bad
    RANDOM=7
    for file in many/log/0000000000000001.log many/log/0000000000000001.idx many/log/*.live many/head; do
        [ -e "$file" ] || continue
        size=$(stat -c %s "$file")
        for _ in 1 2 3 4 5 6 7 8; do
            name=bad/$(basename "$file")
            rm -f "$name"
            cp "$file" "$name"
            chmod u+w "$name"
            for n in 1 2 3 4 5 6; do
                at=$(((RANDOM * 32768 + RANDOM) % size))
                head -c $((RANDOM % 64 + 1)) /dev/urandom | dd of="$name" bs=1 seek="$at" conv=notrunc status=none
            done
            for how in '-v' '-v --json' '--bytes ..'; do
                # shellcheck disable=SC2086 # two words
                run esdb-dump $how "$name"
                case $status in 0 | 5) ;; *) fail "$name: $how: status $status: $output" ;; esac
            done
        done
    done
}

@test "a store that cannot be opened is dumped" {
    rm store/store.yaml store/head
    run esdb-dump store
    assert_success
    assert_output --partial 'events=5'
}

@test "a user who may only read can dump, and nothing is written" {
    chmod -R go+rX "$BATS_TEST_TMPDIR"
    as_nobody test -r $log || skip 'the folder is closed to others'
    before=$(find store -type f -exec sha256sum {} + | sort)
    run as_nobody "$(command -v esdb-dump)" --all -v store
    assert_success
    assert_equal "$(find store -type f -exec sha256sum {} + | sort)" "$before"
}

@test "wrong ranges are usage mistakes" {
    for range in 5 a..b 9..3 ..x 1..2..3; do
        run_split esdb-dump --bytes "$range" $log
        assert_equal "$range $status" "$range 2"
        assert_regex "$stderr" '^esdb-dump: --bytes: '
    done
}

@test "control characters in names do not reach a terminal" {
    run script -qec "esdb-dump -v $log" /dev/null
    assert_success
    refute_output --regexp $'\x1b\\[2J'
}
