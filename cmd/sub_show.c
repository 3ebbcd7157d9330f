/* sub_show.c: esdb-sub list, info, lag, check and exists. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "sub.h"

/* One subscription, as it is printed. */
struct shown {
    esdb_subscription *sub; /* owned; NULL: it could not be opened */
    struct esdb_subscription_info info;
    struct esdb_subscription_lag lag;
    uint64_t parked; /* now */
};

/* What check has found so far. */
struct verdict {
    uint64_t count, over, warned, parked, worst;
    char worst_name[256];
};

static void put_member(struct cmd_out *out, const char *key, uint64_t n) {
    cmd_out_printf(out, ",\"%s\":%llu", key, (unsigned long long)n);
}

static uint64_t seconds_behind(const struct esdb_subscription_lag *lag) {
    struct timespec now;

    if (lag->epoch_us == 0)
        return 0;
    clock_gettime(CLOCK_REALTIME, &now);

    uint64_t us = (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;

    return us > lag->epoch_us ? (us - lag->epoch_us) / 1000000 : 0;
}

/* ---- one ---- */

static void put_json(struct cmd_out *out, const struct shown *s, enum sub_action action) {
    const struct esdb_subscription_info *i = &s->info;

    cmd_out_text(out, "{\"name\":");
    cmd_out_json(out, i->name);
    put_member(out, "checkpoint", i->position);
    if (action != LIST) {
        put_member(out, "head", s->lag.end_position);
        put_member(out, "lag", s->lag.events);
        put_member(out, "lag_seconds", seconds_behind(&s->lag));
        put_member(out, "parked", s->parked);
    }
    if (action == LIST || action == INFO) {
        cmd_out_printf(out, ",\"held\":%s,\"holder\":", i->held ? "true" : "false");
        if (i->host.len == 0) {
            cmd_out_text(out, "null");
        } else {
            cmd_out_text(out, "{\"host\":");
            cmd_out_json(out, i->host);
            put_member(out, "pid", i->pid);
            put_member(out, "since_us", i->since_us);
            cmd_out_text(out, "}");
        }
        put_member(out, "epoch", i->epoch);
        if (i->node) {
            cmd_out_printf(out, ",\"node\":\"%016llx\"", (unsigned long long)i->node);
            put_member(out, "lease_ms", i->lease_ms);
            put_member(out, "lease_left_ms", i->lease_left_ms);
        }
        put_member(out, "created_us", i->created_us);
        put_member(out, "saved_us", i->saved_us);
    }
    if (action == INFO && i->parts > 0) {
        put_member(out, "parts", i->parts);
        put_member(out, "parts_held", i->parts_held);
        cmd_out_printf(out, ",\"group\":%s", i->group ? "true" : "false");
        if (i->group)
            put_member(out, "members", i->members);
    }
    if (action == INFO) {
        put_member(out, "start", i->start);
        put_member(out, "delivered", i->counts.delivered);
        put_member(out, "retried", i->counts.retried);
        put_member(out, "parked_ever", i->counts.parked);
        put_member(out, "dropped", i->counts.dropped);
        put_member(out, "warned", i->counts.warned);
    }
    if (action == LIST || action == INFO) {
        cmd_out_text(out, ",\"selector\":");
        cmd_out_add(out, i->selector.at, i->selector.len);
    }
    cmd_out_text(out, "}\n");
}

static void put_time(struct cmd_out *out, uint64_t epoch_us) {
    char text[CMD_TIME_ROOM];

    cmd_out_add(out, text, cmd_put_time(text, epoch_us));
}

static void put_holder(struct cmd_out *out, const struct esdb_subscription_info *i) {
    if (i->host.len == 0) {
        cmd_out_text(out, i->held ? "yes" : "-");
        return;
    }
    cmd_out_printf(out, "%s%llu@", i->held ? "" : "(", (unsigned long long)i->pid);
    cmd_out_plain(out, i->host);
    cmd_out_text(out, i->held ? "" : ")");
}

static void put_page(struct cmd_out *out, const struct shown *s) {
    const struct esdb_subscription_info *i = &s->info;

    cmd_out_printf(out, "%-12s ", "subscription");
    cmd_out_plain(out, i->name);
    cmd_out_printf(out, "\n%-12s ", "selector");
    cmd_out_plain(out, i->selector);
    cmd_out_printf(out, "\n%-12s %llu of %llu\n%-12s %llu events, %llu s\n%-12s ", "checkpoint",
                   (unsigned long long)i->position, (unsigned long long)s->lag.end_position, "lag",
                   (unsigned long long)s->lag.events, (unsigned long long)seconds_behind(&s->lag), "holder");
    put_holder(out, i);
    if (i->group)
        cmd_out_printf(out, "\n%-12s %u, %u of them held by %u processes", "parts", i->parts, i->parts_held,
                       i->members);
    else if (i->parts > 0)
        cmd_out_printf(out, "\n%-12s %u, %u of them held", "parts", i->parts, i->parts_held);
    if (i->since_us) {
        cmd_out_text(out, i->held ? " since " : " (gone), since ");
        put_time(out, i->since_us);
    }
    if (i->node && i->lease_ms)
        cmd_out_printf(out, "\n%-12s %.1f s of %.1f s left, on node %016llx", "lease", (double)i->lease_left_ms / 1000,
                       (double)i->lease_ms / 1000, (unsigned long long)i->node);
    cmd_out_printf(out, "\n%-12s %llu delivered, %llu retried, %llu parked (%llu now), %llu dropped\n%-12s ", "events",
                   (unsigned long long)i->counts.delivered, (unsigned long long)i->counts.retried,
                   (unsigned long long)i->counts.parked, (unsigned long long)s->parked,
                   (unsigned long long)i->counts.dropped, "created");
    put_time(out, i->created_us);
    cmd_out_printf(out, ", from position %llu\n%-12s ", (unsigned long long)i->start, "saved");
    put_time(out, i->saved_us);
    cmd_out_text(out, "\n");
}

static void put_row(struct cmd_out *out, const struct shown *s, enum sub_action action) {
    if (action == LIST)
        cmd_out_printf(out, "%12llu  ", (unsigned long long)s->info.position);
    else
        cmd_out_printf(out, "%12llu %8llu %8llu  ", (unsigned long long)s->lag.events,
                       (unsigned long long)seconds_behind(&s->lag), (unsigned long long)s->parked);
    cmd_out_plain(out, s->info.name);
    if (action == LIST) {
        cmd_out_text(out, "  ");
        put_holder(out, &s->info);
    }
    cmd_out_text(out, "\n");
}

/* ---- all that are asked for ---- */

static int look(esdb *db, const struct sub_request *r, struct shown *s, struct esdb_error *err) {
    struct esdb_parked_entry *list;
    size_t count;
    int rc = esdb_subscription_info(s->sub, &s->info, err);

    if (rc != 0 || r->action == LIST)
        return rc;
    if (s->lag.damage.code != 0) {
        *err = s->lag.damage;
        return err->code;
    }
    if ((rc = esdb_parked_list(db, s->info.name, &list, &count, err)) != 0)
        return rc;
    free(list);
    s->parked = count;
    return 0;
}

static void judge(const struct sub_request *r, const struct shown *s, struct verdict *v) {
    v->count++;
    v->over += r->has_max && s->lag.events > r->max;
    v->warned += r->has_warn && s->lag.events >= r->warn;
    v->parked += s->parked;
    if (s->lag.events > v->worst) {
        v->worst = s->lag.events;
        memcpy(v->worst_name, s->info.name.at, s->info.name.len);
        v->worst_name[s->info.name.len] = '\0';
    }
}

static int show_one(esdb *db, const struct sub_request *r, struct shown *s, struct verdict *v) {
    struct cmd_out *out = cmd_stdout();
    struct esdb_error err = {0};
    int rc = look(db, r, s, &err);

    if (rc != 0)
        return cmd_report(rc, &err);
    judge(r, s, v);
    if (r->json && !r->nagios)
        put_json(out, s, r->action);
    else if (r->action == INFO)
        put_page(out, s);
    else if (!r->nagios)
        put_row(out, s, r->action);
    return 0;
}

/* Of all that are there at once: whoever wants the same events has them counted together. */
static int find_lags(struct shown *shown, size_t n) {
    esdb_subscription **sub = cmd_alloc(n * sizeof(esdb_subscription *) + 1);
    struct esdb_subscription_lag *lag = cmd_alloc(n * sizeof *lag + 1);
    struct esdb_error err = {0};
    size_t count = 0;
    int rc;

    for (size_t i = 0; i < n; i++)
        if (shown[i].sub)
            sub[count++] = shown[i].sub;
    rc = esdb_subscription_lags(sub, count, lag, &err);
    while (rc == 0 && n-- > 0)
        if (shown[n].sub)
            shown[n].lag = lag[--count];
    free(sub);
    free(lag);
    return rc == 0 ? 0 : cmd_report(rc, &err);
}

static void put_titles(const struct sub_request *r) {
    struct cmd_out *out = cmd_stdout();

    if (r->json || r->nagios || r->action == INFO)
        return;
    cmd_out_color(out, CMD_DIM);
    cmd_out_text(out, r->action == LIST ? "  checkpoint  name  holder\n" : "         lag  seconds   parked  name\n");
    cmd_out_color(out, CMD_PLAIN);
}

/* The line of a Nagios plugin, and its status. */
static int nagios(const struct sub_request *r, const struct verdict *v, int failed) {
    static const char *const words[] = {"OK", "WARNING", "CRITICAL", "UNKNOWN"};
    int status = failed ? 3 : v->over ? 2 : v->warned || v->parked ? 1 : 0;
    struct cmd_out *out = cmd_stdout();

    cmd_out_printf(out, "ESDB %s - %llu subscriptions, greatest lag %llu", words[status], (unsigned long long)v->count,
                   (unsigned long long)v->worst);
    if (v->worst > 0) {
        cmd_out_text(out, " (");
        cmd_out_plain(out, cmd_text(v->worst_name));
        cmd_out_text(out, ")");
    }
    cmd_out_printf(out, ", %llu parked | lag=%llu;", (unsigned long long)v->parked, (unsigned long long)v->worst);
    if (r->has_warn)
        cmd_out_number(out, r->warn);
    cmd_out_text(out, ";");
    if (r->has_max)
        cmd_out_number(out, r->max);
    cmd_out_printf(out, " parked=%llu\n", (unsigned long long)v->parked);
    return status;
}

static int all_names(esdb *db, struct esdb_text **names, size_t *count) {
    struct esdb_error err = {0};
    int rc = esdb_subscription_names(db, names, count, &err);

    return rc == 0 ? 0 : cmd_report(rc, &err);
}

/* Those that are there; of all that were found, those that were removed meanwhile are left out. 0 or an exit status. */
static int open_all(esdb *db, const struct esdb_text *all, char **names, size_t n, struct shown *shown) {
    int status = 0;

    for (size_t i = 0; i < n && (status == 0 || !all); i++) {
        struct esdb_error err = {0};
        int rc = esdb_subscription_open(db, all ? all[i] : cmd_text(names[i]), 0, &shown[i].sub, &err);
        int failed = rc == 0 || (all && rc == ESDB_ENOTFOUND) ? 0 : cmd_report(rc, &err);

        if (rc != 0)
            shown[i].sub = NULL;
        status = status ? status : failed;
    }
    return status;
}

int cmd_sub_show(esdb *db, const struct sub_request *r, char **names, int count) {
    struct verdict v = {0};
    struct esdb_text *all = NULL;
    struct shown *shown;
    size_t n = (size_t)count;
    int status = count == 0 ? all_names(db, &all, &n) : 0, failed = 0;

    shown = cmd_alloc((n + 1) * sizeof *shown);
    if (status == 0) {
        put_titles(r);
        status = open_all(db, all, names, n, shown);
    }
    if (r->action != LIST)
        failed = find_lags(shown, n);
    status = status ? status : failed;
    for (size_t i = 0; i < n && failed == 0; i++) {
        int one = shown[i].sub ? show_one(db, r, &shown[i], &v) : 0;

        if (i > 0 && r->action == INFO && !r->json)
            cmd_out_text(cmd_stdout(), "\n");
        status = status ? status : one;
    }
    for (size_t i = 0; i < n; i++)
        esdb_subscription_close(shown[i].sub);
    free(shown);
    free(all);
    if (r->nagios)
        return nagios(r, &v, status);
    if (status == 0 && v.over > 0)
        return 9;
    return status == 0 && r->exit_status && n == 0 ? 4 : status;
}

int cmd_sub_exists(esdb *db, const struct sub_request *r, char **names, int count) {
    int status = 0;

    for (int i = 0; i < count; i++) {
        struct esdb_error err = {0};
        esdb_subscription *s = NULL;
        int rc = esdb_subscription_open(db, cmd_text(names[i]), 0, &s, &err);

        esdb_subscription_close(s);
        if (rc == ESDB_ENOTFOUND)
            status = status ? status : 4;
        else if (rc != 0)
            status = cmd_report(rc, &err);
        if (r->json && (rc == 0 || rc == ESDB_ENOTFOUND)) {
            cmd_out_text(cmd_stdout(), "{\"name\":");
            cmd_out_json(cmd_stdout(), cmd_text(names[i]));
            cmd_out_printf(cmd_stdout(), ",\"exists\":%s}\n", rc == 0 ? "true" : "false");
        }
    }
    return status;
}
