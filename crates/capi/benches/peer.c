/* The C side of crates/capi/bench: peer ROLE PATH BLOCK COUNT. See examples/bench_peer.rs. */
#include <shmpipe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static shmpipe_options options = SHMPIPE_OPTIONS_INIT;

static void check(int64_t result, int64_t least)
{
    if (result < least) {
        fprintf(stderr, "%s: %s\n", shmpipe_code_name((int)result), shmpipe_last_error());
        exit(1);
    }
}

static shmpipe_end *opened(const char *path, const char *suffix, uint32_t role)
{
    char name[4096];
    shmpipe_end *end;
    snprintf(name, sizeof name, "%s%s", path, suffix);
    check(shmpipe_open(name, role, &options, &end), 0);
    return end;
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

int main(int argc, char **argv)
{
    if (argc != 5)
        return 2;
    const char *role = argv[1], *path = argv[2];
    size_t block = strtoull(argv[3], NULL, 10);
    uint64_t count = strtoull(argv[4], NULL, 10), total = 0;
    char *bytes = calloc(1, block);
    shmpipe_end *in = NULL, *out = NULL;
    double start = 0;
    options.flags = SHMPIPE_CREATE_FILE;
    if (strcmp(role, "write") == 0) {
        out = opened(path, "", SHMPIPE_PRODUCER);
        for (uint64_t n = 0; n < count; n++)
            check(shmpipe_write(out, bytes, block, -1), (int64_t)block);
        check(shmpipe_close(out, -1), 0);
    } else if (strcmp(role, "read") == 0) {
        in = opened(path, "", SHMPIPE_CONSUMER);
        int64_t len;
        while ((len = shmpipe_read(in, bytes, block, -1)) > 0) {
            total += (uint64_t)len;
            if (start == 0)
                start = now();
        }
        check(len, 0);
        printf("%.3f\n", (double)total / (now() - start));
    } else if (strcmp(role, "ping") == 0 || strcmp(role, "pong") == 0) {
        int pings = role[1] == 'i';
        if (pings) {
            out = opened(path, ".to", SHMPIPE_PRODUCER);
            in = opened(path, ".from", SHMPIPE_CONSUMER);
        } else {
            in = opened(path, ".to", SHMPIPE_CONSUMER);
            out = opened(path, ".from", SHMPIPE_PRODUCER);
        }
        start = now();
        for (uint64_t n = 0; n < count; n++) {
            if (pings)
                check(shmpipe_write(out, bytes, block, -1), (int64_t)block);
            check(shmpipe_read_full(in, bytes, block, -1), (int64_t)block);
            if (!pings)
                check(shmpipe_write(out, bytes, block, -1), (int64_t)block);
        }
        if (pings)
            printf("%.1f\n", (now() - start) / (double)count);
    } else if (strcmp(role, "messages") == 0) {
        check(shmpipe_pair(&options, &out, &in), 0);
        for (uint64_t n = 0; n < count; n += 64) {
            for (int at = 0; at < 64; at++)
                check(shmpipe_write(out, bytes, block, -1), (int64_t)block);
            for (int at = 0; at < 64; at++)
                check(shmpipe_read(in, bytes, block, -1), (int64_t)block);
        }
        _exit(0); /* valgrind cannot follow the detaching */
    } else {
        return 2;
    }
    shmpipe_free(out);
    shmpipe_free(in);
    free(bytes);
    return 0;
}
