/* The engines, the choice among them at run time, and what is done a row at a time. */
#include "step.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define GROUP 8    /* centres whose scores stay in registers */
#define ALIGNED 64 /* bytes of the widest vector */
#define WIDEST 8   /* its lanes */

/* A tile is some rows of every column, one column after the other, each value as the bits of
 * WHOLE plus what it lies above the middle: subtract WHOLE as numbers and it is the value as a
 * float64, add the bits as integers and the sum is one of integers. */
#define WHOLE 6755399441055744.0 /* 1.5 * 2^52: its last bit is worth one */
#define WHOLE_BITS UINT64_C(0x4338000000000000)

/* Brings a part of a column nearer before it is needed; an address outside of it does nothing.
 * The processor does not foresee so many columns. */
#define prefetch(address) __builtin_prefetch(address, 0, 2)

typedef struct {
    double *centres; /* per GROUP of them their starts, then per feature their slopes */
    uint64_t *tile, *labels;
} workspace;

/* So many that a tile stays in the first-level cache until its sums are made: the columns
 * themselves would not, they often lie a whole number of pages apart. */
static size_t tile_rows(size_t d)
{
    const size_t rows = TILE_VALUES / d / WIDEST * WIDEST;
    return rows < WIDEST ? WIDEST : rows > MOST_ROWS ? MOST_ROWS : rows;
}

/* What is known of a tile with its labels: they, and the sums, which count WHOLE_BITS with every
 * row. */
static void finish(const points *p, const workspace *w, size_t rows, int32_t *labels,
                   uint64_t *sums)
{
    for (size_t i = 0; labels != NULL && i < rows; i++)
        labels[i] = (int32_t)w->labels[i];
    for (size_t i = 0; sums != NULL && i < rows; i++) {
        uint64_t *own = sums + w->labels[i] * (1 + p->d);
        const uint64_t *x = w->tile + i;
        *own++ += 1;
        /* Row by row: the same feature of two rows of one centre must wait for each other.  Four
         * are read before one is written: the compiler cannot know that they lie apart. */
        size_t j = 0;
        for (; j + 4 <= p->d; j += 4, x += 4 * rows) {
            const uint64_t four[] = {x[0], x[rows], x[2 * rows], x[3 * rows]};
            for (int q = 0; q < 4; q++)
                own[j + q] += four[q];
        }
        for (; j < p->d; j++, x += rows)
            own[j] += *x;
    }
}

#define LANES 1
#define TARGET
#define NAMED(x) single_##x
#include "lanes.h"
#undef LANES
#undef NAMED

#define LANES 2
#define NAMED(x) portable_##x
#include "lanes.h"
#undef LANES
#undef TARGET
#undef NAMED

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))

#define LANES 4
#define TARGET __attribute__((target("avx2")))
#define NAMED(x) avx2_##x
#include "lanes.h"
#undef LANES
#undef TARGET
#undef NAMED

#define LANES 8
#define TARGET __attribute__((target("avx512f,avx512dq")))
#define NAMED(x) avx512_##x
#include "lanes.h"
#undef LANES
#undef TARGET
#undef NAMED

static size_t wider(engine found[])
{
    size_t count = 0;
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq"))
        found[count++] = (engine){"avx512", 8};
    if (__builtin_cpu_supports("avx2"))
        found[count++] = (engine){"avx2", 4};
    return count;
}

#else

#define avx512_whole portable_whole
#define avx2_whole portable_whole

static size_t wider(engine found[])
{
    (void)found;
    return 0;
}

#endif

size_t engines(engine found[ENGINES])
{
    size_t count = wider(found);
    found[count++] = (engine){"portable", 2};
    return count;
}

/* Centres beside each other by groups; those that fill up the last are infinitely far, which no
 * value makes nearer than anything: a label is below k whatever the columns hold. */
static void arrange(const points *p, double *to)
{
    for (size_t c = 0; c < p->k; c += GROUP) {
        for (size_t q = c; q < c + GROUP; q++)
            *to++ = q < p->k ? p->starts[q] : INFINITY;
        for (size_t j = 0; j < p->d; j++)
            for (size_t q = c; q < c + GROUP; q++)
                *to++ = q < p->k ? p->slopes[q * p->d + j] : 0.0;
    }
}

int nearest(const engine *e, const points *p, size_t first, size_t rows, int32_t *labels,
            uint64_t *sums)
{
    const size_t many = rows - rows % (size_t)e->lanes, most = tile_rows(p->d);
    const size_t centres = (p->k + GROUP - 1) / GROUP * GROUP * (1 + p->d);
    size_t bytes = (most * (1 + p->d) + centres) * 8;
    bytes += ALIGNED - bytes % ALIGNED;
    uint64_t *held = aligned_alloc(ALIGNED, bytes);
    if (held == NULL)
        return -1;
    const workspace w = {(double *)(held + most * (1 + p->d)), held, held + most * p->d};
    arrange(p, w.centres);
    if (sums != NULL)
        memset(sums, 0, p->k * (1 + p->d) * sizeof *sums);
    if (e->lanes == 8)
        avx512_whole(p, &w, first, many, labels, sums);
    else if (e->lanes == 4)
        avx2_whole(p, &w, first, many, labels, sums);
    else
        portable_whole(p, &w, first, many, labels, sums);
    single_whole(p, &w, first + many, rows - many, labels == NULL ? NULL : labels + many, sums);
    free(held);
    for (size_t c = 0; sums != NULL && c < p->k; c++, sums += 1 + p->d)
        for (size_t j = 0; j < p->d; j++)
            sums[1 + j] -= sums[0] * WHOLE_BITS;
    return 0;
}

void gaps(const points *p, const double *centres, const double *scale, size_t first, size_t rows,
          const int32_t *labels, double *out)
{
    for (size_t from = 0; from < rows; from += MOST_ROWS) {
        const size_t end = rows - from < MOST_ROWS ? rows : from + MOST_ROWS;
        for (size_t i = from; i < end; i++)
            out[i] = 0.0;
        for (size_t j = 0; j < p->d; j++) {
            const int64_t *feature = p->features[j] + first;
            const uint64_t middle = (uint64_t)p->middle[j];
            for (size_t i = from; i < end; i += 8)
                prefetch(feature + i + MOST_ROWS);
            for (size_t i = from; i < end; i++) {
                const double x = (double)(int64_t)((uint64_t)feature[i] - middle);
                const double gap = (x - centres[(size_t)labels[i] * p->d + j]) * scale[j];
                out[i] += gap * gap;
            }
        }
    }
}
