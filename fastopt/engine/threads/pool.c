#define _GNU_SOURCE
#include "threads/pool.h"
#include "core/tuning.h"

#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <time.h>

/* The state of the pool is one word, so that joining a call is atomic. Bit 0: a call is open. Then follow the number of
 * threads that joined it, the number of those still working, and the number of the call. */
#define OPEN ((uint64_t)1)
#define ONE_JOINED ((uint64_t)1 << 1)
#define ONE_ACTIVE ((uint64_t)1 << 16)
#define ONE_CALL ((uint64_t)1 << 32)
#define JOINED(state) ((int)((state) >> 1 & 0x7fff))
#define ACTIVE(state) ((int)((state) >> 16 & 0xffff))
#define CALL(state) ((state) >> 32)

static _Atomic uint64_t state;
static atomic_int sleepers;     /* threads that must be woken */
static atomic_int woken;        /* those of them that were woken but do not run yet */
static atomic_int caller_waits; /* 1 if the caller must be woken */
static atomic_flag taken = ATOMIC_FLAG_INIT;

/* Written by the caller that holds the pool, before it opens the call */
static void (*work)(void *, int);
static void *argument;
static atomic_int places; /* how many threads may still join */
static atomic_int started;

static atomic_int caller_cpu; /* the processor of the last call's caller */

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

/* A scheduler may wake a thread on the processor of the thread that woke it, and leave it there for tens of
 * milliseconds: the two then take turns, and a step takes longer than on one thread (61 us instead of 37, for 100,000
 * elements after a pause). A thread that detects this moves to another processor. */
#ifdef __linux__
static int current_cpu(void) { return sched_getcpu(); }

static void leave_cpu_of_caller(void)
{
    cpu_set_t all, others;
    int cpu = current_cpu();
    if (cpu != atomic_load(&caller_cpu) || sched_getaffinity(0, sizeof all, &all))
        return;
    others = all;
    CPU_CLR(cpu, &others);
    if (CPU_COUNT(&others) && !sched_setaffinity(0, sizeof others, &others))
        sched_setaffinity(0, sizeof all, &all);
}
#else
static int current_cpu(void) { return 0; }
static void leave_cpu_of_caller(void) {}
#endif

/* ---- A thread of the pool */

static int may_join(uint64_t seen, uint64_t last_call)
{
    return (seen & OPEN) && CALL(seen) != last_call && JOINED(seen) < atomic_load(&places);
}

/* Block until a caller wakes this thread. */
static void sleep_until_woken(uint64_t last_call)
{
    pthread_mutex_lock(&mutex);
    atomic_fetch_add(&sleepers, 1);
    while (!may_join(atomic_load(&state), last_call) && !atomic_load(&woken))
        pthread_cond_wait(&opened, &mutex);
    atomic_fetch_sub(&sleepers, 1);
    if (atomic_load(&woken))
        atomic_fetch_sub(&woken, 1);
    pthread_mutex_unlock(&mutex);
}

/* Wait for an open call and join it; return the state after joining. */
static uint64_t join_call(uint64_t last_call)
{
    int64_t deadline = now_ns() + SPIN_NS;
    for (unsigned looks = 1;; looks++) {
        uint64_t seen = atomic_load(&state);
        if (may_join(seen, last_call)) {
            if (atomic_compare_exchange_strong(&state, &seen, seen + ONE_JOINED + ONE_ACTIVE))
                return seen + ONE_JOINED + ONE_ACTIVE;
        } else if (looks % 64 || now_ns() < deadline) {
            pause_briefly();
        } else {
            sleep_until_woken(last_call);
            leave_cpu_of_caller();
            deadline = now_ns() + SPIN_NS;
        }
    }
}

static void leave_call(void)
{
    uint64_t left = atomic_fetch_sub(&state, ONE_ACTIVE) - ONE_ACTIVE;
    if (ACTIVE(left) == 0 && atomic_load(&caller_waits)) {
        pthread_mutex_lock(&mutex); /* the caller is blocked by now, or has seen that no thread is working */
        pthread_mutex_unlock(&mutex);
        pthread_cond_signal(&finished);
    }
}

static void *run_worker(void *unused)
{
    for (uint64_t last_call = 0;;) {
        uint64_t joined = join_call(last_call);
        last_call = CALL(joined);
        work(argument, JOINED(joined));
        leave_call();
    }
    return unused;
}

/* ---- The caller */

/* Signals of faults that a thread causes itself, for example by reading a memory map of a truncated file; they are not
 * blocked. */
static const int own_faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP};

static void start_workers(int wanted)
{
    sigset_t all, before;
    sigfillset(&all);
    for (int i = 0; i < (int)(sizeof own_faults / sizeof *own_faults); i++)
        sigdelset(&all, own_faults[i]);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are handled by the caller's program */
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
    atomic_store(&caller_cpu, current_cpu());
    atomic_store(&state, (CALL(atomic_load(&state)) + 1) * ONE_CALL | OPEN);
    if (atomic_load(&sleepers) == 0)
        return;
    /* Wake the missing threads. One that was woken for an earlier call and does not run yet will join this one. */
    pthread_mutex_lock(&mutex);
    int asleep = atomic_load(&sleepers) - atomic_load(&woken);
    int missing = others - (started - asleep);
    for (int i = 0; i < missing; i++) {
        atomic_fetch_add(&woken, 1);
        pthread_cond_signal(&opened);
    }
    pthread_mutex_unlock(&mutex);
}

static void close_call(void)
{
    uint64_t closed = atomic_fetch_and(&state, ~OPEN);
    if (ACTIVE(closed) == 0)
        return;
    for (int64_t begin = now_ns(), passed = 0; passed < SPIN_NS; passed = now_ns() - begin) {
        if (ACTIVE(atomic_load(&state)) == 0)
            return;
        if (passed < CALLER_SPIN_NS)
            pause_briefly();
        else
            sched_yield();
    }
    pthread_mutex_lock(&mutex);
    atomic_store(&caller_waits, 1);
    while (ACTIVE(atomic_load(&state)))
        pthread_cond_wait(&finished, &mutex);
    atomic_store(&caller_waits, 0);
    pthread_mutex_unlock(&mutex);
}

void run_in_pool(void (*what)(void *, int), void *with, int threads)
{
    if (atomic_flag_test_and_set(&taken)) {
        what(with, 0);
        return;
    }
    start_workers(threads - 1);
    work = what;
    argument = with;
    open_call(threads - 1 < started ? threads - 1 : started);
    what(with, 0);
    close_call();
    atomic_flag_clear(&taken);
}

int pool_size(void) { return started; }

/* ---- fork(): the child has no threads of the pool, but a copy of its state. */

static void reset_in_child(void)
{
    atomic_store(&state, 0);
    atomic_store(&sleepers, 0);
    atomic_store(&woken, 0);
    atomic_store(&caller_waits, 0);
    started = 0;
    pthread_mutex_init(&mutex, NULL);
    pthread_cond_init(&opened, NULL);
    pthread_cond_init(&finished, NULL);
    atomic_flag_clear(&taken);
}

void init_pool(void) { pthread_atfork(NULL, NULL, reset_in_child); }

#else /* no POSIX threads: the caller does all the work */

void init_pool(void) {}
void run_in_pool(void (*what)(void *, int), void *with, int threads) { (void)threads, what(with, 0); }
int pool_size(void) { return 0; }

#endif
