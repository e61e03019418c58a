/* Two shared objects, a and b, each embed the archive. After a fork, the child's first use of b must not make a's
 * handles usable there. */
#include <shmpipe.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

int a_open(void);
int a_write(void);
int b_open(void);

int main(void)
{
    int status = -1;
    if (a_open() != 0 || a_write() != 1)
        return 1;
    pid_t child = fork();
    if (child == 0)
        _exit(b_open() != 0 ? 2 : a_write() == SHMPIPE_INHERITED ? 0 : 3);
    if (waitpid(child, &status, 0) != child || status != 0) {
        fprintf(stderr, "the child ends with %d\n", status);
        return 4;
    }
    return a_write() == 1 ? 0 : 5;
}
