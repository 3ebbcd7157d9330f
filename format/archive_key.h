/* archive_key.h: what archives are called. ARCHIVE.md section 1.
 *
 *   orders-1/0-99.archive             versions 0 to 99 of the stream "orders-1"
 *   a%2Fb%20%C3%A9/5-5.archive        version 5 of "a/b é"
 *
 * Letters, digits, '-', '_' and '.' stand for themselves, except that a '.' at the beginning does not; every other byte is
 * '%' and two upper-case hexadecimal digits. After each 200 characters "~/" is put in, so that no folder's name is longer
 * than file systems allow. A stream has one key for each range, and each key one stream. */
#ifndef FMT_ARCHIVE_KEY_H
#define FMT_ARCHIVE_KEY_H

#include "event.h"
#include "limits.h"

#define FMT_ARCHIVE_PIECE 200u /* characters of a folder's name, without the '~' */
#define FMT_ARCHIVE_SUFFIX ".archive"
#define FMT_ARCHIVE_KEY_ROOM 832u /* 3 * 255 bytes of a name, its "~/", two numbers, the suffix, a NUL */

/* Writes the folder's part, without the '/' behind it, NUL-terminated. Returns its length. */
size_t fmt_archive_folder(struct fmt_text stream_id, char out[FMT_ARCHIVE_KEY_ROOM]);

/* Writes the key of versions from .. to, NUL-terminated. Returns its length. */
size_t fmt_archive_key(struct fmt_text stream_id, uint64_t from, uint64_t to, char out[FMT_ARCHIVE_KEY_ROOM]);

/* The reverse. *len: of the name in `stream_id`. False when the text is no key: no stream has it. */
bool fmt_archive_key_parse(struct fmt_text key, char stream_id[FMT_STREAM_NAME_MAX], size_t *len, uint64_t *from,
                           uint64_t *to);

#endif
