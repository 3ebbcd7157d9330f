/* Any bytes as a head page. Byte 4095 says how: odd: identity and checksum are made right, so that the fuzzer gets behind
 * them; its second bit: words are too. Whatever it holds, it is taken as a whole or not at all. */
#include <assert.h>
#include <string.h>

#include "libcore/shared_head.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void mend(struct fmt_head *h, const esdb *db, bool words) {
    _Atomic uint64_t *const all[] = {&h->generation, &h->appended,    &h->synced,
                                     &h->committed,  &h->in_progress, &h->poisoned};
    memcpy(h->magic, FMT_HEAD_MAGIC, sizeof h->magic);
    h->version = FMT_HEAD_VERSION;
    memcpy(h->boot_id, db->boot_id, sizeof h->boot_id);
    h->device = db->head_device;
    h->inode = db->head_inode;
    h->incarnation = db->settings.incarnation;
    h->check = fmt_head_check(h);
    for (size_t i = 0; words && i < sizeof all / sizeof *all; i++)
        *all[i] = fmt_word_encode(*all[i] & FMT_WORD_MAX);
}

static void look_for_mark(const struct fmt_mark mark[2], uint64_t index) {
    struct fmt_mark m;
    if (es_mark_find(mark, index, &m))
        assert(m.index == index && m.check == fmt_mark_check(&m));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct fmt_head head;
    esdb db = {.head = &head, .head_device = 7, .head_inode = 9, .boot_id = {1, 2, 3}, .lock = -1};
    db.settings.incarnation = 5;
    memset(&head, 0, sizeof head);
    memcpy(&head, data, size < sizeof head ? size : sizeof head);
    uint8_t how = size >= sizeof head ? data[sizeof head - 1] : size ? data[0] : 0;
    if (how & 1)
        mend(&head, &db, how & 2);
    enum esdb_head_state state = es_head_state(&db);
    assert(state != ESDB_HEAD_ABSENT && es_head_valid(&db) == (state == ESDB_HEAD_VALID));
    if ((how & 3) == 3)
        assert(state == ESDB_HEAD_VALID);
    if (state == ESDB_HEAD_VALID) {
        assert(head.check == fmt_head_check(&head) && !es_head_of_other_boot(&db));
        assert(es_head_proof(&db) == es_head_synced(&db));
    }
    look_for_mark(head.appended_mark, es_head_appended(&db));
    look_for_mark(head.synced_mark, es_head_committed(&db));
    uint32_t bit = es_round_for(&db, es_head_appended(&db));
    assert(bit == ES_WAKE_EVEN || bit == ES_WAKE_ODD);
    uint64_t index = es_head_appended(&db) >> 2; /* a word has room for twice the index */
    bit = es_round_begin(&db, index);
    assert(es_round_for(&db, index) == bit && es_round_for(&db, index + 1) != bit);
    return 0;
}
