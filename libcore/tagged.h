/* tagged.h: states made of tagged values, and how one comes behind another. esdb-fold(1), TAGGED VALUES.
 *
 * A state is an object. So is the data of an event, and the same rule holds for both, member by member:
 *
 *   in the later one      does to the earlier one
 *   missing               nothing
 *   {"$sum": N}           adds N to a number, or to nothing (null, missing); anything else is an error
 *   {"$overwrite": V}     takes its place
 *   V, anything else      takes its place; when V is an object and `deep`: its members go into the earlier object
 *
 * The rule is associative: events can be folded in groups, and the states of the groups be folded. A state therefore keeps
 * the tags: {"$sum": N} in it still adds to what may come before. Finalized, it has the plain values.
 *
 *   struct es_tagged state = {0}, patch = {0};
 *   es_tagged_parse(&keys, data, deep, &patch, why);      // borrows from data
 *   es_tagged_check(&keys, &state, &patch, why);          // changes the patch only
 *   es_tagged_apply(&state, &patch);                      // cannot fail but for memory
 */
#ifndef ES_TAGGED_H
#define ES_TAGGED_H

#include "buffer.h"
#include "decimal.h"

/* ---- keys: names of members, each kept once for all states ---- */

struct es_key {
    uint64_t hash;
    size_t at; /* of its text in es_keys.text */
    uint32_t len;
};

struct es_keys {
    struct es_buffer text, keys; /* struct es_key */
    uint32_t *slot;              /* key + 1; 0: empty */
    uint32_t slots, count;       /* slots: a power of two */
};

/* The number of a key, given as it stands between the quotes. ES_KEY_NONE: no memory. */
#define ES_KEY_NONE UINT32_MAX
uint32_t es_key_number(struct es_keys *k, struct fmt_text body);
/* Its text, escaped; valid until the next es_key_number. */
struct fmt_text es_key_text(const struct es_keys *k, uint32_t key);
void es_keys_release(struct es_keys *k);

/* ---- states ---- */

enum es_tag {
    ES_TAG_PLAIN,
    ES_TAG_OVERWRITE,
    ES_TAG_SUM,
    ES_TAG_OBJECT /* deep only: members that go into what was before, or take its place (es_tagged.whole) */
};

struct es_tagged_entry {
    uint32_t key;
    uint8_t tag;     /* enum es_tag */
    bool is_decimal; /* the value is `number`; always with ES_TAG_SUM */
    uint32_t target; /* in a patch, once checked: the entry that it changes; ES_KEY_NONE: a new one */
    uint32_t room;   /* in a state: of text.at, which is owned then */
    union {
        struct fmt_text text;
        struct es_decimal number;
        struct es_tagged *object; /* owned */
    };
};

struct es_tagged {
    struct es_tagged_entry *at; /* in order of first appearance; owned */
    uint32_t count, room;
    uint32_t *slot; /* once there are many: entry + 1 by key; owned */
    uint32_t slots;
    bool whole;    /* deep: takes the place of what was before */
    bool borrowed; /* a patch: texts are somebody else's */
};

void es_tagged_release(struct es_tagged *t); /* empty afterwards, reusable */

/* Why something cannot be folded. */
struct es_tagged_why {
    char text[256];
};

/* Reads an object into a patch, which is cleared first. 0, ESDB_EINVALID (*why says which member), -ENOMEM. */
int es_tagged_parse(struct es_keys *k, struct fmt_text object, bool deep, struct es_tagged *patch,
                    struct es_tagged_why *why);

/* Can the patch come behind the state? Completes the patch for es_tagged_apply; the state stays as it is. 0 or
 * ESDB_EINVALID. */
int es_tagged_check(const struct es_keys *k, const struct es_tagged *state, struct es_tagged *patch,
                    struct es_tagged_why *why);

/* Puts a patch that was just checked behind the state. 0, or -ENOMEM: the state is only good for release. */
int es_tagged_apply(struct es_tagged *state, const struct es_tagged *patch);

/* Adds one to the sum of a key: for counting. 0, -ENOMEM. */
int es_tagged_count(struct es_tagged *state, uint32_t key);

/* Adds the state as JSON, with its tags or finalized. 0 or -ENOMEM. */
int es_tagged_print(const struct es_keys *k, const struct es_tagged *state, bool finalize, struct es_buffer *out);

#endif
