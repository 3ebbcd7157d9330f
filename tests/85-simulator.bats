#!/usr/bin/env bats
# Clusters in one process: the consensus driver over a simulated network and clock, on stores that forget what was not synced
# (tests/sim). `make torture` runs 100,000 seeds, and plants bugs that must be found (tests/sim/mutation).

load lib/load

setup() {
    esdb_setup
    sim=$BUILD_DIR/sim/sim
    [ -x "$sim" ] || skip 'make helpers builds what this needs'
    shm=/dev/shm
    [ -w "$shm" ] || shm=$BATS_TEST_TMPDIR
}

# Sanitizers take several times as long: a tenth of the seeds.
seeds() {
    if [ -n "${SANITIZE:-}${COVERAGE:-}" ]; then echo $(($1 / 10)); else echo "$1"; fi
}

@test "2,000 clusters whose nodes keep their log in memory: nothing acknowledged is lost, nothing diverges" {
    run "$sim" --seeds "$(seeds 2000)" --jobs 2
    echo "# $(tail -n 1 <<<"$output")" >&3
    assert_success
    assert_output --partial ' 0 violations;'
}

@test "2,000 clusters on libcore's own log, on disks that lose unsynced writes" {
    run timeout 100 "$sim" --store disk --directory "$shm" --first 100000 --seeds "$(seeds 2000)" --jobs 2
    echo "# $(tail -n 1 <<<"$output")" >&3
    assert_success
    assert_output --partial ' 0 violations;'
}

@test "a seed is a run: twice the same" {
    for store in memory disk; do
        "$sim" --store "$store" --directory "$shm" --first 7 --trace | sed 's/[0-9.]* s, [0-9.]* seeds.s$//' >one
        "$sim" --store "$store" --directory "$shm" --first 7 --trace | sed 's/[0-9.]* s, [0-9.]* seeds.s$//' >two
        [ "$(wc -l <one)" -gt 100 ]
        cmp one two
    done
}

@test "bugs planted in the driver and in the log are found" {
    [ -z "${SANITIZE:-}${COVERAGE:-}" ] || skip 'plain builds only'
    run env BUILD="$BUILD_DIR" "$REPO/tests/sim/mutation" commit-too-early persisted-across-cut skip-vote-sync stale-bytes retry-twice
    assert_success
    assert_line '5 planted bugs found, 0 not'
}
