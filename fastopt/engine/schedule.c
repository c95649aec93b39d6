#include "schedule.h"
#include "float_mode.h"
#include "pool.h"
#include <stdatomic.h>

/* Units that a thread takes at a time: at most 64 pieces of 1,024 elements, and a quarter of its share. */
#define LARGEST_CHUNK 64
#define CHUNKS_PER_SHARE 4

/* The units of all jobs stand in one line. Each thread has a share of it, the same at every call, so that its caches
 * still hold what it touched at the last; one that is done takes from the others' shares, so that none waits for a
 * thread whose processor is busy with another program. */
typedef struct {
    _Alignas(64) atomic_ptrdiff_t next;
    ptrdiff_t end;
} share_t;

/* Where a thread stands in the line: a job, and the units before it. */
typedef struct {
    ptrdiff_t job, before;
} place_t;

static void run_stretch(const job_t *jobs, const task_t *task, ptrdiff_t first, ptrdiff_t last, place_t *place)
{
    if (first < place->before)
        *place = (place_t){0, 0};
    while (first < last) {
        while (first >= place->before + jobs[place->job].units)
            place->before += jobs[place->job++].units;
        ptrdiff_t end = place->before + jobs[place->job].units;
        if (end > last)
            end = last;
        run_units(&jobs[place->job], task, first - place->before, end - place->before);
        first = end;
    }
}

/* What the threads of one call share. */
typedef struct {
    const job_t *jobs;
    const task_t *task;
    ptrdiff_t chunk;
    int threads;
    share_t shares[MAX_THREADS];
} call_t;

/* Run what is left of a share. */
static void run_share(const call_t *call, share_t *share, place_t *place)
{
    for (;;) {
        ptrdiff_t first = atomic_fetch_add_explicit(&share->next, call->chunk, memory_order_relaxed);
        if (first >= share->end)
            return;
        ptrdiff_t last = share->end - first < call->chunk ? share->end : first + call->chunk;
        run_stretch(call->jobs, call->task, first, last, place);
    }
}

/* One thread's part: its own share, then what is left of the others'. */
static void run_thread(void *argument, int thread)
{
    call_t *call = argument;
    float_mode_t caller = enter_float_mode();
    place_t place = {0, 0};
    for (int t = 0; t < call->threads; t++)
        run_share(call, &call->shares[(thread + t) % call->threads], &place);
    leave_float_mode(caller);
}

static void run_parallel(const job_t *jobs, ptrdiff_t units, const task_t *task, int threads)
{
    call_t call; /* not initialised as a whole: most of its 16 KiB are shares of threads that this call has not */
    call.jobs = jobs;
    call.task = task;
    call.threads = threads;
    ptrdiff_t chunk = units / threads / CHUNKS_PER_SHARE;
    call.chunk = chunk < 1 ? 1 : (chunk > LARGEST_CHUNK ? LARGEST_CHUNK : chunk);
    for (int t = 0; t < threads; t++) {
        atomic_init(&call.shares[t].next, units * t / threads);
        call.shares[t].end = units * (t + 1) / threads;
    }
    run_in_pool(run_thread, &call, threads);
}

static void run_serial(const job_t *jobs, ptrdiff_t njobs, const task_t *task)
{
    float_mode_t caller = enter_float_mode();
    for (ptrdiff_t j = 0; j < njobs; j++)
        if (jobs[j].units)
            run_units(&jobs[j], task, 0, jobs[j].units);
    leave_float_mode(caller);
}

void run_jobs(const job_t *jobs, ptrdiff_t njobs, const task_t *task, int threads)
{
    if (threads > 1) {
        ptrdiff_t units = 0;
        for (ptrdiff_t j = 0; j < njobs; j++)
            units += jobs[j].units;
        threads = threads < MAX_THREADS ? threads : MAX_THREADS;
        threads = units < threads ? (int)units : threads;
        if (threads > 1) {
            run_parallel(jobs, units, task, threads);
            return;
        }
    }
    run_serial(jobs, njobs, task);
}
