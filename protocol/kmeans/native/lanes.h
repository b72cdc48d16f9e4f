/* One engine: step.c includes this once for every width.
 *
 * LANES: rows in a vector.  TARGET: the instructions that its functions may use.  NAMED(x): x with
 * the engine's name.  Vectors are the compiler's own (GCC, Clang), so the same lines serve all.
 */
typedef double NAMED(reals) __attribute__((vector_size(8 * LANES), may_alias));
typedef uint64_t NAMED(words) __attribute__((vector_size(8 * LANES), may_alias));
typedef uint64_t NAMED(unaligned)
    __attribute__((vector_size(8 * LANES), aligned(8), may_alias));

/* The tile of `vectors` vectors of rows. */
TARGET static inline void NAMED(load)(const points *p, size_t row, size_t vectors, uint64_t *tile)
{
    for (size_t j = 0; j < p->d; j++) {
        const NAMED(unaligned) *column = (const NAMED(unaligned) *)(p->features[j] + row);
        NAMED(words) *to = (NAMED(words) *)(tile + j * vectors * LANES);
        const uint64_t shift = WHOLE_BITS - (uint64_t)p->middle[j];
        for (size_t v = 0; v < vectors; v++)
            to[v] = column[v] + shift;
    }
}

/* ahead: the first row of the next tile. */
TARGET static void NAMED(assign)(const points *p, const double *centres, const uint64_t *tile,
                                 size_t ahead, size_t vectors, uint64_t *labels)
{
    for (size_t v = 0; v < vectors; v++) {
        for (size_t j = 0; j < p->d; j++)
            prefetch(p->features[j] + ahead + v * LANES);
        NAMED(reals) best = {0};
        NAMED(words) label = {0};
        const double *next = centres;
        for (size_t c = 0; c < p->k; c += GROUP) {
            NAMED(reals) score[GROUP];
            for (int q = 0; q < GROUP; q++)
                score[q] = *next++ - (NAMED(reals)){0};
            const NAMED(words) *x = (const NAMED(words) *)tile + v;
            for (size_t j = 0; j < p->d; j++, x += vectors, next += GROUP) {
                const NAMED(reals) value = (NAMED(reals)) * x - WHOLE;
                for (int q = 0; q < GROUP; q++)
                    score[q] += next[q] * value;
            }
            if (c == 0)
                best = score[0];
            for (int q = 0; q < GROUP; q++) {
                const NAMED(words) nearer = (NAMED(words))(score[q] < best);
                best = (NAMED(reals))(((NAMED(words))score[q] & nearer) |
                                      ((NAMED(words))best & ~nearer));
                label = ((c + q) & nearer) | (label & ~nearer);
            }
        }
        *(NAMED(words) *)(labels + v * LANES) = label;
    }
}

/* As `nearest` of step.h, for a number of rows that is a multiple of LANES. */
TARGET static void NAMED(whole)(const points *p, const workspace *w, size_t first, size_t rows,
                                int32_t *labels, uint64_t *sums)
{
    const size_t most = tile_rows(p->d);
    for (size_t from = 0; from < rows; from += most) {
        const size_t here = rows - from < most ? rows - from : most;
        NAMED(load)(p, first + from, here / LANES, w->tile);
        NAMED(assign)(p, w->centres, w->tile, first + from + most, here / LANES, w->labels);
        finish(p, w, here, labels == NULL ? NULL : labels + from, sums);
    }
}
