/* The module of random kernels of each compute type and instruction set includes this file after codecs.c.
 *
 * The element at position i uses word i % 4 of the output of Philox for the key `seed` and the counter
 *
 *     i / 4 in words 0 and 1; offset + 2^56 * purpose in words 2 and 3; the lower half first. */
#include "core/draw.h"

#if defined(__AVX512F__)
#define VECTOR_BYTES 64
#define VECTOR_PRODUCT(a, b) ((simd_t)_mm512_mul_epu32((__m512i)(a), (__m512i)(b)))
#elif defined(__AVX2__)
#define VECTOR_BYTES 32
#define VECTOR_PRODUCT(a, b) ((simd_t)_mm256_mul_epu32((__m256i)(a), (__m256i)(b)))
#elif defined(__SSE2__)
#define VECTOR_BYTES 16
#define VECTOR_PRODUCT(a, b) ((simd_t)_mm_mul_epu32((__m128i)(a), (__m128i)(b)))
#else
#define VECTOR_BYTES 16
#define VECTOR_PRODUCT(a, b) ((a) * ((b) & 0xffffffff))
#endif

/* The processor's widest vectors of 64-bit words */
typedef uint64_t simd_t __attribute__((vector_size(VECTOR_BYTES)));

#define WIDTH (VECTOR_BYTES / 8)
#define COUNTERS (PHILOX_VECTORS * WIDTH)

PHILOX(philox_vectors, simd_t, PHILOX_VECTORS, VECTOR_PRODUCT)

/* Generate four random words for each of these blocks, in two pairs, the first word in the lower half. */
static inline void draw_blocks(const uint64_t *blocks, const source_t *source, uint64_t *restrict pairs)
{
    const simd_t none = {0};
    simd_t x[4][PHILOX_VECTORS];
    for (int v = 0; v < PHILOX_VECTORS; v++) {
        memcpy(&x[0][v], blocks + v * WIDTH, VECTOR_BYTES);
        x[1][v] = x[0][v] >> 32;
        x[2][v] = none + source->offset;
        x[3][v] = none + (source->offset >> 32 | (uint64_t)source->purpose << 24);
    }
    philox_vectors(x, none + source->seed, none + (source->seed >> 32));
    for (int v = 0; v < PHILOX_VECTORS; v++) {
        simd_t first = (x[0][v] & 0xffffffff) | x[1][v] << 32, second = (x[2][v] & 0xffffffff) | x[3][v] << 32;
        for (int i = 0; i < WIDTH; i++, pairs += 2) {
            pairs[0] = first[i];
            pairs[1] = second[i];
        }
    }
}

/* Draw bits for n elements at consecutive positions in C order, starting at `place`. */
static void draw_run(uint64_t place, ptrdiff_t n, const source_t *source, uint32_t *bits)
{
    ptrdiff_t skipped = (ptrdiff_t)(place % 4), count = (skipped + n + 3) / 4;
    uint64_t blocks[COUNTERS], pairs[2 * COUNTERS];
    for (ptrdiff_t b = 0; b < count; b += COUNTERS) {
        for (int i = 0; i < COUNTERS; i++)
            blocks[i] = place / 4 + (uint64_t)(b + i);
        draw_blocks(blocks, source, pairs);
        memcpy(bits + 4 * b, pairs, sizeof pairs);
    }
    if (skipped)
        memmove(bits, bits + skipped, (size_t)n * sizeof *bits);
}

/* Draw bits for n elements whose positions are `stride` apart. Most of a counter's four words belong to other
 * elements and are discarded. */
static void draw_apart(uint64_t place, uint64_t stride, ptrdiff_t n, const source_t *source, uint32_t *bits)
{
    uint64_t blocks[COUNTERS], pairs[2 * COUNTERS];
    for (ptrdiff_t c = 0; c < n; c += COUNTERS, place += COUNTERS * stride) {
        for (int i = 0; i < COUNTERS; i++)
            blocks[i] = (place + (uint64_t)i * stride) / 4;
        draw_blocks(blocks, source, pairs);
        for (int i = 0; i < COUNTERS; i++) {
            uint64_t word = (place + (uint64_t)i * stride) % 4;
            bits[c + i] = (uint32_t)(pairs[2 * i + (ptrdiff_t)(word / 2)] >> word % 2 * 32);
        }
    }
}

static void draw_bits(const tile_t *places, const source_t *source, uint32_t *bits)
{
    for (ptrdiff_t r = 0; r < places->rows; r++, bits += places->cols) {
        uint64_t place = (uint64_t)(uintptr_t)places->data + (uint64_t)(r * places->row_stride);
        if (places->col_stride == 1)
            draw_run(place, places->cols, source, bits);
        else
            draw_apart(place, (uint64_t)places->col_stride, places->cols, source, bits);
    }
}
