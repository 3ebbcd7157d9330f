# bash completion of esdb and its tools. Options come from the tools themselves (TOOL --help=options).

# What follows an option, when the value has a known form: prints words, or sets COMPREPLY to paths.
_esdb_value() {
    local tool=$1 option=$2 argument=$3 cur=$4
    case $option in
    --output) echo 'json data table cloudevents' ;;
    --fields) _esdb_fields "$cur" ;;
    --since | --until | --as-of | --at) echo 'now today yesterday tomorrow -1h -1d' ;;
    --to) [ "$tool" = esdb-backup ] && echo 'now today yesterday -1h -1d pos:' ;;
    --color) echo 'auto always never' ;;
    --durability) echo 'fsync none' ;;
    --shared) echo 'group' ;;
    --on-error) echo 'stop skip' ;;
    -e | --expect) echo 'any no-stream exists' ;;
    --by) echo 'event correlation' ;;
    --kind) echo 'scan stream write-sync lock-write-sync' ;;
    --order) echo 'stream none' ;;
    --park) echo 'event stream stop' ;;
    --ack) echo 'auto stdin' ;;
    --name) _esdb_subscriptions "$cur" ;;
    --from) [ "$tool" = esdb-tail ] && echo 'start end' ;;
    *) case $argument in
        STORE | DIR) compgen -d -- "$cur" ;;
        FILE) compgen -f -- "$cur" ;;
        esac ;;
    esac
}

# Lists of fields: what was typed up to the last comma, with each field that is not in it yet.
_esdb_fields() {
    local field before=
    [[ $1 == *,* ]] && before=${1%,*},
    for field in position stream_id version event_id event_type epoch_us data metadata data_content_type \
        metadata_content_type data_base64; do
        [[ ,$before == *,$field,* ]] || echo "$before$field"
    done
}

# The store that the words so far name, as arguments.
_esdb_store() {
    local i
    for ((i = 1; i < COMP_CWORD; i++)); do
        case ${COMP_WORDS[i]} in
        -S | --store) printf '%s\n' -S "${COMP_WORDS[i + 1]}" ;;
        esac
    done
}

# Streams whose names begin with $1, at most 100; names that JSON must escape are left out.
_esdb_streams() {
    local store prefix
    mapfile -t store < <(_esdb_store)
    prefix=$(printf '%s' "$1" | sed 's/[*?\\]/\\&/g')
    esdb-stream "${store[@]}" list "$prefix*" 2>/dev/null | head -n 100 | sed -n 's/^{"stream_id":"\([^"\\]*\)",.*/\1/p'
}

# Names of subscriptions that begin with $1, at most 100.
_esdb_subscriptions() {
    local store
    mapfile -t store < <(_esdb_store)
    esdb-sub "${store[@]}" list 2>/dev/null | sed -n 's/^{"name":"\([^"\\]*\)",.*/\1/p' |
        while IFS= read -r name; do [[ $name == "$1"* ]] && echo "$name"; done | head -n 100
}

# Keys of archives that begin with $1, at most 100.
_esdb_keys() {
    local store
    mapfile -t store < <(_esdb_store)
    esdb-archive "${store[@]}" list 2>/dev/null | sed -n 's/^{"key":"\([^"]*\)",.*/\1/p' |
        while IFS= read -r key; do [[ $key == "$1"* ]] && echo "$key"; done | head -n 100
}

_esdb_operand() {
    local tool=$1 nth=$2 cur=$3
    case $tool:$nth in
    esdb-stream:0) compgen -W 'list info version exists delete undelete truncate set partition' -- "$cur" ;;
    esdb-sub:0) compgen -W 'list info lag check exists ack seek remove parked' -- "$cur" ;;
    esdb-sub:*) _esdb_subscriptions "$cur" ;;
    esdb-cluster:0) compgen -W 'status members wait transfer add remove watch' -- "$cur" ;;
    esdb-archive:0) compgen -W 'list read verify restore exists delete parse-key' -- "$cur" ;;
    esdb-archive:*) case " ${COMP_WORDS[*]} " in *' list '* | *' read '*) _esdb_streams "$cur" ;; *) _esdb_keys "$cur" ;; esac ;;
    esdb-trace:0) compgen -W 'effects cause chain ancestors path correlated actor graph dot tree stats topo roots leaves' -- "$cur" ;;
    esdb-bench:0) compgen -W 'append read tail floor' -- "$cur" ;;
    esdb-bench:*) ;;
    esdb-snapshot:0) compgen -W 'save load list exists delete prune' -- "$cur" ;;
    esdb-backup:0) compgen -W restore -- "$cur"; compgen -d -- "$cur" ;;
    esdb-backup:* | esdb-diff:*) compgen -d -- "$cur" ;;
    esdb-append:0 | esdb-snapshot:1 | esdb-scavenge:* | esdb-fold:* | esdb-read:* | esdb-tail:* | esdb-stream:*) _esdb_streams "$cur" ;;
    esdb-dump:*) compgen -f -- "$cur" ;;
    esdb-init:0 | esdb-stat:0 | esdb-verify:0) compgen -d -- "$cur" ;;
    esac
}

_esdb() {
    local cur=${COMP_WORDS[COMP_CWORD]} tool=${COMP_WORDS[0]##*/} first=1 i nth=0 short long argument option=
    local tools='init append read tail sub stream trace snapshot fold scavenge archive stat verify backup diff dump bench'
    local -A takes=()
    local options=() found=()
    COMPREPLY=()
    if [ "$tool" = esdb ]; then
        if [ "$COMP_CWORD" -eq 1 ]; then
            mapfile -t COMPREPLY < <(compgen -W "$tools help --help --version" -- "$cur")
            return
        fi
        if [ "${COMP_WORDS[1]}" = help ]; then
            mapfile -t COMPREPLY < <(compgen -W "$tools" -- "$cur")
            return
        fi
        tool=esdb-${COMP_WORDS[1]} first=2
    fi
    # Empty fields must stay: a tab alone would not keep them apart.
    while IFS=$'\x1f' read -r short long argument _; do
        for i in $short $long; do
            options+=("$i")
            case $argument in '' | \[*) ;; *) takes[$i]=$argument ;; esac
        done
    done < <("$tool" --help=options 2>/dev/null | tr '\t' '\037')

    for ((i = first; i < COMP_CWORD; i++)); do
        option=
        case ${COMP_WORDS[i]} in
        --) if [ "$tool" = esdb-tail ]; then
                # the command, and what it takes
                if [ "$i" -eq $((COMP_CWORD - 1)) ]; then
                    mapfile -t COMPREPLY < <(compgen -c -- "$cur")
                else
                    compopt -o default 2>/dev/null
                fi
                return
            fi ;;
        -*) if [ -n "${takes[${COMP_WORDS[i]}]:-}" ]; then
                option=${COMP_WORDS[i]}
                i=$((i + 1))
            fi ;;
        *) nth=$((nth + 1)) ;;
        esac
    done
    if [ -n "$option" ] && [ "$i" -gt "$COMP_CWORD" ]; then
        case $option in
        -S | --store | --dir | -o | --tar) compopt -o filenames 2>/dev/null
            mapfile -t COMPREPLY < <(_esdb_value "$tool" "$option" "${takes[$option]}" "$cur") ;;
        *) mapfile -t COMPREPLY < <(compgen -W "$(_esdb_value "$tool" "$option" "${takes[$option]}" "$cur")" -- "$cur") ;;
        esac
        return
    fi
    if [ "${cur#-}" != "$cur" ]; then
        mapfile -t COMPREPLY < <(compgen -W "${options[*]}" -- "$cur")
        return
    fi
    case $tool in esdb-backup | esdb-diff | esdb-dump | esdb-init | esdb-stat | esdb-verify) compopt -o filenames 2>/dev/null ;; esac
    mapfile -t found < <(_esdb_operand "$tool" "$nth" "$cur")
    for i in "${!found[@]}"; do
        case $tool in
        esdb-append | esdb-read | esdb-tail | esdb-stream | esdb-snapshot | esdb-fold | esdb-scavenge) COMPREPLY[i]=$(printf '%q' "${found[i]}") ;;
        *) COMPREPLY[i]=${found[i]} ;;
        esac
    done
    if declare -F __ltrim_colon_completions >/dev/null; then __ltrim_colon_completions "$cur"; fi
}

complete -F _esdb esdb esdb-init esdb-append esdb-read esdb-tail esdb-sub esdb-stream esdb-trace esdb-snapshot esdb-fold esdb-scavenge esdb-archive esdb-stat esdb-verify esdb-backup esdb-diff esdb-dump esdb-bench esdb-raftd esdb-cluster
