/* install.c: a log that ends before the leader's trail begins. What is missing is fetched by the shell, from any peer, while
 * this node goes on as it is; only then the library hears of it, and drops what it knows of the log. */
#include <string.h>

#include "libcore/esdb.h"
#include "replicate/driver_internal.h"

int rep_fetched(struct rep_driver *d, uint64_t now, uint64_t index) {
    if (!rep_begin(d, now))
        return REP_ESTOPPED;
    d->fetched = index != 0 && index == d->install.last_index; /* else the leader asks for more meanwhile */
    return rep_settle(d);
}

int rep_installed(struct rep_driver *d, uint64_t now) {
    struct rep_frame f;
    if (!rep_begin(d, now))
        return REP_ESTOPPED;
    if (!d->installing)
        return rep_refuse(d, "nothing is being installed");
    d->installing = d->fetched = false;
    d->last = d->synced = d->stored = d->install.last_index;
    if (!rep_look(d, d->last, &f) || f.term != d->install.last_term || f.checksum != d->install.last_checksum)
        rep_stop(d, ESDB_ECORRUPT, "frame %llu is not what the leader said it to be", (unsigned long long)d->last);
    d->snapshot = d->last;
    d->snapshot_checksum = f.checksum;
    d->snapshot_configuration_index = d->install.configuration_index;
    d->snapshot_configuration_len = d->install.configuration_len;
    memcpy(d->snapshot_configuration, d->install_configuration, d->install.configuration_len);
    rep_step_installed(d);
    d->install.last_index = 0;
    d->members_changed = true;
    return rep_settle(d);
}

/* What this node has of it stays: it was acknowledged, and may be all that a majority rests on. */
static void adopt(struct rep_driver *d) {
    d->epoch++;
    d->last = d->synced = d->stored = d->committed;
    d->installing = true;
    struct rep_action *a = rep_act(d, REP_ACT_ADOPT);
    a->index = d->install.last_index;
    a->epoch = d->epoch;
}

static bool possible(const struct rep_message *m) {
    const struct rep_install *i = &m->install;
    return i->last_index != 0 && i->last_term != 0 && i->last_term <= m->term && i->configuration_index != 0 &&
           i->configuration_index <= i->last_index && rep_configuration_check(i->configuration, i->configuration_len);
}

int rep_receive_install(struct rep_driver *d, uint64_t peer, const struct rep_message *m) {
    const struct rep_install *i = &m->install;
    struct rep_frame f;
    bool begins = false;
    if (!possible(m))
        return rep_refuse(d, "an installation that cannot be");
    if (rep_leader(d) == d->options.id && m->term == rep_term(d))
        return rep_stop(d, ESDB_ECORRUPT, "server %llu leads term %llu, too", (unsigned long long)peer,
                        (unsigned long long)m->term);
    bool there = rep_look(d, i->last_index, &f) && f.term == i->last_term;
    if (there && f.checksum != i->last_checksum)
        return rep_stop(d, ESDB_ECORRUPT, "frame %llu of term %llu is another one here than on the leader",
                        (unsigned long long)i->last_index, (unsigned long long)i->last_term);
    if (there && !d->installing)
        rep_step_install(d, peer, m, true, &begins);
    if (there || d->installing || m->term < rep_term(d) || i->last_index <= d->committed)
        return 0;
    bool same = d->install.last_index == i->last_index && d->install.last_term == i->last_term &&
                d->install.last_checksum == i->last_checksum;
    d->install = *i;
    d->install.configuration = d->install.manifest = NULL;
    memcpy(d->install_configuration, i->configuration, i->configuration_len);
    if (same && d->fetched) {
        rep_step_install(d, peer, m, false, &begins);
        if (begins && !d->stopped)
            adopt(d);
        return 0;
    }
    d->fetched = false;
    struct rep_action *a = rep_act(d, REP_ACT_INSTALL);
    a->peer = peer;
    a->message = m;
    return 0;
}
