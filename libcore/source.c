/* The ids of events that are made from another event: the same each time, so that a repeat can be told. */
#include "esdb.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "error.h"
#include "format/checksum.h"

/* The text leaves no doubt where the name ends: behind it are two colons and digits. */
int esdb_source_id(struct esdb_text name, uint64_t position, uint64_t number, char out[37], struct esdb_error *err) {
    char *text = NULL;
    unsigned char b[16];
    XXH128_canonical_t canonical;
    if (name.len == 0)
        return es_fail(err, ESDB_EUSAGE, "the name of the source is empty");
    if (name.len > 255)
        return es_fail(err, ESDB_EUSAGE, "the name of the source is longer than 255 bytes");
    int len = asprintf(&text, "%.*s:%llu:%llu", (int)name.len, name.at, (unsigned long long)position,
                       (unsigned long long)number);
    if (len < 0)
        return es_fail(err, -ENOMEM, "source");
    XXH128_canonicalFromHash(&canonical, XXH3_128bits(text, (size_t)len));
    free(text);
    memcpy(b, canonical.digest, sizeof b);
    b[6] = (unsigned char)((b[6] & 0x0f) | 0x80); /* RFC 9562: version 8 */
    b[8] = (unsigned char)((b[8] & 0x3f) | 0x80); /* and its variant */
    snprintf(out, 37, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1], b[2], b[3],
             b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]);
    return 0;
}
