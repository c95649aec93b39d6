/* A job is one tensor's update, divided into units that can run in any order on any thread.
 *
 * If every array is one contiguous run of the compute type, a unit is a piece of the run and the kernel works in place.
 * Otherwise a unit is a tile: a rectangle of elements that is loaded from each array into a block in the first-level
 * cache, updated there by the kernel, and stored back into the arrays that are written. Both give the same bits, since
 * a rule computes each element by itself. */
#ifndef FASTOPT_JOB_H
#define FASTOPT_JOB_H
#include "core/codecs.h"
#include "core/draw.h"
#include "core/kernel.h"
#include "core/tuning.h"

/* The caller's array: element (i, j, ...) is at data + i*strides[0] + j*strides[1] + ... */
typedef struct {
    char *data;
    const ptrdiff_t *strides;
    enum storage storage;
} view_t;

/* The arrays of a job: the rule's own, then those that follow param. The last one may be the elements' positions. */
#define MAX_SLOTS (MAX_ARRAYS + 3)

typedef struct {
    ptrdiff_t extent;
    ptrdiff_t strides[MAX_SLOTS];
} axis_t;

/* The axes of a job that is not contiguous, in memory order, merged where the strides of every array allow it. */
typedef struct {
    int ndim;
    int row_axis; /* a tile spans this axis and the last */
    ptrdiff_t tile_rows, tile_cols;
    axis_t axes[MAX_DIMS]; /* the first ndim are set; a copy may be allocated with only these */
} layout_t;

typedef struct {
    char *data[MAX_SLOTS];
    unsigned char storage[16]; /* enum storage */
    ptrdiff_t count; /* number of elements */
    ptrdiff_t units;
    ptrdiff_t units_before; /* the number of units of the preceding jobs in the list */
    layout_t *layout; /* NULL: contiguous */
    uint32_t number; /* number of the tensor, for stochastic rounding */
    const struct task *task;
} job_t;

/* The data shared by jobs of one rule, one compute type and the same scalars */
typedef struct task {
    kernel_t kernel;
    const void *scalars;
    const codec_t *codecs;
    int narrays; /* the number of the rule's arrays */
    int slots; /* the same plus the arrays that follow param */
    int grad; /* the position of the array that is only read */
    size_t itemsize; /* of the compute type */
    enum storage compute;
    /* Arrays that are updated after param, while it is in the first-level cache: their positions, or 0 for none. */
    int average; /* a running average of param, computed by average_kernel */
    kernel_t average_kernel;
    const void *average_scalars;
    int copy; /* param in another storage type */
    const noise_t *noise; /* for stochastic rounding of the copy, or else of param; NULL: round to nearest */
    /* The sources of a kernel's random bits, at most two: the kernel takes 32 bits per element, after its arrays. */
    int sources;
    source_t source[2];
    draw_t draw;
} task_t;

/* Plan the job over these views; return false if memory is exhausted. The job's layout, which the caller frees, is
 * NULL or that of an earlier plan. */
int plan_job(job_t *job, const task_t *task, const view_t *views, int ndim, const ptrdiff_t *shape);

/* A thread's buffers for tiles and random bits: they would exceed the stacks of some threads. */
typedef struct {
    _Alignas(CACHE_LINE) char blocks[MAX_SLOTS][BLOCK_BYTES];
    _Alignas(CACHE_LINE) uint32_t bits[2][BITS_CAPACITY];
} thread_scratch_t;

typedef struct {
    job_t *jobs;
    ptrdiff_t njobs;
    ptrdiff_t units, elements; /* units of all jobs; elements of all arrays */
    int is_tiled; /* some job has a layout */
    thread_scratch_t *scratch; /* one for each thread; unused if no job has a layout */
} list_t;

/* Number the units of all jobs consecutively, and compute the totals. */
void number_units(list_t *list);

/* Run the units first, first + 1, ..., last - 1 of a list. */
void run_units(void *list, int thread, ptrdiff_t first, ptrdiff_t last);

#endif
