#define _GNU_SOURCE
#include "threads.h"
#include "float_mode.h"
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifdef _OPENMP
#include <omp.h>
#endif
#ifdef __linux__
#include <sched.h>
#endif
#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#include <unistd.h>
#endif

/* Units that a thread takes at a time: 64 pieces of 1,024 elements. Threads that fetch their work, rather than own a
 * fixed half, do not wait for one whose processor is busy with another program. */
#define UNITS_PER_CHUNK 64

static int forked = 0;
static int default_threads = 0;
static int pretended_cpus = 0;
static double quota = 0;

/* ---- Limits */

#if defined(__unix__) || defined(__APPLE__)
static void note_fork(void) { forked = 1; }
#endif

#ifdef __linux__
/* Read "quota period" or "max period" (cgroup 2), or the quota's and the period's file (cgroup 1). */
static double quota_in(const char *folder, int version)
{
    char path[4352], first[32] = "";
    double period = 0;
    snprintf(path, sizeof path, version == 2 ? "%s/cpu.max" : "%s/cpu.cfs_quota_us", folder);
    FILE *file = fopen(path, "r");
    if (!file)
        return 0;
    int found = fscanf(file, "%31s %lf", first, &period);
    fclose(file);
    if (version == 1) {
        snprintf(path, sizeof path, "%s/cpu.cfs_period_us", folder);
        if (!(file = fopen(path, "r")))
            return 0;
        found += fscanf(file, "%lf", &period);
        fclose(file);
    }
    double granted = atof(first); /* "max" and -1 grant everything */
    return found == 2 && granted > 0 && period > 0 ? granted / period : 0;
}

/* The tightest quota from the process's group up to the root. */
static double tightest_quota(const char *root, char *group, int version)
{
    double tightest = 0;
    for (;;) {
        char folder[4224];
        snprintf(folder, sizeof folder, "%s%s", root, group);
        double granted = quota_in(folder, version);
        if (granted > 0 && (tightest == 0 || granted < tightest))
            tightest = granted;
        char *slash = strrchr(group, '/');
        if (!slash)
            return tightest;
        *slash = '\0';
    }
}

static double read_quota(void)
{
    char line[4200];
    double tightest = 0;
    FILE *file = fopen("/proc/self/cgroup", "r");
    while (file && fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = '\0';
        char *controllers = strchr(line, ':'), *group = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!group)
            continue;
        *group++ = '\0';
        double granted = 0;
        if (controllers[1] == '\0')
            granted = tightest_quota("/sys/fs/cgroup", group, 2);
        else if (strstr(controllers + 1, "cpu") && !strstr(controllers + 1, "cpuset"))
            granted = tightest_quota("/sys/fs/cgroup/cpu", group, 1);
        if (granted > 0 && (tightest == 0 || granted < tightest))
            tightest = granted;
    }
    if (file)
        fclose(file);
    return tightest;
}

static int affinity(void)
{
    cpu_set_t mask;
    if (sched_getaffinity(0, sizeof mask, &mask) == 0)
        return CPU_COUNT(&mask);
    return (int)sysconf(_SC_NPROCESSORS_ONLN); /* more processors than the mask holds */
}
#else
static double read_quota(void) { return 0; }
static int affinity(void)
{
#ifdef _OPENMP
    return omp_get_num_procs();
#else
    return 1;
#endif
}
#endif

void init_threads(void)
{
    quota = read_quota();
#if defined(__unix__) || defined(__APPLE__)
    pthread_atfork(NULL, NULL, note_fork);
#endif
}

double cgroup_quota(void) { return quota; }
int in_forked_child(void) { return forked; }
void pretend_cpu_limit(int cpus) { pretended_cpus = cpus; }
void set_default_threads(int threads) { default_threads = threads; }

int cpu_limit(void)
{
    if (pretended_cpus)
        return pretended_cpus;
    int cpus = affinity();
    if (quota > 0 && quota < cpus)
        cpus = quota < 1 ? 1 : (int)quota;
    return cpus < 1 ? 1 : cpus;
}

int choose_threads(ptrdiff_t array_elements, int wanted)
{
#ifdef _OPENMP
    if (array_elements < SERIAL_BELOW || wanted == 1 || forked)
        return 1;
    int threads = wanted ? wanted : (default_threads ? default_threads : omp_get_max_threads());
    int limit = cpu_limit();
    return threads < limit ? threads : limit;
#else
    (void)array_elements, (void)wanted;
    return 1;
#endif
}

/* ---- Running */

/* The units of all jobs stand in one line; run those from `first` up to `last`. `job` and `before` say where the
 * thread stopped last time: the job, and the units before it. */
static void run_stretch(const job_t *jobs, const task_t *task, ptrdiff_t first, ptrdiff_t last, ptrdiff_t *job,
                        ptrdiff_t *before)
{
    while (first < last) {
        while (first >= *before + jobs[*job].units) {
            *before += jobs[*job].units;
            ++*job;
        }
        ptrdiff_t end = *before + jobs[*job].units;
        if (end > last)
            end = last;
        run_units(&jobs[*job], task, first - *before, end - *before);
        first = end;
    }
}

void run_jobs(const job_t *jobs, ptrdiff_t njobs, const task_t *task, int threads)
{
    ptrdiff_t units = 0;
    for (ptrdiff_t j = 0; j < njobs; j++)
        units += jobs[j].units;
    if (units == 0)
        return;
    if (threads == 1) {
        float_mode_t caller = enter_float_mode();
        for (ptrdiff_t j = 0; j < njobs; j++)
            if (jobs[j].units)
                run_units(&jobs[j], task, 0, jobs[j].units);
        leave_float_mode(caller);
        return;
    }
#ifdef _OPENMP
    atomic_ptrdiff_t next = 0;
#pragma omp parallel num_threads(threads)
    {
        float_mode_t caller = enter_float_mode();
        ptrdiff_t job = 0, before = 0;
        for (;;) {
            ptrdiff_t first = atomic_fetch_add_explicit(&next, UNITS_PER_CHUNK, memory_order_relaxed);
            if (first >= units)
                break;
            ptrdiff_t last = units - first < UNITS_PER_CHUNK ? units : first + UNITS_PER_CHUNK;
            run_stretch(jobs, task, first, last, &job, &before);
        }
        leave_float_mode(caller);
    }
#endif
}
