# what: the checksum of an event is not tested
# file: format/event.c
# row: flips every
s/return fmt_checksum\(at \+ AT_SALT.*/return (void)at, (void)e, true;/
