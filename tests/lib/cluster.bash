# cluster.bash: a cluster of esdb-raftd on loopback, in the working directory: NODE.yaml, NODE.key, NODE.log, the store NODE.

cluster_id=0190d3a8-6e4b-7c1f-9a3e-0123456789ab
declare -gA node_port node_pid

# free_port VARIABLE: a port that nobody listens on, and no other test gets before this one ends: a lock on a file of its number.
# Below what the kernel gives to outgoing connections (32768), one of which could have it just when the node begins.
free_port() {
    local number lock
    mkdir -p "${TMPDIR:-/tmp}/esdb-test-ports.$UID"
    while :; do
        number=$((16000 + RANDOM % 16000))
        exec {lock}>"${TMPDIR:-/tmp}/esdb-test-ports.$UID/$number"
        if flock -n "$lock" && ! (exec 3<>"/dev/tcp/127.0.0.1/$number") 2>/dev/null; then
            break
        fi
        exec {lock}>&-
    done
    printf -v "$1" %s "$number"
}

# cluster_configure NODE...: keys and configurations. $extra: more lines for each.
cluster_configure() {
    local n m port
    for n in "$@"; do
        free_port port
        node_port[$n]=$port
        esdb-raftd --keygen "$n.key" >"$n.pub" || return 1
    done
    for n in "$@"; do
        {
            printf 'node: %s\nstore: %s\nstore_id: %s\nkey_file: %s.key\n' "$n" "$n" "$cluster_id" "$n"
            printf 'listen: 127.0.0.1:%s\n%s\npeers:\n' "${node_port[$n]}" "${extra:-}"
            for m in "$@"; do
                printf '  - {name: %s, address: "127.0.0.1:%s", public_key: %s}\n' "$m" "${node_port[$m]}" "$(cat "$m.pub")"
            done
        } >"$n.yaml"
    done
}

# start_node NODE [OPTION...]
start_node() {
    local n=$1
    shift
    esdb-raftd -c "$n.yaml" "$@" 2>>"$n.log" 3>&- 4>&- &
    node_pid[$n]=$!
}

# kill_node NODE [SIGNAL]: and waits for its end. $node_status: how it ended.
kill_node() {
    kill "-${2:-KILL}" "${node_pid[$1]}" 2>/dev/null
    node_status=0
    wait "${node_pid[$1]}" 2>/dev/null || node_status=$?
    unset "node_pid[$1]"
}

# The node that leads, by what the logs say last; fails when none does.
leader() {
    local n
    for n in "${!node_pid[@]}"; do
        if tail -n 50 "$n.log" | grep -E ' (leads|follows|knows no leader|begins)' | tail -n 1 | grep -q ' leads in term'; then
            echo "$n"
            return 0
        fi
    done
    return 1
}

# cluster_start NODE...: the first is bootstrapped. All are voters at the end.
cluster_start() {
    local n
    cluster_configure "$@" || return 1
    start_node "$1" --bootstrap
    for n in "${@:2}"; do start_node "$n"; done
    wait_for 10 voters "$1" $#
}

voters() {
    [ "$(grep -c 'a voter as soon as' "$1.log")" -ge $(($2 - 1)) ] && caught_up
}

# Every node that runs shows the same events.
caught_up() {
    local n first='' now
    for n in "${!node_pid[@]}"; do
        [ -e "$n/store.yaml" ] || return 1
        now=$(esdb-read -S "$n" --all --system | sha256sum)
        [ "${first:=$now}" = "$now" ] || return 1
    done
}

cluster_stop() {
    local n
    for n in "${!node_pid[@]}"; do kill_node "$n"; done
}
