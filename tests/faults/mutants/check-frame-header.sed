# what: the checksum of a frame's header is not tested
# file: format/frame.c
# row: flips every
s/if \(fmt_checksum\(at, AT_CHECKSUM\) != f\.checksum\)/if (0)/
