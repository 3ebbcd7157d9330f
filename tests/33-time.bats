#!/usr/bin/env bats
# --since, --until, --as-of: points in time as journalctl takes them; bounds inclusive.
load lib/load

setup() {
    esdb_setup
    new_store
}

# days: positions 0..9 in stream s, one a day at noon UTC from 2025-01-01 on; 3 and 4 at the same time.
days() {
    for d in 01 02 03 04 04 06 07 08 09 10; do
        printf '{"event_type":"D%s","epoch_us":%s000000,"data":%d}\n' $d "$(date -u -d "2025-01-${d}T12:00Z" +%s)" "$((10#$d))"
    done | esdb-append -q --preserve s
}

positions() { esdb-read "$@" | jq .position | paste -sd' '; }

@test "--since and --until are inclusive instants" {
    days
    assert_equal "$(positions --all --since 2025-01-08)" '7 8 9'
    assert_equal "$(positions --all --since 2025-01-08T12:00)" '7 8 9'
    assert_equal "$(positions --all --since 2025-01-08T12:00:00.000001)" '8 9'
    assert_equal "$(positions --all --until 2025-01-02T12:00:00Z)" '0 1'
    assert_equal "$(positions --all --until 2025-01-02T11:59:59.999999Z)" '0'
    assert_equal "$(positions --all --since 2025-01-04T12:00 --until 2025-01-04T12:00)" '3 4'
    assert_equal "$(positions --all --since 2025-01-05 --until 2025-01-06)" ''
    assert_equal "$(positions s --since 2025-01-09)" '8 9'
}

@test "a date alone is its midnight, also for --until" {
    days
    assert_equal "$(positions --all --until 2025-01-02)" '0'
}

@test "local time, zones, seconds and epoch_us" {
    days
    assert_equal "$(TZ=Asia/Tokyo positions --all --until '2025-01-02 21:00')" '0 1'
    assert_equal "$(TZ=Asia/Tokyo positions --all --until '2025-01-02 20:59:59.999999')" '0'
    assert_equal "$(positions --all --until 2025-01-02T13:00+01:00)" '0 1'
    assert_equal "$(positions --all --until @1735819200)" '0 1'
    assert_equal "$(positions --all --until 1735819200000000)" '0 1'
    assert_equal "$(positions --all --until 1735819199999999)" '0'
    assert_equal "$(positions --all --since @1735819200.000001 --until @1735905600)" '2'
}

@test "spans and words are relative to now" {
    now=$(date +%s)
    for ago in 7200 1800 60; do
        printf '{"event_type":"A","epoch_us":%s000000}\n' $((now - ago))
    done | esdb-append -q --preserve s
    assert_equal "$(positions --all --since -1h)" '1 2'
    assert_equal "$(positions --all --since '1h ago')" '1 2'
    assert_equal "$(positions --all --until -1h30min)" '0'
    assert_equal "$(positions --all --since '2 minutes ago' --until now)" '2'
    assert_equal "$(positions --all --since tomorrow)" ''
    assert_equal "$(positions --all --until tomorrow --since '3 days ago')" '0 1 2'
    assert_equal "$(positions --all --since +5min)" ''
}

@test "time goes with filters, -n, -r and streams" {
    days
    events 3 later | esdb-append -q
    assert_equal "$(positions s --since 2025-01-03 -n 2)" '2 3'
    assert_equal "$(positions s --until 2025-01-09 -r -n 2)" '7 6'
    assert_equal "$(positions --all --since 2025-01-03 --until 2025-01-09 -t D04 -t D07)" '3 4 6'
    assert_equal "$(positions s --since 2025-01-03 --versions 0..2)" '2'
    assert_equal "$(positions 'lat*' --until 2025-01-09)" ''
}

@test "--as-of: the store as it was" {
    days
    assert_equal "$(positions --all --as-of 2025-01-04)" '0 1 2'
    assert_equal "$(positions --all --as-of 2025-01-04T12:00)" '0 1 2 3 4'
    assert_equal "$(positions --all --as-of pos:3)" '0 1 2 3'
    assert_equal "$(positions --all --as-of pos:3 -r -n 1)" '3'
    assert_equal "$(positions --all --as-of 2024-01-01)" ''
    assert_equal "$(positions --all --as-of now --count | cat)" ''
    assert_equal "$(esdb-read --all --as-of now --count)" '10'
    assert_equal "$(esdb-read --all --as-of pos:0 --count)" '1'
    assert_equal "$(positions s --as-of 2025-01-04 --since 2025-01-02)" '1 2'
}

@test "--as-of: whether a stream exists is asked of the store as it was" {
    days
    esdb-append -q new <<<'{"event_type":"N"}'
    esdb-stream delete s
    run_split esdb-read s --as-of pos:5 -t none
    assert_message 0 ''
    for then in pos:9 2024-01-01 2025-06-01; do
        run_split esdb-read new --as-of "$then"
        assert_message 4 'esdb-read: new: no such stream then'
    done
    run_split esdb-read s --as-of 2024-01-01
    assert_message 4 'esdb-read: s: no such stream then'
    run_split esdb-read s new --as-of pos:10 --count
    assert_success
    assert_output 11
    run_split esdb-read s
    assert_message 4 'esdb-read: s: no such stream: it was deleted'
}

@test "reference mistake: after old events were removed, time queries return nothing" {
    days
    esdb-stream truncate --before 5 s
    assert_equal "$(positions --all --since 2025-01-01)" '5 6 7 8 9'
    assert_equal "$(positions --all --since 2025-01-07)" '6 7 8 9'
    assert_equal "$(positions s --since 2025-01-02 --until 2025-01-08)" '5 6'
    assert_equal "$(positions --all --until 2025-01-08 -r)" '6 5'
    assert_equal "$(positions --all --as-of 2025-01-03)" '0 1'
    assert_equal "$(esdb-stream version s --at 2025-01-03)" 1
    esdb-stream delete s
    assert_equal "$(positions --all --since 2025-01-01)" ''
    esdb-append -q s <<<'{"event_type":"N"}'
    assert_equal "$(esdb-read s --since 2025-01-01 | jq .version)" 10
    assert_equal "$(esdb-read --all --since 2025-01-01 --count)" 1
}

@test "esdb-tail --since begins there; with -n, with the last of them" {
    days
    assert_equal "$(esdb-tail s --since 2025-01-08 --until-end | jq .position | paste -sd' ')" '7 8 9'
    assert_equal "$(esdb-tail s --since 2025-01-02 --until-end | jq .position | paste -sd' ')" '1 2 3 4 5 6 7 8 9'
    assert_equal "$(esdb-tail s --since 2025-01-08 --until-end -n 1 | jq .position)" '9'
    run_split esdb-tail s --since 2025-01-08 --from 3
    assert_equal "$status" 2
    timeout --foreground 10 esdb-tail s --since +1s >out & tail=$! # one signal only: LeakSanitizer hangs when its helper gets one
    esdb-append -q s <<<'{"event_type":"TooEarly"}'
    sleep 1.2
    esdb-append -q s <<<'{"event_type":"Late"}'
    wait_for 5 grep -q Late out
    kill $tail
    assert_equal "$(jq -r .event_type out)" 'Late'
}

# refused OPTION VALUE TEXT
refused() {
    run_split esdb-read --all "$1" "$2"
    assert_message 2 "esdb-read: $1: '$2'$3
esdb-read: try 'esdb-read --help'"
}

@test "what is no time is refused, naming the place" {
    refused --since 2025-13-01 ': byte 6: there is no month 13'
    refused --until 2025-02-29 ': byte 9: there is no day 29'
    refused --since '' ': byte 1: a time is expected, such as 2025-11-23, 2025-11-23T15:04:05Z, -2h or yesterday'
    refused --since 'last week' ': byte 1: a time is expected, such as 2025-11-23, 2025-11-23T15:04:05Z, -2h or yesterday'
    refused --until 2h ": byte 3: before or after now? As -2h, '2h ago' or +2h"
    refused --since 1735819200 ': byte 1: a number alone is epoch_us, of 15 to 17 digits; @ is for seconds'
    refused --since 20250102 ': byte 1: a number alone is epoch_us, of 15 to 17 digits; @ is for seconds'
    refused --as-of -3x ": byte 3: 'x' is no unit of time (us ms s min h d w month y)"
    refused --as-of pos:x ' is none of TIME, pos:POSITION'
    run_split esdb-read --all --since 2025-01-02 --until 2025-01-01
    assert_message 2 "esdb-read: --since is after --until
esdb-read: try 'esdb-read --help'"
}
