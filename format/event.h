/* event.h: one event as it lies in a frame. FORMAT.md section 5.
 *
 *   0  u64  checksum            XXH3-64 of bytes 8 .. event_len
 *   8  16   salt                random; erased with the event, so that no checksum confirms a guess
 *  24  u64  version
 *  32  u64  epoch_us            microseconds since 1970 UTC, never decreasing along positions
 *  40  u32  event_len           this header, contents and padding; a multiple of 8
 *  44  u32  data_len
 *  48  u32  metadata_len
 *  52  u16  header_len          64; larger in a later format
 *  54  u16  flags               FMT_EVENT_*
 *  56  u16  stream_id_len
 *  58  u16  event_type_len
 *  60  u8   event_id_len
 *  61  u8   data_content_type_len      0: application/json
 *  62  u8   metadata_content_type_len  0: application/json
 *  63  u8   zero
 *  64  ...  stream_id, event_type, event_id, data_content_type, metadata_content_type, data, metadata, zeros to 8
 */
#ifndef FMT_EVENT_H
#define FMT_EVENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "limits.h"

#define FMT_EVENT_HEADER_SIZE 64u
#define FMT_SALT_SIZE 16u

/* Flags, never renumbered. Unknown flags make an event unreadable to this version. */
#define FMT_EVENT_HAS_DATA 0x0001u
#define FMT_EVENT_HAS_METADATA 0x0002u
#define FMT_EVENT_BINARY 0x0004u /* data is bytes, not JSON: shown as data_base64 */
#define FMT_EVENT_ERASED 0x0010u /* only stream, version and time are left: never shown */
#define FMT_EVENT_FLAGS_KNOWN 0x0017u

/* A piece of text or bytes inside somebody else's buffer. */
struct fmt_text {
    const char *at;
    size_t len;
};

/* A decoded event. Pointers lead into the buffer it was decoded from. */
struct fmt_event {
    uint64_t checksum;
    const unsigned char *salt;
    uint64_t version;
    uint64_t epoch_us;
    uint32_t event_len;
    uint16_t flags;
    struct fmt_text stream_id, event_type, event_id, data_content_type, metadata_content_type, data, metadata;
};

/* Size of the record that fmt_event_encode writes for e; 0 when a part is longer than its limit. */
size_t fmt_event_size(const struct fmt_event *e);

/* Writes all but checksum, version and epoch_us (they are set by fmt_event_seal) into out, which has room for
 * fmt_event_size(e) bytes. */
void fmt_event_encode(const struct fmt_event *e, unsigned char *out);

/* Sets version and time of an encoded record and its checksum. Returns the checksum. */
uint64_t fmt_event_seal(unsigned char *record, uint64_t version, uint64_t epoch_us);

/* What fmt_event_decode says of an event with a flag that this version does not know; *out is filled all the same. It is
 * no damage when the event is intact. */
extern const char fmt_newer_event[];

/* Length of the record whose first FMT_EVENT_HEADER_SIZE bytes are at `at`, as it says; not checked. */
uint32_t fmt_event_len(const unsigned char *at);

/* Decodes the record at `at`, of which `room` bytes may be read. Lengths are checked, the checksum is not.
 * Returns NULL and fills *out, or a static text that says what is wrong. */
const char *fmt_event_decode(const unsigned char *at, size_t room, struct fmt_event *out);

/* True when the record decoded into e carries the right checksum. */
bool fmt_event_intact(const unsigned char *at, const struct fmt_event *e);

#endif
