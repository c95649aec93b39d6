/* How many threads a call may use: what the machine, the container and the user allow. */
#ifndef FASTOPT_LIMITS_H
#define FASTOPT_LIMITS_H
#include <stddef.h>

/* Read the cgroup quota. */
void init_limits(void);

/* The number of processors that the affinity mask (read at each call) and the cgroup quota (read once) leave to this
 * process. */
int cpu_limit(void);

/* For tests: pretend that the process has this many processors; 0 restores the truth. */
void pretend_cpu_limit(int cpus);

/* The number of processors that the cgroup quota grants, or 0 if there is no quota: as read by init_limits, and from a
 * list of the process's groups (/proc/self/cgroup) and a root folder (/sys/fs/cgroup). The tightest of all levels
 * counts. */
double cgroup_quota(void);
double read_quota(const char *groups, const char *root);

/* Set the default for calls that do not ask for a number of threads; 0: one for each processor. */
void set_default_threads(int threads);

/* The number of threads for a call over so many array elements; `wanted` is 0 for the default. */
int choose_threads(ptrdiff_t array_elements, int wanted);

#endif
