#define _GNU_SOURCE
#include "threads/limits.h"
#include "core/tuning.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifdef __linux__
#include <sched.h>
#endif
#if defined(__unix__) || defined(__APPLE__)
#include <unistd.h>
#endif

static int default_threads = 0;
static int pretended_cpus = 0;
static double quota = 0;

#ifdef __linux__
/* Read "quota period" or "max period" (cgroup 2), or the files of the quota and of the period (cgroup 1). */
static double quota_in(const char *folder, int version)
{
    char path[8480], first[32] = "";
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
    double granted = atof(first); /* "max" and -1 mean unlimited */
    return found == 2 && granted > 0 && period > 0 ? granted / period : 0;
}

/* The smallest quota from the process's group up to the root */
static double tightest_quota(const char *root, char *group, int version)
{
    double tightest = 0;
    for (;;) {
        static char folder[8448];
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

double read_quota(const char *groups, const char *root)
{
    static char line[4200], cpu_root[4200]; /* static: stacks may be small, and one thread at a time calls this */
    double tightest = 0;
    snprintf(cpu_root, sizeof cpu_root, "%s/cpu", root);
    FILE *file = fopen(groups, "r");
    while (file && fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = '\0';
        char *controllers = strchr(line, ':'), *group = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!group)
            continue;
        *group++ = '\0';
        double granted = 0;
        if (controllers[1] == '\0')
            granted = tightest_quota(root, group, 2);
        else if (strstr(controllers + 1, "cpu") && !strstr(controllers + 1, "cpuset"))
            granted = tightest_quota(cpu_root, group, 1);
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
    return (int)sysconf(_SC_NPROCESSORS_ONLN); /* there are more processors than the mask can represent */
}
#else
double read_quota(const char *groups, const char *root)
{
    (void)groups, (void)root;
    return 0;
}

static int affinity(void)
{
#if defined(__unix__) || defined(__APPLE__)
    return (int)sysconf(_SC_NPROCESSORS_ONLN);
#else
    return 1;
#endif
}
#endif

void init_limits(void) { quota = read_quota("/proc/self/cgroup", "/sys/fs/cgroup"); }
double cgroup_quota(void) { return quota; }
void pretend_cpu_limit(int cpus) { pretended_cpus = cpus; }
void set_default_threads(int threads) { default_threads = threads; }

int cpu_limit(void)
{
    if (pretended_cpus)
        return pretended_cpus;
    int cpus = affinity();
    if (quota > 0 && quota < cpus)
        cpus = (int)quota;
    return cpus < 1 ? 1 : cpus;
}

int choose_threads(ptrdiff_t array_elements, int wanted)
{
    if (array_elements < SERIAL_BELOW || wanted == 1)
        return 1;
    int limit = cpu_limit(), threads = wanted ? wanted : default_threads;
    return threads && threads < limit ? threads : limit;
}
