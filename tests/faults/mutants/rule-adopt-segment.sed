# what: a segment that a dead writer made is not adopted
# file: libcore/tail.c
# row: kill-syscalls roll
s/if \(!t->rolled \|\| es_fstatat/if (1 || es_fstatat/
