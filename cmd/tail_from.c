/* tail_from.c: start, end, pos:N or a time. See tail.h. */
#include <string.h>
#include <time.h>

#include "tail.h"

struct tail_from cmd_tail_parse_from(const char *what, const char *text) {
    struct tail_from from = {TAIL_FROM_START, 0};
    struct esdb_error err = {0};
    struct timespec now;

    if (strcmp(text, "start") == 0)
        return from;
    if (strcmp(text, "end") == 0)
        return (struct tail_from){TAIL_FROM_END, 0};
    from.kind = TAIL_FROM_POSITION;
    if (cmd_parse_number(strncmp(text, "pos:", 4) == 0 ? text + 4 : text, &from.value) && from.value <= INT64_MAX)
        return from;
    from.kind = TAIL_FROM_TIME;
    clock_gettime(CLOCK_REALTIME, &now);
    if (text[strspn(text, "+-0123456789")] == '\0' || /* no position, and "-1" is not meant as a second ago */
        esdb_time_parse(cmd_text(text), (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000, &from.value,
                        &err) != 0)
        cmd_usage_error("%s: '%s' is none of start, end, POSITION, TIME", what, text);
    return from;
}

int cmd_tail_find_from(esdb *db, const struct tail_from *from, uint64_t *position, struct esdb_error *err) {
    switch (from->kind) {
    case TAIL_FROM_END:
        return esdb_end_position(db, position, err);
    case TAIL_FROM_TIME:
        return esdb_position_at(db, from->value, position, err);
    case TAIL_FROM_POSITION:
        *position = from->value;
        return 0;
    default:
        *position = 0;
        return 0;
    }
}
