/* What the header promises, call by call. One argument: a path in a folder of the test's own. Compiles as C11, C17
 * and C++17. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <shmpipe.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/shm.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CHECK(what)                                                                                     \
    do {                                                                                                \
        if (!(what)) {                                                                                  \
            fprintf(stderr, "%s:%d: %s (last: %s: %s)\n", __FILE__, __LINE__, #what,                    \
                    shmpipe_code_name(shmpipe_last_code()), shmpipe_last_error());                      \
            exit(1);                                                                                    \
        }                                                                                               \
    } while (0)

#define SECOND 1000000000LL

static shmpipe_end *producer, *consumer;
static char bytes[1 << 16];

static void open_pair(uint64_t capacity)
{
    shmpipe_options options = SHMPIPE_OPTIONS_INIT;
    options.capacity = capacity;
    CHECK(shmpipe_pair(&options, &producer, &consumer) == 0);
}

static void free_pair(void)
{
    shmpipe_free(producer);
    shmpipe_free(consumer);
}

static void bytes_and_the_end(void)
{
    open_pair(4096);
    CHECK(shmpipe_write(producer, "hello", 5, -1) == 5);
    CHECK(shmpipe_write(producer, NULL, 0, -1) == 0);
    CHECK(shmpipe_read(consumer, bytes, sizeof bytes, -1) == 5 && memcmp(bytes, "hello", 5) == 0);
    CHECK(shmpipe_write(producer, "abcdef", 6, SECOND) == 6);
    CHECK(shmpipe_read_full(consumer, bytes, 4, SECOND) == 4);
    CHECK(shmpipe_close(producer, -1) == 0);
    CHECK(shmpipe_close(producer, 0) == 0); /* twice */
    CHECK(shmpipe_write(producer, "x", 1, -1) == SHMPIPE_CLOSED);
    CHECK(shmpipe_read_full(consumer, bytes, 4, -1) == 2); /* short, before the end */
    CHECK(shmpipe_read_full(consumer, bytes, 4, -1) == 0);
    CHECK(shmpipe_read(consumer, bytes, 4, 0) == 0 && shmpipe_read(consumer, bytes, 4, SECOND) == 0);
    CHECK(shmpipe_close(consumer, -1) == 0 && shmpipe_close(consumer, -1) == 0);
    CHECK(shmpipe_read(consumer, bytes, 4, -1) == SHMPIPE_CLOSED);
    free_pair();
}

static void timeouts(void)
{
    open_pair(4096);
    CHECK(shmpipe_read(consumer, bytes, 1, 0) == SHMPIPE_WOULD_BLOCK);
    CHECK(shmpipe_read(consumer, bytes, 1, SECOND / 100) == SHMPIPE_TIMED_OUT);
    CHECK(shmpipe_read_full(consumer, bytes, 1, SECOND / 100) == SHMPIPE_TIMED_OUT);
    CHECK(shmpipe_read(consumer, bytes, 1, -2) == SHMPIPE_INVALID);
    CHECK(shmpipe_write(producer, bytes, 5000, 0) == 4096);
    CHECK(shmpipe_write(producer, bytes, 1, 0) == SHMPIPE_WOULD_BLOCK);
    CHECK(shmpipe_write(producer, bytes, 1, SECOND / 100) == SHMPIPE_TIMED_OUT);
    CHECK(shmpipe_read(consumer, bytes, 96, 0) == 96);
    CHECK(shmpipe_write(producer, bytes, 5000, SECOND / 100) == 96); /* some, then the limit */
    CHECK(shmpipe_read(consumer, bytes, sizeof bytes, INT64_MAX) == 4096);
    CHECK(shmpipe_wait_for_peer(consumer, 0) == 0 && shmpipe_wait_for_peer(producer, -1) == 0);
    free_pair();
}

static void loans(void)
{
    void *room;
    const void *seen;
    open_pair(4096);
    CHECK(shmpipe_reserve(producer, 10, 100, -1, &room) == 100 && room != NULL);
    memcpy(room, "0123456789abcdef", 16);
    CHECK(shmpipe_commit(producer, 101) == SHMPIPE_INVALID);
    CHECK(shmpipe_commit(producer, 16) == 16);
    CHECK(shmpipe_commit(producer, 1) == SHMPIPE_INVALID); /* the loan is over */
    CHECK(shmpipe_reserve(producer, 10, 10, -1, &room) == 10);
    CHECK(shmpipe_write(producer, "x", 1, -1) == 1);
    CHECK(shmpipe_commit(producer, 10) == SHMPIPE_INVALID); /* a write ends the loan */
    CHECK(shmpipe_reserve(producer, 0, 0, -1, &room) == SHMPIPE_INVALID && room == NULL);
    CHECK(shmpipe_reserve(producer, 5, 4, -1, &room) == SHMPIPE_INVALID);
    CHECK(shmpipe_reserve(producer, 5000, 5000, -1, &room) == SHMPIPE_TOO_LONG);
    CHECK(shmpipe_reserve(producer, 1, 5000, -1, NULL) == SHMPIPE_INVALID);
    CHECK(shmpipe_reserve(producer, 4096, 4096, 0, &room) == SHMPIPE_WOULD_BLOCK);
    CHECK(shmpipe_reserve(producer, 4096, 4096, SECOND / 100, &room) == SHMPIPE_TIMED_OUT);
    CHECK(shmpipe_reserve(producer, 1, 5000, 0, &room) == 4096 - 17);

    CHECK(shmpipe_peek(consumer, 3, 3, -1, &seen) == 3 && memcmp(seen, "012", 3) == 0);
    CHECK(shmpipe_consume(consumer, 4) == SHMPIPE_INVALID);
    CHECK(shmpipe_peek(consumer, 1, 100, -1, &seen) == 17);
    CHECK(shmpipe_consume(consumer, 10) == 10);
    CHECK(shmpipe_consume(consumer, 1) == SHMPIPE_INVALID);
    CHECK(shmpipe_peek(consumer, 8, 100, 0, &seen) == SHMPIPE_WOULD_BLOCK && seen == NULL);
    CHECK(shmpipe_peek(consumer, 8, 100, SECOND / 100, &seen) == SHMPIPE_TIMED_OUT);
    CHECK(shmpipe_peek(consumer, 5000, 5000, -1, &seen) == SHMPIPE_TOO_LONG);
    CHECK(shmpipe_peek(consumer, 0, 100, 0, &seen) == 7);
    CHECK(shmpipe_close(producer, -1) == 0);
    CHECK(shmpipe_peek(consumer, 8, 100, -1, &seen) == 7); /* fewer, before the end */
    CHECK(shmpipe_peek(consumer, 8, 100, 0, &seen) == 7);
    CHECK(memcmp(seen, "abcdefx", 7) == 0 && shmpipe_consume(consumer, 7) == 7);
    CHECK(shmpipe_peek(consumer, 8, 100, -1, &seen) == 0 && seen == NULL);
    CHECK(shmpipe_peek(consumer, 1, 100, 0, &seen) == 0);
    CHECK(shmpipe_consume(consumer, 0) == 0);
    free_pair();
}

static void wrong_arguments(const char *path)
{
    shmpipe_end *end = (shmpipe_end *)bytes;
    void *room;
    const void *seen;
    shmpipe_stats stats;
    char value[8];
    CHECK(shmpipe_open(NULL, SHMPIPE_PRODUCER, NULL, &end) == SHMPIPE_INVALID && end == NULL);
    CHECK(shmpipe_open(path, SHMPIPE_PRODUCER, NULL, NULL) == SHMPIPE_INVALID);
    CHECK(shmpipe_open(path, 3, NULL, &end) == SHMPIPE_INVALID);
    CHECK(shmpipe_create(0, NULL, &end) == SHMPIPE_INVALID && shmpipe_create(1, NULL, NULL) == SHMPIPE_INVALID);
    CHECK(shmpipe_attach(-1, 0, SHMPIPE_CONSUMER, NULL, &end) == SHMPIPE_INVALID);
    CHECK(shmpipe_pair(NULL, &end, NULL) == SHMPIPE_INVALID);
    CHECK(shmpipe_open("/does/not/exist", SHMPIPE_PRODUCER, NULL, &end) == SHMPIPE_PATH);
    CHECK(shmpipe_last_errno() == 2 && strstr(shmpipe_last_error(), "/does/not/exist") != NULL);
    CHECK(shmpipe_from_parent(NULL, SHMPIPE_PRODUCER, NULL, &end) == SHMPIPE_NOT_HANDED_OVER);
    CHECK(shmpipe_from_parent("\xff", SHMPIPE_PRODUCER, NULL, &end) == SHMPIPE_INVALID);
    CHECK(shmpipe_remove(NULL, NULL) == SHMPIPE_INVALID && shmpipe_remove(path, NULL) == SHMPIPE_NO_RING);

    CHECK(shmpipe_write(NULL, "x", 1, -1) == SHMPIPE_INVALID);
    CHECK(shmpipe_read(NULL, bytes, 1, -1) == SHMPIPE_INVALID);
    CHECK(shmpipe_read_full(NULL, bytes, 1, -1) == SHMPIPE_INVALID);
    CHECK(shmpipe_reserve(NULL, 1, 1, -1, &room) == SHMPIPE_INVALID && shmpipe_commit(NULL, 1) == SHMPIPE_INVALID);
    CHECK(shmpipe_peek(NULL, 1, 1, -1, &seen) == SHMPIPE_INVALID && shmpipe_consume(NULL, 1) == SHMPIPE_INVALID);
    CHECK(shmpipe_flush(NULL) == SHMPIPE_INVALID && shmpipe_next_stream(NULL) == SHMPIPE_INVALID);
    CHECK(shmpipe_close(NULL, -1) == SHMPIPE_INVALID && shmpipe_abort(NULL) == SHMPIPE_INVALID);
    CHECK(shmpipe_peer(NULL, NULL) == SHMPIPE_INVALID && shmpipe_id(NULL) == SHMPIPE_INVALID);
    CHECK(shmpipe_poll_fd(NULL) == SHMPIPE_INVALID && shmpipe_wait_for_peer(NULL, 0) == SHMPIPE_INVALID);
    CHECK(shmpipe_get_stats(NULL, &stats, sizeof stats) == SHMPIPE_INVALID);
    CHECK(shmpipe_give(NULL, NULL, 1, value, sizeof value) == SHMPIPE_INVALID);
    CHECK(shmpipe_given_to(NULL, 1) == SHMPIPE_INVALID);
    shmpipe_free(NULL);
    shmpipe_flag_free(NULL);
    shmpipe_flag_set(NULL, 1);

    open_pair(4096);
    CHECK(shmpipe_write(consumer, "x", 1, -1) == SHMPIPE_INVALID);
    CHECK(shmpipe_read(producer, bytes, 1, -1) == SHMPIPE_INVALID);
    CHECK(shmpipe_write(producer, NULL, 1, -1) == SHMPIPE_INVALID);
    CHECK(shmpipe_read(consumer, NULL, 1, -1) == SHMPIPE_INVALID);
    CHECK(shmpipe_write(producer, bytes, (size_t)-1, -1) == SHMPIPE_INVALID);
    CHECK(shmpipe_read(consumer, bytes, SIZE_MAX / 2 + 1, -1) == SHMPIPE_INVALID);
    CHECK(shmpipe_peek(producer, 1, 1, -1, &seen) == SHMPIPE_INVALID);
    CHECK(shmpipe_reserve(consumer, 1, 1, -1, &room) == SHMPIPE_INVALID);
    CHECK(shmpipe_commit(consumer, 0) == SHMPIPE_INVALID && shmpipe_next_stream(producer) == SHMPIPE_INVALID);
    CHECK(shmpipe_next_stream(consumer) == SHMPIPE_NOT_ENDED);
    CHECK(shmpipe_get_stats(producer, NULL, sizeof stats) == SHMPIPE_INVALID);
    CHECK(shmpipe_get_stats(producer, &stats, 0) == SHMPIPE_INVALID);
    shmpipe_end *const ends[] = {producer, producer};
    CHECK(shmpipe_give(ends, NULL, 2, bytes, sizeof bytes) == SHMPIPE_INVALID);
    CHECK(shmpipe_give(ends, NULL, 0, bytes, sizeof bytes) == SHMPIPE_INVALID);
    CHECK(shmpipe_give(ends, NULL, 1, bytes, sizeof bytes) == SHMPIPE_ROLE_TAKEN);
    CHECK(shmpipe_given_to(producer, 0) == SHMPIPE_INVALID && shmpipe_given_to(producer, -1) == SHMPIPE_INVALID);
    free_pair();

    CHECK(shmpipe_create(SHMPIPE_PRODUCER, NULL, &end) == 0);
    CHECK(shmpipe_give(&end, NULL, 1, value, sizeof value) == SHMPIPE_TOO_LONG);
    const char *const bad[] = {"no spaces"};
    CHECK(shmpipe_give(&end, bad, 1, bytes, sizeof bytes) == SHMPIPE_INVALID);
    CHECK(shmpipe_give(&end, NULL, 1, bytes, sizeof bytes) == (int64_t)strlen(bytes));
    shmpipe_free(end);
    CHECK(strcmp(shmpipe_code_name(SHMPIPE_TIMED_OUT), "SHMPIPE_TIMED_OUT") == 0);
    CHECK(strcmp(shmpipe_code_name(12345), "unknown code") == 0);
    CHECK(strcmp(shmpipe_version(), SHMPIPE_VERSION) == 0);
}

static void options_grow(void)
{
    struct {
        shmpipe_options known;
        uint64_t newer;
    } later = {SHMPIPE_OPTIONS_INIT, 0};
    shmpipe_options options = SHMPIPE_OPTIONS_INIT;
    shmpipe_end *end;
    later.known.size = sizeof later;
    CHECK(shmpipe_create(SHMPIPE_PRODUCER, &later.known, &end) == 0);
    shmpipe_free(end);
    later.newer = 1; /* asks for what this library does not know */
    CHECK(shmpipe_create(SHMPIPE_PRODUCER, &later.known, &end) == SHMPIPE_INVALID);
    options.size = 0;
    CHECK(shmpipe_create(SHMPIPE_PRODUCER, &options, &end) == SHMPIPE_INVALID);
    options.size = sizeof options - 1;
    CHECK(shmpipe_create(SHMPIPE_PRODUCER, &options, &end) == SHMPIPE_INVALID);
    options.size = 1 << 20;
    CHECK(shmpipe_create(SHMPIPE_PRODUCER, &options, &end) == SHMPIPE_INVALID);
    for (int field = 0; field < 8; field++) {
        shmpipe_options wrong = SHMPIPE_OPTIONS_INIT;
        switch (field) {
        case 0: wrong.flags = 1u << 31; break;
        case 1: wrong.flags = SHMPIPE_WAIT | SHMPIPE_NO_WAIT; break;
        case 2: wrong.wait_policy = 9; break;
        case 3: wrong.pace = 9; break;
        case 4: wrong.timeout_ns = -7; break;
        case 5: wrong.mode = 07777; break;
        case 6: wrong.capacity = UINT64_MAX; break;
        case 7: wrong.flags = SHMPIPE_REQUIRE_CONSUMER | SHMPIPE_NO_CONSUMER_NEEDED; break;
        }
        CHECK(shmpipe_create(SHMPIPE_PRODUCER, &wrong, &end) == SHMPIPE_INVALID && end == NULL);
    }
    /* A program with an older header has a shorter shmpipe_stats. */
    shmpipe_stats stats;
    memset(&stats, 0xee, sizeof stats);
    open_pair(8192);
    CHECK(shmpipe_write(producer, "abc", 3, -1) == 3);
    CHECK(shmpipe_get_stats(consumer, &stats, offsetof(shmpipe_stats, position)) == 0);
    CHECK(stats.size == sizeof stats && stats.capacity == 8192 && stats.position == 0xeeeeeeeeeeeeeeeeULL);
    CHECK(shmpipe_get_stats(consumer, &stats, sizeof stats) == 0);
    CHECK(stats.available == 3 && stats.role == SHMPIPE_CONSUMER && stats.id >= 0 && stats.is_closed == 0);
    CHECK(shmpipe_get_stats(producer, &stats, sizeof stats) == 0);
    CHECK(stats.available == 8192 - 3 && stats.role == SHMPIPE_PRODUCER && stats.position == 3);
    free_pair();
}

static void leaving(void)
{
    shmpipe_occupant peer;
    open_pair(4096);
    CHECK(shmpipe_peer(producer, &peer) == 0 && peer.state == SHMPIPE_PROCESS && peer.pid == (uint32_t)getpid());
    CHECK(shmpipe_write(producer, "half", 4, -1) == 4);
    CHECK(shmpipe_abort(producer) == 0 && shmpipe_abort(producer) == 0);
    CHECK(shmpipe_close(producer, -1) == SHMPIPE_CLOSED);
    CHECK(shmpipe_read(consumer, bytes, sizeof bytes, -1) == 4);
    CHECK(shmpipe_read(consumer, bytes, sizeof bytes, -1) == SHMPIPE_PRODUCER_ABORTED);
    CHECK(shmpipe_peer(consumer, &peer) == 0 && peer.state == SHMPIPE_LEFT);
    free_pair();

    open_pair(4096);
    shmpipe_free(consumer);
    CHECK(shmpipe_write(producer, "x", 1, -1) == SHMPIPE_CONSUMER_CLOSED);
    CHECK(shmpipe_peer(producer, NULL) == SHMPIPE_CONSUMER_CLOSED);
    shmpipe_free(producer);

    /* Freed without a close: the end, or with the option a stream broken off. */
    shmpipe_options options = SHMPIPE_OPTIONS_INIT;
    for (int aborts = 0; aborts < 2; aborts++) {
        options.flags = aborts ? SHMPIPE_ABORT_ON_FREE : 0;
        CHECK(shmpipe_pair(&options, &producer, &consumer) == 0);
        shmpipe_free(producer);
        CHECK(shmpipe_read(consumer, bytes, 1, -1) == (aborts ? SHMPIPE_PRODUCER_ABORTED : 0));
        shmpipe_free(consumer);
    }
}

static void forks(void)
{
    CHECK(shmpipe_create(SHMPIPE_CONSUMER, NULL, &consumer) == 0);
    shmpipe_stats stats;
    CHECK(shmpipe_get_stats(consumer, &stats, sizeof stats) == 0);
    int32_t id = shmpipe_id(consumer);
    CHECK(id == stats.id);
    shmpipe_end *other;
    CHECK(shmpipe_attach(id, stats.nonce + 1, SHMPIPE_PRODUCER, NULL, &other) == SHMPIPE_REMOVED);
    CHECK(shmpipe_attach(id, stats.nonce, SHMPIPE_CONSUMER, NULL, &other) == SHMPIPE_ROLE_TAKEN);
    CHECK(shmpipe_poll_fd(consumer) >= 0); /* an end in a set, too */
    for (int dies = 0; dies < 2; dies++) {
        pid_t child = fork();
        if (child == 0) {
            /* The copy is inert. */
            CHECK(shmpipe_read(consumer, bytes, 1, -1) == SHMPIPE_INHERITED);
            CHECK(shmpipe_read(consumer, bytes, 1, 0) == SHMPIPE_INHERITED);
            CHECK(shmpipe_close(consumer, -1) == SHMPIPE_INHERITED);
            shmpipe_abort(consumer);
            shmpipe_free(consumer);
            if (dies) {
                CHECK(shmpipe_attach(id, stats.nonce, SHMPIPE_PRODUCER, NULL, &producer) == 0);
                CHECK(shmpipe_write(producer, "child", 5, -1) == 5);
                raise(SIGKILL);
            }
            _exit(0);
        }
        int status;
        CHECK(waitpid(child, &status, 0) == child && WIFSIGNALED(status) == dies);
        CHECK(dies || WEXITSTATUS(status) == 0);
    }
    CHECK(shmpipe_read_full(consumer, bytes, 5, 60 * SECOND) == 5 && memcmp(bytes, "child", 5) == 0);
    CHECK(shmpipe_read(consumer, bytes, 5, 60 * SECOND) == SHMPIPE_PEER_DIED);
    CHECK(strstr(shmpipe_last_error(), "process") != NULL);
    shmpipe_free(consumer);
}

static shmpipe_flag *flag;

static void on_alarm(int signal)
{
    (void)signal;
    shmpipe_flag_set(flag, 1);
}

static void flags(const char *path)
{
    shmpipe_options options = SHMPIPE_OPTIONS_INIT;
    flag = shmpipe_flag_new();
    options.cancel = flag;
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_alarm;
    sigaction(SIGALRM, &action, NULL);
    struct itimerval soon = {{0, 0}, {0, 50000}};
    shmpipe_end *end;
    setitimer(ITIMER_REAL, &soon, NULL);
    CHECK(shmpipe_open(path, SHMPIPE_PRODUCER, &options, &end) == SHMPIPE_CANCELLED); /* nobody came */
    errno = 77;
    shmpipe_flag_set(flag, 0);
    CHECK(errno == 77); /* as a signal handler needs it */
    CHECK(shmpipe_pair(&options, &producer, &consumer) == 0);
    setitimer(ITIMER_REAL, &soon, NULL);
    CHECK(shmpipe_read(consumer, bytes, 1, -1) == SHMPIPE_CANCELLED);
    shmpipe_flag_set(flag, 0);
    CHECK(shmpipe_write(producer, "x", 1, -1) == 1 && shmpipe_read(consumer, bytes, 1, -1) == 1);
    shmpipe_flag_free(flag); /* before the ends */
    CHECK(shmpipe_read(consumer, bytes, 1, 0) == SHMPIPE_WOULD_BLOCK);
    free_pair();
}

static int is_readable(int fd, int milliseconds)
{
    struct pollfd watched = {fd, POLLIN, 0};
    return poll(&watched, 1, milliseconds);
}

static void descriptors(void)
{
    const void *seen;
    open_pair(4096);
    int from = shmpipe_poll_fd(consumer), to = shmpipe_poll_fd(producer);
    CHECK(from >= 0 && to >= 0 && from != to && shmpipe_poll_fd(consumer) == from);
    CHECK(shmpipe_read(consumer, bytes, 1, 0) == SHMPIPE_WOULD_BLOCK);
    CHECK(!is_readable(from, 0));
    CHECK(shmpipe_write(producer, "abc", 3, -1) == 3);
    CHECK(is_readable(from, 60000));
    CHECK(shmpipe_read(consumer, bytes, 1, 0) == 1 && is_readable(from, 0)); /* two are left */
    CHECK(shmpipe_peek(consumer, 3, 100, 0, &seen) == SHMPIPE_WOULD_BLOCK); /* waits for three */
    CHECK(!is_readable(from, 0));
    CHECK(shmpipe_write(producer, "d", 1, -1) == 1 && is_readable(from, 60000));
    CHECK(shmpipe_peek(consumer, 3, 100, 0, &seen) == 3 && shmpipe_consume(consumer, 3) == 3);

    memset(bytes, 0, sizeof bytes);
    CHECK(shmpipe_write(producer, bytes, 5000, 0) == 4096);
    CHECK(shmpipe_write(producer, bytes, 1, 0) == SHMPIPE_WOULD_BLOCK && !is_readable(to, 0));
    CHECK(shmpipe_read(consumer, bytes, 4096, 0) == 4096 && is_readable(to, 60000));
    CHECK(shmpipe_write(producer, "x", 1, 0) == 1);
    CHECK(shmpipe_read(consumer, bytes, 4096, -1) == 1); /* a blocking call, too */
    CHECK(shmpipe_read(consumer, bytes, 1, 0) == SHMPIPE_WOULD_BLOCK && !is_readable(from, 0));
    CHECK(shmpipe_close(producer, -1) == 0 && is_readable(from, 60000));
    CHECK(shmpipe_read(consumer, bytes, 1, 0) == 0);
    free_pair();

    /* A death makes the descriptor readable. */
    CHECK(shmpipe_create(SHMPIPE_CONSUMER, NULL, &consumer) == 0);
    int32_t id = shmpipe_id(consumer);
    pid_t child = fork();
    if (child == 0) {
        CHECK(shmpipe_attach(id, 0, SHMPIPE_PRODUCER, NULL, &producer) == 0);
        raise(SIGKILL);
    }
    waitpid(child, NULL, 0);
    from = shmpipe_poll_fd(consumer);
    int64_t got;
    while ((got = shmpipe_read(consumer, bytes, 1, 0)) == SHMPIPE_WOULD_BLOCK)
        CHECK(is_readable(from, 60000));
    CHECK(got == SHMPIPE_PEER_DIED);
    shmpipe_free(consumer);
}

static void persistent(const char *path)
{
    shmpipe_options options = SHMPIPE_OPTIONS_INIT;
    options.flags = SHMPIPE_PERSISTENT | SHMPIPE_CREATE_FILE;
    for (int stream = 0; stream < 2; stream++) {
        CHECK(shmpipe_open(path, SHMPIPE_PRODUCER, &options, &producer) == 0);
        CHECK(shmpipe_write(producer, "abc", 3, -1) == 3 && shmpipe_close(producer, -1) == 0);
        shmpipe_free(producer);
    }
    CHECK(shmpipe_open(path, SHMPIPE_CONSUMER, &options, &consumer) == 0);
    CHECK(shmpipe_remove(path, NULL) == SHMPIPE_IN_USE);
    CHECK(shmpipe_read(consumer, bytes, 10, -1) == 3 && shmpipe_read(consumer, bytes, 10, -1) == 0);
    CHECK(shmpipe_next_stream(consumer) == 1);
    CHECK(shmpipe_read(consumer, bytes, 10, -1) == 3 && shmpipe_read(consumer, bytes, 10, -1) == 0);
    shmpipe_stats stats;
    CHECK(shmpipe_get_stats(consumer, &stats, sizeof stats) == 0);
    CHECK(stats.position == 6 && stats.stream_position == 3 && stats.is_at_end == 1);
    options.capacity = 1 << 16;
    shmpipe_end *end;
    CHECK(shmpipe_open(path, SHMPIPE_PRODUCER, &options, &end) == SHMPIPE_MISMATCH);
    shmpipe_free(consumer);
    CHECK(shmpipe_remove(path, NULL) == 0);
}

/* What another version, feature, line size, byte order or width left in the header is refused, and stays as it was. */
static void forged_headers(const char *path)
{
    static const struct {
        int offset;
        uint32_t word;
        const char *text;
    } forged[] = {
        {8, 3, "version 3"},         {8, 1, "version 1"},      {12, 0x04030201, "byte order"},
        {16, 64, "line size"},       {76, 1u << 31, "features"}, {28, 4096, "header says"},
    };
    shmpipe_options options = SHMPIPE_OPTIONS_INIT;
    options.flags = SHMPIPE_PERSISTENT;
    options.capacity = 4096;
    CHECK(shmpipe_open(path, SHMPIPE_PRODUCER, &options, &producer) == 0);
    int32_t id = shmpipe_id(producer);
    shmpipe_free(producer);
    char *segment = (char *)shmat(id, NULL, 0), before[4096];
    CHECK(segment != (char *)-1);
    for (size_t n = 0; n < sizeof forged / sizeof *forged; n++) {
        uint32_t good;
        memcpy(&good, segment + forged[n].offset, sizeof good);
        memcpy(segment + forged[n].offset, &forged[n].word, sizeof good);
        memcpy(before, segment, sizeof before);
        for (uint32_t role = SHMPIPE_PRODUCER; role <= SHMPIPE_CONSUMER; role++) {
            CHECK(shmpipe_open(path, role, &options, &producer) == SHMPIPE_INCOMPATIBLE && producer == NULL);
            CHECK(strstr(shmpipe_last_error(), forged[n].text) != NULL);
            CHECK(shmpipe_attach(id, 0, role, NULL, &producer) == SHMPIPE_INCOMPATIBLE && producer == NULL);
        }
        CHECK(memcmp(before, segment, sizeof before) == 0);
        memcpy(segment + forged[n].offset, &good, sizeof good);
    }
    CHECK(shmdt(segment) == 0);
    CHECK(shmpipe_remove(path, NULL) == 0);
}

static void batches(void)
{
    shmpipe_options options = SHMPIPE_OPTIONS_INIT;
    options.batch = 4096;
    CHECK(shmpipe_pair(&options, &producer, &consumer) == 0);
    CHECK(shmpipe_write(producer, "held back", 9, -1) == 9);
    CHECK(shmpipe_read(consumer, bytes, 9, 0) == SHMPIPE_WOULD_BLOCK);
    CHECK(shmpipe_flush(producer) == 0 && shmpipe_read(consumer, bytes, 10, 0) == 9);
    CHECK(shmpipe_flush(consumer) == SHMPIPE_INVALID);
    free_pair();
}

static void *write_much(void *unused)
{
    (void)unused;
    static char much[1 << 16];
    memset(much, 7, sizeof much);
    for (int n = 0; n < 64; n++)
        CHECK(shmpipe_write(producer, much, sizeof much, -1) == sizeof much);
    CHECK(shmpipe_close(producer, -1) == 0);
    CHECK(shmpipe_read(producer, much, 1, -1) == SHMPIPE_INVALID); /* of this thread */
    return NULL;
}

static void threads(void)
{
    open_pair(4096);
    CHECK(shmpipe_write(consumer, "x", 1, -1) == SHMPIPE_INVALID);
    pthread_t writer;
    CHECK(pthread_create(&writer, NULL, write_much, NULL) == 0);
    int64_t sum = 0, len;
    while ((len = shmpipe_read(consumer, bytes, sizeof bytes, -1)) > 0)
        sum += len;
    CHECK(len == 0 && sum == 64 << 16);
    CHECK(pthread_join(writer, NULL) == 0);
    CHECK(strstr(shmpipe_last_error(), "role") != NULL); /* the failure of this thread */
    free_pair();
}

int main(int argc, char **argv)
{
    if (argc != 2)
        return 2;
    bytes_and_the_end();
    timeouts();
    loans();
    wrong_arguments(argv[1]);
    options_grow();
    leaving();
    forks();
    flags(argv[1]);
    descriptors();
    persistent(argv[1]);
    forged_headers(argv[1]);
    batches();
    threads();
    puts("all checks hold");
    return 0;
}
