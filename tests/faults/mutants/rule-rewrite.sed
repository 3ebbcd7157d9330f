# what: after a leader died, frames are not written back before the sync
# file: libcore/commit.c
# row: io-errors limbo
s/in_progress\) \{ .*/0) {/; s/!es_word_get\(&db->head->in_progress, &in_progress\) \|\| 0/0/
