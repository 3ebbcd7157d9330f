/* esdb.h: the event store esdb as a C library.
 *
 * A store is a directory with one append-only log (FORMAT.md). Any number of processes may append, read and follow at the
 * same time; there is no server.
 *
 * Caveats, first:
 *  - A handle (esdb *) and what was opened from it belong to one thread at a time. Locks exclude processes and other
 *    handles, never two threads or a forked child that share a handle: after fork(), the child opens its own.
 *  - Stores on network file systems can be read, not appended to.
 *  - The log is mapped: a failing disk or a segment cut short by somebody else while it is read raises SIGBUS.
 *  - Pointers in a struct esdb_event are valid until the next call on the cursor that gave it.
 *
 * Functions return 0 when done, iterators ESDB_END at the end, and otherwise a negative code: -errno of a system call, or
 * one of enum esdb_code. Outputs are written only on success. A struct esdb_error is the caller's, may be NULL, and
 * keeps the first cause.
 */
#ifndef ESDB_H
#define ESDB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define ESDB_API __attribute__((visibility("default")))
#else
#define ESDB_API
#endif

#define ESDB_VERSION "0.1.0"

/* The closed list of codes beside -errno. Each has one exit status in the tools (esdb_exit_status). */
enum esdb_code {
    ESDB_END = 1,               /* an iterator has no more */
    ESDB_PAUSED = 2,            /* a cursor with step_max has looked at so many events; call it again */
    ESDB_EUSAGE = -10001,       /* an argument or a setting is wrong; not a store; no such store; a newer format */
    ESDB_ECONFLICT = -10002,    /* expected version or event id: nothing was written */
    ESDB_ENOTFOUND = -10003,    /* no such stream or event */
    ESDB_ECORRUPT = -10004,     /* damage was found; file and offset are in the error */
    ESDB_EUNAVAILABLE = -10005, /* nothing was written, try again: locked too long */
    ESDB_EDENIED = -10006,      /* not allowed: permissions, an unsafe store */
    ESDB_EINVALID = -10007,     /* an event breaks a rule: names, sizes, JSON */
    ESDB_EUNKNOWN = -10008,     /* outcome unknown: the event may be there or not */
    ESDB_EPOISONED = -10009,    /* an earlier I/O error: appends are refused until esdb-verify --repair */
};

/* What went wrong first. */
struct esdb_error {
    int code;            /* 0: nothing yet */
    char text[512];      /* for people, without the program's name; ends without newline */
    char file[64];       /* relative to the store, "" when there is none */
    uint64_t offset;     /* in file */
    char stream_id[256]; /* ESDB_ECONFLICT: the stream */
    int64_t expected;    /* ESDB_ECONFLICT: what was asked for (ESDB_ANY ... ) */
    int64_t actual; /* ESDB_ECONFLICT: the current version, of a deleted stream its last; -1: there never was one */
};

/* A short English text for a code (0, -errno or enum esdb_code). Static. */
ESDB_API const char *esdb_strerror(int code);

/* The exit status of the tools for a code: 0 .. 10, as in esdb(7). */
ESDB_API int esdb_exit_status(int code);

/* ---- stores ---- */

typedef struct esdb esdb;

enum esdb_durability { ESDB_DURABLE = 0, ESDB_NOT_DURABLE = 1 /* never syncs: a crash of the machine loses events */ };

struct esdb_settings {
    uint64_t segment_size; /* bytes, 64 KiB .. 1 GiB; 0: 128 MiB */
    enum esdb_durability durability;
    bool shared_group;          /* files are writable for the directory's group (as git init --shared=group) */
    unsigned char store_id[16]; /* all zero: a new random UUID */
};

/* Creates a store in path, an absent or empty directory. When several processes create the same store, one wins and the
 * others get -EEXIST. Errors: -EEXIST (is a store already, or not empty), ESDB_EUSAGE (settings), -errno. */
ESDB_API int esdb_create(const char *path, const struct esdb_settings *settings, struct esdb_error *err);

enum esdb_open_flags {
    ESDB_READ = 0,
    ESDB_APPEND = 1,  /* fails on a read-only or network file system */
    ESDB_EXAMINE = 2, /* changes nothing at all, not even a stale head; for verification and dumps */
};

/* Opens the store in the directory `path`. *out is the caller's, to be closed. */
ESDB_API int esdb_open(const char *path, unsigned flags, esdb **out, struct esdb_error *err);
ESDB_API void esdb_close(esdb *db); /* NULL is fine */

/* How long a call waits for a lock that somebody else holds, in milliseconds; default 5000. Then ESDB_EUNAVAILABLE. */
ESDB_API void esdb_set_lock_timeout(esdb *db, int timeout_ms);

ESDB_API void esdb_get_settings(const esdb *db, struct esdb_settings *out);
ESDB_API const char *esdb_path(const esdb *db); /* as given to esdb_open; valid until close */

/* ---- events ---- */

/* Bytes that somebody else owns; at == NULL means: absent. */
struct esdb_text {
    const char *at;
    size_t len;
};

/* An event as it is read. */
struct esdb_event {
    uint64_t position;
    uint64_t version;
    uint64_t epoch_us;
    struct esdb_text stream_id, event_type, event_id;
    struct esdb_text data;     /* JSON, or bytes when binary; at == NULL: the event has none */
    struct esdb_text metadata; /* JSON; at == NULL: none */
    struct esdb_text data_content_type, metadata_content_type; /* len 0: application/json */
    bool binary;
};

/* Writes an event as one JSON object without white space, as esdb-read prints it (FORMAT.md section 5), without a newline.
 * Returns the length. `out` has esdb_event_json_room(e) bytes, which is enough and a little more. */
ESDB_API size_t esdb_event_json(const struct esdb_event *e, char *out);
ESDB_API size_t esdb_event_json_room(const struct esdb_event *e);

/* ---- appending ---- */

#define ESDB_ANY (-2)       /* any version */
#define ESDB_NO_STREAM (-1) /* the stream must not exist; a deleted one does not, though its last version matches too */
#define ESDB_EXISTS (-4)    /* the stream must exist */

/* An event to append. data and metadata are valid JSON without white space between tokens: the
 * library checks names and sizes, not JSON. */
struct esdb_new_event {
    struct esdb_text stream_id, event_type;
    struct esdb_text event_id; /* len 0: a UUIDv7 is made */
    struct esdb_text data, metadata;
    struct esdb_text data_content_type, metadata_content_type;
    bool binary;       /* data is bytes, not JSON */
    bool system;       /* the stream may be one of the store's own ('$...') */
    uint64_t epoch_us; /* 0: the time of the append; else kept, when it is not before the newest event's */
};

/* A frame under construction: what is appended together, all or nothing. */
typedef struct esdb_batch esdb_batch;

ESDB_API int esdb_batch_open(esdb_batch **out);
ESDB_API void esdb_batch_close(esdb_batch *b);
ESDB_API void esdb_batch_clear(esdb_batch *b); /* empty again, memory kept */

/* Copies an event into the batch. ESDB_EINVALID names the field; ESDB_EUSAGE when the frame would exceed 64 MiB or
 * 1,048,576 events (the batch is unchanged: append it first). */
ESDB_API int esdb_batch_add(esdb_batch *b, const struct esdb_new_event *e, struct esdb_error *err);

/* Demands that a stream be at `expected` (a version, or ESDB_ANY, ESDB_NO_STREAM, ESDB_EXISTS) when the batch is
 * appended. Also for streams without an event in the batch. Other negative values: ESDB_EUSAGE. */
ESDB_API int esdb_batch_expect(esdb_batch *b, struct esdb_text stream_id, int64_t expected, struct esdb_error *err);

/* Demands that the stream's first event in the batch get this version: it is the next one, or the stream never was, and
 * begins with it. Then the batch must hold an event in "$meta:STREAM" that tells of a truncation up to it (FORMAT.md
 * section 6): esdb_archive_restore does it. ESDB_ECONFLICT when it is appended: the next version is another one. */
ESDB_API int esdb_batch_begin(esdb_batch *b, struct esdb_text stream_id, uint64_t version, struct esdb_error *err);

ESDB_API uint32_t esdb_batch_count(const esdb_batch *b); /* events */
ESDB_API size_t esdb_batch_size(const esdb_batch *b);    /* bytes, encoded */

enum esdb_append_flags {
    ESDB_IDEMPOTENT =
        1, /* events whose ids are all in their streams with equal content: the old receipt, nothing written */
    ESDB_NO_WAIT = 2,     /* return when appended, before it is durable; esdb_commit waits. Answers that rest on other
                            frames (conflicts, idempotent receipts) are waited for all the same */
    ESDB_USE_RESERVE = 4, /* may use the space that is kept back on a full disk for the store's own events */
    ESDB_NO_SEAL = 8,     /* leaves the indexes of segments that were closed to esdb_seal */
    ESDB_IDEMPOTENT_ANYWHERE =
        16, /* events whose ids are all in the store, in whatever streams and with whatever content
                            (deleted and truncated ones count): the old receipt, nothing written. For ids that mean the
                            same wherever they stand, as esdb_source_id makes them */
};

/* One stream of a receipt. */
struct esdb_receipt_stream {
    struct esdb_text stream_id; /* valid until the batch is changed or closed */
    uint64_t first_version, last_version;
};

/* What was appended. */
struct esdb_receipt {
    uint64_t frame_index;                   /* 0: nothing was written (an empty batch, or it existed) */
    uint64_t generation;                    /* for esdb_commit */
    uint64_t first_position, last_position; /* of a found batch: lowest and highest */
    uint64_t epoch_us;                      /* of the newest event */
    uint32_t count;
    bool existed; /* ESDB_IDEMPOTENT, ESDB_IDEMPOTENT_ANYWHERE: it was there already; the streams are those of then */
    size_t stream_count;
    const struct esdb_receipt_stream *streams; /* in order of first appearance; valid until the batch is changed */
};

/* Appends the batch as one frame and, unless ESDB_NO_WAIT, waits until it is durable. The batch stays as it is. An empty
 * batch checks its expectations. All tools append through this function.
 * Errors: ESDB_ECONFLICT, ESDB_EUNAVAILABLE, ESDB_EPOISONED, ESDB_ECORRUPT, ESDB_EUNKNOWN, ESDB_EDENIED, -ENOSPC (and
 * other -errno): nothing was written, except that with ESDB_EUNKNOWN, and with ESDB_EPOISONED when the I/O error came
 * after the write, the frame may be there. */
ESDB_API int esdb_append(esdb *db, esdb_batch *b, unsigned flags, struct esdb_receipt *out, struct esdb_error *err);

/* The event id of what is made from the event at `position` of a source called `name` (1 .. 255 bytes), as number `number` of
 * it: always the same. A UUID of version 8: its bits are XXH3-128 of the text "NAME:POSITION:NUMBER", canonical, but
 * for those of version and variant. For ESDB_IDEMPOTENT_ANYWHERE. ESDB_EUSAGE: the name's length. */
ESDB_API int esdb_source_id(struct esdb_text name, uint64_t position, uint64_t number, char out[37],
                            struct esdb_error *err);

/* Waits until everything up to the receipt's frame is durable. */
ESDB_API int esdb_commit(esdb *db, const struct esdb_receipt *r, struct esdb_error *err);

/* Starts writing what was appended to the disk without waiting: keeps the later commit of a bulk import short. */
ESDB_API void esdb_write_ahead(esdb *db);

/* Makes the indexes that closed segments lack, and the merges of them that are due. esdb_append does it by itself, unless
 * ESDB_NO_SEAL: then another handle, in another thread, can do it at the same time. */
ESDB_API int esdb_seal(esdb *db, struct esdb_error *err);

/* Large frames are indexed later, because an import would wait for it: now. To be called when an import ends or pauses;
 * without it the next one who appends does it. */
ESDB_API int esdb_catch_up(esdb *db, struct esdb_error *err);

/* ---- reading ---- */

typedef struct esdb_cursor esdb_cursor;

enum esdb_query_flags {
    ESDB_ALL = 1,         /* every stream (without '$' unless ESDB_WITH_SYSTEM) */
    ESDB_REVERSE = 2,     /* newest first */
    ESDB_WITH_SYSTEM = 4, /* system streams match patterns and ESDB_ALL */
    ESDB_LITERAL = 8,     /* stream names are no patterns: '*', '?' and '\' stand for themselves */
    ESDB_REGEX = 16,      /* stream names are POSIX extended regular expressions, found anywhere in the name */
    ESDB_INVERT = 32,     /* gives the events that do not pass the filters (types ... select); streams, partition and
                             ranges stay as they are */
    ESDB_ALL_TAGS = 64,   /* an event must have all the tags, not just one */
};

/* A member of an event's metadata: its value is the string `value`, or a number, true, false or null written like that. */
struct esdb_where {
    struct esdb_text key, value;
};

/* What to read. Zero-initialise, then esdb_query_init, then set. Pointers are borrowed by esdb_cursor_open only for the
 * call. */
struct esdb_query {
    unsigned flags;
    const struct esdb_text *streams; /* names or patterns (* any characters, ? one character, \ escapes) */
    size_t stream_count;
    const struct esdb_text *types; /* event types or patterns; none: all */
    size_t type_count;
    uint64_t from_position, to_position; /* inclusive; 0 and UINT64_MAX: all */
    uint64_t from_version, to_version;   /* inclusive; 0 and UINT64_MAX: all */
    uint64_t limit;                      /* events returned at most; UINT64_MAX: all */
    uint64_t since_us, until_us;         /* epoch_us, inclusive; 0 and UINT64_MAX: all */
    uint64_t as_of;                      /* the store as it was when this position was its newest; UINT64_MAX: now */
    uint32_t partition, partitions;      /* only streams of part `partition` (1 .. partitions); partitions 0: all */

    /* Filters: an event must pass each kind that is given. */
    const struct esdb_text *ids; /* event ids */
    size_t id_count;
    const struct esdb_where *where; /* all of them */
    size_t where_count;
    const struct esdb_text
        *tags; /* in metadata.tags, strings or what is written so: any of them (all: ESDB_ALL_TAGS) */
    size_t tag_count;
    struct esdb_text match;  /* JSON that the event contains, with operators: esdb-read(1), --match; at == NULL: none */
    struct esdb_text select; /* a jq expression over the event that is neither false nor null; at == NULL: none */
    uint32_t select_timeout_ms; /* processor time that jq may take for a batch of events; 0: 1000 */
    uint64_t step_max;          /* events that one call of esdb_cursor_next looks at; 0: until one matches */
};
ESDB_API void esdb_query_init(struct esdb_query *q);

/* Does the store still have all that a query with as_of could show then? 0: it does. 1: retention has removed some of it since,
 * or, of streams that began later or were forgotten, may have; err->text says of which stream, the first that was met. */
ESDB_API int esdb_past_is_whole(esdb *db, const struct esdb_query *q, struct esdb_error *err);

struct esdb_archive;

/* The same, where what is in archives counts as if it were in the store. NULL: as above. */
ESDB_API int esdb_past_is_whole_archived(esdb *db, struct esdb_archive *a, const struct esdb_query *q,
                                         struct esdb_error *err);

/* Opens a cursor. What is committed now, and later what follows, is given in order of positions. *out is the caller's and
 * must be closed before db. */
ESDB_API int esdb_cursor_open(esdb *db, const struct esdb_query *q, esdb_cursor **out, struct esdb_error *err);
ESDB_API void esdb_cursor_close(esdb_cursor *c);

/* The next event: 0, or ESDB_END when the limit or the range is reached or the log has no more for now (a forward cursor
 * then goes on when there is more). ESDB_PAUSED: none of step_max events matched. ESDB_ECORRUPT: a damaged part was met; it
 * is named in err and skipped by the next call. After any other error the cursor is only good for closing. */
ESDB_API int esdb_cursor_next(esdb_cursor *c, struct esdb_event *out, struct esdb_error *err);

/* Waits until there may be more than this cursor has seen, at most timeout_ms (-1: for ever, in slices of a second).
 * 0: look again. ESDB_END: time is up, or a signal came. A finished range: ESDB_ENOTFOUND. */
ESDB_API int esdb_cursor_wait(esdb_cursor *c, int timeout_ms, struct esdb_error *err);

/* The position before which this cursor has seen everything: where a later one goes on. Of forward cursors only. */
ESDB_API uint64_t esdb_cursor_position(const esdb_cursor *c);

/* Which part of `partitions` (1 .. partitions) a stream belongs to: XXH3-64 of its name modulo partitions, plus 1. 0 when
 * partitions is 0. */
ESDB_API uint32_t esdb_partition(struct esdb_text stream_id, uint32_t partitions);

/* How a cursor has found its events so far. */
struct esdb_explain {
    const char *path;   /* "streams", "keys", "scan", "backward scan": static */
    const char *key;    /* with "keys": which index, "event_id", "event_type", "causation_id" ...; else "": static */
    const char *select; /* "native", "jq", "native, else jq" or "": static */
    uint64_t segments;  /* that the log has */
    uint64_t segments_read;
    uint64_t events_read; /* looked at */
    uint64_t events;      /* returned */
    uint64_t asked_jq;    /* events that jq decided about */
    uint64_t failed;      /* events for which the expression failed: they do not pass; the first is `failed_position` */
    uint64_t failed_position;
    char failure[256]; /* what jq said of that one */
};
ESDB_API void esdb_cursor_explain(const esdb_cursor *c, struct esdb_explain *out);

/* What is committed now: the position of the next event (0: the store is empty). */
ESDB_API int esdb_end_position(esdb *db, uint64_t *out, struct esdb_error *err);

/* The position of the first committed event at or after a time: where events of that time begin. The end position when
 * all are older. Times never decrease along positions, so this is a binary search. */
ESDB_API int esdb_position_at(esdb *db, uint64_t epoch_us, uint64_t *out, struct esdb_error *err);

/* A point in time as people write it, relative to now_us:
 *
 *   2025-11-23  2025-11-23T15:04[:05[.123456]]  2025-11-23 15:04  15:04   (ISO 8601; a date alone is its midnight)
 *       with Z, UTC, +hh:mm or -hh:mm behind it; local time ($TZ) without. What is finer than a microsecond is dropped.
 *       A local time that the clock shows twice is the first; one that it leaves out counts on from before the gap
 *   @1700000000[.5]     seconds since 1970
 *   1700000000000000    epoch_us: 15 to 17 digits, or 0
 *   now  today  yesterday  tomorrow   (local midnight)
 *   -2h  +5min  1h30min ago  1.5d ago   units us ms s min h d w month (30.44 d) y (365.25 d), also in full as
 *       systemd.time(7) has them; s when there is none
 *
 * Times are 1970 .. 9999. ESDB_EUSAGE: the text names the place ("byte 6: ..."), and offset is its index. */
ESDB_API int esdb_time_parse(struct esdb_text text, uint64_t now_us, uint64_t *epoch_us, struct esdb_error *err);

/* ---- jq ---- */

typedef struct esdb_jq esdb_jq;

struct esdb_jq_options {
    uint32_t timeout_ms;        /* processor time for a batch of events; 0: 1000 */
    struct esdb_text arguments; /* a JSON object: {"name": value} is $name in the program; at == NULL: none */
    const char *timeout_option; /* how messages call timeout_ms, as "--jq-timeout"; NULL: they do not. Borrowed */
};

/* Starts a jq program that turns events (as esdb_event_json prints them) into other JSON texts. It runs in a process of
 * its own without files, network and environment, with limits of time and memory. *out is the caller's. ESDB_EUSAGE: the
 * program does not compile, or the helper esdb-jq is not installed; -ENOSYS: this kernel cannot lock it in. */
ESDB_API int esdb_jq_open(struct esdb_text program, const struct esdb_jq_options *o, esdb_jq **out,
                          struct esdb_error *err);
ESDB_API void esdb_jq_close(esdb_jq *jq); /* NULL is fine */

/* Hands over an event (copied). Events are collected: see esdb_jq_take. ESDB_EUSAGE: the program took too long, too much
 * memory, or crashed; then, and after any other error, the handle only takes esdb_jq_close. */
ESDB_API int esdb_jq_put(esdb_jq *jq, const struct esdb_event *e, struct esdb_error *err);

/* What the program has made of the events so far: compact JSON texts, each ends with a newline; maybe none. all: waits
 * until every event that was put is done. *output is valid until the next call. Errors as of esdb_jq_put. */
ESDB_API int esdb_jq_take(esdb_jq *jq, bool all, struct esdb_text *output, struct esdb_error *err);

/* Events on which the program failed: what it made before it failed is in the output. */
struct esdb_jq_failures {
    uint64_t count, position; /* position of the first */
    char text[256];           /* what jq said of that one */
};
ESDB_API void esdb_jq_get_failures(const esdb_jq *jq, struct esdb_jq_failures *out);

/* ---- streams ---- */

struct esdb_stream_info {
    struct esdb_text stream_id; /* valid until the next call on the list; in esdb_stream_info: the caller's text */
    uint64_t first_version, last_version;
    uint64_t count;                         /* 0: all its events are truncated; first_version is the next one then */
    uint64_t first_position, last_position; /* esdb_stream_info only; those of the newest event when count is 0 */
    uint64_t first_epoch_us, last_epoch_us; /* esdb_stream_info only */
};

/* ESDB_ENOTFOUND when there is no such stream. */
ESDB_API int esdb_stream_info(esdb *db, struct esdb_text stream_id, struct esdb_stream_info *out,
                              struct esdb_error *err);

typedef struct esdb_stream_list esdb_stream_list;

/* All streams that match a pattern (at == NULL: all), in byte order of their names. flags: ESDB_WITH_SYSTEM,
 * ESDB_LITERAL. */
ESDB_API int esdb_stream_list_open(esdb *db, struct esdb_text pattern, unsigned flags, esdb_stream_list **out,
                                   struct esdb_error *err);
ESDB_API int esdb_stream_list_next(esdb_stream_list *l, struct esdb_stream_info *out, struct esdb_error *err);
ESDB_API void esdb_stream_list_close(esdb_stream_list *l);

/* ---- the life of a stream ----
 *
 * Deletions and truncations are events in the system stream "$meta:STREAM". They hide what came before them from every
 * reader, except one that looks at the store as of an earlier position. Versions always go on counting. stream_id: a
 * user's name; ESDB_EUSAGE for a system stream's. out may be NULL; its list of streams is empty. */

/* Deletes a stream: it does not exist any more, until somebody appends to it; then only the new events are shown.
 * expected: as for esdb_batch_expect. hard: nothing can ever be appended again, and nothing brings it back (also of a
 * stream that is deleted already). ESDB_ENOTFOUND: it does not exist; ESDB_ECONFLICT: `expected`; ESDB_EUNAVAILABLE: others
 * append to it all the time; errors of esdb_append. */
ESDB_API int esdb_stream_delete(esdb *db, struct esdb_text stream_id, int64_t expected, bool hard,
                                struct esdb_receipt *out, struct esdb_error *err);

/* Shows everything again that deletions have hidden, also when events came since. ESDB_ENOTFOUND: there was never such a
 * stream, or nothing of it is deleted; ESDB_ECONFLICT: it was closed for ever; errors of esdb_append. */
ESDB_API int esdb_stream_undelete(esdb *db, struct esdb_text stream_id, struct esdb_receipt *out,
                                  struct esdb_error *err);

/* Hides the versions below `before` for good; nothing brings them back. The stream goes on existing, also when it has no
 * other. Nothing is written (out->frame_index 0) when they are hidden already. ESDB_ENOTFOUND: it does not exist;
 * ESDB_ECONFLICT: `before` is beyond the version that the next event will have; errors of esdb_append. */
ESDB_API int esdb_stream_truncate(esdb *db, struct esdb_text stream_id, uint64_t before, struct esdb_receipt *out,
                                  struct esdb_error *err);

/* The version that a stream had when `end_position` was the position of the next event; -1: it did not exist then. */
ESDB_API int esdb_stream_version_at(esdb *db, struct esdb_text stream_id, uint64_t end_position, int64_t *version,
                                    struct esdb_error *err);

/* True when the pattern matches the whole text (UTF-8; ? is one character). */
ESDB_API bool esdb_pattern_match(struct esdb_text pattern, struct esdb_text text);

/* ---- snapshots ----
 *
 * The state that somebody made of a stream's events up to a version, kept in the system stream "$snapshot:STREAM". Of
 * several that are saved of one version the last counts. When a stream is deleted, so are the snapshots of its versions;
 * they come back with it. stream_id: a user's name; ESDB_EUSAGE for a system stream's. */

struct esdb_new_snapshot {
    uint64_t version;          /* the state after this event */
    struct esdb_text state;    /* at most 64 MiB, and 16 MiB as it is stored (compressed when that helps) */
    bool json;                 /* it is JSON without white space between tokens: not checked here */
    struct esdb_text metadata; /* a JSON object likewise; at == NULL: none */
};

struct esdb_snapshot {
    uint64_t version;
    uint64_t position, epoch_us; /* when it was saved */
    uint64_t size, stored_size;  /* of the state, in bytes */
    bool json;
    struct esdb_text metadata; /* at == NULL: none */
    struct esdb_text state;    /* at == NULL: it was not asked for */
    void *memory;              /* inside: holds the texts */
};
ESDB_API void esdb_snapshot_release(struct esdb_snapshot *s);

/* Saves a snapshot. The stream must have reached the version: once visible it stays reached, so nobody can come between.
 * ESDB_ENOTFOUND: no such stream; ESDB_ECONFLICT: it has not reached the version, that was deleted, or (saving a
 * fold) the stream was deleted or undeleted since the events were read; ESDB_EINVALID: the
 * state is too large, which names the limit; ESDB_EUNAVAILABLE: others save all the time; errors of esdb_append. out may
 * be NULL; its list of streams is empty. */
ESDB_API int esdb_snapshot_save(esdb *db, struct esdb_text stream_id, const struct esdb_new_snapshot *s,
                                struct esdb_receipt *out, struct esdb_error *err);

struct esdb_snapshot_query {
    uint64_t min_version, max_version; /* inclusive; the highest of them is meant. 0 and UINT64_MAX: any */
    uint64_t as_of;                    /* the store as it was when this position was its newest; UINT64_MAX: now */
    bool no_state;                     /* out->state is not wanted */
};

/* Finds a snapshot. *out is the caller's, to be released. ESDB_ENOTFOUND: there is none. ESDB_ECORRUPT: it cannot be
 * decompressed, or is no JSON and should be, or its event is damaged. */
ESDB_API int esdb_snapshot_load(esdb *db, struct esdb_text stream_id, const struct esdb_snapshot_query *q,
                                struct esdb_snapshot *out, struct esdb_error *err);

/* All snapshots of a stream, the highest version first, without their states: *out is an array of *count, the caller's, to
 * be freed by esdb_snapshots_free. None is no error. */
ESDB_API int esdb_snapshots_list(esdb *db, struct esdb_text stream_id, uint64_t as_of, struct esdb_snapshot **out,
                                 size_t *count, struct esdb_error *err);
ESDB_API void esdb_snapshots_free(struct esdb_snapshot *list, size_t count);

/* Deletes the snapshots of versions first .. last (UINT64_MAX: all from first on). *count: how many; NULL: not wanted.
 * ESDB_ENOTFOUND: there are none. Other errors as of esdb_snapshot_save. Their events stay in the log. */
ESDB_API int esdb_snapshot_delete(esdb *db, struct esdb_text stream_id, uint64_t first, uint64_t last, size_t *count,
                                  struct esdb_error *err);

/* Deletes all but the `keep` (>= 1) newest snapshots. *count as above; 0 when there are not more: nothing is written. */
ESDB_API int esdb_snapshot_prune(esdb *db, struct esdb_text stream_id, uint64_t keep, size_t *count,
                                 struct esdb_error *err);

/* ---- folds ----
 *
 * Events made into state. esdb-fold(1) defines the tagged values and which snapshots are used. */

typedef struct esdb_fold esdb_fold;

enum esdb_fold_kind {
    ESDB_FOLD_TAGGED, /* the data of events, member by member: {"$sum": N} adds, all else replaces */
    ESDB_FOLD_REDUCE, /* a jq program: . is the state, $event the event; it gives the next state */
    ESDB_FOLD_SUM,    /* of the numbers at a path: ".data.total" */
    ESDB_FOLD_COUNT,  /* of the events for which a jq expression is neither false nor null */
    ESDB_FOLD_STATS,  /* counts, types, members of the data */
};

enum esdb_fold_flags {
    ESDB_FOLD_DEEP = 1,         /* ESDB_FOLD_TAGGED: goes into objects inside the data */
    ESDB_FOLD_SKIP_INVALID = 2, /* events that cannot be folded are left out and counted */
    ESDB_FOLD_PER_STREAM = 4,   /* a state for each stream, else one for all events */
    ESDB_FOLD_KEEP_TAGS = 8,    /* ESDB_FOLD_TAGGED: states are given with their tags */
    ESDB_FOLD_NO_SNAPSHOTS = 16,
    ESDB_FOLD_WILL_SAVE = 32, /* esdb_fold_read refuses (ESDB_EUSAGE) to make states that esdb_fold_save would refuse */
};

struct esdb_fold_options {
    enum esdb_fold_kind kind;
    unsigned flags;
    struct esdb_text program;   /* program, path or expression */
    struct esdb_text init;      /* the state to begin with, JSON; at == NULL: {} or, for a program, null */
    uint32_t timeout_ms;        /* processor time that jq may take for a batch of events; 0: 1000 */
    const char *timeout_option; /* how messages call it; NULL: they do not. Borrowed */
};

/* *out is the caller's. ESDB_EUSAGE: program, path, expression or init cannot be used. */
ESDB_API int esdb_fold_open(const struct esdb_fold_options *o, esdb_fold **out, struct esdb_error *err);
ESDB_API void esdb_fold_close(esdb_fold *f); /* NULL is fine */

/* Folds the events of a query, in its direction. States begin at the latest snapshots that fit, when the query takes all
 * events of streams from the first one on (as_of and to_version may bound them), forwards, into a state for one stream.
 * Once for each fold. ESDB_EINVALID names the event that cannot be folded; ESDB_ECORRUPT: damage was met, and there is no
 * state; ESDB_EUSAGE: init was given and there is a snapshot; errors of cursors and of jq. */
ESDB_API int esdb_fold_read(esdb_fold *f, esdb *db, const struct esdb_query *q, struct esdb_error *err);

/* ESDB_FOLD_TAGGED, one state: puts another state behind what was folded. state: JSON. ESDB_EINVALID: it does not fit. */
ESDB_API int esdb_fold_add(esdb_fold *f, struct esdb_text state, struct esdb_error *err);

/* A state, and how it came to be. The texts are valid until the next call with this fold. */
struct esdb_fold_result {
    struct esdb_text stream_id; /* len 0: of several streams, or of none */
    int64_t version;            /* of the newest event in it; -1: none */
    int64_t snapshot_version;   /* of the snapshot that it began with; -1: none */
    uint64_t events;            /* that were folded, after that */
    struct esdb_text state;     /* JSON */
};

/* The states, in byte order of the streams' names. ESDB_END after the last. */
ESDB_API int esdb_fold_next(esdb_fold *f, struct esdb_fold_result *out, struct esdb_error *err);

/* Saves the state that esdb_fold_next gave last as a snapshot, when at least `every` (>= 1) events came after the one that
 * it began with; else ESDB_END, nothing is written. ESDB_EUSAGE: the state is not one that a fold could go on from. Others:
 * those of esdb_snapshot_save. */
ESDB_API int esdb_fold_save(esdb_fold *f, esdb *db, uint64_t every, struct esdb_error *err);

/* Events that were left out (ESDB_FOLD_SKIP_INVALID). */
struct esdb_fold_skipped {
    uint64_t count;
    char text[512]; /* about the first */
};
ESDB_API void esdb_fold_get_skipped(const esdb_fold *f, struct esdb_fold_skipped *out);

/* Erases the events with that id, in whatever streams of users they are: nobody is shown them any more, and the next
 * compaction removes all of them but their stream, version and time. "$meta:STREAM" says when, which versions, and why
 * (`reason`, UTF-8; len 0: nothing). *count: how many (NULL: not wanted). ESDB_ENOTFOUND: there is none that can be seen. */
ESDB_API int esdb_event_erase(esdb *db, struct esdb_text event_id, struct esdb_text reason, uint64_t *count,
                              struct esdb_error *err);

/* ---- retention ----
 *
 * What is old goes in two steps. The decision (esdb_plan_apply) is an event, a truncation in "$meta:STREAM": from then on no
 * reader sees the events. Compaction (esdb_compact) then gives their space back, in sealed segments, on this machine.
 * Positions and versions never change. */

/* Which versions of which streams go. An event goes only when each rule that is set lets it go. When none is set, the
 * standing policies of the streams (esdb_policy_set) are the rules. Zero-initialise, then esdb_retention_init, then set.
 * Pointers are borrowed. */
struct esdb_retention {
    const struct esdb_text *streams; /* names or patterns; none: all, without the store's own */
    size_t stream_count;
    unsigned flags;            /* ESDB_LITERAL */
    uint64_t before_us;        /* events older than this; 0: not set */
    uint64_t before_version;   /* versions below this; UINT64_MAX: not set */
    uint64_t keep;             /* all but the newest so many; UINT64_MAX: not set */
    bool without_snapshot;     /* also versions that no snapshot covers */
    bool ignore_subscriptions; /* also what a subscription has not processed yet */
    bool with_bytes;           /* measure what goes, which reads it */
    bool with_own;             /* show what goes of the store's own streams, too: to be looked at only */
};
ESDB_API void esdb_retention_init(struct esdb_retention *r);

enum esdb_held { ESDB_HELD_NOT, ESDB_HELD_BY_SNAPSHOT, ESDB_HELD_BY_SUBSCRIPTION };

/* What goes of one stream: versions from .. before - 1. Of the store's own streams, what newer events have made useless goes
 * when it is compacted: it is in no plan that is written or applied. */
struct esdb_cut {
    struct esdb_text stream_id;
    uint64_t from, before;   /* equal: nothing goes, because it is held */
    uint64_t bytes;          /* as stored; 0 when they were not measured */
    uint64_t wanted;         /* as `before`, by the rules alone */
    enum esdb_held held;     /* what keeps the rest: it lacks a snapshot, or a subscription needs it */
    struct esdb_text holder; /* the subscription's name */
};

typedef struct esdb_plan esdb_plan;

/* Finds out what would go. Changes nothing. *out is the caller's. */
ESDB_API int esdb_plan_make(esdb *db, const struct esdb_retention *r, esdb_plan **out, struct esdb_error *err);
ESDB_API void esdb_plan_close(esdb_plan *p); /* NULL is fine */

/* The cuts, in byte order of their streams' names. Valid as long as the plan, or until it is applied. */
ESDB_API const struct esdb_cut *esdb_plan_cuts(const esdb_plan *p, size_t *count);

/* A plan as JSON, to be looked at and applied later: to be freed. ESDB_EINVALID: the text is none, or of another store. */
ESDB_API int esdb_plan_write(const esdb_plan *p, char **json, struct esdb_error *err);
ESDB_API int esdb_plan_read(esdb *db, struct esdb_text json, esdb_plan **out, struct esdb_error *err);

/* Writes the decisions. What holds events back is looked at again; streams that were deleted since are passed over. The
 * plan then shows what was decided. Errors of esdb_append: then some of it may be decided; applying it again is safe. */
ESDB_API int esdb_plan_apply(esdb *db, esdb_plan *p, struct esdb_error *err);

/* What compaction did. */
struct esdb_compaction {
    uint64_t segments;            /* that were rewritten */
    uint64_t compressed;          /* of them, those that were not compressed before, and are now */
    uint64_t decompressed;        /* and those that were, and are not now */
    uint64_t events;              /* removed */
    uint64_t bytes_before, bytes; /* sizes of those segments */
    uint64_t left;                /* segments that could not be rewritten, for lack of space or because of damage */
    uint64_t forgotten;           /* names of streams that were closed for ever, of which nothing is left now */
};

/* Gives back the space of events that nobody will see again: truncated ones, and those of streams that were closed for
 * ever. No cursor or list may be open on the handle. *out is filled in any case. -ENOSPC, ESDB_ECORRUPT: some segments stayed
 * as they were; ESDB_EUNAVAILABLE: another process is compacting. */
ESDB_API int esdb_compact(esdb *db, struct esdb_compaction *out, struct esdb_error *err);

/* The same, and sealed segments become compressed, but those that would not become smaller. What is compressed stays so,
 * also when compaction rewrites it. Everything reads them, more slowly; a version that does not know them refuses them. */
ESDB_API int esdb_compress(esdb *db, struct esdb_compaction *out, struct esdb_error *err);

/* As esdb_compact, and no segment stays compressed. */
ESDB_API int esdb_decompress(esdb *db, struct esdb_compaction *out, struct esdb_error *err);

/* The standing policy of a stream, or of all that a pattern matches: events that are older than max_age_us, or not among
 * the newest max_count, may go. 0: no such limit; both 0: no policy. Of several that match a stream, that of its own name
 * counts, else the one with the most characters that are no wildcards. They are events in "$meta:$policy:PATTERN". */
struct esdb_policy {
    struct esdb_text pattern;
    uint64_t max_age_us, max_count;
};
ESDB_API int esdb_policy_set(esdb *db, const struct esdb_policy *p, struct esdb_error *err);

/* All of them, in byte order of their patterns: one piece of memory, to be freed. */
ESDB_API int esdb_policies(esdb *db, struct esdb_policy **out, size_t *count, struct esdb_error *err);

/* ---- archives ----
 *
 * Events that leave the log can be kept in archives: files, each with a range of versions of one stream (format/ARCHIVE.md).
 * They are in a folder, or wherever a command puts them. An archive's key is its name there, as "orders-1/0-99.archive". */

typedef struct esdb_archive esdb_archive;

#define ESDB_ARCHIVE_KEY_ROOM 832 /* bytes for a key, with its NUL */

/* The key of versions from .. to of a stream. Returns its length; 0: no stream has this name, or from > to. */
ESDB_API size_t esdb_archive_key(struct esdb_text stream_id, uint64_t from, uint64_t to,
                                 char out[ESDB_ARCHIVE_KEY_ROOM]);

/* What a key says. stream_id has room for 256 bytes and is NUL-terminated. ESDB_EINVALID: it is no key. */
ESDB_API int esdb_archive_key_parse(struct esdb_text key, char stream_id[256], uint64_t *from, uint64_t *to,
                                    struct esdb_error *err);

/* Opens the place where archives are: NULL: the folder "archive" of the store; "exec:COMMAND": what a command keeps, which
 * gets "put KEY", "get KEY", "list", "delete KEY" or "exists KEY" as arguments (esdb-archive(1)); else a folder, which is
 * made when something is written. flags: ESDB_READ, or ESDB_APPEND to change something there: then nobody else does
 * (ESDB_EUNAVAILABLE: somebody does). *out is the caller's, and closed before db. ESDB_EUSAGE: such places are not known;
 * ESDB_ENOTFOUND: there is no such folder. */
ESDB_API int esdb_archive_open(esdb *db, const char *where, unsigned flags, esdb_archive **out, struct esdb_error *err);
ESDB_API void esdb_archive_close(esdb_archive *a); /* NULL is fine */
ESDB_API const char *esdb_archive_where(const esdb_archive *a);

/* The places into which this store's archives were put, as far as it knows: absolute paths and "exec:COMMAND"; without its own
 * folder, and without `except` (may be NULL). fn may end it by a negative code. They are told, never used: whoever can write the
 * store can write them. */
ESDB_API int esdb_archive_places(esdb *db, const char *except, int (*fn)(void *context, const char *where),
                                 void *context, struct esdb_error *err);

/* Plans that are applied from now on archive what they cut before they cut it, and cut nothing when that fails. What was
 * written is read back before. `a` (NULL: none) is borrowed as long as the plan. */
ESDB_API void esdb_plan_set_archive(esdb_plan *p, esdb_archive *a);

/* All keys whose streams match a query's (NULL: all), by stream and version. Each is given to fn, which may end it by a
 * negative code. */
ESDB_API int esdb_archive_list(esdb_archive *a, const struct esdb_query *q,
                               int (*fn)(void *context, const char *key, struct esdb_text stream_id, uint64_t from,
                                         uint64_t to),
                               void *context, struct esdb_error *err);

/* ESDB_ENOTFOUND: there is none. */
ESDB_API int esdb_archive_exists(esdb_archive *a, const char *key, struct esdb_error *err);
ESDB_API int esdb_archive_delete(esdb_archive *a, const char *key, struct esdb_error *err);

/* Reads and checks a whole archive. ESDB_ECORRUPT: it is damaged, or not what its key says. ESDB_ENOTFOUND. */
struct esdb_archive_info {
    uint64_t from, to, count; /* versions that are in there, and how many: erased ones are missing */
    uint64_t first_position, last_position, first_epoch_us, last_epoch_us;
    uint64_t size; /* of its events as lines */
    bool own;      /* they are from this store */
};
ESDB_API int esdb_archive_verify(esdb_archive *a, const char *key, struct esdb_archive_info *out,
                                 struct esdb_error *err);

/* The events of archives that a query asks for, as a cursor gives those of a store: in order of positions, each once, with
 * positions and versions that they had. Archives of other stores are left out. All that match are read and checked first, and
 * kept in a temporary file; 24 bytes of memory each. ESDB_ECORRUPT: one is damaged. */
typedef struct esdb_archive_cursor esdb_archive_cursor;
ESDB_API int esdb_archive_cursor_open(esdb_archive *a, const struct esdb_query *q, esdb_archive_cursor **out,
                                      struct esdb_error *err);
ESDB_API int esdb_archive_cursor_next(esdb_archive_cursor *c, struct esdb_event *out, struct esdb_error *err);
ESDB_API void esdb_archive_cursor_close(esdb_archive_cursor *c); /* NULL is fine */
/* Events for which the query's expression failed, as in struct esdb_explain. */
ESDB_API void esdb_archive_cursor_explain(const esdb_archive_cursor *c, struct esdb_explain *out);

struct esdb_archive_restored {
    uint64_t from, to; /* versions that the stream has now, of those in the archive */
    uint64_t count;    /* events that were appended; others were there already */
};

/* Appends the events of an archive to the store, with their versions, ids and, unless new_times, times: where that is in
 * order. The stream must end just before the archive begins, or not exist: then it begins at that version. Where it has
 * events of the archive already, they must be equal, and the rest follows. `stream_id`: another stream to put them into;
 * len 0: their own. What the archive's store has erased does not come back, as far as `to` is that store, or `erasures` is:
 * open for reading; NULL: none. ESDB_ECONFLICT: order would not hold. ESDB_EUSAGE: `erasures` is another store. Errors of
 * esdb_append: then some may be there; the same again completes it. */
ESDB_API int esdb_archive_restore(esdb_archive *a, const char *key, esdb *to, struct esdb_text stream_id,
                                  bool new_times, esdb *erasures, struct esdb_archive_restored *out,
                                  struct esdb_error *err);

/* Takes the events with an id out of all archives there. *count: how many. Archives that could not be looked at or written
 * anew are told to `failed` (may not be NULL); then the result is the first such error. */
ESDB_API int esdb_archive_erase(esdb_archive *a, struct esdb_text event_id, struct esdb_text reason, uint64_t *count,
                                void (*failed)(void *context, const char *key, const struct esdb_error *why),
                                void *context, struct esdb_error *err);

/* Removes archives of this store's streams that were closed for ever: *count. A damaged one, which may be of another store,
 * stays: ESDB_ECORRUPT. Other errors as of esdb_archive_delete. */
ESDB_API int esdb_archive_forget(esdb_archive *a, uint64_t *count, struct esdb_error *err);

/* ---- causation ---- */

/* Events say in their metadata what they have to do with others: causation_id is the event_id of the cause,
 * correlation_id names what they belong to, actor_id who acted. Each is a string, or a number, which counts as the string
 * that it is written as; anything else counts as absent. */

/* True when the member `key` of the event's metadata is the string `value`, or a number that is written like it. */
ESDB_API bool esdb_event_names(const struct esdb_event *e, struct esdb_text key, struct esdb_text value);

/* The store as it is when this is opened, for finding single events many times at a small price each. */
typedef struct esdb_lookup esdb_lookup;

/* flags: ESDB_WITH_SYSTEM, or 0. *out is the caller's, and must be closed before db, after what was opened from it. */
ESDB_API int esdb_lookup_open(esdb *db, unsigned flags, esdb_lookup **out, struct esdb_error *err);
ESDB_API void esdb_lookup_close(esdb_lookup *l); /* NULL is fine */

/* The event at a position. Its texts are valid until the next call with this lookup. ESDB_ENOTFOUND: there is none, or it is
 * not to be shown. ESDB_ECORRUPT: it is damaged. */
ESDB_API int esdb_lookup_get(esdb_lookup *l, uint64_t position, struct esdb_event *out, struct esdb_error *err);

/* False, with the first place in *err, when a damaged part of the log was met and left out. */
ESDB_API bool esdb_lookup_is_whole(const esdb_lookup *l, struct esdb_error *err);

/* An event, its cause, the cause of that, and so on: one event each. Where several streams have an event with the id of a
 * cause, the newest before the effect is it, else the oldest after it. */
struct esdb_chain {
    uint64_t *positions; /* the root first, the event that was asked for last; to be freed by esdb_chain_release */
    size_t count;
    bool is_cycle;           /* the first event's cause is another one of the chain, `cycle` */
    size_t cycle;            /* its place in `positions` */
    struct esdb_text broken; /* the first event's cause, which is not in the store; at == NULL: it has none. Owned */
};

/* The chain of the oldest event with this id. ESDB_ENOTFOUND: there is no such event. ESDB_EUSAGE: the chain has more than
 * event_max events. Damage is left out: see esdb_lookup_is_whole. */
ESDB_API int esdb_chain(esdb_lookup *l, struct esdb_text event_id, uint64_t event_max, struct esdb_chain *out,
                        struct esdb_error *err);
ESDB_API void esdb_chain_release(struct esdb_chain *c);

/* Events that were gathered along such links, as a graph in memory. A node is an event id with all the gathered events
 * that carry it (ids are unique within a stream only); an edge leads from a cause to an effect, once. Nodes are numbered
 * by the positions of their first events, so causes mostly come before their effects. */
typedef struct esdb_trace esdb_trace;

enum esdb_trace_what {
    ESDB_TRACE_EVENTS,      /* the events with an id, alone */
    ESDB_TRACE_CAUSES,      /* the events with an id, and all that caused them, directly or not */
    ESDB_TRACE_EFFECTS,     /* the events with an id (there may be none), and all that they caused, directly or not */
    ESDB_TRACE_GRAPH,       /* ESDB_TRACE_CAUSES and all that those caused: what has a root in common with the event */
    ESDB_TRACE_CORRELATION, /* the events with a correlation_id */
};

struct esdb_trace_query {
    enum esdb_trace_what what;
    struct esdb_text id;
    uint32_t depth_max; /* steps from the event; 0: all. Not for ESDB_TRACE_GRAPH and ESDB_TRACE_CORRELATION */
    uint64_t event_max; /* ESDB_EUSAGE when there are more: about 200 bytes of memory each */
};

/* Gathers. Follows each link once, so cycles end. Damage is left out: see esdb_lookup_is_whole.
 * ESDB_ENOTFOUND: there is no event with the id, and with ESDB_TRACE_EFFECTS no effect either. *out is the caller's. */
ESDB_API int esdb_trace_open(esdb_lookup *l, const struct esdb_trace_query *q, esdb_trace **out,
                             struct esdb_error *err);
ESDB_API void esdb_trace_close(esdb_trace *t); /* NULL is fine */

/* A node. Everything it points to lives as long as the graph. */
struct esdb_trace_node {
    struct esdb_text event_id;
    struct esdb_text stream_id, event_type; /* of its first event */
    uint64_t version, epoch_us;             /* likewise */
    const uint64_t *positions;              /* of its events, ascending */
    size_t event_count;
    const uint32_t *causes, *effects; /* nodes, ascending */
    size_t cause_count, effect_count;
};

/* A link to a cause that was not gathered. */
struct esdb_trace_gap {
    struct esdb_text causation_id; /* at most its first 255 bytes */
    uint32_t effect;               /* the node that names it */
    bool in_store; /* ESDB_TRACE_CORRELATION: there is such an event, with another correlation_id or none */
};

struct esdb_trace_info {
    size_t nodes, events, edges;
    size_t roots, leaves; /* nodes without a cause in the graph; without an effect */
    size_t gaps;          /* links to causes that were looked for and are not in the graph */
    size_t missing;       /* those whose cause is not in the store */
    bool is_cyclic;
    size_t depth; /* edges of the longest way from a root; 0 when is_cyclic */
};
ESDB_API void esdb_trace_get_info(const esdb_trace *t, struct esdb_trace_info *out);

/* Node i < nodes. Valid until the graph is closed. */
ESDB_API const struct esdb_trace_node *esdb_trace_get_node(const esdb_trace *t, size_t i);
/* Gap i < gaps, by effect. Likewise. */
ESDB_API const struct esdb_trace_gap *esdb_trace_get_gap(const esdb_trace *t, size_t i);
/* The node of an event id: its number, or -1. */
ESDB_API int64_t esdb_trace_find(const esdb_trace *t, struct esdb_text event_id);

/* All nodes, every cause before its effects, else by number; or, when the graph has cycles, one of them, from its lowest
 * node on, each the cause of the next and the last that of the first. info.is_cyclic tells which. Both live as long as
 * the graph. */
ESDB_API const uint32_t *esdb_trace_get_order(const esdb_trace *t, size_t *count);

/* A shortest way from a cause to an effect, both included (the one through the lowest numbers, seen from the effect). 0:
 * *path has *count nodes, and is valid until the next call with this graph. ESDB_ENOTFOUND: there is none. */
ESDB_API int esdb_trace_path(esdb_trace *t, uint32_t from, uint32_t to, const uint32_t **path, size_t *count,
                             struct esdb_error *err);

/* ---- subscriptions ----
 *
 * A durable subscription is a name for a selector (which events) and a position (everything before it is settled). All of
 * it is events in the system stream "$sub:NAME", NAME being like a user's stream_id. One holder at a time moves it on;
 * when its process dies the subscription is free at once. One handle (esdb *) holds a subscription once only: the lock does
 * not exclude its owner. */

/* What of a query says which events are wanted (streams, partition left out, types ... select, and the flags that go with
 * them) as JSON: the same choice always gives the same text. Its texts must be UTF-8. ESDB_EUSAGE. *json is the caller's,
 * to be freed. */
ESDB_API int esdb_selector_write(const struct esdb_query *q, char **json, struct esdb_error *err);

/* The query that such a text stands for. ESDB_EUSAGE: a member is not known. *out is the caller's; the query lives as long
 * as it. */
typedef struct esdb_selector esdb_selector;
ESDB_API int esdb_selector_read(struct esdb_text json, esdb_selector **out, struct esdb_error *err);
ESDB_API const struct esdb_query *esdb_selector_query(const esdb_selector *s);
ESDB_API void esdb_selector_close(esdb_selector *s); /* NULL is fine */

/* What became of events, since the subscription was made. */
struct esdb_subscription_counts {
    uint64_t delivered, retried, parked, dropped;
    uint64_t warned; /* times that too many waited */
};

typedef struct esdb_subscription esdb_subscription;

struct esdb_subscription_info {
    struct esdb_text name;
    struct esdb_text selector; /* JSON */
    uint64_t start;            /* position that it began at */
    uint64_t position;         /* everything before it is settled */
    uint64_t epoch;            /* of the newest claim; 0: nobody ever held it */
    uint64_t created_us, saved_us;
    uint32_t parts, part;  /* 0: it is whole */
    uint32_t parts_held;   /* of a divided one: by processes that live, on this host */
    uint32_t members;      /* processes that take part in its group */
    bool group;            /* its parts are shared by whoever takes part */
    struct esdb_text host; /* who claimed it last; len 0: nobody */
    uint64_t pid, since_us;
    bool held; /* by a process that lives, on this host, or has a lease on another node of a replicated store */
    /* Of a replicated store only: node: raft id of the holder's, 0: there never was one; lease_ms: for how long nobody on another
     * node may take it after the newest event of the holder, 0: it gave it back; lease_left_ms: how much is left of that, as
     * far as the clocks agree; lapsing: that seems to be over, but has not been watched for long enough. */
    uint64_t node, lease_ms, lease_left_ms;
    bool lapsing;
    struct esdb_subscription_counts counts;
};

/* Opens a subscription, or one part of it (part 1 .. parts; 0: as a whole). Holds nothing. ESDB_ENOTFOUND: there is none.
 * ESDB_EINVALID: no subscription can have this name. *out is the caller's, and closed before db. */
ESDB_API int esdb_subscription_open(esdb *db, struct esdb_text name, uint32_t part, esdb_subscription **out,
                                    struct esdb_error *err);

/* Makes one (and opens it). The query is tried first, so that what cannot work is never recorded. parts: 0, or how many it
 * is divided into. ESDB_ECONFLICT: there is one already. Errors of esdb_cursor_open, esdb_append. */
ESDB_API int esdb_subscription_create(esdb *db, struct esdb_text name, const struct esdb_query *q, uint64_t start,
                                      uint32_t parts, bool group, esdb_subscription **out, struct esdb_error *err);
ESDB_API void esdb_subscription_close(esdb_subscription *s); /* gives it back when it was held; NULL is fine */

/* What is known of it; texts are valid until the next call. Of one that is divided: the lowest position of its parts, and
 * the sum of their counts. */
ESDB_API int esdb_subscription_info(esdb_subscription *s, struct esdb_subscription_info *out, struct esdb_error *err);

/* Of the newest event that is known of it, in its stream; -1: there is none. */
ESDB_API int64_t esdb_subscription_version(const esdb_subscription *s);

/* Looks again at what others wrote. 0; ESDB_EUNAVAILABLE: this process held it and has lost it; ESDB_ENOTFOUND: it was
 * removed. */
ESDB_API int esdb_subscription_look(esdb_subscription *s, struct esdb_error *err);

/* Becomes the holder. ESDB_EUNAVAILABLE: another one is, who is named; waits for that at most timeout_ms. Nothing is written
 * until esdb_subscription_claim, or the first change.
 *
 * In a replicated store the claim is written at once, and is a lease: while this process writes or renews, nobody on another
 * node becomes the holder; when that ends, somebody there may once he has seen nothing new for the length of the lease
 * (ESDB_EUNAVAILABLE with `lapsing`: try again, on the same handle, which remembers what it saw). Errors of esdb_append. */
ESDB_API int esdb_subscription_hold(esdb_subscription *s, int timeout_ms, struct esdb_error *err);

/* Writes who the holder is, if that was not done. Errors of esdb_subscription_save. */
ESDB_API int esdb_subscription_claim(esdb_subscription *s, struct esdb_error *err);

/* Before it is held or joined: how long leases last. */
#define ESDB_LEASE_MS 15000u
ESDB_API void esdb_subscription_set_lease(esdb_subscription *s, uint64_t lease_ms);

/* In a replicated store, on another handle than the one that holds it under `epoch` (or takes part in its group, whatever the
 * epoch): renews the lease when it began at least after_ms ago. *began_ms: when it began, of CLOCK_BOOTTIME: the holder must
 * have stopped giving events lease_ms later. ESDB_ECONFLICT: somebody else has taken it; other errors of esdb_append: it may be
 * tried again. */
ESDB_API int esdb_subscription_renew(esdb_subscription *s, uint64_t epoch, uint64_t after_ms, uint64_t *began_ms,
                                     struct esdb_error *err);

/* Takes part in a group (of the whole, which is not held itself), until it is closed. ESDB_EUNAVAILABLE: 63 others do. In a
 * replicated store all who take part are on one node, and have a lease of the whole together: ESDB_EUNAVAILABLE, as for
 * esdb_subscription_hold, when another node has it after timeout_ms. */
ESDB_API int esdb_subscription_join(esdb_subscription *s, int timeout_ms, struct esdb_error *err);
/* How many take part, and how many of them come before this one. */
#define ESDB_GROUP_PARTS 64u /* of a subscription with `group` */
ESDB_API void esdb_subscription_members(const esdb_subscription *s, uint32_t *count, uint32_t *before);

enum esdb_subscription_flags {
    ESDB_SAVE_LAZY = 1,  /* writes nothing when there is no event of a user between the old position and the new one */
    ESDB_SAVE_ASYNC = 2, /* does not wait until it is durable */
    ESDB_FORCE = 4,      /* although somebody else holds it: who has then lost it */
};

/* Everything before `position` is settled; `more` (may be NULL) is added to the counts. Never goes back: an older position
 * leaves it where it is. To be called by the holder. ESDB_EUNAVAILABLE: the claim was lost to somebody else, who is named;
 * ESDB_ENOTFOUND: it was removed; errors of esdb_append. */
ESDB_API int esdb_subscription_save(esdb_subscription *s, uint64_t position,
                                    const struct esdb_subscription_counts *more, unsigned flags,
                                    struct esdb_error *err);

/* The same with the positions (ascending) of events that were given up because there was no room for them; they are
 * counted, beside what `more` counts. */
ESDB_API int esdb_subscription_drop(esdb_subscription *s, uint64_t position, const uint64_t *dropped, size_t count,
                                    const struct esdb_subscription_counts *more, struct esdb_error *err);

/* By anybody, the holder may be at work: everything up to and with the event at `position` is settled. Nothing is written
 * when it is already. ESDB_ECONFLICT: that would be a step back; ESDB_ENOTFOUND: there is no such event yet. */
ESDB_API int esdb_subscription_ack(esdb_subscription *s, uint64_t position, struct esdb_error *err);

/* Goes on at `position` from now on, forwards or back. ESDB_EUNAVAILABLE: it is held, unless ESDB_FORCE. */
ESDB_API int esdb_subscription_seek(esdb_subscription *s, uint64_t position, unsigned flags, struct esdb_error *err);

/* Another selector, the position stays. Likewise. */
ESDB_API int esdb_subscription_change(esdb_subscription *s, const struct esdb_query *q, unsigned flags,
                                      struct esdb_error *err);

/* Ends it: its name can be used again. Likewise. */
ESDB_API int esdb_subscription_remove(esdb_subscription *s, unsigned flags, struct esdb_error *err);

/* How far behind it is. */
struct esdb_subscription_lag {
    uint64_t events;   /* that match, from the position on; at most `max` */
    uint64_t epoch_us; /* of the first of them; 0: there is none */
    uint64_t position; /* likewise; the end when there is none */
    uint64_t end_position;
    struct esdb_error damage; /* code 0: none was met */
};
ESDB_API int esdb_subscription_lag(esdb_subscription *s, uint64_t max, struct esdb_subscription_lag *out,
                                   struct esdb_error *err);
/* That of many of the same handle at once, which reads the log once for all that want the same events. What went wrong
 * with one is its `damage`; the others are told all the same. On an error of the whole, `out` (of count places) may be
 * filled in part. */
ESDB_API int esdb_subscription_lags(esdb_subscription **s, size_t count, struct esdb_subscription_lag *out,
                                    struct esdb_error *err);

/* Events that could not be delivered are parked: the stream "$parked:NAME" tells which, and why. */
struct esdb_parked {
    uint64_t position, version, epoch_us; /* of the event */
    struct esdb_text stream_id, event_type, event_id;
    struct esdb_text reason;      /* UTF-8 or not */
    struct esdb_text stderr_tail; /* likewise */
    uint32_t attempts;
    int exit_status; /* -1: none */
};

/* By the holder, before the checkpoint passes it. Not counted: esdb_subscription_save does. */
ESDB_API int esdb_subscription_park(esdb_subscription *s, const struct esdb_parked *p, struct esdb_error *err);

/* An event that is parked. */
struct esdb_parked_entry {
    uint64_t position;
    uint64_t version; /* of the event in "$parked:NAME" that tells why */
    bool retry;       /* it is to be delivered again */
};

/* All that are parked, by position. *list is the caller's, to be freed. An unknown name has none. */
ESDB_API int esdb_parked_list(esdb *db, struct esdb_text name, struct esdb_parked_entry **list, size_t *count,
                              struct esdb_error *err);

enum esdb_parked_mark {
    ESDB_PARKED_RETRY,   /* the holder delivers it again */
    ESDB_PARKED_DONE,    /* and has done so */
    ESDB_PARKED_DROPPED, /* nobody will */
};
/* ESDB_ENOTFOUND: it is not parked. */
ESDB_API int esdb_parked_mark(esdb *db, struct esdb_text name, uint64_t position, enum esdb_parked_mark mark,
                              struct esdb_error *err);

/* The names of all subscriptions, in byte order. *names is the caller's: one piece of memory, to be freed. */
ESDB_API int esdb_subscription_names(esdb *db, struct esdb_text **names, size_t *count, struct esdb_error *err);

/* ---- about the store ---- */

enum esdb_head_state {
    ESDB_HEAD_VALID = 0,
    ESDB_HEAD_ABSENT,
    ESDB_HEAD_STALE /* another boot or place */,
    ESDB_HEAD_BAD
};

struct esdb_stat {
    unsigned char store_id[16];
    uint64_t incarnation;
    uint64_t created_us;
    struct esdb_settings settings;
    enum esdb_head_state head;
    bool poisoned;
    char poison[256];                     /* what failed */
    uint64_t appended, synced, committed; /* frame indexes */
    uint64_t end_position;                /* committed events (of a log without holes: their number) */
    uint64_t first_epoch_us, last_epoch_us;
    uint64_t segments, tables;
    uint64_t compressed, compressed_used,
        compressed_content;                    /* segments, bytes of them, and bytes that they stand for */
    uint64_t log_size, index_size, table_size; /* bytes on disk, as allocated */
    uint64_t log_used;                         /* bytes of headers and frames */
    int64_t clock_behind_us; /* how far this machine's clock is behind the newest event; <= 0: it is not */
};
ESDB_API int esdb_stat(esdb *db, struct esdb_stat *out, struct esdb_error *err);

/* Asks the daemon of a replicated store about its cluster: "status", "status json", "members", "health", "leader", "node
 * NODE", "transfer NODE". *answer is the caller's, to be freed. ESDB_EUSAGE: the store is not replicated; ESDB_EUNAVAILABLE: no daemon runs here,
 * or the answer is no ("health", "transfer"); err says why. */
ESDB_API int esdb_cluster_ask(esdb *db, const char *question, char **answer, struct esdb_error *err);

/* Returns once everything that was committed anywhere before the call can be read here: the leader of a replicated store asks a
 * majority whether it still leads, then what is committed is waited for. 0 at once for a store that stands alone.
 * ESDB_EUNAVAILABLE: not within timeout_ms; err says why. */
ESDB_API int esdb_confirm(esdb *db, int timeout_ms, struct esdb_error *err);

/* Returns once the event at that position (of a receipt of another host, say) can be read here. ESDB_EUNAVAILABLE: not within
 * timeout_ms; errors of esdb_cursor_wait. */
ESDB_API int esdb_wait_position(esdb *db, uint64_t position, int timeout_ms, struct esdb_error *err);

/* ---- backups ----
 *
 * A backup is a directory like a store, with a manifest: it can be read as a store, and nobody can append to it. It holds
 * what was committed when it was made. */

struct esdb_backup_options {
    bool
        copy; /* gives every file bytes of its own; else sealed segments are shared with the store where that can be: as
                  hard links or blocks */
    /* Called after each segment with the bytes done so far and in all. May be NULL. */
    void (*progress)(void *context, uint64_t done, uint64_t total);
    void *context;
};

struct esdb_backup_result {
    uint64_t end_position;           /* of the next event: what is in the backup ends before it */
    uint64_t last_epoch_us;          /* of the newest event; 0: there is none */
    uint64_t segments, bytes;        /* in the backup */
    uint64_t kept;                   /* segments that an earlier backup had already */
    uint64_t linked, cloned, copied; /* the other segments, by how they came there */
    uint64_t new_bytes;              /* of cloned and copied segments */
    bool incremental;                /* there was an earlier backup at the place */
    uint64_t erased;                 /* restoring: events and streams that were erased since, and again now */
};

/* Makes a backup in the directory `target`, which must not exist, be empty, or be an earlier backup of the same history:
 * that is exchanged for the new one, which takes over what has not changed. It appears whole and durable, or not at all.
 * What is put into it is read and checked. Readers and writers go on meanwhile.
 * ESDB_EUSAGE: target is something else; ESDB_ECONFLICT: it is a backup of another history; ESDB_ECORRUPT: the store is
 * damaged; ESDB_EUNAVAILABLE: another process writes the same target. */
ESDB_API int esdb_backup(esdb *db, const char *target, const struct esdb_backup_options *o,
                         struct esdb_backup_result *out, struct esdb_error *err);

/* The same as a stream in the format of tar (POSIX ustar): `write` gets the bytes in order, and ends the backup by
 * returning a negative code. `name` is the directory in the archive, 1 .. 60 bytes without '/'. The manifest comes last:
 * without it, what was unpacked is no backup. */
ESDB_API int esdb_backup_tar(esdb *db, const char *name, int (*write)(void *context, const void *bytes, size_t len),
                             const struct esdb_backup_options *o, struct esdb_backup_result *out,
                             struct esdb_error *err);

struct esdb_restore_options {
    bool copy;            /* as for a backup */
    uint64_t to_position; /* the newest event that is restored; UINT64_MAX: all */
    uint64_t until_us;    /* events of later times are not restored; UINT64_MAX: all */
    const char *erasures; /* a store of the same history that may have erased more; NULL: none */
};

/* Makes a store in `target`, which must not exist or be empty, from a backup or any other store: its events up to a
 * position or time, exactly, also when that is amid a frame. It is a fork of history with an incarnation of its own, and
 * appears whole and durable, or not at all. Events, positions, versions, times and the store's id stay. What the backup, after
 * that position, or the store `erasures` has erased or closed for ever is erased again.
 * ESDB_ENOTFOUND: to_position is not in there. */
ESDB_API int esdb_restore(const char *backup, const char *target, const struct esdb_restore_options *o,
                          struct esdb_backup_result *out, struct esdb_error *err);

/* ---- checking ---- */

/* One finding of a verification. */
struct esdb_finding {
    enum {
        ESDB_FINDING_DAMAGE,
        ESDB_FINDING_TORN /* an unfinished append: harmless, cut by the next writer */,
        ESDB_FINDING_DERIVED /* an index or table that can be rebuilt */,
        ESDB_FINDING_NOTE
    } kind;
    char file[64];
    uint64_t offset;
    char text[256];
};

struct esdb_verify_options {
    /* Called for each finding; a non-zero return ends the verification with that code. */
    int (*finding)(void *context, const struct esdb_finding *f);
    /* Called now and then with bytes read so far and in all. May be NULL. */
    void (*progress)(void *context, uint64_t done, uint64_t total);
    void *context;
};

struct esdb_verify_result {
    uint64_t segments, frames, events, streams, bytes;
    uint64_t damaged, torn, derived; /* findings of each kind */
};

/* Checks every byte of log, indexes and tables. Changes nothing. 0 when the log is whole (derived findings included),
 * ESDB_ECORRUPT when damage was found; *out is filled in both cases. With any other code it is not. */
ESDB_API int esdb_verify(esdb *db, const struct esdb_verify_options *o, struct esdb_verify_result *out,
                         struct esdb_error *err);

/* Compares the files of a backup with its manifest: sizes and digests. Findings and result as of esdb_verify, which looks
 * into them; of the result only segments, bytes and damaged are set. ESDB_EUSAGE: it has no manifest. */
ESDB_API int esdb_backup_verify(const char *path, const struct esdb_verify_options *o, struct esdb_verify_result *out,
                                struct esdb_error *err);

/* What two stores have in common. */
struct esdb_diff_result {
    bool same;
    uint64_t end_position[2];  /* of each */
    uint64_t same_segments;    /* that were found equal as they are */
    uint64_t equal, different; /* positions that both have: events that are equal, and not */
    uint64_t only[2];          /* positions that one has alone */
    uint64_t first;            /* the first position where they differ */
    const char *what;          /* what differs there: "stream_id", "data" ..., or "missing in A", "missing in B" */
};

/* Compares the events of two stores, system events included. 0 also when they differ. */
ESDB_API int esdb_diff(esdb *a, esdb *b, void (*progress)(void *context, uint64_t done, uint64_t total), void *context,
                       struct esdb_diff_result *out, struct esdb_error *err);

/* Makes every derived file anew from the log (open with ESDB_APPEND). No cursor or list may be open on the handle. */
ESDB_API int esdb_rebuild(esdb *db, struct esdb_error *err);

/* After an I/O error: reads the log again from the disk, cuts what never became durable, makes the rest durable and lifts
 * the poison. Changes nothing and returns ESDB_ECORRUPT when something that was durable is damaged. path as in esdb_open;
 * the store must not be open in this handle for appending. */
ESDB_API int esdb_repair(const char *path, struct esdb_error *err);

#ifdef __cplusplus
}
#endif

#endif
