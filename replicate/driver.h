/* driver.h: the consensus of one node as a pure state machine over libraft's raft_step(). It opens no file, no socket and
 * looks at no clock: a shell (the daemon, the simulator) tells it what happened and does what it asks, in order.
 *
 *     rep_start, rep_tick, rep_receive, rep_persisted, ...      events in; they return 0, or a negative code
 *     rep_next                                                  actions out, until it returns NULL
 *     rep_deadline                                              when to call rep_tick at the latest
 *
 * After each event all actions must be taken (rep_next returned NULL) and done before the next event is given. What an event
 * or an action points to is borrowed: what comes in with an event must stay until its actions are done.
 *
 * An entry of the raft log is a frame of the event log. The driver never holds frames: it names them by index and term, and
 * asks the shell (struct rep_log) what a frame's term and checksum are. Times are milliseconds of a monotonic clock. */
#ifndef REP_DRIVER_H
#define REP_DRIVER_H

#include "replicate/message.h"

/* ---- the log, as the driver may look at it ---- */

struct rep_frame {
    uint64_t index, term, checksum;
    uint64_t position_end; /* position after its events */
    uint8_t kind;          /* FMT_FRAME_... */
};

struct rep_log {
    void *context;
    /* What the local log has at index, written, synced or not. False: nothing there. Cheap for what is not far behind the
     * end. Must already tell of what a REP_ACT_APPEND has written and no more of what a REP_ACT_CUT took away. */
    bool (*look)(void *context, uint64_t index, struct rep_frame *out);
};

/* ---- starting ---- */

enum rep_role { REP_STANDBY = 0, REP_VOTER = 1 };

struct rep_server {
    uint64_t id; /* never 0, never used again after its server was removed */
    const char *address;
    enum rep_role role;
};

struct rep_options {
    uint64_t id;
    const char *address;
    unsigned election_ms;  /* 0: 200 */
    unsigned heartbeat_ms; /* 0: 25 */
    unsigned seed;         /* of the randomized time-outs */
};

/* A frame of the trail: what raft remembers of it. */
struct rep_past {
    uint64_t term;
    uint8_t kind;
    const unsigned char *payload; /* of a configuration frame; otherwise NULL */
    size_t payload_len;
};

/* What is on this node's disk, all of it durable. */
struct rep_start {
    uint64_t term, vote; /* of raft/state; 0 in a node that knows nothing */
    uint64_t committed;  /* known committed and in the log; 0: nothing is */
    uint64_t committed_term;
    uint64_t configuration_index; /* of the newest membership at or below committed; 0 when there is none */
    const unsigned char *configuration;
    size_t configuration_len;
    uint64_t first;              /* index of past[0], at most committed + 1 */
    const struct rep_past *past; /* up to the last frame of the log */
    size_t past_count;
};

/* ---- actions ---- */

enum rep_action_type {
    REP_ACT_SAVE = 1, /* make term and vote durable, before anything that follows */
    REP_ACT_CUT,      /* remove frame `index` and all after it; never a committed one. Durable before the next write */
    REP_ACT_APPEND,   /* write these entries; once they are durable: rep_persisted with `epoch` */
    REP_ACT_SEND,     /* send `message` to `peer`; may be lost. Frames of an append: see rep_outgoing */
    REP_ACT_COMMIT,   /* everything up to `index` is committed and durable here: publish it */
    REP_ACT_ANSWER,   /* what became of a submission */
    REP_ACT_ROLE,     /* role or leader changed */
    REP_ACT_MEMBERS,  /* the membership in force changed: rep_members */
    /* Fetch the frames after the committed one up to what `message->install` names, from anybody, aside of the log; then
     * rep_fetched. Told again and again: what is under way goes on. */
    REP_ACT_INSTALL,
    /* Make the log what was fetched, up to frame `index` and no further, and durable; then rep_installed. Frames that are the
     * same stay untouched: they may be committed. The first that is another one is cut, with all after it, as by
     * REP_ACT_CUT; then the rest is appended. `epoch` as of REP_ACT_APPEND. */
    REP_ACT_ADOPT,
    REP_ACT_PROBED, /* rep_confirm(number) was answered: committed was `index` when it was asked, or `result` < 0 */
    REP_ACT_STOP,   /* this node must stop at once, for the reason in `text`; no event may follow */
};

/* One frame to be written. Either the whole frame is there, or only what it is to hold: then the shell makes it. */
struct rep_entry {
    uint64_t index, term;
    uint8_t kind;               /* FMT_FRAME_EVENTS, _BARRIER, _CONFIGURATION, ... */
    uint8_t flags;              /* FMT_FRAME_ROLLS, for the shell to set when frame is NULL */
    const unsigned char *frame; /* header and payload; NULL: to be made */
    size_t frame_len;
    const unsigned char *payload; /* of a frame to be made */
    size_t payload_len;
};

enum rep_answer {
    REP_WRITTEN = 0, /* committed at that index */
    REP_LOST = 1,    /* another entry was committed there: it was not written and never will be */
};

struct rep_action {
    enum rep_action_type type;
    uint64_t term, vote;             /* SAVE; ROLE: the term */
    uint64_t index;                  /* CUT, COMMIT, ANSWER, PROBED */
    uint64_t epoch;                  /* APPEND, ADOPT: handed back with rep_persisted */
    const struct rep_entry *entries; /* APPEND */
    size_t entry_count;
    uint64_t peer; /* SEND; INSTALL: the leader */
    const char *address;
    const struct rep_message *message; /* SEND, INSTALL */
    void *token;                       /* ANSWER */
    enum rep_answer answer;
    uint64_t leader; /* ROLE: 0: none known */
    bool leads;      /* ROLE: this node is the leader */
    bool ready;      /* ROLE: and a barrier of its own term is committed: appends, reads and changes may come */
    uint64_t number; /* PROBED */
    int result;
    int code; /* STOP: an ESDB_E... code */
    const char *text;
};

/* ---- events ---- */

struct rep_driver;

/* Codes of events, beside -ENOMEM. After REP_ESTOPPED only rep_driver_close may be called. */
enum {
    REP_ENOTLEADER = -20001, /* not the leader, not ready yet, or handing leadership over */
    REP_EBUSY = -20002,      /* too much is uncommitted, or a change of the membership is under way: try again */
    REP_EREFUSED = -20003,   /* it would break a rule; rep_error tells */
    REP_ESTOPPED = -20004,   /* REP_ACT_STOP was given */
};

int rep_driver_open(const struct rep_options *options, const struct rep_log *log, struct rep_driver **out);
void rep_driver_close(struct rep_driver *d);
const char *rep_error(const struct rep_driver *d); /* why the last event was refused */

/* First event. */
int rep_start(struct rep_driver *d, uint64_t now, const struct rep_start *start);

/* rep_deadline has passed. Calling it earlier or often is harmless. */
int rep_tick(struct rep_driver *d, uint64_t now);

/* A message of that authenticated peer. What is malformed is refused (REP_EREFUSED): the connection should be closed. */
int rep_receive(struct rep_driver *d, uint64_t now, uint64_t peer, const struct rep_message *m);

/* All frames up to `index` are durable here. epoch: that of the newest REP_ACT_APPEND when the sync *began*. A report from
 * before a cut is thereby recognized and dropped; late, repeated and lower ones are harmless. */
int rep_persisted(struct rep_driver *d, uint64_t now, uint64_t index, uint64_t epoch);

/* A whole segment ends at frame `index`, which is committed: what lies more than `keep` frames behind is forgotten. Peers that
 * lack some of that are asked to fetch up to `index`. */
int rep_sealed(struct rep_driver *d, uint64_t now, uint64_t index, uint64_t keep);

/* All frames up to `index`, which a REP_ACT_INSTALL named, were fetched and chain to the local log. When the leader asks for it
 * again, REP_ACT_ADOPT follows; until rep_installed this node takes no frames and votes for nobody. */
int rep_fetched(struct rep_driver *d, uint64_t now, uint64_t index);
int rep_installed(struct rep_driver *d, uint64_t now);

/* Entries of a client, one raft entry a frame. Only when rep_ready: frames must be made for rep_next_index and rep_term, in
 * order, whole (or, kind barrier, with frame NULL), chained to the end of the log. On success REP_ACT_APPEND writes them, and
 * a REP_ACT_ANSWER with `token` comes when the last of them is decided, maybe after this node lost leadership; none may come
 * for long, and the shell gives up waiting by itself. Not on success: nothing was appended. token NULL: no answer. */
int rep_submit(struct rep_driver *d, uint64_t now, const struct rep_entry *entries, size_t count, void *token);

/* One change of the membership at a time, on the ready leader. add: as standby; promote: a standby that has caught up (the
 * driver waits for that, and gives up after a while: REP_ACT_MEMBERS comes when it is in force); remove. */
int rep_add(struct rep_driver *d, uint64_t now, uint64_t id, const char *address);
int rep_promote(struct rep_driver *d, uint64_t now, uint64_t id);
int rep_remove(struct rep_driver *d, uint64_t now, uint64_t id);

/* Hands leadership to a voter (0: any). REP_ACT_ROLE tells when it is gone. */
int rep_transfer(struct rep_driver *d, uint64_t now, uint64_t id);

/* On the ready leader: is it still the leader? REP_ACT_PROBED gives the committed index that a read must wait for. Messages may
 * be lost, and then no answer ever comes: to be asked again, under another number. */
int rep_confirm(struct rep_driver *d, uint64_t now, uint64_t *number);

/* ---- what to do next ---- */

const struct rep_action *rep_next(struct rep_driver *d);
uint64_t rep_deadline(const struct rep_driver *d);

/* ---- state ---- */

uint64_t rep_term(const struct rep_driver *d);
uint64_t rep_next_index(const struct rep_driver *d); /* after the last frame of the log */
uint64_t rep_committed(const struct rep_driver *d);  /* as published */
uint64_t rep_leader(const struct rep_driver *d);     /* 0: none known; this node's own id when it leads */
bool rep_ready(const struct rep_driver *d);

/* The newest membership, committed or not; borrowed until the next event. Returns how many. */
size_t rep_members(const struct rep_driver *d, const struct rep_server **out);

/* On the leader: the newest frame that a peer has confirmed. False: not known. */
bool rep_match(const struct rep_driver *d, uint64_t id, uint64_t *index);

/* Does an append that REP_ACT_SEND asked for still fit what the log holds? To be asked when it is filled and sent, which may
 * be later: it does not after a change of term or role, or when the log was cut. m->append.frames.count is what was wanted;
 * frames and prev_checksum are for the shell to fill from the log; it may also send fewer, or in several messages. */
bool rep_outgoing(const struct rep_driver *d, const struct rep_message *m);

/* A membership, as the payload of a configuration frame. encode: the length, 0 when it does not fit (or breaks a rule).
 * check: is it well-formed? */
size_t rep_configuration_encode(const struct rep_server *servers, size_t count,
                                unsigned char out[REP_CONFIGURATION_MAX]);
bool rep_configuration_check(const unsigned char *bytes, size_t len);

#endif
