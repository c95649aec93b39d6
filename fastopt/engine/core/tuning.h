/* The thresholds and block sizes of the engine, each with the measurement behind it. None of them changes a bit of a
 * result: constants that would are in sum_tree.h and fastopt/specs/sums.py. STRIPE, which the kernel generators also
 * use, is in fastopt/specs/norms.py. Sizes that only kernels use are in fastopt/codegen, beside their loops. Where a
 * comment names no processor, none was recorded.
 *
 * Cache sizes are constants. The C library reports the third-level cache of a whole socket (384 MiB where the cores of
 * a virtual machine share 32), which overstates what a process can use. */
#ifndef FASTOPT_TUNING_H
#define FASTOPT_TUNING_H
#include <stddef.h>

/* ---- Threads */

/* Below this number of array elements (the elements of all arrays together), a call runs on one thread. Adam: 16 k
 * elements take 9.2 us on one thread and 7.9 on two, 33 k take 16.4 and 11.1; but a blocked thread needs 5 to 50 us to
 * wake. */
#define SERIAL_BELOW 131072

/* A call with at least this many array elements releases the GIL: an Adam step of about 8 us. */
#define RELEASE_GIL_FROM 65536

/* A planned step releases the GIL if it has at least PINNED array elements per tensor, or HELD_BELOW in total (a step
 * of 1.5 ms). */
#define PINNED 4096
#define HELD_BELOW 8388608

/* A thread takes at most this fraction of its share of the units at a time, and at most LARGEST_CHUNK units (64
 * pieces of 1,024 elements), or ROWS_LARGEST_CHUNK units that gather rows. */
#define CHUNKS_PER_SHARE 4
#define LARGEST_CHUNK 64
#define ROWS_LARGEST_CHUNK 16

/* Spin time before blocking: of a thread that looks for work, and of a caller that waits for threads. Waking a thread
 * costs the caller 5 to 10 us, and the thread starts 50 to 500 us later (on a virtual machine). By then a step of
 * 100,000 elements is over, so the thread helps only if it finds the next one. A caller that had to be woken delays
 * the thread that woke it: that thread is late for the next call, at whose end the caller blocks again, and so on
 * (batch norm of 1,024 x 512: 130 us a call instead of 60, for seconds). So the caller soon yields its processor but
 * blocks late. */
#define SPIN_NS 200000
#define CALLER_SPIN_NS 20000

/* ---- Blocks in the first-level cache */

/* Bytes of one array's block: 6 arrays fit in the 32 KiB of the smallest first-level caches. */
#define BLOCK_BYTES 4096
#define BLOCK_ELEMENTS (BLOCK_BYTES / (ptrdiff_t)sizeof(float))

/* Rows of a tile if one array is contiguous along the columns and another along the rows: 16 elements use a whole
 * cache line. */
#define CROSSING_ROWS 16

/* Codecs prefetch this many bytes ahead, PREFETCH_ELEMENTS elements at a time, for arrays that are not in the caches:
 * the hardware does not prefetch the next block while one is computed (batch norm of bfloat16, NCHW 32x64x56x56:
 * forward 2.1 -> 1.7 ms, backward 3.2 -> 2.5). Updates do not prefetch: they load blocks of several arrays, and it
 * makes them 4 % slower. */
#define PREFETCH_BYTES_AHEAD 2048
#define PREFETCH_ELEMENTS 128

/* Philox computes this many vectors of counters together: a round waits 8 cycles for its products and exclusive ors.
 * Per number, four vectors take 0.40 ns with AVX-512, 1.1 with AVX2 and 1.6 with SSE2; two take 0.70, 1.05 and 2.0. */
#define PHILOX_VECTORS 4

/* ---- Scratch memory */

/* Capacity of the pool. A call of a norm takes two blocks, and two threads may each be in such a call. A call that uses
 * a block larger than LARGEST_POOLED takes longer than the allocation. */
#define POOLED_BLOCKS 4
#define LARGEST_POOLED ((size_t)8 << 20)

/* ---- Updates */

/* Elements of a unit of a contiguous job. */
#define PIECE 1024

/* ---- Norms and feature scaling */

/* Elements of a unit without sums: 256 KiB of float32, in the order of memory. Additions are often that small, so their
 * units are smaller: two threads can share 100,000 elements evenly. Each unit costs 80 ns. */
#define UNIT_ELEMENTS 65536
#define ADDITION_UNIT_ELEMENTS 16384

/* Rows with fewer columns than this are joined to rows of up to JOINED_ELEMENTS with repeated parameters, because the
 * overhead of short loops exceeds their work. */
#define JOIN_BELOW 64
#define JOINED_ELEMENTS 512

/* ---- Norms: caches */

/* Results are written with non-temporal stores if all arrays together have at least this many bytes: a plain store
 * first reads the memory that it overwrites, and evicts data that will be read again (NCHW 32x64x56x56, forward: 3.9
 * -> 2.8 ms; layer norm of 4096x1024: 1.1 -> 0.9; NHWC 32x56x56x64, forward: 2.7 -> 2.3 ms, backward 4.4 -> 3.9). */
#define NONTEMPORAL_FROM ((ptrdiff_t)32 << 20)

/* Bytes of x and y that remain cached: most of the last-level cache, which other programs also use. All of it plus the
 * caches of two cores, 34 MiB, is too much (inference, NCHW 32x64x56x56: 0.53 ms instead of 0.50; 24x64x56x56: at times
 * 0.58 instead of 0.42). */
#define CACHED_BYTES ((ptrdiff_t)28 << 20)

/* An x with at least this many bytes exceeds a core's own caches. */
#define EXCEEDS_L2_FROM ((ptrdiff_t)4 << 20)

/* Bytes that a thread reduces and then reads again from its cache. */
#define FUSED_BYTES ((ptrdiff_t)16 << 20)

/* ---- Norms: units */

/* Neighbouring channels form one unit until the unit has this many contiguous elements, and no more: it is better for a
 * channel to be in a core's own cache when it is read again than for runs to be long (NCHW 32x64x56x56, backward: 2.2
 * ms with one channel per unit, 3.0 with 16,384 elements). */
#define UNIT_RUN_ELEMENTS 1024

/* NHWC: the channels of a unit are a multiple of this. */
#define UNIT_CHANNELS 64

/* NHWC: when each thread owns at least OWNED_ROW_BYTES of every row, it reduces and applies its own channels, at
 * most OWNED_CHANNELS at a time, if x has at most OWNED_BYTES of these. Otherwise a thread would wait for another one's
 * results for longer than the arithmetic takes (two threads, 16x4096: forward 83 -> 52 us, backward 73 -> 47; on cores
 * without a shared cache, 148 -> 95 and 140 -> 89). With more pixels, threads share cache lines at the edges of their
 * channels (256x2048, backward: 230 us instead of 190). */
#define OWNED_ROW_BYTES 8192
#define OWNED_CHANNELS 512
#define OWNED_BYTES ((ptrdiff_t)64 << 10)

/* ROWS: elements of x that are reduced, then applied, then added to the sums of dweight and dbias, while they are in
 * cache. Forward 8,192 (layer norm 1024x1024: 122 us; with 4,096, 129); with non-temporal stores half of that, which
 * leaves room in the first-level cache (8192x1024: 1.1 ms; with 16,384, 1.2). Backward 16,384 of each array. */
#define FORWARD_ELEMENTS 8192
#define NONTEMPORAL_ELEMENTS 4096
#define BACKWARD_ELEMENTS 16384

/* With fewer sums than these, one thread computes all statistics, or all gradients of weight and bias. Otherwise the
 * latter are computed in units of PARAMETER_CHANNELS channels. */
#define SERIAL_STATISTICS_BELOW 4096
#define SERIAL_PARAMETERS_BELOW 65536
#define PARAMETER_CHANNELS 256

/* Statistics or weights that are computed together: one by one, their roots and quotients take a fifth of a small
 * call. */
#define STAT_BLOCK 64

/* ---- Norms: reductions */

/* Rows that one kernel call reduces */
#define MAX_REDUCED_ROWS 8

/* NHWC: channels with sums that are computed together, and the number below which rows of LANES pixels are reduced. */
#define MAX_STRIPE 256
#define NARROW_STRIPE 32

/* Reductions of rows prefetch this many bytes ahead, or the next run if runs have at most LONG_RUN_BYTES. */
#define ROW_BYTES_AHEAD 16384
#define LONG_RUN_BYTES 32768

/* Runs of this many elements are reduced in place (batch norm, NCHW 32x256x14x14: forward 0.36 -> 0.26 ms, backward
 * 0.60 -> 0.43; 32x128x28x28: 0.69 -> 0.45 and 1.04 -> 0.68). With shorter runs, most rows of lanes would have to be
 * joined; with longer ones, few parts contain two runs. */
#define SHORTEST_SCATTERED_RUN 48
#define LONGEST_SCATTERED_RUN 8191

/* If runs have at least this length, the next one is prefetched (64x40x40, backward: 0.79 -> 0.61 ms, 0.68 without this
 * rule). Prefetching does not help shorter ones. */
#define PREFETCHED_RUN 1024

/* ---- Feature scaling */

/* Features with statistics that are computed together: they fit in the first-level cache. */
#define STATS_STRIPE 256

/* Elements of a row when x is tested for NaN and infinity, eight rows at a time: memory is then read almost in order
 * (256 MB on two threads: 10.8 ms; 11.7 with rows of 1,024). */
#define PROBE_ROW 32

/* ---- Rows of arrays */

/* Bytes of a unit. */
#define ROWS_UNIT_BYTES 16384

/* Rows are scattered, so the hardware can't predict the next one: a row is prefetched while this many bytes before it
 * are copied. Of a longer row only the beginning is prefetched, since the rest is contiguous. One thread, rows of 64
 * bytes to 4 KiB: 280 -> 231, 97 -> 89, 203 -> 187, 99 -> 80 us; with twice as many bytes half of the gain is lost. */
#define ROWS_BYTES_AHEAD 1024
#define MAX_ROWS_AHEAD 32

/* Swaps of a shuffle with positions that are drawn and prefetched in advance: ten million numbers take 0.13 s instead
 * of 0.51 s. */
#define SHUFFLE_AHEAD 64

/* ---- Intake */

/* The limit of NumPy's search for an element that two interleaved arrays share; beyond it the pair is refused. */
#define OVERLAP_WORK 100000

#endif
