/* Exponentiation: all lanes have their own base and one exponent.
 *
 * Who runs it: decryption (the exponent is p-1: secret) and re-randomisation (it is n: public).
 * With a secret exponent the pattern of squarings and multiplications is fixed by the length of
 * the exponent, which is public, and every table entry is read at every window.
 */
#include "native.h"

#include <string.h>

static int window_for(exponent exp)
{
    int ones = 0;
    for (int i = 0; i < (exp.bits + 7) / 8; i++)
        for (int b = 0; b < 8; b++)
            ones += exp.bytes[i] >> b & 1;
    if (!exp.secret && ones < 2)
        return 1; /* a power of two: squarings only */
    if (exp.bits > 256)
        return 5;
    return exp.bits > 80 ? 4 : exp.bits > 24 ? 3 : 1;
}

static int digit_at(exponent exp, int bit, int window)
{
    int found = 0;
    for (int i = window - 1; i >= 0; i--) {
        int at = bit + i;
        found = found << 1 | (at < exp.bits ? exp.bytes[at / 8] >> (at % 8) & 1 : 0);
    }
    return found;
}

size_t power_limbs(const modulus *m)
{
    return (size_t)m->limbs * 33; /* up to 2^5 entries and one for the entry read */
}

void power(const engine *e, uint64_t *x, const uint64_t *one, exponent exp, const modulus *m,
           uint64_t *table, uint64_t *work)
{
    const int window = window_for(exp), count = 1 << window, k = m->limbs;
    const size_t words = (size_t)k * LANES;
    uint64_t *entry = table + words * (size_t)count;
    memcpy(table, one, words * sizeof *x);
    memcpy(table + words, x, words * sizeof *x);
    for (int i = 2; i < count; i++)
        e->mont(table + words * (size_t)i, table + words * (size_t)(i - 1), table + words, k, m,
                work);
    int at = (exp.bits + window - 1) / window * window;
    memcpy(x, one, words * sizeof *x);
    while (at > 0) {
        at -= window;
        if (at + window < exp.bits) /* not before the first digit */
            for (int i = 0; i < window; i++)
                e->mont(x, x, x, k, m, work);
        int digit = digit_at(exp, at, window);
        if (exp.secret) {
            e->pick(entry, table, count, digit, k);
            e->mont(x, x, entry, k, m, work);
        } else if (digit != 0) {
            e->mont(x, x, table + words * (size_t)digit, k, m, work);
        }
    }
}
