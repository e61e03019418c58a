/* A peer of shmpipe, written from src/guide/format.md alone. For the conformance tests, not a product.
 *
 *   peer role=producer path=FILE bytes=N [key=value...]    one end of a ring: see `arguments`
 *   peer vectors                                           answers questions from the input
 *
 * Prints one line that begins with "peer:". C11, one mapping. Level "futex"; level=polls neither wakes
 * nor sleeps on a futex, and level=full has inline messages and asymmetric fences, too. With kind=memory
 * the file is mapped, and holds the ring. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* Every number of the format, by name. A mutant of the peer has another one. */
#define CONSTANTS                                                                                          \
    X(magic, 0x00657069706d6873) X(version, 2) X(byte_order, 0x01020304) X(line, 128)                      \
    X(anonymous, 1) X(named, 2) X(persistent, 3) X(memory, 4)                                              \
    X(at_version, 8) X(at_byte_order, 12) X(at_line, 16) X(at_kind, 20) X(at_capacity, 24)                 \
    X(at_ring_offset, 32) X(at_nonce, 40) X(at_device, 48) X(at_inode, 56) X(at_project, 64)               \
    X(at_flags, 68) X(at_required, 76) X(at_birth, 80) X(at_state, 128)                                    \
    X(consumer_hint, 652) X(consumer_places, 680)                                                          \
    X(first_mark, 1024) X(marks, 128) X(mark_size, 16) X(mark_ending, 8) X(at_path, 3072)                  \
    X(path_size, 1024) X(ring, 4096) X(smallest, 4096) X(usual, 4194304) X(mode, 0x180)                    \
    X(unborn, 0) X(open, 1) X(paired, 2) X(replaced, 3) X(removed, 4) X(life_bits, 0xff)                   \
    X(free, 0) X(held, 1) X(left, 2) X(lost, 3) X(tenure_bits, 0xf)                                        \
    X(first_generation, 1) X(generation_bits, 0xffff)                                                      \
    X(owner_generation, 0) X(owner_start, 2) X(owner_namespace, 24) X(owner_pid, 42)                       \
    X(owner_generation_bits, 3) X(start_bits, 0x3fffff) X(namespace_bits, 0x3ffff) X(start_field, 22)      \
    X(finished, 1) X(aborted, 2) X(died, 3) X(how_bits, 0xff) X(claim_shift, 8) X(died_pid, 8)             \
    X(died_end, 40) X(explicit, 1) X(unwaited, 2) X(views, 1) X(wakes, 1)                                  \
    X(awake, 0) X(asleep, 1) X(promised, 2) X(barrier, 2) X(futex_wait, 0) X(futex_wake, 1)                \
    X(any_news, 0xffffffffffffffff) X(places_wanted, 1) X(reserved, 2)                                     \
    X(inline_end, 264) X(inline_start, 272) X(inline_bytes, 280) X(inline_most, 104) X(hint_inline, 1)     \
    X(knows_inline, 2) X(hears, 4) X(register_barriers, 4) X(no_views, 0)                                  \
    X(key_project, 24) X(key_device, 16) X(key_device_bits, 0xff) X(key_inode_bits, 0xffff)
/* The same for the producer and the consumer: offsets, and shifts in the life-cycle word. */
#define WORDS                                                                                       \
    X(owner, 136, 176) X(complete, 144, 184) X(start, 152, 192) X(pid_namespace, 160, 200)          \
    X(time_namespace, 164, 204) X(views, 168, 208) X(capabilities, 172, 212) X(position, 256, 512)  \
    X(closed, 384, 640) X(sleeping, 392, 648) X(wanted, 400, 656) X(claims, 408, 664)               \
    X(count, 416, 672) X(tenure, 8, 12) X(generation, 16, 32)

#define X(name, value) static uint64_t F_##name = value;
CONSTANTS
#undef X
#define X(name, producer, consumer) static uint64_t W_##name[2] = {producer, consumer};
WORDS
#undef X

static struct { const char *name; uint64_t *value; } constants[] = {
#define X(name, value) {#name, &F_##name},
    CONSTANTS
#undef X
#define X(name, producer, consumer) {"producer_" #name, &W_##name[0]}, {"consumer_" #name, &W_##name[1]},
    WORDS
#undef X
};

enum { PRODUCER, CONSUMER };
enum claim { CLAIMED, TAKEN, GONE, NO_PLACE };
enum ending { NOT_YET, FINISHED, ABORTED, DIED, CORRUPT };
static const char *endings[] = {"open", "finished", "aborted", "died", "corrupt"};
static const double SLICE = 0.01;

static struct { const char *name, *value; } arguments[] = {
    {"role", ""}, {"path", ""}, {"id", ""}, {"kind", "named"}, {"capacity", "0"}, {"bytes", "0"}, {"block", "65536"},
    {"end", "finish"}, {"streams", "1"}, {"wait", "1"}, {"timeout", "60"}, {"level", "futex"}, {"mutant", ""},
    {"resume", "0"}, {"project", "1"}, {"start", "0"},
};

static const char *argument(const char *name) {
    for (size_t i = 0; i < sizeof arguments / sizeof *arguments; i++)
        if (strcmp(arguments[i].name, name) == 0) return arguments[i].value;
    abort();
}

static uint64_t number(const char *name) { return strtoull(argument(name), NULL, 0); }
static bool is(const char *name, const char *value) { return strcmp(argument(name), value) == 0; }

static _Noreturn void fail(const char *why) {
    printf("peer: error=%s\n", why);
    fflush(stdout);
    exit(1);
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static void nap(void) { nanosleep(&(struct timespec){0, 1000000}, NULL); }

static double deadline;
static void check_deadline(const char *what) {
    if (now() >= deadline) fail(what);
}

/* The file that leads to a ring. */
static struct { int fd; key_t key; uint64_t kind; struct stat file; double newborn_since; } opener;

/* One mapping of a segment, and one end of it. */
static struct {
    int id, role, peer;
    uint64_t kind, capacity, size;
    char *base;
    struct shmid_ds stat;
    bool futex, full, hears, knows;
    uint64_t checked, unusable; /* the claim whose record was checked, and the tail at the check */
    uint64_t generation, owner, number, position, known, before, limit, acknowledged;
    enum ending ending;
    double asked;
} r;

static _Atomic uint64_t *w8(uint64_t offset) { return (_Atomic uint64_t *)(r.base + offset); }
static _Atomic uint32_t *w4(uint64_t offset) { return (_Atomic uint32_t *)(r.base + offset); }
static uint64_t load8(uint64_t at, memory_order order) { return atomic_load_explicit(w8(at), order); }
static uint64_t get8(uint64_t at) { return load8(at, memory_order_relaxed); }
static uint32_t get4(uint64_t at) { return atomic_load_explicit(w4(at), memory_order_relaxed); }
static void store8(uint64_t at, uint64_t value, memory_order order) { atomic_store_explicit(w8(at), value, order); }
static void set8(uint64_t at, uint64_t value) { store8(at, value, memory_order_relaxed); }
static void set4(uint64_t at, uint32_t value) { atomic_store_explicit(w4(at), value, memory_order_relaxed); }
static bool swap8(uint64_t at, uint64_t old, uint64_t new, memory_order order) {
    return atomic_compare_exchange_strong_explicit(w8(at), &old, new, order, memory_order_relaxed);
}
static void futex(uint64_t at, int operation, uint32_t value, double seconds) {
    struct timespec limit = {0, (long)(seconds * 1e9)};
    syscall(SYS_futex, r.base + at, operation, value, seconds > 0 ? &limit : NULL, NULL, 0);
}
static void membarrier(void) { syscall(SYS_membarrier, F_barrier, 0, 0); }
static void remove_segment(void) { shmctl(r.id, IPC_RMID, NULL); }
static bool lasts(uint64_t kind) { return kind == F_persistent || kind == F_memory; }
static uint64_t views(void) { return r.kind == F_memory ? F_no_views : F_views; }
static uint64_t attached(void) {
    struct shmid_ds stat;
    if (r.kind == F_memory) return UINT64_MAX; /* nobody counts, so the count proves nothing */
    return shmctl(r.id, IPC_STAT, &stat) == 0 ? stat.shm_nattch : UINT64_MAX;
}

/* Processes. */

static uint32_t namespace(const char *kind) {
    char path[64], link[64] = "";
    snprintf(path, sizeof path, "/proc/thread-self/ns/%s", kind);
    if (readlink(path, link, sizeof link - 1) < 0) return 0;
    char *digits = strchr(link, '[');
    return digits ? strtoul(digits + 1, NULL, 10) : 0;
}

static size_t slurp(const char *path, char *text, size_t size) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t len = fd < 0 ? -1 : read(fd, text, size - 1);
    if (fd >= 0) close(fd);
    text[len > 0 ? len : 0] = 0;
    return len > 0 ? len : 0;
}

static uint64_t start_of(uint32_t pid) {
    char path[64], text[4096];
    slurp("/proc/thread-self/status", text, sizeof text);
    char *ids = strstr(text, "\nNSpid:");
    if (!ids || strtoul(ids + 7, &ids, 10) == 0 || *ids != '\n') return 0;
    snprintf(path, sizeof path, "/proc/%u/task/%u/stat", pid, pid);
    slurp(path, text, sizeof text);
    char *field = strrchr(text, ')');
    for (int i = 2; field && i < (int)F_start_field; i++) field = strchr(field + 1, ' ');
    return field ? strtoull(field, NULL, 10) : 0;
}

static uint64_t owner_word(uint64_t pid, uint64_t space, uint64_t start, uint64_t generation) {
    return pid << F_owner_pid | (space & F_namespace_bits) << F_owner_namespace | (start & F_start_bits) << F_owner_start |
           (generation & F_owner_generation_bits) << F_owner_generation;
}

static bool is_gone(uint32_t pid, uint32_t space, uint64_t start, uint32_t time_space, uint32_t low) {
    if (pid == 0 || space == 0 || space != namespace("pid")) return false;
    int fd = syscall(SYS_pidfd_open, pid, 0);
    if (fd < 0) return errno == ESRCH;
    uint64_t found = start_of(pid);
    bool comparable = found && time_space && time_space == namespace("time");
    struct pollfd one = {fd, POLLIN, 0};
    bool gone = comparable && ((start && start != found) || (low && low != (found & F_start_bits)));
    gone = gone || poll(&one, 1, 0) == 1;
    close(fd);
    return gone;
}

struct holder { uint64_t owner; uint32_t views; bool gone; };

static struct holder holder(int role) {
    struct holder h = {get8(W_owner[role]), 1, false};
    uint64_t complete = get8(W_complete[role]);
    atomic_thread_fence(memory_order_acquire);
    uint64_t start = get8(W_start[role]);
    uint32_t space = get4(W_pid_namespace[role]), time_space = get4(W_time_namespace[role]), low = 0;
    uint32_t views = get4(W_views[role]);
    atomic_thread_fence(memory_order_acquire);
    if (complete == h.owner && get8(W_owner[role]) == h.owner) {
        h.views = views < 2 ? views : 2;
    } else { /* only the owner word counts */
        uint32_t own = namespace("pid");
        space = own && (own & F_namespace_bits) == (h.owner >> F_owner_namespace & F_namespace_bits) ? own : 0;
        start = 0, low = h.owner >> F_owner_start & F_start_bits, time_space = namespace("time");
    }
    h.gone = is_gone(h.owner >> F_owner_pid, space, start, time_space, low);
    return h;
}

/* The life-cycle word. */

static uint64_t life(uint64_t word) { return word & F_life_bits; }
static uint64_t with_life(uint64_t word, uint64_t value) { return (word & ~F_life_bits) | value; }
static uint64_t tenure(uint64_t word, int role) { return word >> W_tenure[role] & F_tenure_bits; }
static uint64_t with_tenure(uint64_t word, int role, uint64_t value) {
    return (word & ~(F_tenure_bits << W_tenure[role])) | value << W_tenure[role];
}
static uint64_t generation(uint64_t word, int role) { return word >> W_generation[role] & F_generation_bits; }
static uint64_t next_generation(uint64_t word, int role) {
    uint64_t next = (generation(word, role) + 1) & F_generation_bits;
    return next ? next : F_first_generation;
}

static enum claim claimed(uint64_t word, int role, uint64_t kind, bool dead, uint64_t *after) {
    if (life(word) != F_open && life(word) != F_paired) return GONE;
    uint64_t was = tenure(word, role);
    if (was != F_free && was != F_lost && !(was == F_held && dead && lasts(kind))) return TAKEN;
    *after = (with_tenure(word, role, F_held) & ~(F_generation_bits << W_generation[role])) |
             next_generation(word, role) << W_generation[role];
    if (!lasts(kind) && generation(word, 1 - role)) *after = with_life(*after, F_paired);
    return CLAIMED;
}

static uint64_t left(uint64_t word, int role, uint64_t kind) {
    if (lasts(kind)) return with_tenure(word, role, F_free);
    uint64_t after = with_tenure(word, role, F_left);
    return kind == F_named && life(word) == F_open ? with_life(after, F_removed) : after;
}

static uint64_t state(void) { return load8(F_at_state, memory_order_acquire); }
static bool change(uint64_t before, uint64_t after) { return swap8(F_at_state, before, after, memory_order_acq_rel); }

/* Swaps life to `value`, unless it is `never`, or not `only`. */
static bool change_life(uint64_t value, uint64_t never, uint64_t only) {
    for (;;) {
        uint64_t word = state();
        if (life(word) == never || (only != UINT64_MAX && life(word) != only)) return false;
        if (change(word, with_life(word, value))) return true;
    }
}

static enum ending how_closed(uint64_t word) {
    if (word == 0) return NOT_YET;
    if (word >> F_claim_shift == 0) return CORRUPT;
    return (word & F_how_bits) == F_finished ? FINISHED : (word & F_how_bits) == F_aborted ? ABORTED : CORRUPT;
}

static enum ending how_ended(uint64_t word) {
    if (word == F_finished) return FINISHED;
    if (word == F_aborted) return ABORTED;
    return (word & F_how_bits) == F_died && word >> F_died_end == 0 ? DIED : CORRUPT;
}

/* Sleeping and waking. */

/* Says that a barrier comes before the next sleep, so that the peer needs no fence until then. */
static void promise(void) {
    uint32_t awake = F_awake;
    if (r.hears)
        atomic_compare_exchange_strong_explicit(w4(W_sleeping[r.role]), &awake, F_promised, memory_order_relaxed,
                                                memory_order_relaxed);
}

static void wake(bool always, uint64_t position) {
    if (!r.futex) return;
    if (r.hears && !always) {
        atomic_signal_fence(memory_order_seq_cst);
        if (get4(W_sleeping[r.peer]) == F_promised) return; /* awake, and its barrier is our fence */
    }
    atomic_thread_fence(memory_order_seq_cst);
    if (get4(W_sleeping[r.peer]) != F_asleep) return;
    if (!always && (int64_t)(position - get8(W_wanted[r.peer])) < 0) return;
    uint32_t asleep = F_asleep;
    if (atomic_compare_exchange_strong_explicit(w4(W_sleeping[r.peer]), &asleep, F_awake, memory_order_relaxed,
                                                memory_order_relaxed))
        futex(W_sleeping[r.peer], F_futex_wake, INT32_MAX, 0);
}

/* Waits until `ready` says so. Calls `ask` in each slice, which says whether there is a reason to give up. */
static bool sleep_until(bool (*ready)(void), uint64_t wanted, bool (*ask)(void)) {
    wake(true, 0);
    while (!ready()) {
        if (now() - r.asked >= SLICE) {
            r.asked = now();
            bool over = ask();
            if (ready()) return true; /* what was published counts first */
            if (over) return false;
            check_deadline("timed out: nothing comes");
        }
        if (!r.futex) {
            nap();
            continue;
        }
        set8(W_wanted[r.role], wanted);
        if (atomic_exchange_explicit(w4(W_sleeping[r.role]), F_asleep, memory_order_relaxed) == F_promised)
            membarrier();
        atomic_thread_fence(memory_order_seq_cst);
        if (!ready()) futex(W_sleeping[r.role], F_futex_wait, F_asleep, SLICE);
        atomic_exchange_explicit(w4(W_sleeping[r.role]), F_awake, memory_order_relaxed);
        promise();
    }
    return true;
}

/* Whether the peer is dead. */
static bool peer_died(void) {
    uint64_t word = state(), own = tenure(word, r.role);
    if (get8(W_owner[r.role]) != r.owner || own != F_held || generation(word, r.role) != r.generation)
        fail("OwnRole");
    struct holder h = holder(r.peer);
    uint64_t is = tenure(word, r.peer);
    if (is > F_lost) fail("StateWord");
    bool dead = false;
    if (is == F_held || (h.owner && is != F_left)) dead = h.gone || attached() < views() + h.views;
    dead = dead || is == F_lost; /* of an anonymous ring, somebody has the id: nothing proves that nobody comes */
    if (state() != word || get8(W_owner[r.peer]) != h.owner) return false;
    if (lasts(r.kind) && dead) {
        if (is == F_held) change(word, with_tenure(word, r.peer, F_lost));
        if (h.owner && (is != F_held || (h.owner & F_owner_generation_bits) == (generation(word, r.peer) & F_owner_generation_bits)))
            swap8(W_owner[r.peer], h.owner, 0, memory_order_release);
        if (is == F_free) return false;
    }
    return dead;
}

/* Taking and leaving a role. */

static uint64_t place(uint64_t n) { return F_first_mark + F_mark_size * (n % F_marks); }

static void leave_mark(uint64_t n, uint64_t position, uint64_t ending) {
    set8(place(n), position);
    set8(place(n) + F_mark_ending, ending);
    store8(W_count[PRODUCER], n + 1, memory_order_release);
}

static uint64_t unread_marks(uint64_t acknowledged) {
    uint64_t unread = load8(W_count[PRODUCER], memory_order_acquire) - acknowledged;
    if (unread > F_marks - 1) fail("MarkCount");
    return unread;
}

static bool settle(uint64_t found) {
    if (unread_marks(load8(W_count[CONSUMER], memory_order_acquire)) + F_reserved > F_marks - 1) {
        for (uint64_t word = state(); found && tenure(word, PRODUCER) == F_held; word = state())
            if (change(word, with_tenure(word, PRODUCER, F_lost))) break;
        swap8(W_owner[PRODUCER], r.owner, 0, memory_order_release);
        return false;
    }
    uint64_t count = get8(W_count[PRODUCER]), tail = get8(W_position[PRODUCER]);
    if (!number("resume") && tail != get8(place(count - 1)))
        leave_mark(count, tail, get8(W_complete[PRODUCER]) >> F_owner_pid << F_died_pid | F_died);
    return true;
}

static enum claim try_claim(void) {
    int me = r.role;
    uint64_t word = state(), found = get8(W_owner[me]), after; /* step 1 */
    bool dead = found && (holder(me).gone || attached() <= views());
    enum claim result = claimed(word, me, r.kind, dead, &after);
    if (result != CLAIMED) return result;
    if (found && !dead) return TAKEN;
    r.generation = next_generation(word, me);
    uint64_t start = start_of(getpid());
    uint32_t space = namespace("pid");
    r.owner = owner_word(getpid(), space, start, r.generation);
    if (!swap8(W_owner[me], found, r.owner, memory_order_acquire)) return TAKEN; /* step 2 */
    if (next_generation(state(), me) != r.generation) {                          /* step 3 */
        swap8(W_owner[me], r.owner, found, memory_order_release);
        return TAKEN;
    }
    if (me == PRODUCER && lasts(r.kind) && !settle(found)) return NO_PLACE;         /* step 4 */
    r.number = get8(W_claims[me]) + 1;                                               /* step 5 */
    store8(W_claims[me], r.number, memory_order_release);
    atomic_thread_fence(memory_order_release);
    set8(W_start[me], start); /* step 6 */
    set4(W_pid_namespace[me], space);
    set4(W_time_namespace[me], namespace("time"));
    set4(W_views[me], views());
    set4(W_capabilities[me], (r.futex ? F_wakes : 0) | (r.full ? F_knows_inline : 0) | (r.hears ? F_hears : 0));
    store8(W_complete[me], r.owner, memory_order_release);
    set8(W_closed[me], 0); /* step 7 */
    if (atomic_exchange_explicit(w4(W_sleeping[me]), F_awake, memory_order_relaxed) == F_promised) membarrier();
    if (me == CONSUMER) set4(F_consumer_hint, 0);
    do { /* step 8 */
        word = state();
        result = claimed(word, me, r.kind, dead, &after);
        if (result != CLAIMED) {
            swap8(W_owner[me], r.owner, 0, memory_order_release);
            return result;
        }
    } while (!change(word, after));
    r.position = load8(W_position[me], memory_order_acquire); /* step 9 */
    r.known = load8(W_position[r.peer], memory_order_acquire);
    if ((me == PRODUCER ? r.position - r.known : r.known - r.position) > r.capacity) fail("out of range");
    r.before = lasts(r.kind) ? get8(W_closed[r.peer]) : 0;
    r.acknowledged = get8(W_count[CONSUMER]);
    r.limit = r.position;
    r.knows = false;
    if (r.full && me == PRODUCER) set8(F_inline_end, r.position ^ 1ull << 63); /* step 10 */
    if (r.full && me == CONSUMER) set4(F_consumer_hint, F_hint_inline);
    promise();
    if (r.kind == F_named && life(after) == F_paired) remove_segment(); /* step 11 */
    wake(true, 0);                                                      /* step 12 */
    return CLAIMED;
}

static void await_place(void) {
    check_deadline("timed out: no place for another end");
    uint32_t before = atomic_fetch_or_explicit(w4(F_consumer_places), F_places_wanted, memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst);
    if (unread_marks(load8(W_count[CONSUMER], memory_order_acquire)) + F_reserved > F_marks - 1)
        futex(F_consumer_places, F_futex_wait, before | F_places_wanted, SLICE);
}

/* False: start over. */
static bool claim(void) {
    for (double until = now() + 0.1;;) {
        enum claim result = try_claim();
        if (result == CLAIMED) return true;
        if (result == GONE) return false;
        if (result == NO_PLACE) { /* the lock of the file is not held meanwhile */
            if (r.kind != F_memory) flock(opener.fd, LOCK_UN);
            await_place();
            return false;
        }
        uint64_t is = tenure(state(), r.role);
        if ((is != F_free && is != F_lost) || now() >= until) fail("the role is taken");
        nap();
    }
}

static void acknowledge(void) {
    r.ending = NOT_YET;
    store8(W_count[CONSUMER], ++r.acknowledged, memory_order_release);
    atomic_thread_fence(memory_order_seq_cst);
    if (get4(F_consumer_places) & F_places_wanted) {
        atomic_fetch_add_explicit(w4(F_consumer_places), 1, memory_order_relaxed);
        futex(F_consumer_places, F_futex_wake, INT32_MAX, 0);
    }
}

static void leave(uint64_t how) {
    if (get8(W_owner[r.role]) == r.owner) {
        store8(W_closed[r.role], r.number << F_claim_shift | how, memory_order_release);
        if (lasts(r.kind) && r.role == PRODUCER) leave_mark(get8(W_count[PRODUCER]), r.position, how);
        else if (lasts(r.kind) && how == F_finished && r.ending && r.limit == r.position) acknowledge();
        for (uint64_t word = state(); tenure(word, r.role) == F_held && generation(word, r.role) == r.generation;
             word = state())
            if (change(word, left(word, r.role, r.kind))) break;
        if (lasts(r.kind)) swap8(W_owner[r.role], r.owner, 0, memory_order_release);
        wake(true, 0);
        if (r.kind == F_named) remove_segment();
    }
    shmdt(r.base);
}

/* The stream. */

static uint64_t room(void) {
    uint64_t head = load8(W_position[CONSUMER], memory_order_acquire), used = r.position - head;
    if (used > r.capacity) fail("HeadOutOfRange");
    if (used > r.position - r.known) fail("HeadMovedBack");
    r.known = head;
    return r.capacity - used;
}

static bool consumer_left(void) {
    uint64_t closed = load8(W_closed[CONSUMER], memory_order_acquire);
    if (closed == 0 || closed == r.before) return false;
    if (how_closed(closed) == CORRUPT) fail("ClosedWord");
    return !lasts(r.kind);
}

static bool can_write(void) { return consumer_left() || room(); }

/* Puts the next n bytes beside the tail, too. */
static void put_inline(const char *bytes, uint64_t n) {
    set8(F_inline_end, (r.position + n) ^ 1ull << 63);
    atomic_thread_fence(memory_order_release);
    set8(F_inline_start, r.position);
    for (uint64_t at = 0; at < n; at += 8) {
        uint64_t word = 0;
        memcpy(&word, bytes + at, n - at < 8 ? n - at : 8);
        set8(F_inline_bytes + at, word);
    }
    set8(F_inline_end, r.position + n);
}

static void write_all(const char *bytes, uint64_t len) {
    while (len) {
        uint64_t want = len < r.capacity / 4 ? len : r.capacity / 4;
        if (!can_write() && !sleep_until(can_write, r.position + want - r.capacity, peer_died)) fail("died");
        if (consumer_left()) fail("closed");
        uint64_t n = room(), index = r.position & (r.capacity - 1);
        if (n > len) n = len;
        uint64_t first = n < r.capacity - index ? n : r.capacity - index;
        memcpy(r.base + F_ring + index, bytes, first);
        memcpy(r.base + F_ring, bytes + first, n - first);
        if (r.full && n <= F_inline_most && get4(F_consumer_hint) == F_hint_inline) put_inline(bytes, n);
        store8(W_position[PRODUCER], r.position += n, memory_order_release);
        wake(false, r.position);
        bytes += n, len -= n;
    }
}

/* Checks what the producer knows, unless this claim of it was found to know inline messages. */
static bool check_producer(void) {
    uint64_t claims = get8(W_claims[PRODUCER]);
    if (r.knows && r.checked == claims) return false;
    uint64_t owner = get8(W_owner[PRODUCER]), complete = load8(W_complete[PRODUCER], memory_order_acquire);
    uint32_t can = get4(W_capabilities[PRODUCER]);
    atomic_thread_fence(memory_order_acquire);
    r.checked = claims;
    r.knows = owner && owner == complete && get8(W_owner[PRODUCER]) == owner && (can & F_knows_inline) &&
              get8(W_claims[PRODUCER]) == claims;
    return true;
}

/* Copies n bytes, all that are left, from beside the tail. False: only the ring has them. */
static bool get_inline(char *bytes, uint64_t n) {
    if (!r.full || !r.knows || r.known == r.unusable || n != r.known - r.position || n > F_inline_most) return false;
    if (get8(F_inline_end) != r.known || get8(F_inline_start) != r.position) return false;
    for (uint64_t at = 0; at < n; at += 8) {
        uint64_t word = get8(F_inline_bytes + at);
        memcpy(bytes + at, &word, n - at < 8 ? n - at : 8);
    }
    atomic_thread_fence(memory_order_acquire);
    return get8(F_inline_end) == r.known;
}

static uint64_t look(void) {
    uint64_t tail = load8(W_position[PRODUCER], memory_order_acquire);
    if (r.full && check_producer()) r.unusable = tail = load8(W_position[PRODUCER], memory_order_acquire);
    uint64_t readable = tail - r.position;
    if (readable > r.capacity) fail("TailOutOfRange");
    if (readable < r.known - r.position) fail("TailMovedBack");
    r.limit = r.known = tail;
    return readable;
}

/* Whether there are bytes up to r.limit, or the end. */
static bool can_read(void) {
    if (r.limit != r.position || r.ending) return true;
    uint64_t readable = look();
    if (lasts(r.kind)) {
        if (unread_marks(r.acknowledged) == 0) return readable;
        readable = look();
        uint64_t at = place(r.acknowledged), position = get8(at);
        if (position - r.position > readable) fail("MarkOutOfRange");
        r.limit = position;
        r.ending = how_ended(get8(at + F_mark_ending));
        if (r.ending == CORRUPT) fail("MarkEnding");
        return true;
    }
    if (readable) return true;
    enum ending how = how_closed(load8(W_closed[PRODUCER], memory_order_acquire));
    if (how == CORRUPT) fail("ClosedWord");
    if (how) {
        look();
        r.ending = how;
    }
    return how;
}

/* Some bytes; 0 at the end of the stream; -1 if the producer died. */
static int64_t read_some(char *bytes, uint64_t most) {
    if (!can_read() && !sleep_until(can_read, r.position + 1, peer_died)) return -1;
    uint64_t n = r.limit - r.position, index = r.position & (r.capacity - 1);
    if (n > most) n = most;
    uint64_t first = n < r.capacity - index ? n : r.capacity - index;
    if (!get_inline(bytes, n)) {
        memcpy(bytes, r.base + F_ring + index, first);
        memcpy(bytes + first, r.base + F_ring, n - first);
    }
    if (n) {
        store8(W_position[CONSUMER], r.position += n, memory_order_release);
        wake(false, r.position);
    }
    return n;
}

/* Finding a ring. */

static const char *untrusted(void) {
    const struct ipc_perm *perm = &r.stat.shm_perm;
    if (perm->uid != geteuid() || perm->cuid != geteuid() || (perm->mode & 0777 & ~F_mode)) return "untrusted";
    uint64_t size = r.size - F_ring;
    return r.size < F_ring + F_smallest || (size & (size - 1)) ? "not a ring: no magic" : NULL;
}

static const char *refusal(bool in_memory) {
    if (get8(0) != F_magic) return "not a ring: no magic";
    if (get4(F_at_byte_order) != F_byte_order) return "not a ring: byte order";
    if (get4(F_at_version) != F_version) return "not a ring: version";
    if (get4(F_at_line) != F_line) return "not a ring: line";
    if (get4(F_at_required)) return "not a ring: unknown features";
    uint64_t kind = get4(F_at_kind), capacity = get8(F_at_capacity);
    bool known = in_memory ? kind == F_memory : kind == F_anonymous || kind == F_named || kind == F_persistent;
    if (!known) return "not a ring: life cycle";
    if (get8(F_at_ring_offset) != F_ring || capacity == 0 || (capacity & (capacity - 1)) || capacity > r.size - F_ring ||
        (!in_memory && (capacity < F_smallest || F_ring + capacity != r.size)))
        return "not a ring: size";
    return NULL;
}

static bool is_zero(uint64_t from, uint64_t end) {
    while (from < end && r.base[from] == 0) from++;
    return from >= end;
}

static void detach(void) { shmdt(r.base); }

static bool attach(int id) {
    r.id = id;
    r.base = shmat(id, NULL, 0);
    if (r.base == (char *)-1) return false;
    if (shmctl(id, IPC_STAT, &r.stat) != 0) {
        detach();
        return false;
    }
    r.size = r.stat.shm_segsz;
    return true;
}

static void fill(uint64_t kind, uint64_t capacity, uint64_t flags, const char *path) {
    set8(0, F_magic);
    atomic_thread_fence(memory_order_release);
    set4(F_at_version, F_version), set4(F_at_byte_order, F_byte_order), set4(F_at_line, F_line);
    set4(F_at_kind, kind), set8(F_at_capacity, capacity), set8(F_at_ring_offset, F_ring);
    uint64_t nonce = 0;
    if (syscall(SYS_getrandom, &nonce, sizeof nonce, 0) != sizeof nonce) fail("getrandom");
    set8(F_at_nonce, nonce), set4(F_at_flags, flags);
    if (kind == F_named || kind == F_persistent) {
        set8(F_at_device, opener.file.st_dev), set8(F_at_inode, opener.file.st_ino);
        set4(F_at_project, number("project"));
        size_t len = strlen(path);
        memcpy(r.base + F_at_path, path, len < F_path_size ? len : F_path_size);
    }
    store8(F_at_state, F_open, memory_order_release);
}

/* From here on: true, or false to start over. */

static bool take(uint64_t kind) {
    r.kind = kind, r.capacity = get8(F_at_capacity);
    if (claim()) return true;
    detach();
    return false;
}

static bool create(void) {
    uint64_t capacity = number("capacity"), flags = capacity ? F_explicit : 0;
    if (opener.kind == F_named && is("wait", "0")) flags |= F_unwaited;
    if (!capacity) capacity = F_usual;
    int id = shmget(opener.key, F_ring + capacity, IPC_CREAT | IPC_EXCL | F_mode);
    if (id < 0 && errno == EEXIST) return false;
    if (id < 0) fail(strerror(errno));
    if (!attach(id)) return false;
    fill(opener.kind, capacity, flags, argument("path"));
    return take(opener.kind);
}

static bool join_live(uint64_t kind) {
    uint64_t capacity = get8(F_at_capacity), asked = number("capacity");
    if ((kind == F_persistent) != (opener.kind == F_persistent)) fail("life cycle mismatch");
    if (!asked || asked == capacity) return take(kind);
    if (kind == F_persistent || get4(F_at_flags) || !change_life(F_replaced, F_paired, F_open))
        fail("capacity mismatch");
    for (r.peer = PRODUCER; r.peer <= CONSUMER; r.peer++) wake(true, 0);
    r.peer = 1 - r.role;
    remove_segment();
    detach();
    return false;
}

static bool judge(void) {
    if (r.stat.shm_perm.__key != opener.key || (r.stat.shm_perm.mode & SHM_DEST)) {
        detach();
        return create();
    }
    if (untrusted()) fail(untrusted());
    uint64_t word = state();
    bool alone = attached() == F_views, magic = get8(0) == F_magic;
    uint32_t version = get4(F_at_version);
    if (life(word) == F_unborn && (is_zero(0, F_at_state) || (magic && (version == 0 || version == F_version)))) {
        if (alone && is_gone(r.stat.shm_cpid, namespace("pid"), 0, 0, 0)) {
            if (!is_zero(F_at_state, magic ? F_at_path : r.size)) fail("not a ring: no magic");
            remove_segment();
        } else if (opener.newborn_since == 0) opener.newborn_since = now();
        else if (now() - opener.newborn_since > 1) fail("half made");
        detach();
        return false;
    }
    if (refusal(false)) fail(refusal(false));
    if (get8(F_at_device) != opener.file.st_dev || get8(F_at_inode) != opener.file.st_ino ||
        get4(F_at_project) != number("project"))
        fail("collision");
    uint64_t kind = get4(F_at_kind);
    if (kind == F_anonymous || life(word) > F_removed || life(word) == F_unborn) fail("not a ring: state");
    bool spent = life(word) == F_removed || (kind == F_named && life(word) != F_open), orphan = false;
    if (!spent && life(word) == F_replaced) fail("not a ring: state");
    if (!spent && kind == F_named) {
        bool any = false, all = true;
        for (int role = PRODUCER; role <= CONSUMER; role++)
            if (tenure(word, role) == F_held) any = true, all = all && holder(role).gone;
        orphan = alone || (any && all);
    }
    if (spent || orphan) {
        if (spent || change(word, with_life(word, F_removed))) remove_segment();
        detach();
        return false;
    }
    return join_live(kind);
}

static bool is_settled(void) { return life(state()) != F_open; }

static bool went(void) {
    struct stat at;
    bool same = stat(argument("path"), &at) == 0 && at.st_dev == opener.file.st_dev && at.st_ino == opener.file.st_ino;
    struct shmid_ds seg;
    if (now() >= deadline || !same || shmctl(r.id, IPC_STAT, &seg) != 0 || (seg.shm_perm.mode & SHM_DEST)) return true;
    return false;
}

static bool await_peer(void) {
    if (!sleep_until(is_settled, F_any_news, went) && change_life(F_removed, F_paired, UINT64_MAX)) {
        remove_segment();
        check_deadline("timed out: nobody came");
        detach();
        return false;
    }
    remove_segment();
    if (life(state()) == F_paired) return true;
    detach();
    return false;
}

static key_t key_of(uint64_t project, uint64_t device, uint64_t inode) {
    return project << F_key_project | (device & F_key_device_bits) << F_key_device | (inode & F_key_inode_bits);
}

static void open_path(void) {
    opener.kind = is("kind", "persistent") ? F_persistent : F_named;
    opener.fd = open(argument("path"), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (opener.fd < 0 || fstat(opener.fd, &opener.file) != 0) fail(strerror(errno));
    opener.key = key_of(number("project"), opener.file.st_dev, opener.file.st_ino);
    for (;; check_deadline("timed out: each try met a ring that was being made or removed"), nap()) {
        while (flock(opener.fd, LOCK_EX | LOCK_NB) != 0) check_deadline("timed out: the lock of the file"), nap();
        int id = shmget(opener.key, 0, 0);
        bool opened = id >= 0 ? (attach(id) ? judge() : (errno == EINVAL || errno == EIDRM) && create()) : create();
        flock(opener.fd, LOCK_UN);
        if (opened && (opener.kind == F_persistent || is("wait", "0") || await_peer())) return;
    }
}

static void open_id(int id) {
    if (!attach(id)) fail("gone");
    if (untrusted()) fail(untrusted());
    if (refusal(false)) fail(refusal(false));
    if (!take(get4(F_at_kind))) fail("gone");
}

static void make_anonymous(void) {
    uint64_t capacity = number("capacity") ? number("capacity") : 65536;
    int id = shmget(IPC_PRIVATE, F_ring + capacity, IPC_CREAT | F_mode);
    if (id < 0 || !attach(id)) fail(strerror(errno));
    remove_segment();
    fill(F_anonymous, capacity, 0, "");
    printf("made: %d %016llx\n", id, (unsigned long long)get8(F_at_nonce));
    fflush(stdout);
    if (!take(F_anonymous)) fail("gone");
}

/* A ring in a file that is mapped. With a capacity, makes the ring anew. */
static void open_memory(void) {
    int fd = open(argument("path"), O_RDWR | O_CLOEXEC);
    struct stat file;
    if (fd < 0 || fstat(fd, &file) != 0) fail(strerror(errno));
    r.size = file.st_size, r.kind = F_memory, r.capacity = number("capacity");
    r.base = mmap(NULL, r.size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (r.base == MAP_FAILED) fail(strerror(errno));
    if (r.capacity) {
        store8(F_at_state, 0, memory_order_relaxed);
        for (uint64_t at = 0; at < F_ring; at += 8) set8(at, 0);
        fill(F_memory, r.capacity, F_explicit, "");
    }
    if (refusal(true)) fail(refusal(true));
    if (life(state()) != F_open) fail("half made");
    for (r.capacity = get8(F_at_capacity); !claim(); nap()) check_deadline("timed out: no place for another end");
}

static void from_parent(void) {
    const char *list = getenv("SHMPIPE_RING");
    char nonce[17], role[16], found[17];
    for (int id; list; list = strchr(list, ','), list = list ? list + 1 : NULL)
        if (sscanf(list, "%d:%16[0-9a-f]:%15[a-z]", &id, nonce, role) == 3 && *list != '-' && is("role", role)) {
            open_id(id);
            snprintf(found, sizeof found, "%016llx", (unsigned long long)get8(F_at_nonce));
            if (strcmp(found, nonce) != 0) fail("gone");
            return;
        }
    fail("nothing was handed over");
}

/* The bytes that the tests send: a table of a prime length, again and again. */

#define PERIOD 65521
static char *pattern;
static uint32_t crc_table[256];

static void make_tables(uint64_t block) {
    char *once = malloc(PERIOD + 8);
    for (uint64_t i = 0; i < PERIOD; i += 8) {
        uint64_t word = (i / 8 + 0x5eed) * 0x9e3779b97f4a7c15;
        word = (word ^ word >> 30) * 0xbf58476d1ce4e5b9;
        word = (word ^ word >> 27) * 0x94d049bb133111eb;
        word ^= word >> 31;
        memcpy(once + i, &word, 8);
    }
    pattern = malloc(PERIOD + block);
    for (uint64_t i = 0; i < PERIOD + block; i++) pattern[i] = once[i % PERIOD];
    free(once);
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t crc = i;
        for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
        crc_table[i] = crc;
    }
}

static uint32_t digest_of(uint32_t crc, const char *bytes, uint64_t len) {
    crc = ~crc;
    while (len--) crc = crc_table[(crc ^ *bytes++) & 0xff] ^ crc >> 8;
    return ~crc;
}

static void run(void) {
    uint64_t block = number("block"), total = number("bytes"), streams = number("streams");
    make_tables(block);
    char *bytes = malloc(block);
    printf("opened\n"), fflush(stdout);
    if (r.role == PRODUCER) streams = 1;
    for (uint64_t stream = 0; stream < streams; stream++) {
        uint64_t done = number("start");
        uint32_t digest = 0;
        const char *how = r.role == PRODUCER ? "wrote" : "enough";
        while (r.role == PRODUCER ? done < total : !total || done < total) {
            uint64_t n = total && total - done < block ? total - done : block;
            const char *expected = pattern + done % PERIOD;
            if (r.role == PRODUCER) {
                write_all(expected, n);
            } else {
                int64_t got = read_some(bytes, n);
                if (got <= 0) {
                    how = got ? "died" : endings[r.ending];
                    break;
                }
                n = got;
                if (memcmp(bytes, expected, n) != 0) fail("wrong bytes");
            }
            digest = digest_of(digest, expected, n);
            done += n;
        }
        printf("%s%s bytes=%llu digest=%08x", stream ? "; " : "peer: ", how, (unsigned long long)done, digest);
        if (lasts(r.kind) && r.ending && stream + 1 < streams) acknowledge();
    }
    printf("\n"), fflush(stdout);
    if (is("end", "kill")) raise(SIGKILL);
    if (is("end", "stay")) sleep(600);
    leave(is("end", "abort") ? F_aborted : F_finished);
}

static uint64_t constant(const char *name) {
    for (size_t i = 0; i < sizeof constants / sizeof *constants; i++)
        if (strcmp(constants[i].name, name) == 0) return *constants[i].value;
    fail("no such constant");
}

/* Prints all that a header says, given as words with their offsets. */
static void show_header(char *words) {
    r.size = 8192;
    r.base = aligned_alloc(4096, r.size);
    memset(r.base, 0, r.size);
    unsigned at;
    unsigned long long value;
    for (char *word = strtok(words, " \n"); word; word = strtok(NULL, " \n"))
        if (sscanf(word, "%u:%llx", &at, &value) == 2 && at < 4096) set8(at & ~7u, value);
    if (refusal(false)) {
        puts(refusal(false));
        return;
    }
    uint64_t all = state(), is = life(all);
    const char *name = is == F_open       ? "open"
                       : is == F_paired   ? "paired"
                       : is == F_replaced ? "replaced"
                       : is == F_removed  ? "removed"
                                          : "unborn";
    printf("kind=%u capacity=%llu nonce=%llu device=%llu inode=%llu project=%u flags=%u birth=%llu life=%s ", get4(F_at_kind),
           (unsigned long long)get8(F_at_capacity), (unsigned long long)get8(F_at_nonce), (unsigned long long)get8(F_at_device),
           (unsigned long long)get8(F_at_inode), get4(F_at_project), get4(F_at_flags), (unsigned long long)get8(F_at_birth), name);
    for (int role = PRODUCER; role <= CONSUMER; role++) {
        uint64_t owner = get8(W_owner[role]);
        is = tenure(all, role);
        name = is == F_free ? "free" : is == F_held ? "held" : is == F_left ? "left" : is == F_lost ? "lost" : "corrupt";
        printf("tenure=%s generation=%u pid=%u whole=%d start=%llu spaces=%u/%u views=%u capabilities=%u position=%llu ", name,
               (unsigned)generation(all, role), (unsigned)(owner >> F_owner_pid), get8(W_complete[role]) == owner,
               (unsigned long long)get8(W_start[role]), get4(W_pid_namespace[role]), get4(W_time_namespace[role]),
               get4(W_views[role]), get4(W_capabilities[role]), (unsigned long long)get8(W_position[role]));
        printf("closed=%s sleeping=%u wanted=%llu claims=%llu marks=%llu ", endings[how_closed(get8(W_closed[role]))],
               get4(W_sleeping[role]), (unsigned long long)get8(W_wanted[role]), (unsigned long long)get8(W_claims[role]),
               (unsigned long long)get8(W_count[role]));
    }
    uint64_t last = place(get8(W_count[PRODUCER]) - 1);
    printf("hint=%u places=%u last=%llu:%llu\n", get4(F_consumer_hint), get4(F_consumer_places),
           (unsigned long long)get8(last), (unsigned long long)get8(last + F_mark_ending));
    free(r.base);
}

/* Answers each line of the input with what this peer makes of it. */
static void vectors(void) {
    char line[4096], what[16], kind[16], role[16];
    unsigned long long a, b, c, d;
    while (fgets(line, sizeof line, stdin)) {
        if (sscanf(line, "owner %llx %llx %llx %llx", &a, &b, &c, &d) == 4) {
            printf("0x%016llx\n", (unsigned long long)owner_word(a, b, c, d));
        } else if (sscanf(line, "closed %llx", &a) == 1) {
            printf("%s\n", endings[how_closed(a)]);
        } else if (sscanf(line, "ending %llx", &a) == 1) {
            printf("%s %llu\n", endings[how_ended(a)], how_ended(a) == DIED ? a >> F_died_pid : 0);
        } else if (sscanf(line, "key %llx %llx %llx", &a, &b, &c) == 3) {
            printf("0x%08x\n", (unsigned)key_of(a, b, c));
        } else if (strncmp(line, "header ", 7) == 0) {
            show_header(line + 7);
        } else if (sscanf(line, "constant %15s", what) == 1) {
            line[strcspn(line, "\n")] = 0;
            printf("%llu\n", (unsigned long long)constant(line + 9));
        } else if (sscanf(line, "%15s %15s %15s %llx", what, kind, role, &a) == 4) {
            uint64_t after = 0;
            int who = strcmp(role, "consumer") == 0 ? CONSUMER : PRODUCER;
            enum claim result = CLAIMED;
            if (strcmp(what, "leave") == 0) after = left(a, who, constant(kind));
            else result = claimed(a, who, constant(kind), strcmp(what, "claim-dead") == 0, &after);
            if (result == CLAIMED) printf("0x%016llx\n", (unsigned long long)after);
            else printf("%s\n", result == GONE ? "gone" : "taken");
        }
        fflush(stdout);
    }
}

int main(int count, char **words) {
    bool answers = count > 1 && strcmp(words[1], "vectors") == 0;
    for (int i = 1 + answers; i < count; i++) {
        char *value = strchr(words[i], '=');
        if (!value) fail("an argument is key=value");
        *value++ = 0;
        for (size_t k = 0; k < sizeof arguments / sizeof *arguments; k++)
            if (strcmp(arguments[k].name, words[i]) == 0) arguments[k].value = value;
    }
    const char *mutant = argument("mutant"), *colon = strchr(mutant, ':');
    for (size_t i = 0; colon && i < sizeof constants / sizeof *constants; i++)
        if (strlen(constants[i].name) == (size_t)(colon - mutant) &&
            strncmp(constants[i].name, mutant, colon - mutant) == 0)
            *constants[i].value = strtoull(colon + 1, NULL, 0);
    if (colon) alarm(number("timeout") + 2); /* a mutant may do anything, but not for ever */
    if (answers) return vectors(), 0;
    deadline = now() + strtod(argument("timeout"), NULL);
    r.role = is("role", "consumer") ? CONSUMER : PRODUCER, r.peer = 1 - r.role;
    r.futex = !is("level", "polls"), r.full = is("level", "full");
    r.hears = r.full && syscall(SYS_membarrier, F_register_barriers, 0, 0) == 0;
    if (is("kind", "memory")) open_memory();
    else if (!is("kind", "anonymous")) open_path();
    else if (is("id", "")) make_anonymous();
    else if (is("id", "parent")) from_parent();
    else open_id(number("id"));
    run();
}
