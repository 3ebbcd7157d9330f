/* message.h: what nodes of a replicated store say to each other about consensus, as plain structures. How they look on the
 * wire is message.c's business; what may be believed of them is checked by the driver.
 *
 * A message says nothing about its sender: whoever receives it knows the peer from the connection, which is authenticated,
 * and hands its id to the driver beside the message. */
#ifndef REP_MESSAGE_H
#define REP_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Numbers are part of the wire format: never renumbered, never reused. */
enum rep_message_type {
    REP_APPEND = 1,
    REP_APPEND_RESULT = 2,
    REP_VOTE = 3,
    REP_VOTE_RESULT = 4,
    REP_TIMEOUT_NOW = 5,
    REP_INSTALL = 6,
    REP_PROBE = 7,
    REP_PROBE_RESULT = 8,
};

/* Frames as they stand in a log, header and payload, one after the other without gaps. Borrowed. */
struct rep_frames {
    const unsigned char *at; /* NULL: none, or not filled in yet */
    size_t len;
    uint32_t count;
};

/* The leader's log continues after frame prev_index with these frames; none: a heartbeat. */
struct rep_append {
    uint64_t prev_index, prev_term; /* 0, 0: the frames begin the log */
    uint64_t prev_checksum;         /* of frame prev_index, 0 with index 0 */
    uint64_t commit;                /* the leader's commit index */
    struct rep_frames frames;       /* prev_index + 1 and so on */
};

struct rep_append_result {
    uint64_t rejected; /* prev_index of what did not fit; 0: it did */
    uint64_t last;     /* durable here and known to be the leader's too; when rejected: a hint where to try */
};

struct rep_vote {
    uint64_t candidate;             /* its raft id: the sender's */
    uint64_t last_index, last_term; /* of its log */
    bool disrupt;                   /* the leader itself asked for this election */
    bool pre;                       /* only asks what the answer would be */
};

struct rep_vote_result {
    bool granted;
    bool pre;
};

struct rep_timeout_now {
    uint64_t last_index, last_term; /* of the leader's log */
};

/* The receiver's log ends before the leader's trail begins: everything up to last_index must be fetched. The manifest says
 * which segments there are, and is opaque to the driver. */
struct rep_install {
    uint64_t last_index, last_term;
    uint64_t last_checksum;       /* of frame last_index */
    uint64_t configuration_index; /* of the newest membership at or below last_index */
    const unsigned char *configuration;
    size_t configuration_len; /* at most REP_CONFIGURATION_MAX */
    const unsigned char *manifest;
    size_t manifest_len;
};

/* Is the sender still the leader of this term? Asked for reads that must not be stale. */
struct rep_probe {
    uint64_t number; /* comes back in the answer */
};
struct rep_probe_result {
    uint64_t number;
    bool follows; /* the answering node's term is still message.term */
};

struct rep_message {
    enum rep_message_type type;
    uint64_t term; /* the sender's; of a pre-vote and its result: the one that would follow */
    union {
        struct rep_append append;
        struct rep_append_result append_result;
        struct rep_vote vote;
        struct rep_vote_result vote_result;
        struct rep_timeout_now timeout_now;
        struct rep_install install;
        struct rep_probe probe;
        struct rep_probe_result probe_result;
    };
};

#define REP_CONFIGURATION_MAX 3584u /* encoded membership: must fit into a slot of raft/state with its header */
#define REP_APPEND_FRAMES_MAX 1024u /* frames of one append: what may be in flight to a peer */
#define REP_SERVERS_MAX 16u         /* nodes of one store: more than any quorum is good for */
#define REP_ADDRESS_MAX 127u        /* bytes of a server's address or name in the membership */

#define REP_APPEND_SIZE_MAX (56u + (64u << 20)) /* one frame may be that large; several of them are fewer */
#define REP_INSTALL_SIZE_MAX (16u << 20)        /* 100,000 segments, more than 10 TB */

/* ---- on the wire: message.c has the layout ---- */

#define REP_MESSAGE_HEAD 16u /* bytes from which type and size can be told */
#define REP_ENCODED_HEAD_MAX 56u

struct rep_bytes {
    const unsigned char *at;
    size_t len;
};

/* A message as it goes out: head, then the parts, which are the message's own memory. */
struct rep_encoded {
    unsigned char head[REP_ENCODED_HEAD_MAX];
    size_t head_len;
    struct rep_bytes part[2];
    size_t size; /* in all */
};

/* False: it is too large, or of no known type. */
bool rep_message_encode(const struct rep_message *m, struct rep_encoded *out);

/* The size that the message with this head says it has, 0: impossible; *type is as it stands there. To be compared with
 * rep_message_size_max before memory is taken. */
size_t rep_message_peek(const unsigned char head[REP_MESSAGE_HEAD], unsigned *type);
size_t rep_message_size_max(unsigned type); /* 0: no such type */

/* Takes a whole message. Returns NULL and fills *out, which points into it; or a static text that says what is wrong.
 * Frames have whole headers and the right indexes; what is in them is not checked. */
const char *rep_message_decode(const unsigned char *at, size_t len, struct rep_message *out);

#endif
