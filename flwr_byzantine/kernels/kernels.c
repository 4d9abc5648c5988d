/* Distances, inner products, sizes, mixing and reduction of n rows of values. reference.py defines them, and this file
   computes them faster.

   Mixes and reductions are equal to those of reference.py to the last bit, on every machine. Distances and inner
   products are sums over columns, and this file adds the columns in another order. All sums are in double precision.

   The work goes block by block. A block is some columns of all rows, few enough to stay in the cache. During the
   work on one block, the processor is asked to load the values of a later block.

   The file is compiled once for each instruction set (ISA), whose registers hold LANES doubles. It includes
   itself twice: what follows `#else` is written for values of type T, and compiled for double and for float.
   The compiler must not be told that all values are finite, nor that it may change the order of sums.
   Nothing in this file checks an argument, because checks.py has done so. */

#ifndef T
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#ifndef ISA
#define ISA plain
#endif
#define INLINE static inline __attribute__((always_inline))
#define APART static __attribute__((noinline)) /* a function of its own, so that its loop gets all registers */
#define JOIN(name, type, isa) JOIN_(name, type, isa)
#define JOIN_(name, type, isa) name##_##type##_##isa
#define NAME(name) JOIN(name, T, ISA) /* for example distances_float_avx512 if T is float and ISA is avx512 */
#define DOUBLE(name) JOIN(name, double, ISA)

/* ---- The machine: the length of its registers, and instructions for which C has no operator. ---- */

#if defined(__AVX512F__)
#define REGISTER 64 /* bytes */
#define FUSED(a, b, c) _mm512_fmadd_pd(a, b, c) /* a * b + c, rounded once */
#define SMALLER_double(a, b) _mm512_min_pd(a, b)
#define LARGER_double(a, b) _mm512_max_pd(a, b)
#define SMALLER_float(a, b) _mm512_min_ps(a, b)
#define LARGER_float(a, b) _mm512_max_ps(a, b)
#define WIDE_float(place) _mm512_cvtps_pd(_mm256_loadu_ps(place))
#elif defined(__AVX2__) && defined(__FMA__)
#define REGISTER 32
#define FUSED(a, b, c) _mm256_fmadd_pd(a, b, c)
#define SMALLER_double(a, b) _mm256_min_pd(a, b)
#define LARGER_double(a, b) _mm256_max_pd(a, b)
#define SMALLER_float(a, b) _mm256_min_ps(a, b)
#define LARGER_float(a, b) _mm256_max_ps(a, b)
#define WIDE_float(place) _mm256_cvtps_pd(_mm_loadu_ps(place))
#elif defined(__aarch64__)
#define REGISTER 16
#define FUSED(a, b, c) ((doubles)vfmaq_f64((float64x2_t)(c), (float64x2_t)(a), (float64x2_t)(b)))
#define SMALLER_double(a, b) ((full_double)vminq_f64((float64x2_t)(a), (float64x2_t)(b)))
#define LARGER_double(a, b) ((full_double)vmaxq_f64((float64x2_t)(a), (float64x2_t)(b)))
#define SMALLER_float(a, b) ((full_float)vminq_f32((float32x4_t)(a), (float32x4_t)(b)))
#define LARGER_float(a, b) ((full_float)vmaxq_f32((float32x4_t)(a), (float32x4_t)(b)))
#elif defined(__SSE2__)
#define REGISTER 16
#define FUSED(a, b, c) ((a) * (b) + (c))
#define SMALLER_double(a, b) _mm_min_pd(a, b)
#define LARGER_double(a, b) _mm_max_pd(a, b)
#define SMALLER_float(a, b) _mm_min_ps(a, b)
#define LARGER_float(a, b) _mm_max_ps(a, b)
#else /* an unknown machine: the compiler chooses how to compute with vectors */
#define REGISTER 16
#define FUSED(a, b, c) ((a) * (b) + (c))
#define WHERE(mask, a, b, bits, type) ((type)(((bits)(a) & (mask)) | ((bits)(b) & ~(mask))))
#define SMALLER_double(a, b) WHERE((a) < (b), a, b, bits_double, full_double)
#define LARGER_double(a, b) WHERE((a) > (b), a, b, bits_double, full_double)
#define SMALLER_float(a, b) WHERE((a) < (b), a, b, bits_float, full_float)
#define LARGER_float(a, b) WHERE((a) > (b), a, b, bits_float, full_float)
#endif

#ifndef WIDE_float /* AVX has an instruction above, because gcc 12 makes two half registers of this and joins them */
#define WIDE_float(place) __builtin_convertvector(*(const part_float *)(place), doubles)
#endif
#define WIDE_double(place) (*(const doubles *)(place))

#define LANES ((int64_t)(REGISTER / sizeof(double)))
#define STEP 16 /* columns; sums over columns take 16 at once, on every machine */
#define PAD 32  /* columns; rows are filled up to a multiple of it, so that groups of four registers fit */
#define LINE 64 /* bytes that the processor loads at once */
#define VECTOR(type, bytes) type __attribute__((vector_size(bytes), aligned(sizeof(type)), may_alias))

typedef VECTOR(double, REGISTER) doubles;
typedef VECTOR(double, REGISTER) full_double; /* a register of values */
typedef VECTOR(float, REGISTER) full_float;
typedef VECTOR(float, REGISTER / 2) part_float; /* as many values as a register holds doubles */
typedef VECTOR(int64_t, REGISTER) bits_double;
typedef VECTOR(int32_t, REGISTER) bits_float;

/* ---- What Python hands over. compiled.py declares the same structures. ---- */

typedef struct {
    int64_t n, segments;
    const char *const *rows; /* (segments, n): where the values of each row in each segment are */
    const int64_t *offsets;  /* (segments + 1): the first column of each segment, and the end */
    int64_t storage;         /* the type in which the values are kept; if it is not AS_T, T is float */
} Columns;

enum { AS_T, FLOAT16, BFLOAT16 };

typedef struct {             /* result = base_weight * base + scale * value, or the base if that is not finite */
    const char *const *base; /* (segments): the global model, kept in the type of the rows; NULL if it is not known */
    char *const *out;        /* (segments): kept in the type of the rows */
    double base_weight, scale;
} Target;

typedef struct {
    int64_t k;               /* rows after mixing */
    const double *weights;   /* (k, n); NULL is the identity, k = n */
    int64_t trim, keep;      /* keep = 0 asks for the trimmed mean itself */
    int64_t num_sorts;
    const int32_t *sorts;    /* (num_sorts, 9): the number of a sorter, and its rows; see networks.py */
    int64_t overflow;        /* whether mixed rows may be infinite even if all rows are finite */
} Order;

/* ---- Code that does not depend on the type of the values. ---- */

typedef struct {
    int64_t segment, start, width; /* columns `start` to `start + width` of a segment */
    int64_t padded;                /* the width, up to the next multiple of PAD */
    int64_t left;                  /* columns that follow in the same segment */
} Block;

/* The block of at most `size` columns that starts at `column`. It does not go beyond its segment. */
static Block block_at(const Columns *x, int64_t column, int64_t hi, int64_t size)
{
    int64_t low = 0, high = x->segments;
    while (high - low > 1) {
        int64_t middle = (low + high) / 2;
        if (x->offsets[middle] <= column) low = middle;
        else high = middle;
    }
    int64_t end = x->offsets[low + 1] < hi ? x->offsets[low + 1] : hi;
    int64_t width = end - column < size ? end - column : size;
    int64_t padded = (width + PAD - 1) / PAD * PAD;
    return (Block){low, column - x->offsets[low], width, padded, end - column - width};
}

/* The work on a block has `steps` steps. After each of them, `ask` asks the processor to load n / steps rows of the
   block after the next. `credit` counts rows times steps, which saves a division. */
typedef struct {
    int64_t steps, rows, credit;
} Asked;

INLINE void ask(const Columns *x, Block b, int64_t size, int64_t item, Asked *asked)
{
    int64_t width = b.left - size < size ? b.left - size : size;
    for (asked->credit += x->n; asked->credit >= asked->steps; asked->credit -= asked->steps) {
        const char *row = x->rows[b.segment * x->n + asked->rows++] + (b.start + b.width + size) * item;
        for (int64_t at = 0; at < width * item; at += LINE) __builtin_prefetch(row + at, 0, 2);
    }
}

/* Convert float16 or bfloat16 to float, which holds them exactly. */
static void widen(const uint16_t *restrict half, float *restrict out, int64_t width, int64_t storage)
{
    if (storage == BFLOAT16)
        for (int64_t c = 0; c < width; c++) {
            uint32_t bits = (uint32_t)half[c] << 16;
            memcpy(out + c, &bits, sizeof bits);
        }
    else
        for (int64_t c = 0; c < width; c++) {
            uint32_t sign = (uint32_t)(half[c] & 0x8000) << 16, bits = (uint32_t)(half[c] & 0x7fff) << 13;
            uint32_t infinite = bits >= 0x0f800000 ? 0x7f800000 : 0; /* infinite, or not a number */
            float value;
            memcpy(&value, &bits, sizeof bits);
            value *= 0x1p112f; /* the exponent of a float is biased by 127, that of a half by 15 */
            memcpy(&bits, &value, sizeof bits);
            bits |= sign | infinite;
            memcpy(out + c, &bits, sizeof bits);
        }
}

/* Round a finite float to the nearest float16 or bfloat16, and in a tie to the even one. Too large floats become
   infinite. */
static uint16_t narrow(float value, int64_t storage)
{
    uint32_t bits, sign;
    memcpy(&bits, &value, sizeof bits);
    if (storage == BFLOAT16) return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
    sign = bits >> 16 & 0x8000, bits &= 0x7fffffff;
    if (bits < 0x38800000) { /* halves this small are multiples of 2^-24, and so are floats between 0.5 and 1 */
        value = fabsf(value) + 0.5f;
        memcpy(&bits, &value, sizeof bits);
        return (uint16_t)(sign | (bits - 0x3f000000));
    }
    bits -= 0x38000000;
    bits = (bits + 0xfff + (bits >> 13 & 1)) >> 13;
    return (uint16_t)(sign | (bits < 0x7c00 ? bits : 0x7c00));
}

/* Store a block of results as halves. A result that is not finite is replaced by the base. Return how many are. */
static int64_t narrow_all(const Columns *x, const Target *target, Block b, const float *result)
{
    uint16_t infinite = x->storage == BFLOAT16 ? 0x7f80 : 0x7c00, not_a_number = infinite | infinite >> 1;
    uint16_t *out = (uint16_t *)target->out[b.segment] + b.start;
    const uint16_t *base = (const uint16_t *)target->base[b.segment];
    int64_t replaced = 0;
    for (int64_t c = 0; c < b.width; c++) {
        uint16_t half = result[c] - result[c] == 0 ? narrow(result[c], x->storage) : infinite;
        int64_t lost = (half & infinite) == infinite;
        out[c] = !lost ? half : base ? base[b.start + c] : not_a_number;
        replaced += lost;
    }
    return replaced;
}

/* a * b + c, rounded as often as FUSED rounds it in a register. */
static double fused(double a, double b, double c)
{
    doubles one = {a}, two = {b}, three = {c};
    return FUSED(one, two, three)[0];
}

/* The sum of `count` numbers: add the second half to the first half, and do the same with the result. */
static double sum_of(const double *from, int64_t count)
{
    double s[STEP];
    memcpy(s, from, (size_t)count * sizeof *s);
    while (count /= 2)
        for (int64_t i = 0; i < count; i++) s[i] += s[i + count];
    return s[0];
}

/* The sum over columns of one row times another. */
static double product_of(const double *one, const double *two, int64_t width)
{
    doubles sums[STEP / LANES] = {{0}};
    int64_t c = 0;
    for (; c + STEP <= width; c += STEP)
        for (int64_t r = 0; r < STEP / LANES; r++) {
            doubles a = *(const doubles *)(one + c + r * LANES), b = *(const doubles *)(two + c + r * LANES);
            sums[r] = FUSED(a, b, sums[r]);
        }
    double rest = 0;
    for (; c < width; c++) rest = fused(one[c], two[c], rest);
    return sum_of((const double *)sums, STEP) + rest;
}

/* Memory for rows of `bytes` each. It starts at a cache line, because loading a register from two lines takes twice as
   long. */
static void *scratch(int64_t rows, int64_t bytes)
{
    return aligned_alloc(LINE, (size_t)((rows * bytes + LINE) / LINE * LINE));
}

/* How many columns a block has, so that it stays in the second-level cache. */
static int64_t block_size(int64_t rows, int64_t bytes)
{
    int64_t fitting = 48 * 1024 / (rows * bytes) / 64 * 64;
    return fitting < 256 ? 256 : fitting > 4096 ? 4096 : fitting;
}

/* Some mixed rows: which rows have a weight in at least one of them, and these weights. */
typedef struct {
    int64_t num_mixed, count;
    int32_t *used;
    double *weights; /* (count, num_mixed) */
} Mix;

/* Put the mixed rows into Mixes of `at_once` rows each. Their memory is consecutive. */
static void plan_mixes(const Order *order, int64_t n, int64_t at_once, Mix *mixes, int32_t *used, double *weights)
{
    for (int64_t first = 0; first < order->k; first += at_once, mixes++) {
        *mixes = (Mix){order->k - first < at_once ? order->k - first : at_once, 0, used, weights};
        for (int64_t i = 0; i < n; i++) {
            int64_t any = 0;
            for (int64_t r = 0; r < mixes->num_mixed; r++) {
                weights[r] = order->weights[(first + r) * n + i];
                any |= weights[r] != 0;
            }
            if (!any) continue;
            mixes->count++, *used++ = (int32_t)i;
            weights += mixes->num_mixed;
        }
    }
}

/* The mean of the `keep` values, of k, that are nearest to the center. Of two at the same distance, the first counts.
   `radius` is the distance of the farthest of the nearest values. */
static double nearest(const double *values, int64_t k, int64_t keep, double center, double radius)
{
    double sum = 0;
    int64_t missing = keep;
    for (int64_t r = 0; r < k; r++)
        if (fabs(values[r] - center) < radius) sum += values[r], missing--;
    for (int64_t r = 0; r < k && missing > 0; r++)
        if (fabs(values[r] - center) == radius) sum += values[r], missing--;
    return sum / (double)keep;
}

/* The rows of `numbers`, which hold one number for each column of the block that is reduced. */
enum { MEAN, CENTER, COUNT };

/* Four rows are a group. Two groups make a tile, which has 4 x 4 sums. Add to these sums the squared differences
   between the four rows `a` and the first B of the rows `b`. */
#define DISTANCE_BLOCK 192
#define AT_ONCE (REGISTER == 64 ? 4 : 2) /* the number of rows `b` whose sums fit the machine's registers */
INLINE void add_tile(const double *a, const double *b, int64_t width, doubles *sums, const int B)
{
    doubles s[4][4];
    for (int i = 0; i < 4; i++)
        for (int j = 0; j < B; j++) s[i][j] = sums[4 * i + j];
    for (int64_t c = 0; c < width; c += LANES) {
        doubles other[4];
        for (int j = 0; j < B; j++) other[j] = *(const doubles *)(b + j * DISTANCE_BLOCK + c);
        for (int i = 0; i < 4; i++) {
            doubles one = *(const doubles *)(a + i * DISTANCE_BLOCK + c);
            for (int j = 0; j < B; j++) {
                doubles difference = one - other[j];
                s[i][j] = FUSED(difference, difference, s[i][j]);
            }
        }
    }
    for (int i = 0; i < 4; i++)
        for (int j = 0; j < B; j++) sums[4 * i + j] = s[i][j];
}
#define TILE(B) \
    APART void tile_##B(const double *a, const double *b, int64_t width, doubles *sums) \
    { \
        add_tile(a, b, width, sums, B < AT_ONCE ? B : AT_ONCE); \
        if (B > AT_ONCE) add_tile(a, b + AT_ONCE * DISTANCE_BLOCK, width, sums + AT_ONCE, B - AT_ONCE); \
    }
TILE(1) TILE(2) TILE(3) TILE(4)
static void (*const tiles[])(const double *, const double *, int64_t, doubles *) = {
    tile_1, tile_2, tile_3, tile_4};

#ifdef SOURCE_DIGEST /* defined for one instruction set only, so that the library has this part once */
const char kernels_source[] = SOURCE_DIGEST;

/* The best instruction set of this processor: 2 is avx512, 1 is avx2, 0 is plain. */
int64_t kernels_instruction_set(void)
{
#if defined(__x86_64__)
    __builtin_cpu_init();
    int avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    int avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
                 __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq");
    return avx2 ? (avx512 ? 2 : 1) : 0;
#else
    return 0;
#endif
}
#endif

#define T double
#include "kernels.c"
#undef T
#define T float
#include "kernels.c"
#undef T

#else /* ---- From here on, the code is for values of type T. ---- */

#ifndef FULL
#define OF_T(name, type) OF_T_(name, type)
#define OF_T_(name, type) name##_##type
#define FULL OF_T(full, T)
#define SMALLER OF_T(SMALLER, T)
#define LARGER OF_T(LARGER, T)
#define NUMBERS ((int64_t)(REGISTER / sizeof(T))) /* values in a register */
#define WIDE(place) OF_T(WIDE, T)(place) /* LANES values, converted to doubles */
#define ITEM(x) ((x)->storage == AS_T ? (int64_t)sizeof(T) : 2) /* bytes of a value as it is kept */
#endif

/* The values of an array in a block: where they lie if they have type T, or else converted in `copy`. NULL if there is
   no array. */
INLINE const T *NAME(part)(const char *array, const Columns *x, Block b, T *copy)
{
    if (!array) return NULL;
    array += b.start * ITEM(x);
    if (x->storage == AS_T) return (const T *)array;
    widen((const uint16_t *)array, (float *)copy, b.width, x->storage);
    return copy;
}

/* The same for row i. */
INLINE const T *NAME(values)(const Columns *x, Block b, int64_t i, T *copy)
{
    return NAME(part)(x->rows[b.segment * x->n + i], x, b, copy);
}

/* ---- Distances. ---- */

/* For the A rows of one group: keep their values in x as doubles, and add their squared differences to the tile of the
   group with itself. */
INLINE void NAME(triangle_step)(const T *const row[4], int64_t c, double *x, doubles s[4][4], const int A)
{
    doubles value[4];
    for (int i = 0; i < A; i++) {
        value[i] = WIDE(row[i] + c);
        *(doubles *)(x + i * DISTANCE_BLOCK + c) = value[i];
        for (int j = 0; j < i; j++) {
            doubles difference = value[j] - value[i];
            s[j][i] = FUSED(difference, difference, s[j][i]);
        }
    }
}

INLINE void NAME(add_triangle)(const T *const row[4], double *x, int64_t width, doubles *sums, const int A)
{
    doubles s[4][4];
    for (int i = 0; i < A; i++)
        for (int j = 0; j < i; j++) s[j][i] = sums[4 * j + i];
    int64_t whole = width / LANES * LANES;
    for (int64_t c = 0; c < whole; c += LANES) NAME(triangle_step)(row, c, x, s, A);
    if (whole < width) { /* fill up the last columns with zeros */
        T last[4][STEP] = {{0}};
        const T *from[4];
        for (int i = 0; i < A; i++) {
            memcpy(last[i], row[i] + whole, (size_t)(width - whole) * sizeof(T));
            from[i] = last[i];
        }
        NAME(triangle_step)(from, 0, x + whole, s, A);
    }
    for (int i = 0; i < A; i++)
        for (int j = 0; j < i; j++) sums[4 * j + i] = s[j][i];
}
#define TRIANGLE(A) \
    APART void NAME(triangle_##A)(const T *const row[4], double *x, int64_t width, doubles *sums) \
    { NAME(add_triangle)(row, x, width, sums, A); }
TRIANGLE(1) TRIANGLE(2) TRIANGLE(3) TRIANGLE(4)
static void (*const NAME(triangles)[])(const T *const *, double *, int64_t, doubles *) = {
    NAME(triangle_1), NAME(triangle_2), NAME(triangle_3), NAME(triangle_4)};

/* Write the squared distances over columns lo to hi to the upper triangle of `result`, shape (n, n). */
int64_t NAME(distances)(const Columns *x, int64_t lo, int64_t hi, double *result)
{
    int64_t n = x->n, groups = (n + 3) / 4, all = groups * (groups + 1) / 2;
    double *rows = scratch(4 * groups, DISTANCE_BLOCK * sizeof *rows);
    doubles *sums = scratch(all * 16, REGISTER);
    T *copy = scratch(4, DISTANCE_BLOCK * sizeof *copy);
    int64_t failed = !rows || !sums || !copy;
    if (!failed) memset(sums, 0, (size_t)(all * 16 * REGISTER));
    Block b;
    for (int64_t column = lo; column < hi && !failed; column += b.width) {
        b = block_at(x, column, hi, DISTANCE_BLOCK);
        int64_t width = (b.width + LANES - 1) / LANES * LANES;
        doubles *tile = sums;
        Asked asked = {all, 0, 0};
        for (int64_t g = 0; g < groups; g++) {
            int64_t i = 4 * g, last = (n - i < 4 ? n - i : 4) - 1;
            const T *group[4];
            for (int64_t r = 0; r <= last; r++)
                group[r] = NAME(values)(x, b, i + r, copy + r * DISTANCE_BLOCK);
            double *own = rows + i * DISTANCE_BLOCK;
            NAME(triangles)[last](group, own, b.width, tile + 16 * g);
            ask(x, b, DISTANCE_BLOCK, ITEM(x), &asked);
            for (int64_t other = 0; other < g; other++, tile += 16) {
                tiles[last](rows + 4 * other * DISTANCE_BLOCK, own, width, tile);
                ask(x, b, DISTANCE_BLOCK, ITEM(x), &asked);
            }
            tile += 16;
        }
    }
    for (int64_t j = 0; j < n && !failed; j++)
        for (int64_t i = 0; i < j; i++) {
            const doubles *tile = sums + ((j / 4) * (j / 4 + 1) / 2 + i / 4) * 16;
            result[i * n + j] = sum_of((const double *)(tile + 4 * (i % 4) + j % 4), LANES);
        }
    free(rows), free(sums), free(copy);
    return -failed;
}

/* ---- Inner products. ---- */

#define LONG_BLOCK 4096

/* Add to result[i] the sum of (row i - base) * vector over columns lo to hi, or, without a vector, of (row i - base)
   squared. The vector holds values of type T. */
int64_t NAME(inner_products)(
    const Columns *x, const char *const *base, const char *const *vector, int64_t lo, int64_t hi, double *result)
{
    double *row = scratch(2, LONG_BLOCK * sizeof *row), *other = row + LONG_BLOCK;
    T *copy = scratch(2, LONG_BLOCK * sizeof *copy);
    int64_t failed = !row || !copy;
    Block b;
    for (int64_t column = lo; column < hi && !failed; column += b.width) {
        b = block_at(x, column, hi, LONG_BLOCK);
        const T *from = NAME(part)(base[b.segment], x, b, copy + LONG_BLOCK);
        const T *with = vector[b.segment] ? (const T *)vector[b.segment] + b.start : NULL;
        for (int64_t c = 0; c < b.width && with; c++) other[c] = with[c];
        for (int64_t i = 0; i < x->n; i++) {
            const T *value = NAME(values)(x, b, i, copy);
            if (from)
                for (int64_t c = 0; c < b.width; c++) row[c] = (double)value[c] - (double)from[c];
            else
                for (int64_t c = 0; c < b.width; c++) row[c] = value[c];
            result[i] += product_of(row, with ? other : row, b.width);
        }
    }
    free(row), free(copy);
    return -failed;
}

/* ---- Sizes. ---- */

#define SIZES_BLOCK 1024

/* What is known of one row: parts of the sum of squares, and the largest and the smallest value of each lane. */
typedef struct {
    doubles squares[4];
    FULL most[2], least[2];
} NAME(Size);

/* Take two registers of values of row - base. The largest and the smallest value have no meaning if the sum is not a
   number. */
INLINE void NAME(size_step)(const T *row, const T *base, NAME(Size) *size)
{
    T values[2 * REGISTER / sizeof(T)];
    for (int r = 0; r < 2; r++) {
        FULL moved = *(const FULL *)(row + r * NUMBERS);
        if (base) moved -= *(const FULL *)(base + r * NUMBERS);
        size->most[r] = LARGER(moved, size->most[r]);
        size->least[r] = SMALLER(moved, size->least[r]);
        *(FULL *)(values + r * NUMBERS) = moved;
    }
    for (int64_t r = 0; r < 2 * NUMBERS / LANES; r++) {
        doubles value = WIDE(values + r * LANES);
        size->squares[r] = FUSED(value, value, size->squares[r]);
    }
}

INLINE void NAME(size_of)(const T *row, const T *base, int64_t width, double *square, double *largest)
{
    NAME(Size) size = {0};
    int64_t c = 0;
    for (; c + 2 * NUMBERS <= width; c += 2 * NUMBERS) NAME(size_step)(row + c, base ? base + c : NULL, &size);
    if (c < width) { /* fill up the last columns with zeros */
        T last[2][PAD] = {{0}};
        memcpy(last[0], row + c, (size_t)(width - c) * sizeof(T));
        if (base) memcpy(last[1], base + c, (size_t)(width - c) * sizeof(T));
        NAME(size_step)(last[0], last[1], &size);
    }
    doubles sum = (size.squares[0] + size.squares[1]) + (size.squares[2] + size.squares[3]);
    *square += sum_of((const double *)&sum, LANES);
    for (int r = 0; r < 2; r++)
        for (int64_t lane = 0; lane < NUMBERS; lane++) {
            if (size.most[r][lane] > *largest) *largest = size.most[r][lane];
            if (-size.least[r][lane] > *largest) *largest = -size.least[r][lane];
        }
}
APART void NAME(size)(const T *row, int64_t width, double *square, double *most)
{
    NAME(size_of)(row, NULL, width, square, most);
}
APART void NAME(size_moved)(const T *row, const T *base, int64_t width, double *square, double *most)
{
    NAME(size_of)(row, base, width, square, most);
}

/* Add to result[i] the sum of (row i - base) squared over columns lo to hi. Make result[n + i] the largest absolute value
   of row i - base, if it is larger. */
int64_t NAME(sizes)(const Columns *x, const char *const *base, int64_t lo, int64_t hi, double *result)
{
    T *copy = scratch(2, SIZES_BLOCK * sizeof *copy);
    int64_t failed = !copy;
    Block b;
    for (int64_t column = lo; column < hi && !failed; column += b.width) {
        b = block_at(x, column, hi, SIZES_BLOCK);
        const T *from = NAME(part)(base[b.segment], x, b, copy + SIZES_BLOCK);
        Asked asked = {x->n, 0, 0};
        for (int64_t i = 0; i < x->n; i++) {
            const T *row = NAME(values)(x, b, i, copy);
            if (from) NAME(size_moved)(row, from, b.width, result + i, result + x->n + i);
            else NAME(size)(row, b.width, result + i, result + x->n + i);
            ask(x, b, SIZES_BLOCK, ITEM(x), &asked);
        }
    }
    free(copy);
    return -failed;
}

/* ---- The result. ---- */

/* Store out = base_weight * base + scale * value in a block. A result that is not finite is replaced by the base.
   Return how many are. `copy` is memory for two rows of the block. The base and the result may be the same array. */
static int64_t NAME(store)(
    const Columns *x, const Target *target, Block b, const double *restrict value, T *copy)
{
    double base_weight = target->base_weight, scale = target->scale;
    const T *base = NAME(part)(target->base[b.segment], x, b, copy);
    T *out = x->storage == AS_T ? (T *)target->out[b.segment] + b.start : copy + b.padded;
    int64_t replaced = 0;
    for (int64_t c = 0; c < b.width && base; c++) {
        T result = (T)(base[c] * base_weight + value[c] * scale);
        int64_t lost = result - result != 0;
        out[c] = lost && x->storage == AS_T ? base[c] : result;
        replaced += lost;
    }
    for (int64_t c = 0; c < b.width && !base; c++) {
        T result = (T)(value[c] * scale);
        int64_t lost = result - result != 0;
        out[c] = lost ? (T)NAN : result;
        replaced += lost;
    }
    return x->storage == AS_T ? replaced : narrow_all(x, target, b, (const float *)out);
}

/* ---- One mixed row. ---- */

/* total = total + weight_1 * row_1 + ... for R rows, one after the other. */
INLINE void NAME(add_rows)(
    const T *const *row, const double *weight, double *total, int64_t width, const int R)
{
    int64_t c = 0;
    for (; c + STEP <= width; c += STEP) {
        doubles s[STEP / LANES];
        for (int v = 0; v < STEP / LANES; v++) s[v] = *(doubles *)(total + c + v * LANES);
        for (int r = 0; r < R; r++)
            for (int v = 0; v < STEP / LANES; v++) s[v] += WIDE(row[r] + c + v * LANES) * weight[r];
        for (int v = 0; v < STEP / LANES; v++) *(doubles *)(total + c + v * LANES) = s[v];
    }
    for (; c < width; c++)
        for (int r = 0; r < R; r++) total[c] += row[r][c] * weight[r];
}

/* Store the sum of weights[i] * row i in columns lo to hi. Return how many values were replaced. */
int64_t NAME(mix)(const Columns *x, const Target *target, const double *weights, int64_t lo, int64_t hi)
{
    double *total = scratch(1, LONG_BLOCK * sizeof *total), *weight = scratch(1, x->n * sizeof *weight);
    int64_t *used = scratch(1, x->n * sizeof *used), count = 0, replaced = 0;
    T *copy = scratch(4, LONG_BLOCK * sizeof *copy);
    int64_t failed = !total || !weight || !used || !copy;
    for (int64_t i = 0; i < x->n && !failed; i++)
        if (weights[i] != 0) weight[count] = weights[i], used[count++] = i;
    Block b;
    for (int64_t column = lo; column < hi && !failed; column += b.width) {
        b = block_at(x, column, hi, LONG_BLOCK);
        memset(total, 0, (size_t)b.width * sizeof *total);
        for (int64_t t = 0, more; t < count; t += more) {
            const T *row[4];
            more = count - t < 4 ? 1 : 4;
            for (int64_t r = 0; r < more; r++) row[r] = NAME(values)(x, b, used[t + r], copy + r * LONG_BLOCK);
            if (more == 4) NAME(add_rows)(row, weight + t, total, b.width, 4);
            else NAME(add_rows)(row, weight + t, total, b.width, 1);
        }
        replaced += NAME(store)(x, target, b, total, copy);
    }
    free(total), free(weight), free(used), free(copy);
    return failed ? -1 : replaced;
}

/* ---- Several rows, reduced column by column. ---- */

/* Comparators on eight rows at most, which are held in registers. The smaller value goes to the lower index. */
#define EXCHANGE(i, j) { FULL low = SMALLER(v[i], v[j]); v[j] = LARGER(v[i], v[j]); v[i] = low; }
#define MERGE4(a, b, c, d) EXCHANGE(a, c) EXCHANGE(b, d) EXCHANGE(b, c)
#define SORT4(a, b, c, d) EXCHANGE(a, b) EXCHANGE(c, d) MERGE4(a, b, c, d)
#define MERGE8 \
    EXCHANGE(0, 4) EXCHANGE(1, 5) EXCHANGE(2, 6) EXCHANGE(3, 7) EXCHANGE(2, 4) EXCHANGE(3, 5) \
    EXCHANGE(1, 2) EXCHANGE(3, 4) EXCHANGE(5, 6)
#define SORTER(name, rows, comparators) \
    APART void NAME(name)(T *x, const int32_t *row, int64_t stride, int64_t width) \
    { \
        T *place[rows]; \
        for (int r = 0; r < rows; r++) place[r] = x + row[r] * stride; \
        for (int64_t c = 0; c < width; c += NUMBERS) { \
            FULL v[rows]; \
            for (int r = 0; r < rows; r++) v[r] = *(const FULL *)(place[r] + c); \
            comparators \
            for (int r = 0; r < rows; r++) *(FULL *)(place[r] + c) = v[r]; \
        } \
    }
SORTER(exchange, 2, EXCHANGE(0, 1))
SORTER(merge4, 4, MERGE4(0, 1, 2, 3))
SORTER(sort4, 4, SORT4(0, 1, 2, 3))
SORTER(merge8, 8, MERGE8)
SORTER(sort8, 8, SORT4(0, 1, 2, 3) SORT4(4, 5, 6, 7) MERGE8)
static void (*const NAME(sorters)[])(T *, const int32_t *, int64_t, int64_t) = {
    NAME(exchange), NAME(merge4), NAME(sort4), NAME(merge8), NAME(sort8)};

/* The mean of the rows of x from `first` to `last` (exclusive), added one after the other. */
APART void NAME(mean)(const T *x, int64_t first, int64_t last, int64_t stride, int64_t width, double *mean)
{
    const double count = (double)(last - first);
    for (int64_t c = 0; c < width; c += 4 * LANES) {
        doubles s[4] = {{0}};
        for (int64_t i = first; i < last; i++)
            for (int r = 0; r < 4; r++) s[r] += WIDE(x + i * stride + c + r * LANES);
        for (int r = 0; r < 4; r++) *(doubles *)(mean + c + r * LANES) = s[r] / count;
    }
}

/* Write the value of `right` to `place` where it is nearer to the center than that of `left`. Return whether two
   different values are at the same distance in any column. `place` may be `left`. Each case has its own loop, so that
   no two rows of a loop share memory. */
APART int64_t NAME(slide)(
    const T *left, const T *restrict right, T *place, const double *restrict center, int64_t width)
{
    int64_t tied = 0;
    T *restrict own = place;
#define SLIDE(from) \
    for (int64_t c = 0; c < width; c++) { \
        double before = center[c] - from[c], after = right[c] - center[c]; \
        tied |= (before == after) & (before > 0); \
        own[c] = before > after ? right[c] : own[c]; \
    }
    if (left == place) {
        SLIDE(own)
    } else {
        const T *restrict other = left;
        SLIDE(other)
    }
#undef SLIDE
    return tied;
}

/* Mark the columns in which `slide` found a tie. It changed nothing in these columns. */
static void NAME(find_ties)(const T *left, const T *right, const double *center, int8_t *ties, int64_t width)
{
    for (int64_t c = 0; c < width; c++) {
        double before = center[c] - left[c], after = right[c] - center[c];
        ties[c] |= (before == after) & (before > 0);
    }
}

/* Copy a row to a block, and fill it up with zeros. Return whether all its values are finite. */
INLINE int64_t NAME(load)(const T *from, T *row, int64_t width, int64_t padded)
{
    FULL all = {0};
    int64_t c = 0;
    for (; c + NUMBERS <= width; c += NUMBERS) {
        FULL value = *(const FULL *)(from + c);
        *(FULL *)(row + c) = value;
        all += value - value; /* 0 if the value is finite, or else not a number */
    }
    if (from != row) memcpy(row + c, from + c, (size_t)(width - c) * sizeof *row);
    memset(row + width, 0, (size_t)(padded - width) * sizeof *row);
    for (; c < padded; c += NUMBERS) all += *(FULL *)(row + c) - *(FULL *)(row + c);
    T sum = 0;
    for (int64_t r = 0; r < NUMBERS; r++) sum += all[r];
    return sum == 0;
}

/* Return whether all values of a block are finite. NaN becomes infinite, so that it is sorted last. */
static int64_t NAME(without_nan)(T *x, int64_t rows, int64_t stride, int64_t width)
{
    int64_t finite = 1;
    for (int64_t i = 0; i < rows; i++) {
        T *restrict row = x + i * stride;
        if (NAME(load)(row, row, width, width)) continue;
        finite = 0;
        for (int64_t c = 0; c < width; c++) row[c] = row[c] == row[c] ? row[c] : (T)INFINITY;
    }
    return finite;
}

/* Reduce k rows, which end up in another order. The result is in row MEAN of `numbers`. Return whether there are ties.
   `ties` marks their columns, in which two values at the same distance from the center could each be chosen. */
static int64_t NAME(reduce_rows)(
    T *x, int64_t stride, const Order *order, int64_t finite, const Columns *columns, Block b, int64_t item,
    double *numbers, int8_t *ties)
{
    int64_t k = order->k, trim = order->trim, keep = order->keep, width = b.padded, tied = 0;
    double *mean = numbers + MEAN * stride, *center = numbers + CENTER * stride, *count = numbers + COUNT * stride;
    Asked asked = {order->num_sorts, 0, 0};
    for (int64_t s = 0; s < order->num_sorts; s++) {
        const int32_t *sort = order->sorts + 9 * s;
        NAME(sorters)[sort[0]](x, sort + 1, stride, width);
        ask(columns, b, stride, item, &asked);
    }
    if (!finite) {
        memset(count, 0, (size_t)width * sizeof *count);
        for (int64_t i = 0; i < k; i++)
            for (int64_t c = 0; c < width; c++) count[c] += x[i * stride + c] - x[i * stride + c] != 0;
    }
    NAME(mean)(x, trim, k - trim, stride, width, keep ? center : mean);
    if (keep) {
        /* In sorted order, the `keep` nearest values are neighbours. They form a window, which starts at the first t
           whose value is no farther from the center than value t + keep. Exactly one value of each residue class
           modulo `keep` lies in the window. It takes the place of the first value of its class. */
        for (int64_t t = 0; t < k - keep; t++) {
            const T *left = x + t * stride, *right = x + (t + keep) * stride;
            if (!NAME(slide)(left, right, x + t % keep * stride, center, width)) continue;
            if (!tied) memset(ties, 0, (size_t)width);
            tied = 1;
            NAME(find_ties)(left, right, center, ties, width);
        }
        NAME(mean)(x, 0, keep, stride, width, mean);
    }
    if (!finite) {
        double limit = (double)(keep && k - keep < trim ? k - keep : trim);
        for (int64_t c = 0; c < width; c++)
            if (count[c] > limit) mean[c] = NAN, ties[c] = 0;
    }
    return tied;
}

/* The (mixed) values of one column. They are read again, because the rows of the block have been reordered. `values` is
   memory for n + k numbers. */
static const double *NAME(column)(const Columns *x, Block b, const Order *order, int64_t column, double *values)
{
    double *mixed = values + x->n;
    b.start += column, b.width = 1;
    for (int64_t i = 0; i < x->n; i++) {
        T wide;
        values[i] = *NAME(values)(x, b, i, &wide);
    }
    if (!order->weights) return values;
    for (int64_t r = 0; r < order->k; r++) {
        const double *weights = order->weights + r * x->n;
        mixed[r] = 0;
        for (int64_t i = 0; i < x->n; i++)
            if (weights[i] != 0) mixed[r] += values[i] * weights[i];
    }
    return mixed;
}

/* Compute R mixed rows. Mixed row r is the sum of weights[R * t + r] * row used[t] of x, added one after the other. */
INLINE void NAME(mix_rows)(
    const T *x, int64_t stride, int64_t width, const Mix *mix, double *mixed, const int R)
{
    for (int64_t c = 0; c < width; c += 2 * LANES) {
        doubles s[4][2] = {{{0}}};
        for (int64_t t = 0; t < mix->count; t++) {
            const T *row = x + mix->used[t] * stride + c;
            doubles one = WIDE(row), two = WIDE(row + LANES);
            for (int r = 0; r < R; r++) {
                s[r][0] += one * mix->weights[R * t + r];
                s[r][1] += two * mix->weights[R * t + r];
            }
        }
        for (int r = 0; r < R; r++) {
            *(doubles *)(mixed + r * stride + c) = s[r][0];
            *(doubles *)(mixed + r * stride + c + LANES) = s[r][1];
        }
    }
}
#define MIXER(R) \
    APART void NAME(mix_rows_##R)(const T *x, int64_t stride, int64_t width, const Mix *mix, double *mixed) \
    { NAME(mix_rows)(x, stride, width, mix, mixed, R); }
MIXER(1) MIXER(2) MIXER(3) MIXER(4)
static void (*const NAME(mixers)[])(const T *, int64_t, int64_t, const Mix *, double *) = {
    NAME(mix_rows_1), NAME(mix_rows_2), NAME(mix_rows_3), NAME(mix_rows_4)};

/* Reduce the (mixed) rows in columns lo to hi, and store the result. Return how many values were replaced. */
int64_t NAME(reduce)(const Columns *x, const Target *target, const Order *order, int64_t lo, int64_t hi)
{
    int64_t n = x->n, k = order->k, replaced = 0;
    int64_t size = block_size(n, order->weights ? sizeof(T) + 8 : sizeof(T));
    T *rows = scratch(n + 1, size * sizeof *rows);
    double *mixed = scratch(order->weights ? k + 1 : 0, size * sizeof *mixed);
    double *numbers = scratch(3, size * sizeof *numbers), *values = scratch(n + k, sizeof *values);
    int8_t *ties = scratch(1, size);
    /* A Mix of four rows reads each row once for all four. A Mix of one row leaves out all rows without weight. */
    double *weights = scratch(2 * k, (n + 4) * sizeof *weights);
    int32_t *used = scratch(2 * k, n * sizeof *used);
    Mix *mixes = scratch(2 * k, sizeof *mixes);
    int64_t failed = !rows || !mixed || !numbers || !values || !ties || !weights || !used || !mixes;
    if (!failed) {
        if (order->weights) {
            plan_mixes(order, n, 1, mixes, used, weights);
            plan_mixes(order, n, 4, mixes + k, used + k * n, weights + k * (n + 4));
        }
        /* The row after the last holds infinities. A sorter takes it for each row that it lacks. */
        for (int64_t c = 0; c < size; c++) rows[n * size + c] = (T)INFINITY;
        for (int64_t c = 0; c < size && order->weights; c++) mixed[k * size + c] = INFINITY;
    }
    Block b;
    for (int64_t column = lo; column < hi && !failed; column += b.width) {
        b = block_at(x, column, hi, size);
        int64_t finite = 1, tied;
        for (int64_t i = 0; i < n; i++) {
            T *row = rows + i * size;
            finite &= NAME(load)(NAME(values)(x, b, i, row), row, b.width, b.padded);
        }
        if (!finite) NAME(without_nan)(rows, n, size, b.padded);
        if (order->weights) {
            const Mix *mix = finite ? mixes + k : mixes; /* 0 times infinity would not be a number */
            for (int64_t r = 0; r < k; r += mix->num_mixed, mix++)
                NAME(mixers)[mix->num_mixed - 1](rows, size, b.padded, mix, mixed + r * size);
            if (!finite || order->overflow || sizeof(T) == 8) /* sums of floats stay in the range of double */
                finite = DOUBLE(without_nan)(mixed, k, size, b.padded);
            tied = DOUBLE(reduce_rows)(mixed, size, order, finite, x, b, ITEM(x), numbers, ties);
        } else
            tied = NAME(reduce_rows)(rows, size, order, finite, x, b, ITEM(x), numbers, ties);
        double *mean = numbers + MEAN * size;
        for (int64_t c = 0; c < b.width && tied; c++)
            if (ties[c]) {
                double center = numbers[CENTER * size + c], radius = 0;
                for (int64_t r = 0; r < order->keep; r++) {
                    double value = order->weights ? mixed[r * size + c] : rows[r * size + c];
                    /* A conditional, because gcc 12 for aarch64 fails to compile `fmax` here. */
                    if (fabs(value - center) > radius) radius = fabs(value - center);
                }
                const double *column_values = NAME(column)(x, b, order, c, values);
                mean[c] = nearest(column_values, k, order->keep, center, radius);
            }
        replaced += NAME(store)(x, target, b, mean, rows);
    }
    free(rows), free(mixed), free(numbers), free(values), free(ties), free(weights), free(used), free(mixes);
    return failed ? -1 : replaced;
}

#endif
