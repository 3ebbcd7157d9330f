#!/usr/bin/env bats
# Manual pages and completions say what the tools do: option lists, exit statuses, and examples that run.
load lib/load

# A store "shop" and the files that examples name.
fixture() {
    printf '%s\n' '{"event_type":"OrderPlaced","data":{"total":12}}' '{"event_type":"OrderPaid"}' >orders.jsonl
    esdb-init shop
    esdb-append -q -S shop orders-1 <orders.jsonl
    esdb-append -q -S shop orders-2 <orders.jsonl
    printf '%s\n' '{"stream_id":"order-1","event_type":"Sent"}' '{"stream_id":"stock","event_type":"Taken"}' >events.jsonl
    sed -n '/^\.Bd/,/^\.Ed/{/^\./!p}' "$REPO/man/esdb-trace.1" >request.jsonl
    printf 'one\ntwo\n' >app.log
    printf '\211PNG\r\n\032\n\0\001' >page.png
}

# The commands of the EXAMPLES of a page, a line each.
examples() {
    sed -n '/^\.Sh EXAMPLES/,/^\.Sh SEE ALSO/s/^\.Dl \$ //p' "$REPO/man/$1" | sed 's/\\e/\\/g; s/\\&//g'
}

# Runs them in one folder, in order: each must succeed. What follows for ever is given two seconds; its leaks are not
# looked for, because timeout's signal to the whole process group would end LeakSanitizer's helper and hang the tool.
run_examples() {
    local command count=0
    fixture
    while IFS= read -r command <&3; do
        case $command in
        *'tail -F'* | *esdb-tail*) [[ $command == *--until-end* || $command == *--once* ]] || command="ASAN_OPTIONS=detect_leaks=0 timeout -k 10 2 bash -c $(printf %q "$command") || [ \$? = 124 ]" ;;
        esac
        run timeout 60 bash -c "set -o pipefail; $command" </dev/null
        [ "$status" -eq 0 ] || fail "$1: $command: status $status: $output"
        count=$((count + 1))
    done 3< <(examples "$1")
    [ "$count" -gt 0 ] || fail "$1 has no examples"
}

@test "examples of esdb(1) run" { run_examples esdb.1; }
@test "examples of esdb-init(1) run" { run_examples esdb-init.1; }
@test "examples of esdb-append(1) run" { run_examples esdb-append.1; }
@test "examples of esdb-read(1) run" { run_examples esdb-read.1; }
@test "examples of esdb-tail(1) run" { run_examples esdb-tail.1; }
@test "examples of esdb-sub(1) run" { run_examples esdb-sub.1; }
@test "examples of esdb-stream(1) run" { run_examples esdb-stream.1; }
@test "examples of esdb-trace(1) run" { run_examples esdb-trace.1; }
@test "examples of esdb-snapshot(1) run" { run_examples esdb-snapshot.1; }
@test "examples of esdb-fold(1) run" { run_examples esdb-fold.1; }
@test "examples of esdb-scavenge(1) run" { run_examples esdb-scavenge.1; }
@test "examples of esdb-archive(1) run" { run_examples esdb-archive.1; }
@test "examples of esdb-stat(1) run" { run_examples esdb-stat.1; }
@test "examples of esdb-verify(1) run" { run_examples esdb-verify.1; }
@test "examples of esdb-backup(1) run" { run_examples esdb-backup.1; }
@test "examples of esdb-diff(1) run" { run_examples esdb-diff.1; }
@test "examples of esdb-dump(1) run" { run_examples esdb-dump.1; }
@test "examples of esdb-bench(1) run" { run_examples esdb-bench.1; }
@test "examples of esdb(7) run" { run_examples esdb.7; }

@test "the program in libesdb(3) compiles and prints what it appended" {
    skip_if_variant
    sed -n '/^\.Sh EXAMPLES/,/^\.Ed/p' "$REPO/man/libesdb.3" | sed '/^\./d; /^Append an event/d; s/\\e/\\/g' >program.c
    gcc -std=c11 -Wall -Wextra -Werror -I"$REPO/libcore" program.c -o program "$BUILD_DIR/libesdb.a" -l:libyaml.a -l:libzstd.a \
        -pthread
    run ./program
    assert_success
    assert_output '{"total":12}'
    run ./program # the store is there already
    assert_failure
    assert_output --partial 'orders: '
}

@test "every tool has a page, and every page says how tools exit and shows examples" {
    for tool in "$BUILD_DIR"/bin/*; do
        page=$REPO/man/$(basename "$tool").1
        [ -e "$page" ] || page=${page%.1}.8
        assert_file_exist "$page"
        for section in 'EXIT STATUS' EXAMPLES 'SEE ALSO'; do
            assert_file_contains "$page" "^\\.Sh $section\$"
        done
    done
}

@test "pages are clean mdoc" {
    command -v mandoc >/dev/null || skip 'needs mandoc'
    run bash -c "mandoc -T lint -W warning '$REPO'/man/*.[1-8] | grep -v 'referenced manual not found'"
    assert_output ''
}

@test "options and exit statuses are the same in help, pages and completions" {
    run "$REPO/scripts/check-options"
    assert_success
    assert_output ''
}

@test "an option or status that a page lacks is found" {
    mkdir copy
    cp -R "$REPO/scripts" "$REPO/man" "$REPO/completions" copy/
    sed -i '/^\.It Fl -literal$/d; s/^\.It 4$/.It 9/' copy/man/esdb-read.1
    run env BUILD="$BUILD_DIR" copy/scripts/check-options
    assert_failure 1
    assert_line 'man/esdb-read.1: --literal is missing'
    assert_line 'man/esdb-read.1: exit status: 4 is missing'
    assert_line 'man/esdb-read.1: exit status: 9 is not an option or status of the tool'
}

# complete LINE: what bash offers at the end of LINE.
complete_line() {
    bash --norc -c 'source "$1/completions/esdb.bash"
        read -ra COMP_WORDS <<<"$2"
        [[ $2 == *" " ]] && COMP_WORDS+=("")
        COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
        _esdb 2>/dev/null
        printf "%s\n" "${COMPREPLY[@]}"' - "$REPO" "$1"
}

@test "bash completes tools, actions, options, values and streams" {
    fixture
    assert_equal "$(complete_line 'esdb re')" read
    assert_equal "$(complete_line 'esdb-read --fr')" --from
    assert_equal "$(complete_line 'esdb read --fr')" --from
    assert_equal "$(complete_line 'esdb-read --output t')" table
    assert_equal "$(complete_line 'esdb-read --output c')" cloudevents
    assert_equal "$(complete_line 'esdb-read --fields d' | paste -sd' ')" 'data data_content_type data_base64'
    assert_equal "$(complete_line 'esdb-read --fields data,ve')" 'data,version'
    assert_equal "$(complete_line 'esdb-read --fields data,version,da' | paste -sd' ')" 'data,version,data_content_type data,version,data_base64'
    assert_equal "$(complete_line 'esdb-tail --since y')" yesterday
    assert_equal "$(complete_line 'esdb-stream v')" version
    assert_equal "$(complete_line 'esdb-read -S shop orders-' | tr '\n' ' ')" 'orders-1 orders-2 '
    assert_equal "$(complete_line 'esdb-stat sh')" shop
}

# Families of which the page names only the first letters, as .Li esdb_trace_, are left to the header.
@test "libesdb(3) has every function of esdb.h, with the arguments that it takes" {
    sed '/^ *#/d' "$REPO/libcore/esdb.h" | tr '\n' ' ' | sed 's|/\*[^*]*\*/||g' | grep -o 'ESDB_API [^;]*;' | tr -s ' ' |
        sed 's/^ESDB_API [^(]*\b\(esdb_[a-z_]*\)(\(.*\));$/\1(\2)/' | sort >declared
    sed -n '/^\.Sh DESCRIPTION/q; s/^\.Fn \(esdb_[a-z_]*\) \(.*\)/\1 \2/p' "$REPO/man/libesdb.3" |
        sed 's/" "/, /g; s/ "/(/; s/"$/)/; s/ void$/(void)/' | sort >page
    [ "$(wc -l <page)" -gt 50 ]
    run comm -13 declared page
    assert_output ''
    for family in $(sed -n 's/^\.Li \(esdb_[a-z]*_\).*/\1/p' "$REPO/man/libesdb.3"); do
        sed -i "/^$family/d" declared page
    done
    run diff declared page
    assert_output ''
}
