/* shmpipe: a pipe made of System V shared memory. A ring of bytes has one producer and one consumer, in
 * two processes, or two threads, of one Linux host. Link with -lshmpipe.
 *
 * An end of a ring is a shmpipe_end. A producer's end writes, and a consumer's end reads.
 *
 * Results. A function returns 0, a length or another number from 0 on, or a negative shmpipe_code.
 * shmpipe_last_error() says more about the last failure of the calling thread.
 *
 * Timeouts. -1 waits for ever, 0 never waits, and a positive number is a limit in nanoseconds. A call
 * that moved some bytes before its limit, or before the stream broke, returns their number. The next
 * call returns the code. Signals do not end a wait: see shmpipe_flag.
 *
 * Threads. An end may move from thread to thread, but one thread at a time may call with it. That holds for
 * each function, including shmpipe_close(), shmpipe_abort() and shmpipe_free(): never call them while another
 * thread is in a call with that end. To end that call, set its flag (shmpipe_flag_set), and join the thread.
 * Different ends are independent, and so are the two ends of one ring. Failures are kept for each thread.
 *
 * errno(3). A call may change errno, whether it succeeds or fails, and the new value means nothing. Use
 * shmpipe_last_errno(). Only shmpipe_flag_set() leaves errno as it is.
 *
 * Processes. After fork(2), an end belongs to the process that opened it. In the child, calls with it
 * return SHMPIPE_INHERITED, and shmpipe_free() only frees it. exec(2) and exit(2) without
 * shmpipe_close() are a death: the peer gets SHMPIPE_PEER_DIED after the last byte. A child made by
 * vfork(2) must not call this library.
 *
 * Trust. The peer may be any process of this user. Whatever the peer writes, no call reads or writes
 * outside the buffers it was given and the ring, and no call waits past its timeout. The bytes of a loan
 * (shmpipe_reserve, shmpipe_peek) can be changed by a peer that breaks the rules: copy, then check.
 *
 * A wrong pointer is undefined behaviour, as in all of C. For NULL where it is not allowed, or for a wrong
 * length, role or number, a call returns SHMPIPE_INVALID. No function throws, and none ends the process.
 */
#ifndef SHMPIPE_H
#define SHMPIPE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SHMPIPE_VERSION "0.1.0"

/* The environment variable that tells a child which ends it gets: see shmpipe_give(). */
#define SHMPIPE_VARIABLE "SHMPIPE_RING"

/* Codes. The numbers never change. New ones may come, so treat an unknown one as a failure. */
typedef enum shmpipe_code {
    SHMPIPE_OK = 0,
    SHMPIPE_WOULD_BLOCK = -1,       /* timeout 0: nothing to read, or no room */
    SHMPIPE_TIMED_OUT = -2,         /* nothing, or too little, within the timeout */
    SHMPIPE_CANCELLED = -3,         /* the flag of the options was set */

    /* The stream cannot continue. */
    SHMPIPE_CLOSED = -10,           /* this end was closed or aborted */
    SHMPIPE_INHERITED = -11,        /* this end belongs to the process that forked */
    SHMPIPE_CONSUMER_CLOSED = -12,  /* nobody reads any more */
    SHMPIPE_PRODUCER_ABORTED = -13, /* the stream was broken off: what came is not all */
    SHMPIPE_PEER_DIED = -14,        /* the peer's process ended without closing */
    SHMPIPE_NEVER_CAME = -15,       /* nobody took the other end, and nobody can */
    SHMPIPE_CORRUPTED = -16,        /* the peer broke the protocol */

    /* A wrong call. */
    SHMPIPE_INVALID = -20,          /* a wrong argument, or a call for the other role */
    SHMPIPE_TOO_LONG = -21,         /* more than the ring, or the buffer, holds */
    SHMPIPE_NOT_ENDED = -22,        /* shmpipe_next_stream: the stream has not ended here */

    /* A ring that cannot be opened. */
    SHMPIPE_PATH = -30,             /* the file cannot be used */
    SHMPIPE_MISMATCH = -31,         /* the ring has another capacity or life cycle */
    SHMPIPE_ROLE_TAKEN = -32,       /* another process has this role */
    SHMPIPE_TOO_MANY_ENDS = -33,    /* a persistent ring with too many unread ends of streams */
    SHMPIPE_INCOMPATIBLE = -34,     /* not a ring, or a ring with another layout version */
    SHMPIPE_KEY_COLLISION = -35,    /* ftok(3) gave the key of another file: use another project */
    SHMPIPE_UNTRUSTED = -36,        /* another owner, or a wider mode, than the options allow */
    SHMPIPE_REMOVED = -37,          /* the ring, or its file, is gone */
    SHMPIPE_OTHER_NAMESPACE = -38,  /* the peer waits in another IPC namespace */
    SHMPIPE_NOT_HANDED_OVER = -39,  /* the parent gave no such end */
    SHMPIPE_NO_RING = -40,          /* shmpipe_remove: there is none */
    SHMPIPE_IN_USE = -41,           /* shmpipe_remove: a process uses the ring */

    SHMPIPE_SYSTEM = -50,           /* the kernel refused: see shmpipe_last_errno() */
    SHMPIPE_INTERNAL = -51          /* a fault of this library */
} shmpipe_code;

/* Roles. */
enum { SHMPIPE_PRODUCER = 1, SHMPIPE_CONSUMER = 2 };

/* An end of a ring. */
typedef struct shmpipe_end shmpipe_end;

/* A flag that ends waits. Waits of ends that were opened with it fail with SHMPIPE_CANCELLED within about
 * ten milliseconds (up to 110 in a reader that got nothing for a second), and so does an opening call. */
typedef struct shmpipe_flag shmpipe_flag;

/* shmpipe_options.flags */
enum {
    SHMPIPE_PERSISTENT = 1 << 0,         /* the ring stays until shmpipe_remove() */
    SHMPIPE_RESUME = 1 << 1,             /* a producer continues the stream of a dead one */
    SHMPIPE_NO_WAIT = 1 << 2,            /* shmpipe_open does not wait for the peer */
    SHMPIPE_WAIT = 1 << 3,               /* shmpipe_open waits for it, even if the ring persists */
    SHMPIPE_CREATE_FILE = 1 << 4,        /* makes the file, if it is missing */
    SHMPIPE_PREFAULT = 1 << 5,           /* populates all pages of the ring now */
    SHMPIPE_ABORT_ON_FREE = 1 << 6,      /* shmpipe_free without shmpipe_close aborts */
    SHMPIPE_TRUST_OWNER = 1 << 7,        /* the user `owner` is trusted, too */
    SHMPIPE_REQUIRE_CONSUMER = 1 << 8,   /* persistent: writing fails without a consumer */
    SHMPIPE_NO_CONSUMER_NEEDED = 1 << 9  /* persistent: bytes queue without a consumer */
};

/* shmpipe_options.wait_policy */
enum {
    SHMPIPE_ADAPTIVE = 0,       /* spins for about the cost of a wake, then sleeps */
    SHMPIPE_PARK = 1,           /* sleeps at once: the least processor time */
    SHMPIPE_SPIN = 2,           /* never sleeps: the lowest latency */
    SHMPIPE_SPIN_THEN_PARK = 3  /* spins for spin_ns, then sleeps */
};

/* shmpipe_options.pace: how a consumer's reads trade latency for throughput */
enum { SHMPIPE_BALANCED = 0, SHMPIPE_LATENCY = 1, SHMPIPE_THROUGHPUT = 2 };

/* Options. Begin with SHMPIPE_OPTIONS_INIT, and set what differs. Zero is the default of each field
 * except size and timeout_ns. `size` lets a later version add fields. */
typedef struct shmpipe_options {
    size_t size;                  /* sizeof(shmpipe_options) */
    uint64_t capacity;            /* in bytes, rounded up to a power of two; 0: 4 MiB */
    int64_t timeout_ns;           /* of the opening call as a whole */
    uint32_t flags;
    uint32_t mode;                /* permission bits of the segment; 0: 0600 */
    uint32_t project;             /* 1 to 255: one path can name 255 rings; 0: 1 */
    uint32_t owner;               /* a user id, with SHMPIPE_TRUST_OWNER */
    uint32_t wait_policy;
    uint32_t pace;
    uint64_t spin_ns;             /* at most ten milliseconds count */
    uint64_t batch;               /* bytes that a producer holds back, to publish them together */
    const shmpipe_flag *cancel;   /* NULL: none */
} shmpipe_options;

#define SHMPIPE_OPTIONS_INIT \
    { sizeof(shmpipe_options), 0, -1, 0, 0, 0, 0, 0, 0, 0, 0, NULL }

/* Opening. `options` may be NULL. On success *end is a new end, to be freed by shmpipe_free(). After a
 * failure *end is NULL. */

/* Opens the ring that a path names, and waits for the peer, as open(2) of a FIFO does. Either side may
 * come first. The file must exist, unless SHMPIPE_CREATE_FILE is set; its contents do not matter. */
int shmpipe_open(const char *path, uint32_t role, const shmpipe_options *options, shmpipe_end **end);

/* Makes a ring without a name, and takes one role. The peer attaches it by shmpipe_id() and the nonce
 * of shmpipe_get_stats(), while this end lives. A forked child does the same. */
int shmpipe_create(uint32_t role, const shmpipe_options *options, shmpipe_end **end);

/* Takes a role of the ring with this id. A nonce other than 0 is compared, so that a later ring with the
 * same id is refused (SHMPIPE_REMOVED). */
int shmpipe_attach(int32_t id, uint64_t nonce, uint32_t role, const shmpipe_options *options,
                   shmpipe_end **end);

/* Makes a ring without a name, and takes both roles, for two threads. */
int shmpipe_pair(const shmpipe_options *options, shmpipe_end **producer, shmpipe_end **consumer);

/* Takes an end that the parent process gave to this process. NULL is the end without a name. The call
 * changes the environment variable: no other thread may change the environment meanwhile. */
int shmpipe_from_parent(const char *name, uint32_t role, const shmpipe_options *options,
                        shmpipe_end **end);

/* Gives the other end of each of these rings to a child that exec(2) starts. Writes the value of
 * SHMPIPE_VARIABLE for the child's environment, with a NUL, and returns its length. 128 bytes for each
 * end are enough. `names` may be NULL, and a name may be NULL or "". Call shmpipe_given_to() with each
 * end once the child runs, and before it can be reaped. Then a child that ended before it took its end is
 * noticed (SHMPIPE_NEVER_CAME). */
int64_t shmpipe_give(shmpipe_end *const ends[], const char *const names[], size_t count, char *value,
                     size_t size);
int shmpipe_given_to(shmpipe_end *end, int64_t child);

/* Moving bytes. */

/* Writes all bytes within the timeout. Returns how many were written. */
int64_t shmpipe_write(shmpipe_end *end, const void *bytes, size_t len, int64_t timeout_ns);

/* Reads what is there, up to len bytes, and waits for the first. Returns 0 at the end of the stream: the
 * producer has closed it, and all bytes have been read. */
int64_t shmpipe_read(shmpipe_end *end, void *bytes, size_t len, int64_t timeout_ns);

/* Reads until len bytes are there. Returns fewer at the end of the stream, or if the timeout passed or
 * the stream broke: the next call tells which. The timeout is that of the whole call. */
int64_t shmpipe_read_full(shmpipe_end *end, void *bytes, size_t len, int64_t timeout_ns);

/* Loans: writing and reading without a copy. A loan is one piece of memory. It ends with the next call that
 * moves bytes with this end, and its memory stays mapped until shmpipe_free(). */

/* Lends room for `least` to `most` bytes, and returns its length. shmpipe_commit() publishes the first
 * `len` bytes of it. Nothing is visible before. */
int64_t shmpipe_reserve(shmpipe_end *end, size_t least, size_t most, int64_t timeout_ns, void **room);
int64_t shmpipe_commit(shmpipe_end *end, size_t len);

/* Lends `least` to `most` bytes, and returns their number: fewer than `least` only before the end of the
 * stream, and 0 at the end. shmpipe_consume() takes the first `len` bytes out of the stream. */
int64_t shmpipe_peek(shmpipe_end *end, size_t least, size_t most, int64_t timeout_ns,
                     const void **bytes);
int64_t shmpipe_consume(shmpipe_end *end, size_t len);

/* Publishes what a batch holds back. */
int shmpipe_flush(shmpipe_end *end);

/* Leaving. */

/* Ends the stream in order: the consumer reads what is left, then the end. Waits only for a child that has
 * not taken its end yet. After SHMPIPE_NEVER_CAME, what was written is lost. A consumer's close makes the
 * producer's writes fail. Closing a closed end returns 0. */
int shmpipe_close(shmpipe_end *end, int64_t timeout_ns);

/* Breaks the stream off: the consumer reads what is left, then gets SHMPIPE_PRODUCER_ABORTED. */
int shmpipe_abort(shmpipe_end *end);

/* Frees the end, and detaches its memory. NULL is allowed. An end that was neither closed nor aborted is
 * closed, or aborted with SHMPIPE_ABORT_ON_FREE. A producer then waits for a child that has not taken its
 * end yet, for five seconds at most. shmpipe_close() before it sets another limit. */
void shmpipe_free(shmpipe_end *end);

/* Persistent rings: acknowledges the end of a stream that was read, and continues with the next. Returns 1,
 * or 0 if no other stream can follow. Does not wait: the next read does. */
int shmpipe_next_stream(shmpipe_end *end);

/* Removes a persistent ring that no process uses. */
int shmpipe_remove(const char *path, const shmpipe_options *options);

/* The peer. */

/* Waits until a peer has the other end, or, for a consumer, until there are bytes or an end. */
int shmpipe_wait_for_peer(shmpipe_end *end, int64_t timeout_ns);

/* shmpipe_occupant.state */
enum {
    SHMPIPE_NOBODY = 0,      /* nobody has come yet */
    SHMPIPE_PROCESS = 1,     /* the process lives, or nothing proves its death */
    SHMPIPE_DEAD = 2,
    SHMPIPE_LEFT = 3
};

typedef struct shmpipe_occupant {
    uint32_t state;
    uint32_t pid; /* 0: unknown */
} shmpipe_occupant;

/* Asks the kernel whether the peer lives. Returns SHMPIPE_PEER_DIED or another code if this end has no peer
 * any more, and 0 otherwise. Writes who it is to *peer, unless that is NULL. */
int shmpipe_peer(shmpipe_end *end, shmpipe_occupant *peer);

/* The id of the ring's segment, to be given to another process: see shmpipe_attach(). */
int32_t shmpipe_id(shmpipe_end *end);

typedef struct shmpipe_stats {
    size_t size;              /* bytes that the library knows */
    uint64_t capacity;        /* of the ring, in bytes */
    uint64_t position;        /* bytes moved since the ring was made */
    uint64_t stream_position; /* bytes moved of this stream */
    uint64_t stream_number;   /* streams before this one */
    uint64_t available;       /* bytes that can be read, or written, now */
    uint64_t waits;           /* calls that had to wait */
    uint64_t sleeps;          /* system calls to sleep */
    uint64_t wakes;           /* system calls to wake the peer */
    uint64_t nonce;           /* identifies the ring: for shmpipe_attach() */
    int32_t id;               /* of the segment; -1: none */
    uint32_t role;
    uint32_t is_closed;
    uint32_t is_at_end;       /* a call has returned the end of the stream */
} shmpipe_stats;

/* Fills *stats, up to size bytes. `size` is sizeof(shmpipe_stats). */
int shmpipe_get_stats(shmpipe_end *end, shmpipe_stats *stats, size_t size);

/* The descriptor for poll(2), epoll(7) and loops built on them, to be watched for input (POLLIN), even for
 * a producer. It is readable until a call with timeout 0 returns SHMPIPE_WOULD_BLOCK, and becomes readable
 * again when that call could do something, or would return an error. So: call until SHMPIPE_WOULD_BLOCK,
 * then poll. The descriptor belongs to the end, and shmpipe_free() closes it. Never read from it. The first
 * call starts a thread of this process, which ends a second after the last such end. */
int shmpipe_poll_fd(shmpipe_end *end);

/* Flags. shmpipe_flag_set() may be called by any thread, and by a signal handler. A flag may be freed while
 * ends still have it. */
shmpipe_flag *shmpipe_flag_new(void);
void shmpipe_flag_set(const shmpipe_flag *flag, int on);
void shmpipe_flag_free(shmpipe_flag *flag);

/* The last failure of this thread. A success does not clear it. The text stays valid until the next
 * shmpipe_last_error() of this thread, or its end. */
int shmpipe_last_code(void);
int shmpipe_last_errno(void);
const char *shmpipe_last_error(void);

/* The name of a code, such as "SHMPIPE_TIMED_OUT". */
const char *shmpipe_code_name(int code);

/* The version of the library. */
const char *shmpipe_version(void);

#ifdef __cplusplus
}
#endif

#endif
