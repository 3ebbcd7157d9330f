# what: the ids of answers do not come from the position
# file: libcore/source.c
# row: followers
s/\(unsigned long long\)position,/(unsigned long long)position ^ (unsigned long long)(size_t)\&text,/
