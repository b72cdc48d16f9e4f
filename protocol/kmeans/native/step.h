/* Lloyd's step over rows in columns: the nearest centre of each row, and the sums per centre.
 *
 * Who runs it: every party of a k-means, over its own rows.  Learns: nobody, anything.
 * Source: protocols.md section 4; Lloyd 1982.  ../lloyd.py has the same in numpy: both round
 * every product and every sum once, in the same order, so labels and distances are equal to the
 * bit.  That is why nothing here may be contracted to a fused multiply-add (setup.py says so).
 *
 * A lane is a row, so the width of the vectors does not change the order of any sum.
 */
#ifndef ASSENT_KMEANS_STEP_H
#define ASSENT_KMEANS_STEP_H

#include <stddef.h>
#include <stdint.h>

/* Rows at a time: at most MOST_ROWS, of at most TILE_VALUES numbers. */
#define MOST_ROWS 256
#define TILE_VALUES 3072

typedef struct {
    size_t d, k;                    /* features; centres, at least one */
    const int64_t *const *features; /* d columns */
    const int64_t *middle;          /* d: subtracted from each; what is left is below 2^51 */
    const double *slopes;           /* k * d: what one unit of a feature adds to a score */
    const double *starts;           /* k: the scores in the middle */
} points;

typedef struct {
    const char *name;
    int lanes;
} engine;

/* The engines of this processor, the fastest first. */
#define ENGINES 3
size_t engines(engine found[ENGINES]);

/* labels: int32[rows], the first centre with the smallest score, if not NULL.
 * sums: k * (1 + d) numbers modulo 2^64, per centre its rows and their sums, if not NULL.
 * 0, or -1 without memory. */
int nearest(const engine *e, const points *p, size_t first, size_t rows, int32_t *labels,
            uint64_t *sums);

/* out[i] = sum over features of ((x - middle - centre) * scale)^2, the centre (of k * d) that
 * labels[i] names. */
void gaps(const points *p, const double *centres, const double *scale, size_t first, size_t rows,
          const int32_t *labels, double *out);

#endif
