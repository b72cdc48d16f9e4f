/* The engine for every 64-bit processor: one lane after the other, limbs of 64 bits.
 *
 * Needs unsigned __int128 (GCC, Clang).  A lane is copied out of the limb-major block, computed
 * on, and copied back: the copies are linear, the work is quadratic.
 *
 * Source: Koç, Acar, Kaliski 1996, "finely integrated product scanning".
 */
#include "native.h"

#include <string.h>

typedef unsigned __int128 wide;

static void load(uint64_t *x, int limbs, const uint8_t *const rows[LANES], size_t width)
{
    for (int l = 0; l < limbs; l++)
        for (int i = 0; i < LANES; i++)
            x[l * LANES + i] = limb_of(rows[i], width, 64, l);
}

static void take(uint64_t *lane, const uint64_t *x, int limbs, int i)
{
    for (int l = 0; l < limbs; l++)
        lane[l] = x[l * LANES + i];
}

static void give(uint64_t *x, const uint64_t *lane, int limbs, int i)
{
    for (int l = 0; l < limbs; l++)
        x[l * LANES + i] = lane[l];
}

/* sum + 2^128 * over += x * y */
static inline void add_product(wide *sum, uint64_t *over, uint64_t x, uint64_t y)
{
    wide product = (wide)x * y;
    *sum += product;
    *over += *sum < product;
}

/* Column by column: a column's products of a with b, and of n with the quotients q found so far. */
static void mont_lane(uint64_t *r, const uint64_t *a, const uint64_t *b, int rows,
                      const uint64_t *n, uint64_t inverse, int k, uint64_t *q)
{
    wide sum = 0;
    uint64_t over = 0;
    for (int c = 0; c < k + rows; c++) {
        const int from = c - k + 1 > 0 ? c - k + 1 : 0, to = c < rows ? c : rows;
        for (int j = from; j < to; j++) {
            add_product(&sum, &over, a[c - j], b[j]);
            add_product(&sum, &over, n[c - j], q[j]);
        }
        if (c < rows) {
            add_product(&sum, &over, a[0], b[c]);
            q[c] = (uint64_t)sum * inverse;
            add_product(&sum, &over, n[0], q[c]);
        } else {
            r[c - rows] = (uint64_t)sum;
        }
        sum = sum >> 64 | (wide)over << 64;
        over = 0;
    }
}

static void mont(uint64_t *r, const uint64_t *a, const uint64_t *b, int rows, const modulus *m,
                 uint64_t *work)
{
    const int k = m->limbs;
    uint64_t *n = work, *x = n + k, *y = x + k, *t = y + rows, *q = t + k;
    take(n, m->n, k, 0);
    for (int i = 0; i < LANES; i++) {
        take(x, a, k, i);
        take(y, b, rows, i);
        mont_lane(t, x, y, rows, n, m->inverse, k, q);
        give(r, t, k, i);
    }
}

static void redc(uint64_t *r, const uint64_t *x, const modulus *m, uint64_t *work)
{
    const int k = m->limbs;
    uint64_t *n = work, *t = n + k;
    take(n, m->n, k, 0);
    for (int i = 0; i < LANES; i++) {
        take(t, x, 2 * k, i);
        uint64_t above = 0; /* what does not fit into t[at + k] */
        for (int at = 0; at < k; at++) {
            uint64_t q = t[at] * m->inverse;
            wide v = 0;
            for (int l = 0; l < k; l++) {
                v = (wide)n[l] * q + t[at + l] + (uint64_t)(v >> 64);
                t[at + l] = (uint64_t)v;
            }
            wide top = (wide)t[at + k] + (uint64_t)(v >> 64) + above;
            t[at + k] = (uint64_t)top;
            above = (uint64_t)(top >> 64);
        }
        give(r, t + k, k, i);
    }
}

static void multiply(uint64_t *r, int nr, const uint64_t *a, int na, const uint64_t *b, int nb)
{
    memset(r, 0, (size_t)nr * LANES * sizeof(uint64_t));
    for (int i = 0; i < LANES; i++)
        for (int j = 0; j < nb && j < nr; j++) {
            uint64_t carry = 0;
            for (int l = 0; j + l < nr; l++) {
                wide sum = (wide)r[(j + l) * LANES + i] + carry;
                if (l < na)
                    sum += (wide)a[l * LANES + i] * b[j * LANES + i];
                r[(j + l) * LANES + i] = (uint64_t)sum;
                carry = (uint64_t)(sum >> 64);
                if (l >= na)
                    break; /* higher limbs are still zero, so this carry was the last */
            }
        }
}

static void add(uint64_t *r, const uint64_t *a, const uint64_t *b, int limbs)
{
    uint64_t carry[LANES] = {0};
    for (int l = 0; l < limbs; l++)
        for (int i = 0; i < LANES; i++) {
            wide sum = (wide)a[l * LANES + i] + b[l * LANES + i] + carry[i];
            r[l * LANES + i] = (uint64_t)sum;
            carry[i] = (uint64_t)(sum >> 64);
        }
}

/* r = a - b; borrow[i] is 1 where lane i went below zero. */
static void difference(uint64_t *r, const uint64_t *a, const uint64_t *b, int limbs,
                       uint64_t borrow[LANES])
{
    memset(borrow, 0, LANES * sizeof(uint64_t));
    for (int l = 0; l < limbs; l++)
        for (int i = 0; i < LANES; i++) {
            wide rest = (wide)a[l * LANES + i] - b[l * LANES + i] - borrow[i];
            r[l * LANES + i] = (uint64_t)rest;
            borrow[i] = (uint64_t)(rest >> 64) & 1;
        }
}

static void subtract(uint64_t *r, const uint64_t *a, const uint64_t *b, int limbs)
{
    uint64_t borrow[LANES];
    difference(r, a, b, limbs, borrow);
}

static void accumulate(uint64_t *r, const uint64_t *x, int limbs)
{
    add(r, r, x, limbs);
}

static void settle(uint64_t *r, int limbs)
{
    (void)r;
    (void)limbs;
}

static void reduce(uint64_t *x, const modulus *m, int times, uint64_t *work)
{
    uint64_t borrow[LANES];
    for (int time = 0; time < times; time++) {
        difference(work, x, m->n, m->limbs, borrow);
        for (int l = 0; l < m->limbs; l++)
            for (int i = 0; i < LANES; i++) {
                uint64_t keep = 0 - borrow[i];
                uint64_t *at = x + l * LANES + i;
                *at = (*at & keep) | (work[l * LANES + i] & ~keep);
            }
    }
}

static void look_up(uint64_t *r, const uint64_t *table, const uint64_t index[LANES], int entries,
                    int limbs)
{
    uint64_t mask[1 << MAX_WINDOW];
    for (int i = 0; i < LANES; i++) {
        for (int entry = 0; entry < entries; entry++) {
            uint64_t other = index[i] ^ (uint64_t)entry;
            mask[entry] = ((other | (0 - other)) >> 63) - 1; /* all ones where they are equal */
        }
        for (int l = 0; l < limbs; l++) {
            const uint64_t *at = table + (ptrdiff_t)l * entries;
            uint64_t found = 0;
            for (int entry = 0; entry < entries; entry++)
                found |= at[entry] & mask[entry];
            r[l * LANES + i] = found;
        }
    }
    wipe(mask, sizeof mask);
}

static void pick(uint64_t *r, const uint64_t *blocks, int count, int index, int limbs)
{
    const int words = limbs * LANES;
    memset(r, 0, (size_t)words * sizeof(uint64_t));
    for (int i = 0; i < count; i++) {
        uint64_t other = (uint64_t)(index ^ i);
        uint64_t mask = ((other | (0 - other)) >> 63) - 1;
        for (int w = 0; w < words; w++)
            r[w] |= blocks[(ptrdiff_t)i * words + w] & mask;
    }
}

const engine portable_engine = {
    "portable", 64, 1, load, mont, redc, multiply, add, subtract, accumulate, settle, reduce,
    look_up, pick,
};
