#!/usr/bin/env bats
# esdb-read: what is printed, in which form, and the mistakes of the reference system that concern reading.
load lib/load

setup() {
    esdb_setup
    new_store
}

# three_streams: positions 0..8, streams a b c in turn, three versions each.
three_streams() {
    for v in 0 1 2; do
        for s in a b c; do printf '{"stream_id":"%s","event_type":"T%d","data":{"s":"%s","v":%d}}\n' $s $v $s $v; done
    done | esdb-append -q
}

# positions ARGUMENT...: the positions that esdb-read prints, on one line.
positions() { esdb-read "$@" | jq .position | paste -sd' '; }

@test "a line has all fields, in order" {
    esdb-append -q --preserve s <<<'{"event_id":"i","event_type":"T","epoch_us":1700000000000001,"data":{"a":1},"metadata":[2],"data_content_type":"x/y","metadata_content_type":"y/z"}'
    run esdb-read s
    assert_output '{"position":0,"stream_id":"s","version":0,"event_id":"i","event_type":"T","epoch_us":1700000000000001,"data":{"a":1},"metadata":[2],"data_content_type":"x/y","metadata_content_type":"y/z"}'
}

@test "streams, patterns, --all" {
    three_streams
    assert_equal "$(positions --all)" '0 1 2 3 4 5 6 7 8'
    assert_equal "$(positions b)" '1 4 7'
    assert_equal "$(positions c a)" '0 2 3 5 6 8'
    assert_equal "$(positions '?')" '0 1 2 3 4 5 6 7 8'
    assert_equal "$(positions 'x*')" ''
    assert_equal "$(positions b 'b*' b)" '1 4 7'
}

@test "patterns: ? is one character, backslash escapes, --literal takes names as they are" {
    for s in 'x*' 'xyz' 'xäz' 'x?z'; do esdb-append -q "$s" <<<'{"event_type":"A"}'; done
    assert_equal "$(positions 'x*')" '0 1 2 3'
    assert_equal "$(positions 'x?z')" '1 2 3'
    assert_equal "$(positions 'x\*')" '0'
    assert_equal "$(positions 'x\?z')" '3'
    assert_equal "$(positions --literal 'x*')" '0'
    assert_equal "$(positions --literal 'x?z')" '3'
    run_split esdb-read --literal 'x?'
    assert_message 4 'esdb-read: x?: no such stream'
    run_split esdb-read 'y\*'
    assert_message 4 'esdb-read: y*: no such stream'
}

@test "--type: one, several, patterns" {
    three_streams
    assert_equal "$(positions --all -t T1)" '3 4 5'
    assert_equal "$(positions --all -t T0 --type T2)" '0 1 2 6 7 8'
    assert_equal "$(positions a -t 'T*')" '0 3 6'
    assert_equal "$(positions --all -t T)" ''
}

@test "--from, --to, --versions, -n, -r" {
    three_streams
    assert_equal "$(positions --all --from 3 --to 5)" '3 4 5'
    assert_equal "$(positions --all --from 7)" '7 8'
    assert_equal "$(positions --all --to 1)" '0 1'
    assert_equal "$(positions b --from 4)" '4 7'
    assert_equal "$(positions b --versions 1..2)" '4 7'
    assert_equal "$(positions b --versions 1..)" '4 7'
    assert_equal "$(positions b --versions ..1)" '1 4'
    assert_equal "$(positions b --versions 1)" '4'
    assert_equal "$(positions --all --versions 0..0)" '0 1 2'
    assert_equal "$(positions --all -n 2)" '0 1'
    assert_equal "$(positions --all -n 0)" ''
    assert_equal "$(positions --all -r)" '8 7 6 5 4 3 2 1 0'
    assert_equal "$(positions --all -r -n 2)" '8 7'
    assert_equal "$(positions b -r --versions ..1)" '4 1'
    assert_equal "$(positions 'a*' c -r -n 3)" '8 6 5'
    assert_equal "$(positions --all -r --from 2 --to 4)" '4 3 2'
}

@test "wrong ranges are usage errors" {
    for bad in '--versions 2..1' '--versions x' '--versions ..' '--versions 1...2' '--versions -1..2' \
        '--from 5 --to 4' '--from -1' '-n x' "--versions 1..2.."; do
        # shellcheck disable=SC2086
        run_split esdb-read $bad --all
        assert_equal "$bad: $status" "$bad: 2"
        assert_equal "$output" ''
    done
}

@test "reference mistake: a reverse read from beyond the end counts missing versions (it starts at the last event)" {
    three_streams
    assert_equal "$(positions b -r --versions ..1000 -n 2)" '7 4'
    assert_equal "$(positions --all -r --to 1000000 -n 2)" '8 7'
}

@test "reference mistake: a limit counts what does not match (it counts events returned)" {
    three_streams
    assert_equal "$(positions --all -t T2 -n 2)" '6 7'
    assert_equal "$(positions c -n 2)" '2 5'
    assert_equal "$(positions --all -r -t T0 -n 2)" '2 1'
}

@test "reference mistake: a missing stream and an empty range look alike (4 and 0 here)" {
    three_streams
    run_split esdb-read nope
    assert_message 4 'esdb-read: nope: no such stream'
    run_split esdb-read a --from 100
    assert_message 0 ''
    run_split esdb-read a --versions 7..
    assert_message 0 ''
    run_split esdb-read a -t Nothing
    assert_message 0 ''
    run_split esdb-read 'nope*'
    assert_message 0 ''
    run_split esdb-read a nope -n 1 --fields position
    assert_equal "$status" 4
    assert_output '{"position":0}'
    assert_equal "$stderr" 'esdb-read: nope: no such stream'
}

@test "reference mistake: an absent store answers like an empty one" {
    run_split esdb-read --all
    assert_message 0 ''
    run_split esdb-read -S "$PWD/absent" --all
    assert_equal "$status" 2
    assert_equal "$output" ''
    assert_equal "$stderr" "esdb-read: $PWD/absent: there is no such store (esdb-init makes one)"
    assert_not_exist absent
    mkdir other
    run_split esdb-read -S other --all
    assert_message 2 'esdb-read: other: not an esdb store (it has no store.yaml)'
    run ls -A other
    assert_output ''
}

@test "--exit-status: 4 when nothing matched" {
    three_streams
    run_split esdb-read --exit-status --all -t Nothing
    assert_message 4 ''
    run esdb-read --exit-status --all -t T1 --count
    assert_success
    assert_output 3
    run esdb-read --exit-status --all -t Nothing --count
    assert_equal "$status" 4
    assert_output 0
}

@test "--count prints the number only" {
    three_streams
    run esdb-read --count --all
    assert_output 9
    run esdb-read --count a -t T1
    assert_output 1
    run esdb-read --count --all -n 4
    assert_output 4
    run_split esdb-read --count nope
    assert_equal "$status" 4
    assert_output 0
}

@test "which streams: a name or --all, not both" {
    run_split esdb-read
    assert_message 2 "esdb-read: which streams? Name them, or say --all
esdb-read: try 'esdb-read --help'"
    run_split esdb-read --all a
    assert_message 2 "esdb-read: --all and a stream's name exclude each other
esdb-read: try 'esdb-read --help'"
    run_split esdb-read ''
    assert_message 2 "esdb-read: a stream's name is empty
esdb-read: try 'esdb-read --help'"
}

@test "--fields chooses and orders" {
    three_streams
    run esdb-read a --fields event_type,version,data -n 1
    assert_output '{"event_type":"T0","version":0,"data":{"s":"a","v":0}}'
    run esdb-read a --fields metadata -n 1
    assert_output '{}'
    run esdb-read a --fields version,position --output table -n 1
    assert_output "$(printf '0\t0')"
}

@test "--output data: the data alone" {
    esdb-append -q s <<<'{"event_type":"A","data":{"x":[1,2.0]}}{"event_type":"B"}{"event_type":"C","data":"json"}'
    printf 'text "quoted"\twith tab\n' | esdb-append -q --lines -t L s
    run cat -A <(esdb-read s --output data)
    assert_output '{"x":[1,2.0]}$
$
"json"$
text "quoted"^Iwith tab$'
}

@test "-0 ends items with NUL" {
    three_streams
    run od -An -c <(esdb-read a --fields version -0 -n 2)
    assert_output '   {   "   v   e   r   s   i   o   n   "   :   0   }  \0   {   "
   v   e   r   s   i   o   n   "   :   1   }  \0'
    run od -An -c <(esdb-read a --output data -0 -n 1)
    assert_output --partial '}  \0'
}

@test "--output table in a pipe: columns separated by tabs" {
    esdb-append -q --preserve s <<<'{"event_type":"T","epoch_us":1700000000000001,"data":{"a":"x\ty"}}'
    run esdb-read s --output table
    assert_output "$(printf '0\t2023-11-14T22:13:20.000001+00:00\ts\t0\tT\t{"a":"x\\ty"}')"
    TZ=Asia/Kolkata run esdb-read s --output table --fields epoch_us
    assert_output '2023-11-15T03:43:20.000001+05:30'
}

@test "--color always colours keys; NO_COLOR and pipes do not" {
    esdb-append -q s <<<'{"event_type":"T"}'
    run esdb-read s --fields version --color always
    assert_output "$(printf '{\033[34;1m"version"\033[0m:0}')"
    run esdb-read s --fields version --color auto
    assert_output '{"version":0}'
    run script -qec 'NO_COLOR=1 esdb-read s --fields version' /dev/null
    assert_output --partial '{"version":0}'
    run script -qec 'TERM=dumb esdb-read s --fields version' /dev/null
    assert_output --partial '{"version":0}'
    run script -qec 'TERM=xterm NO_COLOR= esdb-read s --fields version' /dev/null
    assert_output --partial "$(printf '\033[34;1m')"
}

@test "a terminal gets no control bytes from data, in any format" {
    esdb-append -q s < <(printf '{"event_type":"T","data":"a\x7fb\xc2\x9b31mc","data_content_type":"text/plain"}')
    printf '\033[31mred\033]0;title\a\xff' | esdb-append -q --raw -t R s
    for format in json data table; do
        script -qec "NO_COLOR=1 esdb-read s --output $format" /dev/null </dev/null >"$format"
        run tr -d '\r\n\t -~' <"$format"
        assert_equal "$(tr -d '\342\200\246' <<<"$output")" ''
    done
    run cat json
    assert_output --partial '"a\u007fb\u009b31mc"'
    # Names, and what is no UTF-8 in them: paths in answers of other tools.
    mkdir "$(printf 'q\x7f\xc2\x9b\x9b')"
    cat >commands <<'COMMANDS'
cd q*
esdb-init "$PWD/x"
esdb-stat -S "$PWD/x" --json
esdb-read -S ../store --all --jq '"\u009b\u007f\u001b"'
esdb-read -S ../store --all --explain=json --select 'error("\u009b\u007f\u001b")'
esdb-read -S ../store --all --select 'error("\u009b\u007f\u001b")'
COMMANDS
    script -qc 'sh commands' /dev/null </dev/null >other
    run tr -d '\r\n\t -~' <other
    assert_output ''
    run cat other
    assert_equal "$(grep -c 'q\\u007f\\u009b\\u009b/x' other)" 1
    assert_output --partial '"\u009b\u007f\u001b"'
    # A pipe gets what is stored.
    run grep -c "$(printf 'a\x7fb\xc2\x9b31mc')" <(esdb-read s)
    assert_output 1
}

@test "--output table at a terminal: aligned, cut to the width" {
    three_streams
    esdb-append -q a-long-stream-name-that-makes-its-column-wider < <(printf '{"event_type":"T","data":"%s"}' "$(printf 'x%.0s' {1..300})")
    script -qec 'stty cols 130; NO_COLOR=1 esdb-read --all --output table' /dev/null </dev/null | tr -d '\r' >table
    run head -1 table
    assert_output --regexp '^position +time +stream_id +version +event_type +data'
    run awk 'length > 132' table # the ellipsis has three bytes
    assert_output ''
    run grep -c '…$' table
    assert_output 1
}

@test "--output table at a terminal: columns stay where they are" {
    for i in $(seq 1 150); do printf '{"stream_id":"s%d","event_type":"Type%d","data":"#"}\n' $((i % 90)) $((i * i * i)); done | esdb-append -q
    esdb-append -q a-stream-whose-name-is-longer-than-any-of-the-first-hundred <<<'{"event_type":"T"}'
    events 9 s | esdb-append -q
    script -qec 'stty cols 130; NO_COLOR=1 esdb-read --all --output table' /dev/null </dev/null | tr -d '\r' >table
    assert_equal "$(lines_of table)" 161
    # The time's and the version's columns begin at the same place in every line, but for the version of the long name.
    run bash -c "sed -n '2,\$ { s/[0-9-]\{10\} [0-9:.]\{15\}.*//; p }' table | awk '{ print length }' | sort -u"
    assert_output 10
    run bash -c "tail -n +2 table | grep -v a-stream | awk '{ print index(\$0, \$6) }' | sort -u"
    assert_line --index 0 "$(awk 'NR == 1 { print index($0, "event_type") }' table)"
    assert_equal "${#lines[@]}" 1
    run bash -c "grep Type table | awk '{ print index(\$0, \"\\\"#\") }' | sort -u" # data behind event_type
    assert_output "$(awk 'NR == 1 { print index($0, "data") }' table)"
}

@test "many events through a slow pipe: nothing is lost" {
    events 50000 s | esdb-append -q
    run bash -c 'esdb-read --all | (sleep 0.2; wc -l)'
    assert_output 50000
    run bash -c 'esdb-read --all | head -1 | wc -l; echo ${PIPESTATUS[0]}'
    assert_line --index 0 1
    assert_line --index 1 141
}

@test "a reader that is gone ends the tool quietly, also when SIGPIPE is ignored" {
    events 20000 s | esdb-append -q
    run bash -c 'trap "" PIPE; esdb-read --all | head -1 >/dev/null; echo ${PIPESTATUS[0]}'
    assert_output 141
}

@test "a large event is printed whole" {
    head -c 12000000 /dev/urandom >big
    esdb-append -q --raw -t R s <big
    run cmp big <(esdb-read s --output data -0 | head -c 12000000)
    assert_success
    run cmp big <(esdb-read s | jq -r .data_base64 | base64 -d)
    assert_success
    tr -d '\0' <big | base64 -w0 >text
    esdb-append -q --lines -t L t <text
    run cmp <(cat text; echo) <(esdb-read t --output data)
    assert_success
    run cmp text <(esdb-read t | jq -j .data)
    assert_success
}

# ---- stores in a bad state ----

# small_segments: a store of several sealed segments, 3,000 events in five streams; $second is its second segment.
small_segments() {
    new_store small --segment-size 64K
    awk 'BEGIN { for (i = 0; i < 3000; i++)
        printf "{\"stream_id\":\"s%d\",\"event_type\":\"E\",\"data\":{\"n\":%d,\"x\":\"01234567890123456789012345\"}}\n", i % 5, i }' |
        esdb-append -q --batch 100
    second=$(find "$PWD/small/log" -name '*.log' | sort | sed -n 2p)
}

@test "a corrupt sealed segment: what is whole is read, status 5 at the end" {
    small_segments
    chmod u+w "$second"
    at=$(grep -abo 0123456789 "$second" | sed -n '20s/:.*//p')
    printf '\xff' | dd of="$second" bs=1 seek="$at" conv=notrunc status=none
    run_split esdb-read --all
    assert_equal "$status" 5
    assert_regex "$stderr" "^esdb-read: $second, offset [0-9]+: event checksum is wrong\$"
    assert_equal "${#lines[@]}" 2999
    # Newest first, the same.
    run_split esdb-read --all --reverse --count
    assert_equal "$status" 5
    assert_output 2999
    # What does not touch the damage is whole.
    run_split esdb-read --all -n 10 --count
    assert_success
    assert_output 10
    run_split esdb-tail --all --from start --until-end --fields position
    assert_equal "$status" 5
    assert_equal "${#lines[@]}" 2999
}

@test "a truncated segment: status 5, the other segments are read" {
    small_segments
    chmod u+w "$second"
    truncate -s 5000 "$second"
    run_split esdb-read --all --count
    assert_equal "$status" 5
    assert_regex "$stderr" "^esdb-read: $second, offset [0-9]+: "
    [ "$output" -gt 2000 ] && [ "$output" -lt 3000 ]
}

@test "a symlinked segment is refused" {
    small_segments
    mv "$second" elsewhere
    ln -s "$PWD/elsewhere" "$second"
    run_split esdb-read --all --count
    assert_equal "$status" 7
    assert_equal "$stderr" "esdb-read: $second: is a symbolic link, refused"
}

@test "a world-writable store is refused" {
    chmod o+w store
    run_split esdb-read --all
    assert_message 7 "esdb-read: $ESDB_STORE: is writable for everybody, refused (chmod o-w)"
    run_split esdb-append s <<<'{"event_type":"A"}'
    assert_message 7 "esdb-append: $ESDB_STORE: is writable for everybody, refused (chmod o-w)"
}

@test "a store of a newer format is refused" {
    sed -i 's/^format: 1$/format: 2/' store/store.yaml
    for tool in 'esdb-read --all' 'esdb-tail --all' 'esdb-append s'; do
        # shellcheck disable=SC2086
        run_split $tool </dev/null
        assert_message 2 "${tool%% *}: $ESDB_STORE: the store has format 2 (features 0x0), this esdb knows format 1 only"
    done
}

@test "a user who may only read reads and follows, writes nothing, and is denied appending" {
    three_streams
    [ "$(id -u)" -eq 0 ] || skip 'needs root to become another user'
    cp "$BUILD_DIR"/bin/esdb-{read,tail,append} .
    chmod 755 . && chmod -R go-w store && chmod -R go+rX store
    as_nobody ./esdb-read --all --count >/dev/null 2>&1 || skip 'nobody cannot get here'
    find store -type f -exec sha256sum {} + | sort >before
    run as_nobody ./esdb-read --all --count
    assert_output 9
    run as_nobody ./esdb-tail b --until-end --fields position
    assert_equal "${#lines[@]}" 3
    run_split as_nobody ./esdb-append s <<<'{"event_type":"A"}'
    assert_equal "$status" 7
    assert_regex "$stderr" '^esdb-append: .*: Permission denied$'
    run diff before <(find store -type f -exec sha256sum {} + | sort)
    assert_output ''
    # Live events reach such a follower too.
    as_nobody ./esdb-tail --all -n 0 >out &
    tail=$!
    sleep 0.3
    events 1 s | esdb-append -q
    wait_for 5 test -s out
    kill "$tail" || true
}

@test "a store has more segments than a process has descriptors" {
    unset ESDB_STORE
    esdb-init --segment-size 64K many
    awk 'BEGIN {
        fill = sprintf("%60000s", ""); gsub(/ /, "x", fill)
        for (i = 0; i < 260; i++)
            printf "{\"stream_id\":\"s%d\",\"event_type\":\"T\",\"event_id\":\"e%d\",\"data\":\"%s\"}\n", i % 7, i, fill
    }' | esdb-append -S many --batch 1 -q
    ulimit -Sn 240
    run esdb-read -S many --all --count
    assert_output 260
    run esdb-read -S many --all --reverse --count
    assert_output 260
    run esdb-read -S many s3 --count
    assert_output 37
    run esdb-read -S many --all --id e259 --id e3 --fields position
    assert_output $'{"position":3}\n{"position":259}'
    run esdb-verify many
    assert_success
    assert_output --partial '260 segments'
    run esdb-verify --rebuild many
    assert_success
    run esdb-append -S many -e 36 s3 <<<'{"event_type":"T"}'
    assert_success
    esdb-backup -S many copy >/dev/null
    run esdb-diff many copy
    assert_success
    esdb-backup -S many --tar - | wc -c
}
