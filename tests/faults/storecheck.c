/* storecheck STORE [RECEIPTS]: the examination of check.h on one store: the next append works within a second, everything
 * in the receipts of esdb-append is there, frames are whole, positions and versions have no gaps, the store verifies.
 * Prints the number of events. Status 0, or 1 with the reason on stderr. */
#include "check.h"

int main(int argc, char **argv) {
    struct ack_list acks = {0};
    struct seen_log l = {0};
    size_t len;
    if (argc < 2 || argc > 3) {
        fprintf(stderr, "usage: storecheck STORE [RECEIPTS]\n");
        return 2;
    }
    if (argc == 3) {
        unsigned char *text = slurp(argv[2], &len);
        if (!text)
            die(argv[2]);
        acks_from(&acks, (const char *)text);
        free(text);
    }
    if (check_store(argv[1], &acks, NULL) != 0 || read_store(argv[1], ESDB_READ, &l) != 0) {
        fprintf(stderr, "%s: %s\n", argv[1], check_why);
        return 1;
    }
    printf("%zu\n", l.count);
    free(acks.at);
    seen_release(&l);
    return 0;
}
