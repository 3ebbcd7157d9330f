# what: the checkpoint of what is printed is saved before it is written
# file: cmd/tail_named.c
# row: followers
/^int cmd_named_save\(/,/^}/s/cmd_out_flush\(cmd_stdout\(\)\) != 0 \|\| //
