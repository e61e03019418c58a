/* A program that runs itself as its child, with a ring in each direction. The child adds one. */
#include <shmpipe.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

extern char **environ;

static int fail(const char *what)
{
    fprintf(stderr, "%s: %s\n", what, shmpipe_last_error());
    return 1;
}

static int child(void)
{
    shmpipe_end *in, *out;
    if (shmpipe_from_parent(NULL, SHMPIPE_CONSUMER, NULL, &in) < 0 ||
        shmpipe_from_parent(NULL, SHMPIPE_PRODUCER, NULL, &out) < 0)
        return fail("child");
    unsigned char number;
    while (shmpipe_read(in, &number, 1, -1) == 1) {
        number++;
        if (shmpipe_write(out, &number, 1, -1) != 1)
            return fail("child");
    }
    shmpipe_free(out);
    shmpipe_free(in);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "child") == 0)
        return child();

    shmpipe_end *ends[2]; /* to the child, and from it */
    if (shmpipe_create(SHMPIPE_PRODUCER, NULL, &ends[0]) < 0 ||
        shmpipe_create(SHMPIPE_CONSUMER, NULL, &ends[1]) < 0)
        return fail("create");

    char value[256];
    if (shmpipe_give(ends, NULL, 2, value, sizeof value) < 0)
        return fail("give");
    setenv(SHMPIPE_VARIABLE, value, 1); /* this program has one thread */
    char name[] = "child";
    char *arguments[] = {argv[0], name, NULL};
    pid_t pid;
    int error = posix_spawn(&pid, "/proc/self/exe", NULL, NULL, arguments, environ);
    unsetenv(SHMPIPE_VARIABLE);
    if (error != 0) {
        fprintf(stderr, "posix_spawn: %s\n", strerror(error));
        return 1;
    }
    shmpipe_given_to(ends[0], pid);
    shmpipe_given_to(ends[1], pid);

    for (unsigned char number = 1; number <= 3; number++) {
        unsigned char answer = 0;
        if (shmpipe_write(ends[0], &number, 1, -1) != 1 || shmpipe_read(ends[1], &answer, 1, -1) != 1)
            return fail("parent");
        printf("%d -> %d\n", number, answer);
    }
    shmpipe_close(ends[0], -1); /* the child reads the end, and closes the other ring */
    unsigned char none;
    int ended = shmpipe_read(ends[1], &none, 1, -1) == 0;
    int status;
    waitpid(pid, &status, 0);
    shmpipe_free(ends[0]);
    shmpipe_free(ends[1]);
    return ended && status == 0 ? 0 : 1;
}
