/* Compressed segments: the table, writing, reading back in any order with bounded memory, damage. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "format/bytes.h"
#include "format/checksum.h"
#include "libcore/os.h"
#include "libcore/pack.h"
#include "libcore/packed.h"

enum { HEADER = FMT_SEGMENT_HEADER_SIZE, MIB = 1 << 20 };

/* Content of any size: lines that repeat, and now and then a part that nothing compresses. */
static unsigned char *make_content(size_t size) {
    struct fmt_segment s = {.version = FMT_VERSION, .first_index = 1, .rewritten_us = 7};
    unsigned char *at = malloc(size);
    uint64_t seed = 1;
    assert_non_null(at);
    fmt_segment_encode(&s, at);
    for (size_t i = HEADER; i < size; i++) {
        if (i % 8 == 0)
            seed = fmt_fold(seed, i);
        at[i] = i / 200000 % 4 == 3 ? (unsigned char)(seed >> (i % 8 * 8)) : (unsigned char)("a line of text "[i % 15]);
    }
    return at;
}

/* A file with the compressed form, put in pieces of any length. */
static int pack(const unsigned char *content, size_t size, uint64_t *written) {
    struct es_packer p = {.fd = memfd_create("packed", MFD_CLOEXEC)};
    size_t step = size < 1000 ? size : 1000;
    assert_true(p.fd >= 0);
    for (size_t at = 0; at < size; at += step, step = size - at < 100001 ? size - at : 100001)
        assert_int_equal(es_packer_put(&p, content + at, step), 0);
    assert_int_equal(es_packer_end(&p), 0);
    *written = p.written;
    es_packer_release(&p);
    struct stat st;
    assert_int_equal(fstat(p.fd, &st), 0);
    assert_int_equal(st.st_size, *written);
    return p.fd;
}

static void open_packed(int fd, uint64_t size, struct es_packed *p) {
    unsigned char bytes[HEADER];
    struct fmt_segment s;
    bool newer;
    assert_int_equal(es_pread(fd, bytes, sizeof bytes, 0), HEADER);
    assert_null(fmt_segment_decode(bytes, sizeof bytes, &s, &newer));
    assert_true(fmt_is_packed(&s));
    assert_int_equal(es_packed_open(fd, size, &s, p), 0);
}

static void what_is_packed_comes_back(void **state) {
    (void)state;
    static const size_t sizes[] = {HEADER + 1,           1000,       FMT_PACKED_BLOCK - 1, FMT_PACKED_BLOCK,
                                   FMT_PACKED_BLOCK + 1, 3 * MIB + 5};
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
        unsigned char *content = make_content(sizes[k]);
        struct es_segment_file f;
        const char *wrong;
        uint64_t written;
        int fd = pack(content, sizes[k], &written);
        assert_int_equal(es_segment_file_open(fd, written, &f, &wrong), 0);
        assert_null(fmt_packed_table_check(&f.packed.header, f.map, f.map_len));
        assert_int_equal(f.size, sizes[k]);
        assert_int_equal(f.header.rewritten_us, 7);
        es_unpacked_need(&f.unpacked, 0, f.size);
        assert_memory_equal(f.base, content, sizes[k]); /* with the header of the content */
        es_segment_file_close(&f);
        close(fd);
        free(content);
    }
}

static size_t resident(void *at, size_t len) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE), count = (len + page - 1) / page, sum = 0;
    unsigned char *here = malloc(count);
    assert_non_null(here);
    assert_int_equal(mincore(at, len, here), 0);
    for (size_t i = 0; i < count; i++)
        sum += here[i] & 1;
    free(here);
    return sum * page;
}

static void memory_is_bounded_in_any_order(void **state) {
    (void)state;
    enum { SIZE = 48 * MIB };
    unsigned char *content = make_content(SIZE);
    struct es_packed p;
    struct es_unpacked u[2];
    uint64_t written, seed = 9;
    int fd = pack(content, SIZE, &written);
    struct es_block_memory *m = es_block_memory_new();
    open_packed(fd, written, &p);
    assert_int_equal(es_unpacked_open(&u[0], &p, m, false), 0); /* two that share the memory */
    assert_int_equal(es_unpacked_open(&u[1], &p, m, false), 0);
    for (int n = 0; n < 6000; n++) {
        seed = fmt_fold(seed, (uint64_t)n);
        size_t at = seed % (SIZE - 100000), len = seed >> 40 & 0xffff;
        es_unpacked_need(&u[n & 1], at, at + len);
        assert_memory_equal(u[n & 1].at + at + (at ? 0 : HEADER), content + at + (at ? 0 : HEADER), at ? len : 0);
        if (n % 1000 == 999)
            assert_true(resident(u[0].at, SIZE) + resident(u[1].at, SIZE) <= 17 * MIB);
    }
    es_unpacked_need(&u[0], MIB, 41 * MIB); /* at once, as for a large frame */
    assert_memory_equal(u[0].at + MIB, content + MIB, 40 * MIB);
    es_unpacked_close(&u[0]);
    es_unpacked_need(&u[1], 5, 6);
    es_unpacked_close(&u[1]);
    es_block_memory_free(m);
    es_packed_close(&p);
    close(fd);
    free(content);
}

static void an_ascending_reader_keeps_little(void **state) {
    (void)state;
    enum { SIZE = 40 * MIB };
    unsigned char *content = make_content(SIZE);
    struct es_segment_file f;
    const char *wrong;
    uint64_t written;
    int fd = pack(content, SIZE, &written);
    assert_int_equal(es_segment_file_open(fd, written, &f, &wrong), 0);
    for (int round = 0; round < 2; round++) /* and once more from the beginning */
        for (size_t at = 0; at < SIZE; at += 70000) {
            size_t end = at + 70001 < SIZE ? at + 70001 : SIZE;
            es_unpacked_need(&f.unpacked, at, end);
            assert_memory_equal(f.base + at, content + at, end - at);
        }
    assert_true(resident(f.unpacked.at, SIZE) <= 8 * MIB);
    es_segment_file_close(&f);
    close(fd);
    free(content);
}

static void single_reads_go_through_a_few_blocks_unless_they_want_the_same_again(void **state) {
    (void)state;
    enum { SIZE = 4 * MIB };
    unsigned char *content = make_content(SIZE), out[FMT_PACKED_BLOCK + 100];
    struct es_packed p;
    uint64_t written;
    int fd = pack(content, SIZE, &written), rc = 0, reads = 0;
    struct es_block_memory *m = es_block_memory_new();
    open_packed(fd, written, &p);
    for (size_t at = HEADER; at + sizeof out < SIZE; at += 9973) { /* ascending, over the borders of blocks */
        assert_int_equal(es_packed_read(&p, m, at, sizeof out, out), 0);
        assert_memory_equal(out, content + at, sizeof out);
    }
    for (; rc == 0 && reads < 1000; reads++) {
        size_t at = (size_t)(reads * 37 % 20) * (SIZE / 20) + 200;
        rc = es_packed_read(&p, m, at, 50, out);
        if (rc == 0)
            assert_memory_equal(out, content + at, 50);
    }
    assert_int_equal(rc, 1);
    assert_in_range(reads, 10, 100);
    es_block_memory_free(m);
    es_packed_close(&p);
    close(fd);
    free(content);
}

/* Flips a byte of the file; what can be read then. */
static void damage(int fd, uint64_t at) {
    unsigned char byte;
    assert_int_equal(es_pread(fd, &byte, 1, at), 1);
    byte ^= 0x10;
    assert_int_equal(es_pwrite(fd, &byte, 1, at), 0);
}

static void a_damaged_block_reads_as_zeros_and_costs_no_other(void **state) {
    (void)state;
    enum { SIZE = MIB };
    unsigned char *content = make_content(SIZE), zeros[FMT_PACKED_BLOCK] = {0};
    struct fmt_packed_block b;
    struct es_packed p;
    uint64_t written;
    int fd = pack(content, SIZE, &written);
    open_packed(fd, written, &p);
    for (int where = 0; where < 2; where++) { /* in the block, in its entry */
        struct es_block_memory *m = es_block_memory_new();
        struct es_unpacked u;
        assert_null(fmt_packed_find(&p.header, p.map, p.map_len, 5, &b));
        uint64_t at = where ? p.header.table_offset + 5 * FMT_PACKED_ENTRY_SIZE + 9 : b.offset + b.stored_len / 2;
        damage(fd, at);
        assert_non_null(fmt_packed_find(&p.header, p.map, p.map_len, 5, &b));
        assert_non_null(es_packed_check(&p, m, 5));
        assert_null(es_packed_check(&p, m, 4));
        assert_int_equal(fmt_packed_table_check(&p.header, p.map, p.map_len) != NULL, where);
        assert_int_equal(es_unpacked_open(&u, &p, m, false), 0);
        es_unpacked_need(&u, 0, SIZE);
        memcpy(content + 5 * FMT_PACKED_BLOCK, zeros, sizeof zeros);
        assert_memory_equal(u.at, content, SIZE);
        es_unpacked_close(&u);
        es_block_memory_free(m);
        damage(fd, at);
    }
    es_packed_close(&p);
    close(fd);
    free(content);
}

/* What a file of which one bit was changed gives. True: a checker finds that something is wrong. */
static bool is_found(int fd, uint64_t size, const unsigned char *content, size_t content_size) {
    struct es_segment_file f;
    const char *wrong = NULL;
    if (es_segment_file_open(fd, size, &f, &wrong) < 0) {
        assert_non_null(wrong);
        return true;
    }
    bool found = !f.memory || fmt_packed_table_check(&f.packed.header, f.map, f.map_len);
    for (uint32_t i = 0; f.memory && i < fmt_packed_count(&f.packed.header); i++) {
        size_t at = (size_t)i * FMT_PACKED_BLOCK, from = i ? at : HEADER;
        size_t end = at + FMT_PACKED_BLOCK < content_size ? at + FMT_PACKED_BLOCK : content_size;
        bool bad = es_packed_check(&f.packed, f.memory, i) != NULL;
        es_unpacked_need(&f.unpacked, from, end);
        if (bad)
            assert_true(fmt_all_zero(f.base + from, end - from));
        else
            assert_memory_equal(f.base + from, content + from, end - from);
        found |= bad;
    }
    es_segment_file_close(&f);
    return found;
}

static void every_changed_bit_is_found_and_gives_no_other_byte(void **state) {
    (void)state;
    enum { SIZE = 3 * FMT_PACKED_BLOCK + 1000 };
    unsigned char *content = make_content(SIZE);
    uint64_t written;
    int fd = pack(content, SIZE, &written);
    assert_false(is_found(fd, written, content, SIZE));
    assert_true(written < 8000);
    for (uint64_t bit = 0; bit < written * 8; bit++) {
        unsigned char byte;
        assert_int_equal(es_pread(fd, &byte, 1, bit / 8), 1);
        byte ^= (unsigned char)(1 << bit % 8);
        assert_int_equal(es_pwrite(fd, &byte, 1, bit / 8), 0);
        if (!is_found(fd, written, content, SIZE))
            fail_msg("bit %llu of byte %llu", (unsigned long long)bit % 8, (unsigned long long)bit / 8);
        byte ^= (unsigned char)(1 << bit % 8);
        assert_int_equal(es_pwrite(fd, &byte, 1, bit / 8), 0);
    }
    for (uint64_t size = 0; size < written; size++) { /* and every end that is missing */
        assert_int_equal(ftruncate(fd, (off_t)size), 0);
        assert_true(is_found(fd, size, content, SIZE));
        assert_int_equal(ftruncate(fd, 0), 0);
        close(fd);
        fd = pack(content, SIZE, &written);
        size += written / 50;
    }
    close(fd);
    free(content);
}

static void blocks_of_another_place_or_file_are_not_taken(void **state) {
    (void)state;
    unsigned char *content = make_content(MIB);
    uint64_t written;
    int fd = pack(content, MIB, &written);
    unsigned char *file = malloc(written);
    struct fmt_segment s;
    struct fmt_packed_block b;
    bool newer;
    assert_int_equal(es_pread(fd, file, written, 0), written);
    assert_null(fmt_segment_decode(file, written, &s, &newer));
    unsigned char *table = file + s.table_offset, keep[FMT_PACKED_ENTRY_SIZE];
    memcpy(keep, table, sizeof keep); /* two entries change places */
    memcpy(table + FMT_PACKED_ENTRY_SIZE, table + 2 * FMT_PACKED_ENTRY_SIZE, sizeof keep);
    assert_string_equal(fmt_packed_find(&s, file, written, 1, &b), "its checksum is wrong");
    fmt_put32(table, 8); /* into the header */
    assert_string_equal(fmt_packed_find(&s, file, written, 0, &b), "its place is out of range");
    fmt_put32(table, (uint32_t)s.table_offset); /* into the table */
    assert_string_equal(fmt_packed_find(&s, file, written, 0, &b), "its place is out of range");
    memcpy(table, keep, sizeof keep);
    fmt_put32(table + 4, 0);
    assert_string_equal(fmt_packed_find(&s, file, written, 0, &b), "its place is out of range");
    fmt_put32(table + 4, UINT32_MAX);
    assert_string_equal(fmt_packed_find(&s, file, written, 0, &b), "its place is out of range");
    assert_string_equal(fmt_packed_find(&s, file, (size_t)s.table_offset + 8, 0, &b), "the file ends before its entry");
    assert_string_equal(fmt_packed_table_check(&s, file, written - 1), "the file ends before the table of blocks does");
    free(file);
    close(fd);
    free(content);
}

static void the_header_is_checked(void **state) {
    (void)state;
    unsigned char bytes[HEADER];
    struct fmt_segment s = {.version = FMT_VERSION,
                            .features_required = FMT_FEATURE_COMPRESSED,
                            .first_index = 1,
                            .content_size = 1000,
                            .table_offset = 500,
                            .block_size = FMT_PACKED_BLOCK};
    struct fmt_segment out, bad;
    bool newer;
    fmt_segment_encode(&s, bytes);
    assert_null(fmt_segment_decode(bytes, HEADER, &out, &newer));
    assert_int_equal(out.content_size, 1000);
    assert_int_equal(fmt_packed_count(&out), 1);
    static const uint32_t sizes[] = {0, 1, 8192, 65537, 98304, 2 << 20};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        bad = s;
        bad.block_size = sizes[i];
        fmt_segment_encode(&bad, bytes);
        assert_string_equal(fmt_segment_decode(bytes, HEADER, &out, &newer),
                            "size of compressed blocks is out of range");
        assert_false(newer);
    }
    bad = s;
    bad.content_size = HEADER;
    fmt_segment_encode(&bad, bytes);
    assert_string_equal(fmt_segment_decode(bytes, HEADER, &out, &newer), "size before compression is out of range");
    bad = s;
    bad.table_offset = 100;
    fmt_segment_encode(&bad, bytes);
    assert_string_equal(fmt_segment_decode(bytes, HEADER, &out, &newer), "table of compressed blocks is out of range");
    bad = s;
    bad.features_required |= 2;
    fmt_segment_encode(&bad, bytes);
    assert_non_null(fmt_segment_decode(bytes, HEADER, &out, &newer));
    assert_true(newer);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_packed_comes_back),
        cmocka_unit_test(memory_is_bounded_in_any_order),
        cmocka_unit_test(an_ascending_reader_keeps_little),
        cmocka_unit_test(single_reads_go_through_a_few_blocks_unless_they_want_the_same_again),
        cmocka_unit_test(a_damaged_block_reads_as_zeros_and_costs_no_other),
        cmocka_unit_test(every_changed_bit_is_found_and_gives_no_other_byte),
        cmocka_unit_test(blocks_of_another_place_or_file_are_not_taken),
        cmocka_unit_test(the_header_is_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
