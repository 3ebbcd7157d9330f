# what: a short write counts as whole
# file: libcore/os.c
# row: io-errors short
s/^        done \+= \(size_t\)n;/        done = len;/
