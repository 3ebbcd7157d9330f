#!/usr/bin/env bash
# demo-cluster.sh: three nodes of one store on loopback, in one terminal; the leader is killed while events are appended.
set -u
bin=$(cd "${BUILD:-build}/bin" && pwd) || exit 1
export PATH="$bin:$PATH"
work=$(mktemp -d "${TMPDIR:-/tmp}/esdb-cluster.XXXXXX") || exit 1
cd "$work" || exit 1
declare -A pid
writer=

clean_up() {
    [ -z "$writer" ] || kill "$writer" 2>/dev/null
    for n in "${!pid[@]}"; do kill -KILL "${pid[$n]}" 2>/dev/null; done
    wait 2>/dev/null
    rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

say() {
    printf '\n\033[1m%s\033[0m\n' "$*"
}

node() {
    esdb-raftd -c "$1.yaml" "${@:2}" 2> >(sed -u "s/^esdb-raftd: /  [$1] /") &
    pid[$1]=$!
}

id=$(cat /proc/sys/kernel/random/uuid)
base=$((20000 + RANDOM % 30000))
peers='' i=0
for n in a b c; do
    peers+="  - {name: $n, address: 'localhost:$((base + i))', public_key: $(esdb-raftd --keygen "$n.key")}"$'\n'
    i=$((i + 1))
done
i=0
for n in a b c; do
    printf 'node: %s\nstore: %s\nstore_id: %s\nkey_file: %s.key\nlisten: localhost:%d\npeers:\n%s' \
        "$n" "$n" "$id" "$n" $((base + i)) "$peers" >"$n.yaml"
    i=$((i + 1))
done

say 'Three nodes; a begins, b and c join and fetch what is there'
node a --bootstrap
node b
node c
until [ -e a/store.yaml ] && esdb-cluster wait --healthy -S a --timeout 10s 2>/dev/null; do sleep 0.1; done
esdb-cluster status -S a

say 'Appending on node c, one event after the other'
(
    n=0
    while printf '{"event_type":"Tick","data":{"n":%d}}\n' "$n" | esdb-append -q -S c --timeout 10s clock; do
        n=$((n + 1))
    done
) &
writer=$!
sleep 1
leader=$(esdb-cluster status -S c --json | sed 's/.*"leader":"\([^"]*\)".*/\1/')
before=$(esdb-stream version -S c clock)
say "Killing the leader, $leader, after $((before + 1)) events"
kill -KILL "${pid[$leader]}"
wait "${pid[$leader]}" 2>/dev/null
unset "pid[$leader]"
sleep 1
say "A second later: $(($(esdb-stream version -S c clock) + 1)) events; $leader comes back"
node "$leader"
sleep 1
kill "$writer" 2>/dev/null
wait "$writer" 2>/dev/null
writer=
sleep 0.3

say 'The same events on all nodes:'
for n in a b c; do
    printf '  %s: %s events, digest %s\n' "$n" "$(esdb-read -S "$n" clock | wc -l)" \
        "$(esdb-read -S "$n" --all --system | sha256sum | cut -c 1-16)"
done
[ "$(for n in a b c; do esdb-read -S "$n" --all --system | sha256sum; done | sort -u | wc -l)" -eq 1 ]
