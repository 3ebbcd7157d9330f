/* esdb-raftd: one node of a replicated store. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd.h"
#include "notify.h"
#include "replicate/config.h"
#include "replicate/daemon.h"

enum { OPT_CONFIG = 256, OPT_CHECK, OPT_KEYGEN, OPT_BOOTSTRAP, OPT_REJOIN, OPT_LOG };

static const struct cmd_option options[] = {
    {'c', "config", "FILE", "the node's configuration, YAML (needed)", OPT_CONFIG},
    {0, "bootstrap", NULL, "begin: this node becomes the first voter (on one node, once)", OPT_BOOTSTRAP},
    {0, "rejoin", NULL, "begin anew: set the store aside, fetch everything from the other nodes", OPT_REJOIN},
    {0, "log", "FORM", "of the messages on stderr: plain (default) or json", OPT_LOG},
    {0, "check-config", NULL, "check configuration and key, print the node's public key, and end", OPT_CHECK},
    {0, "keygen", "FILE", "make a secret key in FILE (mode 0600), print the public one, and end", OPT_KEYGEN},
    {0, NULL, NULL, NULL, 0},
};
static const struct cmd_group groups[] = {{"Options", options}, CMD_GROUP_STORE, {NULL, NULL}};
static const struct cmd_tool tool = {
    .name = "esdb-raftd",
    .synopsis = "-c FILE [options]\n--keygen FILE",
    .summary = "keep a store the same on several hosts",
    .examples = "# On each host: a key, whose public half goes into everybody's configuration\n"
                "esdb-raftd --keygen /etc/esdb/orders.key\n"
                "esdb-raftd -c /etc/esdb/orders.yaml --check-config\n"
                "# On one host, the first time; the others without --bootstrap\n"
                "esdb-raftd -c /etc/esdb/orders.yaml --bootstrap\n"
                "esdb-raftd -c /etc/esdb/orders.yaml\n"
                "# On a host whose disk has failed, or whose log is damaged, once\n"
                "esdb-raftd -c /etc/esdb/orders.yaml --rejoin",
    .notes =
        "Appends on any host go to the leader; they are acknowledged when a majority of the nodes has them on disk.\n"
        "Reading goes on as ever, from the files of the host.",
    .groups = groups,
    .statuses = CMD_STATUS(0) | CMD_STATUS(1) | CMD_STATUS(2) | CMD_STATUS(5) | CMD_STATUS(6) | CMD_STATUS(7),
};

static bool json;

static void put_line(const char *line) {
    if (json)
        dprintf(STDERR_FILENO, "%s\n", line);
    else
        cmd_message("%s", line);
}

static void alive(void) {
    int timeout_ms = 0;

    cmd_notify_alive(&timeout_ms);
}

static int keygen(const char *file) {
    struct rd_identity id;
    struct esdb_error err = {0};
    char text[RD_KEY_TEXT_ROOM];
    int rc = rd_key_create(file, &id, &err);

    if (rc < 0)
        return cmd_report(rc, &err);
    rd_key_print(id.public_key, text);
    rd_identity_release(&id);
    cmd_out_printf(cmd_stdout(), "%s\n", text);
    return 0;
}

/* What the file says about itself must fit the key. */
static int check_self(const struct rd_config *c, const struct rd_identity *id) {
    if (c->self < c->peer_count && memcmp(c->peers[c->self].public_key, id->public_key, RD_KEY_SIZE) != 0) {
        cmd_message("%s: is not the key whose public half peers[%zu] (%s) has", c->key_file, c->self + 1, c->node);
        return 2;
    }
    for (size_t i = 0; i < c->peer_count; i++) {
        if (i != c->self && memcmp(c->peers[i].public_key, id->public_key, RD_KEY_SIZE) == 0) {
            cmd_message("%s: peers[%zu] (%s) has the public key of this node", c->key_file, i + 1, c->peers[i].name);
            return 2;
        }
    }
    return 0;
}

static int check_only(const struct rd_identity *id) {
    char text[RD_KEY_TEXT_ROOM];

    rd_key_print(id->public_key, text);
    cmd_out_printf(cmd_stdout(), "%s\n", text);
    return 0;
}

/* What the options ask for. */
struct wish {
    bool check, bootstrap, rejoin;
};

static int run(const char *file, const struct wish *w) {
    static struct rd_config config;
    struct rd_identity id;
    struct esdb_error err = {0};
    struct rd_daemon_options o = {.config = &config,
                                  .self = &id,
                                  .rejoin = w->rejoin,
                                  .bootstrap = w->bootstrap,
                                  .json = json,
                                  .log = put_line,
                                  .notify = cmd_notify,
                                  .alive = alive};
    int rc = rd_config_load(file, &config, &err), status;

    if (rc == 0)
        rc = rd_key_load(config.key_file, &id, &err);
    if (rc < 0)
        return cmd_report(rc, &err);
    status = check_self(&config, &id);
    if (status == 0 && w->check)
        status = check_only(&id);
    else if (status == 0) {
        if (!cmd_store_given() && config.store[0])
            cmd_set_store(config.store);
        status = cmd_store_path(&o.store);
        if (status == 0) {
            rc = rd_daemon_run(&o, &err);
            status = rc < 0 ? cmd_report(rc, &err) : 0;
        }
    }
    rd_identity_release(&id);
    return status;
}

int main(int argc, char **argv) {
    struct cmd_args args;
    const char *file = NULL, *key = NULL;
    struct wish w = {false, false, false};
    struct esdb_error err = {0};

    cmd_begin(&tool, &args, argc, argv);
    for (int id; (id = cmd_next_option(&args)) != 0;) {
        if (id == OPT_CONFIG)
            file = args.value;
        else if (id == OPT_KEYGEN)
            key = args.value;
        else if (id == OPT_CHECK)
            w.check = true;
        else if (id == OPT_BOOTSTRAP)
            w.bootstrap = true;
        else if (id == OPT_REJOIN)
            w.rejoin = true;
        else if (strcmp(args.value, "json") == 0)
            json = true;
        else if (strcmp(args.value, "plain") != 0)
            cmd_usage_error("--log: '%s' is neither plain nor json", args.value);
    }
    if (args.count > 0)
        cmd_usage_error("takes no operands: '%s'", args.operands[0]);
    if (key ? file || w.check || w.bootstrap || w.rejoin : !file)
        cmd_usage_error(key ? "--keygen stands alone" : "--config is needed");
    if (w.check + w.bootstrap + w.rejoin > 1)
        cmd_usage_error("--check-config, --bootstrap and --rejoin exclude each other");
    int rc = rd_crypto_begin(&err);
    if (rc < 0)
        return cmd_finish(cmd_report(rc, &err));
    return cmd_finish(key ? keygen(key) : run(file, &w));
}
