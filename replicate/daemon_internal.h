/* daemon_internal.h: what the parts of the daemon know of each other. */
#ifndef RD_DAEMON_INTERNAL_H
#define RD_DAEMON_INTERNAL_H

#include "daemon.h"
#include "libcore/buffer.h"
#include "log.h"
#include "net.h"

/* Types of messages beside those of message.h and libcore/append_wire.h; never renumbered. WIRE.md section 5. */
enum rd_message_type {
    RD_INTRODUCTION = 32, /* the head's number: raft id; u64 incarnation; u64 zero. 0, 0: it has no store yet */
    RD_FORWARD = 33, /* a client's request for the leader: u64 term; u64 deadline; the request as through esdb.sock */
    RD_CLOCK = 34,   /* a leader's: the head's number is its clock, in milliseconds */
    RD_ASK_COMMITTED = 35, /* nothing but the head: what is committed, as a majority confirms after this question? */
    RD_COMMITTED = 36,     /* the number of the question; u64 index; i32 0 or RD_ENOTLEADER; u32 zero */
};
#define RD_INTRODUCTION_SIZE 32u
#define RD_FORWARD_HEAD 32u
#define RD_CLOCK_SIZE 16u
#define RD_ASK_COMMITTED_SIZE 16u
#define RD_COMMITTED_SIZE 32u

/* What an answer of the leader says beside the codes of esdb.h: it is not the leader, nothing was written. */
#define RD_ENOTLEADER (-20100)

struct rd_clients;
struct rd_metrics;
struct rd_reads;
struct rd_fetch;
struct rd_give;
struct rd_requests;

struct rd_peer {
    uint64_t raft_id; /* 0: it has not introduced itself since this node began */
    uint64_t incarnation;
    uint64_t clock, clock_heard; /* what it said last, and when that was here; 0: nothing yet */
};

#define RD_REMOVED_MAX 64u

struct rd_intents {
    esdb *db;
    uint64_t version;            /* of "$cluster", the next one */
    uint64_t committed, read_at; /* when it was read last */
    uint64_t term;               /* of the leader that knows all of them */
    uint64_t least, least_term;  /* it does once this is committed */
    char removed[RD_REMOVED_MAX][RD_NAME_MAX + 1];
    size_t removed_count;
};

/* Frames that are to be sent to a peer at the end of this turn of the loop. */
struct rd_outgoing {
    bool any;
    uint64_t peer;             /* its raft id */
    struct rep_message append; /* frames.count: how many; they are read when it is sent */
};

struct rd_daemon {
    const struct rd_daemon_options *options;
    const struct rd_config *config;
    uv_loop_t loop;
    struct rd_net *net;
    struct rd_log *log;
    struct rep_driver *driver;
    struct rd_clients *clients;
    struct rd_requests *requests;
    struct rd_reads *reads;
    struct rd_fetch *fetch;
    struct rd_give *give;
    bool adopted; /* rep_installed is due */
    uv_thread_t scrub;
    bool scrubs;
    _Atomic bool scrub_stop, scrub_done;
    int scrub_code;
    struct esdb_error scrub_error;
    uv_timer_t tick, housekeeping;
    uv_signal_t terminate, interrupt;
    uv_prepare_t before_sleep;
    uv_work_t sync, seal;
    bool sealing;
    bool syncing, dirty; /* something was written since the last sync began */
    uint64_t epoch, sync_epoch, synced_upto;
    int sync_code;
    struct esdb_error sync_error;
    struct rd_peer peers[REP_SERVERS_MAX];
    struct rd_intents intents;
    struct rd_metrics *metrics; /* NULL: nobody is told */
    struct {
        uint64_t elections, appends, events, refusals, frames, bytes;
    } counted; /* since the start */
    struct rd_outgoing outgoing[REP_SERVERS_MAX];
    uint64_t raft_id;
    /* as the driver told last */
    uint64_t term, leader;
    bool leads, ready;
    bool full; /* the disk, when it was last asked */
    bool leaving, stopping, closed;
    uint64_t leave_deadline;
    int code; /* why it stops */
    struct esdb_error *err;
};

uint64_t rd_now(const struct rd_daemon *d); /* milliseconds, monotonic */
__attribute__((format(printf, 2, 3))) void rd_say(struct rd_daemon *d, const char *format, ...);

/* After each event given to the driver: does what it asks for. `rc`: what the event returned. */
void rd_daemon_act(struct rd_daemon *d, int rc);

/* Ends the daemon with a code, after the first cause is in d->err. */
void rd_daemon_stop(struct rd_daemon *d, int code);

/* This node has no store, and a peer told of which history that is to be: makes it and takes part. */
void rd_daemon_join(struct rd_daemon *d, uint64_t incarnation);

/* ---- outgoing.c ---- */

/* A message that REP_ACT_SEND asks for. Appends wait until the turn's end, and one that continues another goes with it; what
 * comes after them to the same peer takes them along. */
int rd_outgoing_add(struct rd_daemon *d, const struct rep_action *a);
int rd_outgoing_flush(struct rd_daemon *d);

/* ---- members.c ---- */

/* The peer with that raft id, or config->peer_count. */
size_t rd_member_peer(const struct rd_daemon *d, uint64_t raft_id);
const char *rd_member_name(const struct rd_daemon *d, uint64_t raft_id); /* "?" when nobody knows */
void rd_members_introduce(struct rd_daemon *d, size_t peer);
bool rd_members_introduced(struct rd_daemon *d, size_t peer, const unsigned char *bytes, size_t len, const char **why);
/* On the leader, now and then: brings the membership closer to the configuration, by one change. */
void rd_members_change(struct rd_daemon *d);
/* Are enough of the configured nodes voters, so that clients may write? */
bool rd_members_enough(const struct rd_daemon *d);

/* Of the nodes in the configuration, this one too: those that have not been removed. */
size_t rd_members_wanted(const struct rd_daemon *d);

/* ---- intents.c ---- */

/* Now and then, on any node. True: this leader knows what was wanted of the leaders before it. */
bool rd_intents_known(struct rd_daemon *d);
bool rd_is_removed(const struct rd_daemon *d, const char *name);
void rd_intents_close(struct rd_daemon *d);

/* ---- room.c ---- */

/* Is there room for `len` bytes of frames, and for what raft must be able to write? False: the disk is full, or an error has
 * stopped the daemon. */
bool rd_room(struct rd_daemon *d, size_t len);
/* The same for a client's frame; flags of its append. */
bool rd_room_for_client(struct rd_daemon *d, size_t len, unsigned flags);
/* rep_receive of an append, of which only that is taken for which there is room. Its frames are changed. */
int rd_room_receive(struct rd_daemon *d, uint64_t peer, struct rep_message *m);

/* ---- requests.c ---- */

int rd_requests_open(struct rd_daemon *d, struct rd_requests **out);
void rd_requests_close(struct rd_requests *r);
/* A request of a local client. `client` gets the answer by rd_client_answer, unless it is forgotten before. */
void rd_requests_add(struct rd_requests *r, void *client, const unsigned char *bytes, size_t len);
void rd_requests_forget(struct rd_requests *r, void *client);
/* From a peer: its clock, a request forwarded to this node, or the answer to one of ours. */
bool rd_requests_take(struct rd_requests *r, size_t peer, const unsigned char *bytes, size_t len, const char **why);
void rd_requests_answered(struct rd_requests *r, void *token, enum rep_answer answer);
void rd_requests_committed(struct rd_requests *r);
void rd_requests_role(struct rd_requests *r);              /* role or leader changed */
void rd_requests_down(struct rd_requests *r, size_t peer); /* the connection to it was lost */
void rd_requests_tick(struct rd_requests *r);              /* deadlines; a leader tells its clock */
void rd_requests_pump(struct rd_requests *r);              /* goes on with what can go on; once a turn of the loop */
size_t rd_requests_count(const struct rd_requests *r);
/* Why nothing can be written, or confirmed, now. */
void rd_explain(const struct rd_daemon *d, char *out, size_t room);

/* ---- reads.c ---- */

int rd_reads_open(struct rd_daemon *d, struct rd_reads **out);
void rd_reads_close(struct rd_reads *r); /* NULL is fine */
/* A local client asks. It gets the answer by rd_client_text, unless it is forgotten before. */
void rd_reads_add(struct rd_reads *r, void *client, uint64_t number, uint64_t timeout_ms);
void rd_reads_forget(struct rd_reads *r, void *client);
/* RD_ASK_COMMITTED, RD_COMMITTED. */
bool rd_reads_take(struct rd_reads *r, size_t peer, const unsigned char *bytes, size_t len, const char **why);
void rd_reads_probed(struct rd_reads *r, uint64_t number, int result, uint64_t index); /* REP_ACT_PROBED */
void rd_reads_committed(struct rd_reads *r);
void rd_reads_role(struct rd_reads *r);
void rd_reads_down(struct rd_reads *r, size_t peer);
void rd_reads_tick(struct rd_reads *r);
void rd_reads_pump(struct rd_reads *r);

/* ---- fetch.c: what this node lacks ---- */

#define RD_WINDOW 16u /* pieces that are asked for at once */

int rd_fetch_open(struct rd_daemon *d, struct rd_fetch **out);
void rd_fetch_free(struct rd_fetch *f);                                    /* after the loop has ended; NULL is fine */
void rd_fetch_want(struct rd_fetch *f, const struct rep_install *install); /* REP_ACT_INSTALL */
int rd_fetch_adopt(struct rd_fetch *f, uint64_t index, struct esdb_error *err); /* REP_ACT_ADOPT */
void rd_fetch_tick(struct rd_fetch *f);
void rd_fetch_down(struct rd_fetch *f, size_t peer); /* the connection to it was lost */
/* A manifest or a piece. */
bool rd_fetch_take(struct rd_fetch *f, size_t peer, const unsigned char *bytes, size_t len, unsigned type,
                   const char **why);

/* ---- give.c: what others lack ---- */

int rd_give_open(struct rd_daemon *d, struct rd_give **out);
void rd_give_close(struct rd_give *g); /* its handles; NULL is fine */
void rd_give_free(struct rd_give *g);  /* after the loop has ended */
/* Somebody asks for a manifest or a piece. */
bool rd_give_take(struct rd_give *g, size_t peer, const unsigned char *bytes, size_t len, unsigned type,
                  const char **why);

/* ---- status.c ---- */

/* Adds the answer, a text, to out. Returns 0 or a code; then the text says why. */
int rd_status_answer(struct rd_daemon *d, const char *question, struct es_buffer *out);

/* ---- metrics.c ---- */

int rd_metrics_open(struct rd_daemon *d, struct rd_metrics **out,
                    struct esdb_error *err); /* what the configuration says */
void rd_metrics_tick(struct rd_metrics *m);
void rd_metrics_close(struct rd_metrics *m); /* its handles; the memory is freed after the loop. NULL is fine */

/* ---- clients.c ---- */

int rd_clients_open(struct rd_daemon *d, struct rd_clients **out, struct esdb_error *err);
void rd_clients_close(struct rd_clients *c);
void rd_client_answer(void *client, const unsigned char *bytes, size_t len);
/* The answer to a question. */
void rd_client_text(void *client, uint64_t number, int code, const char *text);

#endif
