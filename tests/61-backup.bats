#!/usr/bin/env bats
# esdb-backup: copies of a store in use that are whole, exact and safe; incremental ones; archives; restores to a point.
load lib/load

# numbered FIRST LAST: event lines over 20 streams.
numbered() {
    seq "$1" "$2" | awk '{printf "{\"stream_id\":\"s-%d\",\"event_type\":\"T\",\"data\":{\"n\":%d}}\n", $1 % 20, $1}'
}

# A store with several closed segments, in frames of 7 events.
filled() {
    new_store shop --segment-size 64K
    numbered 1 2000 | esdb-append -q --batch 7
}

# sums DIRECTORY: names and contents of all files.
sums() {
    (cd "$1" && find . -type f -exec sha256sum {} + | sort -k 2)
}

# prefix STORE N: the store has just the first N events of all.jsonl.
prefix() {
    esdb-read -S "$1" --all --system | cmp - <(head -n "$2" all.jsonl)
}

active() {
    printf '%s\n' "$1"/log/*.log | tail -n 1
}

@test "a backup holds every event, is read like a store, and is verified" {
    filled
    run esdb-backup bk
    assert_success
    assert_output --regexp '^backed up: 2000 events in 5 segments, [0-9]+ bytes \(4 linked, 1 copied\)$'
    esdb-read --all >all.jsonl
    esdb-read -S bk --all | cmp - all.jsonl
    esdb-diff shop bk
    run esdb-backup --verify bk
    assert_success
    assert_output --regexp '^ok: 2000 events in 5 segments, [0-9]+ bytes$'
    run esdb-stream -S bk version s-3
    assert_output 99
}

@test "an empty store has a backup too, and is restored from it" {
    new_store
    esdb-backup -q bk
    esdb-backup --verify bk
    esdb-backup restore -q bk again
    [ "$(esdb-read -S again --all --count)" = 0 ]
    esdb-verify -q again
}

@test "nobody appends to a backup, and reading it changes nothing" {
    filled
    esdb-backup -q bk
    before=$(sums bk)
    run_split esdb-append -S bk s-1 <<<'{"event_type":"T"}'
    assert_message 7 'esdb-append: bk: is a backup, which nobody may change (esdb-backup restore makes a store of it)'
    run esdb-stream -S bk delete s-1
    assert_failure 7
    run esdb-verify --rebuild bk
    assert_failure 7
    esdb-read -S bk --all --count
    esdb-stream -S bk list >/dev/null
    esdb-stat bk >/dev/null
    esdb-verify -q bk
    assert_equal "$(sums bk)" "$before"
}

@test "closed segments are links, read-only; the last one never is" {
    filled
    esdb-backup -q bk
    for file in bk/log/*.log; do
        name=${file##*/}
        if [ "$file" = "$(active bk)" ]; then
            [ "$(stat -c %h "$file")" = 1 ]
            [ "$(stat -c %i "$file")" != "$(stat -c %i "shop/log/$name")" ]
        else
            [ "$(stat -c %i "$file")" = "$(stat -c %i "shop/log/$name")" ]
        fi
        [ "$(stat -c %A "$file" | tr -d r-)" = '' ]
    done
}

@test "--copy shares nothing" {
    filled
    run esdb-backup --json --copy bk
    assert_equal "$(jq -c '[.linked, .cloned, .copied]' <<<"$output")" '[0,0,5]'
    run find bk -type f -links +1
    assert_output ''
    esdb-diff shop bk
}

@test "the store goes on as before when closed segments have a second name, also with an old head" {
    filled
    cp -p shop/head old-head
    numbered 2001 3000 | esdb-append -q --batch 7
    esdb-backup -q bk
    before=$(sums bk)
    cat old-head >shop/head
    numbered 3001 3010 | esdb-append -q
    [ "$(esdb-read --all --count)" = 3010 ]
    esdb-verify --rebuild shop
    esdb-verify -q shop
    assert_equal "$(sums bk)" "$before"
    esdb-backup --verify bk
}

@test "the next backup keeps what it has, and takes what is new" {
    filled
    esdb-backup -q bk
    numbered 2001 3000 | esdb-append -q --batch 7
    run esdb-backup --json bk
    assert_success
    assert_equal "$(jq -c '[.end_position, .kept, .linked, .copied, .incremental]' <<<"$output")" '[3000,4,2,1,true]'
    esdb-diff shop bk
    esdb-backup --verify bk
    run esdb-backup --json bk
    assert_equal "$(jq -c '[.kept, .linked, .copied]' <<<"$output")" '[6,0,1]'
    run bash -c 'ls -A | grep esdb-'
    assert_output ''
}

@test "an incremental backup by copies keeps copies" {
    filled
    esdb-backup -q --copy bk
    numbered 2001 3000 | esdb-append -q --batch 7
    run esdb-backup --copy --json bk
    assert_equal "$(jq -c '[.kept, .linked, .copied]' <<<"$output")" '[4,0,3]'
    run find bk -type f -links +1
    assert_output ''
    esdb-diff shop bk
}

@test "a segment that was replaced in the store since is taken anew" {
    filled
    esdb-backup -q --copy bk
    cp -p shop/log/0000000000000001.log new && mv -f new shop/log/0000000000000001.log
    run esdb-backup --json bk
    assert_success
    assert_equal "$(jq -c '[.kept, .linked]' <<<"$output")" '[3,1]'
    esdb-diff shop bk
}

@test "a target of another store, another history or with other things is refused, unchanged" {
    filled
    esdb-backup -q bk
    before=$(sums bk)
    esdb-init other
    run_split esdb-backup -S other bk
    assert_message 3 'esdb-backup: bk: is a backup of another store'
    esdb-backup -q restore --to pos:1000 bk fork
    run_split esdb-backup -S fork bk
    assert_message 3 'esdb-backup: bk: has more than the store: a backup of another history'
    numbered 1 2000 | esdb-append -q --batch 7 -S fork
    run_split esdb-backup -S fork bk
    assert_message 3 'esdb-backup: bk: is a backup of another history, not of this store'
    # parted within the last segment
    esdb-backup -q restore --to pos:1990 bk late
    numbered 1 100 | esdb-append -q --batch 7 -S late
    run_split esdb-backup -S late bk
    assert_message 3 'esdb-backup: bk: is a backup of another history, not of this store'
    echo mine >bk/notes
    run_split esdb-backup bk
    assert_message 2 "esdb-backup: bk: holds 'notes', which is no part of a backup and would be lost"
    rm bk/notes
    run_split esdb-backup other
    assert_message 2 'esdb-backup: other: is not a backup (it has no backup.manifest)'
    echo text >file
    run_split esdb-backup file
    assert_message 2 'esdb-backup: file: is there, and is not a directory'
    ln -s bk link
    run_split esdb-backup link
    assert_message 2 'esdb-backup: link: is there, and is not a directory'
    run_split esdb-backup none/bk
    assert_message 2 'esdb-backup: none/bk: the directory above does not exist'
    for name in . .. /; do
        run_split esdb-backup $name
        assert_message 2 "esdb-backup: '$name' does not name a directory that can be made or exchanged"
    done
    assert_equal "$(sums bk)" "$before"
    run bash -c 'ls -A | grep esdb-'
    assert_output ''
}

@test "a damaged store has no new backup; the message names the place" {
    filled
    esdb-backup -q old
    before=$(sums old)
    numbered 2001 4000 | esdb-append -q --batch 7
    file=$(printf '%s\n' shop/log/*.log | tail -n 2 | head -n 1)
    flip "$file" 5000
    for target in old new; do
        run_split esdb-backup $target
        assert_equal "$status" 5
        assert_regex "$stderr" "^esdb-backup: .*shop/log/${file##*/}, offset [0-9]+: .*(checksum|lengths)"
    done
    assert_not_exist new
    assert_equal "$(sums old)" "$before"
    run_split esdb-backup --tar archive.tar
    assert_equal "$status" 5
    assert_not_exist archive.tar
}

@test "bytes behind the last frame of a closed segment are damage" {
    filled
    chmod u+w shop/log/0000000000000001.log
    printf 'more than nothing' >>shop/log/0000000000000001.log
    run_split esdb-backup bk
    assert_equal "$status" 5
    assert_regex "$stderr" 'shop/log/0000000000000001.log, offset [0-9]+: bytes after the frame that closes the segment'
    assert_not_exist bk
}

@test "--verify finds a changed byte, a missing and a shorter file, and a changed manifest" {
    filled
    esdb-backup -q --copy bk
    first=bk/log/0000000000000001.log
    cp -a bk good
    flip "$first" 5000
    run esdb-backup --verify bk
    assert_failure 5
    assert_line --partial 'damage: log/0000000000000001.log: 0: differs from what was backed up'
    truncate -s -8 "$first"
    run esdb-backup --verify --json bk
    assert_failure 5
    assert_equal "$(jq -r .text <<<"${lines[0]}")" 'has another size than the manifest says'
    rm -f "$first"
    run esdb-backup --verify bk
    assert_failure 5
    assert_line 'damage: log/0000000000000001.log: 0: is missing'
    sed -i 's/^end_position: 2/end_position: 3/' bk/backup.manifest
    run_split esdb-backup --verify bk
    assert_message 5 'esdb-backup: bk/backup.manifest: its digest is wrong'
    head -n 5 good/backup.manifest >bk/backup.manifest
    run_split esdb-backup --verify bk
    assert_message 5 'esdb-backup: bk/backup.manifest: is not whole'
    run_split esdb-backup restore bk again
    assert_equal "$status" 5
    assert_not_exist again
    run_split esdb-backup --verify shop
    assert_message 2 'esdb-backup: shop: is not a backup (it has no backup.manifest)'
}

@test "restoring gives the store back, with another incarnation and the same id" {
    filled
    echo '{"event_type":"Gone"}' | esdb-append -q gone
    esdb-stream delete gone
    esdb-read --all --system >all.jsonl
    esdb-backup -q bk
    run esdb-backup restore bk again
    assert_success
    assert_output --regexp '^restored: 2002 events in 5 segments, '
    prefix again 2002
    esdb-diff shop again
    [ "$(grep store_id again/store.yaml)" = "$(grep store_id shop/store.yaml)" ]
    [ "$(grep incarnation again/store.yaml)" != "$(grep incarnation shop/store.yaml)" ]
    run grep backup: again/store.yaml
    assert_failure
    run esdb-stream -S again exists gone
    assert_failure 4
    run esdb-verify again
    assert_success
    assert_line 'note: log/0000000000000001.log: 128: frame 1: of an earlier incarnation'
    assert_equal "${#lines[@]}" 2
    numbered 1 5 | esdb-append -q -S again
    [ "$(esdb-stream -S again version s-1)" = 100 ]
    run esdb-diff shop again
    assert_failure 9
    esdb-backup --verify bk
}

@test "restoring at 50 random positions gives exactly the prefix, which can be appended to" {
    filled
    esdb-read --all --system >all.jsonl
    esdb-backup -q bk
    for position in 0 6 7 1998 1999 $(shuf -i 0-1999 -n 50 --random-source=<(yes)); do
        rm -rf r
        esdb-backup restore -q --to "pos:$position" bk r
        prefix r $((position + 1))
        run esdb-verify -q r
        assert_success
        numbered 1 1 | esdb-append -q -S r
        [ "$(esdb-read -S r --all --count)" = $((position + 2)) ]
        "$REPO/tests/decoder/esdb_decode.py" r >decoded
        [ "$(grep -c '"position"' decoded)" = $((position + 2)) ]
    done
    esdb-backup --verify bk
    prefix bk 2000
}

@test "restoring to a time gives what was there then" {
    new_store
    echo '{"event_type":"One"}' | esdb-append -q a
    sleep 0.02
    now=$(date +%s%6N)
    sleep 0.02
    echo '{"event_type":"Two"}' | esdb-append -q a
    esdb-backup -q bk
    esdb-backup restore -q --to "$now" bk thence
    [ "$(esdb-read -S thence --all --fields event_type)" = '{"event_type":"One"}' ]
    esdb-backup restore -q --to now bk later
    [ "$(esdb-read -S later --all --count)" = 2 ]
    esdb-backup restore -q --to 2001-01-01 bk before
    [ "$(esdb-read -S before --all --count)" = 0 ]
    echo '{"event_type":"Three"}' | esdb-append -q -S before a
    esdb-verify -q before
}

@test "a store can be restored from too, as it is now" {
    filled
    esdb-read --all >all.jsonl
    esdb-backup restore -q --to pos:700 shop r
    prefix r 701
}

@test "wrong restores change nothing" {
    filled
    esdb-backup -q bk
    run_split esdb-backup restore --to pos:2000 bk r
    assert_message 4 'esdb-backup: bk: has no position 2000, it ends before 2000'
    run_split esdb-backup restore bk shop
    assert_message 2 'esdb-backup: shop: is not an empty directory'
    run_split esdb-backup restore none r
    assert_equal "$status" 2
    run_split esdb-backup restore --to 12 bk r
    assert_equal "$status" 2
    run_split esdb-backup restore bk
    assert_equal "$status" 2
    assert_not_exist r
    mkdir r
    esdb-backup restore -q bk r
    esdb-diff shop r
}

@test "a damaged backup is not restored" {
    filled
    esdb-backup -q --copy bk
    file=bk/log/0000000000000001.log
    flip "$file" 5000
    run_split esdb-backup restore bk r
    assert_equal "$status" 5
    assert_not_exist r
    # whole, but not what was backed up
    cp shop/log/0000000000000001.log "$file"
    truncate -s -8 "$(active bk)"
    run_split esdb-backup restore bk r
    assert_equal "$status" 5
    assert_not_exist r
    run bash -c 'ls -A | grep esdb-'
    assert_output ''
}

@test "an archive goes through a pipe, and tar unpacks it to the same backup" {
    filled
    mkdir there
    esdb-backup --tar - | tar -xf - -C there
    esdb-backup --verify there/shop
    esdb-diff shop there/shop
    esdb-backup restore -q --to pos:99 there/shop r
    esdb-read --all >all.jsonl
    prefix r 100
    run esdb-backup --tar out.tar --name monday --json
    assert_success
    assert_equal "$(jq .end_position <<<"$output")" 2000
    assert_equal "$(tar -tf out.tar | tail -n 1)" monday/backup.manifest
    run bash -c 'bsdtar -tf out.tar 2>&1 || python3 -m tarfile -l out.tar'
    assert_success
    # cut off, it is no backup
    head -c 200000 out.tar | tar -xf - -C there 2>/dev/null || true
    run esdb-backup --verify there/monday
    assert_failure 2
}

@test "an archive to a full or closed pipe is an error" {
    filled
    run bash -c 'esdb-backup --tar - >/dev/full'
    assert_failure 1
    run_split esdb-backup --tar /dev/null/x
    assert_failure 1
    run_split esdb-backup --tar out.tar --name a/b
    assert_equal "$status" 2
    assert_not_exist out.tar
}

@test "an unpacked archive is a base for incremental backups" {
    filled
    esdb-backup --tar - --name bk | tar -xf -
    numbered 2001 2500 | esdb-append -q --batch 7
    run esdb-backup --json bk
    assert_success
    assert_equal "$(jq -c '[.end_position, .incremental, .kept]' <<<"$output")" '[2500,true,4]'
    esdb-backup --verify bk
}

@test "while writers append, every backup is a prefix, and a later one has more" {
    new_store shop --segment-size 64K
    for w in 1 2; do
        numbered 1 4000 | esdb-append -q --batch 3 &
    done
    for i in 1 2 3 4 5 6; do
        esdb-backup -q bk
        esdb-backup -q "bk$i"
        esdb-backup --verify -q bk
    done
    wait
    esdb-backup -q bk
    esdb-read --all >all.jsonl
    prefix bk 8000
    for i in 1 2 3 4 5 6; do
        prefix "bk$i" "$(esdb-read -S "bk$i" --all --count)"
    done
}

@test "backups made while scavenging swaps segments are whole, and hold what is left" {
    new_store small --segment-size 64K
    export ESDB_STORE=$PWD/small
    more() { # of stream a much goes, of b nothing
        local i
        for ((i = 0; i < 100; i++)); do
            printf '{"stream_id":"%s","event_type":"N","data":"%0200d"}\n' a "$i" b "$i"
        done | esdb-append -q --batch 50
    }
    more
    local end=$((SECONDS + 4)) n=0
    while [ $SECONDS -lt $end ]; do
        more
        esdb-scavenge -q --no-require-snapshot --keep $((n++ % 7 + 1)) a || exit 1
    done >scavenged 2>&1 &
    local pid=$! made=0
    while kill -0 $pid 2>/dev/null; do
        esdb-backup -q "again$((made % 2))"
        esdb-backup -q "anew$made"
        esdb-backup --verify -q "again$((made % 2))"
        esdb-backup --verify -q "anew$made"
        esdb-read -S "anew$made" b | jq -r .version | awk '$1 != NR - 1 { exit 1 }'
        [ "$made" -eq 0 ] || rm -rf "anew$((made - 1))"
        made=$((made + 1))
    done
    wait $pid
    assert_equal "$(cat scavenged)" ''
    [ "$made" -gt 3 ]
}

@test "of two that write the same target one waits for the next time" {
    filled
    mkdir .bk.esdb-new
    exec 8<.bk.esdb-new
    flock 8
    run_split esdb-backup bk
    assert_message 6 'esdb-backup: bk: another process is writing it'
    exec 8<&-
    esdb-backup -q bk
    esdb-backup --verify bk
}

@test "what a killed backup left is removed by the next one" {
    filled
    mkdir -p .bk.esdb-new/log
    touch .bk.esdb-new/log/.x.tmp .bk.esdb-new/store.yaml
    esdb-backup -q bk
    run bash -c 'ls -A | grep esdb-'
    assert_output ''
    # between the two renames of a file system that cannot exchange names
    mv bk .bk.esdb-old
    run esdb-backup --json bk
    assert_equal "$(jq -c '[.incremental, .kept]' <<<"$output")" '[true,4]'
    run bash -c 'ls -A | grep esdb-'
    assert_output ''
}

@test "rsync of closed segments, then of all, makes a copy that opens" {
    command -v rsync >/dev/null || skip 'needs rsync'
    filled
    mkdir -p copy
    last=$(basename "$(active shop)")
    rsync -a --exclude "$last" --include '*/' --include 'log/*.log' --include store.yaml --exclude '*' shop/ copy/
    numbered 2001 2020 | esdb-append -q
    # the last segment from a backup, which ends where it should
    esdb-backup -q bk
    rsync -a bk/ copy/
    esdb-diff shop copy
    esdb-backup --verify copy
    esdb-backup restore -q copy r
    esdb-diff shop r
}

@test "a backup on a file system without room leaves the one before" {
    [ "$(id -u)" -eq 0 ] && mkdir disk && mount -t tmpfs -o size=600k tmpfs disk 2>/dev/null || skip 'tmpfs cannot be mounted'
    filled
    esdb-backup -q disk/bk
    before=$(sums disk/bk)
    numbered 2001 9000 | esdb-append -q --batch 7
    run_split esdb-backup disk/bk
    after=$(sums disk/bk)
    left=$(ls -A disk)
    run_split esdb-backup restore bk disk/r
    umount disk
    assert_equal "$left" bk
    assert_equal "$after" "$before"
}

@test "what was acknowledged, and nobody can vouch for after an I/O error, is not left out of a copy: there is none" {
    filled
    esdb-backup -q bk
    id=$(esdb-read --all --limit 1 | jq -r .event_id)
    esdb-scavenge -q --no-compact --erase "$id"
    before=$(sums bk)
    # head is lost, and the log cannot be written back
    rm shop/head
    echo 'writing back the log: Input/output error' >shop/poison
    for try in "esdb-backup bk" "esdb-backup --tar out.tar" "esdb-backup restore shop copy" \
        "esdb-backup restore --erasures shop bk copy"; do
        run_split $try
        assert_equal "$status" 1
        [[ $stderr = *'shop: poisoned by an I/O error: writing back the log'* ]]
    done
    assert_not_exist copy
    assert_equal "$(sums bk)" "$before"
    esdb-verify -q --repair
    esdb-backup restore -q --erasures shop bk copy
    assert_equal "$(esdb-read -S copy --all --count)" 1999
    esdb-backup -q bk
    esdb-diff shop bk
    # an intact head tells what was acknowledged, although the store is poisoned
    echo 'syncing the log: Input/output error' >shop/poison
    esdb-backup -q saved
    esdb-diff -q bk saved
}

@test "nothing is put into a store, or into a backup" {
    filled
    esdb-backup -q bk
    before=$(sums shop) && was=$(sums bk)
    ln -s bk link
    for place in shop/bk shop/tables shop/log/bk bk/bk link/bk bk/log/../bk; do
        run_split esdb-backup "$place"
        assert_message 2 "esdb-backup: $place: would be inside a store, or inside a backup"
        run_split esdb-backup restore bk "$place"
        assert_message 2 "esdb-backup: $place: would be inside a store, or inside a backup"
    done
    cd shop/log
    run esdb-backup -S .. bk
    assert_failure 2
    cd ../..
    assert_equal "$(sums shop)" "$before"
    assert_equal "$(sums bk)" "$was"
    esdb-backup -q bk/../there
    esdb-diff -q shop there
}

@test "where everybody may write, a stranger's directory is not taken for ours" {
    [ "$(id -u)" -eq 0 ] || skip 'another user'
    filled
    mkdir -m 1777 public
    chmod 755 .
    for theirs in bk .bk.esdb-new; do
        as_nobody mkdir "public/$theirs"
        run_split esdb-backup public/bk
        assert_message 7 "esdb-backup: public/bk: '$theirs' is another user's, where everybody may write"
        run_split esdb-backup restore shop public/bk
        assert_message 7 "esdb-backup: public/bk: '$theirs' is another user's, where everybody may write"
        as_nobody rmdir "public/$theirs"
        rm -rf public/.bk*
    done
    esdb-backup -q public/bk
    esdb-backup -q public/bk
}

@test "a user who may only read can make a backup" {
    filled
    chmod 755 . shop
    mkdir -m 777 theirs
    run as_nobody "$(command -v esdb-backup)" -q -S shop theirs/bk
    assert_success
    esdb-backup --verify theirs/bk
    esdb-diff shop theirs/bk
}

@test "a store with removed frames is backed up, and restored to any position that is left" {
    cp -a "$REPO/tests/golden/hole/store" holes
    chmod -R u+w holes
    grep -v '^status' "$REPO/tests/golden/hole/expected.jsonl" >all.jsonl
    esdb-backup -q -S holes bk
    esdb-backup --verify bk
    esdb-diff holes bk
    for position in 0 6 7 8; do
        esdb-backup restore -q --to "pos:$position" bk "r$position"
        esdb-verify -q "r$position" >found
        run grep -v '^note' found
        assert_output ''
        esdb-read -S "r$position" --all | cmp - <(jq -c "select(.position <= $position)" all.jsonl)
        echo '{"event_type":"More"}' | esdb-append -q -S "r$position" new
        "$REPO/tests/decoder/esdb_decode.py" "r$position" >decoded
        [ "$(tail -n 1 decoded | jq -r .event_type)" = More ]
        # holes stand in closed segments only
        for file in "r$position"/log/*.log; do
            esdb-dump "$file" >dump
            if [ "$file" = "$(active "r$position")" ]; then
                ! grep kind=hole dump
            else
                grep state=closed dump
            fi
        done
    done
    run_split esdb-backup restore --to pos:3 bk r3
    assert_message 4 'esdb-backup: bk: from position 1 to 5 events were removed: no store can end amid them'
    assert_not_exist r3
}
