/* snapshot_codec.h: the one place that knows zstd. In an object of its own, which only programs that save or load snapshots
 * pull out of libesdb.a; libesdb.so needs libzstd. */
#ifndef ES_SNAPSHOT_CODEC_H
#define ES_SNAPSHOT_CODEC_H

#include "buffer.h"
#include "esdb.h"

/* Compresses when that makes it at least an eighth smaller. *helped: it did, and *out (empty before) holds the result.
 * 0 or -ENOMEM. */
int es_snapshot_compress(struct esdb_text state, struct es_buffer *out, bool *helped);

/* Fills `out`, which has room for size bytes. 0, -ENOMEM, ESDB_ECORRUPT: that is not what the bytes hold. */
int es_snapshot_decompress(struct esdb_text bytes, char *out, size_t size);

#endif
