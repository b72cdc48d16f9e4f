/* The group ristretto255 over eight lanes: decode, derive, multiply, encode in batches.
 *
 * Source: RFC 9496 sections 4.2-4.3 for the encodings; Hisil, Wong, Carter, Dawson 2008 for the
 * twisted Edwards formulas (a = -1, complete: no point is a special case).
 */
#ifndef ASSENT_GROUP_IFMA_H
#define ASSENT_GROUP_IFMA_H

#include "field_ifma.h"

typedef struct {
    fe x, y, z, t;
} point; /* all tight; x/z, y/z are the affine coordinates, t = xy/z */

typedef struct {
    fe plus, minus, t2d, z2;
} cached; /* y+x, y-x, 2dt, 2z: what an addition needs of its second operand; all tight */

#define WINDOW 8 /* multiples 1…8 of a point: signed digits of four bits */
#define DIGITS 64

/* |a^((p-5)/8)| is the heart of every square root: 251 squarings, 11 products. */
static TARGET __attribute__((noinline)) fe fe_pow_p58(fe a) {
    fe a2 = fe_sqr(a);
    fe a9 = fe_mul(a, fe_sqr_times(a2, 2));
    fe a11 = fe_mul(a9, a2);
    fe e5 = fe_mul(fe_sqr(a11), a9); /* a^(2^5 - 1), and so on */
    fe e10 = fe_mul(fe_sqr_times(e5, 5), e5);
    fe e20 = fe_mul(fe_sqr_times(e10, 10), e10);
    fe e40 = fe_mul(fe_sqr_times(e20, 20), e20);
    fe e50 = fe_mul(fe_sqr_times(e40, 10), e10);
    fe e100 = fe_mul(fe_sqr_times(e50, 50), e50);
    fe e200 = fe_mul(fe_sqr_times(e100, 100), e100);
    fe e250 = fe_mul(fe_sqr_times(e200, 50), e50);
    return fe_mul(fe_sqr_times(e250, 2), a);
}

/* 1/a = a^(p-2): (a^((p-5)/8))^8 · a^3. */
static TARGET __attribute__((noinline)) fe fe_invert(fe a) {
    return fe_mul(fe_sqr_times(fe_pow_p58(a), 3), fe_mul(a, fe_sqr(a)));
}

/* SQRT_RATIO_M1 of RFC 9496 section 4.2: |√(u/v)| and yes, or |√(i·u/v)| and no. */
static TARGET __attribute__((noinline)) lanes fe_sqrt_ratio(fe *root, fe u, fe v) {
    fe v3 = fe_mul(fe_sqr(v), v);
    fe v7 = fe_mul(fe_sqr(v3), v);
    fe r = fe_mul(fe_mul(u, v3), fe_pow_p58(fe_mul(u, v7)));
    fe check = fe_mul(v, fe_sqr(r));
    fe i = FE_SQRT_M1, minus_u = fe_carry(fe_neg(u));
    lanes correct = fe_equal(check, u), flipped = fe_equal(check, minus_u);
    lanes flipped_i = fe_equal(check, fe_mul(minus_u, i));
    r = fe_select(flipped | flipped_i, fe_mul(r, i), r);
    *root = fe_abs(r);
    return correct | flipped;
}

/* Canonical: even, below p, top bit clear.  And not the identity, whose string is zero. */
INLINE lanes good_words(const __m512i w[4]) {
    const __m512i ones = splat(~0ULL), high = splat(0x7fffffffffffffffULL);
    __m512i any = _mm512_or_si512(_mm512_or_si512(w[0], w[1]), _mm512_or_si512(w[2], w[3]));
    lanes over = _mm512_cmpge_epu64_mask(w[0], splat(0xffffffffffffffedULL)) &
                 _mm512_cmpeq_epi64_mask(w[1], ones) & _mm512_cmpeq_epi64_mask(w[2], ones) &
                 _mm512_cmpeq_epi64_mask(w[3], high);
    return _mm512_cmple_epu64_mask(w[3], high) & _mm512_testn_epi64_mask(w[0], splat(1)) &
           (lanes)~over & _mm512_test_epi64_mask(any, any);
}

/* RFC 9496 section 4.3.1 on eight strings; the lanes that hold a point, not the identity. */
static TARGET lanes point_decode(point *p, const uint8_t *from) {
    __m512i words[4];
    load_words(words, from, 32);
    fe s = fe_from_words(words), ss = fe_sqr(s);
    fe u1 = fe_sub(FE_ONE, ss), u2 = fe_add(FE_ONE, ss), u2s = fe_sqr(u2);
    fe v = fe_sub(fe_neg(fe_mul(FE_D, fe_sqr(u1))), u2s);
    fe inverse;
    lanes square = fe_sqrt_ratio(&inverse, FE_ONE, fe_mul(v, u2s));
    fe dx = fe_mul(inverse, u2), dy = fe_mul(fe_mul(inverse, dx), v);
    p->x = fe_abs(fe_mul(fe_add(s, s), dx));
    p->y = fe_mul(u1, dy);
    p->z = FE_ONE;
    p->t = fe_mul(p->x, p->y);
    return good_words(words) & square & (lanes)~fe_is_negative(p->t) & (lanes)~fe_is_zero(p->y);
}

/* MAP of RFC 9496 section 4.3.4 on one half of 64 bytes, eight rows. */
static TARGET __attribute__((noinline)) void point_map(point *p, const uint8_t *from) {
    __m512i words[4];
    load_words(words, from, 64);
    fe t = fe_from_words(words), one = FE_ONE, d = FE_D, minus_one = fe_neg(one);
    fe r = fe_mul(FE_SQRT_M1, fe_sqr(t));
    fe u = fe_mul(fe_add(r, one), FE_ONE_MINUS_D_SQ);
    fe v = fe_mul(fe_sub(minus_one, fe_mul(r, d)), fe_add(r, d));
    fe s;
    lanes square = fe_sqrt_ratio(&s, u, v);
    fe other = fe_carry(fe_neg(fe_abs(fe_mul(s, t))));
    s = fe_select(square, s, other);
    fe c = fe_select(square, minus_one, r);
    fe n = fe_sub(fe_mul(fe_mul(c, fe_sub(r, one)), FE_D_MINUS_ONE_SQ), v);
    fe sv = fe_mul(s, v), ss = fe_sqr(s);
    fe w0 = fe_add(sv, sv), w1 = fe_mul(n, FE_SQRT_AD_MINUS_ONE);
    fe w2 = fe_sub(one, ss), w3 = fe_add(one, ss);
    p->x = fe_mul(w0, w3);
    p->y = fe_mul(w2, w1);
    p->z = fe_mul(w1, w3);
    p->t = fe_mul(w0, w2);
}

/* ENCODE of RFC 9496 section 4.3.2: a square root per point, for points that were not doubled. */
static TARGET void point_encode(uint8_t *to, const point *p) {
    fe u1 = fe_mul(fe_add(p->z, p->y), fe_sub(p->z, p->y)), u2 = fe_mul(p->x, p->y), inverse;
    (void)fe_sqrt_ratio(&inverse, FE_ONE, fe_mul(u1, fe_sqr(u2)));
    fe den1 = fe_mul(inverse, u1), den2 = fe_mul(inverse, u2);
    fe z_inverse = fe_mul(fe_mul(den1, den2), p->t);
    lanes rotate = fe_is_negative(fe_mul(p->t, z_inverse));
    fe x = fe_select(rotate, fe_mul(p->y, FE_SQRT_M1), p->x);
    fe y = fe_select(rotate, fe_mul(p->x, FE_SQRT_M1), p->y);
    fe den = fe_select(rotate, fe_mul(den1, FE_INVSQRT_A_MINUS_D), den2);
    y = fe_negate_if(fe_is_negative(fe_mul(x, z_inverse)), y);
    fe_store(to, fe_abs(fe_mul(den, fe_sub(p->z, y))));
}

/* 2p.  Sums of squares are formed before the carry: four carries instead of eight. */
INLINE void point_double(point *r, const point *p, int want_t) {
    fe xx = fe_sqr_wide(p->x), yy = fe_sqr_wide(p->y), zz = fe_sqr_wide(p->z);
    fe ss = fe_sqr_wide(fe_add(p->x, p->y));
    fe sum = fe_plus(yy, xx);
    fe h = fe_carry(sum), g = fe_carry(fe_minus(yy, xx, 10));
    fe e = fe_carry(fe_minus(ss, sum, 11));
    fe f = fe_carry(fe_minus(fe_plus(fe_plus(zz, zz), xx), yy, 10));
    r->x = fe_mul(e, f);
    r->y = fe_mul(h, g);
    r->z = fe_mul(g, f);
    if (want_t) r->t = fe_mul(e, h);
}

/* p + q.  q may have loose parts (a negated t2d); their product with tight ones stays wide. */
INLINE void point_add(point *r, const point *p, const cached *q, int want_t) {
    fe a = fe_mul_wide(fe_sub(p->y, p->x), q->minus);
    fe b = fe_mul_wide(fe_add(p->y, p->x), q->plus);
    fe c = fe_mul_wide(p->t, q->t2d), d = fe_mul_wide(p->z, q->z2);
    fe e = fe_carry(fe_minus(b, a, 10)), h = fe_carry(fe_plus(b, a));
    fe g = fe_carry(fe_plus(d, c)), f = fe_carry(fe_minus(d, c, 10));
    r->x = fe_mul(e, f);
    r->y = fe_mul(h, g);
    r->z = fe_mul(g, f);
    if (want_t) r->t = fe_mul(e, h);
}

INLINE void point_cache(cached *r, const point *p) {
    r->plus = fe_add(p->y, p->x);
    r->minus = fe_sub(p->y, p->x);
    r->t2d = fe_mul(p->t, FE_2D);
    r->z2 = fe_add(p->z, p->z);
}

/* digit·P for a secret digit in -8…8: every entry is read, masks choose. */
INLINE void table_select(cached *r, const cached table[WINDOW], int8_t digit) {
    int64_t sign = (int64_t)digit >> 63, size = ((int64_t)digit ^ sign) - sign;
    /* ((i ^ size) - 1) is negative exactly where i = size: no comparison, no branch. */
    __m512i first = splat((uint64_t)((size - 1) >> 63)); /* nought: the identity (1, 1, 0, 2) */
    *r = (cached){FE_ZERO, FE_ZERO, FE_ZERO, FE_ZERO};
    r->plus.v[0] = r->minus.v[0] = _mm512_and_si512(first, splat(1));
    r->z2.v[0] = _mm512_and_si512(first, splat(2));
#pragma GCC unroll 8
    for (int i = 0; i < WINDOW; i++) {
        __m512i mask = splat((uint64_t)((((int64_t)(i + 1) ^ size) - 1) >> 63));
        const cached *q = &table[i];
#pragma GCC unroll 5
        for (int k = 0; k < 5; k++) { /* 0xf8: r | (mask & entry) */
            r->plus.v[k] = _mm512_ternarylogic_epi64(r->plus.v[k], mask, q->plus.v[k], 0xf8);
            r->minus.v[k] = _mm512_ternarylogic_epi64(r->minus.v[k], mask, q->minus.v[k], 0xf8);
            r->t2d.v[k] = _mm512_ternarylogic_epi64(r->t2d.v[k], mask, q->t2d.v[k], 0xf8);
            r->z2.v[k] = _mm512_ternarylogic_epi64(r->z2.v[k], mask, q->z2.v[k], 0xf8);
        }
    }
    /* -(x, y) = (-x, y): the sums change places and t changes its sign. */
    __m512i negative = splat((uint64_t)sign);
    fe minus_t = fe_neg(r->t2d);
#pragma GCC unroll 5
    for (int k = 0; k < 5; k++) { /* 0xca: mask ? second : third */
        __m512i plus = r->plus.v[k], minus = r->minus.v[k];
        r->plus.v[k] = _mm512_ternarylogic_epi64(negative, minus, plus, 0xca);
        r->minus.v[k] = _mm512_ternarylogic_epi64(negative, plus, minus, 0xca);
        r->t2d.v[k] = _mm512_ternarylogic_epi64(negative, minus_t.v[k], r->t2d.v[k], 0xca);
    }
}

/* r = Σ digit_i·16^i · p: the same work for every scalar. */
static TARGET __attribute__((noinline)) void point_multiply(point *r, const point *p,
                                                            const int8_t digits[DIGITS]) {
    cached table[WINDOW], q;
    point multiple = *p, sum;
    point_cache(&table[0], p);
#pragma GCC unroll 1
    for (int i = 1; i < WINDOW; i++) {
        point_add(&multiple, &multiple, &table[0], 1);
        point_cache(&table[i], &multiple);
    }
    sum = (point){FE_ZERO, FE_ONE, FE_ONE, FE_ZERO};
    table_select(&q, table, digits[DIGITS - 1]);
    point_add(&sum, &sum, &q, 0);
#pragma GCC unroll 1
    for (int i = DIGITS - 2; i >= 0; i--) {
#pragma GCC unroll 1
        for (int k = 0; k < 3; k++) point_double(&sum, &sum, 0);
        point_double(&sum, &sum, 1);
        table_select(&q, table, digits[i]);
        if (i) {
            point_add(&sum, &sum, &q, 0);
        } else {
            point_add(&sum, &sum, &q, 1);
        }
    }
    *r = sum;
}

/* What doubling and encoding share, for a batch with one inversion (curve25519-dalek's
 * double_and_compress_batch, I. Lovecruft and H. de Valence): 2p has the Edwards coordinates
 * (e/f, g/h) below, and the inverse root of its encoding is then a plain inverse of eg·fh. */
typedef struct {
    fe e, f, g, h, eg, fh;
} halved;

static TARGET void halved_from(halved *r, const point *p) {
    fe xx = fe_sqr(p->x), yy = fe_sqr(p->y), zz = fe_sqr(p->z);
    fe dtt = fe_mul(fe_sqr(p->t), FE_D);
    r->e = fe_mul(p->x, fe_add(p->y, p->y));
    r->f = fe_add(zz, dtt);
    r->g = fe_add(yy, xx);
    r->h = fe_sub(zz, dtt);
    r->eg = fe_mul(r->e, r->g);
    r->fh = fe_mul(r->f, r->h);
}

/* The encodings of 2p, given 1/(eg·fh). */
static TARGET void halved_encode(uint8_t *to, const halved *p, fe inverse) {
    fe z_inverse = fe_mul(p->eg, inverse), t_inverse = fe_mul(p->fh, inverse);
    lanes rotate = fe_is_negative(fe_mul(p->eg, z_inverse));
    fe e = fe_select(rotate, p->g, p->e);
    fe g = fe_select(rotate, fe_carry(fe_neg(p->e)), p->g);
    fe h = fe_select(rotate, fe_mul(p->f, FE_SQRT_M1), p->h);
    fe magic = fe_select(rotate, FE_SQRT_M1, FE_INVSQRT_A_MINUS_D);
    g = fe_negate_if(fe_is_negative(fe_mul(fe_mul(h, e), z_inverse)), g);
    fe s = fe_mul(fe_sub(h, g), fe_mul(magic, fe_mul(g, t_inverse)));
    fe_store(to, fe_abs(s));
}

#endif
