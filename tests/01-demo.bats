#!/usr/bin/env bats
# scripts/demo.sh: each kind of input, each kind of user; what it leaves, and that a failing step fails it.
load lib/load

setup() {
    esdb_setup
    skip_if_variant
    export BUILD=$BUILD_DIR TMPDIR=$PWD/tmp
    unset DEMO_DIR DEMO_LINES
    mkdir -m 1777 tmp
    export DEMO_LOG=$PWD/dpkg.log
}

# A package log of five packages.
package_log() {
    local n package
    for n in 1 2 3 4 5; do
        package="lib$n:amd64"
        cat <<LINES
2025-06-24 14:36:2$n startup archives unpack
2025-06-24 14:36:2$n install $package <none> 1.$n-1~deb12u1
2025-06-24 14:36:2$n status half-installed $package 1.$n-1~deb12u1
2025-06-24 14:36:2$n status unpacked $package 1.$n-1~deb12u1
2025-06-24 14:36:2$n configure $package 1.$n-1~deb12u1 <none>
2025-06-24 14:36:2$n status installed $package 1.$n-1~deb12u1
LINES
    done
}

# A source tree that has the demo and two files with difficult names, without git.
source_tree() {
    mkdir -p "$1/scripts" "$1/cmd"
    cp "$REPO/scripts/demo.sh" "$1/scripts/"
    for i in 1 2 3 4 5; do echo "$i" >"$1/cmd/file$i.c"; done
    echo >"$1/cmd/"$'a "quoted" back\\slash \t tab'
    echo >"$1/cmd/"$'not \xff UTF-8, \xc3\xa9 is'
}

# The demo ended well: every part was shown, and it says what it did with the directory.
assert_demo() {
    assert_success
    for part in 1 2 3 4 5 6 7 8; do assert_output --regexp "(^|"$'\n'")$part\. "; done
    assert_output --partial 'tail>  '
    assert_output --regexp 'expected version [0-9]+, found [0-9]+'
    assert_output --regexp $'\n''ok: [0-9]+ events of'
    assert_output --partial $'\nsame\n'
    refute_output --partial 'demo: '
}

@test "the demo shows the package log of this machine, or what it finds instead, and leaves nothing" {
    unset DEMO_LOG
    begin=$SECONDS
    run "$REPO/scripts/demo.sh" </dev/null
    assert_demo
    [ $((SECONDS - begin)) -lt 15 ]
    run ls -A tmp
    assert_output ''
}

@test "a package log becomes one stream a package" {
    package_log >dpkg.log
    export DEMO_DIR="$PWD/kept here"
    run "$REPO/scripts/demo.sh"
    assert_demo
    assert_output --partial "It has 30 lines."
    assert_output --partial "$DEMO_DIR/store"
    export ESDB_STORE=$DEMO_DIR/store
    run esdb-read pkg-lib2 --to 29 --fields version,event_type,data
    assert_output '{"version":0,"event_type":"PackageInstalled","data":{"version":"1.2-1~deb12u1","arch":"amd64","time":"2025-06-24T14:36:22"}}
{"version":1,"event_type":"StatusChanged","data":{"status":"half-installed","version":"1.2-1~deb12u1","arch":"amd64","time":"2025-06-24T14:36:22"}}
{"version":2,"event_type":"StatusChanged","data":{"status":"unpacked","version":"1.2-1~deb12u1","arch":"amd64","time":"2025-06-24T14:36:22"}}
{"version":3,"event_type":"PackageConfigured","data":{"version":"1.2-1~deb12u1","arch":"amd64","time":"2025-06-24T14:36:22"}}
{"version":4,"event_type":"StatusChanged","data":{"status":"installed","version":"1.2-1~deb12u1","arch":"amd64","time":"2025-06-24T14:36:22"}}'
    run esdb-stream list --count
    assert_output 6
}

@test "rotated package logs come first, compressed ones too, and a line that is no package log is left out" {
    package_log | sed -n 1,6p | gzip >dpkg.log.2.gz
    package_log | sed -n 7,12p >dpkg.log.1
    { echo 'something else'; package_log | sed -n 13,18p; } >dpkg.log
    DEMO_DIR=kept run "$REPO/scripts/demo.sh"
    assert_demo
    assert_output --partial 'It has 18 lines.'
    package_log | sed -n 1,18p | cmp - kept/input.txt
}

@test "without a package log: the history of the repository" {
    source_tree tree
    git -C tree init -q
    git -C tree add -A
    git -C tree -c user.name='Anna "A" Müller' -c user.email=a@localhost commit -q -m first
    DEMO_DIR=kept run tree/scripts/demo.sh
    assert_demo
    assert_output --partial 'history of this repository'
    run jq -r '.data.author' <(esdb-read -S ./kept/store commits)
    assert_output 'Anna "A" Müller'
    run esdb-read -S ./kept/store 'dir-*' -t FileAdded --count
    assert_output 8
}

@test "without both: the files of the source tree, whatever their names" {
    source_tree 'a tree'
    DEMO_DIR=kept run 'a tree/scripts/demo.sh'
    assert_demo
    assert_output --partial 'list of the files'
    run jq -r 'select(.data.path | test("file") | not).data.path' <(esdb-read -S ./kept/store dir-cmd -t FileSeen)
    assert_output $'cmd/a "quoted" back\\slash \t tab\ncmd/not  UTF-8, é is'
}

@test "the demo works for a user without rights, in a path with a space, without a terminal" {
    package_log >dpkg.log
    chmod 755 "$BATS_RUN_TMPDIR" "$BATS_SUITE_TMPDIR" "$BATS_FILE_TMPDIR" "$BATS_TEST_TMPDIR" 2>/dev/null || true
    as_nobody test -x "$BUILD_DIR/bin/esdb-append" || skip 'another user cannot reach the build directory'
    as_nobody test -w tmp || skip 'another user cannot reach the test directory'
    mkdir 'a copy' && source_tree 'a copy'
    chmod -R go+rX 'a copy'
    HOME=/nonexistent run as_nobody env TERM= 'a copy/scripts/demo.sh' </dev/null
    assert_demo
}

@test "at a terminal of 80 columns, no line of the demo's own text is longer" {
    command -v script >/dev/null || skip 'needs script'
    package_log >dpkg.log
    place=$(mktemp -d /tmp/demo.XXXXXX) # a short path
    NO_COLOR=1 DEMO_DIR=$place run script -qec "stty cols 80; '$REPO/scripts/demo.sh'" /dev/null
    rm -rf "$place"
    assert_success
    # What is longer is data: lines of JSON, the store's page, and the path that is told at the end.
    run awk '{ sub(/\r$/, ""); gsub(/…/, ".") } length > 80 && !/^(id|log) / && !/^\{/ && !/^  export/' <<<"$output"
    assert_output ''
}

@test "a step that fails makes the demo fail, and nothing is left" {
    package_log >dpkg.log
    mkdir -p broken/bin
    cp "$BUILD_DIR"/bin/* broken/bin/
    printf '#!/bin/sh\nexit 5\n' >broken/bin/esdb-verify
    chmod +x broken/bin/esdb-verify
    BUILD=$PWD/broken run "$REPO/scripts/demo.sh"
    assert_failure
    assert_output --partial 'demo: failed at: 7. Verifying'
    run ls -A tmp
    assert_output ''
}

@test "the demo refuses a directory that is not empty" {
    package_log >dpkg.log
    mkdir kept && touch kept/mine
    DEMO_DIR=kept run "$REPO/scripts/demo.sh"
    assert_failure 1
    assert_output "demo: $PWD/kept is not empty"
    assert_file_exist kept/mine
}
