#!/usr/bin/env bats
# Results of every filter equal a brute-force reference: tests/lib/filters_reference.py, which says how. Any seed may be
# tried by hand: SEED=17 STORES=20 make check TESTS=tests/36-filters-property.bats
load lib/load

reference() {
    run timeout 600 python3 -B "$REPO/tests/lib/filters_reference.py" "$@"
    # shellcheck disable=SC2154 # set by run
    echo "$output"
    assert_success
}

@test "results of every filter equal a brute-force reference, on random stores with deletions and truncations" {
    echo "# SEED=${SEED:-1}" >&3
    reference --stores "${STORES:-3}" --queries 100 "${SEED:-1}"
    # All ways of finding events were tried.
    for way in 'path streams' 'path scan' 'path backward scan' 'path keys event_id' 'path keys event_type' 'path keys tags' \
        'path keys correlation_id' 'select native' 'select jq' 'status 4' 'status 8' 'esdb-tail'; do
        assert_line --partial "$way"
    done
}

@test "the reference finds a filter that leaves out an event, and one that lets a wrong one pass" {
    mkdir tools
    for mistake in 'sed -n "1!p"' 'cat; esdb-read "$@" 2>/dev/null | head -n 1'; do
        printf '#!/bin/sh\nPATH=%s\n{ esdb-read "$@"; echo $? >status; } | { %s; }\nexit "$(cat status)"\n' "$BUILD_DIR/bin:$PATH" "$mistake" >tools/esdb-read
        chmod +x tools/esdb-read
        rm -rf random-*
        PATH=$PWD/tools:$PATH run python3 -B "$REPO/tests/lib/filters_reference.py" --stores 1 --queries 20 1
        assert_failure 1
        assert_line --partial 'wrong answer: '
    done
}
