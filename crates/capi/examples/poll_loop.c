/* One poll(2) loop for stdin and a ring: prints how much comes from each, until both have ended. */
#include <poll.h>
#include <shmpipe.h>
#include <stdio.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    static char bytes[1 << 16];
    if (argc != 2) {
        fprintf(stderr, "usage: %s PATH\n", argv[0]);
        return 2;
    }
    shmpipe_end *ring;
    if (shmpipe_open(argv[1], SHMPIPE_CONSUMER, NULL, &ring) < 0) {
        fprintf(stderr, "%s\n", shmpipe_last_error());
        return 1;
    }
    struct pollfd watched[2] = {{0, POLLIN, 0}, {-1, POLLIN, 0}};
    watched[1].fd = shmpipe_poll_fd(ring);
    long long from_stdin = 0, from_ring = 0;
    int failed = watched[1].fd < 0;
    while (!failed && (watched[0].fd >= 0 || watched[1].fd >= 0)) {
        if (poll(watched, 2, -1) < 0)
            break;
        if (watched[0].revents) {
            ssize_t len = read(0, bytes, sizeof bytes);
            if (len > 0)
                from_stdin += len;
            else
                watched[0].fd = -1; /* poll(2) passes over it from now on */
        }
        if (watched[1].revents) {
            int64_t len;
            while ((len = shmpipe_read(ring, bytes, sizeof bytes, 0)) > 0)
                from_ring += len;
            if (len == 0)
                watched[1].fd = -1;                /* the end of the stream */
            else
                failed = len != SHMPIPE_WOULD_BLOCK; /* which armed the descriptor */
        }
    }
    if (failed)
        fprintf(stderr, "%s\n", shmpipe_last_error());
    printf("%lld from stdin, %lld from the ring\n", from_stdin, from_ring);
    shmpipe_free(ring);
    return failed;
}
