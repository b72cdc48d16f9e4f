/* The native Lloyd step's own test: run under sanitizers by test_native_step.py.
 *
 * Every buffer is an allocation of exactly its size, so that a byte too far is seen.
 */
#include "step.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t state = 1;

/* Below 2^bits in size. */
static int64_t drawn(int bits) {
    state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (int64_t)(state >> 8) % (INT64_C(1) << bits) * (state & 128 ? -1 : 1);
}

static void require(int holds, const char *engine, const char *what, size_t rows, size_t d,
                    size_t k) {
    if (holds) return;
    printf("%s: %s of %zu rows, %zu features, %zu centres\n", engine, what, rows, d, k);
    exit(1);
}

static void check(const engine *e, size_t rows, size_t d, size_t k, int bits) {
    const size_t first = 1, values = k * (1 + d);
    const int64_t **features = malloc(d * sizeof *features);
    int64_t *middle = malloc(d * sizeof *middle);
    double *slopes = malloc(k * d * sizeof *slopes), *starts = malloc(k * sizeof *starts);
    double *scale = malloc(d * sizeof *scale), *gap = malloc(rows * sizeof *gap);
    int32_t *labels = malloc(rows * sizeof *labels);
    uint64_t *sums = malloc(values * sizeof *sums), *want = calloc(values, sizeof *want);
    for (size_t j = 0; j < d; j++) {
        int64_t *column = malloc((first + rows) * sizeof *column);
        middle[j] = drawn(40);
        scale[j] = (double)drawn(10) / 8;
        for (size_t i = 0; i < first + rows; i++) column[i] = middle[j] + drawn(bits);
        features[j] = column;
    }
    for (size_t i = 0; i < k; i++) starts[i] = (double)drawn(3);
    for (size_t i = 0; i < k * d; i++) slopes[i] = (double)drawn(3) / 3;
    const points p = {d, k, features, middle, slopes, starts};
    require(!nearest(e, &p, first, rows, labels, sums), e->name, "memory", rows, d, k);
    for (size_t i = 0; i < rows; i++) {
        double least = 0;
        int32_t best = 0;
        for (size_t c = 0; c < k; c++) {
            double score = starts[c];
            for (size_t j = 0; j < d; j++)
                score += slopes[c * d + j] * (double)(features[j][first + i] - middle[j]);
            if (c == 0 || score < least) least = score, best = (int32_t)c;
        }
        require(labels[i] == best, e->name, "labels", rows, d, k);
        want[(size_t)best * (1 + d)]++;
        for (size_t j = 0; j < d; j++)
            want[(size_t)best * (1 + d) + 1 + j] += (uint64_t)(features[j][first + i] - middle[j]);
    }
    require(!memcmp(sums, want, values * sizeof *sums), e->name, "sums", rows, d, k);
    require(!nearest(e, &p, first, rows, NULL, NULL), e->name, "nothing", rows, d, k);
    gaps(&p, slopes, scale, first, rows, labels, gap);
    for (size_t j = 0; j < d; j++) free((void *)features[j]);
    free(features), free(middle), free(slopes), free(starts), free(scale), free(gap);
    free(labels), free(sums), free(want);
}

int main(void) {
    static const size_t few[] = {1, 3, 4, 5, 9};
    engine here[ENGINES];
    const size_t count = engines(here);
    for (size_t at = 0; at < count; at++) {
        for (size_t i = 0; i < sizeof few / sizeof *few; i++)
            for (size_t j = 0; j < sizeof few / sizeof *few; j++)
                // Every remainder of the widest lanes, small values for ties.
                for (size_t rows = 0; rows <= 17; rows++) check(&here[at], rows, few[i], few[j], 2);
        // The borders of a tile, values at the end of the range.
        for (size_t rows = MOST_ROWS - 1; rows <= MOST_ROWS + 1; rows++)
            check(&here[at], rows, 5, 6, 51);
        check(&here[at], 1000, 20, 8, 14);
        check(&here[at], 21, TILE_VALUES, 2, 14);
        puts(here[at].name);
    }
    return 0;
}
