/* The number of threads that a call may use: the limits of the machine, the container and the user. */
#ifndef FASTOPT_LIMITS_H
#define FASTOPT_LIMITS_H
#include <stddef.h>

/* Read the cgroup quota. */
void init_limits(void);

/* The number of processors that the affinity mask (read at each call) and the cgroup quota (read once) allow this
 * process. */
int cpu_limit(void);

/* For tests: override the number of processors; 0 ends the override. */
void pretend_cpu_limit(int cpus);

/* The number of processors that the cgroup quota allows, or 0 if there is no quota: as read by init_limits, and as
 * read from a list of the process's groups (/proc/self/cgroup) and a root folder (/sys/fs/cgroup). The smallest quota
 * of all levels applies. */
double cgroup_quota(void);
double read_quota(const char *groups, const char *root);

/* Set the default number of threads of calls; 0: one per processor. */
void set_default_threads(int threads);

/* The number of threads for a call over this many array elements; `wanted` is 0 for the default. */
int choose_threads(ptrdiff_t array_elements, int wanted);

#endif
