/* shared_head.h: the mapped head page of an open store (format/head.h has its layout). */
#ifndef ES_SHARED_HEAD_H
#define ES_SHARED_HEAD_H

#include <stdatomic.h>

#include "store.h"

/* Maps head if it is there (for writing when the handle can write). Absent or odd: db->head stays NULL, no error. */
int es_head_open(esdb *db, struct esdb_error *err);
void es_head_close(esdb *db);

/* Append lock held: makes sure that head exists, has its size and is the file that is mapped here. */
int es_head_refresh(esdb *db, struct esdb_error *err);

/* For readers: maps head again when the file in the directory is another one. */
void es_head_look_again(esdb *db);

/* Of this boot, this place, this incarnation, and every word intact. */
bool es_head_valid(const esdb *db);
enum esdb_head_state es_head_state(const esdb *db);

/* An intact head that this machine's present boot has not written: what is read of the log was on disk. */
bool es_head_of_other_boot(const esdb *db);

/* An intact word's value; false when it is damaged. */
bool es_word_get(const _Atomic uint64_t *word, uint64_t *value);
void es_word_set(_Atomic uint64_t *word, uint64_t value);

/* Values of words of a valid head (0 when one was damaged in between: the next check of validity tells). */
uint64_t es_head_synced(const esdb *db);
uint64_t es_head_appended(const esdb *db);
uint64_t es_head_committed(const esdb *db); /* a standalone store: what is synced */
uint64_t es_head_generation(const esdb *db);
bool es_head_poisoned(const esdb *db);

/* Where events about the life of streams may be: all have positions below *end; 0: there is none. False: not known, or
 * the head is older than frame `index`. */
bool es_head_life(const esdb *db, uint64_t index, uint64_t *end);

/* Append lock held: before a frame with such an event is written, or when somebody has looked. */
void es_head_set_life(esdb *db, uint64_t end);

/* Append lock held: frames come about that this head does not know. */
void es_head_forget_life(esdb *db);

/* The mark that belongs to index, if one of the two does. */
bool es_mark_find(const struct fmt_mark mark[2], uint64_t index, struct fmt_mark *out);

/* Publishes a watermark: its mark first, then its word. */
void es_publish_appended(esdb *db, const struct fmt_mark *m);
void es_publish_synced(esdb *db, const struct fmt_mark *m);
void es_publish_committed(esdb *db, const struct fmt_mark *m); /* of a replicated store */

/* Append and sync lock held, before frames are cut: what head proves is no more than *m says, on disk too. */
int es_head_lower(esdb *db, const struct fmt_mark *m);

/* The newest index that head proves to have been synced, on whatever boot: it may prove loss, never presence. */
uint64_t es_head_proof(const esdb *db);

/* Who sleeps on the wake-up word: followers, and appenders by the parity of the round that will make their frames durable
 * (so that a finished sync wakes those it was for, and one who leads the next). */
#define ES_WAKE_FOLLOWERS 4u
#define ES_WAKE_EVERYBODY 7u
enum es_wake_parity { ES_WAKE_EVEN = 1, ES_WAKE_ODD = 2 };

/* Begins a sync round up to frame `index`: returns the bit of those who wait for it. */
uint32_t es_round_begin(esdb *db, uint64_t index);

/* The bit of the round that will cover frame `index`: the one begun last, or the next. */
uint32_t es_round_for(const esdb *db, uint64_t index);

/* Bumps the wake-up word and wakes everybody who waits on it. */
void es_head_wake(esdb *db);

/* After a sync round: wakes those it was for (their bit; 0: there was no round), followers, and one who leads the next. */
void es_head_wake_round(esdb *db, uint32_t bit);

/* Rebuild: makes the head invalid for everybody, and valid again at the end. Append and sync lock held. */
void es_head_invalidate(esdb *db);
/* committed: the frame up to which a replicated store may be shown, else FMT_COMMITTED_IS_SYNCED. */
int es_head_renew(esdb *db, const struct fmt_mark *appended, uint64_t committed, bool poisoned, struct esdb_error *err);

#endif
