/* A shared object that embeds the archive. COPY is a or b. */
#include <shmpipe.h>

#define JOIN(copy, name) copy##_##name
#define NAME(copy, name) JOIN(copy, name)

static shmpipe_end *producer, *consumer;

int NAME(COPY, open)(void)
{
    return shmpipe_pair(NULL, &producer, &consumer);
}

int NAME(COPY, write)(void)
{
    return (int)shmpipe_write(producer, "x", 1, 0);
}
