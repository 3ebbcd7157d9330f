/* The configuration of a node: every field, and what messages name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "replicate/config.h"

#include <cmocka.h>

#define KEY_A "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
#define KEY_B "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
#define HEAD                                                                                             \
    "node: a\nstore_id: 0190d3a8-6e4b-7c1f-9a3e-0123456789ab\nkey_file: a.key\nlisten: localhost:7411\n" \
    "peers:\n  - {name: b, address: 'b.example:7411', public_key: " KEY_B "}\n"

static struct rd_config c;

static const char *parse(const char *text) {
    static struct esdb_error err;
    memset(&err, 0, sizeof err);
    int rc = rd_config_parse("etc/a.yaml", text, strlen(text), &c, &err);
    assert_true(rc == 0 || rc == ESDB_EUSAGE);
    assert_int_equal(rc, err.code);
    return rc == 0 ? NULL : err.text;
}

static void test_minimal(void **state) {
    (void)state;
    assert_null(parse(HEAD));
    assert_string_equal(c.node, "a");
    assert_string_equal(c.key_file, "etc/a.key"); /* beside the file */
    assert_string_equal(c.store, "");
    assert_int_equal(c.store_id[0], 0x01);
    assert_int_equal(c.store_id[15], 0xab);
    assert_string_equal(c.listen.host, "localhost");
    assert_int_equal(c.listen.port, 7411);
    assert_int_equal(c.peer_count, 1);
    assert_int_equal(c.self, 1); /* is not among them */
    assert_string_equal(c.peers[0].name, "b");
    assert_string_equal(c.peers[0].address.host, "b.example");
    assert_int_equal(c.peers[0].public_key[0], 1);
    assert_int_equal(c.election_timeout_ms, 200);
    assert_int_equal(c.heartbeat_ms, 25);
    assert_int_equal(c.trail_bytes, 256 << 20);
    assert_int_equal(c.fetch_rate_bytes, 256 << 20);
}

static void test_everything(void **state) {
    (void)state;
    const char *wrong = parse(HEAD "  - {name: a, address: '[::1]:1', public_key: " KEY_A "}\n"
                                   "store: /srv/orders\nelection_timeout: 1s\nheartbeat: 100ms\nhandshake_timeout: 2s\n"
                                   "limits:\n  connections: 20\n  clients: 7\n  send_buffer: 16M\n"
                                   "  trail: 8M\n  fetch_rate: 2M\n");
    assert_string_equal(wrong ? wrong : "", "");
    assert_int_equal(c.self, 1);
    assert_int_equal(c.peer_count, 2);
    assert_string_equal(c.store, "/srv/orders");
    assert_int_equal(c.election_timeout_ms, 1000);
    assert_int_equal(c.heartbeat_ms, 100);
    assert_int_equal(c.handshake_timeout_ms, 2000);
    assert_int_equal(c.connections_max, 20);
    assert_int_equal(c.clients_max, 7);
    assert_int_equal(c.send_buffer_bytes, 16 << 20);
    assert_int_equal(c.trail_bytes, 8 << 20);
    assert_int_equal(c.fetch_rate_bytes, 2 << 20);
}

/* Each message names the file, line and column, and the field. */
static void test_places(void **state) {
    (void)state;
    static const struct {
        const char *text, *says;
    } row[] = {
        {"", "etc/a.yaml:1:1: is empty"},
        {"- a\n", "etc/a.yaml:1:1: must be 'field: value' lines"},
        {"node: 'a\n", "etc/a.yaml:2:1: not YAML: found unexpected end of stream"},
        {"node: a\nlisen: x\n", "etc/a.yaml:2:1: lisen: there is no such field"},
        {"node: a\nnode: b\n", "etc/a.yaml:2:1: node: was given before"},
        {"node: -a\n", "etc/a.yaml:1:7: node: must be 1 to 63 letters"},
        {"node: {a: b}\n", "etc/a.yaml:1:7: node: must be one plain value"},
        {"store_id: 12\n", "etc/a.yaml:1:11: store_id: must be a UUID"},
        {"listen: nowhere\n", "etc/a.yaml:1:9: listen: must be HOST:PORT"},
        {"election_timeout: 200\n", "etc/a.yaml:1:19: election_timeout: '200' is not a time like"},
        {"election_timeout: 1ms\n", "etc/a.yaml:1:19: election_timeout: 1ms is not in the range 20 to 60000 ms"},
        {"limits:\n  clients: 0\n", "etc/a.yaml:2:12: limits.clients: 0 is not in the range 1 to 100000"},
        {"limits:\n  send_buffer: 99999999999G\n", "etc/a.yaml:2:16: limits.send_buffer: '99999999999G' is not a size"},
        {"limits:\n  cliens: 1\n", "etc/a.yaml:2:3: limits.cliens: there is no such field"},
        {"peers: a\n", "etc/a.yaml:1:8: peers: must be a list"},
        {"peers:\n  - name: a\n    address: b\n", "etc/a.yaml:3:14: peers[1].address: must be HOST:PORT"},
        {"peers:\n  - {name: b, address: 'b:1', public_key: 'AAAA'}\n",
         "etc/a.yaml:2:43: peers[1].public_key: must be"},
        {"peers:\n  - {name: b, address: 'b:1'}\n", "peers[1].public_key: is missing"},
        {"peers:\n  - {name: b, address: 'b:0', public_key: " KEY_A "}\n", "a peer's port cannot be 0"},
        {HEAD "  - {name: b, address: 'b:1', public_key: " KEY_A "}\n",
         "etc/a.yaml:7:5: peers[2]: name: another peer has it"},
        {HEAD "  - {name: d, address: 'b:1', public_key: " KEY_B "}\n", "peers[2]: public_key: another peer has it"},
        {HEAD "  - {name: d, address: 'b.example:7411', public_key: " KEY_A "}\n",
         "etc/a.yaml:7:5: peers[2]: address: another peer has it"},
        {"metrics: db.example:7412\n", "etc/a.yaml:1:10: metrics: the host must be localhost"},
        {"metrics: '[fe80::1]:7412'\n", "metrics: the host must be localhost"},
        {"metrics: 7412\n", "metrics: must be HOST:PORT"},
        {"node: &x a\n", "anchors, aliases and tags are not allowed"},
        {"node: !!str a\n", "anchors, aliases and tags are not allowed"},
        {"node: a\n", "store_id: is missing"},
        {HEAD "heartbeat: 100ms\n", "heartbeat: must be at most a quarter of election_timeout"},
        {HEAD "---\nnode: b\n", "a second document"},
        {"node: \"a\\0b\"\n", "etc/a.yaml:1:7: node: holds a zero byte"},
    };
    for (size_t i = 0; i < sizeof row / sizeof row[0]; i++) {
        const char *text = parse(row[i].text);
        assert_non_null(text);
        if (!strstr(text, row[i].says))
            fail_msg("row %zu: '%s' is not in '%s'", i, row[i].says, text);
    }
}

static void test_too_many(void **state) {
    (void)state;
    char text[8192], key[RD_KEY_TEXT_ROOM];
    unsigned char bytes[RD_KEY_SIZE] = {0};
    size_t n = (size_t)snprintf(text, sizeof text, "%s", HEAD);
    for (int i = 2; i <= 16; i++) {
        bytes[1] = (unsigned char)i;
        rd_key_print(bytes, key);
        n += (size_t)snprintf(text + n, sizeof text - n, "  - {name: n%d, address: 'b:%d', public_key: %s}\n", i, i,
                              key);
    }
    assert_non_null(strstr(parse(text), "more than 16 nodes with this one"));
    snprintf(text + n, sizeof text - n, "  - {name: more, address: 'b:1', public_key: %s}\n", KEY_A);
    assert_non_null(strstr(parse(text), "peers: more than 16 nodes"));
}

static void test_addresses(void **state) {
    (void)state;
    static const char *const bad[] = {"",        "a",       ":1",     "a:",       "a:65536", "a:-1",
                                      "a:1x",    "[::1]",   "[]:1",   "[::g]:1",  "::1:80",  "a b:1",
                                      "[a.b]:1", "a:99999", "a/b:80", "[::1]x:1", "a: 1"};
    struct rd_address a;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (rd_address_parse(bad[i], &a))
            fail_msg("taken: '%s'", bad[i]);
    assert_true(rd_address_parse("[fe80::1]:0", &a));
    assert_string_equal(a.host, "fe80::1");
    assert_true(rd_address_parse("node-1.example:65535", &a));
    assert_int_equal(a.port, 65535);
}

static void test_keys(void **state) {
    (void)state;
    char dir[] = "/tmp/esdb-key-XXXXXX", file[64];
    struct rd_identity made, again;
    struct esdb_error err = {0};
    struct stat st;
    assert_int_equal(rd_crypto_begin(NULL), 0);
    assert_non_null(mkdtemp(dir));
    snprintf(file, sizeof file, "%s/node.key", dir);
    assert_int_equal(rd_key_create(file, &made, &err), 0);
    assert_int_equal(stat(file, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(rd_key_load(file, &again, &err), 0);
    assert_memory_equal(&again, &made, sizeof made);
    assert_int_equal(rd_key_create(file, &again, &err), ESDB_EUSAGE); /* never overwritten */
    err.code = 0;
    assert_int_equal(chmod(file, 0640), 0);
    assert_int_equal(rd_key_load(file, &again, &err), ESDB_EDENIED);
    err.code = 0;
    assert_int_equal(chmod(file, 0600), 0);
    assert_int_equal(truncate(file, st.st_size - 1), 0);
    assert_int_equal(rd_key_load(file, &again, &err), ESDB_EUSAGE);
    err.code = 0;
    assert_int_equal(unlink(file), 0);
    assert_true(rd_key_load(file, &again, &err) < 0);
    err.code = 0;
    assert_int_equal(rd_key_load(dir, &again, &err), ESDB_EDENIED);
    assert_int_equal(rmdir(dir), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_minimal),  cmocka_unit_test(test_everything), cmocka_unit_test(test_places),
        cmocka_unit_test(test_too_many), cmocka_unit_test(test_addresses),  cmocka_unit_test(test_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
