/* trace_draw.c: graphs as JSON, for Graphviz, as trees and as counts. See trace_draw.h. */
#include "trace_draw.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "format/json.h"
#include "internal.h"

#define TEXT_MAX 255u /* bytes of an id, a type, a stream */

/* ---- pieces ---- */

/* Text on a line of its own or in a label: control characters appear as \xNN, also in a file. */
static void put_visible(struct cmd_out *out, struct esdb_text text) {
    assert(text.len <= 4 * TEXT_MAX);
    cmd_out_advance(out, cmd_make_visible(text.at, text.len, "", cmd_out_reserve(out, 4 * text.len)));
}

static struct esdb_text id_of(const esdb_trace *t, uint32_t node) {
    return esdb_trace_get_node(t, node)->event_id;
}

void cmd_draw_cycle(esdb_trace *t, char *text, size_t room) {
    size_t count, len = 0;
    const uint32_t *cycle = esdb_trace_get_order(t, &count);

    for (size_t i = 0; i <= count; i++) {
        struct esdb_text id = id_of(t, cycle[i % count]);

        if (len + id.len + 12 > room) { /* "..." and the arrow */
            len += (size_t)snprintf(text + len, room - len, "...");
            break;
        }
        len += (size_t)snprintf(text + len, room - len, "%.*s%s", (int)id.len, id.at, i < count ? " -> " : "");
    }
}

/* ---- JSON ---- */

static void put_ids(struct cmd_out *out, const esdb_trace *t, const char *key, const uint32_t *nodes, size_t count) {
    cmd_out_printf(out, ",\"%s\":[", key);
    for (size_t i = 0; i < count; i++) {
        cmd_out_text(out, i ? "," : "");
        cmd_out_json(out, id_of(t, nodes[i]));
    }
    cmd_out_text(out, "]");
}

static void put_roots(struct cmd_out *out, const esdb_trace *t, size_t nodes) {
    bool is_first = true;

    for (size_t i = 0; i < nodes; i++)
        if (esdb_trace_get_node(t, i)->cause_count == 0) {
            if (is_first) {
                cmd_out_json(out, id_of(t, (uint32_t)i));
                cmd_out_text(out, ",\"roots\":[");
            } else {
                cmd_out_text(out, ",");
            }
            is_first = false;
            cmd_out_json(out, id_of(t, (uint32_t)i));
        }
    cmd_out_text(out, is_first ? "null,\"roots\":[]" : "]");
}

static void put_node(struct cmd_out *out, const struct esdb_trace_node *n) {
    cmd_out_text(out, "{\"event_id\":");
    cmd_out_json(out, n->event_id);
    cmd_out_text(out, ",\"event_type\":");
    cmd_out_json(out, n->event_type);
    cmd_out_text(out, ",\"stream_id\":");
    cmd_out_json(out, n->stream_id);
    cmd_out_printf(out, ",\"version\":%llu,\"epoch_us\":%llu,\"positions\":[", (unsigned long long)n->version,
                   (unsigned long long)n->epoch_us);
    for (size_t i = 0; i < n->event_count; i++) {
        cmd_out_text(out, i ? "," : "");
        cmd_out_number(out, n->positions[i]);
    }
    cmd_out_text(out, "]}");
}

static void put_edges(struct cmd_out *out, const esdb_trace *t, size_t nodes) {
    const char *separator = "{\"from\":";

    cmd_out_text(out, "],\"edges\":[");
    for (size_t i = 0; i < nodes; i++) {
        const struct esdb_trace_node *n = esdb_trace_get_node(t, i);

        for (size_t k = 0; k < n->effect_count; k++) {
            cmd_out_text(out, separator);
            separator = ",{\"from\":";
            cmd_out_json(out, n->event_id);
            cmd_out_text(out, ",\"to\":");
            cmd_out_json(out, id_of(t, n->effects[k]));
            cmd_out_text(out, "}");
        }
    }
    cmd_out_text(out, "]");
}

static void put_gaps(struct cmd_out *out, const esdb_trace *t, size_t gaps, const char *key, bool in_store) {
    const char *separator = "{\"causation_id\":";

    cmd_out_printf(out, ",\"%s\":[", key);
    for (size_t i = 0; i < gaps; i++) {
        const struct esdb_trace_gap *g = esdb_trace_get_gap(t, i);

        if (g->in_store != in_store)
            continue;
        cmd_out_text(out, separator);
        separator = ",{\"causation_id\":";
        cmd_out_json(out, g->causation_id);
        cmd_out_text(out, ",\"effect\":");
        cmd_out_json(out, id_of(t, g->effect));
        cmd_out_text(out, "}");
    }
    cmd_out_text(out, "]");
}

static void put_cycle(struct cmd_out *out, const esdb_trace *t, bool is_cyclic) {
    size_t count = 0;
    const uint32_t *cycle = is_cyclic ? esdb_trace_get_order(t, &count) : NULL;

    put_ids(out, t, "cycle", cycle, count);
}

void cmd_draw_json(struct cmd_out *out, esdb_trace *t) {
    struct esdb_trace_info info;

    esdb_trace_get_info(t, &info);
    cmd_out_text(out, "{\"root\":");
    put_roots(out, t, info.nodes);
    cmd_out_text(out, ",\"nodes\":[");
    for (size_t i = 0; i < info.nodes; i++) {
        cmd_out_text(out, i ? "," : "");
        put_node(out, esdb_trace_get_node(t, i));
    }
    put_edges(out, t, info.nodes);
    put_gaps(out, t, info.gaps, "missing", false);
    put_gaps(out, t, info.gaps, "outside", true);
    put_cycle(out, t, info.is_cyclic);
    cmd_out_text(out, "}\n");
}

/* ---- Graphviz ---- */

/* Inside a quoted string: control characters made visible, then '"' and '\' escaped, so that no text ends it. */
static void put_quoted(struct cmd_out *out, struct esdb_text text) {
    char shown[4 * TEXT_MAX];
    size_t len = cmd_make_visible(text.at, text.len < TEXT_MAX ? text.len : TEXT_MAX, "", shown);

    for (size_t i = 0; i < len; i++) {
        if (shown[i] == '"' || shown[i] == '\\')
            cmd_out_add(out, "\\", 1);
        cmd_out_add(out, &shown[i], 1);
    }
}

static void put_dot_id(struct cmd_out *out, struct esdb_text id) {
    cmd_out_text(out, "\"");
    put_quoted(out, id);
    cmd_out_text(out, "\"");
}

static void put_dot_edge(struct cmd_out *out, struct esdb_text from, struct esdb_text to, const char *attributes) {
    cmd_out_text(out, "    ");
    put_dot_id(out, from);
    cmd_out_text(out, " -> ");
    put_dot_id(out, to);
    cmd_out_text(out, attributes);
    cmd_out_text(out, ";\n");
}

void cmd_draw_dot(struct cmd_out *out, esdb_trace *t, struct esdb_text name) {
    struct esdb_trace_info info;

    esdb_trace_get_info(t, &info);
    cmd_out_text(out, "digraph ");
    put_dot_id(out, name);
    cmd_out_text(out, " {\n    node [shape=box];\n");
    for (size_t i = 0; i < info.nodes; i++) {
        const struct esdb_trace_node *n = esdb_trace_get_node(t, i);

        cmd_out_text(out, "    ");
        put_dot_id(out, n->event_id);
        cmd_out_text(out, " [label=\"");
        put_quoted(out, n->event_type);
        cmd_out_text(out, "\\n");
        put_quoted(out, n->stream_id);
        cmd_out_printf(out, "@%llu\"];\n", (unsigned long long)n->version);
    }
    for (size_t i = 0; i < info.gaps; i++) {
        const struct esdb_trace_gap *g = esdb_trace_get_gap(t, i);

        cmd_out_text(out, "    ");
        put_dot_id(out, g->causation_id);
        cmd_out_text(out, " [style=dashed, label=\"");
        put_quoted(out, g->causation_id);
        cmd_out_printf(out, "\\n%s\"];\n", g->in_store ? "not of this correlation" : "not in the store");
    }
    for (size_t i = 0; i < info.nodes; i++) {
        const struct esdb_trace_node *n = esdb_trace_get_node(t, i);

        for (size_t k = 0; k < n->effect_count; k++)
            put_dot_edge(out, n->event_id, id_of(t, n->effects[k]), "");
    }
    for (size_t i = 0; i < info.gaps; i++) {
        const struct esdb_trace_gap *g = esdb_trace_get_gap(t, i);

        put_dot_edge(out, g->causation_id, id_of(t, g->effect), " [style=dashed]");
    }
    cmd_out_text(out, "}\n");
}

/* ---- trees ---- */

#define LEVELS_SHOWN 40u /* of a deeper line only the last ones are drawn: each costs four columns */

struct lines {
    const char *pass, *none, *branch, *last, *skipped;
};
static const struct lines unicode_lines = {"\u2502   ", "    ", "\u251c\u2500\u2500 ", "\u2514\u2500\u2500 ", "\u22ef"};
static const struct lines ascii_lines = {"|   ", "    ", "|-- ", "`-- ", "..."};

/* A node on the way from the root to the one that is drawn. */
struct level {
    uint32_t node;
    size_t next; /* of its effects */
};

struct tree {
    struct cmd_out *out;
    const esdb_trace *t;
    struct esdb_trace_info info;
    const struct lines *lines;
    struct level *way;
    size_t depth;
    unsigned char *drawn; /* a node each: NOT_DRAWN ... */
};
enum { NOT_DRAWN, ON_THE_WAY, DRAWN };

static bool locale_is_utf8(void) {
    static const char *const names[] = {"LC_ALL", "LC_CTYPE", "LANG"};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *value = getenv(names[i]);

        if (value && *value)
            return strcasestr(value, "utf-8") || strcasestr(value, "utf8");
    }
    return false;
}

static bool is_last(const struct tree *r, size_t level) {
    const struct level *l = &r->way[level];

    return l->next == esdb_trace_get_node(r->t, l->node)->effect_count;
}

static void put_indent(const struct tree *r) {
    size_t first = 0;

    if (r->depth == 0)
        return;
    if (r->depth > LEVELS_SHOWN) {
        first = r->depth - LEVELS_SHOWN;
        cmd_out_printf(r->out, "%s(%zu) ", r->lines->skipped, first);
    }
    for (size_t i = first; i + 1 < r->depth; i++)
        cmd_out_text(r->out, is_last(r, i) ? r->lines->none : r->lines->pass);
    cmd_out_text(r->out, is_last(r, r->depth - 1) ? r->lines->last : r->lines->branch);
}

/* What is to be said about causes that are not in the tree. */
static void put_node_gaps(const struct tree *r, uint32_t node) {
    size_t low = 0, high = r->info.gaps;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (esdb_trace_get_gap(r->t, middle)->effect < node)
            low = middle + 1;
        else
            high = middle;
    }
    for (; low < r->info.gaps && esdb_trace_get_gap(r->t, low)->effect == node; low++) {
        const struct esdb_trace_gap *g = esdb_trace_get_gap(r->t, low);

        cmd_out_color(r->out, g->in_store ? CMD_DIM : CMD_WARN);
        cmd_out_text(r->out, "  (cause ");
        put_visible(r->out, g->causation_id);
        cmd_out_text(r->out, g->in_store ? " is not of this correlation)" : " is not in the store)");
        cmd_out_color(r->out, CMD_PLAIN);
    }
}

static void put_line(const struct tree *r, uint32_t node, const char *mark) {
    const struct esdb_trace_node *n = esdb_trace_get_node(r->t, node);

    put_indent(r);
    cmd_out_color(r->out, CMD_KEY);
    put_visible(r->out, n->event_type);
    cmd_out_color(r->out, CMD_PLAIN);
    cmd_out_text(r->out, "  ");
    put_visible(r->out, n->stream_id);
    cmd_out_printf(r->out, "@%llu  ", (unsigned long long)n->version);
    put_visible(r->out, n->event_id);
    if (n->event_count > 1)
        cmd_out_printf(r->out, "  (%zu events)", n->event_count);
    put_node_gaps(r, node);
    cmd_out_text(r->out, mark);
    cmd_out_text(r->out, "\n");
}

static void enter(struct tree *r, uint32_t node) {
    put_line(r, node, "");
    r->drawn[node] = ON_THE_WAY;
    r->way[r->depth++] = (struct level){node, 0};
}

/* A tree from `root`, without recursion: chains may be long. */
static void draw(struct tree *r, uint32_t root) {
    enter(r, root);
    while (r->depth > 0) {
        struct level *l = &r->way[r->depth - 1];
        const struct esdb_trace_node *n = esdb_trace_get_node(r->t, l->node);
        uint32_t effect;

        if (l->next == n->effect_count) {
            r->drawn[l->node] = DRAWN;
            r->depth--;
            continue;
        }
        effect = n->effects[l->next++];
        if (r->drawn[effect] == NOT_DRAWN)
            enter(r, effect);
        else
            put_line(r, effect, r->drawn[effect] == DRAWN ? "  (shown above)" : "  (cycle)");
    }
}

void cmd_draw_tree(struct cmd_out *out, esdb_trace *t) {
    struct tree r = {.out = out, .t = t, .lines = locale_is_utf8() ? &unicode_lines : &ascii_lines};

    esdb_trace_get_info(t, &r.info);
    r.way = cmd_alloc((r.info.nodes + 1) * sizeof *r.way);
    r.drawn = cmd_alloc(r.info.nodes + 1);
    for (uint32_t i = 0; i < r.info.nodes; i++)
        if (esdb_trace_get_node(t, i)->cause_count == 0)
            draw(&r, i);
    /* What is left hangs on cycles that no root leads to. */
    for (uint32_t i = 0; i < r.info.nodes; i++)
        if (r.drawn[i] == NOT_DRAWN)
            draw(&r, i);
    free(r.way);
    free(r.drawn);
}

/* ---- counts ---- */

void cmd_draw_stats(struct cmd_out *out, esdb_trace *t, bool json) {
    struct esdb_trace_info s;

    esdb_trace_get_info(t, &s);

    const struct {
        const char *name;
        size_t count;
    } counts[] = {{"nodes", s.nodes},
                  {"events", s.events},
                  {"edges", s.edges},
                  {"roots", s.roots},
                  {"leaves", s.leaves},
                  {"missing", s.missing},
                  {"outside", s.gaps - s.missing},
                  {"depth", s.depth}};
    const size_t plain = s.is_cyclic ? 7 : 8; /* a cyclic graph has no depth */

    for (size_t i = 0; i < plain; i++)
        cmd_out_printf(out, json ? "%s\"%s\":%zu" : "%s%-8s %zu\n", json ? i ? "," : "{" : "", counts[i].name,
                       counts[i].count);
    if (json) {
        cmd_out_text(out, s.is_cyclic ? ",\"depth\":null" : "");
        put_cycle(out, t, s.is_cyclic);
        cmd_out_text(out, "}\n");
    } else {
        char cycle[800] = "none";

        if (s.is_cyclic)
            cmd_draw_cycle(t, cycle, sizeof cycle);
        cmd_out_printf(out, "%s%-8s ", s.is_cyclic ? "depth    -\n" : "", "cycle");
        put_visible(out, cmd_text(cycle));
        cmd_out_text(out, "\n");
    }
}
