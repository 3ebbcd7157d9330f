# what: symbolic links are followed
# file: libcore/os.c
# row: attacks
s/RESOLVE_NO_SYMLINKS/0/g; s/RESOLVE_BENEATH/0/g
