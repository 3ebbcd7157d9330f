# load.bash: what every bats file loads first:
#
#   load lib/load
#
# Gives: bats-support, bats-assert, bats-file; the tools of $BUILD on PATH; for each test a fresh working directory
# and no $ESDB_STORE. A file with a setup of its own calls esdb_setup first.

bats_require_minimum_version 1.5.0

_esdb_load_library() {
    local dir
    for dir in ${BATS_LIB_PATH:+"$BATS_LIB_PATH"} /usr/lib/bats /usr/share/bats /usr/local/lib /usr/lib; do
        if [ -e "$dir/$1/load.bash" ]; then
            load "$dir/$1/load.bash"
            return
        fi
    done
    echo "tests need $1: make deps-test installs it" >&2
    return 1
}
_esdb_load_library bats-support
_esdb_load_library bats-assert
_esdb_load_library bats-file

# The top of the source tree, and the build directory of the variant under test (absolute).
REPO=$(cd "$BATS_TEST_DIRNAME/.." && pwd)
while [ ! -e "$REPO/Makefile" ] && [ "$REPO" != / ]; do REPO=$(dirname "$REPO"); done
case ${BUILD:-build} in
/*) BUILD_DIR=${BUILD:-build} ;;
*) BUILD_DIR=$REPO/${BUILD:-build} ;;
esac
export REPO BUILD_DIR
export PATH="$BUILD_DIR/bin:$PATH"
export LC_ALL=C.UTF-8 TZ=UTC
unset ESDB_STORE NO_COLOR
# A report of a sanitizer must not look like one of esdb's own exit statuses.
export ASAN_OPTIONS="exitcode=99:detect_leaks=1${ASAN_OPTIONS:+:$ASAN_OPTIONS}"
export UBSAN_OPTIONS="halt_on_error=1:print_stacktrace=1:exitcode=99${UBSAN_OPTIONS:+:$UBSAN_OPTIONS}"

esdb_setup() {
    unset ESDB_STORE
    cd "$BATS_TEST_TMPDIR" || return 1
}

setup() {
    esdb_setup
}

# Is this build made with sanitizers, for coverage, without static linking? For tests that measure or inspect binaries.
is_variant() {
    [ "$(basename "$BUILD_DIR")" != build ]
}

skip_if_variant() {
    if is_variant; then skip "not for $(basename "$BUILD_DIR")"; fi
}

# The number of lines of a file, or of stdin.
lines_of() {
    wc -l <"${1:-/dev/stdin}"
}

# events N STREAM [FIRST]: N event lines for STREAM, of two types, numbered from FIRST (0) in data.n.
events() {
    local n=$1 stream=$2 first=${3:-0}
    awk -v n="$n" -v s="$stream" -v first="$first" 'BEGIN {
        for (i = first; i < first + n; i++)
            printf "{\"stream_id\":\"%s\",\"event_type\":\"%s\",\"data\":{\"n\":%d}}\n", s, i % 2 ? "Odd" : "Even", i
    }'
}

# new_store [NAME [ARGUMENT…]]: creates a store and makes it the default one.
new_store() {
    local name=${1:-store}
    [ $# -gt 0 ] && shift
    esdb-init "$@" "$name" >/dev/null || return 1
    export ESDB_STORE=$PWD/$name
}

# run_split COMMAND…: run with $output (stdout) and $stderr apart.
run_split() {
    run --separate-stderr "$@"
}

# assert_message STATUS TEXT: the last run_split ended with STATUS, printed nothing on stdout and exactly TEXT on stderr.
assert_message() {
    assert_equal "$status" "$1"
    assert_equal "$output" ''
    # shellcheck disable=SC2154 # set by run --separate-stderr
    assert_equal "$stderr" "$2"
}

# wait_for SECONDS COMMAND…: waits until COMMAND succeeds.
wait_for() {
    local end=$((SECONDS + $1))
    shift
    until "$@"; do
        [ "$SECONDS" -lt "$end" ] || { echo "gave up waiting for: $*" >&2; return 1; }
        sleep 0.02
    done
}

# flip FILE OFFSET: changes one byte, whatever it is.
flip() {
    local byte
    chmod u+w "$1"
    byte=$(od -An -tu1 -j "$2" -N 1 "$1")
    printf %b "\\x$(printf %x $((byte ^ 1)))" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}

# as_nobody COMMAND…: runs COMMAND as an unprivileged user; skips the test where that is impossible.
as_nobody() {
    [ "$(id -u)" -eq 0 ] || { "$@"; return; }
    command -v setpriv >/dev/null || skip 'needs setpriv'
    # Measuring coverage, its counts go where it may write.
    [ -z "${COVERAGE_RUNS:-}" ] || set -- env GCOV_PREFIX="$COVERAGE_RUNS/nobody" "$@"
    setpriv --reuid=65534 --regid=65534 --clear-groups -- "$@"
}
