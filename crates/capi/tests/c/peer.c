/* One side of a stream, for tests that pair C with Rust: peer ROLE PATH BYTES [kill|abort|small].
 * Byte n of the stream is n * 31 + (n >> 8) * 7. Exits with 0 if all is as it should be, and prints the name of the
 * code that ended the stream. */
#include <shmpipe.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static unsigned char byte_at(uint64_t n)
{
    return (unsigned char)(n * 31 + (n >> 8) * 7);
}

static int fail(const char *what, int64_t code)
{
    fprintf(stderr, "%s: %s: %s\n", what, shmpipe_code_name((int)code), shmpipe_last_error());
    return 1;
}

int main(int argc, char **argv)
{
    if (argc < 4)
        return 2;
    int produces = strcmp(argv[1], "producer") == 0;
    uint64_t total = strtoull(argv[3], NULL, 10), moved = 0;
    const char *how = argc > 4 ? argv[4] : "";
    static unsigned char bytes[100000];
    size_t step = strcmp(how, "small") == 0 ? 61 : sizeof bytes;
    shmpipe_options options = SHMPIPE_OPTIONS_INIT;
    options.timeout_ns = 60LL * 1000000000;
    shmpipe_end *ring;
    int code = shmpipe_open(argv[2], produces ? SHMPIPE_PRODUCER : SHMPIPE_CONSUMER, &options, &ring);
    if (code < 0)
        return fail("open", code);
    while (produces && moved < total) {
        size_t len = total - moved < step ? (size_t)(total - moved) : step;
        for (size_t at = 0; at < len; at++)
            bytes[at] = byte_at(moved + at);
        int64_t done = shmpipe_write(ring, bytes, len, 60LL * 1000000000);
        if (done != (int64_t)len) {
            if (done >= 0) /* some bytes, and then the stream broke */
                done = shmpipe_write(ring, bytes, 1, 60LL * 1000000000);
            printf("%s\n", shmpipe_code_name((int)done));
            return done == SHMPIPE_CONSUMER_CLOSED || done == SHMPIPE_PEER_DIED ? 0 : fail("write", done);
        }
        moved += len;
    }
    int64_t got = 0;
    while (!produces && moved < total && (got = shmpipe_read(ring, bytes, step, 60LL * 1000000000)) > 0) {
        for (int64_t at = 0; at < got; at++)
            if (bytes[at] != byte_at(moved + (uint64_t)at)) {
                fprintf(stderr, "byte %llu is wrong\n", (unsigned long long)(moved + (uint64_t)at));
                return 1;
            }
        moved += (uint64_t)got;
    }
    if (strcmp(how, "kill") == 0)
        raise(SIGKILL);
    if (strcmp(how, "abort") == 0) {
        shmpipe_abort(ring);
    } else if (produces) {
        code = shmpipe_close(ring, -1);
        if (code < 0)
            return fail("close", code);
    } else if (got > 0) {
        got = shmpipe_read(ring, bytes, 1, 60LL * 1000000000); /* the end, or what broke the stream */
    }
    printf("%llu %s\n", (unsigned long long)moved, shmpipe_code_name((int)got));
    shmpipe_free(ring);
    return 0;
}
