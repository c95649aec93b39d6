#include "threads/parallel_for.h"
#include "core/float_mode.h"
#include "core/tuning.h"
#include "core/util.h"
#include "threads/pool.h"
#include <stdatomic.h>

/* Each thread owns a contiguous share of the units, the same one in every loop, so that its caches still hold data of
 * the previous loop. A thread that has finished its share takes units from other shares, so that no thread waits for
 * one whose processor is busy with another program. */
typedef struct {
    _Alignas(CACHE_LINE) atomic_ptrdiff_t next;
    ptrdiff_t end;
} share_t;

/* The data that all threads of one loop share */
typedef struct {
    range_fn run;
    void *argument;
    ptrdiff_t chunk;
    int threads;
    share_t *shares; /* one for each thread */
} loop_t;

/* Run the remaining units of a share. */
static void run_share(const loop_t *loop, share_t *share, int thread)
{
    for (;;) {
        ptrdiff_t first = atomic_fetch_add_explicit(&share->next, loop->chunk, memory_order_relaxed);
        if (first >= share->end)
            return;
        ptrdiff_t last = share->end - first < loop->chunk ? share->end : first + loop->chunk;
        loop->run(loop->argument, thread, first, last);
    }
}

/* The work of one thread: its own share, then the rest of the others. */
static void run_thread(void *argument, int thread)
{
    loop_t *loop = argument;
    float_mode_t caller = enter_float_mode();
    for (int t = 0; t < loop->threads; t++)
        run_share(loop, &loop->shares[(thread + t) % loop->threads], thread);
    leave_float_mode(caller);
}

static void run_shares(range_fn run, void *argument, ptrdiff_t units, ptrdiff_t largest_chunk, int threads)
{
    share_t shares[threads];
    loop_t loop = {.run = run, .argument = argument, .threads = threads, .shares = shares};
    ptrdiff_t chunk = units / threads / CHUNKS_PER_SHARE;
    loop.chunk = chunk < 1 ? 1 : (chunk > largest_chunk ? largest_chunk : chunk);
    for (int t = 0; t < threads; t++) {
        atomic_init(&shares[t].next, units * t / threads);
        shares[t].end = units * (t + 1) / threads;
    }
    run_in_pool(run_thread, &loop, threads);
}

void parallel_for(range_fn run, void *argument, ptrdiff_t units, ptrdiff_t largest_chunk, int threads)
{
    threads = threads < MAX_THREADS ? threads : MAX_THREADS;
    threads = units < threads ? (int)units : threads;
    if (threads > 1) {
        run_shares(run, argument, units, largest_chunk, threads);
    } else if (units) {
        float_mode_t caller = enter_float_mode();
        run(argument, 0, 0, units);
        leave_float_mode(caller);
    }
}
