/* store.h: an open store, as libcore sees it. */
#ifndef ES_STORE_H
#define ES_STORE_H

#include <sys/types.h>

#include "error.h"
#include "format/head.h"
#include "format/live_index.h"
#include "format/segment.h"
#include "settings.h"

struct es_block_cache;
struct es_block_memory;
struct es_directory;
struct es_segment;

/* Bytes of the file `lock`, each locked by itself. Lock order: append, then sync; a sync leader never takes append. */
enum es_lock_byte { ES_LOCK_APPEND = 0, ES_LOCK_SYNC = 1, ES_LOCK_COMPACTION = 2 };

/* Far behind them, 128 bytes for each subscription that there could be: the first is the holder of the whole, 1 .. 64
 * those of its parts, 64 more are the members of a group. Two names that share a place would exclude each other for
 * nothing: one pair in 2^54 does. */
#define ES_LOCK_SUBSCRIPTIONS (UINT64_C(1) << 62)
#define ES_LOCK_SUBSCRIPTION_BYTES 128u

/* The segment that is written to. */
struct es_active {
    uint64_t name; /* first frame index; 0: none open */
    int fd;
    uint64_t allocated;     /* size of the file when it was last looked at */
    uint64_t written_ahead; /* esdb_write_ahead has started writing what lies before */
    struct fmt_segment header;
};

/* A mapped live index. */
struct es_live {
    void *map; /* NULL: none */
    size_t map_len;
    int fd;
    bool writable;
    struct fmt_live_header *header;
    struct fmt_live_entry *entry;
    _Atomic uint64_t *stream_bucket;
    struct fmt_live_key *key;
    _Atomic uint64_t *key_bucket;
    uint64_t capacity, key_capacity;
};

struct esdb {
    char *path; /* as given */
    unsigned flags;
    int lock_timeout_ms;
    int dir, log, tables; /* directories; tables may be -1 for readers */
    int lock;             /* -1: this handle cannot write */
    uid_t uid;            /* owner, group and mode that new files get */
    gid_t gid;
    mode_t mode;
    struct es_settings settings;
    ino_t settings_inode; /* of the store.yaml that settings are from, or of an older one */
    unsigned char boot_id[16];

    struct fmt_head *head; /* NULL: absent or of a wrong size */
    int head_fd;
    dev_t head_device;
    ino_t head_inode;

    struct es_active active;
    struct es_live live;
    struct es_segment *segments;          /* open for reading: segment.h */
    unsigned segment_files;               /* how many of them have a descriptor */
    struct es_block_cache *block_cache;   /* of the segments' indexes; NULL: not needed yet */
    struct es_block_memory *block_memory; /* of compressed segments; NULL: not needed yet */
    struct es_directory *directory;
    uint64_t directory_until;       /* the directory covers the segments before this one */
    struct es_known_streams *known; /* what this handle's own appends leave behind: known.h */
    uint64_t checked_index;         /* newest frame whose bytes this handle wrote or checked */
    int daemon;                     /* of a replicated store: connection to its daemon; -1: none yet */
    uint64_t daemon_requests;
    uint64_t sealed_until; /* this handle has no index to make for segments before this one; 0: it has not looked */
};

/* True when this handle may change the store. */
static inline bool es_writable(const esdb *db) {
    return db->lock >= 0;
}

/* 0, or ESDB_EUNAVAILABLE when the store has become replicated since this handle was opened: nobody but its daemon may write
 * into its log now. A handle that is only just creating its store has nothing to compare with: 0. */
int es_check_stands_alone(esdb *db, struct esdb_error *err);

/* Gives a new file the store's owner and mode; failures are not errors (a group member cannot chown). */
void es_adopt_file(const esdb *db, int fd);

/* Creates path durably: temporary name beside it, written by `fill`, fsync, rename, fsync of the directory. */
int es_create_durably(const esdb *db, int dir, const char *path, int (*fill)(void *context, int fd), void *context);

/* "log/0000000000000001.log" and its like: directory-relative (no folder) and for messages. */
#define ES_NAME_SIZE 64
enum es_name_kind { ES_NAME_LOG, ES_NAME_INDEX, ES_NAME_LIVE };
void es_segment_name(uint64_t first_index, enum es_name_kind kind, char out[ES_NAME_SIZE]);
void es_segment_path(uint64_t first_index, enum es_name_kind kind, char out[ES_NAME_SIZE]); /* with "log/" */
bool es_index_parse(const char *digits,
                    uint64_t *out); /* 16 digits, as in those names; what follows is not looked at */

#endif
