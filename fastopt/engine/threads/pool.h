/* A pool of threads that wait for work. It does not use OpenMP: libgomp's threads spin, and if more processes than
 * processors use it, each waits in vain for threads that another one displaces (8 processes on 2 processors took 10 to
 * 47 times as long as one after the other). In a child made by fork(), it waits forever.
 *
 * Here the caller never waits for a thread that has not started: it does that thread's work itself. */
#ifndef FASTOPT_POOL_H
#define FASTOPT_POOL_H

#define MAX_THREADS 256

/* Reset the pool in children of fork(). This starts no thread. */
void init_pool(void);

/* Run work(argument, 0) in this thread and work(argument, 1), ... in up to threads - 1 others; return when all that
 * have started have returned. Others may start late or never: each call of work takes units until none is left. If
 * another call holds the pool, only the caller's thread runs. */
void run_in_pool(void (*work)(void *argument, int thread), void *argument, int threads);

/* The number of threads started so far, for show_config and tests */
int pool_size(void);

#endif
