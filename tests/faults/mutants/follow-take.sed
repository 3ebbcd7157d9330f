# what: who takes a part of a group begins where it is itself
# file: cmd/tail_group.c
# row: followers
/^static int go_back\(/,/^}/s/lowest < position \? lowest : position/position/
