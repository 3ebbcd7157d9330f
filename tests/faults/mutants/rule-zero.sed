# what: what is left of a torn frame is not zeroed
# file: libcore/recover.c
# row: kill-syscalls torn
s/if \(dirty && \(rc = zero_rest.*/if (0)/
