# fish completion of esdb and its tools. Options come from the tools themselves (TOOL --help=options).

if not set -q __esdb_completed
    set -g __esdb_completed yes
    set -l tools init append read tail sub stream trace snapshot fold scavenge archive stat verify backup diff dump bench raftd cluster

    # The store that the command line names, as arguments.
    function __esdb_store
        set -l words (commandline -opc)
        for i in (seq (count $words))
            if contains -- $words[$i] -S --store
                printf '%s\n' -S $words[(math $i + 1)]
            end
        end
    end

    # Streams that begin like the current word, at most 100; names that JSON must escape are left out.
    function __esdb_streams
        set -l prefix (commandline -ct | string replace -ar '[*?\\\\]' '\\\\$0')
        esdb-stream (__esdb_store) list "$prefix*" 2>/dev/null | head -n 100 |
            string replace -rf '^\{"stream_id":"([^"\\\\]*)",.*' '$1'
    end

    # Names of subscriptions.
    function __esdb_subscriptions
        esdb-sub (__esdb_store) list 2>/dev/null | head -n 100 |
            string replace -rf '^\{"name":"([^"\\\\]*)",.*' '$1'
    end

    # Streams, or keys of archives.
    function __esdb_archives
        if contains -- list (commandline -opc); or contains -- read (commandline -opc)
            __esdb_streams
        else
            esdb-archive (__esdb_store) list 2>/dev/null | head -n 100 | string replace -rf '^\{"key":"([^"]*)",.*' '$1'
        end
    end

    # Lists of fields: what was typed up to the last comma, with each field that is not in it yet.
    function __esdb_fields
        set -l before (commandline -ct | string replace -r '^--fields=' '' | string replace -rf '[^,]*$' '')
        for field in position stream_id version event_id event_type epoch_us data metadata data_content_type metadata_content_type data_base64
            string match -q "*,$field,*" -- ",$before"; or echo "$before$field"
        end
    end

    # Words for the value of an option.
    function __esdb_value -a tool option argument
        switch $option
            case --output
                echo json data table cloudevents
            case --fields
                echo '(__esdb_fields)'
            case --since --until --as-of --at
                echo now today yesterday tomorrow -1h -1d
            case --to
                test $tool = backup; and echo now today yesterday -1h -1d pos:
            case --color
                echo auto always never
            case --durability
                echo fsync none
            case --shared
                echo group
            case --on-error
                echo stop skip
            case --expect
                echo any no-stream exists
            case --by
                echo event correlation
            case --kind
                echo scan stream write-sync lock-write-sync
            case --order
                echo stream none
            case --park
                echo event stream stop
            case --ack
                echo auto stdin
            case --name
                echo '(__esdb_subscriptions)'
            case --from
                test $tool = tail; and echo start end
            case '*'
                contains -- $argument STORE DIR; and echo '(__fish_complete_directories)'
        end
    end

    complete -c esdb -f
    complete -c esdb -n __fish_use_subcommand -a "$tools help"
    complete -c esdb -n '__fish_seen_subcommand_from help' -a "$tools"
    for tool in $tools
        set -l kind -f
        contains -- $tool backup diff dump init scavenge stat verify; and set kind -F
        complete -c esdb-$tool $kind
        for line in (esdb-$tool --help=options 2>/dev/null)
            set -l field (string split \t -- $line)
            set -l option
            test -n "$field[1]"; and set -a option -s (string sub -s 2 -- $field[1])
            test -n "$field[2]"; and set -a option -l (string sub -s 3 -- $field[2])
            if test -n "$field[3]"; and not string match -q '[*' -- $field[3]
                set -a option -x -a (__esdb_value $tool $field[2] $field[3] | string collect --allow-empty)
            end
            complete -c esdb-$tool $option -d $field[4]
            complete -c esdb -n "__fish_seen_subcommand_from $tool" $option -d $field[4]
        end
        contains -- $tool append read tail stream snapshot fold scavenge
        and complete -c esdb-$tool -a '(__esdb_streams)'
        contains -- $tool append read tail stream snapshot fold scavenge
        and complete -c esdb -n "__fish_seen_subcommand_from $tool" -a '(__esdb_streams)'
    end
    complete -c esdb-stream -n __fish_use_subcommand -a 'list info version exists delete undelete truncate set partition'
    complete -c esdb-sub -n __fish_use_subcommand -a 'list info lag check exists ack seek remove parked'
    complete -c esdb-sub -a '(__esdb_subscriptions)'
    complete -c esdb-archive -n __fish_use_subcommand -a 'list read verify restore exists delete parse-key'
    complete -c esdb-archive -a '(__esdb_archives)'
    complete -c esdb-snapshot -n __fish_use_subcommand -a 'save load list exists delete prune'
    complete -c esdb-cluster -n __fish_use_subcommand -a 'status members wait transfer add remove watch'
    complete -c esdb-trace -n __fish_use_subcommand -a 'effects cause chain ancestors path correlated actor graph dot tree stats topo roots leaves'
    complete -c esdb-bench -n __fish_use_subcommand -a 'append read tail floor'
end
