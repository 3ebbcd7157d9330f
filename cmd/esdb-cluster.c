/* esdb-cluster: how the nodes of a replicated store do. */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd.h"

enum { OPT_JSON = 256, OPT_HEALTHY, OPT_WAIT, OPT_TIMEOUT };

static const struct cmd_option options[] = {
    {0, "json", NULL, "status: a JSON object", OPT_JSON},
    {0, "healthy", NULL, "wait: until appends go on and every configured node takes part", OPT_HEALTHY},
    {0, "wait", NULL, "add, remove: until it is done", OPT_WAIT},
    {0, "timeout", "TIME", "how long to wait for that, or for the daemon; default 5s", OPT_TIMEOUT},
    {0, NULL, NULL, NULL, 0},
};
static const struct cmd_group groups[] = {{"Options", options}, CMD_GROUP_STORE, {NULL, NULL}};
static const struct cmd_tool tool = {
    .name = "esdb-cluster",
    .synopsis = "status [--json]\nmembers\nwait --healthy [--timeout TIME]\ntransfer NODE\nadd NODE [--wait]\nremove "
                "NODE [--wait]\nwatch",
    .summary = "how the nodes of a replicated store do",
    .examples = "esdb-cluster status -S orders\n"
                "# In a script, after a node was started\n"
                "esdb-cluster wait --healthy --timeout 1min -S orders\n"
                "# Before the leader's host is rebooted\n"
                "esdb-cluster transfer b -S orders\n"
                "# A host is given up; its vote is not needed any more\n"
                "esdb-cluster remove c --wait -S orders",
    .notes = "It asks the esdb-raftd of the store on this host. The leader knows most: how far the others are.\n"
             "remove takes a node out of the membership, add takes it back: as standby, caught up, then a voter.\n"
             "watch prints a line whenever term or leader change, until it is ended.",
    .groups = groups,
    .statuses =
        CMD_STATUS(0) | CMD_STATUS(1) | CMD_STATUS(2) | CMD_STATUS(5) | CMD_STATUS(6) | CMD_STATUS(7) | CMD_STATUS(10),
};

/* Prints the answer. An exit status, after the message. */
static int ask(esdb *db, const char *question) {
    struct esdb_error err = {0};
    char *answer;
    int rc = esdb_cluster_ask(db, question, &answer, &err);

    if (rc < 0)
        return cmd_report(rc, &err);
    cmd_out_text(cmd_stdout(), answer);
    free(answer);
    return 0;
}

/* Asks until the answer is yes. */
static int wait_healthy(esdb *db, uint64_t timeout_ms) {
    uint64_t end = cmd_now_ms() + timeout_ms;

    for (;;) {
        struct esdb_error err = {0};
        char *answer;
        int rc = esdb_cluster_ask(db, "health", &answer, &err);

        if (rc == 0) {
            free(answer);
            return 0;
        }
        if (rc != ESDB_EUNAVAILABLE || cmd_now_ms() >= end)
            return cmd_report(rc, &err);
        poll(NULL, 0, 50);
    }
}

static int watch(esdb *db) {
    char last[256] = "";
    int status = 0;

    cmd_catch_signals();
    cmd_watch_stdout();
    while (!cmd_stopped && status == 0) {
        struct esdb_error err = {0};
        char *answer = NULL;
        int rc = esdb_cluster_ask(db, "leader", &answer, &err);

        if (rc < 0 && rc != ESDB_EUNAVAILABLE)
            status = cmd_report(rc, &err);
        else {
            const char *now = rc == 0 ? answer : "no daemon\n";

            if (strncmp(now, last, sizeof last - 1) != 0) {
                cmd_out_text(cmd_stdout(), now);
                status = cmd_out_flush(cmd_stdout());
                last[0] = '\0';
                strncat(last, now, sizeof last - 1);
            }
        }
        free(answer);
        poll(NULL, 0, 100);
    }
    return status;
}

static int transfer(esdb *db, const char *node) {
    size_t room = strlen(node) + 16;
    char *question = cmd_alloc(room);

    memcpy(question, "transfer ", 9);
    memcpy(question + 9, node, strlen(node));
    int status = ask(db, question);

    free(question);
    return status;
}

/* Asks about the node, "b is a voter". A code. */
static int ask_node(esdb *db, const char *node, char **answer, struct esdb_error *err) {
    size_t room = strlen(node) + 8;
    char *question = cmd_alloc(room);

    snprintf(question, room, "node %s", node);
    int rc = esdb_cluster_ask(db, question, answer, err);

    free(question);
    return rc;
}

static int wait_member(esdb *db, const char *node, const char *wanted, uint64_t timeout_ms) {
    uint64_t end = cmd_now_ms() + timeout_ms;

    for (;;) {
        struct esdb_error err = {0};
        char *answer = NULL;
        int rc = ask_node(db, node, &answer, &err);
        bool done = rc == 0 && strcmp(answer, wanted) == 0;

        if (!done && cmd_now_ms() >= end && rc == 0)
            cmd_message("%s is still: %s; it goes on", node, answer);
        free(answer);
        if (done)
            return 0;
        if (cmd_now_ms() >= end)
            return rc < 0 ? cmd_report(rc, &err) : 6;
        poll(NULL, 0, 50);
    }
}

/* What is wanted is an event that all nodes have: whoever leads does it. */
static int change(esdb *db, bool add, const char *node, bool wait, uint64_t timeout_ms) {
    static const char format[] = "{\"name\":\"%s\"}";
    struct esdb_error err = {0};
    struct esdb_receipt receipt;
    char *answer, data[sizeof format + 256];
    esdb_batch *batch;
    int rc = ask_node(db, node, &answer, &err);

    if (rc < 0)
        return cmd_report(rc, &err);
    free(answer);
    snprintf(data, sizeof data, format, node);
    const struct esdb_new_event e = {.stream_id = cmd_text("$cluster"),
                                     .event_type = cmd_text(add ? "NodeAdded" : "NodeRemoved"),
                                     .data = cmd_text(data),
                                     .system = true};

    rc = esdb_batch_open(&batch);
    if (rc == 0)
        rc = esdb_batch_add(batch, &e, &err);
    if (rc == 0)
        rc = esdb_append(db, batch, ESDB_USE_RESERVE, &receipt, &err);
    esdb_batch_close(batch);
    if (rc < 0)
        return cmd_report(rc, &err);
    return wait ? wait_member(db, node, add ? "voter" : "no member", timeout_ms) : 0;
}

int main(int argc, char **argv) {
    struct cmd_args args;
    bool json = false, healthy = false, wait = false;
    uint64_t timeout_ms = 5000;
    esdb *db;

    cmd_begin(&tool, &args, argc, argv);
    for (int id; (id = cmd_next_option(&args)) != 0;) {
        if (id == OPT_JSON)
            json = true;
        else if (id == OPT_HEALTHY)
            healthy = true;
        else if (id == OPT_WAIT)
            wait = true;
        else if ((timeout_ms = cmd_milliseconds(&args)) > 3600000)
            cmd_usage_error("%s: at most 1 hour", args.option);
    }
    if (args.count == 0)
        cmd_usage_error("status, members, wait, transfer, add, remove or watch?");
    const char *action = args.operands[0];
    bool is_wait = strcmp(action, "wait") == 0, is_transfer = strcmp(action, "transfer") == 0;
    bool is_status = strcmp(action, "status") == 0;

    bool is_change = strcmp(action, "add") == 0 || strcmp(action, "remove") == 0;

    if (!is_wait && !is_transfer && !is_change && !is_status && strcmp(action, "members") != 0 &&
        strcmp(action, "watch") != 0)
        cmd_usage_error("unknown action '%s'", action);
    if (args.count != (is_transfer || is_change ? 2 : 1))
        cmd_usage_error(is_transfer ? "transfer: to which node?"
                        : is_change ? "%s: which node?"
                                    : "%s takes no operands",
                        action);
    if (wait && !is_change)
        cmd_usage_error("--wait goes with add and remove");
    if (healthy != is_wait)
        cmd_usage_error(is_wait ? "wait: for what? (--healthy)" : "--healthy goes with wait");
    if (json && !is_status)
        cmd_usage_error("--json goes with status");
    int status = cmd_open_store(is_change ? ESDB_APPEND : ESDB_READ, &db);
    if (status != 0)
        return cmd_finish(status);
    esdb_set_lock_timeout(db, is_wait ? 1000 : (int)timeout_ms);
    if (is_wait)
        status = wait_healthy(db, timeout_ms);
    else if (is_change)
        status = change(db, action[0] == 'a', args.operands[1], wait, timeout_ms);
    else if (is_transfer)
        status = transfer(db, args.operands[1]);
    else if (strcmp(action, "watch") == 0)
        status = watch(db);
    else
        status = ask(db, is_status && json ? "status json" : action);
    cmd_leave_store(db);
    return cmd_finish(status);
}
