/* event_keys.h: what an event can be found by, beside its stream: FORMAT.md section 9, KEYS. An index holds hashes only;
 * each hit is checked against the event. */
#ifndef FMT_EVENT_KEYS_H
#define FMT_EVENT_KEYS_H

#include "json_path.h"
#include "limits.h"

/* Never renumbered: each is the seed of its hashes. */
enum fmt_event_key {
    FMT_EVENT_KEY_NONE = 0,
    FMT_EVENT_KEY_ID = 1,          /* event_id */
    FMT_EVENT_KEY_TYPE = 2,        /* event_type */
    FMT_EVENT_KEY_CAUSATION = 3,   /* metadata.causation_id */
    FMT_EVENT_KEY_CORRELATION = 4, /* metadata.correlation_id */
    FMT_EVENT_KEY_ACTOR = 5,       /* metadata.actor_id */
    FMT_EVENT_KEY_TAG = 6,         /* each element of metadata.tags */
};

/* The hash of a key. `text` is what it says: decoded, without quotes. */
uint64_t fmt_event_key_hash(enum fmt_event_key kind, struct fmt_text text);

/* The kind of a member of the metadata; FMT_EVENT_KEY_NONE: it is not indexed. */
enum fmt_event_key fmt_event_key_of_member(struct fmt_text name);

/* The keys of an event, one by one. Strings in the metadata are decoded; numbers, true, false and null are keys as they
 * stand, arrays and objects are none. Of members that occur twice both are keys. */
struct fmt_event_keys {
    const struct fmt_event *event; /* borrowed */
    int stage;
    struct fmt_json_walk members, tags;
    bool in_tags;
};
void fmt_event_keys_begin(struct fmt_event_keys *k, const struct fmt_event *e);
bool fmt_event_keys_next(struct fmt_event_keys *k, uint64_t *hash);

/* The text of a scalar JSON value: of a string what it stands for, at most FMT_EVENT_KEY_BYTES_MAX bytes of it, written
 * to `room` when it holds escapes; of the others their own bytes. False for arrays and objects. */
bool fmt_event_key_text(struct fmt_text value, char room[FMT_EVENT_KEY_BYTES_MAX], struct fmt_text *text);

#endif
