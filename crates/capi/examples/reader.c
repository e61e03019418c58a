/* The textbook's reader: copies the ring that a path names to stdout. See writer.c. */
#include <shmpipe.h>
#include <stdio.h>

int main(int argc, char **argv)
{
    static char bytes[1 << 16];
    if (argc != 2) {
        fprintf(stderr, "usage: %s PATH\n", argv[0]);
        return 2;
    }
    shmpipe_options options = SHMPIPE_OPTIONS_INIT;
    options.flags = SHMPIPE_CREATE_FILE;
    shmpipe_end *ring;
    if (shmpipe_open(argv[1], SHMPIPE_CONSUMER, &options, &ring) < 0) {
        fprintf(stderr, "%s\n", shmpipe_last_error());
        return 1;
    }
    int64_t len;
    while ((len = shmpipe_read(ring, bytes, sizeof bytes, -1)) > 0)
        if (fwrite(bytes, 1, (size_t)len, stdout) < (size_t)len)
            break;
    int ok = len == 0 && fflush(stdout) == 0; /* the end, and not a death */
    if (len < 0)
        fprintf(stderr, "%s: %s\n", shmpipe_code_name((int)len), shmpipe_last_error());
    shmpipe_free(ring);
    return ok ? 0 : 1;
}
