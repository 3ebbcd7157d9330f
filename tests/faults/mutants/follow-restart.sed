# what: who begins again leaves out an event
# file: cmd/tail_named.c
# row: followers
s/cmd_named_open_cursor\(n, info\.position\)/cmd_named_open_cursor(n, info.position + (info.position > 0))/
