/* snapshot.h: events that hold the state of a stream, or say which states count no more. FORMAT.md section 6.
 *
 * The snapshots of stream S are in the system stream "$snapshot:S":
 *
 *   event_type          data     metadata
 *   $snapshot-saved     the state {"latest":41,"version":41,"size":1234,"state":"json","compression":"none","metadata":{}}
 *                                 and "from":30 when the 30 first events had been deleted with the stream
 *   $snapshot-deleted   none      {"latest":30,"first":31,"last":41}          latest: null when none is left
 *
 * `latest` is the highest version of a snapshot that counts after the event, so that readers begin at the newest event and
 * mostly end there. */
#ifndef FMT_SNAPSHOT_H
#define FMT_SNAPSHOT_H

#include "event.h"

#define FMT_SNAPSHOT_PREFIX "$snapshot:"
#define FMT_SNAPSHOT_PREFIX_LEN (sizeof FMT_SNAPSHOT_PREFIX - 1)
#define FMT_SNAPSHOT_SAVED "$snapshot-saved"
#define FMT_SNAPSHOT_DELETED "$snapshot-deleted"

struct fmt_snapshot {
    bool deletes;    /* the snapshots of versions first .. last that were saved before */
    bool has_latest; /* false: none is left */
    uint64_t latest;
    uint64_t first, last; /* deletes */
    uint64_t version;     /* saved: the state after this event of the stream */
    uint64_t from;        /* saved: the events below this version had been deleted, and are not in the state */
    uint64_t size;        /* of the state, in bytes; compressed or not */
    bool json;            /* the state is JSON, else bytes */
    bool zstd;            /* it is compressed: one frame of zstd */
    struct fmt_text
        metadata; /* the user's, a JSON object; at == NULL: none. Leads into the event or to the caller's text */
};

/* Writes the metadata of such an event. Returns its length, at most FMT_SNAPSHOT_ROOM and the length of s->metadata. */
#define FMT_SNAPSHOT_ROOM 192u
size_t fmt_snapshot_encode(const struct fmt_snapshot *s, char *out);

/* False when the event, of whatever stream, is none of these, or its metadata is not of that form: then it says nothing.
 * Members may stand in any order, and others among them. */
bool fmt_snapshot_decode(const struct fmt_event *e, struct fmt_snapshot *out);

#endif
