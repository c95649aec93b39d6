/* Spreads the units of jobs over threads: OpenMP, within what the machine, the container and the user allow. */
#ifndef FASTOPT_THREADS_H
#define FASTOPT_THREADS_H
#include "job.h"

/* Below this many array elements in all (jobs x arrays), one thread: starting a second costs more than it saves. */
#define SERIAL_BELOW 98304

/* Learn the limits that do not change, and what to do in a child of fork(). Starts no thread. */
void init_threads(void);

/* Processors that the affinity mask (asked at each call) and the cgroup quota (read once) leave to this process. */
int cpu_limit(void);

/* For tests: pretend that the machine has this many processors; 0 restores the truth. */
void pretend_cpu_limit(int cpus);

/* The CPUs that the cgroup quota grants, 0 where there is none. */
double cgroup_quota(void);

/* True in a child made by fork(), where the OpenMP run time would wait for threads that no longer exist. */
int in_forked_child(void);

/* The threads that a call over so many array elements runs on; `wanted` is 0 for the default. */
int choose_threads(ptrdiff_t array_elements, int wanted);

/* Set, or with 0 reset, the default for calls that do not ask for a number of threads. */
void set_default_threads(int threads);

/* Run every unit of every job. */
void run_jobs(const job_t *jobs, ptrdiff_t njobs, const task_t *task, int threads);

#endif
