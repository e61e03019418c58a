/* The textbook's writer: copies stdin into the ring that a path names.
 *
 *     cc writer.c -lshmpipe -o writer
 *     ./writer /tmp/ring < file        # and ./reader /tmp/ring > copy
 */
#include <shmpipe.h>
#include <stdio.h>

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: %s PATH\n", argv[0]);
        return 2;
    }
    shmpipe_options options = SHMPIPE_OPTIONS_INIT;
    options.flags = SHMPIPE_CREATE_FILE | SHMPIPE_ABORT_ON_FREE;
    shmpipe_end *ring;
    if (shmpipe_open(argv[1], SHMPIPE_PRODUCER, &options, &ring) < 0) { /* waits for the reader */
        fprintf(stderr, "%s\n", shmpipe_last_error());
        return 1;
    }
    int ok = 0;
    for (;;) {
        /* The bytes go from stdin straight into the ring. */
        void *room;
        int64_t len = shmpipe_reserve(ring, 1, 1 << 16, -1, &room);
        if (len < 0)
            break;
        size_t got = fread(room, 1, (size_t)len, stdin);
        if (got == 0) {
            ok = !ferror(stdin) && shmpipe_close(ring, -1) == 0;
            break;
        }
        if (shmpipe_commit(ring, got) < 0)
            break;
    }
    if (!ok)
        fprintf(stderr, "%s\n", shmpipe_last_error());
    shmpipe_free(ring); /* aborts, unless the stream was closed */
    return ok ? 0 : 1;
}
