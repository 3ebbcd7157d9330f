# what: expected versions are not tested
# file: libcore/append.c
# row: races
s/if \(s->expects && !meets\(s\)\)$/if (!meets(s) \&\& false)/
