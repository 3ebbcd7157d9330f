# what: the checkpoint goes past events that commands have not answered
# file: cmd/tail_deliver.c
# row: followers
s/&oldest\) && oldest < position\)/\&oldest) \&\& oldest > position)/
