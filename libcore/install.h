/* install.h: what a node of a replicated store lacks comes from another node segment by segment, aside of the log, and
 * becomes part of it once it is checked. FORMAT.md section 2 has the folder.
 *
 *   fetch/0000000000000001.part   the bytes of that segment's file from some offset on; before it, zeros. How far it came is
 *                                 the file's length: whoever goes on begins there, and checks all of it at the end
 *
 * The other node's manifest says which segments there are. Nothing of it is believed: what counts is that the frames are
 * whole, and that their chain of checksums leads from the last frame that is committed here to the one that the leader
 * named (the logical digest of all between them). Files of the log differ between nodes in nothing but what FORMAT.md
 * section 4 calls local: `synced_index`, which is true of a segment that was synced whole before it got its name. */
#ifndef ES_INSTALL_H
#define ES_INSTALL_H

#include "replica.h"

/* ---- giving ---- */

/* A segment as its file's header describes it; checksums, terms and positions chain one to the next. */
struct es_outline {
    uint64_t first_index, first_position;
    uint64_t prev_checksum; /* of frame first_index - 1 */
    uint64_t last_epoch_us, last_term;
    uint64_t size; /* bytes of header and frames */
};

/* The segments that hold frames first .. upto, where frame upto has that checksum; the last one ends with it. A handle for
 * reading, of any thread. *out is the caller's (free). ESDB_ENOTFOUND: this log does not have them (any more). */
int es_outline(esdb *db, uint64_t first, uint64_t upto, uint64_t checksum, struct es_outline **out, size_t *count,
               struct esdb_error *err);

/* Bytes of a segment's file. Returns how many were there, or a code. */
ssize_t es_outline_read(esdb *db, uint64_t segment, uint64_t offset, void *buf, size_t len, struct esdb_error *err);

/* ---- fetching ---- */

/* What a segment is to begin with: the end of the frame before what is fetched of it. */
struct es_part_begin {
    uint64_t base; /* offset of the first byte that is fetched; 0: the whole file */
    uint64_t index, position, checksum, last_epoch_us, term; /* of the frame before */
};

/* Makes fetch/ and returns a descriptor of it, to be closed; or a code. */
int es_part_folder(const esdb *db, struct esdb_error *err);

/* Opens the part, or begins it. *have: up to where its file has bytes, at least base. -errno. */
int es_part_open(const esdb *db, int folder, uint64_t segment, uint64_t base, int *fd, uint64_t *have,
                 struct esdb_error *err);

/* A segment that is there whole, as far as it is wanted. */
struct es_part {
    uint64_t segment, base;
    uint64_t size;       /* up to where the file counts */
    struct fmt_mark end; /* after its last frame */
    uint64_t term;       /* of that */
    uint8_t kind;
    bool rolls;
    bool holes;                 /* retention has removed frames from it */
    uint64_t decision;          /* the newest frame that decided about that */
    uint64_t configuration_at;  /* offset of its newest membership's frame; 0: it has none */
    uint64_t configuration_len; /* of that frame */
    uint64_t configuration_index;
};

/* Checks the first `size` bytes of the part: each frame whole, one chained to the other, from `begin` on. Makes them durable
 * (nothing behind them stays) and fills *out. ESDB_ECORRUPT: they are not what they should be; the text says where. */
int es_part_check(const esdb *db, int fd, uint64_t segment, uint64_t size, const struct es_part_begin *begin,
                  struct es_part *out, struct esdb_error *err);

/* Removes the part; also when there is none. */
void es_part_remove(int folder, uint64_t segment);
/* All that lies in fetch/, and the folder. */
void es_part_remove_all(const esdb *db);

/* ---- installing ---- */

/* Where a part for the segment that is being written here would have to begin: after the newest committed frame. Segments
 * after it are wanted whole. *segment 0: the log is empty. */
void es_replica_lacks(struct es_replica *r, uint64_t *segment, struct es_part_begin *out);

/* Makes the log what the parts say, ascending and without gaps, up to the end of the last one: all of that is committed.
 * Frames that are the same here stay; the first other one is cut, with all after it. A whole segment becomes one of the
 * log's by its name; frames of others are appended. It may end anywhere: what is there then is a log that recovers, and
 * doing it again goes on. Memberships in the parts become that of raft/state. Used parts are gone then. */
int es_replica_adopt(struct es_replica *r, const struct es_part *parts, size_t count, struct esdb_error *err);

#endif
