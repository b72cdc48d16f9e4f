/* Bytes to limbs and back, memory that is wiped, and moduli.
 *
 * Learns: nobody anything.  Everything allocated here is overwritten before it is freed, because
 * blocks hold primes, exponents' products and plaintexts.
 */
#include "native.h"

#include <stdlib.h>
#include <string.h>

void wipe(void *data, size_t bytes)
{
    /* Through a volatile pointer: the compiler may not drop it as a dead store. */
    volatile uint8_t *at = data;
    for (size_t i = 0; i < bytes; i++)
        at[i] = 0;
}

int arena_open(arena *a, size_t limbs)
{
    a->words = limbs * LANES;
    a->used = 0;
    a->base = NULL;
    if (limbs == 0 || limbs > SIZE_MAX / (64 * LANES))
        return 0;
    a->base = aligned_alloc(64, a->words * sizeof(uint64_t));
    if (a->base == NULL)
        return 0;
    memset(a->base, 0, a->words * sizeof(uint64_t));
    return 1;
}

uint64_t *arena_take(arena *a, size_t limbs)
{
    if (limbs * LANES > a->words - a->used)
        abort(); /* a miscounted workspace must not become a write out of bounds */
    uint64_t *found = a->base + a->used;
    a->used += limbs * LANES;
    return found;
}

void arena_close(arena *a)
{
    if (a->base != NULL) {
        size_t words = a->words;
        volatile uint64_t *at = a->base;
        for (size_t i = 0; i < words; i++)
            at[i] = 0;
        free(a->base);
    }
    a->base = NULL;
}

static uint64_t eight_bytes(const uint8_t *bytes, size_t width, size_t at)
{
    uint64_t found = 0;
    if (at + 8 <= width) {
        for (int i = 7; i >= 0; i--)
            found = found << 8 | bytes[at + (size_t)i];
        return found;
    }
    for (size_t i = width; i-- > at;)
        found = found << 8 | bytes[i];
    return found;
}

uint64_t limb_of(const uint8_t *bytes, size_t width, int radix, int at)
{
    size_t bit = (size_t)at * (size_t)radix;
    uint64_t found = eight_bytes(bytes, width, bit / 8) >> (bit % 8);
    /* With 52 bits a limb starts on a byte or half a byte: 8 bytes always hold it. */
    return radix == 64 ? found : found & ((UINT64_C(1) << radix) - 1);
}

void store(uint8_t *const rows[LANES], size_t width, const uint64_t *x, int limbs, int radix)
{
    for (int i = 0; i < LANES; i++) {
        unsigned __int128 held = 0;
        int bits = 0, limb = 0;
        for (size_t at = 0; at < width; at++) {
            if (bits < 8 && limb < limbs) {
                held |= (unsigned __int128)x[limb * LANES + i] << bits;
                bits += radix;
                limb++;
            }
            rows[i][at] = (uint8_t)held;
            held >>= 8;
            bits -= 8;
        }
    }
}

void broadcast(const engine *e, uint64_t *x, int limbs, const uint8_t *bytes, size_t width)
{
    const uint8_t *rows[LANES];
    for (int i = 0; i < LANES; i++)
        rows[i] = bytes;
    e->load(x, limbs, rows, width);
}

int less(const uint8_t *a, const uint8_t *b, size_t width)
{
    int borrow = 0;
    for (size_t i = 0; i < width; i++)
        borrow = ((int)a[i] - (int)b[i] - borrow) < 0;
    return borrow;
}

int modulus_open(modulus *m, const engine *e, int limbs, const uint8_t *n, size_t width)
{
    m->n = NULL;
    m->limbs = limbs;
    if (width == 0 || (n[0] & 1) == 0 || limbs < MIN_LIMBS || limbs > MAX_LIMBS ||
        limbs % e->step != 0)
        return 0;
    size_t room = (size_t)limbs * (size_t)e->radix / 8; /* bytes; one of them must stay free */
    for (size_t i = room - 1; i < width; i++)
        if (n[i] != 0)
            return 0;
    arena a;
    if (!arena_open(&a, (size_t)limbs))
        return 0;
    m->n = arena_take(&a, (size_t)limbs);
    broadcast(e, m->n, limbs, n, width);
    uint64_t inverse = 1; /* Newton: correct bits double, 1 → 2 → … → 64 */
    for (int i = 0; i < 6; i++)
        inverse *= 2 - m->n[0] * inverse;
    m->inverse = 0 - inverse;
    if (e->radix < 64)
        m->inverse &= (UINT64_C(1) << e->radix) - 1;
    return 1;
}

void modulus_close(modulus *m)
{
    if (m->n != NULL) {
        wipe(m->n, (size_t)m->limbs * LANES * sizeof(uint64_t));
        free(m->n);
    }
    m->n = NULL;
}

void lanes(uint8_t *rows[LANES], const matrix *a, size_t first, uint8_t *spare)
{
    for (size_t i = 0; i < LANES; i++)
        rows[i] = first + i < a->rows ? row(a, first + i) : spare;
}
