/* Each kernel module (one per compute type, COMPUTE_FLOAT64, and instruction set) includes this file. It uses integer
 * operations and no conversion instructions, so that every instruction set gives the same bits. gcc vectorises the
 * loops. */
#include "core/codecs.h"
#include "core/philox.h"
#include "core/tuning.h"
#include <stdint.h>
#include <string.h>

static inline uint32_t bits_of(float x) { uint32_t u; memcpy(&u, &x, sizeof u); return u; }
static inline float float_of(uint32_t u) { float x; memcpy(&x, &u, sizeof x); return x; }

/* ---- Conversions between 16-bit numbers and float. Stores round to nearest even. A NaN remains a NaN. */

static inline float from_bfloat16(uint16_t h) { return float_of((uint32_t)h << 16); }

static inline uint16_t to_bfloat16(float x)
{
    uint32_t u = bits_of(x);
    uint32_t rounded = u + 0x7fff + ((u >> 16) & 1);
    uint32_t nan = u | 0x400000;
    return (uint16_t)((x != x ? nan : rounded) >> 16);
}

/* The subtraction below renormalises a float16 subnormal. In float it is a normal number, so flushing to zero does not
 * affect it. */
static inline float from_float16(uint16_t h)
{
    uint32_t u = (uint32_t)(h & 0x7fff) << 13;
    uint32_t exponent = u & 0x0f800000;
    uint32_t normal = u + ((uint32_t)(127 - 15) << 23);
    uint32_t special = u + ((uint32_t)(255 - 31) << 23);
    uint32_t subnormal = bits_of(float_of(u + ((uint32_t)(127 - 14) << 23)) - float_of((uint32_t)(127 - 14) << 23));
    uint32_t magnitude = exponent == 0x0f800000 ? special : (exponent == 0 ? subnormal : normal);
    return float_of(magnitude | (uint32_t)(h & 0x8000) << 16);
}

static inline uint16_t to_float16(float x)
{
    uint32_t u = bits_of(x);
    uint32_t sign = (u >> 16) & 0x8000;
    uint32_t magnitude = u & 0x7fffffff;
    uint32_t normal = (magnitude - ((uint32_t)(127 - 15) << 23) + 0xfff + ((magnitude >> 13) & 1)) >> 13;
    /* Adding 0.5 shifts a subnormal's bits to the end of the mantissa, rounded by the processor. */
    uint32_t subnormal = bits_of(float_of(magnitude) + 0.5f) - bits_of(0.5f);
    uint32_t finite = magnitude < (uint32_t)(127 - 14) << 23 ? subnormal : normal;
    uint32_t special = magnitude > 0x7f800000 ? 0x7e00 : 0x7c00;
    return (uint16_t)(sign | (magnitude >= (uint32_t)(127 + 16) << 23 ? special : finite));
}

/* ---- double to 16 bits with one rounding: to float, rounded to odd, which preserves the bits that decide a tie. */

static inline float to_odd(double x)
{
    float f = (float)x;
    uint32_t u = bits_of(f);
    if ((double)f == x || x != x || (u & 0x7fffffff) == 0)
        return f;
    if ((f < 0 ? -(double)f : (double)f) > (x < 0 ? -x : x))
        u -= 1;
    return float_of(u | 1);
}

#define SAME(x) (x)
#define NARROWED(x) to_odd((double)(x))

/* ---- One codec per storage type, for rows of a tile whose elements are contiguous or strided. */

#define CODEC(name, STORED, FROM, TO)                                                                         \
    static inline void load_run_##name(const STORED *restrict x, REAL *restrict to, ptrdiff_t n)              \
    {                                                                                                         \
        for (ptrdiff_t c = 0; c < n; c++)                                                                     \
            to[c] = (REAL)FROM(x[c]);                                                                         \
    }                                                                                                         \
    static void load_prefetched_##name(const tile_t *from, void *block)                                       \
    {                                                                                                         \
        REAL *to = block;                                                                                     \
        for (ptrdiff_t r = 0; r < from->rows; r++, to += from->cols) {                                        \
            const STORED *x = (const STORED *)(from->data + r * from->row_stride);                            \
            ptrdiff_t c = 0;                                                                                  \
            for (; c + PREFETCH_ELEMENTS <= from->cols; c += PREFETCH_ELEMENTS) {                             \
                prefetch_l1((const char *)(x + c) + PREFETCH_BYTES_AHEAD, sizeof(STORED[PREFETCH_ELEMENTS])); \
                load_run_##name(x + c, to + c, PREFETCH_ELEMENTS);                                            \
            }                                                                                                 \
            load_run_##name(x + c, to + c, from->cols - c);                                                   \
        }                                                                                                     \
    }                                                                                                         \
    static void load_##name(const tile_t *from, void *block)                                                  \
    {                                                                                                         \
        REAL *restrict to = block;                                                                            \
        for (ptrdiff_t r = 0; r < from->rows; r++, to += from->cols) {                                        \
            const char *row = from->data + r * from->row_stride;                                              \
            if (from->col_stride == (ptrdiff_t)sizeof(STORED)) {                                              \
                load_run_##name((const STORED *)row, to, from->cols);                                         \
            } else {                                                                                          \
                for (ptrdiff_t c = 0; c < from->cols; c++, row += from->col_stride)                           \
                    to[c] = (REAL)FROM(*(const STORED *)row);                                                 \
            }                                                                                                 \
        }                                                                                                     \
    }                                                                                                         \
    static void store_##name(const tile_t *to, const void *block)                                             \
    {                                                                                                         \
        const REAL *restrict from = block;                                                                    \
        for (ptrdiff_t r = 0; r < to->rows; r++, from += to->cols) {                                          \
            char *row = to->data + r * to->row_stride;                                                        \
            if (to->col_stride == (ptrdiff_t)sizeof(STORED)) {                                                \
                STORED *restrict y = (STORED *)row;                                                           \
                for (ptrdiff_t c = 0; c < to->cols; c++)                                                      \
                    y[c] = (STORED)TO(from[c]);                                                               \
            } else {                                                                                          \
                for (ptrdiff_t c = 0; c < to->cols; c++, row += to->col_stride)                               \
                    *(STORED *)row = (STORED)TO(from[c]);                                                     \
            }                                                                                                 \
        }                                                                                                     \
    }

#if COMPUTE_FLOAT64
#define REAL double
#define TO_FLOAT(x) NARROWED(x)
#define TO_FLOAT16(x) to_float16(NARROWED(x))
#define TO_BFLOAT16(x) to_bfloat16(NARROWED(x))
#else
#define REAL float
#define TO_FLOAT(x) (x)
#define TO_FLOAT16(x) to_float16(x)
#define TO_BFLOAT16(x) to_bfloat16(x)
#endif

CODEC(float32, float, SAME, SAME)
CODEC(float64, double, SAME, SAME)
CODEC(float16, uint16_t, from_float16, TO_FLOAT16)
CODEC(bfloat16, uint16_t, from_bfloat16, TO_BFLOAT16)

/* ---- Stochastic rounding to bfloat16: add 16 random bits below the last bit of the result, then truncate. The
 * probability of rounding up is the distance from the lower neighbour, so the mean is exact. */

#define NOISE_BLOCK 8 /* elements that share one call of philox; each takes 16 bits */

static inline uint16_t to_bfloat16_by(float x, uint32_t noise)
{
    uint32_t u = bits_of(x);
    uint32_t nan = (u >> 16) | 0x40;
    return (uint16_t)((u & 0x7fffffff) > 0x7f800000 ? nan : (u + noise) >> 16);
}

/* The random bits of the elements at positions NOISE_BLOCK * block, ... in C order. */
static inline void noise_of(uint64_t block, const noise_t *noise, uint32_t tensor, uint32_t *words)
{
    words[0] = (uint32_t)block;
    words[1] = (uint32_t)(block >> 32);
    words[2] = tensor;
    words[3] = (uint32_t)noise->step;
    philox(words, (uint32_t)noise->seed, (uint32_t)(noise->seed >> 32) ^ (uint32_t)(noise->step >> 32));
}

/* The random bits of n elements at consecutive positions in C order, starting at `place`. */
static void run_of_noise(uint64_t place, ptrdiff_t n, const noise_t *noise, uint32_t tensor, uint16_t *restrict to)
{
    ptrdiff_t skipped = (ptrdiff_t)(place % NOISE_BLOCK), blocks = (skipped + n + NOISE_BLOCK - 1) / NOISE_BLOCK;
    uint64_t first = place / NOISE_BLOCK;
    for (ptrdiff_t b = 0; b < blocks; b++) {
        uint32_t words[4];
        noise_of(first + (uint64_t)b, noise, tensor, words);
        memcpy(to + b * NOISE_BLOCK, words, sizeof words);
    }
    if (skipped)
        memmove(to, to + skipped, (size_t)n * sizeof *to);
}

static void store_rounded_bfloat16(
    const tile_t *to, const tile_t *places, const void *block, const noise_t *noise, uint32_t tensor)
{
    const REAL *from = block;
    uint16_t bits[BLOCK_ELEMENTS + 2 * NOISE_BLOCK];
    for (ptrdiff_t r = 0; r < to->rows; r++, from += to->cols) {
        char *row = to->data + r * to->row_stride;
        uint64_t place = (uint64_t)(uintptr_t)places->data + (uint64_t)(r * places->row_stride);
        if (places->col_stride == 1) {
            run_of_noise(place, to->cols, noise, tensor, bits);
        } else {
            for (ptrdiff_t c = 0; c < to->cols; c++, place += (uint64_t)places->col_stride) {
                uint32_t words[4];
                noise_of(place / NOISE_BLOCK, noise, tensor, words);
                bits[c] = (uint16_t)(words[place % NOISE_BLOCK / 2] >> place % 2 * 16);
            }
        }
        for (ptrdiff_t c = 0; c < to->cols; c++, row += to->col_stride)
            *(uint16_t *)row = to_bfloat16_by(TO_FLOAT(from[c]), bits[c]);
    }
}

/* ---- Sums of squares, in double, where the square of a float neither overflows nor is rounded */

static void add_squares(const void *block, ptrdiff_t n, double scale, double *restrict lanes)
{
    const REAL *restrict x = block;
    ptrdiff_t whole = n / SQUARE_LANES * SQUARE_LANES;
    for (ptrdiff_t i = 0; i < whole; i += SQUARE_LANES)
        for (int lane = 0; lane < SQUARE_LANES; lane++) {
            double scaled = scale * (double)x[i + lane];
            lanes[lane] += scaled * scaled;
        }
    for (ptrdiff_t i = whole; i < n; i++) {
        double scaled = scale * (double)x[i];
        lanes[i - whole] += scaled * scaled;
    }
}

static void subtract(void *block, const void *other, ptrdiff_t n, double weight_decay)
{
    REAL *restrict x = block;
    const REAL *restrict y = other;
    REAL decay = (REAL)weight_decay;
    for (ptrdiff_t i = 0; i < n; i++)
        x[i] = decay * y[i] - x[i];
}

/* ---- Non-temporal stores of whole cache lines */

#ifdef __SSE2__
#include <immintrin.h>

static inline void stream_line(char *to, const char *from)
{
#ifdef __AVX512F__
    _mm512_stream_si512((__m512i *)to, _mm512_loadu_si512(from));
#elif defined(__AVX__)
    for (int i = 0; i < CACHE_LINE; i += 32)
        _mm256_stream_si256((__m256i *)(to + i), _mm256_loadu_si256((const __m256i *)(from + i)));
#else
    for (int i = 0; i < CACHE_LINE; i += 16)
        _mm_stream_si128((__m128i *)(to + i), _mm_loadu_si128((const __m128i *)(from + i)));
#endif
}

/* Store whole lines of results: with non-temporal stores if the destination is aligned to a cache line. */
static inline void stream_store(char *to, const char *from, ptrdiff_t bytes)
{
    for (ptrdiff_t i = 0; i + CACHE_LINE <= bytes; i += CACHE_LINE)
        if (bytes_to_line(to + i))
            memcpy(to + i, from + i, CACHE_LINE);
        else
            stream_line(to + i, from + i);
}

static inline void stream_row(char *to, const char *from, ptrdiff_t bytes)
{
    ptrdiff_t head = smaller(bytes_to_line(to), bytes);
    if (head)
        memcpy(to, from, (size_t)head);
    to += head, from += head, bytes -= head;
    for (; bytes >= CACHE_LINE; to += CACHE_LINE, from += CACHE_LINE, bytes -= CACHE_LINE)
        stream_line(to, from);
    if (bytes)
        memcpy(to, from, (size_t)bytes);
}

static void store_real_nontemporal(const tile_t *to, const void *block)
{
    ptrdiff_t row_bytes = to->cols * (ptrdiff_t)sizeof(REAL);
    for (ptrdiff_t r = 0; r < to->rows; r++)
        stream_row(to->data + r * to->row_stride, (const char *)block + r * row_bytes, row_bytes);
}
#define STORE_NONTEMPORAL store_real_nontemporal
#else
static inline void stream_store(char *to, const char *from, ptrdiff_t bytes)
{
    memcpy(to, from, (size_t)(bytes - bytes % CACHE_LINE));
}
#define STORE_NONTEMPORAL NULL
#endif

/* In the order of enum storage */
static const codec_t codec_table[STORAGES] = {
    [FLOAT32] = {load_float32, load_prefetched_float32, store_float32, COMPUTE_FLOAT64 ? NULL : STORE_NONTEMPORAL, NULL},
    [FLOAT64] = {load_float64, load_prefetched_float64, store_float64, COMPUTE_FLOAT64 ? STORE_NONTEMPORAL : NULL, NULL},
    [FLOAT16] = {load_float16, load_prefetched_float16, store_float16, NULL, NULL},
    [BFLOAT16] = {load_bfloat16, load_prefetched_bfloat16, store_bfloat16, NULL, store_rounded_bfloat16},
};

/* The functions for sums of squares. */
static const summing_t summing_table = {add_squares, subtract};
