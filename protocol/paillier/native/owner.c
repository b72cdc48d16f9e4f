/* What needs the private key: encryption from tables, decryption, both by CRT.
 *
 * Who runs it: the key's owner only.
 * Learns: nobody anything.  No branch and no address depends on a prime, an exponent or a
 * plaintext; only that a row is no ciphertext shows.
 * Source: protocols.md section 0; `protocol.paillier.fixed_base` proves the half-size tables:
 * a root is b·(1 + p·slope), so a window costs one product with a number of half the limbs,
 * reduced by half as many rows, and one addition.
 */
#include "native.h"

#include <stdlib.h>
#include <string.h>

#define BATCH 64 /* groups of LANES rows per pass over the tables: their state stays in cache */

static int side_open(side *s, const engine *e, int half, const uint8_t *constants, size_t width,
                     arena *held)
{
    const size_t room = (size_t)half * (size_t)e->radix / 8;
    for (size_t i = room < 2 ? 0 : room - 2; i < width; i++)
        if (constants[i] != 0)
            return 0; /* sums of up to 2^12 slopes must fit */
    for (int c = 0; c < C_COUNT; c++) {
        s->constant[c] = arena_take(held, 2 * (size_t)half);
        broadcast(e, s->constant[c], 2 * half, constants + (size_t)c * width, width);
    }
    if (!modulus_open(&s->prime, e, half, constants, width) ||
        !modulus_open(&s->square, e, 2 * half, constants + C_SQUARE * width, width))
        return 0;
    s->exponent = (uint8_t *)arena_take(held, width / (8 * LANES) + 1);
    memcpy(s->exponent, constants + C_EXPONENT * width, width);
    s->exponent_bits = 0;
    for (size_t i = 0; i < 8 * width; i++)
        if (s->exponent[i / 8] >> (i % 8) & 1)
            s->exponent_bits = (int)i + 1;
    return 1;
}

owner *owner_new(const engine *e, int half, const uint8_t *constants, size_t width)
{
    owner *o = calloc(1, sizeof *o);
    if (o == NULL)
        return NULL;
    o->e = e;
    o->half = half;
    size_t per_side = 2 * (size_t)half * C_COUNT + width / (8 * LANES) + 1;
    if (!arena_open(&o->held, 2 * per_side) ||
        !side_open(&o->p, e, half, constants, width, &o->held) ||
        !side_open(&o->q, e, half, constants + C_COUNT * width, width, &o->held)) {
        owner_free(o);
        return NULL;
    }
    return o;
}

static void side_close(side *s)
{
    modulus_close(&s->prime);
    modulus_close(&s->square);
}

void owner_free(owner *o)
{
    side_close(&o->p);
    side_close(&o->q);
    arena_close(&o->held);
    free(o);
}

/* -- tables --------------------------------------------------------------------------------- */

tables *tables_new(const engine *e, int half, int window, int count, const matrix *residues,
                   const matrix *slopes, const uint8_t *start, size_t width)
{
    const int filled = 1 << window, entries = filled < 16 ? 16 : filled;
    const size_t words = (size_t)count * 2 * (size_t)half * (size_t)entries;
    tables *t = calloc(1, sizeof *t);
    if (t == NULL)
        return NULL;
    *t = (tables){.e = e, .half = half, .window = window, .count = count, .entries = entries};
    if (!arena_open(&t->held, words / LANES + 2 * (size_t)half)) {
        free(t);
        return NULL;
    }
    t->start = arena_take(&t->held, 2 * (size_t)half);
    broadcast(e, t->start, 2 * half, start, width);
    t->table = arena_take(&t->held, words / LANES);
    uint64_t *at = t->table;
    for (int j = 0; j < count; j++)
        for (int part = 0; part < 2; part++)
            for (int l = 0; l < half; l++, at += entries)
                for (int d = 0; d < filled; d++) {
                    const matrix *from = part == 0 ? residues : slopes;
                    const uint8_t *bytes = row(from, (size_t)j * (size_t)filled + (size_t)d);
                    at[d] = limb_of(bytes, from->width, e->radix, l);
                }
    return t;
}

void tables_free(tables *t)
{
    arena_close(&t->held);
    free(t);
}

/* -- encryption ----------------------------------------------------------------------------- */

static uint64_t digit_of(const uint8_t *bytes, size_t width, int bit, int window)
{
    size_t at = (size_t)bit / 8;
    uint64_t found = at < width ? bytes[at] : 0;
    if (at + 1 < width)
        found |= (uint64_t)bytes[at + 1] << 8;
    return found >> (bit % 8) & ((UINT64_C(1) << window) - 1);
}

/* products[g], sums[g]: what the exponents of group g pick from the tables, multiplied, summed. */
static void pick_roots(const tables *t, const modulus *square, const matrix *exponents,
                       size_t first, size_t groups, uint64_t *products, uint64_t *sums,
                       uint64_t *entry, uint64_t *work, uint8_t *spare)
{
    const engine *e = t->e;
    const size_t half = (size_t)t->half, whole = 2 * half * LANES;
    for (size_t g = 0; g < groups; g++) {
        memcpy(products + g * whole, t->start, whole * sizeof(uint64_t));
        memset(sums + g * half * LANES, 0, half * LANES * sizeof(uint64_t));
    }
    for (int j = 0; j < t->count; j++) {
        const uint64_t *residues = t->table + (size_t)j * 2 * half * (size_t)t->entries;
        const uint64_t *slopes = residues + half * (size_t)t->entries;
        for (size_t g = 0; g < groups; g++) {
            uint8_t *rows[LANES];
            uint64_t index[LANES];
            lanes(rows, exponents, first + g * LANES, spare);
            for (int i = 0; i < LANES; i++)
                index[i] = digit_of(rows[i], exponents->width, j * t->window, t->window);
            e->look_up(entry, residues, index, t->entries, t->half);
            e->mont(products + g * whole, products + g * whole, entry, t->half, square, work);
            e->look_up(entry, slopes, index, t->entries, t->half);
            e->accumulate(sums + g * half * LANES, entry, t->half);
            wipe(index, sizeof index);
        }
    }
}

/* x = x·(1 + p·(sum + m·q)) mod p²: (1 + m·n)·r^n, because 1 + m·n = 1 + p·(m·q).
 * x carries one factor R2 that the product takes away; sum may be NULL. */
static void join(const owner *o, const side *s, uint64_t *x, uint64_t *sum, const uint64_t *plain,
                 uint64_t *room, uint64_t *work)
{
    const engine *e = o->e;
    const int half = o->half;
    uint64_t *small = room, *wide = room + 2 * (size_t)half * LANES;
    e->redc(small, plain, &s->prime, work);
    e->mont(small, small, s->constant[C_OTHER], half, &s->prime, work);
    if (sum != NULL) {
        e->settle(sum, half);
        e->add(small, small, sum, half);
    }
    e->mont(small, small, s->constant[C_UNIT], half, &s->prime, work);
    e->multiply(wide, 2 * half, small, half, s->constant[C_P], half);
    memset(small, 0, 2 * (size_t)half * LANES * sizeof(uint64_t));
    for (int i = 0; i < LANES; i++)
        small[i] = 1;
    e->add(wide, wide, small, 2 * half);
    e->mont(x, x, wide, 2 * half, &s->square, work);
}

/* out = a + A·((b - a)/A mod B) for a under 2A, b under 2B: A = p or p², B = q or q². */
static void recombine(const engine *e, uint64_t *out, uint64_t *a, uint64_t *b, const modulus *ma,
                      const modulus *mb, const uint64_t *cross, uint64_t *work)
{
    const int k = ma->limbs;
    e->reduce(a, ma, 1, work);
    e->mont(b, b, cross, k, mb, work);
    e->mont(out, a, cross, k, mb, work);
    e->add(b, b, mb->n, k);
    e->add(b, b, mb->n, k);
    e->subtract(b, b, out, k);
    e->reduce(b, mb, 3, work);
    e->multiply(out, 2 * k, b, k, ma->n, k);
    memset(work, 0, 2 * (size_t)k * LANES * sizeof(uint64_t));
    memcpy(work, a, (size_t)k * LANES * sizeof(uint64_t));
    e->add(out, out, work, 2 * k);
}

static size_t work_limbs(int half)
{
    return 8 * (size_t)half + 2 * STEP;
}

int owner_encrypt(const owner *o, const tables *tp, const tables *tq, const matrix *ep,
                  const matrix *eq, const matrix *plain, const matrix *out)
{
    const engine *e = o->e;
    const int k = 2 * o->half;
    const size_t whole = (size_t)k * LANES, half = whole / 2;
    const size_t batch = (out->rows + LANES - 1) / LANES < BATCH ? (out->rows + LANES - 1) / LANES
                                                                 : BATCH;
    const size_t spare_limbs = out->width / (8 * LANES) + 1;
    arena a;
    if (out->rows == 0)
        return 0;
    if (!arena_open(&a, batch * 6 * (size_t)o->half + 8 * (size_t)k + work_limbs(o->half) +
                            spare_limbs))
        return -1;
    uint64_t *x = arena_take(&a, batch * (size_t)k), *y = arena_take(&a, batch * (size_t)k);
    uint64_t *sx = arena_take(&a, batch * (size_t)o->half);
    uint64_t *sy = arena_take(&a, batch * (size_t)o->half);
    uint64_t *room = arena_take(&a, 2 * (size_t)k), *message = arena_take(&a, (size_t)k);
    uint64_t *result = arena_take(&a, 2 * (size_t)k), *entry = arena_take(&a, (size_t)k);
    uint64_t *work = arena_take(&a, work_limbs(o->half));
    uint8_t *spare = (uint8_t *)arena_take(&a, spare_limbs);
    for (size_t first = 0; first < out->rows; first += batch * LANES) {
        size_t groups = (out->rows - first + LANES - 1) / LANES;
        groups = groups < batch ? groups : batch;
        pick_roots(tp, &o->p.square, ep, first, groups, x, sx, entry, work, spare);
        pick_roots(tq, &o->q.square, eq, first, groups, y, sy, entry, work, spare);
        for (size_t g = 0; g < groups; g++) {
            uint8_t *rows[LANES];
            memset(spare, 0, plain->width);
            lanes(rows, plain, first + g * LANES, spare);
            e->load(message, k, (const uint8_t *const *)rows, plain->width);
            join(o, &o->p, x + g * whole, sx + g * half, message, room, work);
            join(o, &o->q, y + g * whole, sy + g * half, message, room, work);
            recombine(e, result, x + g * whole, y + g * whole, &o->p.square, &o->q.square,
                      o->q.constant[C_CROSS2], work);
            lanes(rows, out, first + g * LANES, spare);
            store(rows, out->width, result, 2 * k, e->radix);
        }
        memset(spare, 0, out->width);
    }
    arena_close(&a);
    return 0;
}

int owner_textbook(const owner *o, const uint8_t *np, const uint8_t *nq, size_t nwidth,
                   const matrix *units, const matrix *plain, const matrix *out)
{
    const engine *e = o->e;
    const int k = 2 * o->half;
    const size_t whole = (size_t)k * LANES, spare_limbs = out->width / (8 * LANES) + 1;
    const size_t table_limbs = power_limbs(&o->p.square);
    arena a;
    if (!arena_open(&a, table_limbs + 9 * (size_t)k + work_limbs(o->half) + spare_limbs))
        return -1;
    uint64_t *table = arena_take(&a, table_limbs), *message = arena_take(&a, (size_t)k);
    uint64_t *half[2] = {arena_take(&a, (size_t)k), arena_take(&a, (size_t)k)};
    uint64_t *one = arena_take(&a, (size_t)k), *enter = arena_take(&a, (size_t)k);
    uint64_t *result = arena_take(&a, 2 * (size_t)k), *room = arena_take(&a, 2 * (size_t)k);
    uint64_t *work = arena_take(&a, work_limbs(o->half));
    uint8_t *spare = (uint8_t *)arena_take(&a, spare_limbs);
    const side *sides[2] = {&o->p, &o->q};
    const uint8_t *exponents[2] = {np, nq};
    for (int i = 0; i < LANES; i++)
        one[i] = 1;
    for (size_t first = 0; first < out->rows; first += LANES) {
        uint8_t *rows[LANES];
        memset(spare, 0, out->width);
        lanes(rows, plain, first, spare);
        e->load(message, k, (const uint8_t *const *)rows, plain->width);
        lanes(rows, units, first, spare);
        for (int i = 0; i < 2; i++) {
            const side *s = sides[i];
            e->load(half[i], k, (const uint8_t *const *)rows, units->width);
            e->mont(enter, s->constant[C_ENTER], one, k, &s->square, work); /* R2² */
            e->mont(half[i], half[i], enter, k, &s->square, work);
            exponent exp = {exponents[i], (int)(8 * nwidth), 1};
            power(e, half[i], s->constant[C_ONE], exp, &s->square, table, work);
            join(o, s, half[i], NULL, message, room, work);
        }
        recombine(e, result, half[0], half[1], &o->p.square, &o->q.square,
                  o->q.constant[C_CROSS2], work);
        lanes(rows, out, first, spare);
        store(rows, out->width, result, 2 * k, e->radix);
    }
    (void)whole;
    arena_close(&a);
    return 0;
}

/* -- decryption ----------------------------------------------------------------------------- */

/* m = L(c^(p-1) mod p²)·h mod p, under 2p.  Returns 1 if p does not divide what it must. */
static int open_half(const owner *o, const side *s, uint64_t *m, const uint64_t *c,
                     uint64_t *room, uint64_t *table, uint64_t *work)
{
    const engine *e = o->e;
    const int half = o->half, k = 2 * half;
    uint64_t *x = room, *one = room + (size_t)k * LANES, *check = one + (size_t)k * LANES;
    e->redc(x, c, &s->square, work);
    e->mont(x, x, s->constant[C_ENTER], k, &s->square, work);
    exponent exp = {s->exponent, s->exponent_bits, 1};
    power(e, x, s->constant[C_ONE], exp, &s->square, table, work);
    memset(one, 0, (size_t)k * LANES * sizeof *one);
    for (int i = 0; i < LANES; i++)
        one[i] = 1;
    e->mont(x, x, one, k, &s->square, work);
    e->reduce(x, &s->square, 1, work);
    e->subtract(x, x, one, k);
    e->multiply(m, half, x, half, s->constant[C_EXACT], half); /* (x-1)/p, if p divides it */
    e->multiply(check, k, m, half, s->constant[C_P], half);
    uint64_t wrong = 0;
    for (size_t i = 0; i < (size_t)k * LANES; i++)
        wrong |= check[i] ^ x[i];
    e->mont(m, m, s->constant[C_H], half, &s->prime, work);
    return wrong != 0;
}

int owner_decrypt(const owner *o, const matrix *cts, const matrix *out)
{
    const engine *e = o->e;
    const int k = 2 * o->half;
    const size_t table_limbs = power_limbs(&o->p.square);
    const size_t spare_limbs = cts->width / (8 * LANES) + 1;
    arena a;
    if (!arena_open(&a, table_limbs + 8 * (size_t)k + work_limbs(o->half) + spare_limbs))
        return -1;
    uint64_t *table = arena_take(&a, table_limbs), *c = arena_take(&a, 2 * (size_t)k);
    uint64_t *room = arena_take(&a, 3 * (size_t)k), *result = arena_take(&a, (size_t)k);
    uint64_t *mp = arena_take(&a, (size_t)o->half), *mq = arena_take(&a, (size_t)o->half);
    uint64_t *work = arena_take(&a, work_limbs(o->half));
    uint8_t *spare = (uint8_t *)arena_take(&a, spare_limbs);
    int wrong = 0;
    for (size_t first = 0; first < cts->rows; first += LANES) {
        uint8_t *rows[LANES];
        memset(spare, 0, cts->width);
        spare[0] = 1; /* the integer 1 opens to 0 */
        lanes(rows, cts, first, spare);
        e->load(c, 2 * k, (const uint8_t *const *)rows, cts->width);
        wrong |= open_half(o, &o->p, mp, c, room, table, work);
        wrong |= open_half(o, &o->q, mq, c, room, table, work);
        recombine(e, result, mp, mq, &o->p.prime, &o->q.prime, o->q.constant[C_CROSS], work);
        lanes(rows, out, first, spare);
        store(rows, out->width, result, k, e->radix);
    }
    arena_close(&a);
    return wrong;
}
