/* ristretto255 in batches: see ristretto_ifma.h for what, group_ifma.h for how. */
#include "ristretto_ifma.h"

#include <string.h>

#if ASSENT_HAS_IFMA_CODE
#include "group_ifma.h"

#define GROUPS 32 /* groups of eight points that share one inversion; their state is 61 KB */

int ristretto_available(void) {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512ifma");
}

/* Zeroes that the compiler must not leave out. */
static void wipe(void *secret, size_t size) {
    memset(secret, 0, size);
    __asm__ volatile("" : : "r"(secret) : "memory");
}

static const uint8_t ORDER[32] = {0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7,
                                  0xa2, 0xde, 0xf9, 0xde, 0x14, 0,    0,    0,    0,    0,    0,
                                  0,    0,    0,    0,    0,    0,    0,    0,    0,    0x10};

/* Digits in -8…8 of scalar/2 modulo the group order, without a branch on the scalar.  Half,
 * because the encoder doubles. */
static void half_digits(int8_t digits[DIGITS], const uint8_t scalar[32]) {
    uint8_t half[33];
    unsigned odd = 0u - (scalar[0] & 1u), carry = 0;
    for (int i = 0; i < 32; i++) {
        carry += scalar[i] + (ORDER[i] & odd);
        half[i] = (uint8_t)carry;
        carry >>= 8;
    }
    half[32] = (uint8_t)carry;
    for (int i = 0; i < 32; i++) half[i] = (uint8_t)(half[i] >> 1 | half[i + 1] << 7);
    int up = 0;
    for (int i = 0; i < DIGITS; i++) {
        int nibble = (half[i / 2] >> (4 * (i & 1)) & 15) + up;
        up = (nibble + 8) >> 4; /* from 8 on: minus the rest, and one more of the next */
        digits[i] = (int8_t)(nibble - 16 * up);
    }
    wipe(half, sizeof half); /* the last digit is at most 1: no carry is left */
}

/* Encodes twice each point; false where one of them is in the kernel of the doubling. */
static TARGET int encode_doubled(uint8_t *out, const halved *state, int groups, int rows) {
    fe before[GROUPS], all = FE_ONE;
    for (int i = 0; i < groups; i++) {
        before[i] = all;
        all = fe_mul(all, fe_mul(state[i].eg, state[i].fh));
    }
    if (fe_is_zero(all)) return 0;
    all = fe_invert(all);
    for (int i = groups - 1; i >= 0; i--) {
        uint8_t last[LANES * 32];
        fe inverse = fe_mul(all, before[i]);
        all = fe_mul(all, fe_mul(state[i].eg, state[i].fh));
        int here = rows - i * LANES < LANES ? rows - i * LANES : LANES;
        halved_encode(here == LANES ? out + 32 * LANES * i : last, &state[i], inverse);
        if (here < LANES) memcpy(out + 32 * LANES * i, last, 32 * (size_t)here);
    }
    return 1;
}

/* Eight rows of `width` bytes from row `at`; the last group is filled up with its last row. */
static const uint8_t *eight_rows(uint8_t *spare, const uint8_t *rows, size_t width, size_t at,
                                 size_t n) {
    if (n - at >= LANES) return rows + at * width;
    for (size_t i = 0; i < LANES; i++)
        memcpy(spare + i * width, rows + width * (at + i < n ? at + i : n - 1), width);
    return spare;
}

static TARGET void derive(point *p, const uint8_t *wide) {
    point second;
    cached q;
    point_map(p, wide);
    point_map(&second, wide + 32);
    point_cache(&q, &second);
    point_add(p, p, &q, 1);
}

TARGET int64_t ristretto_blind(const uint8_t scalar[32], const uint8_t *rows, int derived,
                               uint8_t *out, size_t n) {
    const size_t width = derived ? 64 : 32;
    halved state[GROUPS];
    uint8_t spare[LANES * 64];
    int8_t digits[DIGITS];
    int64_t bad = RISTRETTO_GOOD;
    half_digits(digits, scalar);
    for (size_t from = 0; from < n && bad == RISTRETTO_GOOD; from += GROUPS * LANES) {
        const size_t left = n - from, here = left < GROUPS * LANES ? left : GROUPS * LANES;
        const int groups = (int)((here + LANES - 1) / LANES);
        for (int i = 0; i < groups; i++) {
            const size_t at = from + (size_t)i * LANES;
            const uint8_t *eight = eight_rows(spare, rows, width, at, n);
            point p;
            if (derived) {
                derive(&p, eight);
            } else {
                const lanes good = point_decode(&p, eight);
                if (good != 0xff) {
                    bad = (int64_t)at + __builtin_ctz(~(unsigned)good);
                    break;
                }
            }
            point_multiply(&p, &p, digits);
            halved_from(&state[i], &p);
        }
        if (bad == RISTRETTO_GOOD && !encode_doubled(out + 32 * from, state, groups, (int)here))
            bad = RISTRETTO_IDENTITY;
    }
    wipe(digits, sizeof digits);
    return bad;
}

TARGET void ristretto_map(const uint8_t *wide, uint8_t *out, size_t n) {
    uint8_t spare[LANES * 64], last[LANES * 32];
    for (size_t at = 0; at < n; at += LANES) {
        const int whole = n - at >= LANES;
        point p;
        derive(&p, eight_rows(spare, wide, 64, at, n));
        point_encode(whole ? out + 32 * at : last, &p);
        if (!whole) memcpy(out + 32 * at, last, 32 * (n - at));
    }
}

#else /* another processor or compiler: libsodium serves */

int ristretto_available(void) { return 0; }
int64_t ristretto_blind(const uint8_t scalar[32], const uint8_t *rows, int derived, uint8_t *out,
                        size_t n) {
    (void)scalar, (void)rows, (void)derived, (void)out, (void)n;
    return RISTRETTO_IDENTITY;
}
void ristretto_map(const uint8_t *wide, uint8_t *out, size_t n) {
    (void)wide, (void)out, (void)n;
}
#endif
