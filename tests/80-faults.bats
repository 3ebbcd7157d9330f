#!/usr/bin/env bats
# A quick slice of the reliability harness: a few seconds of each row. `make torture` runs all of it (tests/faults/run).

load lib/load

setup_file() {
    export BOUNDED=1
}

# row NAME [SCALE [PART]]: the row ends well; it prints what is bad on stderr.
row() {
    skip_if_variant
    [ -x "$BUILD_DIR/faults/faultpoints" ] || skip 'make helpers builds what this needs'
    run env BUILD="$BUILD_DIR" SCALE="${2:-10}" ONLY="${3:-}" "$REPO/tests/faults/$1"
    [ "$status" -ne 77 ] || skip 'not on this machine'
    assert_success
    assert_output --partial ': 0 bad'
}

@test "a kill at any system call of an append loses nothing" {
    row kill-syscalls 10 '^append$'
}

@test "a kill at any system call of a roll-over loses nothing" {
    row kill-syscalls 10 '^roll$'
}

@test "a full disk, or an interrupted call, at any place of a scavenge loses nothing that stays" {
    row scavenge 10 '^full$'
}

@test "a full disk at any place of a compression loses nothing" {
    row scavenge 10 '^compress-(full|packed)-full$'
}

@test "a kill at any system call of restoring, or a full disk while archiving, loses nothing" {
    row archive 10 '^restore kill$|ENOSPC'
}

@test "a kill between two instructions of an append loses nothing" {
    row kill-steps 10 '^append$'
}

@test "writers that are killed at random lose nothing and block nobody" {
    row kill-random 15
}

@test "a power cut during appends of several processes loses nothing acknowledged" {
    STATES=20 row power-loss 10 '^many$'
}

@test "a power cut while a store is made leaves none, or a whole one" {
    row power-loss 20 '^init$'
}

@test "an I/O error at any write or sync is told, loses nothing, and is lifted by repair" {
    row io-errors 10 'EIO append|evict|group'
}

@test "a full disk is told, writes nothing half, and all works when there is space" {
    row io-errors 10 'ENOSPC (append|roll)|limited'
}

@test "short and interrupted transfers make no difference" {
    row io-errors 10 '(short|eintr) (append|roll)'
}

@test "a damaged, old, foreign or lost head changes no answer" {
    row head
}

@test "a flipped byte is found or makes no difference" {
    row flips 10 'every|tail'
}

@test "of several with the same expected version one wins; followers miss nothing" {
    row races 10
}

@test "a copied store opens as it is" {
    row copies
}

@test "planted links, pipes and modes are refused; reading writes nothing" {
    row attacks
}

@test "a kill at any system call of a named tail: delivered again, nothing lost" {
    row kill-tail 10 '^(print|window)$'
}

@test "tails and their commands that are killed at random: at least once, in order; with --source exactly once" {
    row followers 35
}

@test "a full or failing disk leaves a backup as it was, or makes a whole one" {
    row backup 10 '^(EIO|ENOSPC)'
}
