/* A member is a header block, then its bytes, filled up with zeros to a whole block; two zero blocks end the archive.
 *
 *   0  100  path            124  12  size, octal     156   1  type: '0' file, '5' directory
 * 100    8  mode, octal     136  12  mtime, octal    257   6  "ustar\0"
 * 108    8  uid, octal      148   8  sum of all      263   2  "00"
 * 116    8  gid, octal               bytes, octal
 */
#include "tar.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

static const unsigned char zeros[2 * ES_TAR_BLOCK];

static void put_octal(unsigned char *at, size_t room, uint64_t value) {
    at[room - 1] = '\0';
    for (size_t i = room - 1; i-- > 0; value >>= 3)
        at[i] = (unsigned char)('0' + (value & 7));
}

static int put_header(struct es_tar *t, char type, const char *path, unsigned mode, uint64_t mtime, uint64_t size) {
    unsigned char h[ES_TAR_BLOCK] = {0};
    unsigned sum = 0;
    size_t len = strlen(path);
    assert(len <= ES_TAR_NAME_MAX && size < ES_TAR_SIZE_MAX && t->left == 0);
    memcpy(h, path, len);
    put_octal(h + 100, 8, mode & 07777);
    put_octal(h + 108, 8, 0);
    put_octal(h + 116, 8, 0);
    put_octal(h + 124, 12, size);
    put_octal(h + 136, 12, mtime);
    memset(h + 148, ' ', 8); /* what the sum takes its own field for */
    h[156] = (unsigned char)type;
    memcpy(h + 257, "ustar", 6);
    memcpy(h + 263, "00", 2);
    for (size_t i = 0; i < sizeof h; i++)
        sum += h[i];
    put_octal(h + 148, 7, sum);
    t->left = t->size = size;
    return t->write(t->context, h, sizeof h);
}

int es_tar_directory(struct es_tar *t, const char *path, unsigned mode, uint64_t mtime) {
    return put_header(t, '5', path, mode, mtime, 0);
}

int es_tar_file(struct es_tar *t, const char *path, unsigned mode, uint64_t mtime, uint64_t size) {
    return put_header(t, '0', path, mode, mtime, size);
}

int es_tar_bytes(struct es_tar *t, const void *bytes, size_t len) {
    assert(len <= t->left);
    int rc = len ? t->write(t->context, bytes, len) : 0;
    t->left -= len;
    size_t rest = (size_t)(t->size % ES_TAR_BLOCK);
    return rc == 0 && t->left == 0 && rest ? t->write(t->context, zeros, ES_TAR_BLOCK - rest) : rc;
}

int es_tar_end(struct es_tar *t) {
    assert(t->left == 0);
    return t->write(t->context, zeros, sizeof zeros);
}
