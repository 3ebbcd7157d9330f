#!/usr/bin/env bats
# esdb-archive, esdb-scavenge --archive, esdb-read --with-archive: what leaves the log is kept, can be read and put back.
load lib/load

setup() {
    esdb_setup
    new_store store --segment-size 64K
}

versions() {
    jq -r .version | tr '\n' ' '
}

# scavenge ARGUMENT…: into archives, without the need of a snapshot
scavenge() {
    esdb-scavenge --archive --no-require-snapshot -q "$@"
}

# roll_all: what was cut is removed from the log
roll_all() {
    for i in 1 2 3 4 5 6; do printf '{"stream_id":"filler","event_type":"x","data":"%012000d"}\n' 0; done | esdb-append -q
    esdb-scavenge -q
}

keys() {
    esdb-archive list "$@" | jq -r .key
}

# nothing_half: no temporary file is left, every archive is whole
nothing_half() {
    [ -z "$(find store/archive -name '.*' 2>/dev/null)" ]
    esdb-archive verify -q
}

# ---- writing ----

@test "what is cut is in an archive, named by the versions that it really holds" {
    events 10 orders-1 | esdb-append -q
    esdb-read orders-1 --versions 0..5 >going
    scavenge --before-version 6 orders-1
    assert_equal "$(keys)" orders-1/0-5.archive
    esdb-archive read orders-1 | cmp - going
    assert_equal "$(esdb-read orders-1 | versions)" '6 7 8 9 '
    # the next one goes on where that one ended; past the end: what there is
    scavenge --before-version 1000 orders-1
    assert_equal "$(keys | tr '\n' ' ')" 'orders-1/0-5.archive orders-1/6-9.archive '
    nothing_half
    # nothing is left to go: nothing is written
    scavenge --before-version 1000 orders-1
    assert_equal "$(keys | lines_of)" 2
}

@test "archives are written after all checks, and never in a dry run" {
    events 10 a | esdb-append -q
    esdb-scavenge --archive --keep 2 a >/dev/null 2>&1 # no snapshot covers it
    assert_not_exists store/archive
    run -2 esdb-scavenge --archive --dry-run --no-require-snapshot --keep 2 a
    run -2 esdb-scavenge --archive --plan --no-require-snapshot --keep 2 a
    assert_not_exists store/archive
    esdb-scavenge --plan --no-require-snapshot --keep 2 a >plan
    esdb-scavenge --apply plan --archive -q
    assert_equal "$(keys)" a/0-7.archive
}

@test "what cannot be archived is not cut" {
    events 10 a | esdb-append -q
    : >file
    run_split esdb-scavenge --archive=file --no-require-snapshot -q --keep 2 a
    assert_message 1 'esdb-scavenge: file: Not a directory'
    run_split esdb-scavenge --archive=exec:false --no-require-snapshot -q --keep 2 a
    assert_failure
    run_split esdb-scavenge --archive=s3://bucket --no-require-snapshot -q --keep 2 a
    assert_message 2 'esdb-scavenge: s3://bucket: archives are in a folder, or kept by a command that knows such places, as rclone does: exec:CMD'
    # a command that keeps something else than it was given
    run -5 esdb-scavenge --archive='exec:keep() { case $1 in get) echo nonsense;; exists) exit 4;; esac; }; keep' \
        --no-require-snapshot -q --keep 2 a
    assert_output --partial 'cannot be read back'
    assert_equal "$(esdb-read a --count)" 10
}

@test "the folders of a store are no place for archives" {
    events 6 log | esdb-append -q
    esdb-backup -q bk
    mkdir -p store/tables
    for place in store store/log store/tables bk "file:$PWD/store/log"; do
        run_split esdb-scavenge --archive="$place" --no-require-snapshot --before-version 3 log
        assert_message 2 "esdb-scavenge: ${place#file:}: holds the files of a store, and no archives"
    done
    assert_equal "$(esdb-read log --count)" 6
    esdb-scavenge -q --archive=store/archive --no-require-snapshot --before-version 3 log
    assert_equal "$(keys)" log/0-2.archive
}

@test "whoever scavenges while another process changes the archives waits, then is told" {
    events 6 a | esdb-append -q
    scavenge --before-version 1 a
    flock store/archive sleep 1 &
    sleep 0.2
    scavenge --before-version 2 a # waits
    wait
    flock store/archive sleep 20 3>&- &
    holder=$!
    sleep 0.2
    for try in "--before-version 3 a" "--erase $(esdb-read a --limit 1 | jq -r .event_id)"; do
        run_split esdb-scavenge --archive --no-require-snapshot -q $try
        assert_message 6 "esdb-scavenge: $PWD/store/archive: another process is changing these archives"
    done
    kill "$holder"
    wait "$holder" || true
    assert_equal "$(esdb-read a | versions)" '2 3 4 5 '
}

@test "the same key with other events is left as it is" {
    events 3 a | esdb-append -q
    esdb-init -q other 2>/dev/null || esdb-init other >/dev/null
    events 3 a 7 | esdb-append -q -S other
    scavenge --keep 1 a
    run_split esdb-scavenge -S other --archive=store/archive --no-require-snapshot -q --keep 1 a
    assert_message 3 'esdb-scavenge: store/archive/a/0-1.archive: is there already, with other events'
    assert_equal "$(esdb-read -S other a --count)" 3
    esdb-archive verify -q
}

@test "tar, zstdcat and jq read archives; the hash is that of xxh128sum" {
    events 10 'a/b é' | esdb-append -q
    esdb-read 'a/b é' >all
    scavenge --before-version 10 --literal 'a/b é'
    f=store/archive/a%2Fb%20%C3%A9/0-9.archive
    assert_equal "$(tar tf "$f" | tr '\n' ' ')" 'manifest.json events.jsonl '
    tar xOf "$f" events.jsonl | cmp - all
    assert_equal "$(zstdcat "$f" | tar xO events.jsonl | jq -s 'map(.data.n) | add')" 45
    assert_equal "$(tar xOf "$f" manifest.json | jq -r '.files[0].xxh128')" "$(xxh128sum <all | cut -d ' ' -f 1)"
    assert_equal "$(tar xOf "$f" manifest.json | jq -c '[.stream_id, .from, .to, .count]')" '["a/b é",0,9,10]'
}

@test "names are encoded reversibly" {
    long=$(printf 'ü%.0s' {1..120})
    for name in 'a/b' '../up' '.' '..' '/' 'a b' '%2F' '~' 'x~' "$long" 'A-b_c.9' '0-9.archive' "it's \"so\""; do
        n=$(jq -n --arg s "$name" '{stream_id: $s, event_type: "T", data: 1}')
        esdb-append -q <<<"$n$n"
        scavenge --literal --before-version 2 "$name"
        key=$(keys --literal "$name")
        [[ $key =~ ^[A-Za-z0-9._%~/-]+/0-1\.archive$ ]]
        assert_equal "$(esdb-archive parse-key "$key" | jq -r .stream_id)" "$name"
        assert_equal "$(esdb-archive read --literal "$name" --count)" 2
    done
    assert_equal "$(keys | lines_of)" 13
    assert_equal "$(find store/archive -name '*.archive' -type f | lines_of)" 13
    esdb-archive verify -q
}

@test "what is no key is none" {
    for key in a a/1 a/0-9 a/0-9.archive/ /0-9.archive a/9-0.archive a/01-2.archive ../0-9.archive a/../0-9.archive \
        a%2f/0-9.archive a%41/0-9.archive a~/0-9.archive a~/b/0-9.archive a//0-9.archive %00/0-9.archive \
        %FF/0-9.archive a/0-18446744073709551616.archive ./a/0-9.archive .a/0-9.archive 'a b/0-9.archive'; do
        run -8 esdb-archive parse-key "$key"
        run -8 esdb-archive exists "$key"
        run -8 esdb-archive delete "$key"
        run -8 esdb-archive restore "$key"
    done
}

# ---- reading ----

@test "archived and remaining events are read as one, by all filters" {
    for s in a b c; do events 10 $s; done | sort -t: -k4 | esdb-append -q
    esdb-read --all >all
    scavenge --keep 4 --all
    esdb-read --all --with-archive | cmp - all
    esdb-read --all --with-archive -r | tac | cmp - all
    esdb-read a b --with-archive -n 7 | cmp - <(grep -v '"stream_id":"c"' all | head -n 7)
    while IFS=$'\t' read -r want option value; do
        jq -c "select($want)" all >wanted
        esdb-read --all --with-archive "$option" "$value" | jq -c . | cmp - wanted
        jq -c 'select(.version < 6)' wanted >archived
        esdb-archive read --all "$option" "$value" | jq -c . | cmp - archived
    done <<'FILTERS'
.event_type == "Odd"	--type	Odd
.data.n > 3	--match	{"data":{"n":{"$gt":3}}}
.data.n % 2 == 1	--select	.data.n % 2 == 1
.data.n > 7	--select	[.data.n] | max > 7
.version >= 2 and .version <= 7	--versions	2..7
.position >= 9	--from	9
.position <= 20	--to	20
FILTERS
    assert_equal "$(esdb-archive read a --count)" 6
    assert_equal "$(esdb-read --all --with-archive --count)" 30
    run -4 esdb-archive read nobody --exit-status
    # archives that overlap: each event once
    cp store/archive/a/0-5.archive kept
    esdb-archive delete a/0-5.archive
    run -0 esdb-read a --with-archive --count
    assert_output 4
}

@test "--as-of with archives: what was archived is not missing, what is in none is" {
    events 10 a | esdb-append -q
    events 10 b | esdb-append -q
    esdb-read --all --to 14 >past
    scavenge --before-version 4 --all
    scavenge --before-version 9 --all
    roll_all
    run -9 esdb-read --all --as-of pos:14 --count
    esdb-read --all --as-of pos:14 --with-archive | cmp - past
    esdb-read a --as-of pos:5 --with-archive | cmp - <(head -n 6 past)
    esdb-archive delete a/4-8.archive
    run_split esdb-read --all --as-of pos:14 --with-archive
    assert_failure 9
    assert_equal "$stderr" 'esdb-read: --as-of: a: events of then were removed since'
    esdb-read b --as-of pos:14 --with-archive | cmp - <(grep '"stream_id":"b"' past)
}

@test "binary data, no data, metadata, escapes: an event comes back as it was" {
    printf '%s\n' '{"event_type":"T \"q\" \\ \u00e9","data":{"a":[1.50,1e400,"\ud800"],"b":null}}' '{"event_type":"N"}' \
        '{"event_type":"B","data_base64":"AP8B","data_content_type":"image/png"}' '{"event_type":"E","data_base64":""}' \
        '{"event_type":"M","data":"","metadata":{"k":"\u0000"},"metadata_content_type":"x/y"}' | esdb-append -q a
    esdb-read a >all
    scavenge --before-version 5 a
    esdb-archive read a | cmp - all
    esdb-init copy >/dev/null
    esdb-archive restore -q -S copy --archive store/archive a/0-4.archive
    esdb-read -S copy a | cmp - all
}

# ---- restoring ----

@test "restoring keeps versions, ids and times; the same again changes nothing" {
    events 20 a | esdb-append -q
    esdb-read a >all
    scavenge --before-version 12 a
    scavenge --before-version 15 a
    esdb-init copy >/dev/null
    esdb-archive restore -q -S copy --archive store/archive a/0-11.archive a/12-14.archive
    esdb-read -S copy a | cmp - <(head -n 15 all)
    run -0 esdb-archive restore -S copy --archive store/archive --json a/0-11.archive
    assert_output '{"key":"a/0-11.archive","from":0,"to":11,"count":0}'
    echo '{"event_type":"T"}' | esdb-append -q -S copy --expect 14 a
    esdb-verify -q copy
}

@test "a stream that never was begins where the archive does" {
    events 20 a | esdb-append -q
    scavenge --before-version 12 a
    scavenge --before-version 15 a
    esdb-init copy >/dev/null
    esdb-archive restore -q -S copy --archive store/archive a/12-14.archive
    assert_equal "$(esdb-read -S copy a | versions)" '12 13 14 '
    assert_equal "$(esdb-stream info -S copy a | jq -c '[.first_version, .last_version, .count]')" '[12,14,3]'
    esdb-verify -q copy
    python3 "$REPO/tests/decoder/esdb_decode.py" copy >decoded 2>found
    assert_equal "$(cat found)" ''
    # what came before cannot follow it
    run_split esdb-archive restore -S copy --archive store/archive a/0-11.archive
    assert_message 3 'esdb-archive: a: version 0 is there already, hidden or with other content'
    # and the stream goes on
    echo '{"event_type":"T"}' | esdb-append -q -S copy --expect 14 a
    esdb-read -S copy a >before
    esdb-verify --rebuild -q copy
    esdb-read -S copy a | cmp - before
}

@test "where order does not hold, restoring is refused and changes nothing" {
    events 20 a | esdb-append -q
    scavenge --before-version 12 a
    esdb-read --all --system >before
    run_split esdb-archive restore a/0-11.archive
    assert_message 3 'esdb-archive: a: version 0 is there already, hidden or with other content'
    # newer events are there: times would go backwards
    events 1 b | esdb-append -q
    run_split esdb-archive restore --into a-before a/0-11.archive
    assert_equal "$status" 3
    [[ $stderr == *'--new-times'* ]]
    run -4 esdb-stream exists a-before
    esdb-archive restore -q --new-times --into a-before a/0-11.archive
    assert_equal "$(esdb-read a-before | versions)" '0 1 2 3 4 5 6 7 8 9 10 11 '
    # a gap between the stream's end and the archive's begin
    scavenge --before-version 15 a
    events 3 short | esdb-append -q
    run -3 esdb-archive restore --new-times --into short a/12-14.archive
    assert_output --partial 'ends at version 2, the archive begins at 12'
    esdb-stream delete --hard --confirm short short
    run -3 esdb-archive restore --new-times --into short a/0-11.archive
    run -2 esdb-archive restore --into '$meta:x' a/0-11.archive
    run -4 esdb-archive restore a/0-12.archive
}

@test "restoring goes on where it was interrupted" {
    for i in {0..2499}; do printf '{"event_type":"T","data":{"n":%d,"pad":"%0200d"}}\n' "$i" "$i"; done | esdb-append -q a
    esdb-read a >all
    scavenge --before-version 2500 a
    esdb-init copy >/dev/null
    head -n 1234 all | esdb-append -q -S copy --preserve
    run -0 esdb-archive restore -S copy --archive store/archive --json a/0-2499.archive
    assert_output '{"key":"a/0-2499.archive","from":0,"to":2499,"count":1266}'
    esdb-read -S copy a | cmp - all
}

# ---- places ----

# A command that keeps archives in a folder: an example for rclone, aws, scp.
keeper() {
    cat >keeper <<'SCRIPT'
#!/bin/sh
# keeper FOLDER put|get|list|delete|exists [KEY]
folder=$1 action=$2 key=${3:-}
case $action in
put) mkdir -p "$folder/$(dirname "$key")" && cat >"$folder/$key.part" && mv "$folder/$key.part" "$folder/$key" ;;
get) [ -e "$folder/$key" ] || exit 4; cat "$folder/$key" ;;
list) cd "$folder" 2>/dev/null && find . -type f ! -name '*.part' | sed 's|^\./||'; exit 0 ;;
delete) rm "$folder/$key" ;;
exists) [ -e "$folder/$key" ] || exit 4 ;;
*) exit 2 ;;
esac
SCRIPT
    chmod +x keeper
}

@test "a command can keep archives" {
    keeper
    events 10 'a b/c' | esdb-append -q
    esdb-read 'a b/c' >all
    where="exec:./keeper 'my folder'"
    esdb-scavenge --archive="$where" --no-require-snapshot -q --before-version 5 --literal 'a b/c'
    esdb-scavenge --archive="$where" --no-require-snapshot -q --before-version 7 --literal 'a b/c'
    assert_exists 'my folder/a%20b%2Fc/0-4.archive'
    assert_not_exists store/archive
    assert_equal "$(keys --archive "$where" | tr '\n' ' ')" 'a%20b%2Fc/0-4.archive a%20b%2Fc/5-6.archive '
    esdb-archive verify -q --archive "$where"
    esdb-read --with-archive="$where" 'a b/c' | cmp - all
    esdb-archive exists --archive "$where" a%20b%2Fc/0-4.archive
    run -4 esdb-archive exists --archive "$where" a%20b%2Fc/0-5.archive
    esdb-init copy >/dev/null
    keys --archive "$where" | xargs esdb-archive restore -q -S copy --archive "$where"
    esdb-read -S copy 'a b/c' | cmp - <(head -n 7 all)
    esdb-archive delete --archive "$where" a%20b%2Fc/0-4.archive
    run -4 esdb-archive exists --archive "$where" a%20b%2Fc/0-4.archive
    run -4 esdb-archive restore -S copy --archive "$where" a%20b%2Fc/0-4.archive
}

@test "file: URLs are folders of this host; other schemes are refused" {
    events 10 a | esdb-append -q
    esdb-read a >all
    mkdir 'my folder'
    file=file:
    where=$file//$PWD/my%20folder
    esdb-scavenge --archive="$where" --no-require-snapshot -q --keep 2 a
    assert_exists 'my folder/a/0-7.archive'
    assert_equal "$(keys --archive "FILE://localhost$PWD/my%20folder")" a/0-7.archive
    assert_equal "$(keys --archive "file:$PWD/my folder")" a/0-7.archive
    esdb-read --with-archive="$where" a | cmp - all
    # erasing knows the place as the folder that it is
    run_split esdb-scavenge -q --archive="$where" --erase "$(head -n 1 all | jq -r .event_id)"
    assert_message 0 ''
    for bad in "$file//other/x" file:x file: "$file//"; do
        run_split esdb-archive list --archive "$bad"
        assert_failure 2
        [[ $stderr == *"names no folder of this host"* ]]
    done
    for bad in "$file/a%2" "$file///a%zz" "$file/a%00b"; do
        run_split esdb-archive list --archive "$bad"
        assert_failure 2
        [[ $stderr == *'two hexadecimal digits'* ]]
    done
    for bad in s3://bucket https://host/x ssh://host/x; do
        run_split esdb-archive list --archive "$bad"
        assert_message 2 "esdb-archive: $bad: archives are in a folder, or kept by a command that knows such places, as rclone does: exec:CMD"
    done
}

@test "exists and delete; empty folders go" {
    events 4 x/y | esdb-append -q
    scavenge --keep 1 --literal x/y
    esdb-archive exists x%2Fy/0-2.archive
    run_split esdb-archive exists x%2Fy/0-3.archive
    assert_message 4 ''
    esdb-archive delete x%2Fy/0-2.archive
    run_split esdb-archive delete x%2Fy/0-2.archive
    assert_message 4 "esdb-archive: $PWD/store/archive/x%2Fy/0-2.archive: no such archive"
    assert_not_exists store/archive/x%2Fy
    run -0 esdb-archive list
    assert_output ''
    run -4 esdb-archive list --archive nowhere
}

# ---- erasing ----

@test "erasing takes an event out of archives too" {
    events 6 a | esdb-append -q
    printf '{"event_type":"T","event_id":"%s","data":"walrus"}\n' leak-1 leak-2 | esdb-append -q a
    events 3 a | esdb-append -q
    scavenge --before-version 8 a
    run -4 esdb-scavenge --erase nothing
    esdb-scavenge -q --erase leak-1 --reason 'he asked' --erase leak-2
    # named by what it holds now
    assert_equal "$(keys)" a/0-5.archive
    assert_equal "$(tar xOf store/archive/a/0-5.archive manifest.json | jq -c '[.erased[] | [.version, .reason]]')" \
        '[[6,"he asked"],[7,"he asked"]]'
    run grep -r walrus <(find store -name '*.archive' -exec zstdcat {} +)
    assert_failure
    assert_equal "$(esdb-read a --with-archive | versions)" '0 1 2 3 4 5 8 9 10 '
    nothing_half
    # all of an archive
    esdb-archive read a | jq -r .event_id | while read -r id; do esdb-scavenge -q --erase "$id" || exit 1; done
    assert_equal "$(keys)" ''
}

@test "an archive with a gap is restored with a gap" {
    events 10 a | esdb-append -q
    scavenge --before-version 8 a
    esdb-scavenge -q --erase "$(esdb-archive read a --versions 3 | jq -r .event_id)"
    esdb-scavenge -q --erase "$(esdb-archive read a --versions 4 | jq -r .event_id)"
    esdb-archive read a >left
    esdb-init copy >/dev/null
    esdb-archive restore -q -S copy --archive store/archive a/0-7.archive
    esdb-read -S copy a | jq -c 'del(.position)' | cmp - <(jq -c 'del(.position)' left)
    assert_equal "$(esdb-read -S copy a | versions)" '0 1 2 5 6 7 '
    esdb-verify -q copy
    run -0 esdb-archive restore --json -S copy --archive store/archive a/0-7.archive
    assert_output --partial '"count":0'
}

@test "what was erased since does not come back with an archive that was made before" {
    events 10 a | esdb-append -q
    esdb-read a >all
    cp -r store before
    scavenge -S before --archive="$PWD/away" --before-version 8 a # of the same store, made elsewhere
    esdb-archive restore -q --new-times --archive away --into early a/0-7.archive
    for v in 0 3 4 7; do
        esdb-scavenge -q --erase "$(jq -r "select(.version==$v)|.event_id" all)" --reason 'he asked'
    done
    esdb-archive read --archive away a | jq -r .version | tr '\n' ' ' >shown
    assert_equal "$(cat shown)" '1 2 5 6 '
    esdb-archive restore -q --new-times --archive away --into late a/0-7.archive
    assert_equal "$(esdb-read late | versions)" '1 2 5 6 '
    assert_equal "$(esdb-stream version late)" 7
    # where it was brought back before, it had the same ids
    assert_equal "$(esdb-read early | versions)" '1 2 5 6 '
    run -0 esdb-archive restore --json --new-times --archive away --into early a/0-7.archive
    assert_equal "$(esdb-read early | versions)" '1 2 5 6 '
    esdb-archive restore -q --archive away a/0-7.archive # all there, or erased
    assert_equal "$(esdb-read a | versions)" '1 2 5 6 8 9 '
    esdb-scavenge -q
    esdb-verify -q
    # nor does a stream that was closed for ever
    esdb-stream delete --hard --confirm a a
    for round in decided removed; do
        run -3 esdb-archive restore -q --new-times --archive away --into again a/0-7.archive
        assert_output --partial 'was closed for ever'
        assert_equal "$(esdb-archive read --archive away --literal a --count)" 0
        esdb-scavenge -q
    done
    # another store knows nothing of it
    esdb-init copy >/dev/null
    esdb-archive restore -q -S copy --archive away a/0-7.archive
    assert_equal "$(esdb-read -S copy a --count)" 8
}

@test "readers of archives see no error and miss nothing while events are erased from them" {
    events 40 a | esdb-append -q
    scavenge --before-version 30 a
    esdb-archive read a --versions 20..29 | jq -r .event_id >ids
    (while read -r id; do esdb-scavenge -q --no-compact --erase "$id"; done <ids; touch finished) 3>&- &
    while [ ! -e finished ]; do
        [ "$(esdb-read a --with-archive | jq -r 'select(.version<20 or .version>29)|.version' | wc -l)" = 30 ]
        esdb-archive read a --count >>counts
    done
    wait
    assert_equal "$(esdb-read a --with-archive --count)" 30
    [ "$(wc -l <counts)" -ge 3 ]
}

@test "what is erased while archives are restored does not come back" {
    events 12 a | esdb-append -q
    scavenge --before-version 12 a
    esdb-archive read a | jq -r .event_id >ids
    (for i in {1..60}; do
        [ ! -e finished ] || break
        esdb-archive restore -q --new-times --into "b$i" "$(keys | head -n 1)" 2>>errors
    done) 3>&- &
    while read -r id; do
        esdb-scavenge -q --no-compact --erase "$id"
        # at once, not just when the restore is through
        assert_equal "$(esdb-read --id "$id" --count)" 0
    done < <(head -n 8 ids)
    touch finished
    wait
    esdb-archive restore -q --new-times --into b "$(keys)"
    assert_equal "$(esdb-read b | versions)" '8 9 10 11 '
    assert_equal "$(esdb-read 'b*' | jq -r .event_id | sort -u | comm -12 - <(head -n 8 ids | sort))" ''
}

@test "what is erased from archives alone leaves a tombstone in the store, so that no copy of them brings it back" {
    events 10 a | esdb-append -q
    esdb-read a >all
    scavenge --before-version 6 a
    cp -r store/archive away
    esdb-backup -q bk
    id=$(jq -r 'select(.version==3)|.event_id' all)
    esdb-scavenge -q --erase "$id" --reason 'he asked'
    assert_equal "$(esdb-read --system '$meta:a' -r -n 1 | jq -c '[.event_type,.data.version,.data.reason,.data.erased]')" \
        '["$event-erased",3,"he asked",[[3,3]]]'
    run -4 esdb-scavenge -q --erase "$id" # it is gone
    # it outlives later truncations and erasures
    esdb-scavenge -q --erase "$(jq -r 'select(.version==7)|.event_id' all)"
    scavenge --before-version 9 a
    assert_equal "$(esdb-read --system '$meta:a' -r -n 1 | jq -c .data.erased)" '[[3,3],[7,7]]'
    assert_equal "$(esdb-archive read --archive away a | versions)" '0 1 2 4 5 '
    esdb-archive restore -q --new-times --archive away --into b a/0-5.archive
    assert_equal "$(esdb-read b | versions)" '0 1 2 4 5 '
    # also by a store that is restored from a backup of before
    esdb-backup restore -q --erasures store bk again
    esdb-archive restore -q -S again --new-times --archive away --into b a/0-5.archive
    assert_equal "$(esdb-read -S again b | versions)" '0 1 2 4 5 '
    esdb-verify -q
    esdb-verify -q -S again
}

@test "what was erased and then truncated does not come back with an older archive" {
    events 10 a | esdb-append -q
    esdb-read a >all
    cp -r store before
    scavenge -S before --archive="$PWD/away" --before-version 8 a
    esdb-scavenge -q --no-compact --erase "$(jq -r 'select(.version==3)|.event_id' all)"
    esdb-stream truncate --before 8 a
    esdb-stream delete a
    esdb-stream undelete a
    esdb-archive restore -q --new-times --archive away --into b a/0-7.archive
    assert_equal "$(esdb-read b | versions)" '0 1 2 4 5 6 7 '
    esdb-scavenge -q
    assert_equal "$(esdb-read a | versions)" '8 9 '
    esdb-verify -q
}

@test "restore --erasures: what the archive's store has erased does not come into another one" {
    events 10 a | esdb-append -q
    events 2 walrus | esdb-append -q
    esdb-read a >all
    scavenge --before-version 8 a
    scavenge --before-version 2 walrus
    cp -r store/archive away
    esdb-scavenge -q --erase "$(jq -r 'select(.version==3)|.event_id' all)"
    esdb-stream delete --hard --confirm walrus walrus
    esdb-init copy >/dev/null
    run_split esdb-archive restore -q -S copy --archive away --erasures copy a/0-7.archive
    assert_message 2 'esdb-archive: copy: is another store than that of the archive'
    run_split esdb-archive restore -S copy --archive away --erasures nowhere a/0-7.archive
    assert_equal "$status" 2
    run -3 esdb-archive restore -S copy --archive away --erasures store walrus/0-1.archive
    assert_equal "$(esdb-read -S copy --all --count)" 0
    esdb-archive restore -q -S copy --archive away --erasures store a/0-7.archive
    assert_equal "$(esdb-read -S copy a | versions)" '0 1 2 4 5 6 7 '
    esdb-archive restore -q -S copy --archive away --erasures store a/0-7.archive
    esdb-verify -q -S copy
    run_split esdb-archive read --erasures store a
    assert_equal "$status" 2
    # an erasure that cannot be read is none that never was
    rm store/head
    echo 'writing back the log: Input/output error' >store/poison
    run esdb-archive restore -S copy --new-times --into b --archive away --erasures store a/0-7.archive
    assert_failure 1
    assert_equal "$(esdb-read -S copy b --count)" 0
}

@test "a stream that is deleted for ever goes from archives too, and those out of reach are named" {
    events 6 walrus | esdb-append -q
    events 6 a | esdb-append -q
    scavenge --before-version 2 walrus a
    esdb-scavenge --archive=away --no-require-snapshot -q --before-version 3 walrus
    esdb-init other >/dev/null
    events 6 walrus | esdb-append -q -S other
    esdb-scavenge -S other --archive=store/archive --no-require-snapshot -q --before-version 4 walrus # another store's
    esdb-stream delete --hard --confirm walrus walrus
    run_split esdb-scavenge -q
    assert_message 9 "esdb-scavenge: not looked at: archives in $PWD/away (--archive=$PWD/away)"
    assert_equal "$(keys | tr '\n' ' ')" 'a/0-1.archive walrus/0-3.archive '
    assert_exists away/walrus/2-2.archive
    esdb-scavenge -q --archive=away
    assert_not_exists away/walrus
    esdb-archive delete walrus/0-3.archive
    run grep -rl --binary-files=text walrus store
    assert_output ''
    run find store -name '*walrus*'
    assert_output ''
}

@test "archives that cannot be rewritten are named" {
    events 6 a | esdb-append -q
    scavenge --before-version 3 a
    scavenge --before-version 5 a
    id=$(esdb-archive read a --versions 4 | jq -r .event_id)
    printf x >>store/archive/a/0-2.archive
    run -5 esdb-scavenge -q --erase "$id"
    assert_output --partial 'store/archive/a/0-2.archive: '
    assert_output --partial 'may still be in archives in'
    # the others are rewritten all the same
    assert_equal "$(keys | tr '\n' ' ')" 'a/0-2.archive a/3-3.archive '
}

@test "places of archives that erasing does not reach are named" {
    events 6 a | esdb-append -q
    esdb-scavenge --archive=away --no-require-snapshot -q --before-version 2 a
    esdb-scavenge --archive=away --no-require-snapshot -q --before-version 3 a
    scavenge --before-version 4 a
    id=$(esdb-read a | head -n 1 | jq -r .event_id)
    run_split esdb-scavenge -q --erase "$id"
    assert_message 9 "esdb-scavenge: not looked at: archives in $PWD/away (--archive=$PWD/away)"
    assert_equal "$(esdb-read --all --system | grep -c '"stream_id":"$archives"')" 1
    # the store's own folder is looked at in any case
    esdb-scavenge -q --archive=away --erase "$(esdb-archive read a | jq -r .event_id)"
    assert_equal "$(keys)" ''
    run -4 esdb-scavenge -q --archive=store/archive --erase "$(esdb-archive read --archive away a | head -n 1 | jq -r .event_id)"
    assert_output --partial 'not looked at: archives in'
    run_split esdb-scavenge -q --archive=away --erase "$(esdb-archive read --archive away a | head -n 1 | jq -r .event_id)"
    assert_message 0 ''
    assert_equal "$(keys --archive away | tr '\n' ' ')" 'a/1-1.archive a/2-2.archive '
}

# ---- hostile archives ----

# refused TEXT: the archive in store/archive/victim/0-9.archive is refused, whoever reads it, and leaves nothing behind.
refused() {
    local action
    for action in verify restore; do
        run_split esdb-archive "$action" --archive bad -S clean victim/0-9.archive
        [ "$status" -eq 5 ] || { echo "$name: $action: status $status: $stderr"; return 1; }
        [[ $stderr =~ $1 ]] || { echo "$name: $action: $stderr"; return 1; }
        [ "$output" = '' ]
        [ "$(lines_of <<<"$stderr")" -eq 1 ] || { echo "$name: $stderr"; return 1; }
    done
    run_split esdb-archive read victim --archive bad -S clean
    [ "$status" -eq 5 ] && [ "$output" = '' ]
    run find . -newer stamp ! -path "./bad*" ! -path "./clean*" ! -name . ! -name hostile.tar ! -name "separate-stderr-*"
    assert_output "" || return 1
}

hostile_setup() {
    events 10 victim | esdb-append -q
    scavenge --before-version 10 victim
    zstdcat store/archive/victim/0-9.archive >good.tar
    esdb-init clean >/dev/null
    mkdir -p bad/victim
    cp store/archive/victim/0-9.archive good
    # what refused() expects to be refused is accepted as it was
    cp good bad/victim/0-9.archive
    esdb-archive verify -q --archive bad victim/0-9.archive
    touch stamp
}

@test "hostile archives are refused, one by one, and write nothing" {
    hostile_setup
    count=0
    while IFS=$'\t' read -r name says; do
        python3 "$REPO/tests/lib/hostile_archive.py" good.tar "$name" >hostile.tar
        zstd -q -f -o bad/victim/0-9.archive hostile.tar
        refused "$says"
        count=$((count + 1))
    done < <(python3 "$REPO/tests/lib/hostile_archive.py" --list)
    [ "$count" -ge 40 ]
    assert_equal "$(esdb-read -S clean --all --system --count)" 0
}

@test "other forms, and what is cut short or changed anywhere, are refused" {
    hostile_setup
    name='plain tar' && cp good.tar bad/victim/0-9.archive && refused 'no tar compressed by zstd|Unrecognized'
    name=gzip && gzip <good.tar >bad/victim/0-9.archive && refused 'Unrecognized|no tar'
    name=nothing && : >bad/victim/0-9.archive && refused 'Unrecognized|lacks|no tar'
    name=zeros && head -c 100000 /dev/zero >bad/victim/0-9.archive && refused 'cannot be unpacked|no tar'
    name=random && head -c 100000 /dev/urandom >bad/victim/0-9.archive && refused 'cannot be unpacked|no tar'
    name='twice compressed' && zstd -q <good >bad/victim/0-9.archive && refused 'no tar'
    name='huge window' && zstd -q --ultra --long=31 <good.tar >bad/victim/0-9.archive && refused 'cannot be unpacked|no tar'
    size=$(stat -c %s good)
    for name in 0 1 10 100 $((size / 2)) $((size - 100)) $((size - 4)) $((size - 1)); do
        head -c "$name" good >bad/victim/0-9.archive
        refused .
    done
    name='more behind it' && { cat good && echo x; } >bad/victim/0-9.archive && refused .
    for name in 20 $((size / 3)) $((size / 2)) $((size - 30)); do
        cp good bad/victim/0-9.archive
        printf '\377\376\375' | dd of=bad/victim/0-9.archive bs=1 seek="$name" conv=notrunc status=none
        refused .
    done
}

@test "a bomb of zeros costs time, and no memory" {
    skip_if_variant
    hostile_setup
    { cat good.tar && head -c 2G /dev/zero; } | zstd -q >bad/victim/0-9.archive
    (ulimit -v 1500000; esdb-archive verify -q --archive bad -S clean victim/0-9.archive) || [ $? -eq 5 ]
}

@test "links in place of archives are not followed" {
    hostile_setup
    echo secret >secret
    rm bad/victim/0-9.archive && ln -s "$PWD/good" bad/victim/0-9.archive
    run_split esdb-archive verify --archive bad -S clean victim/0-9.archive
    assert_message 7 'esdb-archive: bad/victim/0-9.archive: is no regular file, or a link leads there'
    rm -r bad/victim && mkdir away && cp good away/0-9.archive && ln -s "$PWD/away" bad/victim
    run -7 esdb-archive verify --archive bad -S clean victim/0-9.archive
    run -7 esdb-archive read --archive bad -S clean --all
    # writing does not go through one either
    events 3 victim | esdb-append -q -S clean
    run esdb-scavenge -S clean --archive=bad --no-require-snapshot --keep 1 victim
    assert_failure
    assert_equal "$(find away | lines_of)" 2
    rm bad/victim && mkdir bad/victim && mkfifo bad/victim/0-9.archive
    run -7 timeout 10 esdb-archive verify --archive bad -S clean victim/0-9.archive
}
