/* Arithmetic modulo p = 2^255 - 19, eight numbers at a time.
 *
 * What: the field under ristretto_ifma.c.  Who runs it: every party in ecdh mode.
 * Source: RFC 9496 (names of section 4), the layout of curve25519-dalek's IFMA backend, turned
 * round: here a lane is a point, so no step ever shuffles lanes.
 *
 * A number is five limbs of radix 2^51; limb i of all eight lanes is one 512-bit register.
 * vpmadd52lo/hi multiply the low 52 bits of two limbs and add the low or high 52 bits of the
 * product to a 64-bit sum.  They DROP bits above 52 of their inputs, so everything rests on
 * two bounds:
 *
 *   tight   every limb < 2^51 + 2^18: what fe_carry returns
 *   loose   every limb < 2^52: what a multiplication accepts
 *   wide    every limb < 2^60.1: what fe_mul_wide and fe_sqr_wide return; wide numbers are
 *           added and subtracted first and carried once
 *
 * No branch and no address depends on a number.
 */
#ifndef ASSENT_FIELD_IFMA_H
#define ASSENT_FIELD_IFMA_H

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

/* The instructions are asked for function by function: the rest of the extension, and with it
 * the check of the processor, runs anywhere. */
#define TARGET __attribute__((target("avx512f,avx512dq,avx512ifma")))
#define INLINE static inline TARGET __attribute__((always_inline))
#define LANES 8

typedef struct {
    __m512i v[5];
} fe;
typedef __mmask8 lanes; /* a yes or no per lane */

#define BITS51 0x7ffffffffffffULL

INLINE __m512i splat(uint64_t x) { return _mm512_set1_epi64((long long)x); }
INLINE __m512i lo52(__m512i sum, __m512i a, __m512i b) {
    return _mm512_madd52lo_epu64(sum, a, b);
}
INLINE __m512i hi52(__m512i sum, __m512i a, __m512i b) {
    return _mm512_madd52hi_epu64(sum, a, b);
}
INLINE __m512i twice(__m512i a) { return _mm512_add_epi64(a, a); }

/* The same number in all lanes. */
INLINE fe fe_const(uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e) {
    fe r = {{splat(a), splat(b), splat(c), splat(d), splat(e)}};
    return r;
}
#define FE_ZERO fe_const(0, 0, 0, 0, 0)
#define FE_ONE fe_const(1, 0, 0, 0, 0)
/* Constants of RFC 9496 section 4.1. */
#define FE_D                                                                                   \
    fe_const(929955233495203ULL, 466365720129213ULL, 1662059464998953ULL,                      \
             2033849074728123ULL, 1442794654840575ULL)
#define FE_2D                                                                                  \
    fe_const(1859910466990425ULL, 932731440258426ULL, 1072319116312658ULL,                     \
             1815898335770999ULL, 633789495995903ULL)
#define FE_SQRT_M1                                                                             \
    fe_const(1718705420411056ULL, 234908883556509ULL, 2233514472574048ULL,                     \
             2117202627021982ULL, 765476049583133ULL)
#define FE_SQRT_AD_MINUS_ONE                                                                   \
    fe_const(2241493124984347ULL, 425987919032274ULL, 2207028919301688ULL,                     \
             1220490630685848ULL, 974799131293748ULL)
#define FE_INVSQRT_A_MINUS_D                                                                   \
    fe_const(278908739862762ULL, 821645201101625ULL, 8113234426968ULL,                         \
             1777959178193151ULL, 2118520810568447ULL)
#define FE_ONE_MINUS_D_SQ                                                                      \
    fe_const(1136626929484150ULL, 1998550399581263ULL, 496427632559748ULL,                     \
             118527312129759ULL, 45110755273534ULL)
#define FE_D_MINUS_ONE_SQ                                                                      \
    fe_const(1507062230895904ULL, 1572317787530805ULL, 683053064812840ULL,                     \
             317374165784489ULL, 1572899562415810ULL)

/* tight(r) from any limbs below 2^64.  One pass: the carry out of a limb is below 2^13, times
 * 19 below 2^18. */
INLINE fe fe_carry(fe a) {
    const __m512i mask = splat(BITS51);
    fe r;
    __m512i c0 = _mm512_srli_epi64(a.v[0], 51), c1 = _mm512_srli_epi64(a.v[1], 51);
    __m512i c2 = _mm512_srli_epi64(a.v[2], 51), c3 = _mm512_srli_epi64(a.v[3], 51);
    __m512i c4 = _mm512_srli_epi64(a.v[4], 51);
    r.v[0] = lo52(_mm512_and_si512(a.v[0], mask), c4, splat(19));
    r.v[1] = _mm512_add_epi64(_mm512_and_si512(a.v[1], mask), c0);
    r.v[2] = _mm512_add_epi64(_mm512_and_si512(a.v[2], mask), c1);
    r.v[3] = _mm512_add_epi64(_mm512_and_si512(a.v[3], mask), c2);
    r.v[4] = _mm512_add_epi64(_mm512_and_si512(a.v[4], mask), c3);
    return r;
}

/* Sums without a carry: the bounds add up, the caller counts. */
INLINE fe fe_plus(fe a, fe b) {
    fe r;
#pragma GCC unroll 5
    for (int i = 0; i < 5; i++) r.v[i] = _mm512_add_epi64(a.v[i], b.v[i]);
    return r;
}

/* a + 2^shift·p - b, no carry.  b's limbs must be at most 2^(51+shift) - 2^shift·19. */
INLINE fe fe_minus(fe a, fe b, int shift) {
    const __m512i bias0 = splat((BITS51 - 18) << shift), bias = splat(BITS51 << shift);
    fe r;
    r.v[0] = _mm512_add_epi64(a.v[0], _mm512_sub_epi64(bias0, b.v[0]));
#pragma GCC unroll 5
    for (int i = 1; i < 5; i++)
        r.v[i] = _mm512_add_epi64(a.v[i], _mm512_sub_epi64(bias, b.v[i]));
    return r;
}

/* Of tight or loose numbers, result tight. */
INLINE fe fe_add(fe a, fe b) { return fe_carry(fe_plus(a, b)); }
INLINE fe fe_sub(fe a, fe b) { return fe_carry(fe_minus(a, b, 2)); }

/* loose(2p - a) of tight a. */
INLINE fe fe_neg(fe a) { return fe_minus(FE_ZERO, a, 1); }

/* Folds ten columns of radix 2^51 into five: 2^255 = 19. */
INLINE fe fe_fold(const __m512i z[10]) {
    fe r;
#pragma GCC unroll 5
    for (int k = 0; k < 5; k++) {
        __m512i high = z[k + 5];
        __m512i three = _mm512_add_epi64(twice(high), high);
        __m512i sixteen = _mm512_slli_epi64(high, 4);
        r.v[k] = _mm512_add_epi64(_mm512_add_epi64(z[k], three), sixteen);
    }
    return r;
}

/* wide(a·b) of loose a, b.  A high half weighs 2^52, twice the next column's 2^51. */
INLINE fe fe_mul_wide(fe a, fe b) {
    __m512i z[10];
#pragma GCC unroll 10
    for (int k = 0; k < 10; k++) z[k] = _mm512_setzero_si512();
#pragma GCC unroll 5
    for (int i = 0; i < 5; i++)
#pragma GCC unroll 5
        for (int j = 0; j < 5; j++) z[i + j + 1] = hi52(z[i + j + 1], a.v[i], b.v[j]);
#pragma GCC unroll 10
    for (int k = 1; k < 10; k++) z[k] = twice(z[k]);
#pragma GCC unroll 5
    for (int i = 0; i < 5; i++)
#pragma GCC unroll 5
        for (int j = 0; j < 5; j++) z[i + j] = lo52(z[i + j], a.v[i], b.v[j]);
    return fe_fold(z);
}

/* wide(a²) of loose a: products of unlike limbs are taken once and doubled in the sum. */
INLINE fe fe_sqr_wide(fe a) {
    __m512i z[10];
#pragma GCC unroll 10
    for (int k = 0; k < 10; k++) z[k] = _mm512_setzero_si512();
#pragma GCC unroll 5
    for (int i = 0; i < 5; i++)
#pragma GCC unroll 5
        for (int j = i + 1; j < 5; j++) z[i + j + 1] = hi52(z[i + j + 1], a.v[i], a.v[j]);
#pragma GCC unroll 10
    for (int k = 2; k < 9; k++) z[k] = twice(z[k]);
#pragma GCC unroll 5
    for (int i = 0; i < 5; i++) {
        z[2 * i + 1] = hi52(z[2 * i + 1], a.v[i], a.v[i]);
#pragma GCC unroll 5
        for (int j = i + 1; j < 5; j++) z[i + j] = lo52(z[i + j], a.v[i], a.v[j]);
    }
#pragma GCC unroll 10
    for (int k = 1; k < 10; k++) z[k] = twice(z[k]);
#pragma GCC unroll 5
    for (int i = 0; i < 5; i++) z[2 * i] = lo52(z[2 * i], a.v[i], a.v[i]);
    return fe_fold(z);
}

INLINE fe fe_mul(fe a, fe b) { return fe_carry(fe_mul_wide(a, b)); }
INLINE fe fe_sqr(fe a) { return fe_carry(fe_sqr_wide(a)); }

INLINE fe fe_select(lanes yes, fe a, fe b) { /* yes ? a : b */
    fe r;
#pragma GCC unroll 5
    for (int i = 0; i < 5; i++) r.v[i] = _mm512_mask_mov_epi64(b.v[i], yes, a.v[i]);
    return r;
}

/* The one representative below p, of tight a (whose value is below 2p). */
INLINE fe fe_freeze(fe a) {
    const __m512i mask = splat(BITS51), nineteen = splat(19);
    __m512i q = nineteen; /* a + 19 reaches 2^255 exactly when a reaches p */
#pragma GCC unroll 5
    for (int i = 0; i < 5; i++) q = _mm512_srli_epi64(_mm512_add_epi64(a.v[i], q), 51);
    fe r;
    __m512i c = lo52(_mm512_setzero_si512(), q, nineteen);
#pragma GCC unroll 5
    for (int i = 0; i < 5; i++) {
        __m512i t = _mm512_add_epi64(a.v[i], c);
        r.v[i] = _mm512_and_si512(t, mask);
        c = _mm512_srli_epi64(t, 51);
    }
    return r;
}

INLINE lanes fe_is_zero(fe a) { /* of tight a */
    fe f = fe_freeze(a);
    __m512i any = _mm512_or_si512(_mm512_or_si512(f.v[0], f.v[1]),
                                  _mm512_or_si512(f.v[2], _mm512_or_si512(f.v[3], f.v[4])));
    return _mm512_testn_epi64_mask(any, any);
}
INLINE lanes fe_equal(fe a, fe b) { return fe_is_zero(fe_sub(a, b)); }
INLINE lanes fe_is_negative(fe a) { /* of tight a: RFC 9496, odd means negative */
    return _mm512_test_epi64_mask(fe_freeze(a).v[0], splat(1));
}
/* tight(±a) of tight a: negated where `yes`. */
INLINE fe fe_negate_if(lanes yes, fe a) { return fe_carry(fe_select(yes, fe_neg(a), a)); }
INLINE fe fe_abs(fe a) { return fe_negate_if(fe_is_negative(a), a); }

/* Eight times 32 bytes little-endian, `stride` bytes apart; words[i] holds word i of all. */
INLINE void load_words(__m512i words[4], const uint8_t *from, int stride) {
    const __m512i at = _mm512_mullo_epi64(_mm512_set_epi64(7, 6, 5, 4, 3, 2, 1, 0),
                                          _mm512_set1_epi64(stride));
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) words[i] = _mm512_i64gather_epi64(at, from + 8 * i, 1);
}

/* The value of 255 bits; the top bit is dropped, the value may reach p: tight. */
INLINE fe fe_from_words(const __m512i w[4]) {
    const __m512i mask = splat(BITS51);
    fe r;
    r.v[0] = _mm512_and_si512(w[0], mask);
    r.v[1] = _mm512_and_si512(
        _mm512_or_si512(_mm512_srli_epi64(w[0], 51), _mm512_slli_epi64(w[1], 13)), mask);
    r.v[2] = _mm512_and_si512(
        _mm512_or_si512(_mm512_srli_epi64(w[1], 38), _mm512_slli_epi64(w[2], 26)), mask);
    r.v[3] = _mm512_and_si512(
        _mm512_or_si512(_mm512_srli_epi64(w[2], 25), _mm512_slli_epi64(w[3], 39)), mask);
    r.v[4] = _mm512_and_si512(_mm512_srli_epi64(w[3], 12), mask);
    return r;
}

/* Eight canonical encodings of 32 bytes, one after the other. */
INLINE void fe_store(uint8_t *to, fe a) {
    const __m512i at = _mm512_set_epi64(224, 192, 160, 128, 96, 64, 32, 0);
    fe f = fe_freeze(a);
    __m512i w[4];
    w[0] = _mm512_or_si512(f.v[0], _mm512_slli_epi64(f.v[1], 51));
    w[1] = _mm512_or_si512(_mm512_srli_epi64(f.v[1], 13), _mm512_slli_epi64(f.v[2], 38));
    w[2] = _mm512_or_si512(_mm512_srli_epi64(f.v[2], 26), _mm512_slli_epi64(f.v[3], 25));
    w[3] = _mm512_or_si512(_mm512_srli_epi64(f.v[3], 39), _mm512_slli_epi64(f.v[4], 12));
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) _mm512_i64scatter_epi64(to + 8 * i, at, w[i], 1);
}

/* a^(2^n): not inlined into its callers twice over, the loop is the whole of it. */
INLINE fe fe_sqr_times(fe a, int n) {
#pragma GCC unroll 1
    for (int i = 0; i < n; i++) a = fe_sqr(a);
    return a;
}

#endif
