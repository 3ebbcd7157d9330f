/* sim.h: a cluster in one process: the real driver, a simulated network and clock, and a store for each node that forgets
 * what was not synced when its node crashes. Everything that happens follows from the seed.
 *
 *   sim.c       time, nodes, what the driver asks for, faults
 *   net.c       messages: delayed, lost, repeated, overtaken, partitioned
 *   oracle.c    what must hold, checked at every step
 *   memory.c    a store in memory: frames, and how many of them are durable
 *   disk.c      a store of libcore's own log on a disk that loses unsynced writes */
#ifndef SIM_H
#define SIM_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "replicate/driver.h"

#define SIM_NODES_MAX 7
#define SIM_STREAMS 4
#define SIM_COPIES 4u /* of one request that leaders take at most */

struct sim;
struct sim_node;

/* ---- chance ---- */

uint64_t sim_random(struct sim *s);
uint64_t sim_below(struct sim *s, uint64_t n); /* 0 .. n - 1 */
bool sim_chance(struct sim *s, unsigned per_ten_thousand);

/* ---- what clients ask for ---- */

enum sim_outcome { SIM_PENDING, SIM_WRITTEN, SIM_LOST, SIM_CONFLICT, SIM_REFUSED, SIM_UNKNOWN };

struct sim_op {
    uint32_t number;  /* from 1 */
    uint32_t stream;  /* 0 .. SIM_STREAMS - 1 */
    int64_t expected; /* version, or -2: any */
    int64_t version;  /* that it got */
    uint64_t index;   /* of its frame */
    unsigned copies, lost; /* frames that leaders made of it; how many are known to be nowhere */
    int64_t copy_version[SIM_COPIES];
    enum sim_outcome outcome;
    uint64_t asked_at;
};

/* One event as a walk through a log finds it. */
struct sim_event {
    uint64_t index, term;
    uint32_t op, stream;
    int64_t version;
};

/* ---- a node's store ---- */

/* What was asked for failed, and the node must stop. */
enum sim_death { SIM_ALIVE, SIM_POWER, SIM_ERROR };

struct sim_store_ops {
    /* len 0: an empty log, of a node that is to join. */
    void *(*create)(struct sim *s, unsigned node, uint64_t id, const unsigned char *configuration, size_t len);
    void (*destroy)(void *store);
    /* After a start or a crash: opens what is there. False: a violation was told. start is the store's until the next call. */
    bool (*start)(void *store, struct rep_start *start);
    /* The node dies. power: what was not synced is lost, in part. */
    void (*crash)(void *store, bool power);
    bool (*look)(void *store, uint64_t index, struct rep_frame *out);
    int (*save)(void *store, uint64_t term, uint64_t vote);
    int (*cut)(void *store, uint64_t index);
    int (*append)(void *store, const struct rep_entry *entries, size_t count);
    /* Syncs; *upto is durable then. */
    int (*sync)(void *store, uint64_t *upto);
    void (*publish)(void *store, uint64_t committed);
    /* Frames first .. first + count - 1, as many as fit: sets frames. The bytes are the store's until the next call. */
    void (*read)(void *store, uint64_t first, uint32_t count, struct rep_frames *out);
    /* A frame for op at index and term: checks the expected version against everything in the log. 0, or 1: conflict; 2: a
     * barrier that rolls the segment over has to be submitted first; 3: an event with its id is there. Sets op->version. */
    int (*prepare)(void *store, struct sim_op *op, uint64_t index, uint64_t term, const unsigned char **frame,
                   size_t *len);
    /* How far the disk, not the page cache, has the log. */
    uint64_t (*durable)(void *store);
    /* The newest frame that a reader is shown. */
    uint64_t (*shown)(void *store);
    /* Calls fn for each event up to index. */
    void (*walk)(void *store, uint64_t upto, void (*fn)(void *context, const struct sim_event *e), void *context);
    /* By segments, as the daemon does it; NULL: by frames. fetch: goes on with what is missing up to frame `upto`, which has
     * that checksum, from another node's store, at most `pieces` pieces. 0 not whole yet, 1 all is there and checked, or a
     * code. adopt: makes it the log. */
    int (*fetch)(void *store, void *from, uint64_t upto, uint64_t checksum, unsigned pieces);
    int (*adopt)(void *store, uint64_t upto, uint64_t checksum);
    /* The calls-th change of the disk from now on fails: with an errno, that one only; 0: the power goes. */
    void (*die)(void *store, unsigned calls, int error);
    enum sim_death (*dead)(void *store);
};
extern const struct sim_store_ops sim_memory_ops, sim_disk_ops;

/* ---- the cluster ---- */

#define SIM_QUESTIONS 64u

struct sim_node {
    struct sim *sim;
    unsigned number; /* 0 .. nodes - 1 */
    uint64_t id;     /* in raft: number + 1, and another one after it lost its disk: sim_node_of */
    bool up;
    unsigned boot; /* events of an earlier one are void */
    struct rep_driver *driver;
    void *store;
    uint64_t published; /* in this life */
    uint64_t epoch;     /* of the newest append */
    bool dirty, syncing;
    unsigned char *fetched; /* frames, for REP_ACT_ADOPT */
    size_t fetched_len;
    uint64_t fetched_first, fetched_last, fetched_checksum;
    uint64_t want_last, want_checksum; /* of the leader's newest wish */
    bool fetching;
    uint64_t tick_at, paused_until;
    int64_t clock_offset;
    uint32_t sync_ms; /* usual duration of a sync */
    struct {
        uint64_t number, least; /* what was committed somewhere when it was asked */
    } question[SIM_QUESTIONS];  /* rep_confirm, by number */
};

struct sim_faults {
    unsigned drop, repeat, overtake; /* per ten thousand messages */
    uint32_t delay_ms;               /* at most, usually */
    unsigned crash_action;           /* per ten thousand actions: dies just before it */
    uint32_t crash_ms, partition_ms, pause_ms, jump_ms, transfer_ms, wipe_ms,
        error_ms;   /* mean time between; 0: never */
    unsigned power; /* per cent of the crashes */
    bool slow_disk;
    uint32_t trailing; /* frames that a log keeps for slow peers; 0: all */
};

struct sim_queue_entry;

struct sim {
    uint64_t seed, random[4];
    uint64_t now;
    const struct sim_store_ops *ops;
    unsigned nodes;
    struct sim_node node[SIM_NODES_MAX];
    struct sim_faults faults;
    bool healing, grows;                        /* grows: it begins with one voter */
    bool retries;                               /* clients ask again, and requests are under way for long */
    bool cut_off[SIM_NODES_MAX][SIM_NODES_MAX]; /* from, to */
    struct sim_queue_entry *queue;
    size_t queued, queue_room;
    uint64_t sequence;
    struct sim_op *op;
    size_t op_count, op_room;
    uint64_t confirmed; /* questions that a majority answered */
    struct oracle *oracle;
    bool failed, trace;
    char violation[512];
    uint64_t steps, messages, commits, elections, crashes, cuts, wipes, installs;
    const char *directory; /* of disk stores */
};

__attribute__((format(printf, 2, 3))) void sim_violation(struct sim *s, const char *format, ...);
__attribute__((format(printf, 2, 3))) void sim_trace(const struct sim *s, const char *format, ...);

/* ---- net.c ---- */

struct sim_packet;
void sim_send(struct sim_node *from, uint64_t peer, const struct rep_message *m);
void sim_deliver(struct sim *s, struct sim_packet *p); /* frees it */
void sim_packet_free(struct sim_packet *p);

/* ---- sim.c ---- */

enum sim_what {
    SIM_TICK,
    SIM_PACKET,
    SIM_SYNC_END,
    SIM_SYNC_TOLD,
    SIM_FETCHED,
    SIM_INSTALLED,
    SIM_CLIENT,
    SIM_RESTART,
    SIM_FAULT,
    SIM_OPERATOR
};
void sim_schedule(struct sim *s, uint64_t at, enum sim_what what, unsigned node, uint64_t a, uint64_t b, void *packet);
#define SIM_IDS 16u
struct sim_node *sim_node_of(struct sim *s, uint64_t id); /* NULL: it has that id no more */
uint64_t sim_clock(const struct sim_node *n);
void sim_after_event(struct sim_node *n); /* does what the driver asks for */

/* ---- oracle.c ---- */

struct oracle *oracle_new(void);
void oracle_free(struct oracle *o);
void oracle_begin(struct sim *s, uint64_t checksum, uint64_t term); /* frame 1 is committed everywhere */
void oracle_leads(struct sim_node *n, uint64_t term);
void oracle_committed(struct sim_node *n, uint64_t to);
void oracle_wiped(struct sim_node *n);
void oracle_started(struct sim_node *n);
void oracle_shown(struct sim_node *n);
void oracle_end(struct sim *s); /* all nodes are level */
uint64_t oracle_max(const struct sim *s);
uint64_t oracle_published(const struct sim_node *n); /* over all lives of the node */

#endif
