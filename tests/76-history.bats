#!/usr/bin/env bats
# The checker of what clients of a cluster saw (tests/lib/history.py) finds what is planted in a history, and nothing else.
load lib/load

@test "each fault planted in a history is found by its rule, and right histories are found right" {
    run python3 "$REPO/tests/lib/history_planted.py"
    assert_success
    assert_output --regexp '[0-9]+ planted, 0 bad'
    [ "$(grep -c ': ' <<<"$output")" -ge 8 ]
}

@test "the checker reads files, takes an append without an end for unknown, and half a line for none" {
    cat >history-1.jsonl <<'TEXT'
{"op":"append","client":"1","number":1,"node":"a","t0":10,"outcome":"begin","events":[["s","e1"]]}
{"op":"append","client":"1","number":1,"node":"a","t0":10,"t1":20,"outcome":"ok","events":[["s","e1"]],"versions":[0],"position":0}
{"op":"append","client":"1","number":2,"node":"a","t0":30,"outcome":"begin","events":[["s","e2"]]}
TEXT
    printf '{"op":"read","node":"a","t0"' >>history-1.jsonl
    printf '0\ts\t0\te1\n' | tee final-a.tsv >final-b.tsv
    run python3 "$REPO/tests/lib/history.py" .
    assert_success
    assert_output '{"operations": 2, "nodes": 2, "ok": 1, "unknown": 1, "wrong": 0}'
    printf '0\ts\t0\te2\n' >final-b.tsv
    run python3 "$REPO/tests/lib/history.py" .
    assert_failure 1
    assert_output --partial 'nodes: a (1 events) and b (1) differ from event 0 on'
}
