# what: expected versions are not checked
# file: libcore/append.c
# store: disk
s/if \(s->expects && !meets\(s\)\)/if (0)/
