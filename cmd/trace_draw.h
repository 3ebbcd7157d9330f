/* trace_draw.h: how esdb-trace shows a graph. */
#ifndef CMD_TRACE_DRAW_H
#define CMD_TRACE_DRAW_H

#include "cmd.h"

/* One JSON object: root, roots, nodes, edges, missing, outside, cycle. */
void cmd_draw_json(struct cmd_out *out, esdb_trace *t);

/* The language of Graphviz. `name` becomes the graph's. */
void cmd_draw_dot(struct cmd_out *out, esdb_trace *t, struct esdb_text name);

/* A tree for each root, with lines of the locale's character set. */
void cmd_draw_tree(struct cmd_out *out, esdb_trace *t);

/* Counts, a line each, or one JSON object. */
void cmd_draw_stats(struct cmd_out *out, esdb_trace *t, bool json);

/* Writes "a -> b -> a" for the cycle of a cyclic graph, cut at its end when it does not fit. */
void cmd_draw_cycle(esdb_trace *t, char *text, size_t room);

#endif
