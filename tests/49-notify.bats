#!/usr/bin/env bats
# esdb-tail --name as a service: what it tells the service manager (sd_notify), and the units.
load lib/load

setup() {
    esdb_setup
    new_store
    command -v python3 >/dev/null || skip 'needs python3'
}

teardown() {
    for pid in $(jobs -p); do kill -9 "$pid" 2>/dev/null || true; done
}

# listen ADDRESS: writes each datagram that comes there to the file heard, assignments separated by blanks, with its sender.
listen() {
    python3 -u -c '
import socket, struct, sys
name = sys.argv[1]
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
s.bind("\0" + name[1:] if name[0] == "@" else name)
print("listening")
while True:
    text, extra, _, _ = s.recvmsg(4096, 1024)
    pid = struct.unpack("3i", extra[0][2])[0]
    print(pid, text.decode().replace("\n", " "))' "$1" >heard 3>&- &
    wait_for 5 grep -q listening heard
    export NOTIFY_SOCKET=$1
}
hears() { grep -q "$1" heard; }
count_of() { grep -c "$1" heard || true; }

@test "ready, alive, stopping" {
    listen "$PWD/notify"
    WATCHDOG_USEC=300000 esdb-tail --name a s >out 3>&- &
    local tail=$!
    wait_for 5 hears READY=1
    esdb-sub info a | jq -e .held
    sleep 1
    [ "$(count_of WATCHDOG=1)" -ge 5 ] # ten: each 100 ms
    [ "$(count_of WATCHDOG=1)" -le 40 ]
    run hears STOPPING=1
    assert_failure
    kill "$tail"
    wait "$tail"
    wait_for 5 hears STOPPING=1
    assert_equal "$(grep -v listening heard | cut -d' ' -f1 | sort -u)" "$tail"
    assert_equal "$(count_of READY=1) $(count_of STOPPING=1)" '1 1'
}

@test "a socket in the abstract name space; without a watchdog nothing is told in between" {
    listen "@esdb-test-$$-$RANDOM"
    esdb-tail --name a s >out 3>&- &
    local tail=$!
    wait_for 5 hears READY=1
    sleep 1.2
    kill "$tail"
    wait "$tail"
    wait_for 5 hears STOPPING=1
    assert_equal "$(count_of WATCHDOG)" 0
}

@test "a watchdog that is meant for another process" {
    listen "$PWD/notify"
    WATCHDOG_USEC=100000 WATCHDOG_PID=1 esdb-tail --name a s >out 3>&- &
    wait_for 5 hears READY=1
    sleep 0.4
    assert_equal "$(count_of WATCHDOG)" 0
}

@test "with commands: alive while one works, stopping before it has ended; commands do not speak for it" {
    listen "$PWD/notify"
    events 1 s | esdb-append -q
    WATCHDOG_USEC=300000 esdb-tail --name a s --exec -- \
        sh -c 'echo "${NOTIFY_SOCKET-none} ${WATCHDOG_USEC-none}" >env; sleep 1.5; touch finished' 3>&- &
    local tail=$!
    wait_for 5 test -s env
    assert_equal "$(cat env)" 'none none'
    sleep 0.5
    [ "$(count_of WATCHDOG=1)" -ge 3 ]
    kill "$tail"
    wait_for 5 hears STOPPING=1
    [ ! -e finished ]
    wait "$tail"
    [ -e finished ]
}

@test "by acknowledgements; in a group" {
    listen "$PWD/notify"
    mkfifo in
    WATCHDOG_USEC=300000 esdb-tail --name a s --ack stdin <in >out 3>&- &
    exec 4>in
    wait_for 5 hears WATCHDOG=1
    exec 4>&-
    wait_for 5 hears STOPPING=1
    : >heard
    WATCHDOG_USEC=300000 esdb-tail --name g --group s >out 3>&- &
    wait_for 5 hears READY=1
    wait_for 5 hears WATCHDOG=1
}

@test "one that stands by (--wait) is ready, and alive" {
    esdb-tail --name a s >out 3>&- &
    local holder=$!
    wait_for 5 sh -c 'esdb-sub info a | jq -e .held'
    listen "$PWD/notify"
    WATCHDOG_USEC=300000 esdb-tail --name a --wait >out2 3>&- &
    wait_for 5 hears 'READY=1 STATUS=stands by'
    sleep 0.7
    [ "$(count_of WATCHDOG=1)" -ge 3 ]
    kill -9 "$holder"
    wait_for 5 hears STATUS=follows
}

@test "nobody listens, or the name is none: it works as ever" {
    events 3 s | esdb-append -q
    local name
    for name in "$PWD/nowhere" '' '@' relative "/$(printf 'x%.0s' {1..200})"; do
        NOTIFY_SOCKET=$name WATCHDOG_USEC=nonsense esdb-tail --name "n$RANDOM" s --once >out
        assert_equal "$(lines_of out)" 3
    done
}

@test "the units: a service that notifies, and one for --once with its timer" {
    skip_if_variant
    local unit
    grep -qx 'Type=notify' "$REPO/systemd/esdb-tail@.service"
    grep -q '^WatchdogSec=' "$REPO/systemd/esdb-tail@.service"
    command -v systemd-analyze >/dev/null || skip 'needs systemd-analyze'
    for unit in esdb-tail@.service esdb-tail-once@.service esdb-tail-once@.timer; do
        sed "s|@PREFIX@/bin|$BUILD_DIR/bin|" "$REPO/systemd/$unit" >"${unit/@/@mailer}"
    done
    run systemd-analyze verify --man=no "$PWD/esdb-tail@mailer.service" "$PWD/esdb-tail-once@mailer.service" \
        "$PWD/esdb-tail-once@mailer.timer"
    assert_success
    refute_output --partial "$PWD"
}
