/* Tagged values: a byte that says whether objects are gone into and where groups end, then the data of an event a line. Events
 * one by one and in groups make the same state; a state that was printed with its tags is the same when it is read again. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "format/json.h"
#include "libcore/esdb.h"
#include "libcore/tagged.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct es_keys keys;

static int add(struct es_tagged *state, struct fmt_text json, bool deep) {
    struct es_tagged patch = {0};
    struct es_tagged_why why = {""};
    int rc = es_tagged_parse(&keys, json, deep, &patch, &why);

    if (rc == 0)
        rc = es_tagged_check(&keys, state, &patch, &why);
    if (rc == 0)
        rc = es_tagged_apply(state, &patch);
    assert(rc == 0 || (rc == ESDB_EINVALID && why.text[0] != '\0'));
    es_tagged_release(&patch);
    return rc;
}

static struct es_buffer print(const struct es_tagged *state, bool finalize) {
    struct es_buffer out = {0};
    struct fmt_json_value value;
    struct fmt_json_error wrong;

    assert(es_tagged_print(&keys, state, finalize, &out) == 0);
    assert(fmt_json_scan((const char *)out.at, out.len, &value, &wrong) == FMT_JSON_OK && !value.has_space);
    return out;
}

static void expect_same(const struct es_tagged *a, const struct es_tagged *b) {
    for (int finalize = 0; finalize < 2; finalize++) {
        struct es_buffer x = print(a, finalize), y = print(b, finalize);

        assert(x.len == y.len && memcmp(x.at, y.at, x.len) == 0);
        es_buffer_release(&x);
        es_buffer_release(&y);
    }
}

/* Puts a group behind what is merged, by way of its text. */
static void merge(struct es_tagged *merged, struct es_tagged *group, bool deep) {
    struct es_buffer text = print(group, false);
    struct es_tagged again = {0};

    assert(add(&again, (struct fmt_text){(const char *)text.at, text.len}, deep) == 0);
    expect_same(group, &again);
    assert(add(merged, (struct fmt_text){(const char *)text.at, text.len}, deep) == 0);
    es_buffer_release(&text);
    es_tagged_release(&again);
    es_tagged_release(group);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct es_tagged forward = {0}, group = {0}, merged = {0};
    const char *at = (const char *)data + 1, *end = (const char *)data + size;
    unsigned every = size > 0 ? 1 + (data[0] >> 1) % 5 : 1, in_group = 0;
    bool deep = size > 0 && data[0] & 1;

    while (at < end) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        size_t len = newline ? (size_t)(newline - at) : (size_t)(end - at);
        struct fmt_json_value value;
        struct fmt_json_error wrong;

        if (fmt_json_scan(at, len, &value, &wrong) == FMT_JSON_OK) {
            char *stripped = malloc(value.len); /* a block of its exact size, gone before the state is printed */
            assert(stripped);
            struct fmt_text event = {stripped, fmt_json_strip(&value, stripped)};

            if (add(&forward, event, deep) == 0) {
                /* What a longer history allows a shorter one allows too, but for sums that end in too many digits. */
                if (add(&group, event, deep) != 0) {
                    free(stripped);
                    goto done;
                }
                in_group++;
            }
            free(stripped);
        }
        if (in_group == every) {
            merge(&merged, &group, deep);
            in_group = 0;
        }
        at = newline ? newline + 1 : end;
    }
    merge(&merged, &group, deep);
    expect_same(&forward, &merged);
done:
    es_tagged_release(&forward);
    es_tagged_release(&group);
    es_tagged_release(&merged);
    es_keys_release(&keys);
    return 0;
}
