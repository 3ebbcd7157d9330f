/* Any bytes as store.yaml. What is printed of settings that were taken is taken again and means the same; and what
 * esdb-init wrote, which is read without libyaml, means the same when libyaml reads it. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "libcore/settings.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void same(const struct es_settings *a, const struct es_settings *b) {
    assert(a->incarnation == b->incarnation && a->created_us == b->created_us && a->version == b->version);
    assert(a->features_optional == b->features_optional && a->features_required == b->features_required);
    assert(memcmp(a->user.store_id, b->user.store_id, sizeof a->user.store_id) == 0);
    assert(a->user.segment_size == b->user.segment_size && a->user.durability == b->user.durability &&
           a->user.shared_group == b->user.shared_group);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char comment[] = "# edited\n"; /* so that it is not what esdb-init wrote */
    struct es_settings s, again, edited;
    struct esdb_error err = {0};
    char text[1024 + sizeof comment];
    if (es_settings_parse(data, size, "s", &s, &err) != 0) {
        assert(err.code != 0 && err.text[0]);
        return 0;
    }
    size_t len = es_settings_print(&s, text, 1024);
    assert(len > 0);
    assert(es_settings_parse((unsigned char *)text, len, "s", &again, &err) == 0);
    same(&again, &s);
    memcpy(text + len, comment, sizeof comment - 1);
    assert(es_settings_parse((unsigned char *)text, len + sizeof comment - 1, "s", &edited, &err) == 0);
    same(&edited, &s);
    return 0;
}
