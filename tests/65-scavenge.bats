#!/usr/bin/env bats
# esdb-scavenge: which events go, what holds them back, what is left of them on the disk.
load lib/load

setup() {
    esdb_setup
    new_store store --segment-size 64K
}

versions() {
    esdb-read "$@" | jq -r .version | tr '\n' ' '
}

# scavenge ARGUMENT…: without the need of a snapshot
scavenge() {
    esdb-scavenge --no-require-snapshot -q "$@"
}

# fill N STREAM…: N events of each stream, each of some 300 bytes, mixed in frames of 50.
fill() {
    local n=$1 i s
    shift
    for ((i = 0; i < n; i++)); do
        for s in "$@"; do
            printf '{"stream_id":"%s","event_type":"Noted","data":{"n":%d,"pad":"%s"}}\n' "$s" "$i" \
                "$(printf '%*s' 200 '' | tr ' ' "$((i % 10))")"
        done
    done | esdb-append -q --batch 50
}

# The second decoder reads the same events that the tools do, and finds nothing wrong.
decoded() {
    python3 "$REPO/tests/decoder/esdb_decode.py" store >decoded.raw || return 1
    python3 "$REPO/tests/decoder/esdb_visible.py" <decoded.raw >decoded || return 1
    esdb-read --all --system >seen
    cmp decoded seen
    esdb-read --all --system -r | tac | cmp - seen
    esdb-verify >verified
    run grep -v '^ok' verified
    assert_equal "$output" ''
}

# everything that there is, by any name
bytes_of() {
    cat store/log/* store/tables/* store/head 2>/dev/null
}

# system: appends system events from stdin
system() {
    jq -c '. + {epoch_us: (now * 1000000 | floor)}' | esdb-append -q --preserve --system
}

# ---- the rules ----

@test "--before T removes what is strictly older than T" {
    for t in 1000 2000 2000 3000; do
        printf '{"stream_id":"a","event_type":"x","epoch_us":%d,"data":1}\n' $((t * 1000000))
    done | esdb-append -q --preserve
    scavenge --before @2000 a
    assert_equal "$(versions a)" '1 2 3 '
    scavenge --before @2001 a
    assert_equal "$(versions a)" '3 '
    scavenge --before @3000 a
    assert_equal "$(versions a)" '3 '
}

@test "--before-version N removes 0 to N - 1" {
    events 6 a | esdb-append -q
    scavenge --before-version 4 a
    assert_equal "$(versions a)" '4 5 '
    scavenge --before-version 4 a
    assert_equal "$(versions a)" '4 5 '
    scavenge --before-version 0 a
    assert_equal "$(versions a)" '4 5 '
}

@test "--keep K alone keeps the last K" {
    events 6 a | esdb-append -q
    events 2 b | esdb-append -q
    scavenge --keep 3 --all
    assert_equal "$(versions a)" '3 4 5 '
    assert_equal "$(versions b)" '0 1 '
    scavenge --keep 0 b
    assert_equal "$(versions b)" ''
}

@test "combined, the stricter protection wins" {
    events 10 a | esdb-append -q
    scavenge --keep 3 --before-version 2 a
    assert_equal "$(versions a)" '2 3 4 5 6 7 8 9 '
    scavenge --keep 3 --before-version 9 a
    assert_equal "$(versions a)" '7 8 9 '
    scavenge --keep 1 --before 2000-01-01 a
    assert_equal "$(versions a)" '7 8 9 '
}

@test "past the end everything goes, and the stream keeps its version" {
    fill 20 a b
    cp -r store before
    scavenge --before-version 1000 a
    assert_equal "$(versions a)" ''
    assert_equal "$(esdb-stream version a)" 19
    assert_equal "$(esdb-stream info a | jq -c '[.count,.first_version,.last_version]')" '[0,20,19]'
    run esdb-stream exists a
    assert_success
    assert_equal "$(esdb-stream version --at "@$(($(esdb-read -r -n 1 b | jq .epoch_us) / 1000000 + 1))" a)" 19
    run esdb-append -e 18 a <<<'{"event_type":"x","data":1}'
    assert_failure 3
    esdb-append -q -e 19 a <<<'{"event_type":"x","data":1}'
    assert_equal "$(versions a)" '20 '
    esdb-scavenge -q # the place that kept the version is not needed any more
    assert_equal "$(versions a)" '20 '
    assert_equal "$(esdb-stream version a)" 20
    esdb-append -q -e 20 a <<<'{"event_type":"x","data":1}'
    assert_equal "$(versions a b | wc -w)" 22
    decoded
}

@test "a snapshot unlocks only what it covers, and without one nothing goes" {
    events 10 a | esdb-append -q
    run_split esdb-scavenge --keep 1 a
    assert_success
    assert_equal "$(jq -c '[.count,.held,.held_by]' <<<"${lines[0]}")" '[0,9,"snapshot"]'
    assert_equal "$(versions a)" '0 1 2 3 4 5 6 7 8 9 '
    printf '%s\n' '{"stream_id":"$snapshot:a","event_type":"$snapshot-saved","data":{"total":1},"metadata":{"latest":5,"version":5}}' |
        system
    esdb-scavenge -q --keep 1 a
    assert_equal "$(versions a)" '6 7 8 9 '
    esdb-scavenge -q --keep 3 a
    assert_equal "$(versions a)" '6 7 8 9 '
    esdb-scavenge -q --keep 3 --no-require-snapshot a
    assert_equal "$(versions a)" '7 8 9 '
}

@test "what a subscription has not processed yet stays, unless --ignore-subscriptions" {
    events 10 a | esdb-append -q
    events 10 b | esdb-append -q
    printf '%s\n' '{"stream_id":"$sub:mail","event_type":"$sub-created","data":{"position":0,"epoch":0,"record":0,"holder":null,"counts":{},"selector":{"streams":["a*"]},"start":0,"created_us":1}}' \
        '{"stream_id":"$sub:mail","event_type":"$sub-checkpoint","data":{"position":4,"epoch":1,"record":0,"holder":null,"counts":{}}}' |
        system
    run_split scavenge --keep 1 --all
    assert_failure 9
    assert_equal "$stderr" 'esdb-scavenge: a: keeps events that the subscription mail has not processed yet (--ignore-subscriptions)'
    assert_equal "$(versions a)" '4 5 6 7 8 9 '
    assert_equal "$(versions b)" '9 '
    scavenge --keep 1 --all --ignore-subscriptions
    assert_equal "$(versions a)" '9 '
}

@test "a removed subscription holds nothing; one in parts holds by the part that is behind" {
    events 10 a | esdb-append -q
    printf '%s\n' '{"stream_id":"$sub:m","event_type":"$sub-created","data":{"position":0,"epoch":0,"record":0,"selector":{"all":true},"start":2,"partitions":1,"created_us":1}}' |
        system
    run scavenge --keep 1 a
    assert_failure 9
    assert_equal "$(versions a)" '2 3 4 5 6 7 8 9 '
    printf '%s\n' '{"stream_id":"$subpart:1/1:m","event_type":"$sub-checkpoint","data":{"position":5,"epoch":1,"record":0}}' |
        system
    run scavenge --keep 1 a
    assert_equal "$(versions a)" '5 6 7 8 9 '
    printf '%s\n' '{"stream_id":"$sub:m","event_type":"$sub-removed","data":{"position":0,"epoch":1,"record":0}}' |
        system
    scavenge --keep 1 a
    assert_equal "$(versions a)" '9 '
}

@test "running the same scavenge twice changes nothing the second time" {
    fill 100 a b c
    scavenge --keep 7 a b
    (cd store && find . -type f ! -name head -exec sha256sum {} +) | sort >once
    run_split esdb-scavenge --no-require-snapshot --keep 7 a b
    assert_success
    assert_equal "$output" '{"segments":0,"events":0,"bytes":0,"left":0,"compressed":0,"decompressed":0}'
    (cd store && find . -type f ! -name head -exec sha256sum {} +) | sort | cmp - once
}

@test "--dry-run and --plan change nothing; the plan does what it says, once" {
    fill 60 a b
    cp -r store before
    esdb-scavenge -n --no-require-snapshot --keep 10 'a*' >dry
    assert_equal "$(jq -c '[.stream_id,.from,.to,.count]' dry)" '["a",0,49,50]'
    [ "$(jq .bytes dry)" -gt 10000 ]
    esdb-scavenge --plan --no-require-snapshot --keep 10 --all >plan.json
    diff -r store before
    assert_equal "$(jq -c '[.cuts[]|[.stream_id,.from,.to]]' plan.json)" '[["a",0,49],["b",0,49]]'
    events 5 a | esdb-append -q
    esdb-scavenge --apply plan.json >applied
    assert_equal "$(versions a | wc -w)" 15
    assert_equal "$(versions b | wc -w)" 10
    run_split esdb-scavenge --apply - <plan.json
    assert_equal "$output" '{"segments":0,"events":0,"bytes":0,"left":0,"compressed":0,"decompressed":0}'
    decoded
}

@test "plans that are none, or of another store, are refused" {
    events 5 a | esdb-append -q
    esdb-scavenge --plan --no-require-snapshot --keep 1 a >plan.json
    for bad in '' '{}' '[]' 'x' '{"store_id":"0","require_snapshot":true,"ignore_subscriptions":false,"cuts":[]}'; do
        run esdb-scavenge --apply - <<<"$bad"
        assert_failure 8
    done
    run esdb-scavenge --apply - <<<"$(jq -c '.cuts[0].stream_id="$meta:a"' plan.json)"
    assert_failure 8
    esdb-init -q other 2>/dev/null || esdb-init other >/dev/null
    run esdb-scavenge -S other --apply plan.json
    assert_failure 8
    assert_output --partial 'the plan is for another store'
    assert_equal "$(versions a)" '0 1 2 3 4 '
}

@test "standing policies: by name before patterns, the longer pattern first; either limit lets go" {
    events 10 a1 | esdb-append -q
    events 10 a2 | esdb-append -q
    events 10 b1 | esdb-append -q
    esdb-stream set --max-count 2 'a*'
    esdb-stream set --max-count 5 a2
    esdb-stream set --max-count 1 '*'
    assert_equal "$(esdb-stream set | jq -c '[.pattern,.max_count]' | tr '\n' ' ')" '["*",1] ["a*",2] ["a2",5] '
    scavenge
    assert_equal "$(versions a1)" '8 9 '
    assert_equal "$(versions a2)" '5 6 7 8 9 '
    assert_equal "$(versions b1)" '9 '
    esdb-stream set --max-count 0 'a*'
    esdb-stream set --max-age 1d --max-count 4 a2
    scavenge
    assert_equal "$(versions a1)" '9 '
    assert_equal "$(versions a2)" '6 7 8 9 '
}

@test "rules without streams, and options that exclude each other, are mistakes" {
    run esdb-scavenge --keep 1
    assert_failure 2
    run esdb-scavenge --keep 1 --all a
    assert_failure 2
    run esdb-scavenge --apply x --keep 1
    assert_failure 2
    run esdb-scavenge --erase x a
    assert_failure 2
    run esdb-scavenge --reason x
    assert_failure 2
}

# ---- on the disk ----

@test "frames of mixed streams shrink, positions stay, every way of reading agrees" {
    fill 300 a b c d
    esdb-read --all >all
    before=$(esdb-stat --json | jq .log_used)
    scavenge --keep 30 a b c
    jq -c 'select(.stream_id=="d" or .version>=270)' all >want
    esdb-read --all | cmp - want
    [ "$(esdb-stat --json | jq .log_used)" -lt $((before / 2)) ]
    for s in a b c d; do
        esdb-read $s | cmp - <(jq -c "select(.stream_id==\"$s\")" want)
        esdb-read -r $s | tac | cmp - <(jq -c "select(.stream_id==\"$s\")" want)
    done
    esdb-read --all --type Noted | cmp - want
    esdb-read --all --from 500 | cmp - <(jq -c 'select(.position>=500)' want)
    esdb-read --all --from 500 --to 900 -r | tac | cmp - <(jq -c 'select(.position>=500 and .position<=900)' want)
    us=$(sed -n 200p want | jq .epoch_us)
    assert_equal "$(esdb-read --all --since "@${us:0:-6}.${us: -6}" | head -n 1 | jq ".epoch_us >= $us")" true
    decoded
    rm -rf store/log/*.idx store/tables/* store/head
    esdb-read --all | cmp - want
    esdb-verify --rebuild >/dev/null
    decoded
}

@test "a hundred random cuts of twenty streams, each as a reader without compaction sees it" {
    for s in 1 2 3 4 5 6 7 8 9 10; do fill 20 "s$s" "t$s"; done
    RANDOM=7
    for ((i = 0; i < 25; i++)); do
        s=$((RANDOM % 10 + 1))
        n=$((RANDOM % 24))
        scavenge --before-version $n --no-compact "s$s" "t$((RANDOM % 10 + 1))"
        ((i % 5)) || fill 2 "s$s"
        esdb-read --all >want
        esdb-stream list >list
        esdb-scavenge -q
        esdb-read --all | cmp - want
        esdb-stream list | cmp - list
    done
    decoded
}

@test "an erased event is gone from every file, its neighbours are not" {
    fill 40 a b
    printf '{"stream_id":"a","event_type":"Leaked","event_id":"leak-77","data":{"x":"jellyfish"},"metadata":{"tags":["squid"]}}\n' |
        esdb-append -q
    fill 40 a b
    esdb-scavenge --no-compact --erase leak-77 --reason 'asked for'
    run_split esdb-read --id leak-77
    assert_equal "$output" ''
    assert_equal "$(versions a | wc -w)" 80
    assert_equal "$(esdb-read --all --count)" 160
    assert_equal "$(esdb-read --all --tag squid --count)" 0
    esdb-scavenge -q
    for word in jellyfish leak-77 squid Leaked; do
        run grep -c $word <(bytes_of)
        assert_output 0
    done
    assert_equal "$(versions a | wc -w)" 80
    assert_equal "$(esdb-read --all -r --count)" 160
    assert_equal "$(esdb-read --system '$meta:a' | jq -c .data)" \
        '{"deleted_before":0,"truncated_before":0,"erased":[[40,40]],"version":40,"reason":"asked for"}'
    assert_equal "$(esdb-stream version a)" 80
    decoded
    run esdb-scavenge --erase leak-77
    assert_failure 4
}

@test "a stream deleted for ever is gone with its name, which stays closed" {
    fill 40 a walrus
    printf '%s\n' '{"stream_id":"$snapshot:walrus","event_type":"$snapshot-saved","data":{},"metadata":{"latest":5}}' |
        system
    esdb-stream truncate --before 3 walrus
    esdb-stream delete --hard --confirm walrus walrus
    esdb-scavenge -q
    run grep -c walrus <(bytes_of)
    assert_output 0
    run_split esdb-append walrus <<<'{"event_type":"x","data":1}'
    assert_message 3 'esdb-append: walrus: was closed for ever; nothing can be appended to it'
    run esdb-append -e no-stream walrus <<<'{"event_type":"x","data":1}'
    assert_failure 3
    run esdb-stream exists walrus
    assert_failure 4
    run_split esdb-scavenge
    assert_equal "$output" '{"segments":0,"events":0,"bytes":0,"left":0,"compressed":0,"decompressed":0}'
    assert_equal "$(versions a | wc -w)" 40
    decoded
    esdb-append -q walru <<<'{"event_type":"x","data":1}'
}

@test "no hash or checksum is left, in any file, that could confirm a guess of what was erased" {
    cat >guess.py <<'PYTHON'
import os, sys
sys.path.insert(0, sys.argv[1])
import esdb_decode as d
# What one may guess: ids, types, tags, names, the data, and each as index keys are made. Numbers as indexes keep them.
guesses = sys.argv[2:]
found = set()
for folder, _, names in os.walk('store'):
    for name in names:
        with open(os.path.join(folder, name), 'rb') as f:
            bytes_ = f.read()
        for g in guesses:
            h = d.checksum(g.encode())
            for form in (g.encode(), h.to_bytes(8, 'little'), h.to_bytes(8, 'big'), b'%016x' % h,
                         (h >> 32).to_bytes(4, 'little') + (h & 0xffffffff).to_bytes(4, 'little')):
                if form in bytes_:
                    found.add((os.path.splitext(name)[1] or name, g))
for f in sorted(found):
    print(*f)
PYTHON
    guesses() {
        PYTHONDONTWRITEBYTECODE=1 python3 guess.py "$REPO/tests/decoder" leak-77 Leaked squid '{"x":"jellyfish"}' jellyfish \
            walrus '$meta:walrus' '$snapshot:walrus'
    }
    fill 40 a walrus
    printf '{"stream_id":"a","event_type":"Leaked","event_id":"leak-77","data":{"x":"jellyfish"},"metadata":{"tags":["squid"],"correlation_id":"leak-77"}}\n' |
        esdb-append -q
    printf '%s\n' '{"stream_id":"$snapshot:walrus","event_type":"$snapshot-saved","data":{},"metadata":{"latest":5}}' | system
    fill 400 a b
    guesses >before
    [ "$(wc -l <before)" -ge 8 ] # it finds them while they are there
    esdb-scavenge -q --erase leak-77
    esdb-stream delete --hard --confirm walrus walrus
    esdb-scavenge -q
    esdb-verify >verified
    # a hash of the closed name is what refuses events for it: appending to it would tell as much
    assert_equal "$(guesses | grep -v ' walrus$')" ''
    guesses | awk '{ print $2 }' | sort -u | cmp - <(echo walrus)
    esdb-verify --rebuild >verified
    assert_equal "$(guesses | grep -v ' walrus$')" ''
}

@test "a deleted stream can be undeleted after a scavenge" {
    fill 40 a b
    esdb-stream delete a
    scavenge --keep 1 --all
    assert_equal "$(versions b)" '39 '
    esdb-stream undelete a
    assert_equal "$(versions a | wc -w)" 40
}

@test "readers and tails that run through a compaction miss nothing and see no error" {
    fill 200 a b
    esdb-tail --all -n 0 >tailed 2>tail.err &
    tail=$!
    esdb-tail --all --from 0 >whole 2>whole.err &
    whole=$!
    for ((i = 0; i < 30; i++)); do
        fill 3 a b c
        scavenge --keep 20 a b
        esdb-read --all >/dev/null 2>>read.err
    done
    end() { [ "$(wc -l <tailed)" -ge 270 ]; }
    wait_for 20 end
    sleep 0.3
    kill $tail $whole
    wait || true
    assert_equal "$(cat tail.err whole.err read.err)" ''
    assert_equal "$(wc -l <tailed)" 270
    jq -r .position whole | sort -n -c -u
    assert_equal "$(tail -n 1 whole | jq .stream_id)" '"c"'
    assert_equal "$(jq -r 'select(.stream_id=="c")|.version' whole | wc -l)" 90
    decoded
}

@test "a segment that is damaged stays as it is, and is named" {
    fill 300 a b
    first=$(find store/log -name '*.log' | sort | head -n 1)
    chmod u+w "$first"
    printf 'XX' | dd of="$first" bs=1 seek=3000 conv=notrunc status=none
    run_split scavenge --keep 1 a
    assert_failure 5
    echo "$stderr"
    [[ $stderr == *"${first#store/}"* ]]
    esdb-read b --count 2>/dev/null || true
    run esdb-verify
    assert_failure 5
}

@test "a store with a full disk can still be scavenged; what there is no room to rewrite stays as it was" {
    [ "$(id -u)" -eq 0 ] || skip 'mounts'
    mkdir small
    mount -t tmpfs -o size=1400k none small || skip 'mounts'
    esdb-init --segment-size 64K small/store >/dev/null
    export ESDB_STORE=$PWD/small/store
    fill 500 a b 2>/dev/null || true
    for ((i = 0; i < 2000; i++)); do
        fill 20 a b 2>/dev/null || break
    done
    run esdb-append -q a <<<"{\"event_type\":\"x\",\"data\":\"$(head -c 60000 /dev/zero | tr '\0' x)\"}"
    left=$(esdb-read --all --count)
    run esdb-scavenge --no-require-snapshot -q --keep 5 a b
    status1=$status output1=$output
    run esdb-verify
    ok=$status
    count=$(esdb-read --all --count)
    run esdb-append -q a <<<'{"event_type":"x","data":1}'
    again=$status
    umount small
    echo "$status1 $output1 $left $count"
    assert_equal "$ok" 0
    assert_equal "$count" 10
    assert_equal "$again" 0
}
