/* lockholder FILE BYTE: holds a lock byte of a store until it is killed; prints a line when it has it. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int main(int argc, char **argv) {
    int fd = argc == 3 ? open(argv[1], O_RDWR) : -1;
    if (fd < 0) {
        fprintf(stderr, "usage: lockholder FILE BYTE\n");
        return 2;
    }
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = strtol(argv[2], NULL, 10), .l_len = 1};
    if (fcntl(fd, F_OFD_SETLKW, &lock) < 0)
        return 1;
    puts("locked");
    fflush(stdout);
    for (;;)
        pause();
}
