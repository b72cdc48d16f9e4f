/* The engine for processors with AVX-512 IFMA: eight lanes of limbs of 52 bits.
 *
 * Every function carries its own target attribute, so that the rest of the extension runs on
 * any x86-64; `ifma_engine` says at run time whether this processor has the instructions.
 * VPMADD52LUQ/HUQ add the low or high 52 bits of a product of 52-bit limbs to a 64-bit column;
 * columns are carried only once per multiplication, since a column of 4 * MAX_LIMBS halves fits.
 *
 * Source: Montgomery 1985, operand scanning STEP limbs of b at a time; Gueron and Krasnov 2016.
 */
#include "native.h"

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#include <immintrin.h>
#include <string.h>

#define IFMA __attribute__((target("avx512f,avx512dq,avx512vl,avx512ifma")))
#define UNROLL _Pragma("GCC unroll 8")

typedef __m512i vec;

#define lo(sum, a, b) _mm512_madd52lo_epu64(sum, a, b)
#define hi(sum, a, b) _mm512_madd52hi_epu64(sum, a, b)
#define plus(a, b) _mm512_add_epi64(a, b)
#define MASK52 ((INT64_C(1) << 52) - 1)

IFMA static inline vec get(const uint64_t *x, int limb)
{
    return _mm512_load_si512((const void *)(x + (ptrdiff_t)limb * LANES));
}

IFMA static inline void put(uint64_t *x, int limb, vec value)
{
    _mm512_store_si512((void *)(x + (ptrdiff_t)limb * LANES), value);
}

IFMA static void load(uint64_t *x, int limbs, const uint8_t *const rows[LANES], size_t width)
{
    const vec mask = _mm512_set1_epi64(MASK52);
    const vec address = _mm512_loadu_si512((const void *)rows);
    int whole = 0; /* limbs whose eight bytes lie inside the row */
    while (whole < limbs && (size_t)whole * 52 / 8 + 8 <= width)
        whole++;
    for (int l = 0; l < whole; l++) {
        size_t at = (size_t)l * 52 / 8;
        vec place = plus(address, _mm512_set1_epi64((long long)at));
        vec bytes = _mm512_i64gather_epi64(place, NULL, 1);
        put(x, l, _mm512_and_si512(_mm512_srli_epi64(bytes, l % 2 ? 4 : 0), mask));
    }
    for (int l = whole; l < limbs; l++)
        for (int i = 0; i < LANES; i++)
            x[l * LANES + i] = limb_of(rows[i], width, 52, l);
}

/* t[0..limbs) carried into r: 52 bits per limb. */
IFMA static inline void carried(uint64_t *r, const uint64_t *t, int limbs)
{
    const vec mask = _mm512_set1_epi64(MASK52);
    vec carry = _mm512_setzero_si512();
    for (int l = 0; l < limbs; l++) {
        vec sum = plus(get(t, l), carry);
        put(r, l, _mm512_and_si512(sum, mask));
        carry = _mm512_srli_epi64(sum, 52);
    }
}

/* The multiples q of n that make the STEP lowest columns s zero; returns their carry.  What a
 * column leaves is s >> 52, and one more unless its low bits were zero already: known before q. */
IFMA static inline __attribute__((always_inline)) vec quotients(vec q[STEP], vec s[STEP],
                                                                const uint64_t *n, vec inverse)
{
    const vec mask = _mm512_set1_epi64(MASK52), one = _mm512_set1_epi64(1);
    const vec zero = _mm512_setzero_si512();
    vec carry = zero;
    UNROLL
    for (int c = 0; c < STEP; c++) {
        s[c] = plus(s[c], carry);
        q[c] = lo(zero, s[c], inverse);
        carry = _mm512_srli_epi64(s[c], 52);
        carry = _mm512_mask_add_epi64(carry, _mm512_test_epi64_mask(s[c], mask), carry, one);
        UNROLL
        for (int j = 1; j < STEP - c; j++) {
            s[c + j] = hi(s[c + j], get(n, j - 1), q[c]);
            s[c + j] = lo(s[c + j], get(n, j), q[c]);
        }
    }
    return carry;
}

IFMA static void mont(uint64_t *r, const uint64_t *a, const uint64_t *b, int rows,
                      const modulus *m, uint64_t *work)
{
    const int k = m->limbs;
    const uint64_t *n = m->n;
    const vec inverse = _mm512_set1_epi64((long long)m->inverse);
    const vec zero = _mm512_setzero_si512();
    uint64_t *t = work;
    for (int l = 0; l < k; l++)
        put(t, l, zero);
    for (int at = 0; at < rows; at += STEP) {
        vec x[STEP], q[STEP], s[STEP];
        UNROLL
        for (int i = 0; i < STEP; i++)
            x[i] = get(b, at + i);
        UNROLL
        for (int c = 0; c < STEP; c++) {
            s[c] = get(t, c);
            UNROLL
            for (int i = 0; i <= c; i++)
                s[c] = lo(s[c], get(a, c - i), x[i]);
            UNROLL
            for (int i = 0; i < c; i++)
                s[c] = hi(s[c], get(a, c - 1 - i), x[i]);
        }
        vec carry = quotients(q, s, n, inverse);
        put(t, STEP, plus(get(t, STEP), carry));
        for (int c = STEP; c < k; c++) {
            vec u = get(t, c), v = zero;
            UNROLL
            for (int i = 0; i < STEP; i++) {
                u = hi(u, get(a, c - 1 - i), x[i]);
                v = hi(v, get(n, c - 1 - i), q[i]);
                u = lo(u, get(a, c - i), x[i]);
                v = lo(v, get(n, c - i), q[i]);
            }
            put(t, c - STEP, plus(u, v));
        }
        UNROLL
        for (int c = 0; c < STEP; c++) { /* columns k + c: the upper triangle */
            vec u = zero, v = zero;
            UNROLL
            for (int i = c; i < STEP; i++) {
                u = hi(u, get(a, k + c - 1 - i), x[i]);
                v = hi(v, get(n, k + c - 1 - i), q[i]);
            }
            UNROLL
            for (int i = c + 1; i < STEP; i++) {
                u = lo(u, get(a, k + c - i), x[i]);
                v = lo(v, get(n, k + c - i), q[i]);
            }
            put(t, k + c - STEP, plus(u, v));
        }
    }
    carried(r, t, k);
}

IFMA static void redc(uint64_t *r, const uint64_t *x, const modulus *m, uint64_t *work)
{
    const int k = m->limbs;
    const uint64_t *n = m->n;
    const vec inverse = _mm512_set1_epi64((long long)m->inverse);
    uint64_t *t = work;
    memcpy(t, x, (size_t)(2 * k) * LANES * sizeof(uint64_t));
    for (int at = 0; at < k; at += STEP, t += STEP * LANES) {
        vec q[STEP], s[STEP];
        UNROLL
        for (int c = 0; c < STEP; c++)
            s[c] = get(t, c);
        vec carry = quotients(q, s, n, inverse);
        put(t, STEP, plus(get(t, STEP), carry));
        for (int c = STEP; c < k + STEP; c++) {
            vec u = get(t, c);
            UNROLL
            for (int i = 0; i < STEP; i++) {
                if (c - 1 - i < k)
                    u = hi(u, get(n, c - 1 - i), q[i]);
                if (c - i < k)
                    u = lo(u, get(n, c - i), q[i]);
            }
            put(t, c, u);
        }
    }
    carried(r, t, k);
}

IFMA static void multiply(uint64_t *r, int nr, const uint64_t *a, int na, const uint64_t *b, int nb)
{
    const vec mask = _mm512_set1_epi64(MASK52);
    vec carry = _mm512_setzero_si512();
    for (int c = 0; c < nr; c++) {
        vec u = carry, v = _mm512_setzero_si512();
        int first = c - nb + 1 > 0 ? c - nb + 1 : 0;
        for (int i = first; i <= c && i < na; i++)
            u = lo(u, get(a, i), get(b, c - i));
        first = c - nb > 0 ? c - nb : 0;
        for (int i = first; i < c && i < na; i++)
            v = hi(v, get(a, i), get(b, c - 1 - i));
        u = plus(u, v);
        put(r, c, _mm512_and_si512(u, mask));
        carry = _mm512_srli_epi64(u, 52);
    }
}

IFMA static void accumulate(uint64_t *r, const uint64_t *x, int limbs)
{
    for (int l = 0; l < limbs; l++)
        put(r, l, plus(get(r, l), get(x, l)));
}

IFMA static void settle(uint64_t *r, int limbs)
{
    carried(r, r, limbs);
}

IFMA static void add(uint64_t *r, const uint64_t *a, const uint64_t *b, int limbs)
{
    for (int l = 0; l < limbs; l++)
        put(r, l, plus(get(a, l), get(b, l)));
    carried(r, r, limbs);
}

/* r = a - b; returns which lanes went below zero. */
IFMA static inline __mmask8 difference(uint64_t *r, const uint64_t *a, const uint64_t *b, int limbs)
{
    const vec mask = _mm512_set1_epi64(MASK52);
    vec borrow = _mm512_setzero_si512(); /* 0 or -1 */
    for (int l = 0; l < limbs; l++) {
        vec sum = plus(_mm512_sub_epi64(get(a, l), get(b, l)), borrow);
        put(r, l, _mm512_and_si512(sum, mask));
        borrow = _mm512_srai_epi64(sum, 52);
    }
    return _mm512_movepi64_mask(borrow);
}

IFMA static void subtract(uint64_t *r, const uint64_t *a, const uint64_t *b, int limbs)
{
    difference(r, a, b, limbs);
}

IFMA static void reduce(uint64_t *x, const modulus *m, int times, uint64_t *work)
{
    for (int time = 0; time < times; time++) {
        __mmask8 below = difference(work, x, m->n, m->limbs);
        for (int l = 0; l < m->limbs; l++)
            put(x, l, _mm512_mask_mov_epi64(get(work, l), below, get(x, l)));
    }
}

/* Sixteen entries per VPERMT2Q, chosen by the low four bits; the upper bits choose among those. */
IFMA static void look_up(uint64_t *r, const uint64_t *table, const uint64_t index[LANES],
                         int entries, int limbs)
{
    const vec which = _mm512_loadu_si512((const void *)index);
    const vec upper = _mm512_srli_epi64(which, 4);
    const int parts = entries / 16;
    __mmask8 chosen[16];
    for (int h = 0; h < parts; h++)
        chosen[h] = _mm512_cmpeq_epi64_mask(upper, _mm512_set1_epi64(h));
    for (int l = 0; l < limbs; l++, table += entries) {
        vec found = _mm512_permutex2var_epi64(get(table, 0), which, get(table, 1));
        for (int h = 1; h < parts; h++) {
            vec part = _mm512_permutex2var_epi64(get(table, 2 * h), which, get(table, 2 * h + 1));
            found = _mm512_mask_mov_epi64(found, chosen[h], part);
        }
        put(r, l, found);
    }
}

IFMA static void pick(uint64_t *r, const uint64_t *blocks, int count, int index, int limbs)
{
    const vec wanted = _mm512_set1_epi64(index);
    for (int l = 0; l < limbs; l++)
        put(r, l, _mm512_setzero_si512());
    for (int i = 0; i < count; i++) {
        __mmask8 chosen = _mm512_cmpeq_epi64_mask(wanted, _mm512_set1_epi64(i));
        for (int l = 0; l < limbs; l++)
            put(r, l, _mm512_mask_mov_epi64(get(r, l), chosen, get(blocks, i * limbs + l)));
    }
}

static const engine found = {
    "ifma", 52, STEP, load, mont, redc, multiply, add, subtract, accumulate, settle, reduce,
    look_up, pick,
};

const engine *ifma_engine(void)
{
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512ifma"))
        return &found;
    return NULL;
}

#else

const engine *ifma_engine(void)
{
    return NULL;
}

#endif
