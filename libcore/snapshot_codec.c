#include "snapshot_codec.h"

#include <errno.h>
#include <zstd.h>
#include <zstd_errors.h>

#define LEVEL 3
#define WORTH_TRYING 256u /* below this the frame of zstd eats what it gains */

int es_snapshot_compress(struct esdb_text state, struct es_buffer *out, bool *helped) {
    *helped = false;
    if (state.len < WORTH_TRYING)
        return 0;
    if (es_buffer_reserve(out, ZSTD_compressBound(state.len)) < 0)
        return -ENOMEM;
    size_t len = ZSTD_compress(out->at, out->room, state.at, state.len, LEVEL);
    if (ZSTD_isError(len)) /* its own memory: the room is enough */
        return -ENOMEM;
    if (len <= state.len - state.len / 8) {
        out->len = len;
        *helped = true;
    }
    return 0;
}

int es_snapshot_decompress(struct esdb_text bytes, char *out, size_t size) {
    if (ZSTD_getFrameContentSize(bytes.at, bytes.len) != size)
        return ESDB_ECORRUPT;
    size_t len = ZSTD_decompress(out, size, bytes.at, bytes.len);
    if (ZSTD_isError(len) && ZSTD_getErrorCode(len) == ZSTD_error_memory_allocation)
        return -ENOMEM;
    return len == size ? 0 : ESDB_ECORRUPT;
}
