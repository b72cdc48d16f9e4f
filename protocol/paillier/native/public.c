/* What anybody does with ciphertexts: products, powers, the check of received ones.
 *
 * Who runs it: B, over A's ciphertexts, with the public key only.
 * Learns: which rows are multiplied shows in time and addresses on B's own machine: they are B's
 * own data, and B is who runs it.
 * Source: protocols.md sections 0 and 2; the buckets are Pippenger's.
 */
#include "native.h"

#include <stdlib.h>
#include <string.h>

static size_t work_limbs(const public_key *k)
{
    return 4 * (size_t)k->square.limbs + 4 * (size_t)k->n.limbs + 2 * STEP;
}

static size_t row_limbs(size_t width)
{
    return width / (8 * LANES) + 1;
}

public_key *public_new(const engine *e, int n_limbs, int limbs, const uint8_t *n,
                       const uint8_t *square, const uint8_t *one, const uint8_t *enter,
                       size_t width)
{
    public_key *k = calloc(1, sizeof *k);
    if (k == NULL)
        return NULL;
    k->e = e;
    k->width = width;
    const size_t full = (size_t)limbs, powers = full * (MAX_RUN + 1) / LANES + 1;
    if (!modulus_open(&k->n, e, n_limbs, n, width) ||
        !modulus_open(&k->square, e, limbs, square, width) ||
        !arena_open(&k->held, 2 * full + powers + row_limbs(width))) {
        public_free(k);
        return NULL;
    }
    k->one = arena_take(&k->held, full);
    k->enter = arena_take(&k->held, full);
    k->powers = arena_take(&k->held, powers);
    k->idle = (uint8_t *)arena_take(&k->held, row_limbs(width));
    broadcast(e, k->one, limbs, one, width);
    broadcast(e, k->enter, limbs, enter, width);
    memcpy(k->idle, one, width);
    arena a;
    if (!arena_open(&a, full + work_limbs(k))) {
        public_free(k);
        return NULL;
    }
    uint64_t *x = arena_take(&a, full), *work = arena_take(&a, work_limbs(k));
    for (int i = 0; i < LANES; i++)
        x[i] = 1;
    for (size_t t = 0; t <= MAX_RUN; t++) {
        for (size_t l = 0; l < full; l++)
            k->powers[t * full + l] = x[l * LANES];
        e->mont(x, x, k->enter, limbs, &k->square, work);
    }
    arena_close(&a);
    return k;
}

void public_free(public_key *k)
{
    modulus_close(&k->n);
    modulus_close(&k->square);
    arena_close(&k->held);
    free(k);
}

/* Room for `blocks` blocks, the workspace and one row. */
static int open_room(arena *a, const public_key *k, size_t blocks, uint64_t **work, uint8_t **spare)
{
    if (!arena_open(a, blocks * (size_t)k->square.limbs + work_limbs(k) + row_limbs(k->width)))
        return 0;
    *work = arena_take(a, work_limbs(k));
    *spare = (uint8_t *)arena_take(a, row_limbs(k->width));
    return 1;
}

static void load_rows(const public_key *k, uint64_t *x, uint8_t *const rows[LANES], size_t width)
{
    k->e->load(x, k->square.limbs, (const uint8_t *const *)rows, width);
}

static void store_rows(const public_key *k, const matrix *out, size_t first, uint64_t *x,
                       uint64_t *work, uint8_t *spare)
{
    uint8_t *rows[LANES];
    k->e->reduce(x, &k->square, 1, work);
    lanes(rows, out, first, spare);
    store(rows, out->width, x, k->square.limbs, k->e->radix);
}

int public_products(const public_key *k, const matrix *cts, const int64_t *order,
                    const int64_t *runs, const matrix *out)
{
    const size_t limbs = (size_t)k->square.limbs;
    uint64_t *work;
    uint8_t *spare;
    arena a;
    if (!open_room(&a, k, 2, &work, &spare))
        return -1;
    uint64_t *x = arena_take(&a, limbs), *c = arena_take(&a, limbs);
    for (size_t first = 0; first < out->rows; first += LANES) {
        const int64_t *next[LANES];
        size_t length[LANES], longest = 0;
        for (size_t i = 0; i < LANES; i++) {
            length[i] = 0;
            next[i] = order;
            if (first + i < out->rows) {
                const int64_t *run = runs + 2 * (first + i);
                next[i] = order + run[0];
                length[i] = (size_t)(run[1] - run[0]);
            }
            longest = length[i] > longest ? length[i] : longest;
            /* A product of t plain rows divides by R^t: start with that. */
            for (size_t l = 0; l < limbs; l++)
                x[l * LANES + i] = k->powers[length[i] * limbs + l];
        }
        for (size_t step = 0; step < longest; step++) {
            uint8_t *rows[LANES];
            for (size_t i = 0; i < LANES; i++)
                rows[i] = step < length[i] ? row(cts, (size_t)next[i][step]) : k->idle;
            load_rows(k, c, rows, k->width);
            /* A group's rows lie anywhere: fetch the next ones while this product is computed. */
            for (size_t i = 0; i < LANES; i++)
                if (step + 1 < length[i])
                    for (size_t at = 0; at < k->width; at += 64)
                        __builtin_prefetch(row(cts, (size_t)next[i][step + 1]) + at);
            k->e->mont(x, x, c, k->square.limbs, &k->square, work);
        }
        store_rows(k, out, first, x, work, spare);
    }
    arena_close(&a);
    return 0;
}

int public_multiply(const public_key *k, const matrix *a, const matrix *b, const matrix *out)
{
    const size_t limbs = (size_t)k->square.limbs;
    uint64_t *work;
    uint8_t *spare, *rows[LANES];
    arena room;
    if (!open_room(&room, k, 2, &work, &spare))
        return -1;
    uint64_t *x = arena_take(&room, limbs), *y = arena_take(&room, limbs);
    for (size_t first = 0; first < out->rows; first += LANES) {
        lanes(rows, a, first, spare);
        load_rows(k, x, rows, k->width);
        lanes(rows, b, first, spare);
        load_rows(k, y, rows, k->width);
        k->e->mont(x, x, k->enter, k->square.limbs, &k->square, work);
        k->e->mont(x, x, y, k->square.limbs, &k->square, work);
        store_rows(k, out, first, x, work, spare);
    }
    arena_close(&room);
    return 0;
}

int public_power(const public_key *k, const matrix *a, exponent exp, const matrix *out)
{
    const size_t limbs = (size_t)k->square.limbs;
    uint64_t *work;
    uint8_t *spare, *rows[LANES];
    arena room;
    if (!open_room(&room, k, 2 + power_limbs(&k->square) / limbs, &work, &spare))
        return -1;
    uint64_t *x = arena_take(&room, limbs), *one = arena_take(&room, limbs);
    uint64_t *table = arena_take(&room, power_limbs(&k->square));
    for (int i = 0; i < LANES; i++)
        one[i] = 1;
    for (size_t first = 0; first < out->rows; first += LANES) {
        lanes(rows, a, first, spare);
        load_rows(k, x, rows, a->width);
        k->e->mont(x, x, k->enter, k->square.limbs, &k->square, work);
        power(k->e, x, k->one, exp, &k->square, table, work);
        k->e->mont(x, x, one, k->square.limbs, &k->square, work);
        store_rows(k, out, first, x, work, spare);
    }
    arena_close(&room);
    return 0;
}

int public_weighted(const public_key *k, const matrix *buckets, size_t count, const uint8_t *fix,
                    const matrix *out)
{
    const size_t limbs = (size_t)k->square.limbs;
    uint64_t *work;
    uint8_t *spare;
    arena a;
    if (!open_room(&a, k, 4, &work, &spare))
        return -1;
    uint64_t *running = arena_take(&a, limbs), *total = arena_take(&a, limbs);
    uint64_t *c = arena_take(&a, limbs), *undo = arena_take(&a, limbs);
    broadcast(k->e, undo, k->square.limbs, fix, k->width);
    for (size_t first = 0; first < out->rows; first += LANES) {
        memcpy(running, k->one, limbs * LANES * sizeof *c);
        memcpy(total, k->one, limbs * LANES * sizeof *c);
        for (size_t d = count; d-- > 0;) {
            uint8_t *rows[LANES];
            for (size_t i = 0; i < LANES; i++)
                rows[i] = first + i < out->rows ? row(buckets, (first + i) * count + d) : k->idle;
            load_rows(k, c, rows, k->width);
            k->e->mont(running, running, c, k->square.limbs, &k->square, work);
            k->e->mont(total, total, running, k->square.limbs, &k->square, work);
        }
        k->e->mont(total, total, undo, k->square.limbs, &k->square, work);
        store_rows(k, out, first, total, work, spare);
    }
    arena_close(&a);
    return 0;
}

/* -- the check of received ciphertexts ------------------------------------------------------ */

/* Two sums of words times random 128-bit keys, their upper halves: equal rows have equal prints,
 * different ones collide with probability under 2^-120, whoever made them (Dietzfelbinger 1996). */
static void fingerprint(uint8_t *print, const uint8_t *data, size_t width, const uint64_t *keys)
{
    for (int part = 0; part < 2; part++) {
        unsigned __int128 sum = 0;
        for (size_t w = 0; w * 8 < width; w++) {
            const uint64_t *key = keys + 4 * w + 2 * part;
            uint64_t word = limb_of(data, width, 64, (int)w);
            sum += (unsigned __int128)key[0] * word + ((unsigned __int128)(key[1] * word) << 64);
        }
        uint64_t upper = (uint64_t)(sum >> 64);
        memcpy(print + 8 * part, &upper, 8);
    }
}

int public_check(const public_key *k, const matrix *cts, const uint64_t *keys, const matrix *prints,
                 const matrix *product)
{
    const engine *e = k->e;
    const int limbs = k->n.limbs;
    int bad = 0;
    arena a;
    const size_t spare_limbs = row_limbs(k->width);
    if (!arena_open(&a, 4 * (size_t)limbs + work_limbs(k) + 3 * spare_limbs))
        return -1;
    uint64_t *c = arena_take(&a, 2 * (size_t)limbs), *x = arena_take(&a, (size_t)limbs);
    uint64_t *total = arena_take(&a, (size_t)limbs), *work = arena_take(&a, work_limbs(k));
    uint8_t *one = (uint8_t *)arena_take(&a, spare_limbs);
    uint8_t *zero = (uint8_t *)arena_take(&a, spare_limbs);
    uint8_t *square = (uint8_t *)arena_take(&a, spare_limbs), *rows[LANES];
    one[0] = 1;
    for (int i = 0; i < LANES; i++)
        rows[i] = square;
    store(rows, k->width, k->square.n, k->square.limbs, e->radix);
    broadcast(e, total, limbs, one, k->width);
    for (size_t first = 0; first < cts->rows; first += LANES) {
        lanes(rows, cts, first, one);
        for (size_t i = first; i < cts->rows && i < first + LANES; i++) {
            const uint8_t *data = row(cts, i);
            bad |= !less(zero, data, k->width) || !less(data, square, k->width);
            fingerprint(row(prints, i), data, k->width, keys);
        }
        e->load(c, 2 * limbs, (const uint8_t *const *)rows, k->width);
        /* Each redc and mont divides by R, a unit: whether n shares a factor stays. */
        e->redc(x, c, &k->n, work);
        e->mont(total, total, x, limbs, &k->n, work);
    }
    e->reduce(total, &k->n, 1, work);
    lanes(rows, product, 0, zero);
    store(rows, product->width, total, limbs, e->radix);
    arena_close(&a);
    return bad;
}
