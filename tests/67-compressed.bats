#!/usr/bin/env bats
# esdb-scavenge --compress: segments in compressed blocks, and everything that reads them.
load lib/load

setup() {
    esdb_setup
    new_store store --segment-size 128K
}

teardown() {
    [ -z "${tail_pid:-}" ] || kill "$tail_pid" 2>/dev/null || true
}

# filled: a store with closed segments; what it holds is in ./want.
filled() {
    for s in 1 2 3; do
        events 1500 "a-$s"
    done | sort -t: -k 4n | esdb-append -q --batch 40
    esdb-read --all --system >want
    cp -R store plain
}

compressed() {
    filled
    esdb-scavenge --compress -q
}

# like FILE: every way of reading gives what it gave when nothing was compressed.
like() {
    esdb-read --all --system | cmp - "$1"
    esdb-read --all --system -r | tac | cmp - "$1"
    local s
    for s in 1 2 3; do
        esdb-read "a-$s" | cmp - <(grep "\"a-$s\"" "$1")
        esdb-read -r "a-$s" | cmp - <(grep "\"a-$s\"" "$1" | tac)
    done
    esdb-read a-1 a-3 --type Odd | cmp - <(grep -E '"a-[13]"' "$1" | grep '"Odd"')
}

second_reader() {
    python3 -B "$REPO/tests/decoder/esdb_decode.py" store | cmp - want
}

packed_count() {
    local f n=0
    for f in "${1:-store}"/log/*.log; do
        if [ "$(od -An -tu1 -j24 -N1 "$f" | tr -d ' ')" = 1 ]; then n=$((n + 1)); fi
    done
    echo "$n"
}

largest_packed() {
    find store/log -name '*.log' | sort | head -n 1
}

@test "--compress: the log is smaller, and everything is read as before" {
    filled
    local before after
    before=$(cat store/log/*.log | wc -c)
    run esdb-scavenge --compress --json
    assert_success
    [ "$(jq .compressed <<<"$output")" -ge 3 ]
    [ "$(jq .events <<<"$output")" -eq 0 ]
    after=$(cat store/log/*.log | wc -c)
    assert_equal "$(jq .bytes <<<"$output")" $((before - after))
    [ $((after * 2)) -lt "$before" ]
    [ "$(packed_count)" -ge 3 ]
    like want
    second_reader
    run esdb-verify
    assert_success
    assert_output --regexp '^ok: 4500 events'
}

@test "a second --compress changes nothing; the table view tells what was done" {
    compressed
    sha256sum store/log/*.log >sums
    run esdb-scavenge --compress
    assert_success
    assert_equal "$output" '{"segments":0,"events":0,"bytes":0,"left":0,"compressed":0,"decompressed":0}'
    sha256sum -c --quiet sums
}

@test "--decompress: segments are again what they were, and esdb-stat tells which are compressed" {
    compressed
    local n
    n=$(packed_count)
    run esdb-stat --json
    assert_equal "$(jq .compressed <<<"$output")" "$n"
    assert_equal "$(jq '.compressed_content > 2 * .compressed_used' <<<"$output")" true
    assert_equal "$(esdb-stat | grep -c "^compressed  *$n segments, ")" 1
    run esdb-scavenge --decompress --json
    assert_success
    assert_equal "$(jq -c '[.events, .compressed, .decompressed]' <<<"$output")" "[0,0,$n]"
    assert_equal "$(packed_count)" 0
    assert_equal "$(esdb-stat --json | jq .compressed)" 0
    assert_equal "$(cat store/log/*.log | wc -c)" "$(cat plain/log/*.log | wc -c)"
    like want
    second_reader
    run esdb-verify
    assert_success
    run esdb-scavenge --decompress --json
    assert_equal "$(jq .segments <<<"$output")" 0
    run esdb-scavenge --decompress --compress
    assert_failure 2
}

@test "without sealed segments, and with bytes that do not become smaller, nothing is compressed" {
    events 10 a | esdb-append -q
    run esdb-scavenge --compress --json
    assert_equal "$(jq .compressed <<<"$output")" 0
    head -c 900000 /dev/urandom | base64 -w 700 | jq -Rc '{event_type:"R",data_base64:.,data_content_type:"x/y"}' |
        jq -c '.data_base64 |= .[0:700]' | esdb-append -q --batch 20 r
    sha256sum store/log/*.log >sums
    esdb-read --all >want
    esdb-scavenge --compress -q
    esdb-read --all | cmp - want
    esdb-verify
}

@test "appending goes on; the active segment is never compressed; compressed and plain segments mix" {
    compressed
    local n
    n=$(packed_count)
    events 2000 b | esdb-append -q --batch 40
    esdb-read --all --system >now
    head -n "$(lines_of want)" now | cmp - want
    [ "$(packed_count)" -eq "$n" ]
    esdb-scavenge --compress -q
    [ "$(packed_count)" -gt "$n" ]
    esdb-read --all --system | cmp - now
    esdb-read b | cmp - <(grep '"stream_id":"b"' now)
    esdb-verify
}

@test "ids in compressed segments are found: idempotent appends, reads by id, by time and by version" {
    compressed
    local line id
    line=$(sed -n 700p want)
    id=$(jq -r .event_id <<<"$line")
    assert_equal "$(esdb-read --all --id "$id")" "$line"
    run esdb-append --idempotent -q "$(jq -r .stream_id <<<"$line")" <<<"$(jq -c '{event_id,event_type,data}' <<<"$line")"
    assert_success
    esdb-read --all --system | cmp - want
    assert_equal "$(esdb-read --versions 77..79 a-2 | jq -r .version | xargs)" '77 78 79'
    assert_equal "$(esdb-read --all --from 1234 -n 1)" "$(sed -n 1235p want)"
    assert_equal "$(esdb-stream version a-3)" 1499
}

@test "an older index, no index and --rebuild: the same answers" {
    compressed
    rm -f store/log/*.idx store/tables/* store/head
    like want
    esdb-verify --rebuild
    like want
    cp plain/log/*.idx store/log/ # made from the plain form: not taken
    like want
    esdb-verify --rebuild -q
    esdb-verify
}

@test "an event that spans many blocks, and frames of several MiB" {
    for n in 1 2 3; do
        head -c 3000000 /dev/zero | tr '\0' "$n" | jq -Rc '{event_type:"Big",data:{text:.}}'
    done | esdb-append -q --atomic big
    events 3000 a | esdb-append -q --batch 40
    esdb-read --all >want
    esdb-scavenge --compress -q
    [ "$(packed_count)" -ge 1 ]
    esdb-read --all | cmp - want
    esdb-read big | cmp - <(head -n 3 want)
    esdb-read -r --all | tac | cmp - want
    esdb-verify
}

@test "scavenging, truncating and erasing in compressed segments: they stay compressed, and the bytes are gone" {
    printf '{"event_type":"T","event_id":"leak","data":{"word":"jellyfish"}}\n' | esdb-append -q a-1
    compressed
    python3 "$REPO/tests/lib/content.py" store | grep -q jellyfish
    local n
    n=$(packed_count)
    esdb-scavenge -q --erase leak
    [ "$(packed_count)" -ge "$n" ]
    run grep -c jellyfish <(python3 "$REPO/tests/lib/content.py" store)
    assert_output 0
    esdb-scavenge -q --no-require-snapshot --keep 10 a-2
    [ "$(packed_count)" -ge "$n" ]
    assert_equal "$(esdb-read a-2 --count)" 10
    esdb-read a-3 | cmp - <(grep '"a-3"' want)
    esdb-read a-1 | cmp - <(grep '"a-1"' want | grep -v jellyfish)
    esdb-verify
    python3 -B "$REPO/tests/decoder/esdb_decode.py" store | python3 -B "$REPO/tests/decoder/esdb_visible.py" |
        cmp - <(esdb-read --all --system)
}

@test "backup, restore, a tar stream, point in time: from and to compressed segments" {
    compressed
    esdb-backup -q backup
    [ "$(packed_count backup)" -eq "$(packed_count)" ]
    esdb-backup --verify backup
    cp -R plain other && esdb-backup -q -S other grown # compressed since: taken again
    esdb-scavenge -q -S other --compress
    esdb-backup -q -S other grown
    [ "$(packed_count grown)" -ge 3 ]
    esdb-backup --verify grown
    esdb-read -S grown --all --system | cmp - want
    esdb-backup restore -q backup restored
    esdb-read -S restored --all --system | cmp - want
    esdb-backup restore -q --to pos:1000 backup early
    esdb-read -S early --all --system | cmp - <(head -n 1001 want)
    esdb-verify -S early -q
    mkdir tar && esdb-backup -o - | tar x -C tar
    esdb-read -S tar/* --all --system | cmp - want
    esdb-verify tar/* -q
}

@test "diff: compressed and plain are the same, segment by segment" {
    compressed
    run esdb-diff --json store plain
    assert_success
    [ "$(jq .same_segments <<<"$output")" -ge 3 ]
}

@test "a copy of closed segments alone: it is read, and a writer goes on behind them" {
    compressed
    local last
    last=$(find store/log -name '*.log' | sort | tail -n 1)
    mkdir -p copy/log
    cp store/store.yaml copy
    cp store/log/*.log copy/log
    rm "copy/log/${last##*/}"
    esdb-read -S copy --all --system >some
    head -n "$(lines_of some)" want | cmp - some
    [ "$(lines_of some)" -gt 1000 ]
    sha256sum copy/log/*.log >sums
    events 3 z | esdb-append -q -S copy
    sha256sum -c --quiet sums
    assert_equal "$(esdb-read -S copy z --count)" 3
    esdb-verify -q copy
}

@test "readers and named tails that run through a compression miss nothing and see no error" {
    filled
    # shellcheck disable=SC2094 # the reader is slower than what is done to the files
    { esdb-read --all --system 2>read.err | (sleep 0.5 && cat) >seen; } &
    local reader=$!
    timeout 30 esdb-tail --name mail --all --from start >tailed 2>tail.err &
    tail_pid=$!
    for n in 1 2 3 4; do
        events 600 "b-$n" | esdb-append -q --batch 20
        esdb-scavenge --compress -q
        esdb-read --all >/dev/null 2>>read.err
    done
    wait "$reader"
    cmp <(head -n "$(lines_of want)" seen) want
    arrived() { [ "$(lines_of tailed)" -ge 6900 ]; }
    wait_for 20 arrived
    kill "$tail_pid"
    wait "$tail_pid" 2>/dev/null || true
    tail_pid=
    cmp tailed <(esdb-read --all)
    assert_equal "$(cat read.err tail.err)" ''
    [ "$(packed_count)" -ge 5 ]
}

@test "damage: the block and what lies in it are named, the rest is read; --rebuild leaves it as it is" {
    compressed
    local file at
    file=$(largest_packed)
    esdb-dump --json "$file" >dump
    at=$(jq -s '[.[] | select(.what == "block")][2].offset + 100' dump)
    printf '\xff\xff' | dd of="$file" bs=1 seek="$at" conv=notrunc 2>/dev/null
    run esdb-verify
    assert_equal "$status" 5
    assert_line --regexp "damage: log/0*1.log: $((at - 100)): compressed block 2, [0-9]+ bytes: its checksum is wrong; offsets 65536 to 98303 of the segment are lost"
    run_split esdb-read --all --system
    assert_equal "$status" 5
    [ "$(lines_of <<<"$output")" -gt 4000 ]
    grep -vxF -f want <<<"$output" && fail 'an event that was never there'
    sha256sum "$file" >sums
    run esdb-verify --rebuild
    sha256sum -c --quiet sums
    run esdb-scavenge --compress --no-require-snapshot --keep 1 a-1
    assert_equal "$status" 5
    sha256sum -c --quiet sums
    run esdb-dump "$file"
    assert_equal "$status" 5
    assert_output --partial 'block 2: its checksum is wrong'
}

@test "flipped bits anywhere in a compressed file are found, and no wrong event is shown" {
    compressed
    local file at size step
    file=$(largest_packed)
    size=$(stat -c %s "$file")
    cp "$file" good
    step=$((size / 40))
    for ((at = 0; at < size; at += step)); do
        cp good "$file"
        printf "\\x$(printf %x $(($(od -An -tu1 -j$at -N1 good) ^ 4)))" | dd of="$file" bs=1 seek="$at" conv=notrunc 2>/dev/null
        run esdb-verify -q
        [ "$status" -eq 5 ] || [ "$status" -eq 2 ] || fail "at $at: $status"
        esdb-read --all --system >seen 2>/dev/null || true
        if grep -vxqF -f want seen; then fail "at $at: an event that was never there"; fi
    done
}

@test "a bomb: a table that claims a gigabyte costs little" {
    compressed
    python3 -B - "$(largest_packed)" <<'PY'
import struct, sys
sys.path.insert(0, __import__("os").environ["REPO"] + "/tests/decoder")
from esdb_checksum import checksum
b = bytearray(open(sys.argv[1], "rb").read())
b[104:108] = struct.pack("<I", 1 << 30)
b[120:128] = struct.pack("<Q", checksum(bytes(b[:120])))
open(sys.argv[1], "wb").write(b)
PY
    is_variant || ulimit -v 2500000
    run esdb-verify -q
    assert_equal "$status" 5
    run bash -c 'esdb-read --all >/dev/null'
    assert_equal "$status" 5
}

@test "mistaken options" {
    run_split esdb-scavenge --compress --dry-run
    assert_failure 2
    assert_regex "$stderr" '--compress: nothing is changed anyway; give it with --apply'
    run_split esdb-scavenge --compress --no-compact
    assert_failure 2
    assert_regex "$stderr" '--compress, --decompress and --no-compact exclude each other'
}

@test "dump explains blocks and frames, and --bytes every byte of the file" {
    compressed
    local file
    file=$(largest_packed)
    run esdb-dump "$file"
    assert_success
    assert_output --regexp 'block +block=0 content=128..32767 checksum=ok stored=zstd'
    esdb-dump --json "$file" | jq -e 'select(.what == "end") | .events > 0' >/dev/null
    esdb-dump --json --events "$file" | jq -c 'select(.what == "event") | .position' >positions
    cmp positions <(seq 0 "$(($(lines_of positions) - 1))")
    esdb-dump --bytes .. "$file" | grep -E '^[0-9a-f]{8}' | cut -d' ' -f1 >offsets
    sort -c offsets
    esdb-dump --bytes 104..119 "$file" | grep -q content_size
}
