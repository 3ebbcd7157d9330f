#!/usr/bin/env bats
# esdb-trace: what caused what.
load lib/load

setup() {
    esdb_setup
    new_store
}

# event ID [CAUSE [STREAM [TYPE]]]: a line for esdb-append. CAUSE is JSON; empty: none. CORRELATION and ACTOR: strings.
event() {
    jq -cn --arg id "$1" --argjson cause "${2:-null}" --arg stream "${3:-s}" --arg type "${4:-T}" \
        --arg correlation "${CORRELATION:-}" --arg actor "${ACTOR:-}" '
        {stream_id: $stream, event_type: $type, event_id: $id, data: {id: $id},
         metadata: ({causation_id: $cause, correlation_id: $correlation, actor_id: $actor} | with_entries(select(.value != null and .value != "")))}'
}

# An order: placed -> paid -> shipped -> closed, paid -> mailed.
order() {
    {
        export CORRELATION=request-17 ACTOR=alice
        event placed '' orders-1 OrderPlaced
        event paid '"placed"' payments-7 PaymentTaken
        ACTOR=bob event shipped '"paid"' parcels-3 Shipped
        event mailed '"paid"' mails-1 Mailed
        event closed '"shipped"' orders-1 Closed
        unset CORRELATION
        event other '' orders-2 OrderPlaced
    } | esdb-append -q
}

# a -> b, a -> c; b -> d and c -> d, because two streams have an event d; d -> e.
diamond() {
    {
        export CORRELATION=diamond
        event a '' s1
        event b '"a"' s1
        event c '"a"' s1
        event d '"b"' s2
        event d '"c"' s3
        event e '"d"' s2
    } | esdb-append -q
}

# x -> y -> z -> x, and z -> out.
cycle() {
    {
        export CORRELATION=cycle
        event x '"z"'
        event y '"x"'
        event z '"y"'
        event out '"z"'
    } | esdb-append -q
}

# ids ARGUMENT...: the event ids that esdb-trace prints, on one line, in $output.
ids() {
    run_split esdb-trace "$@"
    output=$(jq -r .event_id <<<"$output" | tr '\n' ' ')
    output=${output% }
}

@test "effects prints direct effects; --all those of effects too" {
    order
    ids effects paid
    assert_success
    assert_output 'shipped mailed'
    ids effects --all placed
    assert_success
    assert_output 'paid shipped mailed closed'
    ids effects closed
    assert_success
    assert_output ''
}

@test "cause, ancestors and path follow causes" {
    order
    ids cause closed
    assert_success
    assert_output shipped
    ids ancestors closed
    assert_output 'placed paid shipped'
    ids path paid closed
    assert_success
    assert_output 'paid shipped closed'
    ids path paid paid
    assert_output paid
}

# The reference system printed the event that was asked for first, and its users had to turn chains round.
@test "a chain begins with the root" {
    order
    ids chain closed
    assert_success
    assert_output 'placed paid shipped closed'
    ids chain placed
    assert_output placed
}

# The reference system took the first event of its (turned) chain, the event itself, for the root; and it listed an edge
# once for each way that led to it.
@test "a graph starts at the root and has each edge once" {
    order
    diamond
    for id in placed shipped closed mailed; do
        run esdb-trace graph "$id"
        assert_success
        assert_equal "$(jq -r .root <<<"$output")" placed
        assert_equal "$(jq -c '[.nodes[].event_id]' <<<"$output")" '["placed","paid","shipped","mailed","closed"]'
        assert_equal "$(jq -c '[.edges[] | [.from, .to]]' <<<"$output")" \
            '[["placed","paid"],["paid","shipped"],["paid","mailed"],["shipped","closed"]]'
    done
    run esdb-trace graph e
    assert_equal "$(jq -c '[.edges[] | .from + .to]' <<<"$output")" '["ab","ac","bd","cd","de"]'
    assert_equal "$(jq -c '.edges | length == (unique | length)' <<<"$output")" true
}

# The reference system followed a cycle until its memory was used up.
@test "a cycle ends, and is named" {
    cycle
    for command in effects\ --all ancestors; do
        # shellcheck disable=SC2086
        ids $command x
        assert_success
        case $command in
        ancestors) assert_output 'y z' ;;
        *) assert_output 'y z out' ;;
        esac
    done
    run_split timeout 20 esdb-trace chain out --fields event_id
    assert_failure 9
    assert_output '{"event_id":"x"}
{"event_id":"y"}
{"event_id":"z"}
{"event_id":"out"}'
    assert_equal "$stderr" 'esdb-trace: out: its causes form a cycle: the event at position 0 is an effect of the one at position 2'
    run_split esdb-trace topo out
    assert_message 9 'esdb-trace: out: there is no order: x -> y -> z -> x'
    run esdb-trace graph cycle
    assert_success
    assert_equal "$(jq -c '[.root, .roots, .cycle]' <<<"$output")" '[null,[],["x","y","z"]]'
    run esdb-trace stats cycle --json
    assert_output '{"nodes":4,"events":4,"edges":4,"roots":0,"leaves":1,"missing":0,"outside":0,"depth":null,"cycle":["x","y","z"]}'
    run esdb-trace stats cycle
    assert_line 'cycle    x -> y -> z -> x'
    run esdb-trace tree out
    assert_success
    assert_output 'T  s@0  x
└── T  s@1  y
    └── T  s@2  z
        ├── T  s@0  x  (cycle)
        └── T  s@3  out'
}

@test "an event that names itself as its cause ends, too" {
    event self '"self"' | esdb-append -q
    ids effects self
    assert_success
    assert_output ''
    run_split esdb-trace cause self
    assert_message 9 'esdb-trace: self: names itself as its cause'
    ids chain self
    assert_failure 9
    assert_output self
    run_split esdb-trace topo self
    assert_message 9 'esdb-trace: self: there is no order: self -> self'
}

# The reference system listed what hangs under a diamond once for each way.
@test "the descendants of a diamond are listed once" {
    diamond
    run esdb-trace effects --all a --fields event_id,stream_id
    assert_output '{"event_id":"b","stream_id":"s1"}
{"event_id":"c","stream_id":"s1"}
{"event_id":"d","stream_id":"s2"}
{"event_id":"d","stream_id":"s3"}
{"event_id":"e","stream_id":"s2"}'
    ids ancestors e
    assert_output 'a b c d d'
    run esdb-trace tree a
    assert_output 'T  s1@0  a
├── T  s1@1  b
│   └── T  s2@0  d  (2 events)
│       └── T  s2@1  e
└── T  s1@2  c
    └── T  s2@0  d  (2 events)  (shown above)'
    run esdb-trace stats e
    assert_output 'nodes    5
events   6
edges    5
roots    1
leaves   1
missing  0
outside  0
depth    3
cycle    none'
}

# The reference system looked at the first 10,000 events of each stream.
@test "effects are found behind 10,000 events of a stream" {
    {
        event first '' big
        events 12000 big
        event last '"first"' big
        events 12000 big 12000
        event later '"last"' big
    } | esdb-append -q
    ids effects first
    assert_output last
    ids effects --all first
    assert_output 'last later'
    ids chain later
    assert_output 'first last later'
}

# The reference system wrote ids into DOT as they were: a UUID or a space was a syntax error, a quote anything.
@test "ids in DOT are quoted and labels escaped" {
    {
        event '0192f7a0-5b1e-7cc3' '' 'a "b"' 'Semi;colon'
        event 'end" ]; evil [label="x\' '"0192f7a0-5b1e-7cc3"' 'back\slash' 'Ä <b>'
        event 'a b' '"end\" ]; evil [label=\"x\\"'
    } | esdb-append -q
    run esdb-trace dot 'a b'
    assert_success
    assert_output 'digraph "a b" {
    node [shape=box];
    "0192f7a0-5b1e-7cc3" [label="Semi;colon\na \"b\"@0"];
    "end\" ]; evil [label=\"x\\" [label="Ä <b>\nback\\slash@0"];
    "a b" [label="T\ns@0"];
    "0192f7a0-5b1e-7cc3" -> "end\" ]; evil [label=\"x\\";
    "end\" ]; evil [label=\"x\\" -> "a b";
}'
    if command -v dot >/dev/null; then
        esdb-trace dot 'a b' | dot -Tplain | grep -c '^node' | grep -x 3
    fi
}

@test "a cause that is not in the store is named, and the status is 9" {
    {
        CORRELATION=c event orphan '"gone"'
        CORRELATION=c event child '"orphan"'
    } | esdb-append -q
    gone='esdb-trace: orphan: its cause gone is not in the store'
    run_split esdb-trace cause orphan
    assert_message 9 "$gone"
    ids chain child
    assert_failure 9
    assert_output 'orphan child'
    assert_equal "$stderr" 'esdb-trace: child: the cause of the event at position 0, gone, is not in the store'
    for command in ancestors topo roots leaves graph dot tree stats; do
        run_split esdb-trace "$command" child
        assert_failure 9
        assert_equal "$stderr" "$gone"
    done
    run_split esdb-trace graph child
    assert_equal "$(jq -c '[.root, .missing]' <<<"$output")" '["orphan",[{"causation_id":"gone","effect":"orphan"}]]'
    run_split esdb-trace dot c
    assert_line '    "gone" [style=dashed, label="gone\nnot in the store"];'
    assert_line '    "gone" -> "orphan" [style=dashed];'
    run_split esdb-trace tree c
    assert_line 'T  s@0  orphan  (cause gone is not in the store)'
    # What it caused is known all the same.
    ids effects gone
    assert_success
    assert_output orphan
    ids effects --all gone
    assert_success
    assert_output 'orphan child'
}

@test "no way from one event to another is status 4; a broken chain leaves it open" {
    order
    run_split esdb-trace path mailed closed
    assert_message 4 'esdb-trace: mailed is no cause of closed'
    run_split esdb-trace path closed placed
    assert_message 4 'esdb-trace: closed is no cause of placed'
    run_split esdb-trace path none closed
    assert_message 4 'esdb-trace: none: no such event'
    run_split esdb-trace path placed none
    assert_message 4 'esdb-trace: none: no such event'
    event orphan '"gone"' | esdb-append -q
    run_split esdb-trace path placed orphan
    assert_failure 9
    assert_output ''
    assert_equal "$stderr" 'esdb-trace: orphan: its cause gone is not in the store
esdb-trace: placed is no known cause of orphan'
}

@test "what is not there is status 4" {
    order
    for command in effects effects\ --all cause chain ancestors graph\ --by=event topo\ --by=event; do
        # shellcheck disable=SC2086
        run_split esdb-trace $command none
        assert_message 4 'esdb-trace: none: no such event'
    done
    for command in graph dot tree stats topo roots leaves; do
        run_split esdb-trace "$command" none
        assert_message 4 'esdb-trace: none: no event and no correlation has this id'
        run_split esdb-trace "$command" --by correlation placed
        assert_message 4 'esdb-trace: placed: no event has this correlation_id'
    done
    run_split esdb-trace correlated none
    assert_message 4 'esdb-trace: none: no event has this correlation_id'
    run_split esdb-trace actor none
    assert_message 4 'esdb-trace: none: no event has this actor_id'
    run_split esdb-trace cause placed
    assert_message 4 'esdb-trace: placed: has no cause'
    run_split esdb-trace effects --exit-status closed
    assert_message 4 ''
}

@test "correlated and actor print in order of positions, either way, as many as wanted" {
    order
    ids correlated request-17
    assert_success
    assert_output 'placed paid shipped mailed closed'
    ids correlated request-17 -r -n 2
    assert_output 'closed mailed'
    ids actor alice
    assert_output 'placed paid mailed closed other'
    ids actor bob
    assert_output shipped
}

@test "-n and -r go with every command that prints events" {
    order
    ids chain closed -r
    assert_output 'closed shipped paid placed'
    ids chain closed -n 2
    assert_output 'placed paid'
    ids effects --all placed -r -n 1
    assert_output closed
    ids effects paid -r
    assert_output 'mailed shipped'
    ids topo closed -r -n 2
    assert_output 'closed mailed'
    ids path placed closed -r
    assert_output 'closed shipped paid placed'
}

@test "events are printed as esdb-read prints them" {
    order
    run esdb-trace correlated request-17
    assert_output "$(esdb-read --all -n 5)"
    run esdb-trace chain paid
    assert_output "$(esdb-read --all -n 2)"
    run esdb-trace effects paid --output data
    assert_output '{"id":"shipped"}
{"id":"mailed"}'
    run bash -c 'esdb-trace effects -0 paid --fields event_id | tr "\0" "|"'
    assert_output '{"event_id":"shipped"}|{"event_id":"mailed"}|'
    run esdb-trace chain paid --output table --fields position,event_id
    assert_output $'0\tplaced\n1\tpaid'
}

@test "the graph of a correlation holds its events; causes elsewhere are told apart from missing ones" {
    {
        event outer ''
        CORRELATION=c event one '"outer"'
        CORRELATION=c event two '"one"'
        CORRELATION=c event three '"nowhere"'
        event after '"two"'
    } | esdb-append -q
    run_split esdb-trace graph c
    assert_failure 9
    assert_equal "$stderr" 'esdb-trace: three: its cause nowhere is not in the store'
    assert_equal "$(jq -c '[.roots, [.nodes[].event_id], .missing, .outside]' <<<"$output")" \
        '[["one","three"],["one","two","three"],[{"causation_id":"nowhere","effect":"three"}],[{"causation_id":"outer","effect":"one"}]]'
    ids graph one
    run_split esdb-trace tree one
    assert_success
    assert_output 'T  s@0  outer
└── T  s@1  one
    └── T  s@2  two
        └── T  s@4  after'
    ids topo c
    assert_output 'one two three'
    ids roots c
    assert_output 'one three'
    ids leaves c
    assert_output 'two three'
}

@test "an id that is an event's and a correlation's is the event's, unless --by says so" {
    {
        event both ''
        CORRELATION=both event member '"both"'
        CORRELATION=both event member2 ''
    } | esdb-append -q
    ids topo both
    assert_output 'both member'
    ids topo --by event both
    assert_output 'both member'
    ids topo --by correlation both
    assert_output 'member member2'
}

@test "topo puts causes first, also when they were appended later" {
    {
        CORRELATION=c event late '"early"'
        CORRELATION=c event alone ''
        CORRELATION=c event early ''
        CORRELATION=c event last '"late"'
    } | esdb-append -q
    ids topo c
    assert_success
    assert_output 'alone early late last'
    ids chain last
    assert_output 'early late last'
}

@test "of several causes with one id the newest before the effect is in the chain" {
    {
        event same '' s1
        event same '' s2
        event effect '"same"' s3
        event same '' s4
    } | esdb-append -q
    run esdb-trace chain effect --fields stream_id
    assert_output '{"stream_id":"s2"}
{"stream_id":"s3"}'
    run esdb-trace cause effect --fields stream_id
    assert_output '{"stream_id":"s1"}
{"stream_id":"s2"}
{"stream_id":"s4"}'
}

@test "ids are strings or numbers; null, true, objects and the like are none" {
    {
        event 42 '' s1
        event number 42 s1
        event string '"42"' s1
        event null 'null' s1
        printf '%s\n' '{"stream_id":"s1","event_type":"T","event_id":"float","metadata":{"causation_id":42.0}}' \
            '{"stream_id":"s1","event_type":"T","event_id":"n2","metadata":{"causation_id":null,"actor_id":null}}' \
            '{"stream_id":"s1","event_type":"T","event_id":"t","metadata":{"causation_id":true,"actor_id":true}}' \
            '{"stream_id":"s1","event_type":"T","event_id":"o","metadata":{"causation_id":{"causation_id":"42"},"actor_id":["42"]}}' \
            '{"stream_id":"s1","event_type":"T","event_id":"deep","metadata":{"x":{"causation_id":"42"}},"data":{"causation_id":"42"}}' \
            '{"stream_id":"s1","event_type":"T","event_id":"empty","metadata":{"causation_id":""}}' \
            '{"stream_id":"s1","event_type":"T","event_id":"array","metadata":["causation_id","42"]}' \
            '{"stream_id":"s1","event_type":"T","event_id":"twice","metadata":{"causation_id":"42","causation_id":"number"}}' \
            '{"stream_id":"s1","event_type":"T","event_id":"escaped","metadata":{"c\u0061usation_id":"\u00342"}}'
    } | esdb-append -q
    ids effects 42
    assert_output 'number string escaped'
    ids effects number
    assert_output twice
    ids chain float
    assert_failure 9
    for id in null n2 t o deep empty array; do
        run_split esdb-trace cause "$id"
        assert_message 4 "esdb-trace: $id: has no cause"
    done
    for actor in null true 42; do
        run_split esdb-trace actor "$actor"
        assert_message 4 "esdb-trace: $actor: no event has this actor_id"
    done
}

@test "system streams count when asked for" {
    order
    run_split esdb-trace effects placed --system --fields event_id
    assert_success
    assert_output '{"event_id":"paid"}'
}

@test "--max bounds the events that are gathered" {
    order
    for command in effects\ --all graph chain; do
        id=placed
        [ "$command" = chain ] && id=closed
        # shellcheck disable=SC2086
        run_split esdb-trace $command $id --max 3
        assert_failure 2
        assert_output ''
        assert_regex "$stderr" "^esdb-trace: $id: .*more than 3 events.*: --max allows more\$"
        # shellcheck disable=SC2086
        run_split esdb-trace $command $id --max 5
        assert_success
    done
}

@test "a command says which options and operands it takes" {
    check() {
        local text=$1
        shift
        run_split esdb-trace "$@"
        assert_message 2 "esdb-trace: $text
esdb-trace: try 'esdb-trace --help'"
    }
    check "'child' is no action: effects, cause, chain, ancestors, path, correlated, actor, graph, dot, tree, stats, topo, roots or leaves" child x
    check 'which action: effects, cause, chain, ancestors, path, correlated, actor, graph, dot, tree, stats, topo, roots or leaves?'
    check 'effects: which ID?' effects
    check 'path: which two events?' path a
    check 'cause: b is one too many' cause a b
    check 'chain: the ID is empty' chain ''
    check 'chain: has no --all' chain --all a
    check 'chain: has no --by' chain --by event a
    check 'graph: has no -n' graph -n 3 a
    check 'tree: has no --exit-status' tree --exit-status a
    check 'graph: has no --json' graph --json a
    check 'actor: has no --max' actor --max 3 a
    check 'effects: --max belongs to --all' effects --max 3 a
    check "--by: 'stream' is neither event nor correlation" graph --by stream a
    for command in graph dot tree stats; do
        for option in --output=json --fields=data --jq=. -0; do
            check "$command: prints no events: --output, --fields, --jq and -0 have no meaning" "$command" "$option" a
        done
    done
}

@test "trees are drawn in ASCII where the locale has no UTF-8" {
    diamond
    run env LC_ALL=C esdb-trace tree e
    assert_output 'T  s1@0  a
|-- T  s1@1  b
|   `-- T  s2@0  d  (2 events)
|       `-- T  s2@1  e
`-- T  s1@2  c
    `-- T  s2@0  d  (2 events)  (shown above)'
    run env -u LC_ALL LC_CTYPE=de_DE.utf8 LANG=C esdb-trace tree e
    assert_line --index 1 '├── T  s1@1  b'
    run env LC_ALL= LC_CTYPE= LANG=C esdb-trace tree e
    # shellcheck disable=SC2016
    assert_line --index 1 '|-- T  s1@1  b'
}

@test "a long chain is drawn in lines of bounded length" {
    seq 0 999 | jq -c '{stream_id: "s", event_type: "T", event_id: "e\(.)", metadata: {causation_id: (if . > 0 then "e\(. - 1)" else null end)}}' |
        esdb-append -q
    run esdb-trace tree e500 --max 1000
    assert_success
    assert_equal "${#lines[@]}" 1000
    assert_equal "${lines[40]}" "$(printf '%156s' '')└── T  s@40  e40"
    assert_equal "${lines[41]}" "⋯(1) $(printf '%156s' '')└── T  s@41  e41"
    assert_equal "${lines[999]}" "⋯(959) $(printf '%156s' '')└── T  s@999  e999"
    run esdb-trace stats e0 --json
    assert_equal "$(jq -c '[.nodes, .depth]' <<<"$output")" '[1000,999]'
    ids chain e999
    assert_equal "$output" "$(seq -s ' ' -f e%g 0 999)"
}

@test "control characters of ids reach no terminal and no line" {
    printf '%s\n' '{"stream_id":"s","event_type":"T","event_id":"e","metadata":{"causation_id":"\u001b[31m\nx\u009b"}}' |
        esdb-append -q
    visible='\x1b[31m\x0ax\xc2\x9b'
    run_split esdb-trace tree e
    assert_failure 9
    assert_output "T  s@0  e  (cause $visible is not in the store)"
    assert_equal "$stderr" "esdb-trace: e: its cause $visible is not in the store"
    run_split esdb-trace dot e
    assert_line --partial '"\\x1b[31m\\x0ax\\xc2\\x9b" -> "e" [style=dashed];'
    command -v script >/dev/null || skip 'needs script'
    for command in tree dot graph stats; do
        script -qec "esdb-trace $command e" /dev/null >typescript </dev/null || true
        run grep -c -a -P '\x1b\[31m|\xc2\x9b' typescript
        assert_output 0
    done
}

@test "a damaged part is named, what is whole is printed, and the status is 5" {
    new_store damaged --segment-size 64K
    {
        event root ''
        event one '"root"'
    } | esdb-append -q
    events 3000 filler | esdb-append -q --batch 100
    event two '"root"' | esdb-append -q
    second=$(find damaged/log -name '*.log' | sort | sed -n 2p)
    chmod u+w "$second"
    printf '\377\377\377\377' | dd of="$second" bs=1 seek=30000 conv=notrunc status=none
    rm -f "${second%.log}.idx"
    run_split esdb-trace effects root --fields event_id
    assert_failure 5
    assert_regex "$stderr" "$(basename "$second")"
    assert_output '{"event_id":"one"}
{"event_id":"two"}'
}

@test "random graphs: every answer is that of a brute-force reference" {
    seed=${SEED:-$RANDOM$RANDOM}
    echo "# SEED=$seed" >&3
    for round in 1 2 3 4; do
        new_store "random-$round" --segment-size 64K
        run timeout 300 python3 "$REPO/tests/lib/trace_reference.py" "$((seed + round))"
        assert_success
    done
}
