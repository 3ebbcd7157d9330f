#!/usr/bin/env bats
# esdb-stat: one page, and the same as JSON.
load lib/load

stat_of() {
    jq -r "$1" <<<"$output"
}

@test "the page of a store says how much is in it" {
    new_store shop
    events 5 orders-1 | esdb-append -q
    run esdb-stat shop
    assert_success
    assert_line --regexp '^store +shop$'
    assert_line --regexp '^id +[0-9a-f]{8}-[0-9a-f-]{27}$'
    assert_line --regexp '^incarnation +[0-9a-f]{16}$'
    assert_line --regexp '^events +5$'
    assert_line --regexp '^frames +appended 1, synced 1, committed 1$'
    assert_line --regexp '^log +.* in 1 segment$'
    assert_line --regexp '^used +[0-9]+ bytes'
    assert_line --regexp '^head +valid$'
    refute_output --partial warning
    assert_equal "$(awk 'length > 80' <<<"$output")" ''
}

@test "--json has the same content" {
    new_store shop --segment-size 64K
    events 5 orders-1 | esdb-append -q --batch 2
    run esdb-stat --json
    assert_success
    assert_equal "${#lines[@]}" 1
    assert_equal "$(stat_of '[.end_position, .appended, .synced, .committed, .segments] | @csv')" '5,3,3,3,1'
    assert_equal "$(stat_of .durability)" fsync
    assert_equal "$(stat_of .shared)" null
    assert_equal "$(stat_of .segment_size)" 65536
    assert_equal "$(stat_of .head)" valid
    assert_equal "$(stat_of .poisoned)" false
    assert_equal "$(stat_of .poison)" null
    assert_equal "$(stat_of .store_id)" "$(sed -n 's/^store_id: //p' "$ESDB_STORE/store.yaml")"
    assert_equal "$(stat_of .first_epoch_us)" "$(esdb-read orders-1 -n 1 | jq .epoch_us)"
    assert_equal "$(stat_of .last_epoch_us)" "$(esdb-read orders-1 -r -n 1 | jq .epoch_us)"
    assert_equal "$(stat_of '.log_used < .log_size')" true
}

@test "an empty store has a page too" {
    new_store shop
    run esdb-stat
    assert_success
    assert_line --regexp '^events +0$'
    refute_output --partial 'first event'
}

@test "sealed segments and their indexes are counted" {
    new_store shop --segment-size 64K
    events 2000 orders-1 | esdb-append -q --batch 100
    run esdb-stat --json
    assert_equal "$(stat_of .segments)" "$(find shop/log -name '*.log' | wc -l)"
    assert_equal "$(stat_of '.segments > 2')" true
    assert_equal "$(stat_of '.index_size > 0')" true
    assert_equal "$(stat_of .end_position)" 2000
}

@test "a store without durability carries a warning" {
    new_store shop --durability none
    events 1 a | esdb-append -q
    run esdb-stat
    assert_success
    assert_line --regexp '^warning +durability is none'
}

@test "a time ahead that was kept by --preserve is a warning" {
    new_store shop
    ahead=$((($(date +%s) + 3600) * 1000000))
    printf '{"event_type":"T","epoch_us":%s}\n' "$ahead" | esdb-append -q --preserve a
    run esdb-stat
    assert_success
    assert_line --regexp '^warning +this machine.s clock is 3[56][0-9][0-9]\.[0-9] s behind'
    run esdb-stat --json
    assert_equal "$(stat_of '.clock_behind_us > 3500000000')" true
}

@test "a user who may only read sees a state, and changes nothing" {
    [ "$(id -u)" -eq 0 ] || skip 'the owner may write'
    new_store shop
    events 3 a | esdb-append -q
    events 1 a | esdb-append -q
    chmod -R go+rX "$BATS_TEST_TMPDIR"
    as_nobody test -r shop/store.yaml || skip 'the folder is closed to others'
    before=$(find shop -type f -exec sha256sum {} + | sort)
    run as_nobody "$(command -v esdb-stat)" shop
    assert_success
    assert_line --regexp '^events +4$'
    printf 'rubbish' | dd of=shop/head bs=1 seek=16 conv=notrunc status=none
    before=$(find shop -type f -exec sha256sum {} + | sort)
    run as_nobody "$(command -v esdb-stat)" shop
    assert_success
    assert_line --regexp '^head +(bad|stale)$'
    assert_line --regexp '^events +[34]$'
    assert_equal "$(find shop -type f -exec sha256sum {} + | sort)" "$before"
}

@test "a store without head is what it was" {
    new_store shop
    events 3 a | esdb-append -q
    rm shop/head
    run esdb-stat
    assert_success
    assert_line --regexp '^head +absent$'
    assert_line --regexp '^events +3$'
    run esdb-stat
    assert_line --regexp '^head +valid$'
    assert_line --regexp '^events +3$'
}

@test "what is not a store is status 2" {
    run_split esdb-stat none
    assert_equal "$status" 2
    assert_equal "$output" ''
    assert_regex "$stderr" '^esdb-stat: '
    run_split esdb-stat
    assert_equal "$status" 2
    mkdir plain
    run_split esdb-stat plain
    assert_equal "$status" 2
    run_split esdb-stat -S plain plain
    assert_equal "$status" 2
    assert_regex "$stderr" 'given twice'
}
