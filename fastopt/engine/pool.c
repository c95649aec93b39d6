#define _GNU_SOURCE
#include "pool.h"

#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <time.h>

/* How long a thread looks for more work before it sleeps, and how long a caller looks at threads that are still at it
 * before it does: a woken thread begins after 5 to 50 us. A thread that came too late looks as well, so as to be there
 * for the next call; but not if that happens time and again. */
#define WORKER_LOOKS_NS 50000
#define TOO_OFTEN_LATE 3
#define CALLER_LOOKS_NS 20000

/* After the second call in a row to which no thread came in time, one call runs without, after the third two, after
 * the fourth four, ...: waking a thread costs the caller 10 us. */
#define LONGEST_REST 32

/* The state of the pool in one word, so that a thread joins a call or not at all: bit 0, a call is open; then the
 * threads that joined it; then those still at work; then the number of the call. */
#define OPEN ((uint64_t)1)
#define ONE_JOINED ((uint64_t)1 << 1)
#define ONE_ACTIVE ((uint64_t)1 << 16)
#define ONE_CALL ((uint64_t)1 << 32)
#define JOINED(state) ((int)((state) >> 1 & 0x7fff))
#define ACTIVE(state) ((int)((state) >> 16 & 0xffff))
#define CALL(state) ((state) >> 32)

static _Atomic uint64_t state;
static atomic_int sleepers;     /* threads that must be woken */
static atomic_int caller_waits; /* the caller must be woken */
static atomic_int found_work;   /* threads that found work in this call */
static atomic_flag taken = ATOMIC_FLAG_INIT;

/* Written by the caller that holds the pool, before it opens the call. */
static int (*work)(void *, int);
static void *argument;
static atomic_int places; /* how many threads may join */
static atomic_int started;
static int in_vain; /* calls in a row to which no thread came in time */
static int rest;    /* calls to run without */

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t opened = PTHREAD_COND_INITIALIZER;
static pthread_cond_t finished = PTHREAD_COND_INITIALIZER;

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void pause_briefly(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* ---- A thread of the pool */

static int may_join(uint64_t seen, uint64_t last_call)
{
    return (seen & OPEN) && CALL(seen) != last_call && JOINED(seen) < atomic_load(&places);
}

/* Sleep until a caller wakes this thread. */
static void sleep_until_woken(uint64_t last_call)
{
    pthread_mutex_lock(&mutex);
    atomic_fetch_add(&sleepers, 1);
    if (!may_join(atomic_load(&state), last_call))
        pthread_cond_wait(&opened, &mutex);
    atomic_fetch_sub(&sleepers, 1);
    pthread_mutex_unlock(&mutex);
}

/* Wait for an open call and join it; return the state as joined. `late` counts the calls in a row that this thread
 * came too late for. */
static uint64_t join_call(uint64_t last_call, int *late)
{
    int64_t deadline = *late < TOO_OFTEN_LATE ? now_ns() + WORKER_LOOKS_NS : 0;
    for (unsigned looks = 1;; looks++) {
        uint64_t seen = atomic_load(&state);
        if (may_join(seen, last_call)) {
            if (atomic_compare_exchange_strong(&state, &seen, seen + ONE_JOINED + ONE_ACTIVE))
                return seen + ONE_JOINED + ONE_ACTIVE;
        } else if (looks % 64 || (deadline && now_ns() < deadline)) {
            pause_briefly();
        } else {
            sleep_until_woken(last_call);
            if (!may_join(atomic_load(&state), last_call))
                deadline = ++*late < TOO_OFTEN_LATE ? now_ns() + WORKER_LOOKS_NS : 0;
        }
    }
}

static void leave_call(void)
{
    uint64_t left = atomic_fetch_sub(&state, ONE_ACTIVE) - ONE_ACTIVE;
    if (ACTIVE(left) == 0 && atomic_load(&caller_waits)) {
        pthread_mutex_lock(&mutex);
        pthread_cond_signal(&finished);
        pthread_mutex_unlock(&mutex);
    }
}

static void *run_worker(void *unused)
{
    uint64_t last_call = 0;
    int late = TOO_OFTEN_LATE;
    for (;;) {
        uint64_t joined = join_call(last_call, &late);
        last_call = CALL(joined);
        late = work(argument, JOINED(joined)) ? 0 : late + 1;
        if (!late)
            atomic_fetch_add(&found_work, 1);
        leave_call();
    }
    return unused;
}

/* ---- The caller */

static void start_workers(int wanted)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are for the caller's program */
    while (started < wanted) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, run_worker, NULL))
            break;
        pthread_detach(thread);
        started++;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static void open_call(int others)
{
    atomic_store(&places, others);
    atomic_store(&found_work, 0);
    atomic_store(&state, (CALL(atomic_load(&state)) + 1) * ONE_CALL | OPEN);
    if (atomic_load(&sleepers)) {
        pthread_mutex_lock(&mutex);
        for (int i = 0; i < others; i++)
            pthread_cond_signal(&opened);
        pthread_mutex_unlock(&mutex);
    }
}

static void close_call(void)
{
    uint64_t closed = atomic_fetch_and(&state, ~OPEN);
    if (ACTIVE(closed) == 0)
        return;
    for (int64_t deadline = now_ns() + CALLER_LOOKS_NS; now_ns() < deadline; pause_briefly())
        if (ACTIVE(atomic_load(&state)) == 0)
            return;
    pthread_mutex_lock(&mutex);
    atomic_store(&caller_waits, 1);
    while (ACTIVE(atomic_load(&state)))
        pthread_cond_wait(&finished, &mutex);
    atomic_store(&caller_waits, 0);
    pthread_mutex_unlock(&mutex);
}

void run_in_pool(int (*what)(void *, int), void *with, int threads)
{
    if (atomic_flag_test_and_set(&taken)) {
        what(with, 0);
        return;
    }
    if (rest > 0 && atomic_load(&sleepers) == started) { /* one that is awake costs nothing to call */
        rest--;
        atomic_flag_clear(&taken);
        what(with, 0);
        return;
    }
    start_workers(threads - 1);
    work = what;
    argument = with;
    open_call(threads - 1 < started ? threads - 1 : started);
    what(with, 0);
    close_call();
    in_vain = atomic_load(&found_work) ? 0 : in_vain + 1;
    rest = in_vain < 2 ? 0 : (in_vain < 7 ? 1 << (in_vain - 2) : LONGEST_REST);
    atomic_flag_clear(&taken);
}

int pool_size(void) { return started; }

/* ---- fork(): the child has none of the threads, and whatever state they left. */

static void reset_in_child(void)
{
    atomic_store(&state, 0);
    atomic_store(&sleepers, 0);
    atomic_store(&caller_waits, 0);
    started = rest = in_vain = 0;
    pthread_mutex_init(&mutex, NULL);
    pthread_cond_init(&opened, NULL);
    pthread_cond_init(&finished, NULL);
    atomic_flag_clear(&taken);
}

void init_pool(void) { pthread_atfork(NULL, NULL, reset_in_child); }

#else /* no POSIX threads: the caller does it all */

void init_pool(void) {}
void run_in_pool(int (*what)(void *, int), void *with, int threads) { (void)threads, what(with, 0); }
int pool_size(void) { return 0; }

#endif
