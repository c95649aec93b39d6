/* The thresholds and block sizes of the engine, with the measurement that each follows from. None of them changes a
 * bit of a result: those that would are in sum_tree.h and fastopt/specs/sums.py. STRIPE, which the writers of kernels
 * need too, is in fastopt/specs/norms.py; sizes that only kernels have are in fastopt/codegen, beside the loops that
 * they belong to. Where a comment names no processor, none was recorded.
 *
 * The sizes of caches are constants. The C library gives the third-level cache of a whole socket (384 MiB where the
 * cores of a virtual machine share 32), so that it is no measure of what a process can use. */
#ifndef FASTOPT_TUNING_H
#define FASTOPT_TUNING_H
#include <stddef.h>

/* ---- Threads */

/* Below this number of array elements (elements of all arrays together), a call runs on one thread. Adam on 2 threads:
 * 16 k elements take 9.2 us on one thread and 7.9 on two, 33 k take 16.4 and 11.1; but a thread that sleeps needs 5 to
 * 50 us to wake. */
#define SERIAL_BELOW 131072

/* From this number of array elements on, a call releases the GIL: an Adam step of about 8 us. */
#define RELEASE_GIL_FROM 65536

/* A planned step releases the GIL from PINNED array elements per tensor on, or from HELD_BELOW in all (a step of 1.5
 * ms). */
#define PINNED 4096
#define HELD_BELOW 8388608

/* A thread takes at most this fraction of its share of the units at a time, and at most LARGEST_CHUNK units (64
 * pieces of 1,024 elements); of units that gather rows, ROWS_LARGEST_CHUNK. */
#define CHUNKS_PER_SHARE 4
#define LARGEST_CHUNK 64
#define ROWS_LARGEST_CHUNK 16

/* Spin time before blocking: of a thread that looks for work, and of a caller that waits for threads. To wake a
 * thread costs the caller 5 to 10 us, and the thread begins 50 to 500 us later (on a virtual machine). By then a
 * step of 100,000 elements is over, and the thread is of use only if it finds the next one. A caller that had to be
 * woken delays the thread that woke it: that thread is late for the next call, at whose end the caller blocks again,
 * and so on (batch norm of 1,024 x 512: 130 us a call, not 60, for seconds). So the caller yields its processor
 * early, but it blocks late. */
#define SPIN_NS 200000
#define CALLER_SPIN_NS 20000

/* ---- Blocks in the first-level cache */

/* Bytes of one array's block: 6 arrays fit the 32 KiB of the smallest first-level caches. */
#define BLOCK_BYTES 4096
#define BLOCK_ELEMENTS (BLOCK_BYTES / (ptrdiff_t)sizeof(float))

/* Rows of a tile in which an array's neighbours lie along the columns, and another array's along the rows: 16
 * elements use a fetched cache line whole. */
#define CROSSING_ROWS 16

/* Codecs prefetch this many bytes ahead, for PREFETCH_ELEMENTS elements at a time, if an array comes from beyond the
 * caches: while a block is computed, a processor does not prefetch the next one by itself (batch norm of bfloat16,
 * NCHW 32x64x56x56: forward 2.1 -> 1.7 ms, backward 3.2 -> 2.5). Updates do not use this: they load blocks of
 * several arrays, and take 4 % longer with it. */
#define PREFETCH_BYTES_AHEAD 2048
#define PREFETCH_ELEMENTS 128

/* Philox computes this many vectors of counters together: a round waits 8 cycles for its products and exclusive ors.
 * For each number, four vectors take 0.40 ns with AVX-512, 1.1 with AVX2 and 1.6 with SSE2; two take 0.70, 1.05 and
 * 2.0. */
#define PHILOX_VECTORS 4

/* ---- Scratch memory */

/* Blocks that the pool keeps. A call of a norm takes two, and two threads may be in one each. A call that uses a larger
 * block than LARGEST_POOLED takes longer than it takes to get one. */
#define POOLED_BLOCKS 4
#define LARGEST_POOLED ((size_t)8 << 20)

/* ---- Updates */

/* Elements of a unit of a contiguous job. */
#define PIECE 1024

/* ---- Norms and feature scaling */

/* Elements of a unit that has no sums: 256 KiB of float32, in the order of memory. An addition is often as small as
 * that, so its units let two threads share 100,000 elements evenly; each unit costs 80 ns. */
#define UNIT_ELEMENTS 65536
#define ADDITION_UNIT_ELEMENTS 16384

/* Rows of fewer columns than this are joined to rows of up to JOINED_ELEMENTS, whose parameters repeat: short loops
 * spend their time on their beginnings. */
#define JOIN_BELOW 64
#define JOINED_ELEMENTS 512

/* ---- Norms: caches */

/* Results are written with non-temporal stores if all arrays together have at least this many bytes: a plain store
 * first reads the memory that it overwrites, and evicts what will be read again (NCHW 32x64x56x56, forward: 3.9 ->
 * 2.8 ms; layer norm of 4096x1024: 1.1 -> 0.9; NHWC 32x56x56x64, forward: 2.7 -> 2.3 ms, backward 4.4 -> 3.9). */
#define NONTEMPORAL_FROM ((ptrdiff_t)32 << 20)

/* Bytes of x and y that stay in the caches: most of the last one, which other programs use, too. All of it and the
 * caches of two cores, 34 MiB, is too much (inference, NCHW 32x64x56x56: 0.53 ms, not 0.50; 24x64x56x56: 0.58, not
 * 0.42, in some minutes). */
#define CACHED_BYTES ((ptrdiff_t)28 << 20)

/* From this number of bytes on, x comes from beyond a core's own caches. */
#define EXCEEDS_L2_FROM ((ptrdiff_t)4 << 20)

/* Bytes that a thread reduces and then reads again while they are in its cache. */
#define FUSED_BYTES ((ptrdiff_t)16 << 20)

/* ---- Norms: units */

/* Neighbouring channels are one unit until this many elements lie together in memory, and no more: a channel that is
 * still in a core's own cache when it is read again is worth more than long runs are (NCHW 32x64x56x56, backward:
 * 2.2 ms with a channel at a time, 3.0 with 16,384 elements). */
#define UNIT_RUN_ELEMENTS 1024

/* NHWC: a unit has a multiple of this many channels. */
#define UNIT_CHANNELS 64

/* NHWC: when each thread owns at least OWNED_ROW_BYTES of every row, it reduces and applies its own channels, at
 * most OWNED_CHANNELS at a time, if x has at most OWNED_BYTES of these. Otherwise, a thread waits for what another
 * one wrote for longer than the arithmetic takes (two threads, 16x4096: forward 83 -> 52 us, backward 73 -> 47;
 * where their cores share no cache, 148 -> 95 and 140 -> 89). With more pixels, threads disturb each other at the
 * edges of their channels (256x2048, backward: 230 us, not 190). */
#define OWNED_ROW_BYTES 8192
#define OWNED_CHANNELS 512
#define OWNED_BYTES ((ptrdiff_t)64 << 10)

/* ROWS: elements of x that are reduced, then applied, then added to the sums of dweight and dbias, while they are in
 * cache. Forward 8,192 (layer norm 1024x1024: 122 us; with 4,096, 129), but half of them, which leave room in the
 * first-level cache, if stores are non-temporal (8192x1024: 1.1 ms; with 16,384, 1.2). Backward 16,384 of each
 * array. */
#define FORWARD_ELEMENTS 8192
#define NONTEMPORAL_ELEMENTS 4096
#define BACKWARD_ELEMENTS 16384

/* With fewer sums than these, one thread computes all statistics, or all gradients of weight and bias, which
 * otherwise are computed in units of PARAMETER_CHANNELS channels. */
#define SERIAL_STATISTICS_BELOW 4096
#define SERIAL_PARAMETERS_BELOW 65536
#define PARAMETER_CHANNELS 256

/* Statistics, or weights, that are computed together: their roots and quotients take a fifth of a small call, one by
 * one. */
#define STAT_BLOCK 64

/* ---- Norms: reductions */

/* Rows that one call of a kernel reduces. */
#define MAX_REDUCED_ROWS 8

/* NHWC: channels whose sums are computed together; and the number below which rows of LANES pixels are reduced. */
#define MAX_STRIPE 256
#define NARROW_STRIPE 32

/* Reductions of rows prefetch this many bytes ahead, or from the run that follows, if runs have at most
 * LONG_RUN_BYTES. */
#define ROW_BYTES_AHEAD 16384
#define LONG_RUN_BYTES 32768

/* Runs of this many elements are reduced where they lie (batch norm, NCHW 32x256x14x14: forward 0.36 -> 0.26 ms,
 * backward 0.60 -> 0.43; 32x128x28x28: 0.69 -> 0.45 and 1.04 -> 0.68). Of shorter runs, most rows of lanes would
 * have to be joined; of longer ones, few parts have two. */
#define SHORTEST_SCATTERED_RUN 48
#define LONGEST_SCATTERED_RUN 8191

/* From this length on, the run that follows is prefetched (64x40x40: 0.68 -> 0.61 ms, backward; without prefetching
 * 0.79). Shorter ones are as good without. */
#define PREFETCHED_RUN 1024

/* ---- Feature scaling */

/* Features whose statistics are computed together: these stay in the first-level cache. */
#define STATS_STRIPE 256

/* Elements of a row when all are tested for NaN and infinity, eight rows at a time: memory is read almost in order then
 * (256 MB on two threads: 10.8 ms, not 11.7 with rows of 1,024). */
#define PROBE_ROW 32

/* ---- Rows of arrays */

/* Bytes of a unit. */
#define ROWS_UNIT_BYTES 16384

/* Rows lie anywhere, so that no processor predicts the next one: a row is prefetched while this many bytes before it
 * are copied, and of a longer row its beginning, for the rest follows in order. One thread, rows of 64 bytes to 4
 * KiB: 280 -> 231, 97 -> 89, 203 -> 187, 99 -> 80 us; with twice as many bytes half of that is lost. */
#define ROWS_BYTES_AHEAD 1024
#define MAX_ROWS_AHEAD 32

/* Swaps of a shuffle whose positions are drawn, and prefetched, before they are made: of ten million numbers 0.51 ->
 * 0.13 s. */
#define SHUFFLE_AHEAD 64

/* ---- Intake */

/* How hard NumPy may search for an element that two interleaved arrays share, before the pair is refused. */
#define OVERLAP_WORK 100000

#endif
