/* Any bytes as what an archive holds: a line, a manifest, a key. What is taken is written again byte for byte. */
#include <assert.h>
#include <stdlib.h>

#include "libcore/archive.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void line(struct fmt_text text) {
    struct es_buffer room = {0};
    struct esdb_event e;
    if (es_archive_line(text, &room, &e) == NULL) {
        char *again = malloc(esdb_event_json_room(&e));
        assert(again && esdb_event_json(&e, again) == text.len && memcmp(again, text.at, text.len) == 0);
        free(again);
    }
    es_buffer_release(&room);
}

static void manifest(struct fmt_text text) {
    struct es_archive_manifest m = {0};
    struct es_buffer again = {0};
    if (es_archive_manifest_parse(text, &m) == NULL) {
        assert(es_archive_manifest_print(&m, &again) == 0);
        assert(again.len == text.len && memcmp(again.at, text.at, text.len) == 0);
    }
    es_buffer_release(&again);
    es_archive_manifest_release(&m);
}

static void key(struct fmt_text text) {
    char name[FMT_STREAM_NAME_MAX], again[FMT_ARCHIVE_KEY_ROOM];
    uint64_t from, to;
    size_t len;
    if (fmt_archive_key_parse(text, name, &len, &from, &to)) {
        assert(fmt_archive_key((struct fmt_text){name, len}, from, to, again) == text.len);
        assert(memcmp(again, text.at, text.len) == 0 && text.at[0] != '.' && text.at[0] != '/');
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct fmt_text text = {(const char *)data, size};
    line(text);
    manifest(text);
    key(text);
    return 0;
}
