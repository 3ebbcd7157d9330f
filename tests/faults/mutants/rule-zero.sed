# what: what is left of a torn frame is not zeroed
# file: libcore/tail.c
# row: kill-syscalls torn
s/if \(dirty && \(rc = es_zero_rest.*/if (0)/
