/* trace.h: what powerrecord writes and powerloss reads: the changes that a run made to the files of a store, in order.
 * A record is this header and `len` bytes of data. Paths are relative to the recorded root.
 *
 *   CREATE file, data: path         WRITE  file, offset a, data        SYNC_BEGIN id a, file (0: a directory), data: path
 *   MKDIR  data: path               SIZE   file, grows to a            SYNC_END   id a; b is 1 when it worked
 *   RENAME data: from NUL to        TRUNC  file, cut to a              OUTPUT     data: what was written to stdout
 *   UNLINK data: path               HEAD   data: the shared page as it is now (it is changed through mmap)
 */
#ifndef FAULTS_TRACE_H
#define FAULTS_TRACE_H

#include <stdint.h>

enum trace_type {
    TRACE_CREATE = 1,
    TRACE_MKDIR,
    TRACE_RENAME,
    TRACE_UNLINK,
    TRACE_WRITE,
    TRACE_SIZE,
    TRACE_TRUNC,
    TRACE_SYNC_BEGIN,
    TRACE_SYNC_END,
    TRACE_OUTPUT,
    TRACE_HEAD,
};

struct trace_record {
    uint32_t type;
    uint32_t file;
    uint64_t a, b;
    uint64_t len;
};

#endif
