/* Spreads the units of jobs over threads. */
#ifndef FASTOPT_SCHEDULE_H
#define FASTOPT_SCHEDULE_H
#include "job.h"

/* Run every unit of every job, on at most so many threads, the caller's among them. */
void run_jobs(const job_t *jobs, ptrdiff_t njobs, const task_t *task, int threads);

#endif
