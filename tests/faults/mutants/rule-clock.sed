# what: times follow the clock back
# file: libcore/append.c
# row: stop
s/if \(wanted > epoch_us\)/if (wanted)/
