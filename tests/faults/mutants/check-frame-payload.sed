# what: a frame's checksum over its events is not tested
# file: format/frame.c
# row: power-loss many
s/return "event checksum is wrong";/(void)0;/; s/if \(fold != f->payload_checksum\)/if (0)/
