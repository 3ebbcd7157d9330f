#include "message.h"

#include <assert.h>
#include <string.h>

#include "format/bytes.h"
#include "format/frame.h"

/* Every message begins with
 *    0  u16  type        2  u16  zero        4  u32  size, all of it        8  u64  term
 * and goes on, by type, with (u32 before u64s never occurs: all numbers are aligned)
 *    APPEND         16 u64 prev_index   24 u64 prev_term   32 u64 prev_checksum   40 u64 commit   48 u32 count   52 u32 zero
 *                   56 frames
 *    APPEND_RESULT  16 u64 rejected     24 u64 last
 *    VOTE           16 u64 candidate    24 u64 last_index  32 u64 last_term   40 u32 1 disrupt, 2 pre   44 u32 zero
 *    VOTE_RESULT    16 u32 1 granted, 2 pre   20 u32 zero
 *    TIMEOUT_NOW    16 u64 last_index   24 u64 last_term
 *    INSTALL        16 u64 last_index   24 u64 last_term   32 u64 last_checksum   40 u64 configuration_index
 *                   48 u32 configuration_len  52 u32 manifest_len  56 configuration, manifest
 *    PROBE          16 u64 number
 *    PROBE_RESULT   16 u64 number       24 u32 1 follows   28 u32 zero
 * Numbers are little-endian; what is zero must be zero. */
#define APPEND_HEAD 56u
#define INSTALL_HEAD 56u

enum { DISRUPT = 1, GRANTED = 1, FOLLOWS = 1, PRE = 2 };

static const struct {
    uint32_t head, size_max;
} shape[] = {
    [REP_APPEND] = {APPEND_HEAD, REP_APPEND_SIZE_MAX},
    [REP_APPEND_RESULT] = {32, 32},
    [REP_VOTE] = {48, 48},
    [REP_VOTE_RESULT] = {24, 24},
    [REP_TIMEOUT_NOW] = {32, 32},
    [REP_INSTALL] = {INSTALL_HEAD, REP_INSTALL_SIZE_MAX},
    [REP_PROBE] = {24, 24},
    [REP_PROBE_RESULT] = {32, 32},
};

size_t rep_message_size_max(unsigned type) {
    return type < sizeof shape / sizeof shape[0] ? shape[type].size_max : 0;
}

static void put_body(const struct rep_message *m, unsigned char *at) {
    switch (m->type) {
    case REP_APPEND:
        fmt_put64(at + 16, m->append.prev_index);
        fmt_put64(at + 24, m->append.prev_term);
        fmt_put64(at + 32, m->append.prev_checksum);
        fmt_put64(at + 40, m->append.commit);
        fmt_put32(at + 48, m->append.frames.count);
        break;
    case REP_APPEND_RESULT:
        fmt_put64(at + 16, m->append_result.rejected);
        fmt_put64(at + 24, m->append_result.last);
        break;
    case REP_VOTE:
        fmt_put64(at + 16, m->vote.candidate);
        fmt_put64(at + 24, m->vote.last_index);
        fmt_put64(at + 32, m->vote.last_term);
        fmt_put32(at + 40, (m->vote.disrupt ? DISRUPT : 0u) | (m->vote.pre ? PRE : 0u));
        break;
    case REP_VOTE_RESULT:
        fmt_put32(at + 16, (m->vote_result.granted ? GRANTED : 0u) | (m->vote_result.pre ? PRE : 0u));
        break;
    case REP_TIMEOUT_NOW:
        fmt_put64(at + 16, m->timeout_now.last_index);
        fmt_put64(at + 24, m->timeout_now.last_term);
        break;
    case REP_INSTALL:
        fmt_put64(at + 16, m->install.last_index);
        fmt_put64(at + 24, m->install.last_term);
        fmt_put64(at + 32, m->install.last_checksum);
        fmt_put64(at + 40, m->install.configuration_index);
        fmt_put32(at + 48, (uint32_t)m->install.configuration_len);
        fmt_put32(at + 52, (uint32_t)m->install.manifest_len);
        break;
    case REP_PROBE:
        fmt_put64(at + 16, m->probe.number);
        break;
    case REP_PROBE_RESULT:
        fmt_put64(at + 16, m->probe_result.number);
        fmt_put32(at + 24, m->probe_result.follows ? FOLLOWS : 0u);
        break;
    }
}

bool rep_message_encode(const struct rep_message *m, struct rep_encoded *out) {
    memset(out, 0, sizeof *out);
    if (rep_message_size_max(m->type) == 0)
        return false;
    out->head_len = shape[m->type].head;
    if (m->type == REP_APPEND) {
        out->part[0] = (struct rep_bytes){m->append.frames.at, m->append.frames.len};
    } else if (m->type == REP_INSTALL) {
        if (m->install.configuration_len > REP_CONFIGURATION_MAX)
            return false;
        out->part[0] = (struct rep_bytes){m->install.configuration, m->install.configuration_len};
        out->part[1] = (struct rep_bytes){m->install.manifest, m->install.manifest_len};
    }
    size_t room = shape[m->type].size_max - out->head_len;
    if (out->part[0].len > room || out->part[1].len > room - out->part[0].len)
        return false;
    out->size = out->head_len + out->part[0].len + out->part[1].len;
    fmt_put16(out->head, (uint16_t)m->type);
    fmt_put32(out->head + 4, (uint32_t)out->size);
    fmt_put64(out->head + 8, m->term);
    put_body(m, out->head);
    return true;
}

size_t rep_message_peek(const unsigned char head[REP_MESSAGE_HEAD], unsigned *type) {
    uint32_t size = fmt_get32(head + 4);
    *type = fmt_get16(head);
    return size < REP_MESSAGE_HEAD ? 0 : size;
}

/* Frames that fill the range, one after the other, numbered on from `index`. Their payloads are checked by who writes them. */
static const char *check_frames(const struct rep_frames *f, uint64_t index) {
    size_t at = 0;
    if (f->len == 0)
        return f->count == 0 ? NULL : "frames are missing";
    for (uint32_t i = 0; i < f->count; i++) {
        struct fmt_frame header;
        const char *wrong = fmt_frame_decode(f->at + at, f->len - at, &header);
        if (wrong)
            return wrong;
        if (header.frame_len > f->len - at)
            return "a frame ends behind the message";
        if (header.index != index + i)
            return "a frame has another index than it should";
        at += header.frame_len;
    }
    return at == f->len ? NULL : "bytes behind the last frame";
}

static const char *take_append(const unsigned char *at, size_t len, struct rep_append *a) {
    *a = (struct rep_append){.prev_index = fmt_get64(at + 16),
                             .prev_term = fmt_get64(at + 24),
                             .prev_checksum = fmt_get64(at + 32),
                             .commit = fmt_get64(at + 40),
                             .frames = {NULL, len - APPEND_HEAD, fmt_get32(at + 48)}};
    if (fmt_get32(at + 52) != 0)
        return "a reserved field is not zero";
    if (a->frames.count > REP_APPEND_FRAMES_MAX)
        return "too many frames";
    if (a->prev_index > UINT64_MAX - REP_APPEND_FRAMES_MAX - 1)
        return "an impossible index";
    if (a->frames.len > 0)
        a->frames.at = at + APPEND_HEAD;
    return check_frames(&a->frames, a->prev_index + 1);
}

static const char *take_install(const unsigned char *at, size_t len, struct rep_install *i) {
    *i = (struct rep_install){.last_index = fmt_get64(at + 16),
                              .last_term = fmt_get64(at + 24),
                              .last_checksum = fmt_get64(at + 32),
                              .configuration_index = fmt_get64(at + 40),
                              .configuration_len = fmt_get32(at + 48),
                              .manifest_len = fmt_get32(at + 52)};
    size_t rest = len - INSTALL_HEAD;
    if (i->configuration_len > REP_CONFIGURATION_MAX)
        return "the membership is too large";
    if (i->configuration_len > rest || i->manifest_len != rest - i->configuration_len)
        return "its parts do not fill it";
    i->configuration = i->configuration_len ? at + INSTALL_HEAD : NULL;
    i->manifest = i->manifest_len ? at + INSTALL_HEAD + i->configuration_len : NULL;
    return NULL;
}

/* The two bits at `at`, and zero behind them. */
static const char *take_flags(const unsigned char *at, uint32_t allowed, uint32_t *flags) {
    *flags = fmt_get32(at);
    return (*flags & ~allowed) || fmt_get32(at + 4) != 0 ? "a reserved field is not zero" : NULL;
}

static const char *take_body(const unsigned char *at, size_t len, struct rep_message *m) {
    uint32_t flags = 0;
    const char *wrong = NULL;
    switch (m->type) {
    case REP_APPEND:
        return take_append(at, len, &m->append);
    case REP_APPEND_RESULT:
        m->append_result = (struct rep_append_result){fmt_get64(at + 16), fmt_get64(at + 24)};
        break;
    case REP_VOTE:
        wrong = take_flags(at + 40, DISRUPT | PRE, &flags);
        m->vote =
            (struct rep_vote){fmt_get64(at + 16), fmt_get64(at + 24), fmt_get64(at + 32), flags & DISRUPT, flags & PRE};
        break;
    case REP_VOTE_RESULT:
        wrong = take_flags(at + 16, GRANTED | PRE, &flags);
        m->vote_result = (struct rep_vote_result){flags & GRANTED, flags & PRE};
        break;
    case REP_TIMEOUT_NOW:
        m->timeout_now = (struct rep_timeout_now){fmt_get64(at + 16), fmt_get64(at + 24)};
        break;
    case REP_INSTALL:
        return take_install(at, len, &m->install);
    case REP_PROBE:
        m->probe.number = fmt_get64(at + 16);
        break;
    case REP_PROBE_RESULT:
        wrong = take_flags(at + 24, FOLLOWS, &flags);
        m->probe_result = (struct rep_probe_result){fmt_get64(at + 16), flags & FOLLOWS};
        break;
    }
    return wrong;
}

const char *rep_message_decode(const unsigned char *at, size_t len, struct rep_message *out) {
    unsigned type;
    if (len < REP_MESSAGE_HEAD || rep_message_peek(at, &type) != len)
        return "its size is not what it says";
    if (rep_message_size_max(type) == 0)
        return "its type is not known";
    if (fmt_get16(at + 2) != 0)
        return "a reserved field is not zero";
    if (len < shape[type].head || len > shape[type].size_max)
        return "its size is impossible";
    struct rep_message m = {.type = (enum rep_message_type)type, .term = fmt_get64(at + 8)};
    const char *wrong = take_body(at, len, &m);
    if (!wrong)
        *out = m;
    return wrong;
}
