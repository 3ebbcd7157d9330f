#!/usr/bin/env bats
# esdb-init, the dispatcher esdb, what all tools share: options, help, and which store is meant.
load lib/load

@test "esdb-init creates a store and prints nothing" {
    run_split esdb-init store
    assert_success
    assert_equal "$output$stderr" ''
    assert_file_exist store/store.yaml
}

@test "esdb-init --json says what was created" {
    run_split esdb-init --json --store-id 01234567-89AB-cdef-0123-456789abcdef store
    assert_success
    assert_output '{"path":"store","store_id":"01234567-89ab-cdef-0123-456789abcdef","created":true}'
    run_split esdb-init --json --if-missing store
    assert_success
    assert_output '{"path":"store","store_id":"01234567-89ab-cdef-0123-456789abcdef","created":false}'
}

@test "esdb-init takes the store from -S or ESDB_STORE" {
    esdb-init -S one
    assert_file_exist one/store.yaml
    ESDB_STORE=two esdb-init
    assert_file_exist two/store.yaml
    run_split esdb-init -S one two
    assert_message 2 "esdb-init: both -S and PATH are given
esdb-init: try 'esdb-init --help'"
}

@test "esdb-init refuses a store and a directory with something in it" {
    esdb-init store
    run_split esdb-init store
    assert_message 2 'esdb-init: store: is an event store already'
    run_split esdb-init --if-missing store
    assert_message 0 ''
    mkdir full && touch full/file
    run_split esdb-init full
    assert_message 2 'esdb-init: full: is not an empty directory'
    run_split esdb-init --if-missing full
    assert_message 2 'esdb-init: full: is not an empty directory'
    run ls -A full
    assert_output 'file'
}

@test "esdb-init accepts an empty directory, and a path with a space" {
    mkdir 'a directory'
    esdb-init 'a directory'
    assert_file_exist 'a directory/store.yaml'
}

@test "esdb-init refuses wrong settings" {
    for bad in '--segment-size=1K' '--segment-size=2G' '--segment-size=x' '--segment-size=' '--shared=all' \
        '--durability=maybe' '--store-id=1' '--store-id=00000000-0000-0000-0000-000000000000' \
        '--store-id=0123456x-89ab-cdef-0123-456789abcdef'; do
        run_split esdb-init "$bad" store
        assert_equal "$status" 2
        assert_regex "$stderr" "^esdb-init: ${bad%%=*}: "
        assert_not_exist store
    done
}

@test "durability none is said loudly" {
    run_split esdb-init --durability none store
    assert_success
    assert_output ''
    assert_equal "$stderr" 'esdb-init: store: durability none: nothing is ever synced. When the machine crashes or loses power, events that were acknowledged are lost, and the store can be damaged'
}

@test "esdb-init in a directory that is not writable is denied" {
    mkdir locked && chmod 555 locked
    chmod 711 . # nobody must get here
    run_split as_nobody "$BUILD_DIR/bin/esdb-init" "$PWD/locked/store"
    [ "$status" -ne 127 ] || skip 'nobody cannot run the build'
    assert_equal "$status" 7
    assert_regex "$stderr" "^esdb-init: .*locked/store.*: Permission denied$"
}

@test "eight processes create the same store: one wins" {
    for i in 1 2 3 4 5 6 7 8; do
        (esdb-init store 2>/dev/null && echo won >>winners || true) &
    done
    wait
    assert_equal "$(lines_of winners)" 1
    echo '{"event_type":"A"}' | esdb-append -q -S store s
}

@test "no store given: a hint and status 2" {
    for tool in 'append s' 'read --all' 'tail --all' init; do
        # shellcheck disable=SC2086
        run_split esdb-$tool </dev/null
        assert_message 2 "esdb-${tool%% *}: no store given: use -S STORE or set ESDB_STORE"
    done
}

@test "a store is found by its name in the configuration file" {
    export XDG_CONFIG_HOME=$PWD/config HOME=$PWD/house
    mkdir -p config/esdb house
    esdb-init "$PWD/house/data"
    printf 'stores:\n  main: ~/data\n  "gone": /does/not/exist\n' \
        >config/esdb/config.yaml
    echo '{"event_type":"A"}' | esdb-append -q -S main s
    run esdb-read -S main --count --all
    assert_output 1
    run esdb-read -S "$PWD/house/data" --count --all
    assert_output 1
    run_split esdb-read -S gone --all
    assert_equal "$status" 2
    assert_regex "$stderr" '/does/not/exist'
    # A directory of that name comes first.
    esdb-init ./main
    run esdb-read -S main --count --all
    assert_output 0
    mkdir -p house/.config/esdb
    mv config/esdb/config.yaml house/.config/esdb/
    rm -r main
    XDG_CONFIG_HOME='' run esdb-read -S main --count --all
    assert_output 1
}

@test "a bad configuration file is refused" {
    export XDG_CONFIG_HOME=$PWD
    mkdir esdb
    check() {
        printf '%b' "$1" >esdb/config.yaml
        run_split esdb-read -S main --all
        assert_message 2 "esdb-read: $PWD/esdb/config.yaml: $2"
    }
    check '- a\n' 'line 1: must be a map'
    check 'stores: [a]\n' 'line 1: stores: must be a map of names to paths'
    check 'stores: a\n' 'line 1: stores: must be a map of names to paths'
    check 'stores:\n  main: [a]\n' 'line 2: stores: must be a map of names to paths'
    check 'stores:\n  main: relative\n' "line 2: the path of a store must begin with '/' or '~/'"
    check 'store:\n  main: /x\n' "line 1: unknown key 'store': only 'stores' is known"
    check 'stores:\n  main: /x\nStores: 1\n' "line 3: unknown key 'Stores': only 'stores' is known"
    check 'stores: &x 1\n' 'line 1: anchors and tags are not allowed'
    check 'stores: !!str 1\n' 'line 1: anchors and tags are not allowed'
    check 'stores: *x\n' 'line 1: aliases are not allowed'
    check "a: $(head -c 70000 /dev/zero | tr '\0' x)\n" 'larger than 64 KiB'
    printf 'a: {\n' >esdb/config.yaml
    run_split esdb-read -S main --all
    assert_equal "$status" 2
}

@test "a failed esdb-init leaves no directory behind, and nothing else is removed" {
    run_split bash -c 'ulimit -f 1; esdb-init new'
    assert_equal "$status" 1
    assert_not_exist new
    mkdir old
    run_split bash -c 'ulimit -f 1; esdb-init old'
    assert_equal "$status" 1
    assert_exist old
    esdb-init old
    run esdb-verify -S old
    assert_success
}

@test "esdb runs the tools" {
    esdb init store
    echo '{"event_type":"A"}' | esdb append -q -S store s
    run esdb read -S store s --count
    assert_output 1
    run esdb read --help
    assert_line --index 0 'esdb-read - print events'
    run esdb help read
    assert_line --index 0 'esdb-read - print events'
}

@test "esdb finds the tools beside itself" {
    mkdir bin
    cp "$BUILD_DIR/bin/esdb" bin/esdb
    printf '#!/bin/sh\necho "beside: $*"\n' >bin/esdb-read
    chmod +x bin/esdb-read
    run env PATH=/usr/bin:/bin bin/esdb read 'a b' c
    assert_output 'beside: a b c'
    ln -s bin/esdb link
    run env PATH=/usr/bin:/bin ./link read x
    assert_output 'beside: x'
}

@test "esdb with an unknown tool names the near ones" {
    run_split esdb raed
    assert_message 2 "esdb: there is no tool 'raed'
esdb: did you mean: read, raftd?"
    run_split esdb frobnicate
    assert_message 2 "esdb: there is no tool 'frobnicate'
esdb: 'esdb help' lists the tools"
    run_split esdb ../bin/esdb-read
    assert_message 2 "esdb: there is no tool '../bin/esdb-read'
esdb: 'esdb help' lists the tools"
    run_split esdb
    assert_message 2 "esdb: which tool? 'esdb help' lists them"
}

@test "esdb help lists every tool that is built, and no other" {
    esdb help | sed -n 's/^  \([a-z]*\) .*/\1/p' | sort >listed
    for tool in "$BUILD_DIR"/bin/esdb-*; do echo "${tool##*/esdb-}"; done | sort >built
    run diff listed built
    assert_output ''
}

@test "every tool has -h, --help with examples first, --version and --help=options" {
    version=$(esdb --version | cut -d' ' -f2)
    for path in "$BUILD_DIR"/bin/esdb*; do
        tool=${path##*/}
        run_split "$tool" --version
        assert_success
        assert_output "$tool $version"
        run_split "$tool" -h
        assert_success
        assert_line --index 0 --partial "Usage: $tool"
        run_split "$tool" --help
        assert_success
        assert_line --index 0 --partial "$tool - "
        assert_line --index 1 'Examples:'
        assert_line 'Exit status:'
        run_split "$tool" --help=options
        assert_success
        assert_line --regexp $'^\t--version\t(\tprint the version|N\t.*)$' # of esdb-snapshot it is an option, too
        while IFS= read -r line; do
            assert_equal "$(printf '%s' "$line" | tr -cd '\t' | wc -c)" 3
        done <<<"$output"
        run_split "$tool" --no-such-option
        assert_message 2 "$tool: unknown option --no-such-option
$tool: try '$tool --help'"
    done
}

@test "help fits 120 columns" {
    for path in "$BUILD_DIR"/bin/esdb*; do
        run awk 'length > 120' <("${path##*/}" --help)
        assert_output ''
    done
}

@test "wrong options: what, a hint, status 2" {
    check() {
        run_split esdb-read "${@:2}"
        assert_message 2 "esdb-read: $1
esdb-read: try 'esdb-read --help'"
    }
    check 'unknown option -Z' -Z
    check 'unknown option --bogus' --bogus=1
    check 'ambiguous option --li' --li
    check '-n needs an argument' --all -n
    check '--from needs an argument' --from
    check '--count takes no argument' --count=3
    check "-n: '-1' is not a number" -n -1 --all
    check "--limit: '18446744073709551616' is not a number" --limit 18446744073709551616 --all
    check "--output: 'xml' is none of json, data, table, cloudevents" --output xml --all
    check "--color: 'blue' is none of auto, always, never" --color blue --all
    check "--fields: there is no field 'foo'" --fields data,foo --all
    check '--fields: data stands there twice' --fields data,data --all
    check "-S: the store's name is empty" -S '' --all
    check '--help=x: only --help=options is known' --help=x
}

@test "messages show control bytes" {
    run_split esdb-read -S "$(printf 'no\033[31m/\xc2\x9bstore\xff')" --all
    assert_equal "$status" 2
    assert_equal "${stderr%%:*}" esdb-read
    assert_regex "$stderr" 'no\\x1b\[31m/\\xc2\\x9bstore\\xff'
}

@test "errors of standard output are reported" {
    new_store
    events 3 s | esdb-append -q
    run_split sh -c 'esdb-read --all >/dev/full'
    assert_message 1 'esdb-read: writing to standard output: No space left on device'
    run_split sh -c 'esdb-read --help >/dev/full'
    assert_message 1 'esdb-read: writing to standard output: No space left on device'
    run_split sh -c 'esdb-read --all >&-'
    assert_message 1 'esdb-read: writing to standard output: Bad file descriptor'
    run_split sh -c 'echo "{\"event_type\":\"A\"}" | esdb-append s >/dev/full'
    assert_message 1 'esdb-append: writing to standard output: No space left on device
esdb-append: receipts are lost, but 1 event is written: the last one at position 3, from line 1 of the input'
}

@test "closed descriptors do no harm to the store" {
    new_store
    sh -c 'echo "{\"event_type\":\"A\"}" | esdb-append s >&- 2>&-' || true
    sh -c 'esdb-append s <&- 2>&-' || true
    run esdb-verify
    assert_success
    run esdb-read --all --count
    assert_output 1
}

@test "no help is wider than 80 columns" {
    for path in "$BUILD_DIR"/bin/*; do
        tool=${path##*/}
        for option in -h --help; do
            run bash -c "$tool $option | awk 'length > 80 { print FILENAME \"$tool: \" \$0 }'"
            assert_output ''
        done
    done
}
