/* Any bytes as the configuration file of names of stores, of which two are looked up. A path that is found is one that the
 * file may name; an error is told in one message. */
#include <assert.h>
#include <stdarg.h>

#include "cmd/config.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned messages;

void cmd_message(const char *format, ...) {
    char text[4096];
    va_list args;

    va_start(args, format);
    assert(vsnprintf(text, sizeof text, format, args) > 0);
    va_end(args);
    messages++;
}

void *cmd_alloc(size_t size) {
    void *at = calloc(1, size ? size : 1);

    assert(at);
    return at;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *const names[] = {"orders", "a"};

    if (size > FMT_SETTINGS_SIZE_MAX)
        return 0;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct reader r = {.file = "config.yaml", .name = names[i]};
        int status;

        messages = 0;
        status = parse(&r, (const char *)data, size);
        assert((status != 0) == (messages == 1) && messages <= 1);
        assert(!r.found || r.found[0] == '/' || strncmp(r.found, "~/", 2) == 0);
        assert(status != 0 || r.depth == 0);
        free(r.found);
    }
    return 0;
}
