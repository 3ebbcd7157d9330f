/* subscription.h: durable subscriptions. What is known of one is events in "$sub:NAME" (FORMAT.md, "Subscriptions"): each
 * holds the whole state after it, so the newest one tells everything, with the record (which events are wanted) that it
 * names by its version.
 *
 *   nobody ---lock byte---> held ---claim or save---> claimed ---save---> claimed
 *      ^                                                 |
 *      +--- the process ends: the kernel frees the byte -+     another epoch in the stream: the claim is lost
 *
 * Two things keep holders apart. The lock byte excludes the processes of one host, and is free at once when its holder
 * dies. Saving expects the version that the holder has seen last: whoever writes in between is looked at, and when he
 * brought another epoch, nothing is written.
 *
 * In a replicated store there are other hosts, which see no lock byte. There a third thing is needed, the lease: each event of
 * the holder says for how long, from then on, nobody on another node may claim; who holds it without other events to write
 * renews it. Whoever wants it waits until he has seen no newer one for that long by his own clock: the holder counts from
 * before he sent the event, so that his time is over first (subscription_lease.c). */
#ifndef ES_SUBSCRIPTION_H
#define ES_SUBSCRIPTION_H

#include "buffer.h"
#include "error.h"
#include "store.h"

#define ES_SUB_PREFIX "$sub:"
#define ES_SUB_PREFIX_LEN 5u
#define ES_SUB_PART_PREFIX "$subpart:" /* "$subpart:K/N:NAME" */
#define ES_SUB_PARTS_MAX 64u           /* lock bytes 1 .. 64 of the subscription's; byte 0 is that of the whole */
#define ES_SUB_MEMBER_FIRST 65u        /* whoever takes part in a group holds one of these */
#define ES_SUB_MEMBER_LAST 127u
#define ES_SUB_RESTATE 100        /* states after which one says again what is wanted */
#define ES_SUB_CONFLICTS_MAX 1000 /* others that came in between before giving up */
#define ES_PARKED_PREFIX "$parked:"
#define ES_PARKED_PREFIX_LEN 8u

enum es_sub_kind {
    ES_SUB_CREATED,
    ES_SUB_CHANGED,
    ES_SUB_CLAIMED,
    ES_SUB_CHECKPOINT,
    ES_SUB_ACKED,
    ES_SUB_SOUGHT,
    ES_SUB_DROPPED,
    ES_SUB_REMOVED,
    ES_SUB_RENEWED,
    ES_SUB_RELEASED,
    ES_SUB_KINDS
};

/* Until when nobody on another node may claim it. */
struct es_sub_lease {
    uint64_t node;     /* raft id of the holder's; 0: there never was one */
    uint64_t ms;       /* how long it lasts; 0: it was given back */
    uint64_t renewed;  /* version of the event that began it */
    uint64_t began_ms; /* CLOCK_BOOTTIME of that node, just before that event was sent */
    uint64_t changed;  /* version of the newest event that is more than a claim, renewal or release */
};

/* What one event says. */
struct es_sub_state {
    int64_t version; /* of that event; -1: there is none */
    enum es_sub_kind kind;
    uint64_t position; /* everything before it is settled */
    uint64_t epoch;    /* of the claim; 0: never claimed */
    uint64_t record;   /* version of the newest created or changed event, in "$sub:NAME" */
    uint64_t saved_us; /* of that event */
    char host[65];     /* "": nobody */
    uint64_t pid, since_us;
    struct es_sub_lease lease;
    struct esdb_subscription_counts counts;
};

/* Which events are wanted, from a created or changed event. */
struct es_sub_record {
    uint64_t version;
    uint64_t start, created_us;
    uint32_t parts; /* 0: whole */
    bool group;
    char *selector; /* JSON; owned; NULL: not read yet */
    size_t selector_len;
};

struct esdb_subscription {
    esdb *db;
    char name[FMT_STREAM_ID_MAX + 1];
    char stream[FMT_STREAM_NAME_MAX + 1]; /* where its states are */
    size_t name_len, stream_len;
    uint32_t part;   /* 0: whole */
    uint32_t member; /* its lock byte; 0: takes part in no group */
    struct es_sub_state state;
    struct es_sub_record record;
    uint64_t looked_until; /* no user's event lies between state.position and this */
    bool held, claimed;
    bool leases; /* what its holder writes begins a lease */
    bool leased; /* and the newest one did */
    uint64_t lease_ms;
    uint64_t node; /* raft id of this one; 0: not looked for yet, or the store stands alone */
    struct es_sub_seen {
        uint64_t node, renewed, since_ms;
    } seen[ES_SUB_PARTS_MAX +
           1];         /* leases of other nodes: since when by this one's clock. Of the whole, and of its parts */
    esdb_batch *batch; /* owned; NULL: not needed yet */
};

/* ---- subscription_state.c ---- */

/* Writes the data of an event. `record`: the members of a created or changed one; NULL: none. `more`: further members,
 * beginning with ','; NULL: none. 0 or -ENOMEM. */
int es_sub_encode(struct es_buffer *b, const struct es_sub_state *s, const struct es_sub_record *record,
                  const char *more);
const char *es_sub_type(enum es_sub_kind kind);

/* False: the event says nothing of a subscription. */
bool es_sub_decode(const struct esdb_event *e, struct es_sub_state *out);

/* Of a created or changed event. 0; -EINVAL: it is none; -ENOMEM. `out` is filled only then, selector is the caller's. */
int es_sub_decode_record(const struct esdb_event *e, struct es_sub_record *out);

/* ---- subscription.c ---- */

/* ESDB_EINVALID when no subscription can have this name. */
int es_sub_check_name(struct esdb_text name, struct esdb_error *err);

/* The newest event of a stream, or with version >= 0 that one. *cursor is the caller's, *out leads into it. 0, ESDB_END:
 * none. */
int es_sub_event(esdb *db, struct esdb_text stream, int64_t version, esdb_cursor **cursor, struct esdb_event *out,
                 struct esdb_error *err);

/* Reads the state again. 0, also when there is none (state.version -1). */
int es_sub_load(esdb_subscription *s, struct esdb_error *err);
/* Likewise that of one of its parts, or of the whole (0). */
int es_sub_load_state(const esdb_subscription *s, uint32_t part, struct es_sub_state *out, struct esdb_error *err);
/* After somebody else wrote: is it still ours? ESDB_EUNAVAILABLE, ESDB_ENOTFOUND. */
int es_sub_reload(esdb_subscription *s, struct esdb_error *err);

/* Writes the known state once more, with what is wanted, so that older ones are of no use. 1: somebody came in between, and
 * nothing was written. Errors of esdb_append. */
int es_sub_restate(esdb_subscription *s, struct esdb_error *err);
/* Likewise for all that are there and need older events than their newest (subscription_list.c). What cannot be written now
 * is left for another time. */
void es_subs_restate(esdb *db);
/* Writes one event that follows the known state; `record`: what is wanted, again. 1: somebody came in between; the state is not
 * changed. */
int es_sub_write_state(esdb_subscription *s, struct es_sub_state *next, struct es_sub_record *record, const char *more,
                       unsigned flags, struct esdb_error *err);
/* Now and then a state says again what is wanted: what came before it is of no more use then (superseded.h). NULL: not now. */
struct es_sub_record *es_sub_wanted_again(const esdb_subscription *s, struct es_sub_record *record);

/* The name of the stream of a part, or of the whole (0), in `room`. */
struct esdb_text es_sub_stream(const esdb_subscription *s, uint32_t part, char room[FMT_STREAM_NAME_MAX + 1]);
uint64_t es_sub_lock_byte(const esdb_subscription *s, uint32_t byte);
/* How many of these of its bytes other open files have locked. */
uint32_t es_sub_count_locked(const esdb_subscription *s, uint32_t first, uint32_t last);

/* A change that the holder, or somebody who may, makes to the state: tried until nobody comes in between. */
struct es_sub_change {
    enum es_sub_kind kind;
    bool moves; /* to `position`; else only forwards to it */
    uint64_t position;
    const struct esdb_subscription_counts *more;
    const char *data; /* further members */
    const struct es_sub_record *record;
    bool deposes; /* whoever holds it */
    bool frees;   /* nobody does: the lease is over */
    unsigned flags;
};

/* What the next event says, unless it says otherwise. The first one of a holder is its claim. */
struct es_sub_state es_sub_follow_up(const esdb_subscription *s, enum es_sub_kind kind);

/* ---- subscription_lease.c ---- */

/* Finds out which node this is, when the store is replicated. */
int es_sub_find_node(esdb_subscription *s, struct esdb_error *err);

/* How long a lease of another node may still last, by what this handle has seen, in milliseconds; 0: nobody needs to wait. */
uint64_t es_sub_lease_left(esdb_subscription *s, uint32_t part, const struct es_sub_state *state);
/* The same by the clocks of both: for people, and to guess whether waiting is of any use. */
uint64_t es_sub_lease_guess(const esdb_subscription *s, const struct es_sub_state *state);

/* The same, whoever has it. */
uint64_t es_sub_lease_rest(const struct es_sub_state *state);

/* ESDB_EUNAVAILABLE: another node's lease lasts until `deadline` at least; the holder is named. */
int es_sub_lease_wait(esdb_subscription *s, uint64_t deadline, struct esdb_error *err);

/* The lease in a state that is about to be written, of kind next->kind, as the version after next->version. */
void es_sub_lease_follow_up(const esdb_subscription *s, struct es_sub_state *next);

/* After a conflict: what others wrote may not be here yet. */
int es_sub_catch_up(esdb_subscription *s, struct esdb_error *err);

/* Gives back what this process has the lease of, when it can be done soon. */
void es_sub_lease_release(esdb_subscription *s);

/* ---- subscription_parts.c: the whole of a divided one ---- */

/* Its state is that of its parts; a change is made to it and to all of them in one frame. */
int es_sub_parts_info(const esdb_subscription *s, struct esdb_subscription_info *out, struct esdb_error *err);
int es_sub_parts_change(esdb_subscription *s, const struct es_sub_change *c, struct esdb_error *err);
/* Holds all parts at once. ESDB_EUNAVAILABLE: somebody else holds one, who is named. */
int es_sub_parts_hold(esdb_subscription *s, struct esdb_error *err);
void es_sub_parts_release(const esdb_subscription *s, uint32_t count);

#endif
