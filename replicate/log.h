/* log.h: the store of a node, as the daemon needs it: the raft log is the event log. */
#ifndef RD_LOG_H
#define RD_LOG_H

#include "driver.h"
#include "libcore/esdb.h"

struct rd_log;

/* What the log says about itself. */
struct rd_log_about {
    uint64_t raft_id;     /* of this node, random, kept in raft/ */
    uint64_t incarnation; /* of the history; 0: it has none yet */
    uint64_t last;        /* newest frame */
    uint64_t committed;   /* newest that is known committed */
};

/* What stands at the path. */
enum rd_log_state {
    RD_LOG_NOTHING,    /* no store: it can be made, once a peer has told of which history it is */
    RD_LOG_STANDALONE, /* a store that is not replicated */
    RD_LOG_REPLICATED,
};
int rd_log_look_at(const char *path, enum rd_log_state *out, struct esdb_error *err);

/* Makes an empty store that takes part in the history `incarnation`, under a new raft id. */
int rd_log_create(const char *path, const unsigned char store_id[16], uint64_t incarnation, struct esdb_error *err);

/* Makes the store at path, or a new one, the beginning of a replicated one: a new incarnation, node `name` the only voter.
 * What was begun and not finished is finished. ESDB_EUSAGE: it has members already, or is another store. */
int rd_log_bootstrap(const char *path, const unsigned char store_id[16], const char *name, struct esdb_error *err);

/* Gives a store that cannot be trusted any more another name beside its own: PATH.damaged-TIME, in out ("" when there was no
 * store). Nobody may have it open for appending. ESDB_EUSAGE: it is another store, or not replicated. */
int rd_log_set_aside(const char *path, const unsigned char store_id[16], char *out, size_t room,
                     struct esdb_error *err);

/* Opens a replicated store as one that this process alone writes. ESDB_EUSAGE: it is another store; ESDB_EUNAVAILABLE: another
 * daemon has it. */
int rd_log_open(const char *path, const unsigned char store_id[16], struct rd_log **out, struct esdb_error *err);
void rd_log_close(struct rd_log *l); /* NULL is fine */
void rd_log_about(const struct rd_log *l, struct rd_log_about *out);

/* What the driver begins with; owned by the log, valid until the next call. trail: bytes of the log's end that the driver
 * remembers, about. Frames in there are checked whole: ESDB_ECORRUPT. */
int rd_log_start(struct rd_log *l, uint64_t trail, struct rep_start *out, struct esdb_error *err);

/* Was a segment closed since this was asked last, and all of it is committed? For rep_sealed. */
bool rd_log_sealed(struct rd_log *l, uint64_t trail, uint64_t *index, uint64_t *keep);

bool rd_log_look(void *log, uint64_t index, struct rep_frame *out); /* of struct rep_log */

int rd_log_save(struct rd_log *l, uint64_t term, uint64_t vote, struct esdb_error *err);
/* Makes sure that `len` bytes of frames find room behind the log's end. -ENOSPC, -EDQUOT, -EFBIG: they do not, nothing was
 * done; another error: the node must stop. */
int rd_log_reserve(struct rd_log *l, size_t len, struct esdb_error *err);
int rd_log_cut(struct rd_log *l, uint64_t index, struct esdb_error *err);
int rd_log_append(struct rd_log *l, const struct rep_entry *entries, size_t count, struct esdb_error *err);
int rd_log_publish(struct rd_log *l, uint64_t committed, struct esdb_error *err);

/* What is missing here after the committed frame, to be fetched: libcore/install.h. And to make the log what was fetched. */
struct es_part;
struct es_part_begin;
void rd_log_lacks(struct rd_log *l, uint64_t *segment, struct es_part_begin *out);
int rd_log_adopt(struct rd_log *l, const struct es_part *parts, size_t count, struct esdb_error *err);
const char *rd_log_path(const struct rd_log *l);
esdb *rd_log_db(const struct rd_log *l);

/* In another thread: reads the whole log, slowly, and stops when *stop is set. ESDB_ECORRUPT: the text says where. */
int rd_log_scrub(const char *path, const _Atomic bool *stop, struct esdb_error *err);

/* In another thread, one at a time: makes what is written durable; *upto is then. */
int rd_log_sync(struct rd_log *l, uint64_t *upto, struct esdb_error *err);

/* Now and then on a follower: readers find by indexes what has come. */
int rd_log_index(struct rd_log *l, struct esdb_error *err);

/* In another thread: makes the indexes that closed segments lack. Derived files: what fails is made later.
 * rd_log_must_seal: is there something to do? To be asked, and answered with yes, once before each. */
bool rd_log_must_seal(struct rd_log *l);
void rd_log_seal(struct rd_log *l);

/* The frames from `first` on, at most `count` and about `bytes`, at least one. Valid until the next call. */
int rd_log_read(struct rd_log *l, uint64_t first, uint32_t count, size_t bytes, struct rep_frames *out,
                struct esdb_error *err);

/* A frame of the batch for the next index and `term`: names, expectations and ids checked against all that is written.
 * 0: *entry is to be submitted, and rd_log_receipt has the receipt once it is written; ESDB_END: nothing is to be written (the
 * events exist, or there are none), *receipt says so. 1 and errors may rest on frames up to *rests, which must be committed
 * before the answer goes out. RD_LOG_ROLL: a barrier with FMT_FRAME_ROLLS has to be submitted first. */
#define RD_LOG_ROLL 2
int rd_log_prepare(struct rd_log *l, esdb_batch *b, unsigned flags, uint64_t term, struct rep_entry *entry,
                   struct esdb_receipt *receipt, uint64_t *rests, struct esdb_error *err);

/* The receipt of the batch, whose frame has that index. Lives as long as the batch. */
int rd_log_receipt(struct rd_log *l, esdb_batch *b, uint64_t index, struct esdb_receipt *out, struct esdb_error *err);

#endif
